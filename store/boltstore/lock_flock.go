//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package boltstore

import (
	"errors"
	"os"
	"syscall"
)

// closeLocked closes a file of bbolt's that bbolt itself can't close any more,
// and gives up the lock on it: closing alone would not, while it is mapped.
func closeLocked(f *os.File) error {
	syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	return f.Close()
}

// lockFile keeps others from opening the store at path, also if it is damaged.
// The error is fs.ErrNotExist if there is none.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return func() { f.Close() }, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, lockedError(path)
	}
	return nil, err
}
