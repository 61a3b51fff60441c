package amp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A peer that never finishes a box, but sends a byte of it now and then.
func TestBoxTimeout(t *testing.T) {
	for _, streams := range []func() (a, b io.ReadWriteCloser){
		func() (a, b io.ReadWriteCloser) { return net.Pipe() },
		func() (a, b io.ReadWriteCloser) { return twoWays() },
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := streams()
			c := NewConn(a, mathMux(), &Options{BoxTimeout: 10 * time.Second})
			defer b.Close()
			go io.Copy(io.Discard, b) // ends with the connection
			time.Sleep(time.Hour)     // nothing is begun: nothing is due
			start := time.Now()
			for i := range 9 { // whole boxes, at their leisure
				b.Write(wire(ask(fmt.Sprint(i), "Sum", "a", "1", "b", "2"))[:5])
				time.Sleep(9 * time.Second)
				b.Write(wire(ask(fmt.Sprint(i), "Sum", "a", "1", "b", "2"))[5:])
			}
			if took := time.Since(start); took != 81*time.Second || c.Err() != nil {
				t.Fatalf("ended with %v after %v", c.Err(), took)
			}
			start = time.Now()
			var took time.Duration
			go func() { <-c.Done(); took = time.Since(start) }()
			for _, octet := range wire(ask("9", "Sum", "a", "1", "b", strings.Repeat("2", 100))) {
				if _, err := b.Write([]byte{octet}); err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			if err := endOf(t, c); !errors.Is(err, ErrBoxTimeout) {
				t.Errorf("ended with %v", err)
			}
			synctest.Wait()
			if took != 10*time.Second {
				t.Errorf("ended after %v", took)
			}
		})
	}
}

// Twisted's clients idle for hours, and AMP has no ping.
func TestIdleConnectionsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := startConn(t, mathMux(), nil)
		time.Sleep(365 * 24 * time.Hour)
		p.send(ask("1", "Sum", "a", "1", "b", "2"))
		p.want("_answer", "1", "total", "3")
	})
}

func TestIdleTimeout(t *testing.T) {
	for _, streams := range []func() (a, b io.ReadWriteCloser){
		func() (a, b io.ReadWriteCloser) { return net.Pipe() },
		func() (a, b io.ReadWriteCloser) { return twoWays() },
	} {
		synctest.Test(t, func(t *testing.T) {
			m := new(Mux)
			m.HandleFunc("Wait", func(context.Context, Box) (Box, error) {
				time.Sleep(55 * time.Second)
				return nil, nil
			})
			a, b := streams()
			defer b.Close()
			c := NewConn(a, m, &Options{IdleTimeout: 10 * time.Second})
			go io.Copy(io.Discard, b) // ends with the connection
			start := time.Now()
			for range 5 {
				time.Sleep(9 * time.Second)
				b.Write(wire([]string{"_answer", "nobody"}))
			}
			b.Write(wire(ask("1", "Wait"))) // keeps it alive: 45 s + 55 s
			ctx, cancel := context.WithTimeout(t.Context(), 95*time.Second)
			defer cancel()
			if _, err := c.Call(ctx, "X", nil); err != context.DeadlineExceeded { // so does this: 45 s + 95 s
				t.Errorf("the call ends with %v", err)
			}
			if err := endOf(t, c); !errors.Is(err, ErrIdle) {
				t.Errorf("ended with %v", err)
			}
			if took := time.Since(start); took <= 140*time.Second || took > 150*time.Second {
				t.Errorf("ended after %v", took)
			}
		})
	}
}

// A peer that takes nothing is cut off; one that takes a little is not.
func TestWriteTimeout(t *testing.T) {
	for name, streams := range map[string]func() (a, b io.ReadWriteCloser){
		"deadlines":    func() (a, b io.ReadWriteCloser) { return net.Pipe() },
		"no deadlines": func() (a, b io.ReadWriteCloser) { return twoWays() },
		"a net.Conn without deadlines": func() (a, b io.ReadWriteCloser) {
			a, b = twoWays()
			return pipeConn{a}, b
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := streams()
			defer b.Close()
			gate := make(chan struct{})
			defer close(gate)
			c := NewConn(a, gateMux(gate), &Options{WriteTimeout: 10 * time.Second})
			b.Write(wire(ask("1", "Echo", "k", strings.Repeat("v", 500))))
			start := time.Now()
			var got [100]byte
			for range 5 {
				time.Sleep(9 * time.Second)
				if _, err := io.ReadFull(b, got[:]); err != nil {
					if name == "deadlines" {
						t.Errorf("%s: a slow peer is cut off after %v: %v, %v", name, time.Since(start), err, c.Err())
					}
					break
				}
			}
			if err := endOf(t, c); !errors.Is(err, ErrSlowPeer) {
				t.Errorf("%s: ended with %v", name, err)
			}
			if took := time.Since(start); took > 65*time.Second {
				t.Errorf("%s: ended after %v", name, took)
			}
		})
	}
}

// The limits let pass what real peers send (item F7): 2,000 keys, and 20 full
// values; on both ends.
func TestLargeBoxesPass(t *testing.T) {
	a, _ := pair(t, nil, nil, gateMux(nil), nil)
	many, full := make(Box), make(Box)
	for i := range 2000 {
		many[fmt.Sprintf("key %d", i)] = []byte(fmt.Sprint(i))
	}
	for i := range 20 {
		full[fmt.Sprintf("key %d", i)] = make([]byte, MaxValue)
	}
	for _, box := range []Box{many, full} {
		got, err := a.Call(t.Context(), "Echo", box)
		if err != nil || encode(got) != encode(box) {
			t.Errorf("a box of %d keys comes back with %d, %v", len(box), len(got), err)
		}
	}
}

func TestMaxBoxAndMaxPairs(t *testing.T) {
	box := func(pairs, value int) []string {
		b := ask("1", "Echo")
		for i := 2; i < pairs; i++ {
			b = append(b, fmt.Sprintf("k%03d", i), strings.Repeat("v", value))
		}
		return b
	}
	for _, test := range []struct {
		opts Options
		in   []string
		want bool // passes
	}{
		{Options{MaxPairs: 5}, box(5, 1), true},
		{Options{MaxPairs: 5}, box(6, 1), false},
		{Options{MaxBox: 1000}, box(3, 900), true},
		{Options{MaxBox: 1000}, box(3, 1000), false},
		{Options{MaxBox: 100_000}, box(3, 60_000), true},
		{Options{MaxBox: 100_000}, box(4, 60_000), false},
		{Options{MaxBox: -1, MaxPairs: -1}, box(300, 60_000), true},
		{Options{}, box(60, 65_000), true},
		{Options{}, box(80, 65_000), false},
		{Options{}, box(10_001, 0), false},
	} {
		name := fmt.Sprintf("%d pairs, %d bytes, limits %d and %d", len(test.in)/2, len(wire(test.in)), test.opts.MaxPairs, test.opts.MaxBox)
		c, p := startConn(t, gateMux(nil), &test.opts)
		go p.Write(wire(test.in)) // ends when the box is read or the connection closed
		box, err := p.next()
		if test.want {
			if err != nil || len(box) != len(test.in)/2-1 {
				t.Errorf("%s: got %d pairs, %v", name, len(box), err)
			}
			continue
		}
		if end := endOf(t, c); err == nil || !errors.Is(end, ErrBoxTooBig) {
			t.Errorf("%s: ended with %v", name, end)
		}
	}
}

// A value that is too large for the box is noticed before it is there.
func TestUnfinishedBoxThatIsTooBig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := startConn(t, nil, &Options{MaxBox: 1000, BoxTimeout: -1})
		p.Write(wire([]string{"k", strings.Repeat("v", 60_000)})[:2000]) // fails if it was noticed
		if err := endOf(t, c); !errors.Is(err, ErrBoxTooBig) {
			t.Errorf("ended with %v", err)
		}
	})
}

// A box that never ends is noticed without its end.
func TestEndlessBox(t *testing.T) {
	c, p := startConn(t, nil, &Options{MaxBox: 1 << 20})
	n := 0
	for pair := appendPair(nil, "k", strings.Repeat("v", 10_000)); ; n += len(pair) {
		if _, err := p.Write(pair); err != nil {
			break
		}
	}
	if err := endOf(t, c); !errors.Is(err, ErrBoxTooBig) || n > 1<<20+largeInput {
		t.Errorf("ended with %v after %d bytes", err, n)
	}
}

// MaxRunning commands run; then nothing is read until one is answered, and its
// answer written.
func TestMaxRunningIsBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		c, p := startConn(t, gateMux(gate), &Options{MaxRunning: 10})
		var written atomic.Int64
		go func() {
			for i := range 1000 {
				p.Write(wire(ask(fmt.Sprint(i), "Wait", "k", strings.Repeat("v", 100))))
				written.Add(1)
			}
		}()
		synctest.Wait()
		if n := written.Load(); c.Running() != 11 || n > 20 {
			t.Errorf("%d commands run, %d were read", c.Running()-1, n) // one is waiting for its turn
		}
		close(gate)
		for range 1000 {
			if _, err := p.next(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if c.Running() != 0 {
			t.Errorf("%d commands run in the end", c.Running())
		}
	})
}

// Large boxes are held back before MaxRunning of them run; one runs always.
func TestMaxRunningBytesIsBackPressure(t *testing.T) {
	for _, test := range []struct{ limit, running int }{{10_000, 11}, {1, 2}, {-1, 100}} {
		synctest.Test(t, func(t *testing.T) {
			gate := make(chan struct{})
			c, p := startConn(t, gateMux(gate), &Options{MaxRunning: 10_000, MaxRunningBytes: test.limit})
			go func() {
				for i := range 100 {
					p.Write(wire(ask(fmt.Sprint(i), "Wait", "k", strings.Repeat("v", 1000))))
				}
			}()
			synctest.Wait()
			if n := c.Running(); n != test.running {
				t.Errorf("MaxRunningBytes %d: %d commands run or wait for their turn, want %d", test.limit, n, test.running)
			}
			close(gate)
			for range 100 {
				if _, err := p.next(); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if c.Running() != 0 || c.held.Load() != 0 {
				t.Errorf("in the end %d commands run with %d bytes", c.Running(), c.held.Load())
			}
		})
	}
}

// While this end waits for an answer, MaxRunningBytes is no reason not to read on
// either, until far too much of it is there.
func TestMaxRunningBytesWhileCalling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		c, p := startConn(t, gateMux(gate), &Options{MaxRunningBytes: 5000, Logger: quiet})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Call(t.Context(), "X", nil); err != nil {
				t.Errorf("our call ends with %v", err)
			}
		})
		p.want("_ask", "1", "_command", "X")
		large := strings.Repeat("v", 30_000)
		p.send(ask("1", "Wait", "k", large), ask("2", "Wait", "k", large), ask("3", "Wait", "k", large), ask("4", "Wait", "k", large))
		p.want("_error", "4", "_error_code", "OVERLOADED", "_error_description", "3 commands of this connection are running")
		p.send([]string{"_answer", "1"})
		wg.Wait()
		close(gate)
		for range 3 {
			if _, err := p.next(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// While this end waits for an answer it reads on: the answer may be next. But
// not without bound.
func TestMaxRunningWhileCalling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		c, p := startConn(t, gateMux(gate), &Options{MaxRunning: 10, Logger: quiet})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Call(t.Context(), "X", nil); err != nil {
				t.Errorf("our call ends with %v", err)
			}
		})
		p.want("_ask", "1", "_command", "X")
		for i := range 160 {
			p.send(ask(fmt.Sprint(i), "Wait"))
		}
		p.send(ask("more", "Wait"))
		p.want("_error", "more", "_error_code", "OVERLOADED", "_error_description", "160 commands of this connection are running")
		p.send([]string{"_answer", "1"})
		wg.Wait()
		close(gate)
		for range 160 {
			if _, err := p.next(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Two hosts that call each other with more than all buffers hold, in handler
// functions and inline: each must read while it can't write.
func TestBothEndsCallWithFullPipes(t *testing.T) {
	for _, inline := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) { // its time, for nobody shall wait for real
			m := new(Mux)
			if inline {
				m = gateMux(nil)
			} else {
				m.HandleFunc("Echo", func(_ context.Context, args Box) (Box, error) { return args, nil })
			}
			opts := &Options{MaxRunning: 16, MaxUnwritten: 200_000, WriteTimeout: -1}
			a, b := pair(t, m, opts, m, opts) // a pipe without any buffer
			args := Box{"k": make([]byte, 60_000)}
			var wg sync.WaitGroup
			for _, c := range []*Conn{a, b} {
				for range 40 {
					wg.Go(func() {
						for range 2 {
							if got, err := c.Call(t.Context(), "Echo", args); err != nil || len(got["k"]) != 60_000 {
								t.Errorf("Echo = %d bytes, %v", len(got["k"]), err)
								return
							}
						}
					})
				}
			}
			wg.Wait()
		})
	}
}

// Commands that want no answer are no reason to stop reading.
func TestBothEndsSendWithFullPipes(t *testing.T) {
	var got atomic.Int64
	count := HandlerFunc(func(r *Request) { got.Add(1); r.Answer(nil) })
	opts := &Options{MaxUnwritten: 200_000, WriteTimeout: -1}
	a, b := pair(t, count, opts, count, opts)
	args := Box{"k": make([]byte, 60_000)}
	var wg sync.WaitGroup
	for _, c := range []*Conn{a, b} {
		for range 20 {
			wg.Go(func() {
				for range 10 {
					if err := c.Send(t.Context(), "X", args); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	eventually(t, "all have arrived", func() bool { return got.Load() == 400 })
}

// 13 MB of answers that the client does not read yet are nothing unusual for
// Twisted (item P9).
func TestManyUnreadAnswersPass(t *testing.T) {
	m := new(Mux)
	value := make([]byte, MaxValue)
	m.Handle("inline", HandlerFunc(func(r *Request) { r.Answer(Box{"k": value}) }))
	m.HandleFunc("func", func(context.Context, Box) (Box, error) { return Box{"k": value}, nil })
	s := &Server{Handler: m}
	addr := serve(t, s)
	for _, command := range []string{"inline", "func"} {
		p := dialPeer(t, addr)
		const n = 13 << 20 / MaxValue
		var boxes [][]string
		for i := range n {
			boxes = append(boxes, ask(fmt.Sprint(i), command))
		}
		p.send(boxes...)
		eventually(t, "all is answered that will be", func() bool {
			conns := s.Conns()
			return len(conns) == 1 && unwritten(conns[0]) > 7<<20
		})
		for range n {
			if box, err := p.next(); err != nil || len(box["k"]) != MaxValue {
				t.Fatalf("%s: %d bytes, %v", command, len(box["k"]), err)
			}
		}
		p.Close()
		eventually(t, "the connection is gone", func() bool { return len(s.Conns()) == 0 })
	}
}

// unwritten is how much waits to be written.
func unwritten(c *Conn) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.size()
}

// A peer that asks for much and reads nothing: what waits for it stays within
// bounds, whoever answers, and whether this end calls it meanwhile or not; and
// in the end it is cut off.
func TestPeerThatDoesNotRead(t *testing.T) {
	value := make([]byte, 50_000)
	for _, test := range []struct {
		command string
		calling bool
		most    int
	}{
		{"inline", false, 1_100_000}, {"func", false, 1_100_000},
		{"inline", true, 2_400_000}, {"func", true, 2_400_000},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := new(Mux)
			m.Handle("inline", HandlerFunc(func(r *Request) { r.Answer(Box{"k": value}) }))
			m.HandleFunc("func", func(context.Context, Box) (Box, error) { return Box{"k": value}, nil })
			c, p := startConn(t, m, &Options{MaxUnwritten: 1 << 20, WriteTimeout: 5 * time.Second, Logger: quiet})
			if test.calling {
				go c.Call(t.Context(), "X", nil) // ends with the connection
			}
			go func() { // ends with the connection
				for i := 0; ; i++ {
					if _, err := p.Write(wire(ask(fmt.Sprint(i), test.command), ask("", test.command))); err != nil {
						return
					}
					if i%100 == 0 {
						time.Sleep(20 * time.Millisecond)
					}
				}
			}()
			start := time.Now()
			most := 0
			for c.Err() == nil {
				most = max(most, unwritten(c))
				time.Sleep(20 * time.Millisecond)
			}
			if most > test.most {
				t.Errorf("%v: %d bytes waited", test, most)
			}
			if err := c.Err(); !errors.Is(err, ErrSlowPeer) || time.Since(start) > 6*time.Second {
				t.Errorf("%v: ended with %v after %v", test, err, time.Since(start))
			}
		})
	}
}

// A peer that reads, but slower than it asks, gets all its answers, even while
// this end calls it; and they do not pile up.
func TestSlowReaderIsHeldBack(t *testing.T) {
	for _, calling := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := new(Mux)
			value := make([]byte, 50_000)
			m.Handle("X", HandlerFunc(func(r *Request) { r.Answer(Box{"k": value}) }))
			c, p := startConn(t, m, &Options{MaxUnwritten: 1 << 20})
			const n = 500
			if calling {
				go c.Call(t.Context(), "Never", nil) // ends with the connection
				p.want("_ask", "1", "_command", "Never")
			}
			go func() {
				for i := range n {
					p.Write(wire(ask(fmt.Sprint(i), "X")))
				}
			}()
			most := 0
			for i := range n {
				time.Sleep(100 * time.Millisecond)
				most = max(most, unwritten(c))
				box, err := p.next()
				if err != nil || string(box["_answer"]) != fmt.Sprint(i) {
					t.Fatalf("calling %v, %d: %v, %v", calling, i, string(box["_answer"]), err)
				}
			}
			if most > 2<<20 {
				t.Errorf("calling %v: %d bytes waited", calling, most)
			}
		})
	}
}

// Call and Send wait for room, each as long as its context lets it.
func TestCallsWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := startConn(t, nil, &Options{MaxUnwritten: 1 << 20, WriteTimeout: -1})
		args := Box{"k": make([]byte, 60_000)}
		var wg sync.WaitGroup
		var sent, answered atomic.Int64
		for range 100 {
			wg.Go(func() {
				if err := c.Send(t.Context(), "X", args); err != nil {
					t.Error(err)
				}
				sent.Add(1)
			})
		}
		synctest.Wait()
		if n := unwritten(c); n > 1<<20+61_000 || sent.Load() == 100 {
			t.Errorf("%d bytes wait, %d are sent", n, sent.Load())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Send(ctx, "X", args); err != context.DeadlineExceeded {
			t.Errorf("Send = %v", err)
		}
		if _, err := c.Call(ctx, "X", args); err != context.DeadlineExceeded {
			t.Errorf("Call = %v", err)
		}
		for range 50 {
			wg.Go(func() {
				if _, err := c.Call(t.Context(), "X", args); err != nil {
					t.Error(err)
				}
				answered.Add(1)
			})
		}
		failed := make(chan error, 1000)
		for range 1000 { // Go can't wait
			c.Go("X", args, func(_ Box, err error) { failed <- err })
		}
		if err := <-failed; err != ErrSlowPeer {
			t.Errorf("Go = %v", err)
		}
		for answered.Load() < 50 {
			box, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			if tag, ok := box["_ask"]; ok {
				p.send([]string{"_answer", string(tag)})
			}
			synctest.Wait()
		}
		go io.Copy(io.Discard, p.r) // what is left; ends with the connection
		wg.Wait()
	})
}

// The same at once from many goroutines: none of them may be told that the
// peer is slow only because all of them found room at the same time.
func TestManyCallsWaitForRoomAtOnce(t *testing.T) {
	opts := &Options{MaxUnwritten: 100_000}
	a, _ := pair(t, nil, opts, gateMux(nil), &Options{MaxRunning: -1, MaxUnwritten: -1})
	args := Box{"k": make([]byte, 60_000)}
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 300 {
		wg.Go(func() {
			<-start
			if _, err := a.Call(t.Context(), "Echo", args); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
}

// A flood of commands, answered as they come: neither end keeps more than its
// share, and all are answered.
func TestFlood(t *testing.T) {
	p := dialPeer(t, serve(t, &Server{Handler: mathMux()}))
	n := 20_000
	if long {
		n *= 10
	}
	go func() {
		var buf []byte
		for i := range n {
			buf = append(buf, wire(ask(fmt.Sprint(i), "Sum", "a", fmt.Sprint(i), "b", "1"))...)
		}
		p.Write(buf)
	}()
	seen := make([]bool, n)
	for range n {
		box, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		var i, total int
		fmt.Sscan(string(box["_answer"]), &i)
		fmt.Sscan(string(box["total"]), &total)
		if seen[i] || total != i+1 {
			t.Fatalf("the answer to %d is %d, seen %v", i, total, seen[i])
		}
		seen[i] = true
	}
}

// The time in which this end does not read is not the peer's.
func TestBoxTimeoutDoesNotCountOurOwnWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		m := gateMux(gate)
		value := make([]byte, 60_000)
		m.HandleFunc("Big", func(context.Context, Box) (Box, error) {
			<-gate
			return Box{"k": value}, nil
		})
		c, p := startConn(t, m, &Options{MaxUnwritten: 100_000, BoxTimeout: 10 * time.Second, WriteTimeout: -1})
		p.send(ask("1", "Big"))
		big := wire(ask("2", "Echo", "k", strings.Repeat("v", 60_000)))
		p.Write(big[:100]) // begins a box
		synctest.Wait()
		close(gate)
		synctest.Wait()
		go p.Write(big[100:])
		time.Sleep(time.Minute) // reads nothing
		if c.Err() == nil {
			p.want("_answer", "1", "k", string(value))
		}
		if box, err := p.next(); err != nil || len(box["k"]) != 60_000 {
			t.Errorf("got %d bytes, %v; ended with %v", len(box["k"]), err, c.Err())
		}
	})
}

// A negative limit is none: all that a peer asks for is answered though it
// reads nothing.
func TestNoLimitOnUnwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(Mux)
		value := make([]byte, 60_000)
		m.Handle("X", HandlerFunc(func(r *Request) { r.Answer(Box{"k": value}) }))
		c, p := startConn(t, m, &Options{MaxUnwritten: -1, MaxRunning: -1, WriteTimeout: -1})
		for i := range 500 {
			p.send(ask(fmt.Sprint(i), "X"))
		}
		time.Sleep(time.Hour)
		if n := unwritten(c); n < 500*60_000 {
			t.Errorf("%d bytes wait", n)
		}
		for i := range 500 {
			if box, err := p.next(); err != nil || string(box["_answer"]) != fmt.Sprint(i) {
				t.Fatalf("%d: %v, %v", i, string(box["_answer"]), err)
			}
		}
	})
}

// A connection that is silent after it was busy keeps no large buffer.
func TestSilentConnectionsGiveBackTheirBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := startConn(t, gateMux(nil), nil)
		value := strings.Repeat("v", 10_000)
		for range 5 {
			p.send(ask("1", "Echo", "k", value))
			p.want("_answer", "1", "k", value)
			time.Sleep(lullTime / 2)
		}
		synctest.Wait()
		if c.in.large == nil {
			t.Error("a busy connection has a small buffer")
		}
		p.send(ask("1", "Echo", "k", value))
		p.want("_answer", "1", "k", value)
		time.Sleep(3 * lullTime)
		synctest.Wait()
		if c.in.large != nil || len(c.in.buf) > len(c.in.small) {
			t.Error("a silent connection has a large buffer")
		}
	})
}
