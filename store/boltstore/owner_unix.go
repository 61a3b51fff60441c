//go:build unix

package boltstore

import (
	"os"
	"syscall"
)

// keepOwner gives a file that takes the place of another its owner and mode, so
// that who could open the old one can open the new one.
func keepOwner(path, of string) error {
	info, err := os.Stat(of)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid()) {
		if err := os.Chown(path, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(path, info.Mode().Perm())
}
