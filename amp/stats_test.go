package amp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// What a server counts is what has happened.
func TestStats(t *testing.T) {
	m := mathMux()
	m.Handle("Full", HandlerFunc(func(r *Request) { r.Fail(ErrOverloaded) }))
	gate := make(chan struct{})
	m.HandleFunc("Wait", func(context.Context, Box) (Box, error) { <-gate; return nil, nil })
	s := &Server{Handler: m, MaxConns: 1, Options: &Options{MaxBox: 1000}}
	addr := serve(t, s)
	c := dial(t, addr, nil, nil)
	for range 3 {
		if _, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := c.Call(t.Context(), "Full", nil); !errors.Is(err, ErrOverloaded) {
			t.Errorf("Full ends with %v", err)
		}
	}
	if _, err := c.Call(t.Context(), "Nothing", nil); !errors.Is(err, ErrUnhandled) {
		t.Errorf("a command nobody handles ends with %v", err)
	}
	if err := c.Send(t.Context(), "Wait", nil); err != nil {
		t.Fatal(err)
	}
	refused, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	eventually(t, "one is refused, and a call runs", func() bool { st := s.Stats(); return st.Refused == 1 && st.Running == 1 })
	st := s.Stats()
	if st.Conns != 1 || st.Accepted != 1 || st.Answered != 3 || st.Failed["OVERLOADED"] != 2 || st.Failed["UNHANDLED"] != 1 || len(st.Failed) != 2 || len(st.Cut) != 0 {
		t.Errorf("%+v", st)
	}
	close(gate)
	if _, err := c.Call(t.Context(), "Sum", Box{"a": make([]byte, 2000)}); err == nil {
		t.Error("a box that is too big was answered")
	}
	eventually(t, "the connection has ended", func() bool { return s.Stats().Conns == 0 })
	if st := s.Stats(); st.Running != 0 || st.Answered != 4 || st.Cut[ErrBoxTooBig] != 1 {
		t.Errorf("%+v", st)
	}
}

// A connection that has switched to another protocol counts until that ends, and
// so does one that never spoke AMP.
func TestStreamsCountUntilTheyAreClosed(t *testing.T) {
	handed := make(chan net.Conn, 1)
	m := mathMux()
	lines.Handle(m, func(context.Context, lineArgs) (func(net.Conn), error) {
		return func(nc net.Conn) { handed <- nc }, nil
	})
	s := &Server{Handler: m, MaxConns: 2}
	c := dial(t, serve(t, s), nil, nil)
	nc, err := lines.Call(t.Context(), c, lineArgs{"x"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	theirs := <-handed
	eventually(t, "AMP has ended", func() bool { return len(s.Conns()) == 0 })

	l := listen(t)
	adopt := func() net.Conn {
		t.Helper()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		raw, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return s.Adopt(raw)
	}
	raw := adopt()
	if raw == nil || s.Stats().Conns != 2 {
		t.Fatalf("adopted %v, %+v", raw, s.Stats())
	}
	if adopt() != nil {
		t.Error("one beyond the limit was adopted")
	}
	theirs.Close()
	theirs.Close() // counts once
	raw.Close()
	if st := s.Stats(); st.Conns != 0 || st.Refused != 1 || st.Accepted != 2 {
		t.Errorf("%+v", st)
	}
}

// A peer that the kernel has given up is told of as such, and counted; it is
// neither idle nor slow.
func TestPeersThatAreGoneCount(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.ETIMEDOUT, syscall.EHOSTUNREACH} {
		gone := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", number)}
		why := make(chan error, 1)
		s := &Server{Options: &Options{Logger: slog.New(slog.DiscardHandler)}, OnDisconnect: func(_ *Conn, err error) { why <- err }}
		a, b := net.Pipe()
		defer b.Close()
		ctx, cancel := context.WithCancel(t.Context())
		l := &oneConn{Conn: goneConn{a, gone}, done: ctx, close: cancel}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }() // ends with Close
		if err := <-why; !errors.Is(err, number) || errors.Is(err, ErrIdle) {
			t.Errorf("it ended with %v, want %v", err, gone)
		}
		s.Close()
		<-served
		if st := s.Stats(); st.Gone != 1 || len(st.Cut) != 0 {
			t.Errorf("%+v", st)
		}
	}
}

// A goneConn's peer is gone.
type goneConn struct {
	net.Conn
	why error
}

func (c goneConn) Read([]byte) (int, error) { return 0, c.why }

// A oneConn accepts one connection.
type oneConn struct {
	net.Conn
	once  sync.Once
	done  context.Context
	close func()
}

func (l *oneConn) Accept() (nc net.Conn, err error) {
	l.once.Do(func() { nc = l.Conn })
	if nc != nil {
		return nc, nil
	}
	<-l.done.Done()
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { l.close(); return nil }
func (l *oneConn) Addr() net.Addr { return l.LocalAddr() }

// A connection that is to rest reads nothing meanwhile, and loses nothing.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(Mux)
		m.Handle("Hit", HandlerFunc(func(r *Request) {
			r.Rest(time.Second)
			r.Answer(nil)
		}))
		a, b := net.Pipe()
		server, client := NewConn(a, m, nil), NewConn(b, nil, nil)
		start := time.Now()
		done := make(chan error, 10)
		for range 10 {
			client.Go("Hit", nil, func(_ Box, err error) { done <- err })
		}
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took < 9*time.Second || took > 10*time.Second {
			t.Errorf("ten calls took %v", took)
		}
		client.Close() // while the other one rests
		start = time.Now()
		if err := endOf(t, server); err != io.EOF && err != io.ErrClosedPipe {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("noticed after %v", took)
		}
	})
}
