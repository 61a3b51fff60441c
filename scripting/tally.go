package scripting

import (
	"sync/atomic"
	"time"

	"github.com/amphost/amphost/amp"
)

// A tally counts what became of the calls of a plugin, through all its
// generations.
type tally struct {
	ended   atomic.Uint64 // calls that are over, whatever became of them
	failed  atomic.Uint64 // those of them that were answered with an error
	dropped atomic.Uint64 // callbacks of generations that had ended
	// abandoned is how many runtimes did not come back from a built-in function.
	abandoned atomic.Int64

	last atomic.Pointer[Failure]
}

// A Failure is something that went wrong in a plugin while it ran.
type Failure struct {
	Err        error // an *Error if a script threw it
	Generation int
	Time       time.Time
}

// answered counts a call that the worker had taken and that is over.
func (w *worker) answered() {
	w.p.running.Add(-1)
	w.p.hub.running.Add(-1)
	w.p.tally.ended.Add(1)
}

// fail answers a call that the worker had taken with an error.
func (w *worker) fail(r *amp.Request, err error) {
	r.Fail(w.p.sign(err))
	w.p.tally.failed.Add(1)
	w.answered()
}

// sign adds to an error of this package which generation it is of.
func (p *Plugin) sign(err error) error {
	if e, ok := err.(*amp.Error); ok && (e == ErrTimeout || e == ErrRestarted) {
		return e.Describe("%s: %s, generation %d", e.Description, p.prog.Name, p.generation)
	}
	return err
}

// drop counts a callback that came when its generation had ended, and was not
// called.
func (p *Plugin) drop() { p.tally.dropped.Add(1) }
