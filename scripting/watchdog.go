package scripting

import (
	"errors"
	"sync"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// errOverrun interrupts a turn that takes too long.
var errOverrun = errors.New("ran too long without returning to its event loop")

// errStopped interrupts a turn of a plugin that has to end now.
var errStopped = errors.New("stopped")

// A watchdog interrupts the runtime of a loop when one turn takes too long. It
// does not set a timer for each turn: one timer looks every few milliseconds
// which turn runs, while any does.
type watchdog struct {
	tick time.Duration

	mu      sync.Mutex // guards the fields below
	rt      *goja.Runtime
	limit   time.Duration
	turn    uint64 // counts turns
	running bool   // a turn runs
	fired   bool   // this turn was interrupted
	seen    uint64 // the turn that ran when the timer last looked
	since   time.Time
	looks   int         // how often the timer has found that turn running
	timer   *time.Timer // nil until the first turn
	armed   bool        // timer is set
	stopped bool
	told    bool // of this turn, to stuck

	// stuck, if set, is called once for a turn that goes on long after its
	// interrupt, which built-in functions do not notice. Set before the first
	// turn.
	stuck func()

	// waited, if set, returns the requests that have waited too long for a turn
	// that is stuck since then; expire is told of them. waited is called while
	// the turn can't end, and must not block. Set before the first turn.
	waited func(turn time.Time) []*amp.Request
	expire func([]*amp.Request)
}

func newWatchdog(limit time.Duration) *watchdog {
	return &watchdog{limit: limit, tick: min(max(limit/8, time.Millisecond), 10*time.Millisecond)}
}

// watch sets the runtime to interrupt and how long its turns may take.
func (w *watchdog) watch(rt *goja.Runtime, limit time.Duration) {
	w.mu.Lock()
	w.rt, w.limit = rt, limit
	w.mu.Unlock()
}

// begin says that a turn begins.
func (w *watchdog) begin() {
	w.mu.Lock()
	w.turn++
	w.running, w.fired, w.told = true, false, false
	if !w.armed && !w.stopped {
		w.armed = true
		if w.timer == nil {
			w.timer = time.AfterFunc(w.tick, w.look)
		} else {
			w.timer.Reset(w.tick)
		}
	}
	w.mu.Unlock()
}

// end says that the turn has ended. An interrupt that came too late for it is
// taken back, so that it can't hit the next one.
func (w *watchdog) end() {
	w.mu.Lock()
	if w.fired && w.rt != nil {
		w.rt.ClearInterrupt()
	}
	w.running, w.fired = false, false
	w.mu.Unlock()
}

// look is what the timer does.
func (w *watchdog) look() {
	stuck, list := w.check()
	if stuck && w.stuck != nil {
		w.stuck()
	}
	if list != nil {
		w.expire(list)
	}
}

// check interrupts the turn that runs if its time is up, and sets the timer
// again. stuck is true, once, if the turn has ignored that for long. waited is
// then what has waited too long for it, else nil.
func (w *watchdog) check() (stuck bool, waited []*amp.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return false, nil
	}
	if !w.running && w.turn == w.seen {
		w.armed = false // idle; the next turn sets the timer again
		return false, nil
	}
	if now := time.Now(); w.turn != w.seen {
		w.seen, w.since, w.looks = w.turn, now, 0
	} else if w.looks++; w.running && !w.fired && now.Sub(w.since) >= w.limit && w.looks >= w.enough() && w.rt != nil {
		// The turn can't end meanwhile: end needs the mutex.
		w.fired = true
		w.rt.Interrupt(errOverrun)
	} else if w.running && w.fired && now.Sub(w.since) >= w.limit+stuckAfter {
		w.told, stuck = true, !w.told
		if w.waited != nil {
			waited = append([]*amp.Request{}, w.waited(w.since)...)
		}
	}
	w.timer.Reset(w.tick)
	return stuck, waited
}

// hangs reports whether nothing has moved since it returned turn: that turn has
// been interrupted and does not end, or has ended and none has begun. Turns are
// counted from 1.
func (w *watchdog) hangs(since uint64) (turn uint64, hangs bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.turn, w.turn == since && (!w.running || w.fired)
}

// enough is how often the timer must have found a turn running before it is
// interrupted. On a machine that had no time for this process the clock goes
// on, and the turn did not.
func (w *watchdog) enough() int { return int(w.limit / w.tick / 4) }

// stuckAfter is how long a turn may ignore its interrupt.
const stuckAfter = 2 * time.Second

// interrupt ends the turn that runs, if any, at once.
func (w *watchdog) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running && w.rt != nil {
		w.fired = true
		w.rt.Interrupt(errStopped)
	}
}

// stop ends the watchdog.
func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
