//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package boltstore

import (
	"os"
	"syscall"
)

// closeLocked closes a file of bbolt's that bbolt itself can't close any more,
// and gives up the lock on it: closing alone would not, while it is mapped.
func closeLocked(f *os.File) error {
	syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	return f.Close()
}
