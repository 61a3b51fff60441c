package amp

import (
	"crypto/tls"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// The kernel looks after idle connections, whoever opened them and whether they
// are encrypted or not: a peer that is gone without a word is noticed within a
// minute.
func TestKeepAlive(t *testing.T) {
	own := &Options{KeepAlive: 2 * time.Second, UserTimeout: 1500 * time.Millisecond}
	never := &Options{KeepAlive: -1, UserTimeout: -1}
	config := &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(t, "server")}, InsecureSkipVerify: true}
	for _, k := range []struct {
		opts   *Options
		secure bool
	}{{nil, false}, {nil, true}, {own, false}, {own, true}, {never, false}} {
		secure := k.secure
		accepted := make(chan *Conn, 1)
		s := &Server{Options: k.opts, Handler: mathMux(), OnConnect: func(c *Conn) { accepted <- c }}
		lc := net.ListenConfig{KeepAlive: -1} // none of its own
		l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		dial := func() (*Conn, error) { return Dial(t.Context(), "tcp", addr, nil, k.opts) }
		if secure {
			l = tls.NewListener(l, config)
			dial = func() (*Conn, error) { return DialTLS(t.Context(), "tcp", addr, config, nil, k.opts) }
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		for end, c := range map[string]*Conn{"dialled": c, "accepted": <-accepted} {
			on, idle, interval, count, silent := keepAliveOf(t, c)
			got := fmt.Sprint(on, idle, interval, count, silent)
			want := map[*Options]string{nil: "1 15 15 3 30000", own: "1 2 2 3 1500", never: "0"}[k.opts]
			if got != want && (k.opts != never || on != 0 || silent != 0) {
				t.Errorf("%s, TLS %v, %+v: keepalive is %s, want %s", end, secure, k.opts, got, want)
			}
		}
		c.Close()
		s.Close()
		<-served
	}
}

func keepAliveOf(t *testing.T, c *Conn) (on, idle, interval, count, userTimeout int) {
	t.Helper()
	nc := c.transport().(net.Conn)
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(level, name int) (value int) {
		raw.Control(func(fd uintptr) { value, err = syscall.GetsockoptInt(int(fd), level, name) })
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	return option(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE), option(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE),
		option(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL), option(syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT), option(syscall.IPPROTO_TCP, 0x12)
}
