package amp

import (
	"net"
	"syscall"
	"time"
)

// setUserTimeout bounds how long the peer's kernel may leave unacknowledged what
// was sent to it: TCP_USER_TIMEOUT of tcp(7).
func setUserTimeout(tcp *net.TCPConn, d time.Duration) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	const option = 0x12 // TCP_USER_TIMEOUT, which package syscall lacks
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, option, int(d.Milliseconds()))
	})
}
