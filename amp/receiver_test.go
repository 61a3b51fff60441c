package amp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// A reflector sends every box back (seed row 8).
type reflector struct {
	times   int // how often
	c       *Conn
	stopped chan error
}

func (r *reflector) StartReceivingBoxes(c *Conn) { r.c = c }

func (r *reflector) BoxReceived(b Box) {
	for range r.times {
		r.c.SendBox(b) // fails when the connection has ended
	}
}

func (r *reflector) StopReceivingBoxes(reason error) { r.stopped <- reason }

func TestBoxReflector(t *testing.T) {
	stopped := make(chan error, 1)
	s := &Server{Receiver: func() BoxReceiver { return &reflector{times: 1, stopped: stopped} }}
	p := dialPeer(t, serve(t, s))
	for _, box := range [][]string{
		{}, {"k", "v"}, {"_answer", "1", "_command", "x"}, {"_error", ""},
		{"a", "", "b", strings.Repeat("v", MaxValue)}, {"\x00", "\xff\x00"},
	} {
		p.send(box)
		p.want(box...)
	}
	p.Close()
	if err := <-stopped; err != io.EOF {
		t.Errorf("stopped with %v", err)
	}
}

// A bomb is a receiver with a mistake.
type bomb struct{ reflector }

func (*bomb) BoxReceived(Box) { panic("boom") }

func TestReceiverThatPanics(t *testing.T) {
	stopped := make(chan error, 1)
	s := &Server{Receiver: func() BoxReceiver { return &bomb{reflector{stopped: stopped}} }, Options: &Options{Logger: quiet}}
	addr := serve(t, s)
	p := dialPeer(t, addr)
	p.send([]string{"k", "v"})
	p.wantEnd()
	if err := <-stopped; err == nil || !strings.Contains(err.Error(), "boom") || !strings.Contains(err.Error(), "receiver_test.go") {
		t.Errorf("stopped with %v", err)
	}
}

// A greeter sends a box before it has received one, and ends the connection
// when it gets one.
type greeter struct{ c *Conn }

func (g *greeter) StartReceivingBoxes(c *Conn) {
	g.c = c
	c.SendBox(Box{"hello": nil})
}

func (g *greeter) BoxReceived(Box) {
	g.c.SendBox(Box{"bye": nil})
	g.c.LoseConnection()
}

func (g *greeter) StopReceivingBoxes(error) {}

func TestReceiverMaySendFirstAndLast(t *testing.T) {
	a, b := net.Pipe()
	c := NewBoxConn(a, new(greeter), nil)
	p := &peer{t, b, bufio.NewReader(b)}
	p.want("hello", "")
	p.send([]string{"x", ""})
	p.want("bye", "")
	p.wantEnd()
	if err := endOf(t, c); err != ErrClosed {
		t.Errorf("ended with %v", err)
	}
	if err := c.SendBox(Box{"k": nil}); err != ErrClosed {
		t.Errorf("SendBox after the end = %v", err)
	}
}

func TestSendBoxThatDoesNotFit(t *testing.T) {
	c, p := startConn(t, nil, nil)
	for _, box := range []Box{{"": nil}, {strings.Repeat("k", 256): nil}, {"k": make([]byte, 65536)}} {
		if err := c.SendBox(box); !errors.Is(err, ErrTooLong) && err != ErrEmptyKey {
			t.Errorf("SendBox = %v", err)
		}
	}
	if err := c.SendBox(Box{}); err != nil {
		t.Error(err)
	}
	p.want()
}

// A receiver that sends more than it gets, to a peer that is slow, waits for
// it: on the reading goroutine, with nobody else to start the writer.
func TestReceiverWaitsForASlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		r := &reflector{times: 100, stopped: make(chan error, 1)}
		c := NewBoxConn(a, r, &Options{MaxUnwritten: 1000})
		p := &peer{t, b, bufio.NewReader(b)}
		value := strings.Repeat("v", 500)
		go p.Write(wire([]string{"k", value}, []string{"k", value})) // both in one piece
		for range 200 {
			synctest.Wait()
			if n := unwritten(c); n > 3000 {
				t.Fatalf("%d bytes wait", n)
			}
			p.want("k", value)
		}
		p.Close()
		<-r.stopped
	})
}

// Boxes that may stand behind a connection's limits, the same for receivers.
func TestReceiversConnectionHasLimits(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	r := &reflector{stopped: make(chan error, 1)}
	NewBoxConn(a, r, &Options{MaxPairs: 3})
	go b.Write(wire([]string{"a", "", "b", "", "c", ""}, []string{"a", "", "b", "", "c", "", "d", ""}))
	if err := <-r.stopped; !errors.Is(err, ErrBoxTooBig) {
		t.Errorf("stopped with %v", err)
	}
}

// Middleware: a handler around a handler, which looks at the request before
// and after; what it keeps stays as it was.
func TestHandlersWrapHandlers(t *testing.T) {
	var mu sync.Mutex
	var kept []*Request
	var allowed, seen bytes.Buffer
	m := mathMux()
	m.Handle("Async", HandlerFunc(func(r *Request) { go r.Answer(r.Args()) }))
	var inline Mux
	sum.HandleInline(&inline, func(_ context.Context, args sumArgs) (sumResult, error) {
		return sumResult{args.A + args.B}, nil
	})
	m.Handle("Wrapped", HandlerFunc(func(r *Request) {
		inline.Handler("Sum").ServeAMP(r)
		if r.Command != "Wrapped" {
			t.Errorf("the command has become %q", r.Command)
		}
	}))
	h := HandlerFunc(func(r *Request) {
		mu.Lock()
		fmt.Fprintln(&allowed, r.Command, r.Tag())
		mu.Unlock()
		m.ServeAMP(r)
		mu.Lock()
		fmt.Fprintln(&seen, r.Command, r.Tag())
		kept = append(kept, r)
		mu.Unlock()
	})
	var log logbook
	c := dial(t, serve(t, &Server{Handler: h, Options: &Options{Logger: log.logger()}}), nil, nil)
	for i := range 200 {
		if got, err := sum.Call(t.Context(), c, sumArgs{i, 1}); err != nil || got.Total != i+1 {
			t.Errorf("Sum = %v, %v", got, err)
		}
		box, err := c.Call(t.Context(), "Async", Box{"a": fmt.Append(nil, i)})
		if err != nil || string(box["a"]) != fmt.Sprint(i) {
			t.Errorf("Async = %v, %v", box, err)
		}
		if box, err = c.Call(t.Context(), "Wrapped", Box{"a": fmt.Append(nil, i), "b": []byte("2")}); err != nil || string(box["total"]) != fmt.Sprint(i+2) {
			t.Errorf("Wrapped = %v, %v", box, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if allowed.String() != seen.String() {
		t.Error("requests change while they are handled")
	}
	for i, r := range kept {
		if r.Command != []string{"Sum", "Async", "Wrapped"}[i%3] || r.Tag() != fmt.Sprintf("%x", i+1) {
			t.Fatalf("request %d is %s %s by now", i, r.Command, r.Tag())
		}
		if a, _ := r.Arg("a"); string(a) != fmt.Sprint(i/3) || string(r.Args()["a"]) != fmt.Sprint(i/3) || r.Conn() == nil {
			t.Fatalf("the argument of request %d is %q by now", i, a)
		}
		r.Answer(nil) // the second time: dropped
	}
	if n := strings.Count(log.String(), "answered twice"); n != len(kept) {
		t.Errorf("%d second answers are logged, want %d", n, len(kept))
	}
}

// The same behind a Mux, which recycles the requests of its own handlers.
func TestHandlersOfAMuxKeepTheirRequests(t *testing.T) {
	var kept []*Request // one call at a time
	inner := inlineMux()
	var m Mux
	m.Handle("Sum", HandlerFunc(func(r *Request) {
		inner.ServeAMP(r)
		kept = append(kept, r)
	}))
	m.Handle("Inner", HandlerFunc(func(r *Request) { r.Pause(); kept = append(kept, r); inner.Handler("Sum").ServeAMP(r) }))
	c, _ := pair(t, nil, nil, &m, nil)
	for i := range 100 {
		for _, command := range []string{"Sum", "Inner"} {
			box, err := c.Call(t.Context(), command, Box{"a": fmt.Append(nil, i), "b": []byte("1")})
			if err != nil || string(box["total"]) != fmt.Sprint(i+1) {
				t.Fatalf("%s = %v, %v", command, box, err)
			}
		}
	}
	c.Call(t.Context(), "Nope", nil) // all that is kept is there by now
	for i, r := range kept {
		if a, _ := r.Arg("a"); r.Command != []string{"Sum", "Inner"}[i%2] || string(a) != fmt.Sprint(i/2) {
			t.Fatalf("request %d is %q of %q by now", i, r.Command, a)
		}
	}
}

// Requests that came from no connection are their maker's.
func TestNewRequestIsNotRecycled(t *testing.T) {
	m := inlineMux()
	for i := range 100 {
		answered := 0
		r := NewRequest(t.Context(), "Sum", Box{"a": fmt.Append(nil, i), "b": []byte("1")}, func(b Box, err error) {
			answered++
			if err != nil || string(b["total"]) != fmt.Sprint(i+1) {
				t.Errorf("answered with %v, %v", b, err)
			}
		})
		m.ServeAMP(r)
		if a, _ := r.Arg("a"); r.Command != "Sum" || string(a) != fmt.Sprint(i) || answered != 1 {
			t.Fatalf("the request is %q of %q by now, answered %d times", r.Command, a, answered)
		}
	}
}
