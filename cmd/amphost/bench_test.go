package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// benched serves a handler on loopback, and returns a load for it.
func benched(t *testing.T, h amp.Handler) *load {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &amp.Server{Handler: h, Options: &amp.Options{Logger: slog.New(slog.DiscardHandler)}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }() // ends with Close
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return &load{to: target{network: "tcp", address: l.Addr().String()}, command: "Do", args: amp.Box{"A": []byte("1"), "z": nil}, conns: 3, inFlight: 5}
}

// As many calls are made as were asked for, each with the arguments, never more
// at a time; and errors are counted by code.
func TestLoadCounts(t *testing.T) {
	for _, rate := range []float64{0, 20_000} {
		var calls, running, most atomic.Int64
		l := benched(t, amp.HandlerFunc(func(r *amp.Request) {
			now := running.Add(1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			n := calls.Add(1)
			args := r.Args()
			go func() {
				defer r.Answer(amp.Box{"x": []byte("y")})
				running.Add(-1)
				switch {
				case r.Command != "Do" || len(args) != 2 || string(args["A"]) != "1":
					t.Errorf("%s %q", r.Command, args)
				case n%4 == 0:
					r.Fail(&amp.Error{Code: "FOURTH"})
				}
			}()
		}))
		l.calls, l.rate = 1000, rate
		if err := l.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		times, failed := l.result()
		if calls.Load() != 1000 || l.done.Load() != 1000 || times.TotalCount() != 1000 || failed["FOURTH"] != 250 || len(failed) != 1 {
			t.Errorf("rate %v: %d calls made, %d done, %d times, errors %v, want 1000 each and 250 FOURTH", rate, calls.Load(), l.done.Load(), times.TotalCount(), failed)
		}
		if most.Load() > 15 {
			t.Errorf("rate %v: %d calls at a time, want at most 15", rate, most.Load())
		}
	}
}

// What a server did not let be sent in time counts as its delay.
func TestLoadIsNotSparedByAStall(t *testing.T) {
	var calls atomic.Int64
	stall := make(chan struct{})
	l := benched(t, amp.HandlerFunc(func(r *amp.Request) {
		if calls.Add(1) == 10 {
			<-stall // the connection's reader: nothing of it is taken meanwhile
		}
		r.Answer(nil)
	}))
	l.conns, l.inFlight, l.calls, l.rate = 1, 2, 200, 1000
	time.AfterFunc(500*time.Millisecond, func() { close(stall) })
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	times, failed := l.result()
	// Of 200 calls, a millisecond apart, all that came after the tenth waited.
	if p50 := time.Duration(times.ValueAtPercentile(50)); p50 < 200*time.Millisecond || len(failed) > 0 {
		t.Errorf("half of the calls took %v, errors %v, want 200ms and more: the stall is hidden", p50, failed)
	}
}

// Values that fill the sockets in both directions are no deadlock, and a peer
// that hangs up or speaks no AMP is told of.
func TestLoadOfLargeValuesAndLostConnections(t *testing.T) {
	big := make([]byte, 60_000)
	l := benched(t, amp.HandlerFunc(func(r *amp.Request) { r.Answer(amp.Box{"a": big, "b": big}) }))
	l.inFlight, l.calls = 40, 600
	l.args = amp.Box{"a": big, "b": big}
	if err := l.run(t.Context()); err != nil || l.done.Load() != 600 {
		t.Errorf("%d calls of 600 done, %v", l.done.Load(), err)
	}

	for code, answer := range map[string]string{codeLost: "", codeMalformed: "HTTP/1.1 400 Bad Request\r\n\r\n"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		go func() { // ends with the listener
			for {
				nc, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = io.ReadFull(nc, make([]byte, 10))
				_, _ = io.WriteString(nc, answer)
				nc.(*net.TCPConn).CloseWrite()
				go io.Copy(io.Discard, nc) // so that it is no reset
			}
		}()
		l := &load{to: target{network: "tcp", address: listener.Addr().String()}, command: "Do", conns: 2, inFlight: 3, calls: 100}
		if err := l.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, failed := l.result(); failed[code] != 6 || len(failed) != 1 {
			t.Errorf("errors %v, want 6 times %q", failed, code)
		}
	}
}

// Time or a signal ends it, also when nothing is answered.
func TestLoadEnds(t *testing.T) {
	l := benched(t, amp.HandlerFunc(func(*amp.Request) {}))
	l.time = 50 * time.Millisecond
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, failed := l.result(); len(failed) != 0 || l.done.Load() != 0 {
		t.Errorf("errors %v, %d done: what was cut off is neither", failed, l.done.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := benched(t, nil).run(ctx); err == nil {
		t.Error("no error without a connection")
	}
}

func TestAssertions(t *testing.T) {
	l := &load{calls: 1, began: time.Now()}
	if err := benched(t, amp.HandlerFunc(func(r *amp.Request) { r.Fail(&amp.Error{Code: "NO"}) })).runInto(l); err != nil {
		t.Fatal(err)
	}
	times, failed := l.result()
	r := newBenchReport(l, times, failed, time.Second)
	for text, want := range map[string]int{
		"errors==1,calls==1": 0, "p99<1h , p99.9<=1h,min>0s": 0, "errors==0": 1, "rate>=2,max<1ns": 2, "errors!=1": 1,
	} {
		var a assertions
		if err := a.Set(text); err != nil {
			t.Fatal(err)
		}
		if got := a.failures(r); len(got) != want {
			t.Errorf("%s: %q, want %d failures", text, got, want)
		}
	}
	for _, bad := range []string{"", "p99", "p99<5", "p101<5ms", "errors<x", "speed>1", "p99=<1ms"} {
		if err := new(assertions).Set(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A load of which every call fails is a failure, unless its errors were asked about;
// one of which some fail is none.
func TestBenchOfNothingButErrors(t *testing.T) {
	var calls atomic.Int64
	l := benched(t, amp.HandlerFunc(func(r *amp.Request) {
		if calls.Add(1); r.Command == "Never" || r.Command == "Often" && calls.Load() > 1 {
			r.Fail(&amp.Error{Code: "NO"})
			return
		}
		r.Answer(nil)
	}))
	for _, test := range []struct {
		command, assert string
		code            int
		says            string
	}{
		{"Never", "", 1, "amphost: every call failed, with NO: "},
		{"Never", "p99<1h", 1, "every call failed, with NO: "},
		{"Never", "errors==20", 0, ""},
		{"Never", "errors==0", 99, "errors==0 does not hold"},
		{"Often", "", 0, ""},
		{"Always", "", 0, ""},
	} {
		calls.Store(0)
		args := []string{"bench", l.to.address, test.command, "-n", "20", "-c", "1"}
		if test.assert != "" {
			args = append(args, "--assert", test.assert)
		}
		stdout, stderr, code := amphost(t, t.TempDir(), args...)
		if code != test.code || !strings.Contains(stderr, test.says) || test.says == "" && stderr != "" || !strings.Contains(stdout, "calls    20 in") {
			t.Errorf("%s, --assert %q: exit status %d, want %d with %q\n%s%s", test.command, test.assert, code, test.code, test.says, stdout, stderr)
		}
	}
}

// runInto runs a load as another one, which has numbers of its own.
func (l *load) runInto(other *load) error {
	other.to, other.command, other.conns, other.inFlight = l.to, l.command, 1, 1
	return other.run(context.Background())
}

// An alarm is never early, and closing it wakes who sleeps, now or later.
func TestAlarm(t *testing.T) {
	for _, exact := range []bool{true, false} {
		a, err := newAlarm(exact)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []time.Duration{0, time.Microsecond, 300 * time.Microsecond, 5 * time.Millisecond} {
			begin := time.Now()
			a.sleep(d)
			if took := time.Since(begin); took < d {
				t.Errorf("sleep(%v) returned after %v, exact %v", d, took, exact)
			}
		}
		woken := make(chan struct{})
		go func() { // ends with the alarm
			a.sleep(time.Hour)
			a.sleep(time.Hour)
			close(woken)
		}()
		a.close()
		a.close() // by whoever else ends the load
		<-woken
	}
}
