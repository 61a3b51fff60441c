package amp

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// A job is a handler function with what it is called with.
type job interface{ run() }

type jobFunc func()

func (f jobFunc) run() { f() }

// workers run handler functions, each as if in a goroutine of its own: one
// that blocks holds up nobody. They start in the order of their arrival. A
// goroutine that has finished one takes the next that waits, so a burst of
// short functions needs few goroutines, whose stacks have grown already.
//
// While something waits, a goroutine is on its way to take it: starting says
// so. It is cleared only by that goroutine, which sees to the next one before
// it runs a function that may block.
type workers struct {
	mu       sync.Mutex    // guards the fields below
	n        int           // goroutines
	idle     chan struct{} // closed when the last of them ends; nil while nobody waits for that
	queue    []job
	head     int // queue[:head] has been taken
	starting bool
	serial   bool // one after another, see Options.Strict
	running  bool // with serial: a goroutine runs
}

// do runs a job soon.
func (w *workers) do(j job) {
	w.mu.Lock()
	w.queue = append(w.queue, j)
	start := w.startLocked()
	w.mu.Unlock()
	if start {
		go w.work() // wait waits for it
	}
}

// run runs fn in a goroutine beside the jobs.
func (w *workers) run(fn func()) {
	w.mu.Lock()
	w.n++
	w.mu.Unlock()
	go func() { // wait waits for it
		fn()
		w.mu.Lock()
		w.leaveLocked()
		w.mu.Unlock()
	}()
}

// wait waits until no goroutine runs. Unlike with a WaitGroup, one may start
// at the same time: a handler may pass a request on after the connection's end.
func (w *workers) wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.n > 0 {
		if w.idle == nil {
			w.idle = make(chan struct{})
		}
		idle := w.idle
		w.mu.Unlock()
		<-idle
		w.mu.Lock()
	}
}

func (w *workers) leaveLocked() {
	w.n--
	if w.n == 0 && w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

// startLocked reports whether another goroutine is needed.
func (w *workers) startLocked() bool {
	if w.starting || w.head == len(w.queue) || w.serial && w.running {
		return false
	}
	w.starting = true
	w.running = true
	w.n++
	return true
}

// work runs jobs until none waits.
func (w *workers) work() {
	w.mu.Lock()
	w.starting = false
	for w.head < len(w.queue) {
		j := w.queue[w.head]
		w.queue[w.head] = nil
		w.head++
		if w.head == len(w.queue) {
			w.head = 0
			if cap(w.queue) > 1024 {
				w.queue = nil
			} else {
				w.queue = w.queue[:0]
			}
		}
		start := w.startLocked()
		w.mu.Unlock()
		if start {
			go w.work()
		}
		j.run()
		w.mu.Lock()
	}
	w.running = false
	w.leaveLocked()
	w.mu.Unlock()
}

// recoverHandler answers a request whose handler panicked: a programmer's
// mistake, but no reason to end the calls of everybody else. It must be
// deferred.
func (r *Request) recoverHandler() {
	v := recover()
	if v == nil {
		return
	}
	err := handlerPanic(v)
	if r.Answered() {
		r.log().Error("amp: command failed after its answer", r.attrs(err)...)
		return
	}
	r.Fail(err)
}

// handlerPanic returns the error for what a handler panicked with.
func handlerPanic(v any) error { return fmt.Errorf("handler panics: %v\n%s", v, debug.Stack()) }
