package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// echoPlugin answers Echo with what it was sent.
const echoPlugin = `import * as amp from "amphost";
new amp.Command("Echo", { arguments: { data: amp.String() }, response: { data: amp.String() } }).responder(({ data }) => ({ data }));
new amp.Command("Tell", { arguments: { data: amp.String() }, requiresAnswer: false }).responder(() => ({}));
`

// quietDir returns a new directory with plugins that log nothing.
func quietDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, mathsPlus(0), dir, "plugins", "math.js")
	write(t, echoPlugin, dir, "plugins", "echo.js")
	return dir
}

// besideOthers has clients that behave call a server all the while, and checks
// that every call of theirs is answered, and some are while harm is done.
func besideOthers(t *testing.T, s *server, harm func()) {
	t.Helper()
	var loops []*sumLoop
	for range 3 {
		loops = append(loops, startSumLoop(s))
	}
	poll(t, "the others to be answered", func() bool { return loops[0].answers.Load() > 0 })
	before := loops[0].answers.Load()
	harm()
	for i, l := range loops {
		answers, err := l.stop()
		if err != nil {
			t.Errorf("client %d, which behaves, was not answered: %v", i, err)
		}
		if i == 0 && answers-before < 10 {
			t.Errorf("a client that behaves got %d answers meanwhile", answers-before)
		}
	}
}

// connect opens a connection that the test writes to as it likes.
func (s *server) connect() net.Conn {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	return nc
}

// closedBy waits until the server has closed a connection, and returns how long
// that took.
func closedBy(t *testing.T, nc net.Conn) time.Duration {
	t.Helper()
	begin := time.Now()
	nc.SetReadDeadline(begin.Add(patience))
	if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the server does not close the connection")
	}
	return time.Since(begin)
}

// box returns the bytes of a box.
func box(t *testing.T, b amp.Box) []byte {
	t.Helper()
	out, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Who begins a box and never finishes it, be it that nothing more comes or a byte
// now and then, is cut off in time, and nobody else. Who begins none may wait.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	s := serveIn(t, quietDir(t), "--limit", "finish-box=1s")
	quiet := s.dial()
	ask := box(t, amp.Box{"_ask": []byte("1"), "_command": []byte("Sum"), "a": []byte("1"), "b": bytes.Repeat([]byte("2"), 10_000)})
	besideOthers(t, s, func() {
		const each = 20
		var conns []net.Conn
		for range each {
			nc := s.connect()
			nc.Write(ask[:30])
			conns = append(conns, nc)
		}
		for range each {
			nc := s.connect()
			go func() { // ends with the connection
				for _, octet := range ask {
					if _, err := nc.Write([]byte{octet}); err != nil {
						return
					}
					time.Sleep(50 * time.Millisecond) // this is what the client does
				}
			}()
			conns = append(conns, nc)
		}
		for i, nc := range conns {
			if took := closedBy(t, nc); i == 0 && took < 500*time.Millisecond {
				t.Errorf("it is cut off after %v already", took)
			}
		}
		// Whatever came after the deadline, none of them was answered.
		poll(t, "the log to tell of each", func() bool {
			return len(lines(s.stderr.text(), "began a box and did not finish it in time")) == 2*each
		})
	})
	if _, err := quiet.Call(t.Context(), "Sum", amp.Box{"a": []byte("1"), "b": []byte("2")}); err != nil {
		t.Errorf("a connection on which no box was begun: %v", err)
	}
	s.stop()
}

// Who asks and never reads the answers is not read from any further, and then cut
// off: what it can have the server hold is bounded.
func TestFloodWithoutReading(t *testing.T) {
	t.Parallel()
	dir := quietDir(t)
	s := serveIn(t, dir, "--limit", "unread=1MiB", "--limit", "progress=1s")
	besideOthers(t, s, func() {
		nc := s.connect()
		ask := box(t, amp.Box{"_ask": []byte("1"), "_command": []byte("Echo"), "data": bytes.Repeat([]byte("x"), 10_000)})
		sent := 0
		nc.SetWriteDeadline(time.Now().Add(patience))
		for {
			n, err := nc.Write(ask)
			sent += n
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the server does not close the connection")
			}
			if err != nil {
				break
			}
			if sent > 64<<20 {
				t.Fatalf("the server takes %d bytes of calls whose answers nobody reads", sent)
			}
		}
		s.stderr.await(t, `connection ended.*the peer does not read`)
		t.Logf("cut off after %d bytes of calls", sent)
	})
	s.stop()
}

// Who sends without end, calls that want an answer or calls that do not, keeps
// nobody from being answered.
func TestFloodWithoutEnd(t *testing.T) {
	t.Parallel()
	dir := quietDir(t)
	s := serveIn(t, dir)
	besideOthers(t, s, func() {
		var told, answered atomic.Int64
		ended := make(chan struct{})
		flood := func(b amp.Box) net.Conn {
			nc := s.connect()
			ask := bytes.Repeat(box(t, b), 50)
			go func() { // ends with the connection
				for {
					if _, err := nc.Write(ask); err != nil {
						return
					}
					told.Add(50)
				}
			}()
			return nc
		}
		silent := flood(amp.Box{"_command": []byte("Tell"), "data": []byte("x")})
		asking := flood(amp.Box{"_command": []byte("Echo"), "_ask": []byte("1"), "data": []byte("x")})
		go func() { // ends with the connection
			defer close(ended)
			n, _ := io.Copy(&counter{n: &answered}, asking)
			t.Logf("%d bytes of answers were read", n)
		}()
		for begin := time.Now(); time.Since(begin) < 2*time.Second || answered.Load() == 0; time.Sleep(10 * time.Millisecond) {
			if time.Since(begin) > patience {
				t.Fatal("nothing is answered")
			}
		}
		silent.Close()
		asking.Close()
		<-ended
		t.Logf("%d calls were sent", told.Load())
	})
	s.stop()
}

// A counter counts what is written.
type counter struct{ n *atomic.Int64 }

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// A box beyond the limits ends its connection, whether it is sent at once or
// never ends, and what was asked before it is answered; one within them passes.
func TestOversizeBoxes(t *testing.T) {
	t.Parallel()
	dir := quietDir(t)
	s := serveIn(t, dir, "--limit", "box=1MiB", "--limit", "pairs=100")
	large := func(pairs, size int) amp.Box {
		b := amp.Box{"data": []byte("x")}
		for i := range pairs {
			b["k"+strconv.Itoa(i)] = bytes.Repeat([]byte("v"), size)
		}
		return b
	}
	besideOthers(t, s, func() {
		for _, fits := range []amp.Box{large(15, 65_000), large(90, 10)} {
			if _, err := ask(t.Context(), s.dial(), "Echo", "data", fits); err != nil {
				t.Errorf("a box within the limits: %v", err)
			}
		}
		for what, b := range map[string]amp.Box{"bytes": large(17, 65_000), "pairs": large(101, 1)} {
			if _, err := ask(t.Context(), s.dial(), "Echo", "data", b); err == nil || remoteCode(err) != "" {
				t.Errorf("a box with too many %s: %v, want the connection to end", what, err)
			}
		}
		// One that does not end, behind a call.
		nc := s.connect()
		if _, err := nc.Write(box(t, amp.Box{"_ask": []byte("7"), "_command": []byte("Echo"), "data": []byte("before")})); err != nil {
			t.Fatal(err)
		}
		go func() { // ends with the connection
			for i := 0; ; i++ {
				pair := box(t, amp.Box{fmt.Sprintf("%08d", i): bytes.Repeat([]byte("v"), 60_000)})
				if _, err := nc.Write(pair[:len(pair)-2]); err != nil {
					return
				}
			}
		}()
		nc.SetReadDeadline(time.Now().Add(patience))
		answer, err := io.ReadAll(nc)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the server does not close the connection")
		}
		if !strings.Contains(string(answer), "before") {
			t.Errorf("what was asked before a box without end was answered with %q, %v", answer, err)
		}
		poll(t, "the log to tell of each", func() bool { return len(lines(s.stderr.text(), "box too big")) == 3 })
	})
	s.stop()
}
