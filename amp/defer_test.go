package amp

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// A request that is deferred keeps its arguments and its tag, whatever is read into
// the buffer meanwhile; and so do those of functions with a goroutine of their own.
func TestDeferredRequestsKeepTheirBoxes(t *testing.T) {
	const calls = 100
	var m Mux
	deferred := make(chan *Request, calls)
	m.Handle("Later", forgetful(func(r *Request) {
		r.Defer()
		deferred <- r
	}))
	release := make(chan struct{})
	type text struct {
		Text string `amp:"text"`
	}
	spawned := Command[text, text]{Name: "Spawned"}
	spawned.Handle(&m, func(_ context.Context, args text) (text, error) {
		<-release
		return args, nil
	})
	c := dial(t, serve(t, &Server{Handler: &m}), nil, nil)
	answers := make(chan error, 2*calls)
	for i := range calls {
		for _, command := range []string{"Later", "Spawned"} {
			want := strings.Repeat(fmt.Sprint(i%10), 10+i*i%3000)
			c.Go(command, Box{"text": []byte(want)}, func(b Box, err error) {
				if string(b["text"]) != want {
					err = fmt.Errorf("%s %d: answer of %d bytes, want %d of %.1q: %v", command, i, len(b["text"]), len(want), want, err)
				}
				answers <- err
			})
		}
	}
	var all []*Request
	for range calls {
		all = append(all, <-deferred)
	}
	close(release)
	for _, r := range all {
		r.Answer(r.Args())
	}
	for range 2 * calls {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}

// A forgetful handler that neither answers nor defers has its request answered for
// it: nobody else could. What comes with it is answered as ever.
func TestForgottenRequest(t *testing.T) {
	var log bytes.Buffer
	var m Mux
	m.Handle("Forget", forgetful(func(*Request) {}))
	m.Handle("Twice", forgetful(func(r *Request) {
		r.Answer(Box{"n": []byte("1")})
		if !r.Answered() {
			t.Error("an answered request is not")
		}
		r.Answer(Box{"n": []byte("2")})
		r.Fail(ErrUnknown)
	}))
	m.Handle("Panic", forgetful(func(r *Request) { panic("broken") }))
	s := &Server{Handler: &m, Options: &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	c := dial(t, serve(t, s), nil, nil)
	for range 3 {
		for command, want := range map[string]string{"Forget": "UNKNOWN", "Panic": "UNKNOWN", "Twice": ""} {
			box, err := c.Call(t.Context(), command, nil)
			code := ""
			if e, ok := err.(*Error); ok {
				code = e.Code
			}
			if code != want || want == "" && string(box["n"]) != "1" {
				t.Errorf("%s: %q, %v, want code %q", command, box, err, want)
			}
		}
	}
	if stats := s.Stats(); stats.Answered != 3 || stats.Failed["UNKNOWN"] != 6 || stats.Running != 0 {
		t.Errorf("%+v, want 3 answered, 6 failed and none running", stats)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "neither answered it nor called Defer") || !strings.Contains(text, "broken") || strings.Count(text, "answered twice") != 6 {
		t.Errorf("log:\n%s", text)
	}
}

// A request that is deferred, or kept, once it is answered stays answered, and is
// counted once.
func TestDeferAfterTheAnswer(t *testing.T) {
	for name, then := range map[string]func(*Request){
		"Defer": (*Request).Defer, "Keep": (*Request).Keep, "Detach": (*Request).Detach, "Pause": (*Request).Pause,
	} {
		t.Run(name, func(t *testing.T) {
			srv := &Server{Handler: forgetful(func(r *Request) {
				r.Answer(Box{"n": []byte("1")})
				then(r)
				if !r.Answered() {
					t.Error("it is not answered any more")
				}
				r.Answer(Box{"n": []byte("2")})
			}), Options: &Options{Logger: slog.New(slog.DiscardHandler)}}
			c := dial(t, serve(t, srv), nil, nil)
			for range 2 {
				if b, err := c.Call(t.Context(), "X", nil); err != nil || string(b["n"]) != "1" {
					t.Fatalf("%q, %v, want the first answer", b, err)
				}
			}
			if s := srv.Stats(); s.Running != 0 || s.Answered > 2 {
				t.Errorf("%d run, %d were answered", s.Running, s.Answered)
			}
		})
	}
}
