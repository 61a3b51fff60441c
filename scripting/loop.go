package scripting

import (
	"sync"
	"time"

	"github.com/amphost/amphost/amp"
)

// A task is one thing for a loop to do: a request to answer, or a function.
type task struct {
	req *amp.Request
	fn  func()
	key uint64 // what fn belongs to: the number of a connection, or one of key*
	at  int64  // when req was asked, by the watchdog's clock; 0 if unknown

	exact bool // at is no stamp of a clock that may have stood still
}

func (t task) none() bool { return t.req == nil && t.fn == nil }

// A loop does tasks one at a time, in the order in which they were posted, and
// timers when they are due. It has a goroutine for that; a request that finds it
// idle is done by whoever brings it, see ask. It knows nothing of JavaScript: what
// a turn does, and what happens when one ends, is its owner's.
//
// What is said to be the loop's alone belongs to the goroutine that has set busy.
type loop struct {
	serve   func(*amp.Request, time.Duration) // does a task's request, which has waited so long; on the loop
	settle  func()                            // ends a turn that did not panic; on the loop
	crashed func(any)                         // ends a turn that panicked; on the loop
	over    func()                            // called when the loop has ended; on the loop
	back    func()                            // called when a turn that was given up comes back
	rest    func()                            // if set, called before the loop waits; on the loop
	// within does so many turns or more by calling run, which is false if one was
	// given up, and left has it return before it is through. On the loop.
	within  func(turns int, run func() bool) bool
	left    func() bool
	lends   func() bool         // whether requests are done by who brings them, now
	lent    func(time.Duration) // told how long such a request took; on the loop
	tooSlow func()              // told that one takes far too long
	dog     *watchdog
	timers  timers       // only the loop
	batch   []task       // what was taken off the queue; only the loop
	at      int          // where in batch; only the loop
	turns   int          // how many were done of rounds; only the loop
	rounds  *rounds      // what is done in turns instead of batch; only the loop
	front   []task       // what goes before the rest of batch; only the loop
	woke    int64        // when it had last nothing to do, by the watchdog's clock; only the loop
	spent   *amp.Request // what a turn began with, and has answered; only the loop
	answers amp.Batch    // to the requests of rounds, which are written together

	wake chan struct{} // 1-buffered: the queue is not empty, or ended is set
	done chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // guards the fields below
	queue   []task
	closed  bool         // takes no more requests
	ended   bool         // takes nothing more
	busy    bool         // some goroutine does what there is to do
	guest   *amp.Request // what a goroutine does that is not the loop's own, or nil
	vacated sync.Cond    // on mu: busy is false again; only the loop's own goroutine waits
}

func newLoop(dog *watchdog) *loop {
	l := &loop{dog: dog, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.vacated.L = &l.mu
	l.lends = func() bool { return false }
	l.left = func() bool { return false }
	l.within = func(_ int, run func() bool) bool { return run() }
	dog.slow = l.freeGuest
	return l
}

// ask hands a request to the loop. It is false if the loop takes no more
// requests; the request is then still the caller's. It never blocks: a request
// that has come alone, and finds the loop idle, is done at once, on the calling
// goroutine, but no longer than until the watchdog looks; see amp.Request.Occupy.
func (l *loop) ask(r *amp.Request) bool {
	alone := r.Alone() && l.lends()
	r.Defer()
	l.mu.Lock()
	ok := !l.closed
	if ok && alone && !l.busy && len(l.queue) == 0 && len(l.front) == 0 {
		l.busy, l.guest = true, r
		l.mu.Unlock()
		l.doGuest(r)
		return true
	}
	if ok {
		l.queue = append(l.queue, task{req: r, at: l.dog.clock.Load()})
	}
	l.mu.Unlock()
	l.poke()
	return ok
}

// offer is post for what a closed loop takes no more of, and for what belongs to
// a connection.
func (l *loop) offer(key uint64, f func()) bool {
	l.mu.Lock()
	ok := !l.closed
	if ok {
		l.queue = append(l.queue, task{fn: f, key: key})
	}
	l.mu.Unlock()
	l.poke()
	return ok
}

// post has the loop call f. It is false, and f is dropped, once the loop has
// ended. It never blocks.
func (l *loop) post(f func()) bool { return l.postFor(keyBarrier, f) }

// postFor is post for what belongs to a connection, or is keyFree.
func (l *loop) postFor(key uint64, f func()) bool {
	l.mu.Lock()
	ok := !l.ended
	if ok {
		l.queue = append(l.queue, task{fn: f, key: key})
	}
	l.mu.Unlock()
	l.poke()
	return ok
}

// first has the loop do a list, one turn each, before all that it has besides.
// It is called on the loop.
func (l *loop) first(list []task) {
	l.front = append(list, l.front...)
}

// poke wakes the loop if it sleeps.
func (l *loop) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// isEmpty reports whether nothing is queued.
func (l *loop) isEmpty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) == 0
}

// refuse has the loop take no more requests. Those it has are done.
func (l *loop) refuse() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
}

// end has the loop's goroutine end once it has done what is in its queue;
// timers are dropped.
func (l *loop) end() {
	l.mu.Lock()
	l.closed, l.ended = true, true
	l.mu.Unlock()
	l.poke()
}

// doGuest does a request on the goroutine that has brought it.
func (l *loop) doGuest(r *amp.Request) {
	r.Keep() // the watchdog may free it at any time
	r.Occupy()
	start := time.Now()
	next, _ := l.timers.next()
	if l.do(task{req: r}) {
		sooner, ok := l.timers.next()
		l.lent(time.Since(start))
		l.answers.Flush() // it may have settled others
		if l.rest != nil {
			l.rest()
		}
		l.mu.Lock()
		l.guest = nil
		wake := len(l.queue) > 0 || l.ended || ok && !sooner.Equal(next)
		l.leaveLocked()
		l.mu.Unlock()
		if wake {
			l.poke()
		}
	} // else somebody else has the loop by now
	r.Vacate()
}

// freeGuest lets the goroutine that has brought a request have its connection
// read by another one, for the request takes long.
func (l *loop) freeGuest() {
	l.mu.Lock()
	r := l.guest
	l.mu.Unlock()
	if r != nil {
		l.tooSlow()
		r.Free()
	}
}

// enterLocked waits until nobody else does what there is to do.
func (l *loop) enterLocked() {
	for l.busy {
		l.vacated.Wait()
	}
	l.busy = true
}

// leaveLocked lets others do so.
func (l *loop) leaveLocked() {
	l.busy = false
	l.vacated.Signal()
}

// run is the loop's goroutine.
func (l *loop) run() {
	if l.work() {
		l.dog.stop()
		l.over()
		close(l.done)
	} // else another goroutine is
}

// takeOver has another goroutine go on, in the place of one whose turn was given
// up. It does f first, and then what was not begun.
func (l *loop) takeOver(f func()) {
	list := append([]task(nil), l.front...)
	for _, t := range l.batch {
		if !t.none() {
			list = append(list, t)
		}
	}
	for l.rounds != nil {
		t, _ := l.rounds.next()
		if t.none() {
			l.rounds = nil
			break
		}
		list = append(list, t)
	}
	l.batch = nil
	l.mu.Lock()
	l.front = []task{{fn: f}} // before anything enters the runtime
	l.queue = append(list, l.queue...)
	guest := l.guest != nil
	l.guest = nil
	l.leaveLocked()
	l.mu.Unlock()
	l.poke()
	if !guest {
		go l.run() // ends when the loop does; done says so
	}
}

// work does what there is to do until the loop has ended. It is false if its
// turn was given up: it must touch nothing then.
func (l *loop) work() bool {
	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	idle := true // as it enters
	for {
		var ended bool
		l.mu.Lock()
		if idle {
			l.enterLocked()
			l.woke = int64(time.Since(l.dog.began))
			idle = false
		}
		l.batch, l.queue = l.queue, l.batch[:0]
		ended = l.ended
		l.mu.Unlock()
		if !l.doFront() {
			return false
		}
		if len(l.batch) >= longQueue {
			if !l.workInRounds() {
				return false
			}
			continue
		}
		for l.at = 0; l.at < len(l.batch) || len(l.front) > 0; {
			if !l.within(len(l.batch)-l.at, l.doBatch) {
				return false
			}
		}
		l.answers.Flush()
		if ended && len(l.batch) == 0 {
			return true
		}
		if !l.fire() {
			return false
		}
		l.answers.Flush() // of what the timers have answered
		if len(l.batch) > 0 {
			continue // perhaps more has come meanwhile
		}
		if l.rest != nil {
			l.rest()
		}
		next, ok := l.timers.next()
		idle = true
		l.mu.Lock()
		l.leaveLocked()
		l.mu.Unlock()
		if ok {
			clock.Reset(time.Until(next))
			select {
			case <-l.wake:
			case <-clock.C:
			}
		} else {
			<-l.wake
		}
	}
}

// turnsWithin is how many turns are done at most before the runtime is left.
const turnsWithin = 256

// doBatch does what is left of the batch, or some of it. It is false if a turn
// was given up.
func (l *loop) doBatch() bool {
	for range turnsWithin {
		if !l.doFront() {
			return false
		}
		if l.at == len(l.batch) || l.left() {
			break
		}
		t := l.batch[l.at]
		l.batch[l.at] = task{} // whatever becomes of it, it has begun
		l.at++
		if !l.turn(t) {
			return false
		}
	}
	return true
}

// do does one task, and what that has put first. It is false if a turn was
// given up.
func (l *loop) do(t task) bool { return l.turn(t) && l.doFront() }

// doFront does what goes first, or some of it.
func (l *loop) doFront() bool {
	for len(l.front) > 0 && !l.left() {
		t := l.front[0]
		l.front[0] = task{}
		l.front = l.front[1:]
		if !l.turn(t) {
			return false
		}
	}
	return true
}

// turn does one task and what it caused within the runtime.
func (l *loop) turn(t task) (ok bool) { return l.endTurn(l.dog.begin(t.req), t) }

// endTurn is turn for one that has begun.
func (l *loop) endTurn(turn uint64, t task) (ok bool) {
	defer func() {
		x := recover()
		switch ok = l.dog.end(turn); {
		case ok && x != nil:
			l.crashed(x)
		case ok && t.req != nil && l.spent == t.req:
			l.spent = nil
			t.req.Release()
		}
		if !ok && l.dog.returned(nil, turn) {
			l.back()
		}
	}()
	if t.req != nil {
		l.serve(t.req, l.waited(t))
	} else {
		t.fn()
	}
	l.settle()
	return true
}

// waited is how long a request has waited, to a tick of the watchdog or two.
func (l *loop) waited(t task) time.Duration {
	if t.at == 0 {
		return 0
	}
	if t.exact {
		return time.Since(l.dog.began) - time.Duration(t.at)
	}
	// What came while there was nothing to do has a stamp of before.
	return max(0, time.Duration(l.dog.clock.Load()-max(t.at, l.woke)))
}

// fire does the timers that are due now. Those that they set wait for the next
// time, so that they can't keep requests waiting. It is false if a turn was
// given up.
func (l *loop) fire() bool {
	if len(l.timers.heap) == 0 {
		return true
	}
	now := time.Now()
	for _, t := range l.timers.due(now) {
		if !t.stopped && !l.do(task{fn: t.fire}) {
			return false
		}
	}
	return true
}
