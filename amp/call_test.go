package amp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCallEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := startConn(t, nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		read := make(chan struct{})
		go func() { defer close(read); p.next() }()
		start := time.Now()
		if _, err := c.Call(ctx, "X", nil); err != context.DeadlineExceeded || time.Since(start) != 3*time.Second {
			t.Errorf("Call = %v after %v", err, time.Since(start))
		}
		<-read
		// A context that has ended sends nothing.
		if _, err := c.Call(ctx, "X", nil); err != context.DeadlineExceeded {
			t.Errorf("Call = %v", err)
		}
		if err := c.Send(ctx, "X", nil); err != context.DeadlineExceeded {
			t.Errorf("Send = %v", err)
		}
		because := errors.New("because")
		stopped, stop := context.WithCancelCause(t.Context())
		go func() { p.want("_ask", "2", "_command", "Y"); stop(because) }()
		if _, err := c.Call(stopped, "Y", nil); err != because {
			t.Errorf("Call = %v, want the context's cause", err)
		}
	})
}

// Item P15: the answer to a call that was given up is no error; nor is one to
// a call that never was, unless Strict.
func TestLateAnswersAreIgnored(t *testing.T) {
	for _, strict := range []bool{false, true} {
		c, p := startConn(t, nil, &Options{Strict: strict, Logger: quiet})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Call(ctx, "X", nil); err != context.Canceled {
				t.Errorf("Call = %v", err)
			}
		})
		p.want("_ask", "1", "_command", "X")
		cancel()
		wg.Wait()
		p.send([]string{"_answer", "1"})
		wg.Go(func() {
			if box, err := c.Call(t.Context(), "Y", nil); err != nil || string(box["k"]) != "v" {
				t.Errorf("the call after it answers %v, %v", box, err)
			}
		})
		p.want("_ask", "2", "_command", "Y")
		if !strict { // tags are compared as bytes, not as numbers
			p.send([]string{"_answer", "02", "k", "of 02"}, []string{"_answer", "2 ", "k", "of 2 and a blank"})
		}
		p.send([]string{"_answer", "2", "k", "v"})
		wg.Wait()
		for _, tag := range []string{"2", "", "02", "FF", "77", "1234567890abcdef0", "-1"} { // a second answer, and nobody's
			if strict {
				break
			}
			p.send([]string{"_answer", tag}, []string{"_error", tag, "_error_code", "", "_error_description", ""})
		}
		if strict {
			p.send([]string{"_answer", "1"}) // the second one (item K3)
			p.wantEnd()
			continue
		}
		wg.Go(func() {
			if _, err := c.Call(t.Context(), "Z", nil); err != nil {
				t.Errorf("after answers that nobody waits for: %v", err)
			}
		})
		p.want("_ask", "3", "_command", "Z")
		p.send([]string{"_answer", "3"})
		wg.Wait()
	}
}

func TestGoCallsBackOnce(t *testing.T) {
	c, p := startConn(t, nil, &Options{Logger: quiet})
	type result struct {
		box Box
		err error
	}
	results := make(chan result, 10)
	done := func(box Box, err error) { results <- result{box, err} }
	cancels := make([]func(), 4)
	for i := range cancels {
		cancels[i] = c.Go(fmt.Sprint("C", i), nil, done)
	}
	for i := range cancels { // in the order of the calls
		p.want("_ask", fmt.Sprint(i+1), "_command", fmt.Sprint("C", i))
	}
	cancels[0]()
	if r := <-results; r.err != context.Canceled {
		t.Errorf("a cancelled call ends with %v", r)
	}
	p.send([]string{"_answer", "1"}, []string{"_answer", "2", "k", "v"},
		[]string{"_error", "3", "_error_code", "E", "_error_description", "d"})
	if r := <-results; r.err != nil || string(r.box["k"]) != "v" {
		t.Errorf("an answered call ends with %v", r)
	}
	if r := <-results; !errors.Is(r.err, &Error{Code: "E"}) {
		t.Errorf("a failed call ends with %v", r)
	}
	cancels[1]() // too late
	p.Close()
	if r := <-results; r.err == nil {
		t.Errorf("a call ends with %v though its connection has ended", r)
	}
	endOf(t, c)
	for _, cancel := range cancels {
		cancel()
	}
	select {
	case r := <-results:
		t.Errorf("a call ended twice, with %v", r)
	default:
	}
}

// Items F11 and F13: nothing is written, the connection stays, the tag is
// used up.
func TestCallsThatCannotBeSent(t *testing.T) {
	c, p := startConn(t, nil, nil)
	for _, test := range []struct {
		command string
		args    Box
		want    error
	}{
		{"X", Box{strings.Repeat("k", MaxKey+1): nil}, ErrTooLong},
		{"X", Box{"k": make([]byte, MaxValue+1)}, ErrTooLong},
		{strings.Repeat("X", MaxValue+1), nil, ErrTooLong},
		{"X", Box{"": nil}, ErrEmptyKey},
		{"X", Box{"_ask": nil}, ErrReservedKey},
		{"X", Box{"a": nil, "_error_description": nil}, ErrReservedKey},
	} {
		if _, err := c.Call(t.Context(), test.command, test.args); !errors.Is(err, test.want) {
			t.Errorf("Call(%.10q, %.20v) = %v, want %v", test.command, test.args, err, test.want)
		}
		if err := c.Send(t.Context(), test.command, test.args); !errors.Is(err, test.want) {
			t.Errorf("Send(%.10q, %.20v) = %v, want %v", test.command, test.args, err, test.want)
		}
	}
	type long struct {
		V []byte `amp:"v"`
	}
	if _, err := (Command[long, struct{}]{Name: "X"}).Call(t.Context(), c, long{make([]byte, MaxValue+1)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("a typed call = %v", err)
	}
	if err := c.Send(t.Context(), "Y", Box{"Z": nil, "_zz": nil, "a": nil, strings.Repeat("k", MaxKey): make([]byte, MaxValue)}); err != nil {
		t.Error(err)
	}
	p.want("Z", "", "_command", "Y", "_zz", "", "a", "", strings.Repeat("k", MaxKey), string(make([]byte, MaxValue)))
	go c.Call(t.Context(), "Y", nil) // ends with the connection
	p.want("_ask", "f", "_command", "Y")
}

// Whatever the answer is, the call ends and the connection stays (item R5).
func TestAnswersThatDoNotDecode(t *testing.T) {
	m := new(Mux)
	answer := func(name string, box Box) {
		m.Handle(name, HandlerFunc(func(r *Request) { r.Answer(box) }))
	}
	answer("missing", Box{"other": nil})
	answer("malformed", Box{"total": []byte("1.5")})
	answer("surplus", Box{"total": []byte("1"), "other": nil})
	c, _ := pair(t, nil, nil, m, nil)
	for _, test := range []struct{ command, want string }{
		{"missing", `amp: answer to missing: argument "total": Integer is missing`},
		{"malformed", `amp: answer to malformed: argument "total": Integer "1.5": not a whole number`},
	} {
		cmd := Command[struct{}, sumResult]{Name: test.command}
		if _, err := cmd.Call(t.Context(), c, struct{}{}); err == nil || !strings.HasPrefix(err.Error(), "amp: answer to "+test.command) || !strings.Contains(err.Error(), `"total"`) {
			t.Errorf("%s: %v, want %s", test.command, err, test.want)
		}
	}
	if got, err := (Command[struct{}, sumResult]{Name: "surplus"}).Call(t.Context(), c, struct{}{}); err != nil || got.Total != 1 {
		t.Errorf("surplus: %v, %v", got, err)
	}
}

func TestNoAnswer(t *testing.T) {
	c, p := startConn(t, nil, nil)
	cmd := Command[sumArgs, sumResult]{Name: "Sum", NoAnswer: true}
	if got, err := cmd.Call(t.Context(), c, sumArgs{1, 2}); err != nil || got.Total != 0 {
		t.Errorf("Call = %v, %v", got, err)
	}
	p.want("_command", "Sum", "a", "1", "b", "2")
}

// A typed command's errors, as both ends see them (items E4, R1, R3).
func TestDeclaredErrors(t *testing.T) {
	errBase, errOther := errors.New("base"), errors.New("other")
	cmd := Command[struct {
		What string `amp:"what"`
	}, struct{}]{
		Name:        "Fail",
		Errors:      ErrorCodes{{"BASE", errBase}, {"PLAIN", nil}},
		FatalErrors: ErrorCodes{{"FATAL", errOther}},
	}
	m := new(Mux)
	cmd.Handle(m, func(_ context.Context, args struct {
		What string `amp:"what"`
	}) (struct{}, error) {
		switch args.What {
		case "base":
			return struct{}{}, errBase
		case "wrapped":
			return struct{}{}, fmt.Errorf("outside: %w", errBase)
		case "both": // the first declared one
			return struct{}{}, errors.Join(errOther, errBase)
		case "plain":
			return struct{}{}, (&Error{Code: "PLAIN"}).Describe("%d reasons", 2)
		case "undeclared code":
			return struct{}{}, &Error{Code: "ELSE"}
		}
		return struct{}{}, errOther
	})
	c, _ := pair(t, nil, nil, m, nil)
	for _, test := range []struct {
		what, code, text string
		is               error
	}{
		{"base", "BASE", "base", errBase},
		{"wrapped", "BASE", "outside: base", errBase},
		{"both", "BASE", "other\nbase", errBase},
		{"plain", "PLAIN", "2 reasons", &Error{Code: "PLAIN"}},
		{"undeclared code", "ELSE", "", &Error{Code: "ELSE"}},
		{"other", "FATAL", "other", errOther},
	} {
		args := struct {
			What string `amp:"what"`
		}{test.what}
		_, err := cmd.Call(t.Context(), c, args)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Code != test.code || e.Description != test.text || !errors.Is(err, test.is) {
			t.Errorf("%s fails with %v", test.what, err)
		}
	}
	if err := endOf(t, c); err == nil { // the last one was fatal
		t.Error("the connection has not ended")
	}
}

// Nothing is locked while something is called back: every method that does not
// wait may be used there.
func TestCallbacksMayUseTheConnection(t *testing.T) {
	everything := func(c *Conn) {
		c.ID()
		c.Err()
		c.RemoteAddr()
		c.LocalAddr()
		c.TLS()
		c.Running()
		c.SendBox(Box{"_command": []byte("Echo")})
		c.Send(context.Background(), "Echo", nil)
		c.Go("Echo", nil, func(Box, error) { c.Running() })()
	}
	gate := make(chan struct{})
	close(gate)
	m := gateMux(gate)
	s := &Server{Options: &Options{Logger: quiet}}
	disconnected := make(chan struct{})
	m.Handle("inline", HandlerFunc(func(r *Request) {
		everything(r.Conn())
		m.Handler("X")
		s.Conns()
		r.Answer(nil)
		everything(r.Conn())
	}))
	m.HandleFunc("call", func(ctx context.Context, args Box) (Box, error) {
		everything(ConnFrom(ctx))
		return ConnFrom(ctx).Call(ctx, "Echo", args)
	})
	m.HandleFunc("close", func(ctx context.Context, args Box) (Box, error) {
		ConnFrom(ctx).Close()
		<-ConnFrom(ctx).Done()
		<-ctx.Done()
		return args, nil // nobody takes it
	})
	s.Handler = m
	s.OnConnect = func(c *Conn) { everything(c); s.Conns() }
	s.OnDisconnect = func(c *Conn, _ error) { everything(c); c.Close(); s.Conns(); close(disconnected) }
	c := dial(t, serve(t, s), m, &Options{Logger: quiet})
	for _, command := range []string{"inline", "call"} {
		if box, err := c.Call(t.Context(), command, Box{"k": []byte("v")}); err != nil {
			t.Errorf("%s: %v, %v", command, box, err)
		}
	}
	got := make(chan error, 1)
	c.Go("close", nil, func(_ Box, err error) {
		everything(c)
		c.Close()
		got <- err
	})
	if err := <-got; err == nil {
		t.Error("a call that closed its connection was answered")
	}
	<-disconnected
	endOf(t, c)
}

func TestAskWithoutNetwork(t *testing.T) {
	m := mathMux()
	if box, err := Ask(t.Context(), m, "Sum", Box{"a": []byte("1"), "b": []byte("2")}); err != nil || string(box["total"]) != "3" {
		t.Errorf("Ask = %v, %v", box, err)
	}
	if _, err := Ask(t.Context(), m, "Nope", nil); !errors.Is(err, ErrUnhandled) {
		t.Errorf("Ask of an unknown command = %v", err)
	}
	if _, err := Ask(t.Context(), m, "Sum", Box{"a": []byte("x"), "b": []byte("2")}); !errors.Is(err, ErrBadArguments) {
		t.Errorf("Ask with a malformed argument = %v", err)
	}
	if _, err := Ask(t.Context(), m, "Sum", Box{"": nil}); err != ErrEmptyKey {
		t.Errorf("Ask with an empty key = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	never := HandlerFunc(func(*Request) { cancel() })
	if _, err := Ask(ctx, never, "X", nil); err != context.Canceled {
		t.Errorf("Ask of a handler that never answers = %v", err)
	}
	nowhere := HandlerFunc(func(r *Request) {
		if r.Conn() != nil || ConnFrom(r.Context()) != nil || !r.WantsAnswer() || r.Tag() != "" {
			t.Error("a request that came from no connection has one")
		}
		r.Pause()
		r.Switch(nil)
	})
	if _, err := Ask(t.Context(), nowhere, "X", nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("Ask for a switch = %v", err)
	}
}

// Go and back, through both ends of many connections, with everything that
// can be done at the same time.
func TestHammer(t *testing.T) {
	m := mathMux()
	m.HandleFunc("Back", func(ctx context.Context, _ Box) (Box, error) {
		got, err := sum.Call(ctx, ConnFrom(ctx), sumArgs{20, 22})
		return Box{"total": fmt.Append(nil, got.Total)}, err
	})
	a, b := pair(t, m, &Options{MaxRunning: 16, MaxUnwritten: 1000}, m, &Options{MaxRunning: 8, MaxUnwritten: 300})
	rounds := 200
	var wg sync.WaitGroup
	for _, c := range []*Conn{a, b} {
		for g := range 20 {
			wg.Go(func() {
				for i := range rounds {
					switch (g + i) % 4 {
					case 0:
						got, err := sum.Call(t.Context(), c, sumArgs{g, i})
						if err != nil || got.Total != g+i {
							t.Errorf("Sum(%d, %d) = %v, %v", g, i, got, err)
						}
					case 1:
						box, err := c.Call(t.Context(), "Back", nil)
						if err != nil || string(box["total"]) != "42" {
							t.Errorf("Back = %v, %v", box, err)
						}
					case 2:
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Microsecond)
						if _, err := sum.Call(ctx, c, sumArgs{g, i}); err != nil && err != context.DeadlineExceeded {
							t.Errorf("Sum that may be given up = %v", err)
						}
						cancel()
					case 3:
						if err := c.Send(t.Context(), "Sum", Box{"a": []byte("1"), "b": []byte("2")}); err != nil {
							t.Errorf("Send = %v", err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	eventually(t, "all is answered", func() bool { return a.Running() == 0 && b.Running() == 0 })
}

// Notify tells when the box is written, which a peer that does not read puts
// off, and why it is not.
func TestNotifyTellsWhenItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := startConn(t, nil, &Options{MaxUnwritten: 1000, WriteTimeout: -1, Logger: quiet})
		results := make(chan error, 100)
		done := func(err error) { results <- err }
		notify := func(value int) error {
			t.Helper()
			c.Notify("N", Box{"v": make([]byte, value)}, done)
			synctest.Wait()
			select {
			case err := <-results:
				return err
			default:
				return errors.New("it waits")
			}
		}
		for _, box := range []Box{{"": nil}, {"_ask": nil}, {"v": make([]byte, MaxValue+1)}} {
			c.Notify("N", box, done)
			if err := <-results; err == nil {
				t.Errorf("%.20q was sent", box)
			}
		}
		if err := notify(10); err == nil || err.Error() != "it waits" {
			t.Errorf("nobody reads: %v", err)
		}
		if err := notify(2000); err == nil || err.Error() != "it waits" {
			t.Errorf("nobody reads: %v", err)
		}
		if err := notify(10); !errors.Is(err, ErrSlowPeer) {
			t.Errorf("too much waits: %v", err)
		}
		p.want("_command", "N", "v", string(make([]byte, 10)))
		if err := <-results; err != nil {
			t.Errorf("it was read: %v", err)
		}
		p.want("_command", "N", "v", string(make([]byte, 2000)))
		if err := <-results; err != nil {
			t.Errorf("it was read: %v", err)
		}
		if err := notify(10); err == nil || err.Error() != "it waits" {
			t.Errorf("nobody reads: %v", err)
		}
		if err := notify(10); err == nil || err.Error() != "it waits" {
			t.Errorf("nobody reads: %v", err)
		}
		p.Close()
		for range 2 {
			if err := <-results; err == nil {
				t.Error("the peer has gone, and it was written")
			}
		}
		endOf(t, c)
		c.Notify("N", nil, done)
		if err := <-results; err == nil {
			t.Error("after the end it was written")
		}
		if len(results) > 0 {
			t.Error("done was called twice")
		}
	})
}

// Names that Twisted's Python gets in the way of are as good as any (item L3).
func TestNamesThatTwistedCannotUse(t *testing.T) {
	type args struct {
		F           int `amp:"f"`
		Self        int `amp:"self"`
		CommandType int `amp:"commandType"`
		Cyrillic    int `amp:"\u0444"`
	}
	cmd := Command[args, args]{Name: "\u0444"}
	m := new(Mux)
	cmd.Handle(m, func(_ context.Context, a args) (args, error) { return a, nil })
	c, _ := pair(t, nil, nil, m, nil)
	want := args{1, 2, 3, 4}
	if got, err := cmd.Call(t.Context(), c, want); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}
