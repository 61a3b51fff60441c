package amp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"
)

type sumArgs struct {
	A int `amp:"a"`
	B int `amp:"b"`
}

type sumResult struct {
	Total int `amp:"total"`
}

var sum = Command[sumArgs, sumResult]{Name: "Sum"}

var errZero = errors.New("division by zero")

type divideArgs struct {
	Numerator   int `amp:"numerator"`
	Denominator int `amp:"denominator"`
}

type divideResult struct {
	Result float64 `amp:"result"`
}

var divide = Command[divideArgs, divideResult]{
	Name:   "Divide",
	Errors: ErrorCodes{{"ZERO_DIVISION", errZero}},
}

func mathMux() *Mux {
	m := new(Mux)
	sum.Handle(m, func(_ context.Context, args sumArgs) (sumResult, error) {
		return sumResult{args.A + args.B}, nil
	})
	divide.Handle(m, func(_ context.Context, args divideArgs) (divideResult, error) {
		if args.Denominator == 0 {
			return divideResult{}, fmt.Errorf("divide %d: %w", args.Numerator, errZero)
		}
		return divideResult{float64(args.Numerator) / float64(args.Denominator)}, nil
	})
	return m
}

// serve starts a server on loopback and returns its address.
func serve(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != ErrServerClosed {
			t.Errorf("Serve = %v, want ErrServerClosed", err)
		}
	})
	return l.Addr().String()
}

func dial(t testing.TB, addr string, h Handler, opts *Options) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), "tcp", addr, h, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-c.Done() })
	return c
}

// quiet is for tests in which things fail on purpose.
var quiet = slog.New(slog.DiscardHandler)

// A logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// eventually waits until cond holds, for at most ten seconds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// endOf waits for a connection's end and returns its reason.
func endOf(t testing.TB, c *Conn) error {
	t.Helper()
	select {
	case <-c.Done():
		return c.Err()
	case <-time.After(time.Hour): // of a bubble's time
		t.Fatal("the connection does not end")
		return nil
	}
}

// A peer is the other end of a connection, byte by byte.
type peer struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// startConn starts a connection in memory and returns it with its peer.
func startConn(t testing.TB, h Handler, opts *Options) (*Conn, *peer) {
	t.Helper()
	a, b := net.Pipe()
	c := NewConn(a, h, opts)
	t.Cleanup(func() { b.Close(); c.Close(); <-c.Done() })
	return c, &peer{t, b, bufio.NewReader(b)}
}

// dialPeer connects to a server.
func dialPeer(t testing.TB, addr string) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &peer{t, nc, bufio.NewReader(nc)}
}

// send writes boxes in one piece. Keys and values alternate in each.
func (p *peer) send(boxes ...[]string) {
	p.t.Helper()
	if _, err := p.Write(wire(boxes...)); err != nil {
		p.t.Fatal(err)
	}
}

// next reads a box, or returns the error that ends the stream.
func (p *peer) next() (Box, error) { return ReadBox(p.r) }

// want reads a box, which must be the one given.
func (p *peer) want(pairs ...string) {
	p.t.Helper()
	box, err := p.next()
	if err != nil {
		p.t.Fatalf("waiting for %.100q: %v", pairs, err)
	}
	if got, want := encode(box), string(wire(pairs)); got != want {
		p.t.Fatalf("got the box %.300q, want %.300q", got, want)
	}
}

// wantEnd reads the end of the stream.
func (p *peer) wantEnd() {
	p.t.Helper()
	if box, err := p.next(); err == nil {
		p.t.Fatalf("got the box %v, want the end", box)
	}
}

func wire(boxes ...[]string) []byte {
	var out []byte
	for _, pairs := range boxes {
		for i := 0; i < len(pairs); i += 2 {
			out = appendPair(out, pairs[i], pairs[i+1])
		}
		out = append(out, 0, 0)
	}
	return out
}

func encode(b Box) string {
	out, err := b.Append(nil)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// ask is a box that calls a command.
func ask(tag, command string, args ...string) []string {
	return append([]string{"_ask", tag, "_command", command}, args...)
}

// pair joins two ends in memory.
func pair(t testing.TB, a Handler, aOpts *Options, b Handler, bOpts *Options) (*Conn, *Conn) {
	t.Helper()
	x, y := net.Pipe()
	ca, cb := NewConn(x, a, aOpts), NewConn(y, b, bOpts)
	t.Cleanup(func() {
		for _, c := range []*Conn{ca, cb} {
			c.Close()
			<-c.Done()
		}
	})
	return ca, cb
}

// gateMux answers Echo at once, with its arguments, and Wait when the gate is
// closed.
func gateMux(gate <-chan struct{}) *Mux {
	m := new(Mux)
	m.Handle("Echo", HandlerFunc(func(r *Request) { r.Answer(r.Args()) }))
	m.HandleFunc("Wait", func(_ context.Context, args Box) (Box, error) {
		<-gate
		return args, nil
	})
	return m
}
