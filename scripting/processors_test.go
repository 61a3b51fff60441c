package scripting

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// While turns go on and on there is one processor more than they occupy, within
// bounds, and a while after that as many as before.
func TestOneProcessorIsLeftForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, resets := 2, 0
		p := &processors{
			procs: func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				before := now
				if n > 0 {
					now = n
				}
				return before
			},
			reset: func() { resets++ },
		}
		check := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if got := p.procs(0); got != want {
				t.Errorf("%s there are %d processors, want %d", when, got, want)
			}
		}
		for i, want := range []int{2, 3, 4, 5, 6, 6, 6} {
			p.occupy()
			check(fmt.Sprintf("with %d turns", i+1), want)
		}
		for range 5 {
			p.vacate()
		}
		check("right afterwards", 6)
		time.Sleep(enoughAfter)
		check("with 2 turns", 3)
		p.vacate()
		p.vacate()
		time.Sleep(enoughAfter)
		check("with none", 2)
		if resets != 1 {
			t.Errorf("Go's own number was asked for %d times", resets)
		}
		p.occupy()
		p.vacate()
		time.Sleep(enoughAfter)
		if check("with one", 2); resets != 1 {
			t.Error("it was changed for one turn of two processors")
		}
	})
}

// A turn that goes on counts until it has ended, and one that was given up until
// it has come back.
func TestTurnsThatGoOnAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &processors{procs: func(int) int { return 8 }, reset: func() {}}
		dog := newWatchdog(50 * time.Millisecond)
		dog.processors = p
		dog.stuck = func(*amp.Request) {}
		defer dog.stop()
		rt := goja.New()
		dog.watch(rt, 50*time.Millisecond, "")
		check := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.turns != want {
				t.Errorf("%s: %d turns are counted, want %d", what, p.turns, want)
			}
		}
		for range 100 {
			turn := dog.begin(nil)
			time.Sleep(time.Millisecond)
			dog.end(turn)
		}
		check("short turns", 0)
		turn := dog.begin(nil)
		time.Sleep(40 * time.Millisecond)
		check("a long turn", 1)
		dog.end(turn)
		check("it has ended", 0)
		turn = dog.begin(nil)
		time.Sleep(time.Second)
		check("one that was interrupted", 1)
		time.Sleep(2 * stuckAfter)
		check("one that was given up", 1)
		if dog.end(turn) {
			t.Error("it was not given up")
		}
		dog.begin(nil)
		check("another one", 1)
		if !dog.returned(nil, turn) {
			t.Error("it has not come back")
		}
		check("it has come back", 0)
	})
}
