//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package boltstore

import "os"

// closeLocked closes a file of bbolt's that bbolt itself can't close any more,
// and with it the lock on it.
func closeLocked(f *os.File) error { return f.Close() }
