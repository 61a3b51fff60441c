package scripting

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amphost/amphost/amp"
)

// The time that a call waits for its turn is part of the time in which it has to
// be answered: once that is up it fails with TIMEOUT, and is not begun.
func TestTimeInTheQueueCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var worked atomic.Int64
		work := Module{Name: "work", Exports: map[string]any{"work": func([]any) (any, error) {
			worked.Add(1)
			time.Sleep(300 * time.Millisecond)
			return nil, nil
		}}}
		p, l := run(t, "busy", `import * as amp from "amphost";
import { work } from "work";
new amp.Command("Work").responder(() => { work(); });
new amp.Command("Never").responder(() => new Promise(() => {}));
export const plugin = { callTimeout: "1s" };`, &Options{Modules: []Module{work}})
		time.Sleep(time.Hour) // nothing to do does not count
		var mu sync.Mutex
		var wg sync.WaitGroup
		answered := make(map[string]int)
		start := time.Now()
		for range 10 {
			wg.Go(func() {
				_, err := amp.Ask(t.Context(), p, "Work", nil)
				mu.Lock()
				defer mu.Unlock()
				if answered[codeOf(err)]++; err != nil && !errors.Is(err, ErrTimeout) {
					t.Error(err)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		_, err := amp.Ask(t.Context(), p, "Never", nil)
		if took := time.Since(start); !errors.Is(err, ErrTimeout) || took > 1500*time.Millisecond {
			t.Errorf("the last one: %v after %v", err, took)
		}
		wg.Wait()
		// Four begin within the second.
		if n := int(worked.Load()); n != 4 || answered["<nil>"] != 4 || answered["TIMEOUT"] != 6 {
			t.Errorf("%d of 10 were begun, and they came to %v", n, answered)
		}
		synctest.Wait()
		if s := l.String(); strings.Count(s, "call not answered in time") != 7 || strings.Count(s, "its turn: what came before it took so long") != 7 {
			t.Errorf("the log:\n%s", s)
		}
		time.Sleep(time.Hour)
		// What is begun in time has what is left of it.
		start = time.Now()
		for range 2 {
			wg.Go(func() { _, _ = amp.Ask(t.Context(), p, "Work", nil) })
		}
		synctest.Wait()
		if _, err := amp.Ask(t.Context(), p, "Never", nil); !errors.Is(err, ErrTimeout) || time.Since(start) > 1050*time.Millisecond {
			t.Errorf("a call that waits for 600 ms, and then hangs: %v after %v", err, time.Since(start))
		}
		wg.Wait()
		if _, err := amp.Ask(t.Context(), p, "Work", nil); err != nil {
			t.Errorf("once it has nothing to do: %v", err)
		}
	})
}

// The calls of a list expire in the order of their deadlines, in whatever order
// they were added.
func TestCallsExpireInOrder(t *testing.T) {
	var l callList
	now := time.Now()
	for i, after := range []int{5, 3, 9, 1, 4, 9} {
		l.add(&call{id: uint64(i), deadline: now.Add(time.Duration(after))})
	}
	l.add(&call{id: 6})
	l.remove(1)
	var got []string
	for after := range 10 {
		list, _ := l.expired(now.Add(time.Duration(after)))
		for _, c := range list {
			got = append(got, fmt.Sprint(c.id, "@", after))
		}
	}
	if s := strings.Join(got, " "); s != "3@1 4@4 0@5 2@9 5@9" || l.len() != 1 || l.oldest != nil || l.newest != nil {
		t.Errorf("they expire as %s, %d are left", s, l.len())
	}
}

// So is the time for which a call is held: while its plugin restarts, or is
// replaced. It fails when that is up, not when the plugin is ready.
func TestTimeHeldCounts(t *testing.T) {
	t.Run("restart", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, l := run(t, "dies", `import * as amp from "amphost";
new amp.Command("Die").responder(() => { const f = () => f() + 1; f(); });
new amp.Command("Never").responder(() => new Promise(() => {}));
new amp.Command("Fine").responder(() => {});
export const plugin = { callTimeout: "1s" };`, nil)
			die := func() {
				if _, err := amp.Ask(t.Context(), p, "Die", nil); !errors.Is(err, ErrRestarted) {
					t.Errorf("Die: %v", err)
				}
			}
			for range 6 {
				die()
				time.Sleep(999 * time.Millisecond) // more than it pauses
			}
			die() // and pauses for 800 ms
			synctest.Wait()
			start := time.Now()
			_, err := amp.Ask(t.Context(), p, "Never", nil)
			if took := time.Since(start); !errors.Is(err, ErrTimeout) || took < time.Second || took > 1020*time.Millisecond {
				t.Errorf("a call that is held for most of its time: %v after %v", err, took)
			}
			if _, err := amp.Ask(t.Context(), p, "Fine", nil); err != nil {
				t.Errorf("it has restarted: %v", err)
			}
			die() // and pauses for 1600 ms
			synctest.Wait()
			time.Sleep(time.Millisecond)
			start = time.Now()
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if _, err := amp.Ask(t.Context(), p, "Fine", nil); !errors.Is(err, ErrTimeout) || time.Since(start) != time.Second {
						t.Errorf("a call that is held for all of its time: %v after %v", err, time.Since(start))
					}
				})
			}
			wg.Wait()
			if _, err := amp.Ask(t.Context(), p, "Fine", nil); err != nil || time.Since(start) < 1500*time.Millisecond {
				t.Errorf("a call that is held for part of it: %v after %v", err, time.Since(start))
			}
			if n := strings.Count(l.String(), "the plugin to be ready"); n != 3 {
				t.Errorf("%d are in the log\n%s", n, l)
			}
		})
	})
	t.Run("reload", func(t *testing.T) {
		gate := make(chan struct{})
		gates := Module{Name: "gates", Exports: map[string]any{"pass": func([]any) (any, error) {
			return func() (any, error) { <-gate; return nil, nil }, nil
		}}}
		source := `import * as amp from "amphost"; import { pass } from "gates"; // VERSION
amp.onLoad(async (saved) => { if (saved) await pass(); });
amp.hot.save(() => { console.log("saved"); return {}; });
new amp.Command("Fine").responder(() => {});
export const plugin = { callTimeout: "300ms" };`
		dir := t.TempDir()
		write(t, dir, "p.js", source)
		d, l := openDir(t, dir, &Options{Modules: []Module{gates}})
		write(t, dir, "p.js", strings.ReplaceAll(source, "VERSION", "2"))
		reloaded := make(chan error, 1)
		go func() { reloaded <- d.Reload(t.Context(), "p") }() // received from below
		l.wait("msg=saved")
		if _, err := ask(t, d, "Fine", nil); !errors.Is(err, ErrTimeout) {
			t.Errorf("a call while it is replaced: %v", err)
		}
		close(gate)
		if err := <-reloaded; err != nil {
			t.Error(err)
		}
		if _, err := ask(t, d, "Fine", nil); err != nil {
			t.Error(err)
		}
	})
}
