package amp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A faulty stream splits what is written, stalls now and then, and is cut one
// day.
type faulty struct {
	net.Conn
	life atomic.Int64 // how many pieces it lives
}

func (f *faulty) Write(p []byte) (n int, err error) {
	for n < len(p) {
		piece := min(1+rand.IntN(3000), len(p)-n)
		if f.life.Add(-1) < 0 {
			f.Conn.Close()
			return n, io.ErrClosedPipe
		}
		if rand.IntN(200) == 0 {
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // the fault: a stall
		}
		m, err := f.Conn.Write(p[n : n+piece])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// A soak is two ends that call each other over faulty streams, one pair after
// another.
type soak struct {
	t        *testing.T
	executed []atomic.Int32 // how often each call was
	finished []atomic.Int32 // how often each call ended

	mu   sync.Mutex // guards ends and pairs
	ends [2]*Conn
	made int
}

type soakArgs struct {
	ID   int    `amp:"id"`
	Fill []byte `amp:"fill"`
}

type soakResult struct {
	ID   int    `amp:"id"`
	Fill []byte `amp:"fill"`
}

var soakCommand = Command[soakArgs, soakResult]{Name: "Soak"}

func (s *soak) answer(_ context.Context, args soakArgs) (soakResult, error) {
	s.executed[args.ID].Add(1)
	if args.ID%50 == 0 {
		return soakResult{}, &Error{Code: "FIFTY", Description: fmt.Sprint(args.ID)}
	}
	return soakResult(args), nil
}

// end returns one end of the pair that lives, and makes a new pair when it does
// not.
func (s *soak) end(which int) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made > 0 && s.ends[0].alive() && s.ends[1].alive() {
		return s.ends[which]
	}
	s.closeLocked()
	m := new(Mux)
	soakCommand.Handle(m, s.answer)
	Command[soakArgs, soakResult]{Name: "Inline"}.HandleInline(m, s.answer)
	opts := &Options{MaxRunning: 50, MaxUnwritten: 50_000, Logger: quiet}
	x, y := net.Pipe()
	for i, nc := range []net.Conn{x, y} {
		f := &faulty{Conn: nc}
		f.life.Store(300 + rand.Int64N(2000))
		s.ends[i] = NewConn(f, m, opts)
	}
	s.made++
	return s.ends[which]
}

func (s *soak) closeLocked() {
	for _, c := range s.ends {
		if c != nil {
			c.Close()
			<-c.Done()
			c.handlers.wait()
		}
	}
}

// call makes one call, in one of several ways, and checks how it ends.
func (s *soak) call(which, id int) {
	c := s.end(which)
	args := soakArgs{ID: id, Fill: make([]byte, rand.IntN(20))}
	if id%100 == 1 {
		args.Fill = make([]byte, rand.IntN(MaxValue))
	}
	ctx := s.t.Context()
	if id%7 == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
		defer cancel()
	}
	cmd := soakCommand
	if id%3 == 0 {
		cmd.Name = "Inline"
	}
	if id%5 == 0 { // untyped, and by callback
		box, err := Marshal(args)
		if err != nil {
			s.t.Error(err)
			return
		}
		done := make(chan struct{})
		cancel := c.Go(cmd.Name, box, func(box Box, err error) {
			var result soakResult
			if err == nil {
				err = Unmarshal(box, &result)
			}
			if s.finished[id].Add(1) == 1 {
				s.check(id, len(args.Fill), result, err)
				close(done)
			}
		})
		if id%35 == 0 {
			cancel()
		}
		<-done
		return
	}
	result, err := cmd.Call(ctx, c, args)
	s.finished[id].Add(1)
	s.check(id, len(args.Fill), result, err)
}

// check checks the end of a call: an answer is its own, and says that it was
// executed once; without one it was executed once at most.
func (s *soak) check(id, fill int, result soakResult, err error) {
	n := s.executed[id].Load()
	switch e, ok := errors.AsType[*Error](err); {
	case err == nil:
		if result.ID != id || len(result.Fill) != fill || n != 1 {
			s.t.Errorf("call %d with %d bytes: answered %d with %d bytes, executed %d times", id, fill, result.ID, len(result.Fill), n)
		}
	case ok && e.Code == "FIFTY":
		if e.Description != fmt.Sprint(id) || n != 1 {
			s.t.Errorf("call %d: failed as %s, executed %d times", id, e.Description, n)
		}
	case ok && e.Code != ErrOverloaded.Code:
		s.t.Errorf("call %d: %v", id, err)
	case errors.Is(err, ErrSlowPeer) && id%5 != 0: // Go can't wait
		s.t.Errorf("call %d: %v", id, err)
	}
}

// Many calls between two connections with faults of every kind: no answer is
// lost, doubled or mixed up. A million of them in a long run.
func TestSoak(t *testing.T) {
	calls := 20_000
	if long {
		calls = 1_000_000
	}
	s := &soak{t: t, executed: make([]atomic.Int32, calls), finished: make([]atomic.Int32, calls)}
	var next atomic.Int64
	var wg sync.WaitGroup
	for which := range 2 {
		for range 40 {
			wg.Go(func() {
				for {
					id := int(next.Add(1)) - 1
					if id >= calls {
						return
					}
					s.call(which, id)
				}
			})
		}
	}
	wg.Wait()
	s.mu.Lock()
	s.closeLocked()
	s.mu.Unlock()
	executed := 0
	for id := range calls {
		if n := s.finished[id].Load(); n != 1 {
			t.Errorf("call %d ended %d times", id, n)
		}
		switch s.executed[id].Load() {
		case 0:
		case 1:
			executed++
		default:
			t.Errorf("call %d was executed %d times", id, s.executed[id].Load())
		}
	}
	t.Logf("%d calls over %d pairs of connections, %d executed", calls, s.made, executed)
	if s.made < 3 || executed < calls*3/4 {
		t.Errorf("%d pairs of connections, %d of %d calls executed: too few", s.made, executed, calls)
	}
}
