package scripting

import (
	"fmt"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// handOver asks a plugin's running generation for the state that amp.hot.save
// keeps for the next one. The generation is paused from there on, so that
// nothing changes what was saved: until resume, or until its successor takes
// over what has arrived meanwhile. done is called on its loop, with nil if it
// saves nothing.
func (p *Plugin) handOver(done func(state []byte, err error)) {
	w := p.workers[0]
	if !w.loop.post(func() {
		r := w.realm
		if r == nil || len(r.handlers["save"]) == 0 {
			done(nil, nil)
			return
		}
		if len(p.workers) > 1 {
			done(nil, &Error{Message: "amp.hot.save works for one worker: each would have a state of its own"})
			return
		}
		if !w.paused {
			w.paused = true
			w.hold()
		}
		state, err := r.save()
		done(state, err)
	}) {
		done(nil, nil)
	}
}

// save calls what amp.hot.save was given, and encodes what it returns.
func (r *realm) save() ([]byte, error) {
	v, err := r.enter(r.handlers["save"][0])
	if err != nil {
		e := r.describe(err)
		e.Message = "amp.hot.save: " + e.Message
		return nil, e
	}
	var state []byte
	if failed := r.try(func() { state, err = r.cloneValue(v) }); failed != nil {
		return nil, r.describe(failed)
	}
	if err != nil {
		return nil, &Error{Message: fmt.Sprintf("amp.hot.save: %s", valueProblem(err))}
	}
	return state, nil
}

// resume has a paused generation go on.
func (p *Plugin) resume() {
	w := p.workers[0]
	w.loop.post(func() {
		if w.paused {
			w.paused = false
			w.release()
		}
	})
}

// handOn gives what a paused worker holds to its successor, in order.
func (w *worker) handOn(next *Plugin) {
	w.paused = false
	w.holding--
	list := w.takeHeld()
	for _, t := range list {
		if t.req != nil {
			w.p.running.Add(-1) // and the hub has as many as before
		}
	}
	to := next.workers[0]
	if !to.loop.post(func() {
		for _, t := range list {
			if t.req != nil {
				next.running.Add(1)
				t.req.SetAnswerer(&next.answerer)
			}
		}
		to.hold() // it may have been released, if this took too long
		to.held = append(list, to.held...)
		to.expireHeld()
		to.release()
	}) {
		for _, t := range list {
			if t.req != nil {
				t.req.Fail(amp.ErrShuttingDown)
				next.hub.running.Add(-1)
			} else {
				t.fn(w) // it may close something, or tell somebody
			}
		}
	}
}

// receive ends the loading of a generation with what the one before has saved.
func (w *worker) receive(state []byte, err error) {
	r := w.realm
	if r == nil || w.loaded == nil {
		return
	}
	var saved goja.Value = goja.Undefined()
	if err == nil && state != nil {
		if failed := r.try(func() { saved, err = r.decodeClone(state) }); failed != nil {
			err = failed
		}
	}
	if err != nil {
		w.loaded(err)
		return
	}
	w.activate(saved)
}
