//go:build !linux

package boltstore

// lockHolder can't tell which process has the file at path locked.
func lockHolder(string) (pid int, name string, ok bool) { return 0, "", false }
