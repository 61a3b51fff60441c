package scripting

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// A function of Go's, or of goja's, that does not return and can't be
// interrupted holds up its loop. The calls that wait for it are answered all the
// same, and once it returns the plugin goes on.
func TestCallsExpireWhileTheLoopIsStuck(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	stuck := Module{Name: "stuck", Exports: map[string]any{"stick": func([]any) (any, error) { <-gate; return nil, nil }}}
	prog, err := BuildSource("stuck", `import * as amp from "amphost";
import { stick } from "stuck";
new amp.Command("Stick").responder(() => { console.log("stuck"); stick(); for (let i = 0; ; i++) ; });
new amp.Command("Wait").responder(() => { console.log("waiting"); return new Promise(() => {}); });
new amp.Command("Fine").responder(() => {});
`, stuck)
	if err != nil {
		t.Fatal(err)
	}
	l := &logs{t: t}
	p, err := Start(t.Context(), prog, &Options{
		Modules: []Module{stuck}, Logger: l.logger(slog.LevelInfo), TurnTimeout: 20 * time.Millisecond, CallTimeout: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(t.Context()) }()

	var wg sync.WaitGroup
	call := func(command string, want error) {
		wg.Go(func() {
			if _, err := ask(t, p, command, nil); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", command, err, want)
			}
		})
	}
	call("Wait", ErrTimeout) // its promise waits already
	l.wait("waiting")
	stick := make(chan error, 1)
	p.ServeAMP(amp.NewRequest(t.Context(), "Stick", nil, func(_ amp.Box, err error) { stick <- err }))
	l.wait("msg=stuck")
	for range 3 { // it has not begun
		call("Fine", ErrTimeout)
	}
	wg.Wait()
	l.wait("does not heed its interrupt")
	close(gate)
	if err := <-stick; !errors.Is(err, ErrRestarted) {
		t.Errorf("the call that was stuck: %v", err)
	}
	if _, err := ask(t, p, "Fine", nil); err != nil {
		t.Errorf("once it has returned: %v\n%s", err, l)
	}
	eventually(t, "no call is left", func() bool { return p.Running() == 0 })
}
