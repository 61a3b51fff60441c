package amp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type lineArgs struct {
	Name string `amp:"name"`
}

var errNoLine = errors.New("no line")

// lines switches to a protocol that answers each line with it, in capitals.
var lines = SwitchCommand[lineArgs]{Name: "Lines", Errors: ErrorCodes{{"NO_LINE", errNoLine}}}

func lineMux() *Mux {
	m := mathMux()
	lines.Handle(m, func(_ context.Context, args lineArgs) (func(net.Conn), error) {
		if args.Name == "nobody" {
			return nil, errNoLine
		}
		return func(nc net.Conn) {
			defer nc.Close()
			r := bufio.NewScanner(nc)
			for r.Scan() {
				io.WriteString(nc, strings.ToUpper(r.Text())+"\n")
			}
		}, nil
	})
	return m
}

// speak says a line and returns the answer.
func speak(t *testing.T, nc net.Conn, line string) string {
	t.Helper()
	if _, err := io.WriteString(nc, line+"\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(answer, "\n")
}

func TestSwitchOnBothEnds(t *testing.T) {
	s := &Server{Handler: lineMux()}
	ended := make(chan error, 1)
	s.OnDisconnect = func(_ *Conn, err error) { ended <- err }
	c := dial(t, serve(t, s), nil, nil)
	if _, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil {
		t.Fatal(err)
	}
	nc, err := lines.Call(t.Context(), c, lineArgs{"ada"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := speak(t, nc, "hello"); got != "HELLO" {
		t.Errorf("the other protocol says %q", got)
	}
	if err := endOf(t, c); err != ErrSwitched {
		t.Errorf("ended with %v", err)
	}
	if err := <-ended; err != ErrSwitched {
		t.Errorf("the server's end ended with %v", err)
	}
	if _, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != ErrSwitched {
		t.Errorf("a call after the switch = %v", err)
	}
	if len(s.Conns()) != 1 { // until the stream is closed
		t.Error("the server has lost count of the stream")
	}
	// The end of the stream is the end of the connection.
	nc.(interface{ CloseWrite() error }).CloseWrite()
	if rest, err := io.ReadAll(nc); err != nil || len(rest) != 0 {
		t.Errorf("the rest is %q, %v", rest, err)
	}
	eventually(t, "the server's end is gone", func() bool { return len(s.Conns()) == 0 })
}

// Shutdown gives streams that have switched the time that its context has,
// Close gives them none.
func TestEndOfAServerWithSwitchedStreams(t *testing.T) {
	for _, polite := range []bool{true, false} {
		s := &Server{Handler: lineMux()}
		c := dial(t, serve(t, s), nil, nil)
		nc, err := lines.Call(t.Context(), c, lineArgs{})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		speak(t, nc, "hello")
		if polite {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
				t.Errorf("Shutdown = %v", err)
			}
		} else {
			s.Close()
		}
		if _, err := io.ReadAll(nc); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("the stream ends with %v", err)
		}
		eventually(t, "it is gone", func() bool { return len(s.Conns()) == 0 })
	}
}

// Item S2: what stands behind the request belongs to the new protocol, boxes
// or not; and nothing but the answer goes before it.
func TestBytesBehindASwitch(t *testing.T) {
	gate := make(chan struct{})
	m := lineMux()
	m.HandleFunc("Wait", func(context.Context, Box) (Box, error) { <-gate; return nil, nil })
	m.Handle("Echo", HandlerFunc(func(r *Request) { r.Answer(nil) }))
	p := dialPeer(t, serve(t, &Server{Handler: m}))
	p.Write(append(wire(ask("1", "Wait"), ask("2", "Echo")), append(wire(ask("3", "Lines", "name", "")), "first\n\x00\x00second\n"...)...))
	answers := map[string]bool{}
	for range 2 {
		box, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		answers[string(box["_answer"])] = true
	}
	if !answers["2"] || !answers["3"] {
		t.Errorf("answered were %v", answers)
	}
	close(gate) // too late: it must not leak into the stream
	for _, want := range []string{"FIRST\n", "\x00\x00SECOND\n"} {
		if got, err := p.r.ReadString('\n'); got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	p.Write([]byte("third\n"))
	if got, err := p.r.ReadString('\n'); got != "THIRD\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// The same without Pause, from an asynchronous handler.
func TestSwitchLater(t *testing.T) {
	for _, streams := range []func() (a, b io.ReadWriteCloser){
		func() (a, b io.ReadWriteCloser) { return net.Pipe() },
		func() (a, b io.ReadWriteCloser) { return twoWays() },
	} {
		synctest.Test(t, func(t *testing.T) {
			var requests []*Request
			a, b := streams()
			c := NewConn(a, HandlerFunc(func(r *Request) { requests = append(requests, r) }), &Options{Logger: quiet})
			b.Write(wire(ask("1", "X"), ask("2", "X"), ask("3", "X")))
			synctest.Wait()
			got := make(chan net.Conn, 1)
			go requests[0].Switch(func(nc net.Conn) { got <- nc })
			if box, err := ReadBox(b); err != nil || string(box["_answer"]) != "1" {
				t.Errorf("got %v, %v", box, err)
			}
			requests[1].Switch(func(net.Conn) { t.Error("switched twice") })
			requests[2].Answer(nil)
			go io.WriteString(b, "\x00\x00hello")
			nc := <-got
			hello := make([]byte, 7)
			if _, err := io.ReadFull(nc, hello); err != nil || string(hello) != "\x00\x00hello" {
				t.Errorf("the stream begins with %q, %v", hello, err)
			}
			if err := endOf(t, c); err != ErrSwitched {
				t.Errorf("ended with %v", err)
			}
			nc.Close()
			b.Close()
		})
	}
}

// Two requests switch; the reader is paused for the one that loses.
func TestTwoSwitches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests []*Request
		c, p := startConn(t, HandlerFunc(func(r *Request) {
			requests = append(requests, r)
			if r.Command == "Pause" {
				r.Pause()
			}
		}), nil)
		p.send(ask("1", "X"), ask("2", "Pause"))
		synctest.Wait()
		got := make(chan net.Conn, 1)
		requests[0].Switch(func(nc net.Conn) { got <- nc })
		p.want("_answer", "1")
		requests[1].Switch(func(net.Conn) { t.Error("switched twice") })
		(<-got).Close()
		endOf(t, c)
	})
}

// Item S4: after an error AMP goes on, at both ends.
func TestRefusedSwitch(t *testing.T) {
	c := dial(t, serve(t, &Server{Handler: lineMux()}), nil, nil)
	if nc, err := lines.Call(t.Context(), c, lineArgs{"nobody"}); !errors.Is(err, errNoLine) || nc != nil {
		t.Errorf("Lines = %v, %v", nc, err)
	}
	if _, err := (SwitchCommand[struct{}]{Name: "Lines"}).Call(t.Context(), c, struct{}{}); !errors.Is(err, ErrBadArguments) {
		t.Errorf("Lines without its argument = %v", err)
	}
	if _, err := c.Switch(t.Context(), "Nope", nil); !errors.Is(err, ErrUnhandled) {
		t.Errorf("an unknown switch = %v", err)
	}
	if _, err := c.Switch(t.Context(), "X", Box{"": nil}); err != ErrEmptyKey {
		t.Errorf("a switch that can't be sent = %v", err)
	}
	if got, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil || got.Total != 3 {
		t.Errorf("after refusals: %v, %v", got, err)
	}
	if nc, err := lines.Call(t.Context(), c, lineArgs{}); err != nil {
		t.Errorf("after refusals: %v", err)
	} else {
		nc.Close()
	}
	// Without _ask nothing happens (item G7).
	_, p := startConn(t, lineMux(), nil)
	p.send([]string{"_command", "Lines", "name", ""}, ask("1", "Sum", "a", "1", "b", "2"))
	p.want("_answer", "1", "total", "3")
}

// Item S3, from the asking end: nothing follows the request, and the answers
// that this end owes wait for what becomes of it.
func TestNothingFollowsARequestToSwitch(t *testing.T) {
	for _, refused := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			gate := make(chan struct{})
			c, p := startConn(t, gateMux(gate), nil)
			pending := make(chan error, 1)
			c.Go("Pending", nil, func(_ Box, err error) { pending <- err })
			p.want("_ask", "1", "_command", "Pending")
			p.send(ask("a", "Wait"))
			done := make(chan net.Conn, 1)
			go func() {
				nc, err := c.Switch(t.Context(), "Switch", nil)
				if (err != nil) != refused {
					t.Errorf("Switch = %v", err)
				}
				done <- nc
			}()
			p.want("_ask", "2", "_command", "Switch")
			if err := c.Send(t.Context(), "X", nil); err != ErrSwitched {
				t.Errorf("Send = %v", err)
			}
			if _, err := c.Call(t.Context(), "X", nil); err != ErrSwitched {
				t.Errorf("Call = %v", err)
			}
			if _, err := c.Switch(t.Context(), "X", nil); err != ErrSwitched {
				t.Errorf("Switch = %v", err)
			}
			if err := c.StartTLS(t.Context(), nil); err != ErrSwitched {
				t.Errorf("StartTLS = %v", err)
			}
			close(gate)
			p.send(ask("b", "Echo"))
			synctest.Wait()
			p.SetReadDeadline(time.Now().Add(time.Second))
			if box, err := p.next(); err == nil {
				t.Errorf("%v follows the request", box)
			}
			p.SetReadDeadline(time.Time{})
			if refused {
				p.send([]string{"_error", "2", "_error_code", "E", "_error_description", ""})
				got := map[string]bool{}
				for range 2 {
					box, err := p.next()
					if err != nil {
						t.Fatal(err)
					}
					got[string(box["_answer"])] = true
				}
				if !got["a"] || !got["b"] {
					t.Errorf("answered were %v", got)
				}
				<-done
				p.send([]string{"_answer", "1"})
				if err := <-pending; err != nil {
					t.Errorf("the pending call = %v", err)
				}
				return
			}
			p.Write(append(wire([]string{"_answer", "2"}), "\x00\x00raw"...)) // it follows at once
			nc := <-done
			if err := <-pending; err != ErrSwitched {
				t.Errorf("the pending call = %v", err)
			}
			raw := make([]byte, 5)
			if _, err := io.ReadFull(nc, raw); err != nil || string(raw) != "\x00\x00raw" {
				t.Errorf("the stream begins with %q, %v", raw, err)
			}
			go io.WriteString(nc, "back")
			back := make([]byte, 4)
			if _, err := io.ReadFull(p, back); err != nil || string(back) != "back" {
				t.Errorf("the peer gets %q, %v", back, err)
			}
			nc.Close()
		})
	}
}

func TestSwitchEndsWithItsContextOrConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := startConn(t, nil, nil)
		go p.next()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Switch(ctx, "X", nil); err != context.DeadlineExceeded {
			t.Errorf("Switch = %v", err)
		}
		endOf(t, c)

		c, p = startConn(t, nil, nil)
		go func() { p.next(); p.Close() }()
		if _, err := c.Switch(t.Context(), "X", nil); err != io.EOF {
			t.Errorf("Switch = %v", err)
		}
		c, p = startConn(t, nil, nil)
		go func() { p.next(); c.Close() }()
		if _, err := c.Switch(t.Context(), "X", nil); err != ErrClosed {
			t.Errorf("Switch = %v", err)
		}
		// The peer answers, and hangs up at once.
		c, p = startConn(t, nil, nil)
		go func() { p.next(); p.send([]string{"_answer", "1"}); p.Close() }()
		if nc, err := c.Switch(t.Context(), "X", nil); err == nil {
			nc.Close()
		}
	})
}

// Both ends ask the other to switch at the same time: both are refused, and
// AMP goes on.
func TestSwitchAskedByBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := startConn(t, lineMux(), nil)
		done := make(chan error, 1)
		go func() {
			_, err := c.Switch(t.Context(), "Lines", nil)
			done <- err
		}()
		p.want("_ask", "1", "_command", "Lines")
		p.send(ask("1", "Lines", "name", ""))
		p.want("_error", "1", "_error_code", "UNKNOWN", "_error_description", "a protocol switch is under way")
		p.send([]string{"_error", "1", "_error_code", "UNKNOWN", "_error_description", ""}, ask("2", "Sum", "a", "1", "b", "2"))
		p.want("_answer", "2", "total", "3")
		if err := <-done; !errors.Is(err, ErrUnknown) {
			t.Errorf("Switch = %v", err)
		}
	})
}

// Encrypted first, and then another protocol.
func TestSwitchOverTLS(t *testing.T) {
	c := dial(t, serve(t, &Server{Handler: lineMux(), Options: &Options{Logger: quiet}}), nil, nil)
	if err := c.StartTLS(t.Context(), &tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	nc, err := lines.Call(t.Context(), c, lineArgs{})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := speak(t, nc, "hello"); got != "HELLO" {
		t.Errorf("the other protocol says %q", got)
	}
	if c.TLS() == nil {
		t.Error("not encrypted")
	}
}

// Many streams that switch while calls are under way: no answer strays into a
// stream.
func TestSwitchHammer(t *testing.T) {
	addr := serve(t, &Server{Handler: lineMux()})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 5 {
				c, err := Dial(t.Context(), "tcp", addr, nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				var calls sync.WaitGroup
				for range 10 {
					calls.Go(func() {
						if got, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err == nil && got.Total != 3 || err != nil && err != ErrSwitched {
							t.Errorf("Sum = %v, %v", got, err)
						}
					})
				}
				nc, err := lines.Call(t.Context(), c, lineArgs{})
				if err != nil {
					t.Error(err)
					return
				}
				if got := speak(t, nc, "hello"); got != "HELLO" {
					t.Errorf("the other protocol says %q", got)
				}
				calls.Wait()
				nc.Close()
			}
		})
	}
	wg.Wait()
}
