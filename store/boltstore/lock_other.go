//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package boltstore

import (
	"errors"
	"io/fs"
	"os"
)

// closeLocked closes a file of bbolt's that bbolt itself can't close any more,
// and with it the lock on it.
func closeLocked(f *os.File) error { return f.Close() }

// lockFile makes sure that nobody has the store at path open. The error is
// fs.ErrNotExist if there is none. It is not kept locked, for the system would
// not let it be replaced then.
func lockFile(path string) (unlock func(), err error) {
	s, err := Open(path, &Options{NoCreate: true})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrLocked) {
		return nil, err
	}
	if err == nil {
		s.Close()
	}
	return func() {}, nil // damaged: nobody has it open
}
