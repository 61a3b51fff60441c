package amp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTypedCallsAndDeclaredErrors(t *testing.T) {
	c := dial(t, serve(t, &Server{Handler: mathMux()}), nil, nil)
	if got, err := sum.Call(t.Context(), c, sumArgs{13, 81}); err != nil || got.Total != 94 {
		t.Errorf("Sum(13, 81) = %v, %v, want 94", got, err)
	}
	_, err := divide.Call(t.Context(), c, divideArgs{1, 0})
	if !errors.Is(err, errZero) || !errors.Is(err, &Error{Code: "ZERO_DIVISION"}) {
		t.Errorf("Divide(1, 0) fails with %v, want errZero with its code", err)
	}
	if got, err := divide.Call(t.Context(), c, divideArgs{1, 4}); err != nil || got.Result != 0.25 {
		t.Errorf("Divide(1, 4) after an error = %v, %v, want 0.25", got, err)
	}
	if _, err := c.Call(t.Context(), "Nope", nil); !errors.Is(err, ErrUnhandled) || err.(*Error).Description != "Unhandled Command: b'Nope'" {
		t.Errorf("an unknown command fails with %v", err)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	c := dial(t, serve(t, &Server{Handler: mathMux()}), nil, nil)
	var wg sync.WaitGroup
	for i := range 5000 {
		wg.Go(func() {
			got, err := sum.Call(t.Context(), c, sumArgs{i, 1})
			if err != nil || got.Total != i+1 {
				t.Errorf("Sum(%d, 1) = %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

// The bytes of items F1, L8 and K5.
func TestWireOfCommandsAndAnswers(t *testing.T) {
	_, p := startConn(t, mathMux(), nil)
	p.send(ask("23", "Sum", "a", "13", "b", "81"))
	p.want("_answer", "23", "total", "94")
	p.send(ask("24", "Divide", "denominator", "0", "numerator", "1"))
	p.want("_error", "24", "_error_code", "ZERO_DIVISION", "_error_description", "divide 1: division by zero")
	p.send(ask("25", "Nope"))
	p.want("_error", "25", "_error_code", "UNHANDLED", "_error_description", "Unhandled Command: b'Nope'")
	p.send([]string{"_command", "Sum", "a", "1", "b", "1"}, ask("", "Sum", "a", "1", "b", "1")) // no _ask; an empty one (item G1)
	p.want("_answer", "", "total", "2")

	c, p := startConn(t, nil, nil)
	go sum.Call(t.Context(), c, sumArgs{13, 81}) // ends with the connection
	p.want("_ask", "1", "_command", "Sum", "a", "13", "b", "81")
}

// Items G1 and G4: any bytes, and the same ones twice.
func TestTagsAreOpaque(t *testing.T) {
	_, p := startConn(t, mathMux(), nil)
	for _, tag := range []string{"", "1", "1", "\x00\xff", "0001", "Z", strings.Repeat("t", MaxValue)} {
		p.send(ask(tag, "Sum", "a", "1", "b", "2"))
		p.want("_answer", tag, "total", "3")
	}
}

// Item K2: an answer is an answer whatever else is in the box.
func TestAnswerGoesBeforeCommand(t *testing.T) {
	ran := false
	c, p := startConn(t, HandlerFunc(func(r *Request) { ran = true; r.Answer(nil) }), nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if box, err := c.Call(t.Context(), "X", nil); err != nil || string(box["k"]) != "v" {
			t.Errorf("Call = %v, %v", box, err)
		}
	})
	p.want("_ask", "1", "_command", "X")
	p.send([]string{"_answer", "1", "_ask", "9", "_command", "X", "_error", "1", "k", "v"})
	wg.Wait()
	c.Close()
	endOf(t, c)
	if ran {
		t.Error("the command was executed")
	}
}

func TestMalformedBoxesEndTheConnection(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     error
	}{
		{"empty box", "\x00\x00", ErrMalformed},
		{"no kind", string(wire([]string{"_ask", "1"})), ErrMalformed},
		{"error without code", string(wire([]string{"_error", "1", "_error_description", ""})), ErrMalformed},
		{"error without description", string(wire([]string{"_error", "1", "_error_code", "X"})), ErrMalformed},
		{"key too long", "\x01\x00", ErrTooLong},
		{"TLS", "\x16\x03\x01", ErrTooLong},
		{"HTTP", "GET / HTTP/1.1\r\n", ErrTooLong},
		{"half a box", "\x00\x01k\x00", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, p := startConn(t, mathMux(), &Options{Logger: quiet})
			p.Write([]byte(test.in)) // fails if the other end has seen enough
			if test.want == nil {
				p.Close()
				if err := endOf(t, c); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("the connection ended with %v", err)
				}
				return
			}
			if err := endOf(t, c); !errors.Is(err, test.want) {
				t.Errorf("the connection ended with %v, want %v", err, test.want)
			}
		})
	}
}

// Item F9: what was asked before the impossible key is still answered.
func TestAnswersBeforeAnImpossibleKey(t *testing.T) {
	p := dialPeer(t, serve(t, &Server{Handler: mathMux(), Options: &Options{Logger: quiet}}))
	p.Write(append(wire(ask("1", "Sum", "a", "1", "b", "2")), 1, 0))
	p.want("_answer", "1", "total", "3")
	p.wantEnd()
}

// Item F8: bytes may arrive in any pieces.
func TestBoxesInAnyPieces(t *testing.T) {
	_, p := startConn(t, mathMux(), nil)
	var in []byte
	for i := range 20 {
		in = append(in, wire(ask(fmt.Sprint(i), "Sum", "a", fmt.Sprint(i), "b", "1", "unknown", strings.Repeat("x", i*50)))...)
	}
	go func() {
		for n := 1; len(in) > 0; n = n%7 + 1 {
			piece := in[:min(n, len(in))]
			in = in[len(piece):]
			p.Write(piece)
		}
	}()
	got := map[string]string{}
	for range 20 {
		box, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		got[string(box["_answer"])] = string(box["total"])
	}
	for i := range 20 {
		if got[fmt.Sprint(i)] != fmt.Sprint(i+1) {
			t.Errorf("the answer to %d is %q", i, got[fmt.Sprint(i)])
		}
	}
}

// Item G5.
func TestAnswersGoOutWhenReady(t *testing.T) {
	gate := make(chan struct{})
	_, p := startConn(t, gateMux(gate), nil)
	p.send(ask("slow", "Wait"), ask("fast", "Echo", "k", "v"))
	p.want("_answer", "fast", "k", "v")
	close(gate)
	p.want("_answer", "slow")
}

// Both ends count up by calling each other from within the call: nothing of
// the connection may be held while a handler runs (item P10).
func TestBothEndsCallFromWithinCalls(t *testing.T) {
	type count struct {
		N int `amp:"n"`
	}
	type ok struct {
		OK bool `amp:"ok"`
	}
	countTo := Command[count, ok]{Name: "Count"}
	m := new(Mux)
	var got []int // calls are nested, so nothing runs at the same time
	countTo.Handle(m, func(ctx context.Context, args count) (ok, error) {
		got = append(got, args.N)
		if args.N == 100 {
			return ok{true}, nil
		}
		return countTo.Call(ctx, ConnFrom(ctx), count{args.N + 1})
	})
	a, _ := Pipe(m, m)
	t.Cleanup(func() { a.Close(); <-a.Done() })
	if res, err := countTo.Call(t.Context(), a, count{1}); err != nil || !res.OK {
		t.Fatalf("Count = %v, %v", res, err)
	}
	if len(got) != 100 || !slices.IsSorted(got) {
		t.Errorf("counted %v", got)
	}
}

func TestErrorsOfHandlers(t *testing.T) {
	m := new(Mux)
	fail := func(name string, err error) {
		m.HandleFunc(name, func(context.Context, Box) (Box, error) { return nil, err })
	}
	fail("plain", errors.New("secret"))
	fail("coded", &Error{Code: "MINE", Description: "why"})
	fail("wrapped", fmt.Errorf("outside: %w", &Error{Code: "MINE", Description: "inside"}))
	fail("unknown", ErrUnknown)
	fail("not text", &Error{Code: "\xff", Description: "a\xffz"})
	fail("long", &Error{Code: "LONG", Description: strings.Repeat("é", MaxValue)})
	fail("too long", nil)
	m.HandleFunc("too long to answer", func(context.Context, Box) (Box, error) { return Box{"k": make([]byte, MaxValue+1)}, nil })
	m.HandleFunc("reserved", func(context.Context, Box) (Box, error) { return Box{"_answer": nil}, nil })
	m.HandleFunc("panic", func(context.Context, Box) (Box, error) { panic("secret") })
	sum.HandleInline(m, func(context.Context, sumArgs) (sumResult, error) { panic("secret") })
	var log logbook
	c, _ := pair(t, nil, nil, m, &Options{Logger: log.logger()})
	for _, test := range []struct{ command, code, text string }{
		{"plain", "UNKNOWN", "Unknown Error"},
		{"coded", "MINE", "why"},
		{"wrapped", "MINE", "inside"},
		{"unknown", "UNKNOWN", "Unknown Error"},
		{"not text", "\xff", "a\uFFFDz"},
		{"long", "LONG", strings.Repeat("é", MaxValue/2)},
		{"too long to answer", "UNKNOWN", "Unknown Error"},
		{"reserved", "UNKNOWN", "Unknown Error"},
		{"panic", "UNKNOWN", "Unknown Error"},
		{"Sum", "BAD_ARGUMENTS", `argument "a": Integer missing`},
	} {
		_, err := c.Call(t.Context(), test.command, nil)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Code != test.code || !strings.Contains(e.Description, test.text) && test.command != "Sum" {
			t.Errorf("%s fails with %.200v, want %s: %.50s", test.command, err, test.code, test.text)
		}
	}
	if _, err := sum.Call(t.Context(), c, sumArgs{1, 2}); !errors.Is(err, ErrUnknown) {
		t.Errorf("an inline handler that panics answers %v", err)
	}
	if box, err := c.Call(t.Context(), "too long", nil); err != nil || len(box) != 0 {
		t.Errorf("after all that, a good command answers %v, %v", box, err)
	}
	for _, want := range []string{"secret", "command=plain", "tag=1", "peer=pipe", `the value of \"k\" is 65536 bytes long`, "handler panics"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q: %s", want, log.String())
		}
	}
}

// Item E10, and how it differs by default.
func TestFailureThatNobodyAskedAbout(t *testing.T) {
	fails := HandlerFunc(func(r *Request) { r.Fail(errors.New("no")) })
	c, p := startConn(t, fails, &Options{Logger: quiet})
	p.send([]string{"_command", "X"}, ask("1", "X"))
	p.want("_error", "1", "_error_code", "UNKNOWN", "_error_description", "Unknown Error")
	eventually(t, "both are answered", func() bool { return c.Running() == 0 })

	c, p = startConn(t, fails, &Options{Logger: quiet, Strict: true})
	p.send([]string{"_command", "X"})
	p.wantEnd()
	if err := endOf(t, c); err != ErrClosed {
		t.Errorf("a strict connection ended with %v", err)
	}
}

func TestStrictClosesLikeTwisted(t *testing.T) {
	m := mathMux()
	m.HandleFunc("fail", func(context.Context, Box) (Box, error) { return nil, errors.New("no") })
	m.HandleFunc("long", func(context.Context, Box) (Box, error) { return Box{"k": make([]byte, MaxValue+1)}, nil })
	unknown := func(tag string) []string {
		return []string{"_error", tag, "_error_code", "UNKNOWN", "_error_description", "Unknown Error"}
	}
	for _, test := range []struct {
		name string
		in   []string
		want []string // the box before the end, if any
	}{
		{"undeclared error", ask("1", "fail"), unknown("1")},
		{"malformed argument", ask("1", "Sum", "a", "x", "b", "1"), unknown("1")},
		{"answer too long", ask("1", "long"), nil},
		{"answer that nobody waits for", []string{"_answer", "77"}, nil},
		{"error that nobody waits for", []string{"_error", "77", "_error_code", "", "_error_description", ""}, nil},
		{"name that is not ASCII", ask("1", "\xff"), nil},
		{"failure without _ask", []string{"_command", "Nope"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, p := startConn(t, m, &Options{Strict: true, Logger: quiet})
			p.send(test.in)
			if test.want != nil {
				p.want(test.want...)
			}
			p.wantEnd()
		})
		t.Run(test.name+", not strict", func(t *testing.T) {
			_, p := startConn(t, m, &Options{Logger: quiet})
			p.send(test.in)
			if len(test.in) > 0 && test.in[0] == "_ask" {
				if box, err := p.next(); err != nil || box["_error_code"] == nil {
					t.Errorf("got %v, %v, want an error box", box, err)
				}
			}
			p.send(ask("2", "Sum", "a", "1", "b", "2"))
			p.want("_answer", "2", "total", "3")
		})
	}
}

// Items E8, S1 and P8: the error box or the answer is written, and so are the
// answers to what stood behind it in the same piece; then the end.
func TestFatalErrorAndQuitCloseAfterWriting(t *testing.T) {
	m := mathMux()
	m.HandleFunc("fatal", func(context.Context, Box) (Box, error) {
		return nil, &Error{Code: "FATAL", Description: "the end", Fatal: true}
	})
	m.Handle("fatal now", HandlerFunc(func(r *Request) { r.Fail(&Error{Code: "FATAL", Fatal: true}) }))
	m.Handle("quit", HandlerFunc(func(r *Request) { r.Quit(Box{"k": []byte("v")}) }))
	addr := serve(t, &Server{Handler: m})
	p := dialPeer(t, addr)
	p.send(ask("1", "fatal"))
	p.want("_error", "1", "_error_code", "FATAL", "_error_description", "the end")
	p.wantEnd()

	p = dialPeer(t, addr)
	p.send(ask("1", "quit"))
	p.want("_answer", "1", "k", "v")
	p.wantEnd()

	p = dialPeer(t, addr)
	p.send(ask("1", "fatal now"), ask("2", "Sum", "a", "1", "b", "2"))
	p.want("_error", "1", "_error_code", "FATAL", "_error_description", "")
	p.want("_answer", "2", "total", "3")
	p.wantEnd()

	// Much that is never read stands behind it: the answer still arrives, and
	// no reset in its place.
	p = dialPeer(t, addr)
	var flood [][]string
	for range 20_000 {
		flood = append(flood, ask("2", "Sum", "a", "1", "b", "2"))
	}
	go p.Write(wire(append([][]string{ask("1", "fatal now")}, flood...)...)) // ends with the connection
	p.want("_error", "1", "_error_code", "FATAL", "_error_description", "")
	for {
		if _, err := p.next(); err == io.EOF {
			break
		} else if err != nil {
			t.Errorf("the connection ends with %v", err)
			break
		}
	}
}

// A connection that is to close waits a second for what runs, no longer.
func TestFatalErrorWhileSomethingRuns(t *testing.T) {
	for _, lasts := range []time.Duration{lingerTime / 2, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			m := new(Mux)
			m.HandleFunc("Wait", func(ctx context.Context, args Box) (Box, error) {
				select {
				case <-time.After(lasts):
				case <-ctx.Done():
				}
				return args, nil
			})
			m.Handle("Fatal", HandlerFunc(func(r *Request) { r.Fail(&Error{Code: "FATAL", Fatal: true}) }))
			c, p := startConn(t, m, nil)
			start := time.Now()
			p.send(ask("1", "Wait"), ask("2", "Fatal"))
			p.want("_error", "2", "_error_code", "FATAL", "_error_description", "")
			if lasts < lingerTime {
				p.want("_answer", "1")
			}
			p.wantEnd()
			if took := time.Since(start); took != min(lasts, lingerTime) {
				t.Errorf("closed after %v", took)
			}
			if err := endOf(t, c); err != ErrClosed {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// The same while the reader waits: for a paused request, or for room to run
// more.
func TestFatalErrorWhileTheReaderWaits(t *testing.T) {
	for _, pause := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			fail := make(chan struct{})
			m := new(Mux)
			m.Handle("Fatal", HandlerFunc(func(r *Request) {
				r.spawn(jobFunc(func() { <-fail; r.Fail(&Error{Code: "FATAL", Fatal: true}) }))
			}))
			m.Handle("Wait", HandlerFunc(func(r *Request) { // for ever
				if pause {
					r.Pause()
				}
			}))
			_, p := startConn(t, m, &Options{MaxRunning: 3})
			p.send(ask("1", "Fatal"), ask("2", "Wait"), ask("3", "Wait"), ask("4", "Wait"), ask("5", "Wait"))
			synctest.Wait()
			start := time.Now()
			close(fail)
			p.want("_error", "1", "_error_code", "FATAL", "_error_description", "")
			p.wantEnd()
			if took := time.Since(start); took > lingerTime {
				t.Errorf("pause %v: closed after %v", pause, took)
			}
		})
	}
}

// A twoWay is a stream whose halves close one by one, without deadlines.
type twoWay struct {
	io.Reader
	io.WriteCloser
	closeRead func() error
}

func (s *twoWay) CloseWrite() error { return s.WriteCloser.Close() }

func (s *twoWay) Close() error {
	s.closeRead()
	return s.WriteCloser.Close()
}

func twoWays() (a, b *twoWay) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return &twoWay{ar, aw, ar.Close}, &twoWay{br, bw, br.Close}
}

// Item F17, done better: what was asked before the half close is answered.
func TestHalfCloseIsAnswered(t *testing.T) {
	for _, lasts := range []time.Duration{0, halfCloseTime - 1, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			m := new(Mux)
			m.HandleFunc("Wait", func(ctx context.Context, args Box) (Box, error) {
				select {
				case <-time.After(lasts):
				case <-ctx.Done():
				}
				return args, nil
			})
			a, b := twoWays()
			c := NewConn(a, m, nil)
			b.Write(wire(ask("1", "Wait", "k", "v")))
			b.CloseWrite()
			start := time.Now()
			all, err := io.ReadAll(b)
			if err != nil {
				t.Error(err)
			}
			want := ""
			if lasts < halfCloseTime {
				want = string(wire([]string{"_answer", "1", "k", "v"}))
			}
			if string(all) != want {
				t.Errorf("a command that takes %v is answered with %q", lasts, all)
			}
			if took := time.Since(start); took != min(lasts, halfCloseTime) {
				t.Errorf("a command that takes %v ends after %v", lasts, took)
			}
			if err := endOf(t, c); err != io.EOF {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestHalfCloseOverTCP(t *testing.T) {
	p := dialPeer(t, serve(t, &Server{Handler: mathMux()}))
	p.send(ask("1", "Sum", "a", "1", "b", "2"), ask("2", "Nope"))
	p.Conn.(*net.TCPConn).CloseWrite()
	got := map[string]bool{}
	for range 2 {
		box, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		got[encode(box)] = true
	}
	p.wantEnd()
	if !got[string(wire([]string{"_answer", "1", "total", "3"}))] {
		t.Errorf("got %v", got)
	}
}

// Calls that wait when the peer closes its half fail at once, though a command
// runs on.
func TestPendingCallsFailAtHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		a, b := twoWays()
		c := NewConn(a, gateMux(gate), nil)
		start := time.Now()
		failed := make(chan error, 1)
		c.Go("X", nil, func(_ Box, err error) { failed <- err })
		if _, err := ReadBox(b); err != nil {
			t.Fatal(err)
		}
		b.Write(wire(ask("1", "Wait")))
		b.CloseWrite()
		if err := <-failed; err != io.EOF || time.Since(start) != 0 {
			t.Errorf("the call fails with %v after %v", err, time.Since(start))
		}
		close(gate)
		if all, _ := io.ReadAll(b); string(all) != string(wire([]string{"_answer", "1"})) {
			t.Errorf("answered with %q", all)
		}
		endOf(t, c)
	})
}

// A handler that calls back to a peer that has closed its half learns so at
// once.
func TestCallsFailAfterHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan struct{})
		var took time.Duration
		var callErr error
		m := new(Mux)
		m.HandleFunc("X", func(ctx context.Context, args Box) (Box, error) {
			<-closed
			start := time.Now()
			_, callErr = ConnFrom(ctx).Call(ctx, "Back", nil)
			took = time.Since(start)
			return args, nil
		})
		a, b := twoWays()
		c := NewConn(a, m, nil)
		b.Write(wire(ask("1", "X")))
		b.CloseWrite()
		synctest.Wait()
		close(closed)
		if all, _ := io.ReadAll(b); string(all) != string(wire([]string{"_answer", "1"})) {
			t.Errorf("answered with %q", all)
		}
		endOf(t, c)
		if callErr == nil || took != 0 {
			t.Errorf("the call failed with %v after %v", callErr, took)
		}
	})
}

// A reason is what Err says.
func TestReasonsOfTheEnd(t *testing.T) {
	hangUp, p := startConn(t, nil, nil)
	p.Close()
	if err := endOf(t, hangUp); err != io.EOF {
		t.Errorf("after the peer hung up: %v", err)
	}
	closed, _ := startConn(t, nil, nil)
	if err := closed.Err(); err != nil {
		t.Errorf("before the end: %v", err)
	}
	closed.Close()
	closed.Close()
	if err := endOf(t, closed); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
	for name, call := range map[string]func() error{
		"Call":    func() error { _, err := closed.Call(t.Context(), "X", nil); return err },
		"Send":    func() error { return closed.Send(t.Context(), "X", nil) },
		"SendBox": func() error { return closed.SendBox(Box{"k": nil}) },
		"Switch":  func() error { _, err := closed.Switch(t.Context(), "X", nil); return err },
		"Go": func() error {
			done := make(chan error, 1)
			closed.Go("X", nil, func(_ Box, err error) { done <- err })()
			return <-done
		},
	} {
		if err := call(); err != ErrClosed {
			t.Errorf("%s after Close fails with %v", name, err)
		}
	}
	closed.LoseConnection()
	if err := closed.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown after Close: %v", err)
	}
}

func TestShutdownAnswersWhatRuns(t *testing.T) {
	gate := make(chan struct{})
	c, p := startConn(t, gateMux(gate), nil)
	p.send(ask("1", "Wait"))
	var wg sync.WaitGroup
	wg.Go(func() { // our own call is answered, too
		if box, err := c.Call(t.Context(), "Back", nil); err != nil || string(box["k"]) != "v" {
			t.Errorf("our call answers %v, %v", box, err)
		}
	})
	p.want("_ask", "1", "_command", "Back")
	eventually(t, "the command runs", func() bool { return c.Running() == 1 })
	wg.Go(func() {
		if err := c.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	})
	eventually(t, "it drains", c.isDraining)
	p.send(ask("2", "Echo"), []string{"_answer", "1", "k", "v"})
	p.want("_error", "2", "_error_code", "SHUTTING_DOWN", "_error_description", "the server is shutting down")
	select {
	case <-c.Done():
		t.Error("closed while a command runs")
	default:
	}
	close(gate)
	p.want("_answer", "1")
	p.wantEnd()
	wg.Wait()
	if err := c.Err(); err != ErrClosed {
		t.Errorf("ended with %v", err)
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		defer close(gate)
		c, p := startConn(t, gateMux(gate), nil)
		p.send(ask("1", "Wait"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		start := time.Now()
		if err := c.Shutdown(ctx); err != context.DeadlineExceeded || time.Since(start) != 7*time.Second {
			t.Errorf("Shutdown = %v after %v", err, time.Since(start))
		}
		if err := endOf(t, c); err != ErrClosed {
			t.Errorf("ended with %v", err)
		}
	})
}

// Transports that are no net.Conn: pipes, with deadlines and without.
func TestTransports(t *testing.T) {
	newPipe := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		return r, w
	}
	for name, streams := range map[string]func() (a, b io.ReadWriteCloser){
		"io.Pipe": func() (a, b io.ReadWriteCloser) { return twoWays() },
		"os.Pipe": func() (a, b io.ReadWriteCloser) {
			ar, bw := newPipe()
			br, aw := newPipe()
			return &twoWay{ar, aw, ar.Close}, &twoWay{br, bw, br.Close}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := streams()
			gate := make(chan struct{})
			ca, cb := NewConn(a, mathMux(), nil), NewConn(b, gateMux(gate), nil)
			if got, err := sum.Call(t.Context(), cb, sumArgs{1, 2}); err != nil || got.Total != 3 {
				t.Errorf("Sum = %v, %v", got, err)
			}
			if ca.RemoteAddr() != nil || ca.LocalAddr() != nil || ca.TLS() != nil {
				t.Errorf("addresses of a pipe: %v, %v, TLS %v", ca.RemoteAddr(), ca.LocalAddr(), ca.TLS())
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := ca.Call(t.Context(), "Wait", nil); err != nil {
					t.Errorf("a call that runs while its connection shuts down fails with %v", err)
				}
			})
			eventually(t, "the call runs", func() bool { return cb.Running() == 1 })
			wg.Go(func() { cb.Shutdown(t.Context()) })
			eventually(t, "it drains", cb.isDraining)
			close(gate)
			wg.Wait()
			if err := endOf(t, cb); err != ErrClosed {
				t.Errorf("the end that shut down ended with %v", err)
			}
			if err := endOf(t, ca); err != io.EOF {
				t.Errorf("the other end ended with %v", err)
			}
		})
	}
}
