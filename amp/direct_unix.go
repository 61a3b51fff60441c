//go:build unix

package amp

import (
	"io"
	"net"
	"syscall"
)

// A socket is one that can be written to without waiting.
type socket struct {
	raw  syscall.RawConn
	once func(fd uintptr) bool // writes what there is to write; made once
}

// bind has d write to a transport, if that is a plain socket: on others a write
// may wait, or is encrypted.
func (d *direct) bind(rwc io.ReadWriteCloser) {
	switch rwc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return
	}
	raw, err := rwc.(syscall.Conn).SyscallConn()
	if err != nil {
		return
	}
	d.raw = raw
	d.once = func(fd uintptr) bool {
		for d.n < len(d.p) {
			n, err := syscall.Write(int(fd), d.p[d.n:])
			if n > 0 {
				d.n += n
			}
			if err != nil && err != syscall.EINTR {
				break // the writer finds out
			}
		}
		return true
	}
}

// works reports whether there is a socket.
func (d *direct) works() bool { return d.raw != nil }

// write writes p as far as that is possible without waiting.
func (d *direct) write(p []byte) (n int) {
	d.p, d.n = p, 0
	_ = d.raw.Write(d.once) // an error comes again where it is looked at
	d.p = nil
	return d.n
}
