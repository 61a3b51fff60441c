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
