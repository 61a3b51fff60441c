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
}

func (t task) none() bool { return t.req == nil && t.fn == nil }

// A loop is a goroutine that does tasks one at a time, in the order in which
// they were posted, and timers when they are due. It knows nothing of
// JavaScript: what a turn does, and what happens when one ends, is its
// owner's.
type loop struct {
	serve   func(*amp.Request) // does a task's request; on the loop
	settle  func()             // ends a turn that did not panic; on the loop
	crashed func(any)          // ends a turn that panicked; on the loop
	rest    func()             // if set, called before the loop waits; on the loop
	dog     *watchdog
	timers  timers // only the loop's goroutine
	batch   []task // what was taken off the queue; only the loop's goroutine, and overdue
	front   []task // what goes before the rest of batch; as batch, but changed under mu

	wake chan struct{} // 1-buffered: the queue is not empty, or ended is set
	done chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex // guards the fields below, and front
	queue  []task
	closed bool // takes no more requests
	ended  bool // takes nothing more
	marked int  // how much of queue was there at mark; see overdue
	mark   time.Time
}

func newLoop(dog *watchdog) *loop {
	return &loop{dog: dog, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// ask hands a request to the loop. It is false if the loop takes no more
// requests; the request is then still the caller's. It never blocks.
func (l *loop) ask(r *amp.Request) bool {
	l.mu.Lock()
	ok := !l.closed
	if ok {
		l.queue = append(l.queue, task{req: r})
	}
	l.mu.Unlock()
	l.poke()
	return ok
}

// offer is post for what a closed loop takes no more of.
func (l *loop) offer(f func()) bool {
	l.mu.Lock()
	ok := !l.closed
	if ok {
		l.queue = append(l.queue, task{fn: f})
	}
	l.mu.Unlock()
	l.poke()
	return ok
}

// post has the loop call f. It is false, and f is dropped, once the loop has
// ended. It never blocks.
func (l *loop) post(f func()) bool {
	l.mu.Lock()
	ok := !l.ended
	if ok {
		l.queue = append(l.queue, task{fn: f})
	}
	l.mu.Unlock()
	l.poke()
	return ok
}

// first has the loop do a list, one turn each, before all that it has besides.
// It is called on the loop.
func (l *loop) first(list []task) {
	l.mu.Lock()
	l.front = append(list, l.front...)
	l.mu.Unlock()
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

// run is the loop's goroutine.
func (l *loop) run() {
	defer close(l.done)
	defer l.dog.stop()
	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	for {
		var ended bool
		l.mu.Lock()
		l.batch, l.queue = l.queue, l.batch[:0]
		l.marked = 0
		ended = l.ended
		l.mu.Unlock()
		for i := range l.batch {
			if !l.batch[i].none() { // else it took too long to come to it
				l.do(l.batch[i])
				l.batch[i] = task{}
			}
		}
		if ended && len(l.batch) == 0 {
			return
		}
		l.fire()
		if len(l.batch) > 0 {
			continue // perhaps more has come meanwhile
		}
		if l.rest != nil {
			l.rest()
		}
		if next, ok := l.timers.next(); ok {
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

// overdue takes the requests that have waited for the turn that runs, which
// began then, for longer than limit; negative for no limit. It is called while
// that turn can't end.
func (l *loop) overdue(turn time.Time, limit time.Duration) (list []*amp.Request) {
	now := time.Now()
	if limit < 0 {
		return nil
	}
	take := func(tasks []task) {
		for i, t := range tasks {
			if t.req != nil {
				list = append(list, t.req)
				tasks[i] = task{}
			}
		}
	}
	if now.Sub(turn) >= limit {
		// The first of the batch may be what runs, and has begun.
		for i := range l.batch {
			if !l.batch[i].none() {
				take(l.batch[i+1:])
				break
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(turn) >= limit {
		take(l.front) // what runs is not there any more
	}
	if l.marked == 0 || now.Sub(l.mark) >= limit {
		take(l.queue[:l.marked])
		l.marked, l.mark = len(l.queue), now
	}
	return list
}

// do does one task, and what that has put first.
func (l *loop) do(t task) {
	l.turn(t)
	for len(l.front) > 0 { // nobody else changes its length
		l.mu.Lock()
		t = l.front[0]
		l.front[0] = task{}
		l.front = l.front[1:]
		l.mu.Unlock()
		if !t.none() { // else it took too long to come to it
			l.turn(t)
		}
	}
}

// turn does one task and what it caused within the runtime.
func (l *loop) turn(t task) {
	l.dog.begin()
	defer func() {
		x := recover()
		l.dog.end()
		if x != nil {
			l.crashed(x)
		}
	}()
	if t.req != nil {
		l.serve(t.req)
	} else {
		t.fn()
	}
	l.settle()
}

// fire does the timers that are due now. Those that they set wait for the next
// time, so that they can't keep requests waiting.
func (l *loop) fire() {
	if len(l.timers.heap) == 0 {
		return
	}
	now := time.Now()
	for _, t := range l.timers.due(now) {
		if !t.stopped {
			l.do(task{fn: t.fire})
		}
	}
}
