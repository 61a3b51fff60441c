package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
)

// activated returns the sockets that systemd has opened for this process, by
// name and in order: sd_listen_fds(3). They are taken once; children do not see
// them.
var activated = sync.OnceValue(func() (list []*os.File) {
	defer os.Unsetenv("LISTEN_PID")
	defer os.Unsetenv("LISTEN_FDS")
	defer os.Unsetenv("LISTEN_FDNAMES")
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil {
		return nil
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range n {
		name := "unknown" // as systemd has it
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		const first = 3 // SD_LISTEN_FDS_START
		list = append(list, os.NewFile(uintptr(first+i), name))
	}
	return list
})

// takeActivated returns the listener of a socket that systemd has opened, the
// first of that name that was not taken yet, or the first of any.
func takeActivated(name string) (net.Listener, error) {
	list := activated()
	for i, f := range list {
		if f == nil || name != "" && f.Name() != name {
			continue
		}
		list[i] = nil
		defer f.Close() // FileListener has its own
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("--listen systemd:%s: it is no listening socket: %w", name, err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // it is systemd's
		}
		return l, nil
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("--listen systemd:%s: systemd has opened no socket for this process: it does so by a unit amphost.socket", name)
	}
	var names []string
	for _, f := range list {
		if f != nil {
			names = append(names, f.Name())
		}
	}
	return nil, fmt.Errorf("--listen systemd:%s: systemd has opened no such socket, or not enough of them; left are: %s", name, strings.Join(names, " "))
}
