package amp

import (
	"context"
	"testing"
	"time"
)

// A handler that keeps the reading goroutine holds up its connection until
// somebody frees it, and not longer: others are answered then, in order, and the
// connection ends as ever.
func TestOccupiedReaderIsReplaced(t *testing.T) {
	begun, release := make(chan *Request, 1), make(chan struct{})
	after := make(chan bool, 1)
	s := &Server{Handler: forgetful(func(r *Request) {
		if r.Command != "Long" {
			r.Answer(Box{"is": []byte(r.Command)})
			return
		}
		if !r.Alone() {
			t.Error("a lone command is not alone")
		}
		r.Occupy()
		begun <- r
		<-release
		r.Answer(nil)
		defer func() { after <- true }() // also as the goroutine ends
		r.Vacate()
		t.Error("Vacate has returned, though another goroutine reads")
	})}
	c := dial(t, serve(t, s), nil, nil)
	long := make(chan error, 1)
	c.Go("Long", nil, func(_ Box, err error) { long <- err })
	r := <-begun
	r.Free()
	r.Free() // once is enough
	for _, command := range []string{"First", "Second"} {
		if box, err := c.Call(t.Context(), command, nil); err != nil || string(box["is"]) != command {
			t.Fatalf("%s, while another command is occupied: %q %v", command, box, err)
		}
	}
	close(release)
	if err := <-long; err != nil {
		t.Error(err)
	}
	<-after
	if _, err := c.Call(t.Context(), "Third", nil); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	<-c.Done()
}

// One that is not freed reads on itself.
func TestOccupiedReaderReadsOn(t *testing.T) {
	s := &Server{Handler: forgetful(func(r *Request) {
		r.Occupy()
		r.Answer(nil)
		r.Vacate()
		r.Free() // too late to matter
	})}
	c := dial(t, serve(t, s), nil, nil)
	for range 100 {
		if _, err := c.Call(t.Context(), "Any", nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Commands that came together are not alone, but for the last.
func TestAlone(t *testing.T) {
	alone := make(chan bool, 3)
	near, far := Pipe(nil, forgetful(func(r *Request) {
		alone <- r.Alone()
		r.Answer(nil)
	}))
	defer far.Close()
	defer near.Close()
	var three []byte
	for range 3 {
		three, _ = Box{"_command": []byte("Any")}.Append(three)
	}
	near.mu.Lock()
	near.out.dstLocked().b = append(near.out.dstLocked().b, three...)
	near.kickLocked()
	near.mu.Unlock()
	for i, want := range []bool{false, false, true} {
		if got := <-alone; got != want {
			t.Errorf("command %d is alone: %v, want %v", i+1, got, want)
		}
	}
}

// forgetful is a handler that does nothing with a request it has answered.
type forgetful func(*Request)

func (f forgetful) ServeAMP(r *Request) { f(r) }
func (forgetful) ForgetsRequests()      {}

// To a handler that may do something after it has handed a request on no request
// is alone.
func TestNotAloneToOthers(t *testing.T) {
	alone := make(chan bool, 1)
	c, s := Pipe(nil, HandlerFunc(func(r *Request) {
		alone <- r.Alone()
		r.Answer(nil)
	}))
	defer c.Close()
	defer s.Close()
	if _, err := c.Call(t.Context(), "Any", nil); err != nil || <-alone {
		t.Errorf("alone: true, error %v", err)
	}
}
