package amp

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Functions that wait for each other: none holds up another, however many.
func TestHandlersThatBlockHoldUpNobody(t *testing.T) {
	const n = 500
	m := new(Mux)
	var here sync.WaitGroup
	here.Add(n)
	m.HandleFunc("Meet", func(ctx context.Context, _ Box) (Box, error) {
		here.Done()
		here.Wait()
		return nil, nil
	})
	m.HandleFunc("Quick", func(context.Context, Box) (Box, error) { return nil, nil })
	c, _ := pair(t, nil, nil, m, nil)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := c.Call(t.Context(), "Meet", nil); err != nil {
				t.Error(err)
			}
		})
		if i%10 == 0 {
			if _, err := c.Call(t.Context(), "Quick", nil); err != nil {
				t.Error(err)
			}
		}
	}
	wg.Wait()
}

// Each of them waits for the next, which comes behind it.
func TestHandlersThatWaitForLaterOnes(t *testing.T) {
	const n = 300
	m := new(Mux)
	var come [n + 1]chan struct{}
	for i := range come {
		come[i] = make(chan struct{})
	}
	close(come[n])
	type link struct {
		N int `amp:"n"`
	}
	chain := Command[link, struct{}]{Name: "Link"}
	chain.Handle(m, func(_ context.Context, args link) (struct{}, error) {
		<-come[args.N+1]
		close(come[args.N])
		return struct{}{}, nil
	})
	c, p := startConn(t, m, nil)
	var boxes [][]string
	for i := range n {
		boxes = append(boxes, ask(fmt.Sprint(i), "Link", "n", fmt.Sprint(i)))
	}
	p.send(boxes...)
	for range n {
		if _, err := p.next(); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
}

// ServeAMP and inline functions run in the order in which commands arrive,
// around whatever else runs; with Strict, handler functions do, too.
func TestOrder(t *testing.T) {
	type number struct {
		N int `amp:"n"`
	}
	for _, kind := range []string{"ServeAMP", "HandleInline", "Handle, strict", "HandleFunc, strict"} {
		t.Run(kind, func(t *testing.T) {
			var got []int // no lock: only one at a time may run
			m := new(Mux)
			cmd := Command[number, struct{}]{Name: "N"}
			take := func(_ context.Context, args number) (struct{}, error) {
				got = append(got, args.N)
				if args.N%7 == 0 {
					runtime.Gosched()
				}
				return struct{}{}, nil
			}
			switch kind {
			case "ServeAMP":
				m.Handle("N", HandlerFunc(func(r *Request) {
					var args number
					if err := r.Unmarshal(&args); err != nil {
						r.Fail(err)
						return
					}
					take(r.Context(), args)
					r.Answer(nil)
				}))
			case "HandleInline":
				cmd.HandleInline(m, take)
			case "Handle, strict":
				cmd.Handle(m, take)
			case "HandleFunc, strict":
				m.HandleFunc("N", func(ctx context.Context, args Box) (Box, error) {
					var n number
					err := Unmarshal(args, &n)
					take(ctx, n)
					return nil, err
				})
			}
			c, _ := pair(t, nil, nil, m, &Options{Strict: strings.HasSuffix(kind, "strict")})
			const n = 2000
			var wg sync.WaitGroup
			wg.Add(n)
			for i := range n {
				c.Go("N", Box{"n": fmt.Append(nil, i)}, func(_ Box, err error) {
					if err != nil {
						t.Error(err)
					}
					wg.Done()
				})
			}
			wg.Wait()
			if len(got) != n || !slices.IsSorted(got) {
				t.Errorf("%d ran, in order: %v", len(got), slices.IsSorted(got))
			}
		})
	}
}

// A burst of short functions needs few goroutines, and they end.
func TestWorkersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w workers
		var ran atomic.Int64
		for range 10_000 {
			w.do(jobFunc(func() { ran.Add(1) }))
		}
		w.wait()
		synctest.Wait()
		if n := ran.Load(); n != 10_000 {
			t.Errorf("%d ran", n)
		}
		if w.n != 0 || w.starting || len(w.queue) != w.head {
			t.Errorf("left are %d goroutines, %d jobs", w.n, len(w.queue)-w.head)
		}
		w.wait() // at once
	})
}

// wait waits for functions that run, and for those they leave behind.
func TestWorkersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, serial := range []bool{false, true} {
			w := workers{serial: serial}
			start := time.Now()
			for range 10 {
				w.do(jobFunc(func() { time.Sleep(time.Second) }))
			}
			w.wait()
			want := time.Second
			if serial {
				want *= 10
			}
			if took := time.Since(start); took != want {
				t.Errorf("serial %v: took %v", serial, took)
			}
		}
	})
}

// A function that panics answers UNKNOWN, and the next one runs.
func TestPanickingHandlers(t *testing.T) {
	for _, strict := range []bool{false, true} {
		m := mathMux()
		boom := Command[struct{}, struct{}]{Name: "Boom"}
		boom.Handle(m, func(context.Context, struct{}) (struct{}, error) { panic("boom") })
		var log logbook
		c, p := startConn(t, m, &Options{Strict: strict, Logger: log.logger()})
		p.send(ask("1", "Boom"), ask("2", "Boom"), ask("3", "Sum", "a", "1", "b", "2"))
		got := map[string]string{}
		for range 3 {
			box, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			got[string(box["_error"])+string(box["_answer"])] = string(box["_error_code"]) + string(box["total"])
		}
		if got["1"] != "UNKNOWN" || got["2"] != "UNKNOWN" || got["3"] != "3" {
			t.Errorf("strict %v: got %v", strict, got)
		}
		if !strings.Contains(log.String(), "boom") || !strings.Contains(log.String(), "workers_test.go") {
			t.Errorf("the log says %s", log.String())
		}
		if strict {
			p.wantEnd()
		}
		c.Close()
	}
}

// grumpy is a value that does not like to be read.
type grumpy struct{}

func (grumpy) MarshalText() ([]byte, error) { return nil, nil }
func (*grumpy) UnmarshalText([]byte) error  { panic("grumble") }

// What panics on the reading goroutine, a handler or a value that is decoded,
// does not end the process, and not even the connection.
func TestPanicsOnTheReader(t *testing.T) {
	m := mathMux()
	m.Handle("Boom", HandlerFunc(func(*Request) { panic("boom") }))
	m.Handle("Paused", HandlerFunc(func(r *Request) { r.Pause(); panic("paused") }))
	m.Handle("Late", HandlerFunc(func(r *Request) { r.Answer(nil); panic("too late") }))
	Command[one[grumpy], struct{}]{Name: "Grumpy"}.Handle(m, func(context.Context, one[grumpy]) (struct{}, error) { return struct{}{}, nil })
	var log logbook
	c, p := startConn(t, m, &Options{Logger: log.logger()})
	unknown := func(tag string) { p.want("_error", tag, "_error_code", "UNKNOWN", "_error_description", unknownText) }
	p.send(ask("1", "Boom"), ask("2", "Paused"), ask("3", "Late"), ask("4", "Grumpy", "v", ""), []string{"_command", "Boom"})
	unknown("1")
	unknown("2")
	p.want("_answer", "3")
	unknown("4")
	p.send(ask("5", "Sum", "a", "1", "b", "2"))
	p.want("_answer", "5", "total", "3")
	eventually(t, "nothing runs", func() bool { return c.Running() == 0 })
	for _, want := range []string{"boom", "paused", "too late", "grumble", "workers_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, &log)
		}
	}
}

// An answer is sent once, whoever gives it, and whatever comes after.
func TestRequestsAreAnsweredOnce(t *testing.T) {
	var log logbook
	m := new(Mux)
	m.Handle("X", HandlerFunc(func(r *Request) {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				switch i % 5 {
				case 0:
					r.Answer(nil)
				case 1:
					r.Fail(&Error{Code: "E"})
				case 2:
					r.AnswerPairs(nil)
				case 3:
					r.Answer(Box{"k": []byte("v")})
				case 4:
					r.Fail(ErrUnhandled)
				}
			})
		}
		wg.Wait()
	}))
	c, p := startConn(t, m, &Options{Logger: log.logger()})
	for i := range 10 {
		p.send(ask(fmt.Sprint(i), "X"))
		box, err := p.next()
		if err != nil || string(box["_answer"])+string(box["_error"]) != fmt.Sprint(i) {
			t.Fatalf("answer %d is %v, %v", i, box, err)
		}
	}
	eventually(t, "the other answers are in the log", func() bool { return strings.Count(log.String(), "answered twice") == 90 })
	eventually(t, "nothing runs", func() bool { return c.Running() == 0 })
}

// What is answered after the connection's end is dropped quietly (item P11).
func TestAnswersAfterTheEnd(t *testing.T) {
	var log logbook
	var requests []*Request
	got := make(chan *Request, 10)
	c, p := startConn(t, HandlerFunc(func(r *Request) { got <- r }), &Options{Logger: log.logger()})
	p.send(ask("1", "X", "k", "v"), ask("2", "X"), ask("3", "X"), []string{"_command", "X"})
	for range 4 {
		requests = append(requests, <-got)
	}
	c.Close()
	endOf(t, c)
	requests[0].Answer(requests[0].Args())
	requests[1].Fail(&Error{Code: "E", Fatal: true})
	requests[2].Switch(nil)
	requests[3].Quit(nil)
	<-requests[0].Context().Done()
	if string(requests[0].Args()["k"]) != "v" || requests[0].Conn() != c {
		t.Error("the request does not know what it was")
	}
	if log.String() != "" {
		t.Errorf("the log says %s", log.String())
	}
}

// Handlers may pass requests on in a goroutine of their own, even while the
// server ends.
func TestDelayedRequestsWhileTheServerEnds(t *testing.T) {
	m := mathMux()
	for range 20 {
		var wg sync.WaitGroup
		begun := make(chan struct{}, 1000)
		h := HandlerFunc(func(r *Request) {
			wg.Go(func() {
				begun <- struct{}{}
				runtime.Gosched()
				m.ServeAMP(r)
			})
		})
		s := &Server{Handler: h, Options: &Options{Logger: quiet}}
		l := listen(t)
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		p := dialPeer(t, l.Addr().String())
		var boxes [][]string
		for i := range 50 {
			boxes = append(boxes, ask(fmt.Sprint(i), "Sum", "a", "1", "b", "2"))
		}
		p.send(boxes...)
		<-begun
		s.Close()
		<-served
		p.Close()
		wg.Wait()
		eventually(t, "it is over", func() bool { return len(s.Conns()) == 0 })
	}
}
