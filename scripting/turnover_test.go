package scripting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
)

// burnSource answers Burn by computing for 20 ms, and Die never.
const burnSource = `import * as amp from "amphost"; // VERSION
import { started } from "test/started";
const burn = () => { const end = performance.now() + 20; while (performance.now() < end) ; };
new amp.Command("Burn", { arguments: { n: amp.Integer() } }).responder(({ n }) => { started(n); burn(); });
new amp.Command("Die").responder(() => { for (;;) ; });
`

// A recorder is a module whose function started notes numbers.
type recorder struct {
	mu   sync.Mutex
	seen []int64
}

func (r *recorder) module() Module {
	return Module{Name: "test/started", Exports: map[string]any{"started": func(args []any) (any, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, args[0].(int64))
		return nil, nil
	}}}
}

// check fails the test unless 0 to n-1 were noted, in order.
func (r *recorder) check(t *testing.T, n int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) != n || !slices.IsSorted(r.seen) {
		t.Errorf("started %v, want 0 to %d in order", r.seen, n-1)
	}
}

// What has waited for a restart is answered in order, each in its own time:
// together it takes several times as long as a turn may, which once made the
// plugin restart again, and again. One that ends the runtime does not take the
// others with it.
func TestHeldCallsHaveTheirOwnTime(t *testing.T) {
	var r recorder
	prog, err := BuildSource("burn", burnSource, r.module())
	if err != nil {
		t.Fatal(err)
	}
	l := &logs{t: t}
	p, err := Start(t.Context(), prog, &Options{Modules: []Module{r.module()}, Logger: l.logger(slog.LevelInfo), TurnTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(t.Context()) }()
	var wg sync.WaitGroup
	send := func(command string, args amp.Box, want error) {
		wg.Add(1)
		p.ServeAMP(amp.NewRequest(t.Context(), command, args, func(_ amp.Box, err error) {
			defer wg.Done()
			if !errors.Is(err, want) {
				t.Errorf("%s %s: %v, want %v", command, args["n"], err, want)
			}
		}))
	}
	send("Die", nil, ErrRestarted)
	for n := range 30 {
		if n == 15 {
			send("Die", nil, ErrRestarted)
		}
		send("Burn", box("n", fmt.Sprint(n)), nil)
	}
	wg.Wait()
	r.check(t, 30)
	if n := strings.Count(l.String(), "plugin restarted"); n != 2 {
		t.Errorf("%d restarts, want 2\n%s", n, l)
	}
}

// However much a version has to do still when it is replaced, what the next one
// is given starts afterwards.
func TestOrderAcrossSwapWithALongBacklog(t *testing.T) {
	var r recorder
	dir := t.TempDir()
	write(t, dir, "p.js", burnSource)
	d, l := openDir(t, dir, &Options{Modules: []Module{r.module()}, TurnTimeout: 500 * time.Millisecond})
	c, s := amp.Pipe(nil, d)
	defer c.Close()
	defer s.Close()
	var wg sync.WaitGroup
	send := func(n int) {
		wg.Add(1)
		c.Go("Burn", box("n", fmt.Sprint(n)), func(_ amp.Box, err error) {
			defer wg.Done()
			if err != nil {
				t.Errorf("call %d: %v", n, err)
			}
		})
	}
	old := d.Plugin("p")
	for n := range 50 {
		send(n)
	}
	eventually(t, "the first version has them all", func() bool { return old.requests.Load() == 50 })
	write(t, dir, "p.js", strings.Replace(burnSource, "VERSION", "2", 1))
	if err := d.Reload(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d calls were left to the first version", old.Running())
	for n := range 15 {
		send(50 + n)
	}
	wg.Wait()
	r.check(t, 65)
	if strings.Contains(l.String(), "restarted") {
		t.Errorf("a restart\n%s", l)
	}
}

// A version that does not come to its end, nor heeds its interrupt, does not
// hold up the next.
func TestSwapDoesNotWaitForATurnThatIsStuck(t *testing.T) {
	gate, sticking := make(chan struct{}), make(chan struct{}, 1)
	stuck := Module{Name: "stuck", Exports: map[string]any{"stick": func([]any) (any, error) {
		sticking <- struct{}{}
		<-gate
		return nil, nil
	}}}
	source := `import * as amp from "amphost"; import { stick } from "stuck"; // VERSION
new amp.Command("Stick").responder(() => { stick(); });
new amp.Command("Fine").responder(() => {});
`
	dir := t.TempDir()
	write(t, dir, "p.js", source)
	d, _ := openDir(t, dir, &Options{Modules: []Module{stuck}, TurnTimeout: 50 * time.Millisecond})
	done := make(chan struct{})
	d.ServeAMP(amp.NewRequest(t.Context(), "Stick", nil, func(amp.Box, error) { close(done) }))
	<-sticking
	write(t, dir, "p.js", strings.Replace(source, "VERSION", "2", 1))
	if err := d.Reload(t.Context(), "p"); err != nil {
		t.Error(err)
	}
	if _, err := ask(t, d, "Fine", nil); err != nil {
		t.Errorf("the new version: %v", err)
	}
	close(gate)
	<-done
}

// What reaches a version after amp.hot.save is done by the next one, in its own
// runtime: calls, connections, and changes of the store, once each.
func TestHotSaveHandsOnWhatArrives(t *testing.T) {
	gate := make(chan struct{})
	gates := Module{Name: "gates", Exports: map[string]any{"pass": func([]any) (any, error) {
		return func() (any, error) { <-gate; return nil, nil }, nil
	}}}
	source := `import * as amp from "amphost"; import { pass } from "gates";
amp.onLoad(async (saved) => { if (saved) await pass(); });
amp.hot.save(() => { console.log("saved by VERSION"); return {}; });
amp.onConnect((peer) => { peer.state.greeted = VERSION; console.log("hello from VERSION"); });
amp.store.watch("", (changes) => { for (const { key } of changes) console.log("VERSION is told of " + key); });
new amp.Command("Version", { response: { n: amp.Integer(), greeted: amp.Integer() } }).responder((_, peer) => ({ n: VERSION, greeted: peer.state.greeted }));
`
	dir := t.TempDir()
	write(t, dir, "p.js", strings.ReplaceAll(source, "VERSION", "1"))
	st := store.NewMem()
	d, l := openDir(t, dir, &Options{Modules: []Module{gates}, Store: st})
	write(t, dir, "p.js", strings.ReplaceAll(source, "VERSION", "2"))
	reloaded := make(chan error, 1)
	go func() { reloaded <- d.Reload(context.Background(), "p") }() // received from below
	l.wait("saved by 1")
	var wg sync.WaitGroup
	for i := range 30 {
		a, b := net.Pipe()
		c, s := amp.NewConn(a, nil, nil), amp.NewConn(b, d, nil)
		defer c.Close()
		defer s.Close()
		d.Connected(s)
		wg.Add(1)
		c.Go("Version", nil, func(b amp.Box, err error) {
			defer wg.Done()
			if err != nil || string(b["n"]) != "2" || string(b["greeted"]) != "2" {
				t.Errorf("Version = %q, %v", b, err)
			}
		})
		if err := store.Update(t.Context(), st, "p", func(tx store.Tx) error {
			return tx.Put(store.Keys, fmt.Sprintf("key%02d", i), []byte{formVersion, tagTrue})
		}); err != nil {
			t.Error(err)
		}
	}
	old := d.Plugin("p")
	eventually(t, "the first version has been asked", func() bool { return old.requests.Load() == 30 })
	close(gate)
	if err := <-reloaded; err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	l.wait("2 is told of key29")
	for text, want := range map[string]int{"hello from 1": 0, "hello from 2": 30, "1 is told of": 0, "2 is told of": 30} {
		if n := strings.Count(l.String(), text); n != want {
			t.Errorf("%d times %q, want %d", n, text, want)
		}
	}
}
