package scripting

import "github.com/dop251/goja"

// goja drops its stack, and runs promise jobs, whenever a function that Go has
// called returns to it. To make that stack anew is a quarter of what a small
// responder costs. So turns that follow each other are done within one call, of a
// function of Go's by one of the script's, unless there may be promise jobs: in a
// script that has never had anything wait for a promise there are none.

// fewTurns is up to how many are not worth it.
const fewTurns = 3

// errLeave unwinds a runtime of which nothing is to run any more.
var errLeave = new(goja.InterruptedError)

// within has run do turns, within the runtime if that may be. It is false if a
// turn was given up.
func (w *worker) within(turns int, run func() bool) bool {
	r := w.realm
	if turns <= fewTurns || r == nil || r.reacts || r.dead != nil || w.loaded != nil || w.p.program != nil {
		return run()
	}
	givenUp := false
	var turn uint64 // in which the runtime is left
	body := func(goja.FunctionCall) goja.Value {
		if givenUp = !run(); givenUp || w.realm != r || r.dead != nil {
			panic(errLeave)
		}
		// What a thenable has left to do belongs to a turn, too.
		turn = w.loop.dog.begin(nil)
		return goja.Undefined()
	}
	w.inside.Store(r)
	var err error
	var panicked any
	func() {
		defer func() { panicked = recover() }()
		_, err = r.fn.within(nil, r.rt.ToValue(body))
	}()
	if givenUp {
		return false // w is somebody else's by now
	}
	if turn != 0 && !w.loop.dog.runs(turn) { // it was given up as the runtime was left
		if w.loop.dog.returned(r.rt, turn) {
			r.leave()
		}
		return false
	}
	w.inside.CompareAndSwap(r, nil)
	leave := func() {
		if panicked != nil {
			panic(panicked)
		}
		if err != nil && isFatal(err) {
			r.die(err)
		}
	}
	if turn == 0 { // all that is left has no turn to end
		leave()
		return true
	}
	return w.loop.endTurn(turn, task{fn: leave})
}

// left reports whether the runtime that turns are done within has to be left.
func (w *worker) left() bool {
	r := w.inside.Load()
	return r != nil && (r != w.realm || r.reacts || r.dead != nil)
}
