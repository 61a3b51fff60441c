package amp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// listen listens on loopback.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestServeOnSeveralListeners(t *testing.T) {
	s := &Server{Handler: mathMux()}
	tcp := listen(t)
	path := filepath.Join(t.TempDir(), "amp")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 2)
	for _, l := range []net.Listener{tcp, unix} {
		go func() { served <- s.Serve(l) }()
	}
	for _, addr := range []net.Addr{tcp.Addr(), unix.Addr()} {
		c, err := Dial(t.Context(), addr.Network(), addr.String(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil || got.Total != 3 {
			t.Errorf("over %s: Sum = %v, %v", addr.Network(), got, err)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-served; err != ErrServerClosed {
			t.Errorf("Serve = %v", err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := s.Serve(listen(t)); err != ErrServerClosed {
		t.Errorf("Serve after Shutdown = %v", err)
	}
	if _, err := Dial(t.Context(), "tcp", tcp.Addr().String(), nil, nil); err == nil {
		t.Error("the port is still open")
	}
}

// A program may end when Serve returns: by then all is answered and over.
func TestServeReturnsAfterShutdown(t *testing.T) {
	gate := make(chan struct{})
	s := &Server{Handler: gateMux(gate)}
	var over atomic.Bool
	s.OnDisconnect = func(*Conn, error) { over.Store(true) }
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := dial(t, l.Addr().String(), nil, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if box, err := c.Call(t.Context(), "Wait", Box{"k": []byte("v")}); err != nil || string(box["k"]) != "v" {
			t.Errorf("the running call ends with %v, %v", box, err)
		}
	})
	eventually(t, "the call runs", func() bool { return len(s.Conns()) == 1 && s.Conns()[0].Running() == 1 })
	down := make(chan error, 2)
	go func() { down <- s.Shutdown(t.Context()) }()
	eventually(t, "it drains", s.Conns()[0].isDraining)
	if _, err := c.Call(t.Context(), "Echo", nil); !errors.Is(err, ErrShuttingDown) {
		t.Errorf("a call after Shutdown ends with %v", err)
	}
	select {
	case err := <-served:
		t.Fatalf("Serve returned %v while a call runs", err)
	default:
	}
	go func() { down <- s.Shutdown(t.Context()) }() // a second one waits, too
	close(gate)
	if err := <-served; err != ErrServerClosed {
		t.Errorf("Serve = %v", err)
	}
	if !over.Load() {
		t.Error("Serve returned before the connection's end")
	}
	wg.Wait()
	for range 2 {
		if err := <-down; err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	}
}

func TestShutdownGivesUpOnWhatRunsForEver(t *testing.T) {
	gate := make(chan struct{})
	s := &Server{Handler: gateMux(gate)}
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := dial(t, l.Addr().String(), nil, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Call(t.Context(), "Wait", nil); err == nil {
			t.Error("the call was answered")
		}
	})
	eventually(t, "the call runs", func() bool { return len(s.Conns()) == 1 && s.Conns()[0].Running() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown = %v", err)
	}
	if err := <-served; err != ErrServerClosed {
		t.Errorf("Serve = %v", err)
	}
	wg.Wait()
	close(gate)
	eventually(t, "the handler has ended", func() bool { return len(s.Conns()) == 0 })
}

func TestServerClose(t *testing.T) {
	gate := make(chan struct{})
	defer close(gate)
	s := &Server{Handler: gateMux(gate)}
	addr := serve(t, s)
	c := dial(t, addr, nil, nil)
	failed := make(chan error, 1)
	c.Go("Wait", nil, func(_ Box, err error) { failed <- err })
	eventually(t, "the call runs", func() bool { return len(s.Conns()) == 1 && s.Conns()[0].Running() == 1 })
	s.Close()
	if err := <-failed; err == nil {
		t.Error("the call was answered")
	}
	s.Close()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown after Close = %v", err)
	}
}

func TestConnectionHooks(t *testing.T) {
	var mu sync.Mutex
	var story []string
	tell := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		story = append(story, s)
	}
	s := &Server{
		Handler: HandlerFunc(func(r *Request) {
			tell("command")
			r.Answer(nil)
		}),
		OnConnect: func(c *Conn) {
			tell("connect")
			c.Go("Hello", nil, func(Box, error) { tell("greeted") })
		},
	}
	var reason error
	s.OnDisconnect = func(c *Conn, err error) {
		if err != c.err {
			t.Errorf("the hook is told %v, the reason is %v", err, c.err)
		}
		reason = err
		tell("disconnect")
	}
	p := dialPeer(t, serve(t, s))
	p.want("_ask", "1", "_command", "Hello")
	p.send(ask("1", "X"))
	p.want("_answer", "1")
	p.send([]string{"_answer", "1"})
	p.Close()
	eventually(t, "it is gone", func() bool { return len(s.Conns()) == 0 })
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"connect", "command", "greeted", "disconnect"}; !slices.Equal(story, want) || reason != io.EOF {
		t.Errorf("%v with %v, want %v", story, reason, want)
	}
}

func TestMaxConns(t *testing.T) {
	var log logbook
	s := &Server{Handler: mathMux(), MaxConns: 5, MaxConnsPerAddr: 3, Options: &Options{Logger: log.logger()}}
	addr := serve(t, s)
	from := func(ip string) (*Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		nc, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return nil, err
		}
		c := NewConn(nc, nil, nil)
		t.Cleanup(func() { c.Close(); <-c.Done() })
		_, err = sum.Call(t.Context(), c, sumArgs{1, 2})
		return c, err
	}
	var first *Conn
	for i, test := range []struct {
		ip string
		ok bool
	}{
		{"127.0.0.1", true}, {"127.0.0.1", true}, {"127.0.0.1", true}, {"127.0.0.1", false},
		{"127.0.0.2", true}, {"127.0.0.2", true}, {"127.0.0.2", false}, {"127.0.0.3", false},
	} {
		c, err := from(test.ip)
		if (err == nil) != test.ok {
			t.Errorf("connection %d from %s: %v, want %v", i, test.ip, err, test.ok)
		}
		if i == 0 {
			first = c
		}
	}
	if n := len(s.Conns()); n != 5 {
		t.Errorf("%d connections are open", n)
	}
	first.Close()
	eventually(t, "there is room", func() bool { return len(s.Conns()) == 4 })
	if _, err := from("127.0.0.1"); err != nil {
		t.Errorf("after one has left: %v", err)
	}
	if n := strings.Count(log.String(), "connection refused"); n < 1 || n > 2 || !strings.Contains(log.String(), "MaxConnsPerAddr") {
		t.Errorf("the log has %d lines about it: %s", n, log.String())
	}
}

// A listener that fails in every way.
type failingListener struct {
	errs   []error // returned one after another, the last for ever
	closed chan struct{}
	once   sync.Once
	tries  int
}

func (l *failingListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	l.tries++
	err := l.errs[0]
	if len(l.errs) > 1 {
		l.errs = l.errs[1:]
	}
	return nil, err
}

func (l *failingListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *failingListener) Addr() net.Addr { return pipeAddr{} }

// Too many open files: no end, and no spinning.
func TestAcceptErrorsDoNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failingListener{errs: []error{&net.OpError{Op: "accept", Err: os.NewSyscallError("accept", syscall.EMFILE)}}, closed: make(chan struct{})}
		var log logbook
		s := &Server{Options: &Options{Logger: log.logger()}}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if l.tries < 60 || l.tries > 70 {
			t.Errorf("tried %d times in a minute", l.tries)
		}
		if !strings.Contains(log.String(), "too many open files") {
			t.Errorf("the log says %s", log.String())
		}
		go s.Close()
		start := time.Now()
		if err := <-served; err != ErrServerClosed || time.Since(start) > time.Second {
			t.Errorf("Serve = %v, %v after Close", err, time.Since(start))
		}
	})
}

func TestServeReturnsAListenersError(t *testing.T) {
	broken := errors.New("broken")
	l := &failingListener{errs: []error{syscall.ENFILE, broken}, closed: make(chan struct{})}
	s := &Server{Options: &Options{Logger: quiet}}
	if err := s.Serve(l); !errors.Is(err, broken) {
		t.Errorf("Serve = %v", err)
	}
	select {
	case <-l.closed:
	default:
		t.Error("the listener is still open")
	}
	s.Close()
}

// Connections that come and go while the server shuts down: nobody is left.
func TestShutdownWhileConnecting(t *testing.T) {
	for range 20 {
		s := &Server{Handler: mathMux(), Options: &Options{Logger: quiet}}
		l := listen(t)
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		var wg sync.WaitGroup
		var once sync.Once
		connected := make(chan struct{})
		for range 10 {
			wg.Go(func() {
				c, err := Dial(t.Context(), "tcp", l.Addr().String(), nil, nil)
				if err != nil {
					return
				}
				for err == nil {
					_, err = sum.Call(t.Context(), c, sumArgs{1, 2})
					once.Do(func() { close(connected) })
				}
				c.Close()
				<-c.Done()
			})
		}
		<-connected
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		if err := <-served; err != ErrServerClosed {
			t.Errorf("Serve = %v", err)
		}
		wg.Wait()
		if n := len(s.Conns()); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	}
}

// One handler serves servers and connections that know nothing of each other.
func TestOneHandlerForManyServers(t *testing.T) {
	m := mathMux()
	addrs := []string{serve(t, &Server{Handler: m}), serve(t, &Server{Handler: m, Options: &Options{Strict: true}})}
	for _, addr := range addrs {
		if got, err := sum.Call(t.Context(), dial(t, addr, nil, nil), sumArgs{1, 2}); err != nil || got.Total != 3 {
			t.Errorf("Sum = %v, %v", got, err)
		}
	}
	if got := m.Commands(); !slices.Equal(got, []string{"Divide", "Sum"}) {
		t.Errorf("Commands = %v", got)
	}
	for _, name := range []string{"Sum", "", "StartTLS"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a handler for %q could be registered", name)
				}
			}()
			m.Handle(name, m)
		}()
	}
}
