//go:build unix

package main

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// privateSocket has a socket that is not bound yet belong to its owner alone.
// Linux makes the file of the socket with the mode that the socket has; other
// systems refuse, and there the mode is set a moment later.
func privateSocket(raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) { syscall.Fchmod(int(fd), 0o600) })
}

// ownerOf names the owner of a file.
func ownerOf(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return "its owner"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "its owner"
	}
	uid := strconv.Itoa(int(st.Uid))
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return "user " + uid
}
