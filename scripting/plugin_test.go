package scripting

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// A logs collects log lines as text.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
	t   testing.TB
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Reset()
}

// wait waits until the log has the text.
func (l *logs) wait(text string) {
	l.t.Helper()
	eventually(l.t, "log has "+text, func() bool { return strings.Contains(l.String(), text) })
}

func (l *logs) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if e, ok := a.Value.Any().(*Error); ok {
			return slog.String(a.Key, e.Format(false))
		}
		return a
	}}))
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// run starts a plugin that is one file. The name may end in .ts.
func run(t testing.TB, name, source string, opts *Options) (*Plugin, *logs) {
	t.Helper()
	o := Options{}
	if opts != nil {
		o = *opts
	}
	prog, err := BuildSource(name, source, o.Modules...)
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	l := &logs{t: t}
	if o.Logger == nil {
		o.Logger = l.logger(slog.LevelDebug)
	}
	p, err := Start(t.Context(), prog, &o)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			t.Errorf("stop: %v\nlog:\n%s", err, l)
		}
	})
	return p, l
}

// ask calls a command and returns its answer as text.
func ask(t testing.TB, h amp.Handler, command string, args amp.Box) (amp.Box, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return amp.Ask(ctx, h, command, args)
}

func box(pairs ...string) amp.Box {
	b := amp.Box{}
	for i := 0; i < len(pairs); i += 2 {
		b[pairs[i]] = []byte(pairs[i+1])
	}
	return b
}

const sumSource = `
import * as amp from "amphost";
const Sum = new amp.Command("Sum", { arguments: { a: amp.Integer(), b: amp.Integer() }, response: { total: amp.Integer() } });
Sum.responder(({ a, b }) => ({ total: a + b }));
`

func TestSum(t *testing.T) {
	p, _ := run(t, "math", sumSource, nil)
	got, err := ask(t, p, "Sum", box("a", "13", "b", "81"))
	if err != nil || string(got["total"]) != "94" {
		t.Fatalf("Sum(13, 81) = %q, %v, want total 94", got, err)
	}
	if s := p.Commands()[0].String(); s != "Sum(a Integer, b Integer) → total Integer" {
		t.Errorf("signature = %q", s)
	}
	_, err = ask(t, p, "Nope", nil)
	if !errors.Is(err, amp.ErrUnhandled) {
		t.Errorf("Nope: %v, want UNHANDLED", err)
	}
	_, err = ask(t, p, "Sum", box("a", "x", "b", "1"))
	if !errors.Is(err, amp.ErrBadArguments) || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("Sum(x, 1): %v, want BAD_ARGUMENTS that names a", err)
	}
	_, err = ask(t, p, "Sum", box("a", "1"))
	if !errors.Is(err, amp.ErrBadArguments) || !strings.Contains(err.Error(), `"b": missing`) {
		t.Errorf("Sum(1): %v, want BAD_ARGUMENTS that says b is missing", err)
	}
}
