package scripting

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// errOverrun interrupts a turn that takes too long. What is said besides is which
// limit that is.
var errOverrun = errors.New("ran too long without returning to its event loop")

// errStopped interrupts a turn of a plugin that has to end now.
var errStopped = errors.New("stopped")

// A watchdog interrupts the runtime of a loop when one turn takes too long, and
// gives the turn up when it does not heed that. It does not set a timer for
// each turn: one timer looks every few milliseconds which turn runs, while any
// does.
type watchdog struct {
	tick time.Duration

	// looked, if set, is called after each look; stuck when a turn is given up,
	// with the request that it began with, or nil. Set before the first turn.
	looked func(sight)
	stuck  func(*amp.Request)
	slow   func()        // if set, called once for a turn that it finds again
	goes   func(on bool) // if set, called, with mu held, when one goes on, and when that has ended or is given up

	processors *processors // told of turns that go on and on

	// clock is how long there has been the watchdog, in nanoseconds: as of the
	// last look, so to read it costs nothing. It stands still while no turn runs.
	clock atomic.Int64
	began time.Time

	late atomic.Bool // the turn that runs was interrupted; written with mu held

	mu      sync.Mutex // guards the fields below
	rt      *goja.Runtime
	limit   time.Duration
	overrun error        // what interrupts a turn that takes longer
	turn    uint64       // counts turns
	req     *amp.Request // what the turn began with, or nil
	running bool         // a turn runs
	fired   bool         // this turn was interrupted
	heeded  bool         // and the script of it has ended: what goes on is the host's
	seen    uint64       // the turn that ran when the timer last looked
	since   time.Time    // when the timer first found it running; once fired, when that was
	looks   int          // how often the timer has found it running since
	timer   *time.Timer  // nil until the first turn
	armed   bool         // timer is set
	stopped bool
	goesOn  bool       // processors was told of the turn that runs
	lost    []lostTurn // that were given up, and have not come back
}

// A lostTurn is a turn that was given up.
type lostTurn struct {
	rt     *goja.Runtime
	turn   uint64
	goesOn bool
}

func newWatchdog(limit time.Duration) *watchdog {
	return &watchdog{processors: occupied, began: time.Now(), limit: limit, tick: min(max(limit/8, time.Millisecond), 10*time.Millisecond)}
}

// watch sets the runtime to interrupt, how long its turns may take, and which
// setting says so.
func (w *watchdog) watch(rt *goja.Runtime, limit time.Duration, setting string) {
	w.mu.Lock()
	w.rt, w.limit, w.overrun = rt, limit, overrun(limit, setting)
	w.mu.Unlock()
}

// overrun is errOverrun with the limit and the setting that it comes from.
func overrun(limit time.Duration, setting string) error {
	return fmt.Errorf("%w for %v: %s", errOverrun, limit, setting)
}

// begin says that a turn begins, and returns its number.
func (w *watchdog) begin(req *amp.Request) uint64 {
	w.mu.Lock()
	w.turn++
	turn := w.turn
	w.req, w.running, w.fired, w.heeded = req, true, false, false
	if !w.armed && !w.stopped {
		w.armed = true
		if w.timer == nil {
			w.timer = time.AfterFunc(w.tick, w.look)
		} else {
			w.timer.Reset(w.tick)
		}
	}
	w.mu.Unlock()
	return turn
}

// end says that a turn has ended. An interrupt that came too late for it is
// taken back, so that it can't hit the next one. It is false if the turn was
// given up: its goroutine has to end, and touch nothing.
func (w *watchdog) end(turn uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if turn != w.turn {
		return false
	}
	if w.fired {
		w.late.Store(false)
		if w.rt != nil {
			w.rt.ClearInterrupt()
		}
	}
	w.req, w.running, w.fired = nil, false, false
	if w.goesOn {
		w.goesOn = false
		w.processors.vacate()
		w.tell(false)
	}
	return true
}

// look is what the timer does.
func (w *watchdog) look() {
	req, s := w.check()
	if s.slow && w.slow != nil {
		w.slow()
	}
	if s.stuck {
		w.stuck(req)
	}
	if w.looked != nil {
		w.looked(s)
	}
}

// A sight is what a look sees of the turn.
type sight struct {
	runs  bool // there is one
	slow  bool // once: the first time that it is found again
	stuck bool // once: it has ignored its interrupt for long, and is given up
}

// check interrupts the turn that runs if its time is up, and sets the timer
// again. It returns the request of one that is given up.
func (w *watchdog) check() (req *amp.Request, s sight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return nil, s
	}
	if !w.running && w.turn == w.seen {
		w.armed = false // idle; the next turn sets the timer again
		return nil, s
	}
	s.runs = w.running
	w.timer.Reset(w.tick)
	now := time.Now()
	w.clock.Store(int64(now.Sub(w.began)))
	if w.turn != w.seen {
		w.seen, w.since, w.looks = w.turn, now, 0
		return nil, s
	}
	w.looks++
	if s.slow = w.running && !w.goesOn; s.slow {
		w.goesOn = true
		w.processors.occupy()
		w.tell(true)
	}
	switch {
	case !w.running || w.rt == nil:
	case !w.fired && now.Sub(w.since) >= w.limit && w.looks >= w.enough(w.limit):
		w.fireLocked(w.overrun)
	case w.fired && !w.heeded && now.Sub(w.since) >= stuckAfter && w.looks >= w.enough(stuckAfter):
		req = w.req
		w.lost = append(w.lost, lostTurn{w.rt, w.turn, w.goesOn})
		w.goesOn = false
		w.tell(false)
		w.turn++ // end finds that it was given up
		w.rt, w.req, w.running, w.fired = nil, nil, false, false
		w.late.Store(false)
		s.slow, s.stuck = false, true
		return req, s
	}
	return nil, s
}

// tell tells goes, if that is set. The caller holds mu.
func (w *watchdog) tell(on bool) {
	if w.goes != nil {
		w.goes(on)
	}
}

// fireLocked interrupts the turn that runs. It can't end meanwhile: end needs
// the mutex.
func (w *watchdog) fireLocked(reason error) {
	w.fired, w.seen, w.since, w.looks = true, w.turn, time.Now(), 0
	w.late.Store(true)
	w.rt.Interrupt(reason)
}

// hangs reports whether nothing has moved since it returned turn: that turn has
// been interrupted and does not end, or has ended and none has begun. Turns are
// counted from 1.
func (w *watchdog) hangs(since uint64) (turn uint64, hangs bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.turn, w.turn == since && (!w.running || w.fired)
}

// enough is how often the timer must have found a turn running before its time
// is up. On a machine that had no time for this process the clock goes on, and
// the turn did not.
func (w *watchdog) enough(limit time.Duration) int { return int(limit / w.tick / 4) }

// stuckAfter is how long a turn may ignore its interrupt: a built-in function
// does, until it returns.
const stuckAfter = 2 * time.Second

// interrupt ends the turn that runs at once. It is false if none does.
func (w *watchdog) interrupt(reason error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.running || w.rt == nil {
		return false
	}
	if !w.fired {
		w.fireLocked(reason)
	}
	return true
}

// publish has whoever gives the turn up see what it has done until now. It is
// called before what may not return: an embedder's function, a regular
// expression, the built-in functions that are guarded. No other built-in function
// takes so long; of the operators "+" may, of texts of gigabytes.
func (w *watchdog) publish() {
	w.mu.Lock()
	defer w.mu.Unlock()
}

// runs reports whether a turn runs, and was not given up.
func (w *watchdog) runs(turn uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.turn == turn
}

// busy reports whether a turn runs.
func (w *watchdog) busy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running
}

// interrupted reports whether the turn of a runtime was interrupted, or given up.
func (w *watchdog) interrupted(rt *goja.Runtime) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fired || w.rt != rt
}

// heeds notes that the turn of a runtime has heeded its interrupt: it is not
// given up any more, while the host clears up after it. It is true if it has
// been, and has come back now.
func (w *watchdog) heeds(rt *goja.Runtime) (givenUp bool) {
	w.mu.Lock()
	if w.rt == rt && w.fired {
		w.heeded = true
	}
	w.mu.Unlock()
	return w.returned(rt, 0)
}

// returned reports, once, whether a runtime, or a turn, was given up. It has
// come back now.
func (w *watchdog) returned(rt *goja.Runtime, turn uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.lost, func(l lostTurn) bool { return l.rt == rt || l.turn == turn })
	if i < 0 {
		return false
	}
	if w.lost[i].goesOn {
		w.processors.vacate()
	}
	w.lost = slices.Delete(w.lost, i, i+1)
	return true
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
