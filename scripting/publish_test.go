package scripting

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// What a connection calls on the new version starts after what it called on
// the old one, though that is busy with something else.
func TestOrderAcrossSwap(t *testing.T) {
	var mu sync.Mutex
	var seen []int64
	busy := make(chan struct{}, 1)
	record := Module{Name: "test/record", Exports: map[string]any{
		"record": func(args []any) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, args[0].(int64))
			return nil, nil
		},
		"busy": func([]any) (any, error) { busy <- struct{}{}; return nil, nil },
	}}
	source := `import * as amp from "amphost"; import { record, busy } from "test/record"; // VERSION
new amp.Command("Busy").responder(() => { busy(); const end = performance.now() + 300; while (performance.now() < end) ; });
new amp.Command("Record", { arguments: { n: amp.Integer() } }).responder(({ n }) => { record(n); });
`
	dir := t.TempDir()
	write(t, dir, "p.js", source)
	d, _ := openDir(t, dir, &Options{Modules: []Module{record}})
	c, s := amp.Pipe(nil, d)
	defer c.Close()
	defer s.Close()
	var wg sync.WaitGroup
	send := func(command string, args amp.Box) {
		wg.Add(1)
		c.Go(command, args, func(_ amp.Box, err error) {
			defer wg.Done()
			if err != nil {
				t.Errorf("%s: %v", command, err)
			}
		})
	}
	send("Busy", nil)
	send("Record", box("n", "1"))
	<-busy
	// Both are with the old version, which is busy with the first.
	old := d.Plugin("p")
	eventually(t, "both are there", func() bool { return old.Running() == 2 })
	write(t, dir, "p.js", source+"// changed")
	if err := d.Reload(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	send("Record", box("n", "2"))
	send("Record", box("n", "3"))
	wg.Wait()
	if !slices.Equal(seen, []int64{1, 2, 3}) {
		t.Errorf("started in the order %v", seen)
	}
}

// A request that has looked up a version just before that is replaced is not
// lost, nor refused.
func TestSwapLosesNothing(t *testing.T) {
	prog, err := BuildSource("p", answer("A", 1))
	if err != nil {
		t.Fatal(err)
	}
	opts := (&Options{Logger: slog.New(slog.DiscardHandler)}).withDefaults()
	d, _ := openDir(t, t.TempDir(), nil)
	start := func(generation int) *Plugin {
		p := newPlugin(prog, opts, generation, d.hub, new(tally))
		if err := p.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return p
	}
	publish := func(p *Plugin) {
		d.table.Store(&table{commands: map[string]*Plugin{"A": p}, plugins: map[string]*Plugin{"p": p}})
	}
	p := start(1)
	publish(p)
	var calls, answers atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			slots := make(chan struct{}, 100)
			for ctx.Err() == nil {
				slots <- struct{}{}
				calls.Add(1)
				d.ServeAMP(amp.NewRequest(context.Background(), "A", nil, func(b amp.Box, err error) {
					if err != nil || string(b["n"]) != "1" {
						t.Errorf("A = %q, %v", b, err)
					}
					answers.Add(1)
					<-slots
				}))
			}
			for range cap(slots) {
				slots <- struct{}{}
			}
		})
	}
	var ended []*Plugin
	for i := range 60 {
		next := start(i + 2)
		publish(next)
		p.drain()
		ended = append(ended, p)
		p = next
	}
	stop()
	wg.Wait()
	if calls.Load() != answers.Load() {
		t.Errorf("%d calls, %d answers", calls.Load(), answers.Load())
	}
	for _, p := range ended {
		select {
		case <-p.Done():
		case <-time.After(5 * time.Second):
			t.Fatal(fmt.Sprint("generation ", p.Generation(), " has not ended"))
		}
	}
}
