package scripting

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// When a task that goes before the rest is given up, all of the rest is done.
func TestGivingUpLosesNoTask(t *testing.T) {
	t.Parallel()
	l := newLoop(newWatchdog(20 * time.Millisecond))
	l.dog.watch(goja.New(), 20*time.Millisecond, "")
	l.settle, l.back, l.over = func() {}, func() {}, func() {}
	l.dog.stuck = func(*amp.Request) { l.takeOver(func() {}) }
	gate := make(chan struct{})
	done := make(chan int, 4)
	l.post(func() { l.first([]task{{fn: func() { <-gate }}, {fn: func() { done <- 0 }}}) })
	for i := range 3 {
		l.post(func() { done <- i + 1 })
	}
	go l.run() // ends with end, below
	for want := range 4 {
		select {
		case got := <-done:
			if got != want {
				t.Errorf("task %d was done as number %d", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("task %d is lost", want)
		}
	}
	close(gate)
	l.end()
	<-l.done
}

// Nor is a call lost when it is a promise job of the one before that is given
// up, and what comes back of it leaves the fresh runtime alone.
func TestGivingUpAJobLosesNoCall(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	stuck := Module{Name: "stuck", Exports: map[string]any{"stick": func([]any) (any, error) { <-gate; return nil, nil }}}
	prog, err := BuildSource("stuck", `import * as amp from "amphost";
import { stick } from "stuck";
new amp.Command("Gate").responder(() => { console.log("gate"); const end = performance.now() + 100; while (performance.now() < end) ; });
new amp.Command("Count").responder(() => {});
new amp.Command("Job").responder(() => { Promise.resolve().then(() => { stick(); for (;;) ; }); });
`, stuck)
	if err != nil {
		t.Fatal(err)
	}
	l := &logs{t: t}
	p, err := Start(t.Context(), prog, &Options{Modules: []Module{stuck}, Logger: l.logger(slog.LevelInfo), TurnTimeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ask := func(command string) {
		wg.Add(1)
		p.ServeAMP(amp.NewRequest(t.Context(), command, nil, func(_ amp.Box, err error) {
			if err != nil {
				t.Errorf("%s: %v", command, err)
			}
			wg.Done()
		}))
	}
	ask("Gate")
	l.wait("msg=gate")
	for _, command := range []string{"Count", "Count", "Job", "Count", "Count", "Count"} {
		ask(command)
	}
	wg.Wait()
	close(gate)
	l.wait("has come back")
	for range 100 {
		if _, err := amp.Ask(t.Context(), p, "Count", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
