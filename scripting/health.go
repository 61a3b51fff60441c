package scripting

import (
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amphost/amphost/amp"
)

// A health is what is known of the deaths of one generation's runtimes.
type health struct {
	mu       sync.Mutex // guards the fields below
	restarts int        // all of them
	row      int        // in a row, each within rowGap of the one before
	last     time.Time

	quarantined atomic.Pointer[amp.Error] // what calls fail with, once it is
}

const (
	rowGap    = time.Minute // deaths further apart than that do not belong together
	maxLost   = 3           // runtimes that did not come back, which each use up a processor
	longPause = 10 * time.Second
)

// died notes a death, and returns how long to wait before the next runtime is
// made: nothing at first, then longer and longer. quarantine is true if there
// is to be none.
func (h *health) died(most int, lost int64) (pause time.Duration, quarantine bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.last) > rowGap+longPause {
		h.row = 0
	}
	h.last = time.Now()
	h.restarts++
	h.row++
	if h.row > most && most >= 0 || lost >= maxLost {
		return 0, true
	}
	if h.row > 2 {
		pause = min(50*time.Millisecond<<min(h.row-3, 10), longPause)
	}
	return pause, false
}

// reset forgets what has been.
func (h *health) reset() {
	h.mu.Lock()
	h.row = 0
	h.mu.Unlock()
}

func (h *health) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.restarts
}

// quarantine ends a plugin that keeps dying. Its calls fail from now on, until
// a new generation takes its place, which takes a change of its files.
func (p *Plugin) quarantine() {
	e := ErrRestarted.Describe("plugin %s is quarantined: its runtime has died %d times; it runs again once its file has changed", p.prog.Name, p.health.count())
	if !p.health.quarantined.CompareAndSwap(nil, e) {
		return
	}
	p.log.Error("plugin quarantined: it keeps dying, and runs again once its file has changed", "restarts", p.health.count(), "abandoned", p.tally.abandoned.Load())
	for _, w := range p.workers {
		w.cut(e)
	}
}

// stuck gives up a turn that did not heed its interrupt, for it is in a
// built-in function, or one of Go's, that does not return. Its goroutine can't
// be ended. The loop goes on with another one, and a fresh runtime. It is
// called on the watchdog's goroutine.
func (w *worker) stuck(req *amp.Request) {
	lost := w.p.tally.abandoned.Add(1)
	w.p.log.Error("runtime abandoned: it is in a built-in function that can't be interrupted, and uses up a processor until that returns", "abandoned", lost)
	w.inside.Store(nil)
	w.loop.takeOver(func() { w.bury(req) })
}

// bury puts a fresh realm in the place of one that was abandoned. It leaves the
// old one alone, which another goroutine may still run.
func (w *worker) bury(req *amp.Request) {
	old := w.realm
	if old == nil {
		return // between two
	}
	w.realm = nil
	w.dropTimers()
	if t := old.tx.Load(); t != nil {
		t.tx.Rollback() // or the fresh one could not begin any
	}
	w.closeConnsOf(old)
	old.closers.closeAll()
	list := w.calls.all()
	for _, c := range list {
		w.fail(c.req, ErrRestarted)
	}
	var attrs []slog.Attr
	if req != nil {
		attrs = (&call{req: req}).attrs()
		if !req.Answered() {
			w.fail(req, ErrRestarted)
		}
	}
	limit, setting := w.p.turnLimit()
	w.succeed(&Error{Message: overrun(limit, setting).Error() + "; in a built-in function that can't be interrupted"}, attrs, len(list), true)
}

// back notes that an abandoned runtime has come back.
func (w *worker) back() {
	w.p.tally.abandoned.Add(-1)
	w.p.hub.memory.replaced(w)
	w.p.log.Info("an abandoned runtime has come back, and was ended")
}

// leave ends the goroutine of an abandoned runtime that has come back.
func (r *realm) leave() {
	r.w.back()
	r.closers.closeAll()
	runtime.Goexit()
}

// gone is what calls fail with that a plugin which has ended does not answer.
func (p *Plugin) gone() error {
	if e := p.health.quarantined.Load(); e != nil {
		return e
	}
	return amp.ErrShuttingDown
}

// closers are what has to be closed when a realm is abandoned. Unlike all else
// of a realm they may be used by any goroutine.
type closers struct {
	mu   sync.Mutex // guards the field below
	list map[any]func()
}

// add has f called by closeAll, unless remove is called with the key before.
func (c *closers) add(key any, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.list == nil {
		c.list = make(map[any]func())
	}
	c.list[key] = f
}

func (c *closers) remove(key any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.list, key)
}

func (c *closers) closeAll() {
	c.mu.Lock()
	list := c.list
	c.list = nil
	c.mu.Unlock()
	for _, f := range list {
		f()
	}
}
