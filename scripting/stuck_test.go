package scripting

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
)

// stuckSource has commands that call a function of Go's which does not return
// until it is let, and can't be interrupted.
const stuckSource = `import * as amp from "amphost";
import { stick } from "stuck";
amp.onLoad(() => console.log("loaded"));
new amp.Command("Stick").responder(() => { console.log("sticking"); stick(); for (;;) ; });
new amp.Command("StickInUpdate").responder(() => amp.store.update(() => { console.log("sticking"); stick(); }));
new amp.Command("Wait").responder(() => { console.log("waiting"); return new Promise(() => {}); });
new amp.Command("Count", { response: { n: amp.Integer() } }).responder(() => amp.store.update((tx) => ({ n: tx.counter("n").next() })));
`

// startStuck starts a plugin of stuckSource, and returns what lets the function
// return.
func startStuck(t *testing.T, opts *Options) (p *Plugin, l *logs, gate chan struct{}) {
	t.Helper()
	gate = make(chan struct{})
	stuck := Module{Name: "stuck", Exports: map[string]any{"stick": func([]any) (any, error) { <-gate; return nil, nil }}}
	prog, err := BuildSource("stuck", stuckSource, stuck)
	if err != nil {
		t.Fatal(err)
	}
	l = &logs{t: t}
	opts.Modules, opts.Logger, opts.TurnTimeout, opts.Store = []Module{stuck}, l.logger(slog.LevelInfo), 20*time.Millisecond, store.NewMem()
	if p, err = Start(t.Context(), prog, opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return p, l, gate
}

// A function of Go's, or of goja's, that does not return and can't be
// interrupted costs its plugin the runtime, and nobody else anything: what was
// in it fails, what it had not begun is answered by the next one, in which the
// store can be written although a transaction was open. Once it does return it
// is ended.
func TestStuckRuntimeIsAbandoned(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"Stick", "StickInUpdate"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			p, l, gate := startStuck(t, &Options{})
			var wg sync.WaitGroup
			call := func(command string, want error) {
				wg.Go(func() {
					if _, err := ask(t, p, command, nil); !errors.Is(err, want) {
						t.Errorf("%s: %v, want %v", command, err, want)
					}
				})
			}
			call("Wait", ErrRestarted) // its promise waits already
			l.wait("waiting")
			call(command, ErrRestarted)
			l.wait("msg=sticking")
			for range 3 { // it has not begun
				call("Count", nil)
			}
			wg.Wait()
			for _, text := range []string{"runtime abandoned", "command=" + command, "plugin restarted"} {
				l.wait(text)
			}
			if n := p.tally.abandoned.Load(); n != 1 {
				t.Errorf("%d runtimes are abandoned", n)
			}
			close(gate)
			l.wait("has come back")
			if b, err := ask(t, p, "Count", nil); err != nil || string(b["n"]) != "4" {
				t.Errorf("once it has returned: %q, %v\n%s", b["n"], err, l)
			}
			eventually(t, "no call is left", func() bool { return p.Running() == 0 && p.tally.abandoned.Load() == 0 })
		})
	}
}

// A plugin whose runtimes do not come back is not given any number of
// processors.
func TestStuckPluginIsQuarantined(t *testing.T) {
	t.Parallel()
	p, l, gate := startStuck(t, &Options{})
	defer close(gate)
	for range maxLost {
		if _, err := ask(t, p, "Stick", nil); !errors.Is(err, ErrRestarted) {
			t.Error(err)
		}
	}
	l.wait("plugin quarantined")
	_, err := ask(t, p, "Count", nil)
	if e, ok := errors.AsType[*amp.Error](err); !ok || !errors.Is(err, ErrRestarted) || e.Description == ErrRestarted.Description {
		t.Errorf("a call of a plugin that is quarantined: %v", err)
	}
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Error("it has not ended")
	}
}

// Stop does not wait for a function that does not return.
func TestStopOfAStuckPlugin(t *testing.T) {
	t.Parallel()
	p, l, gate := startStuck(t, &Options{})
	defer close(gate)
	p.ServeAMP(amp.NewRequest(t.Context(), "Stick", nil, func(amp.Box, error) {}))
	l.wait("msg=sticking")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	select {
	case <-p.Done():
	default:
		t.Errorf("it has not ended\n%s", l)
	}
}

// A turn that has heeded its interrupt is not given up, however long the host
// takes to clear up after it: two goroutines would do so.
func TestHeededTurnIsNotGivenUp(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			dog := newWatchdog(50 * time.Millisecond)
			defer dog.stop()
			dog.stuck = func(*amp.Request) {}
			rt := goja.New()
			dog.watch(rt, 50*time.Millisecond, "")
			turn := dog.begin(nil)
			time.Sleep(time.Second)
			if heeds && dog.heeds(rt) {
				t.Error("it was given up before its time")
			}
			time.Sleep(2 * stuckAfter)
			if ok := dog.end(turn); ok != heeds {
				t.Errorf("the turn heeds: %v, but was not given up: %v", heeds, ok)
			}
		})
	}
}
