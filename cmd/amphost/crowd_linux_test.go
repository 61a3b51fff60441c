package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// long has these tests take their time, and use many more connections.
var long = os.Getenv("AMPHOST_LONG") != ""

// Idle connections cost those that call nothing but memory: beside ten thousand of
// them, or one thousand unless AMPHOST_LONG is set and the race detector is not
// there, every call is answered, plugins
// are replaced, and they are served themselves once they call. They are the most
// that is let in.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	idle := 1000
	if long && !raceEnabled() { // the race detector knows 8,128 goroutines
		idle = 10_000
	}
	const callers = 3
	dir := t.TempDir()
	write(t, mathsPlus(0), dir, "plugins", "math.js")
	write(t, helloPlugin("there"), dir, "plugins", "hello.js")
	// Go raises the soft limit of descriptors by itself, a shell the hard one.
	p := startProcess(t, dir, "sh", "-c", fmt.Sprintf(`n=%d; [ $(ulimit -Hn) = unlimited ] || [ $(ulimit -Hn) -ge $n ] || ulimit -Hn $n; exec "$0" "$@"`, idle+200),
		binary, "serve", "--port", "0", "--limit", fmt.Sprintf("connections=%d", idle+callers))
	s := &server{process: p, addr: p.stdout.await(t, `listens on (\S+)`)[1]}
	loops := make([]*sumLoop, callers)
	for i := range loops {
		loops[i] = startSumLoop(s)
	}
	poll(t, "calls to be answered", func() bool {
		return !slices.ContainsFunc(loops, func(l *sumLoop) bool { return l.answers.Load() == 0 })
	})
	begin := time.Now()
	crowd := startHolder(t, nil, s.addr, idle, sources(idle)...) // a thousand from one address are let in
	crowd.do("call Hello")                                       // so they are served
	t.Logf("%d connections were opened and made a call each in %v", idle, time.Since(begin))

	// They stay idle while others call, and plugins are replaced.
	for n := 1; n <= 3; n++ {
		save(t, mathsPlus(n), dir, "plugins", "math.js")
		poll(t, "the new plugin to answer", func() bool { return loops[0].last.Load() == int64(3+n) })
	}
	// One more is one too many.
	if err := s.dialRefused(t); err != nil {
		t.Errorf("one connection more: %v", err)
	}
	p.stderr.await(t, fmt.Sprintf(`connection refused.*%d connections are open`, idle+callers))
	for i, l := range loops {
		if answers, err := l.stop(); err != nil || answers == 0 {
			t.Errorf("client %d: %d answers, then %v", i, answers, err)
		}
	}
	crowd.do("call Hello") // and each of them is still there
	crowd.kill()
	poll(t, "others to be let in", func() bool {
		conn, err := amp.Dial(t.Context(), "tcp", s.addr, nil, nil)
		if err != nil {
			return false
		}
		defer conn.Close()
		_, err = conn.Call(t.Context(), "Hello", nil)
		return err == nil
	})
	s.stop()
}

// dialRefused connects, and returns an error unless the server hangs up at once.
func (s *server) dialRefused(t *testing.T) error {
	nc := s.connect()
	nc.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, nc); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%d bytes came, then %v", n, err)
	}
	return nil
}

// sources are so many loopback addresses that n connections make a thousand from
// each at most.
func sources(n int) (list []string) {
	for i := 0; i*900 < n; i++ {
		list = append(list, fmt.Sprintf("127.0.1.%d", i+1))
	}
	return list
}

// One connection that keeps ten thousand calls under way does not keep fifty
// others, which call one after another, from being answered. With AMPHOST_LONG
// and without the race detector their 99th percentile is measured, with and without
// that connection by turns: it is at most three times as long. What counts is the
// best of some turns, since the machine may have something else to do.
func TestPipelineBesideOthers(t *testing.T) {
	const callers, depth = 50, 10_000
	measured := long && !raceEnabled()
	rounds, turns := 20, 1
	if measured {
		rounds, turns = 1000, 8
	} else {
		t.Parallel()
	}
	dir := t.TempDir()
	write(t, helloPlugin("there"), dir, "plugins", "hello.js")
	s := serveIn(t, dir)
	conns := make([]*amp.Conn, callers)
	for i := range conns {
		conns[i] = s.dial()
	}
	pingPong := func() (p99 time.Duration) {
		took := make([][]time.Duration, callers)
		var wg sync.WaitGroup
		for i, c := range conns {
			wg.Go(func() { // ends with its calls
				for range rounds {
					begin := time.Now()
					if _, err := c.Call(t.Context(), "Hello", nil); err != nil {
						t.Errorf("a call beside others: %v", err)
						return
					}
					took[i] = append(took[i], time.Since(begin))
				}
			})
		}
		wg.Wait()
		all := slices.Concat(took...)
		slices.Sort(all)
		if len(all) != callers*rounds {
			t.Fatalf("%d of %d calls were answered", len(all), callers*rounds)
		}
		return all[len(all)*99/100]
	}
	pingPong() // whatever is slow at first

	// A bench in a process of its own keeps the pipeline full.
	flood := startProcess(t, dir, binary, "bench", s.addr, "Hello", "-c", "1", "-p", fmt.Sprint(depth), "-t", "10m", "--json")
	const never = time.Hour
	alone, beside := never, never
	for range turns {
		flood.signal(syscall.SIGSTOP)
		poll(t, "the pipelined calls to be answered", func() bool { return helloStatus(t, dir).InFlight == 0 })
		alone = min(alone, pingPong())
		flood.signal(syscall.SIGCONT)
		before := helloStatus(t, dir)
		poll(t, "the pipeline to be full", func() bool { return helloStatus(t, dir).Answered > before.Answered+depth })
		before = helloStatus(t, dir)
		beside = min(beside, pingPong())
		// It was kept full all the while.
		if n := int(helloStatus(t, dir).Answered-before.Answered) - callers*rounds; n < callers*rounds/10 {
			t.Errorf("meanwhile only %d pipelined calls were answered", n)
		}
		select {
		case <-flood.ended:
			t.Fatal("the pipeline has ended before the others were measured")
		default:
		}
	}
	flood.signal(os.Interrupt)
	flood.wait()
	if out := flood.stdout.text(); !strings.Contains(out, `"errors": {}`) {
		t.Errorf("the pipelined calls: %s", out)
	}
	t.Logf("p99 of %d connections is %v, and %v beside %d pipelined calls: %.1f times as long", callers, alone, beside, depth, float64(beside)/float64(alone))
	if measured && beside > 3*alone {
		t.Error("that is more than three times as long")
	}
	s.stop()
}

// helloStatus is what amphost plugins tells of the plugin hello.
func helloStatus(t *testing.T, dir string) pluginStatus {
	t.Helper()
	stdout, stderr, code := amphost(t, dir, "plugins", "--json")
	if code != 0 {
		t.Fatal(stderr)
	}
	var list []pluginStatus
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || len(list) != 1 {
		t.Fatalf("%v:\n%s", err, stdout)
	}
	return list[0]
}
