//go:build !unix

package boltstore

// keepOwner has nothing to keep.
func keepOwner(path, of string) error { return nil }
