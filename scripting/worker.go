package scripting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
)

// A worker is a loop with the realm that lives on it. When the realm dies it
// makes a fresh one of the same program.
type worker struct {
	p        *Plugin
	loop     *loop
	ctx      context.Context // ends when the worker is cut off
	cancel   context.CancelFunc
	waits    sync.WaitGroup        // goroutines that wait for something and post it
	fetching chan struct{}         // holds a place for each request of fetch that is made
	commits  commitWaits           // one of these waits for commits
	inside   atomic.Pointer[realm] // whose runtime turns are done within
	calls    callList              // that wait for a promise

	// Only the loop's goroutine touches the fields below.
	realm     *realm
	holding   int         // > 0: what arrives waits in held
	held      []held      // in order of arrival
	heldTimer *timer      // for the held request that expires next
	loaded    func(error) // ends the loading that is under way, or nil
	lived     bool        // it has loaded once
	failing   error       // what requests fail with from now on, or nil
	paused    bool        // held up between amp.hot.save and the next generation
	published bool        // what amp.store.watch was given is called
	draining  bool
	unloading bool
	stopping  bool          // raw connections that are idle are closed
	looking   bool          // and looked for again soon
	usual     time.Duration // how long a lent request takes; see lends
	gathered  int           // how many commits wait for flush
}

// A held is a request, or a function, that waits until a worker is ready: the
// one where it arrived, or its successor's, which the function is called with.
type held struct {
	req   *amp.Request
	since time.Time // when it was asked
	fn    func(*worker)
}

func newWorker(p *Plugin) *worker {
	w := &worker{p: p, loop: newLoop(newWatchdog(p.opts.LoadTimeout)), fetching: make(chan struct{}, maxFetching)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.loop.serve = w.serve
	w.loop.settle = w.settle
	w.loop.crashed = w.crashed
	w.loop.rest = w.rest
	w.loop.over = func() {
		w.flush()
		p.hub.memory.remove(w)
	}
	w.loop.within, w.loop.left = w.within, w.left
	w.loop.lends, w.loop.lent, w.loop.tooSlow = w.lends, w.lent, w.tooSlow
	w.loop.dog.looked = w.looked
	w.loop.dog.goes = func(on bool) { p.hub.memory.goes(w, on) }
	w.loop.dog.stuck = w.stuck
	w.loop.back = w.back
	p.hub.memory.add(w)
	return w
}

// rest is called when there is nothing to do for now.
func (w *worker) rest() {
	w.flush()
	if w.p.program != nil {
		w.p.program.rest(w)
	}
}

// looked is called every few milliseconds while turns run, not on the loop.
func (w *worker) looked(s sight) {
	if s.runs {
		w.p.hub.memory.runs(w)
	}
	w.p.hub.memory.look()
	if g, ok := w.p.opts.Store.(store.Gatherer); ok {
		g.Flush() // a turn that takes long keeps no commit from the disk
	}
}

// A goroutine that reads a connection does a request itself when nothing else is
// there to do: a wake-up less, a third of what a lone call takes. But then its
// connection is not read meanwhile, and its stack grows by what scripts need.
const (
	fewConns  = 64                     // from how many connections on that is not worth it
	shortTurn = 100 * time.Microsecond // what takes longer, on average, is left to the loop's own goroutine
	slowPause = 10 * time.Second       // from then on, for so long
)

// lends reports whether a request may be done by whoever brings it.
func (w *worker) lends() bool {
	if w.p.program != nil || w.p.hub.linked.Load() > fewConns {
		return false
	}
	until := w.p.slowUntil.Load()
	return until == 0 || time.Since(w.p.started) > time.Duration(until)
}

// lent notes how long such a request took. A single one that took a little long
// says nothing of the plugin: it may have been the machine.
func (w *worker) lent(took time.Duration) {
	w.usual += (min(took, 10*shortTurn) - w.usual) / 32
	if w.usual > shortTurn {
		w.usual = 0
		w.tooSlow()
	}
}

// tooSlow has no requests lent for a while.
func (w *worker) tooSlow() {
	w.p.slowUntil.Store(int64(time.Since(w.p.started) + slowPause))
}

// serve answers a request, or keeps it until the worker is ready.
func (w *worker) serve(r *amp.Request, waited time.Duration) {
	switch {
	case w.failing != nil:
		w.fail(r, w.failing)
	case w.holding > 0 || w.realm == nil:
		w.keep(r, waited)
	case waited > 0 && w.p.lapsed(waited):
		w.lapse(r, waited, "its turn: what came before it took so long")
	default:
		w.realm.respond(r, waited)
	}
}

// lapse fails a request that has waited for longer than it may stay unanswered.
// Nobody counts on its answer any more: it is not begun.
func (w *worker) lapse(r *amp.Request, waited time.Duration, what string) {
	w.fail(r, ErrTimeout)
	if w.p.mayLog() {
		w.p.log.LogAttrs(w.ctx, slog.LevelWarn, "call not answered in time", append((&call{req: r}).attrs(),
			slog.Duration("after", waited.Round(time.Millisecond)), slog.String("waits", what))...)
	}
}

// keep holds a request that has waited so long already.
func (w *worker) keep(r *amp.Request, waited time.Duration) {
	w.held = append(w.held, held{req: r, since: time.Now().Add(-waited)})
	if limit := w.p.callTimeout(); limit > 0 {
		w.expireHeldIn(limit - waited)
	}
}

// expireHeld fails the held requests whose time is up, and comes back for the
// next.
func (w *worker) expireHeld() {
	limit := w.p.callTimeout()
	if limit <= 0 {
		return
	}
	next, left := limit, false
	w.held = slices.DeleteFunc(w.held, func(h held) bool {
		if h.req == nil {
			return false
		}
		waited := time.Since(h.since)
		if waited >= limit {
			w.lapse(h.req, waited, "the plugin to be ready: it restarts, or is replaced")
			return true
		}
		next, left = min(next, limit-waited), true
		return false
	})
	if left {
		w.expireHeldIn(next)
	}
}

// expireHeldIn has expireHeld called by then.
func (w *worker) expireHeldIn(d time.Duration) {
	if t := w.heldTimer; t != nil && !t.stopped && time.Until(t.when) <= d {
		return
	}
	w.heldTimer.stop()
	w.heldTimer = w.loop.timers.after(d, w.expireHeld)
	w.heldTimer.idle = true
}

// takeHeld returns what is held, and holds it no more.
func (w *worker) takeHeld() []held {
	list := w.held
	w.held = nil
	w.heldTimer.stop()
	return list
}

// dropTimers drops the timers of a realm that has died.
func (w *worker) dropTimers() {
	w.loop.timers, w.heldTimer = timers{}, nil
	w.expireHeld()
}

// inOrder does f now, or after what is held, perhaps with the worker's
// successor: f must touch nothing but what it is given. Once the worker has
// failed there may be no realm.
func (w *worker) inOrder(f func(*worker)) {
	if w.failing == nil && (w.holding > 0 || w.realm == nil) {
		w.held = append(w.held, held{fn: f})
		return
	}
	f(w)
}

// hold has requests wait until release has been called as often.
func (w *worker) hold() { w.holding++ }

// release lets go of what was held, in order, before anything that arrives
// later. Each has a turn of its own, and so its own time: if the realm dies of
// one, the rest is held again, for the next.
func (w *worker) release() {
	if w.holding--; w.holding > 0 {
		return
	}
	held := w.takeHeld()
	list := make([]task, len(held))
	for i, h := range held {
		list[i].req, list[i].exact = h.req, true
		list[i].at = int64(h.since.Sub(w.loop.dog.began))
		if h.fn != nil {
			list[i].fn = func() { w.inOrder(h.fn) }
		}
	}
	w.loop.first(list)
}

// leaveStates keeps what the script knows of its peers for the next generation.
func (w *worker) leaveStates() {
	if w.realm != nil {
		w.realm.leaveStates()
	}
}

// load makes a realm and runs the plugin in it. done is called, on the loop,
// when the plugin is ready or can't be.
func (w *worker) load(done func(error)) {
	w.hold()
	finished := false
	w.loaded = func(err error) {
		if finished {
			return
		}
		finished = true
		w.loaded = nil
		if err == nil {
			w.lived = true
			limit, setting := w.p.turnLimit()
			w.loop.dog.watch(w.realm.rt, limit, setting)
			w.release()
		} else {
			w.holding--
		}
		done(err)
	}
	w.realm = newRealm(w)
	// Less than all of it, so that a module that spins is told from one that
	// waits.
	w.loop.dog.watch(w.realm.rt, min(w.p.opts.LoadTimeout*3/4, w.p.longest()), "three quarters of LoadTimeout, which is load in [limits]")
	if err := w.realm.run(); err != nil {
		w.loaded(err)
		return
	}
	w.realm.loading = false
	if err := w.realm.watchStore(); err != nil {
		w.loaded(err)
		return
	}
	if w.p.signatures == nil {
		w.p.settings = w.realm.settings
		w.p.settings.workers = min(max(w.p.settings.workers, 1), w.p.opts.MaxWorkers)
		w.p.signatures = signaturesOf(w.realm)
		w.p.unhandled = w.realm.unhandledPlace
		w.p.named, w.p.switches = w.realm.named()
		w.p.saves = len(w.realm.handlers["save"]) > 0
		w.p.authorizes = len(w.realm.handlers["authorize"]) > 0
	}
	if !w.lived && w.p.before != nil && w.p.before.saves {
		w.p.before.handOver(func(state []byte, err error) {
			w.loop.post(func() { w.receive(state, err) })
		})
		return
	}
	if !w.p.program.begin(w) {
		w.activate(goja.Undefined())
	}
}

// activate calls the handlers of amp.onLoad, one after the other, and ends the
// loading.
func (w *worker) activate(saved goja.Value) {
	r := w.realm
	r.sequence(r.handlers["onLoad"], saved, func(err error) {
		if w.realm == r && w.loaded != nil {
			w.loaded(err)
		}
	})
}

// named lists the protocols and box receivers of a realm, and which commands
// are answered by switching to one.
func (r *realm) named() (names []string, switches map[string]bool) {
	for name := range r.protocols {
		names = append(names, "protocol "+name)
	}
	for name := range r.receivers {
		names = append(names, "boxReceiver "+name)
	}
	switches = make(map[string]bool)
	for name, cmd := range r.responders {
		if cmd.switches {
			switches[name] = true
		}
	}
	return names, switches
}

// settle ends a turn.
func (w *worker) settle() {
	r := w.realm
	if r == nil {
		return
	}
	late := w.loop.dog.late.Load()
	if r.dead == nil {
		if r.reacts && !late && w.inside.Load() == r {
			return // its promise jobs come first: see within
		}
		r.endTurn()
	}
	if late && r.dead == nil {
		r.die(r.interruption(nil))
	}
	if r.dead != nil {
		w.replace(nil)
		return
	}
	w.checkDrained()
}

// crashed ends a turn that panicked: a mistake in a binding must not end the
// process.
func (w *worker) crashed(x any) {
	err, ok := x.(error)
	if !ok {
		err = fmt.Errorf("panic: %v", x)
	}
	if w.realm == nil {
		w.p.log.Error("panic outside of a runtime", "error", err, "stack", string(debug.Stack()))
		return
	}
	w.realm.die(err)
	var thrown *goja.Exception
	if isFatal(err) || errors.As(err, &thrown) {
		w.replace(nil)
		return
	}
	w.replace(debug.Stack())
}

// replace puts a fresh realm in the place of one that has died.
func (w *worker) replace(stack []byte) {
	old := w.realm
	w.realm = nil
	e := old.errorOfDeath(old.dead)
	attrs := old.diedIn
	if stack != nil {
		attrs = append(attrs, slog.String("go", string(stack)))
	}
	lost := w.calls.len()
	if c := old.serving; c != nil {
		// Its code ran when the realm died.
		w.fail(c.req, ErrRestarted)
	}
	old.stopTimers(true)
	w.dropTimers()
	old.failAll(ErrRestarted)
	w.loop.post(func() { w.p.hub.memory.replaced(w) }) // once nothing refers to it
	w.succeed(e, attrs, lost, stack != nil)
}

// succeed has a realm that has died succeeded by a fresh one, if there is to be
// one. So many calls were lost with it besides the one it died in. told has it
// logged in any case.
func (w *worker) succeed(e *Error, attrs []slog.Attr, lost int, told bool) {
	if w.p.program.died(w, e) {
		return
	}
	// Of what it dies of while it loads tells who loads it.
	if w.p.health.quarantined.Load() == nil && (w.lived && w.loaded == nil || told) {
		w.p.log.LogAttrs(w.ctx, slog.LevelError, "plugin restarted", append(attrs, slog.Any("error", e), slog.Int("lost", lost))...)
	}
	if w.loaded != nil {
		w.loaded(e)
		return
	}
	if w.ctx.Err() != nil || w.unloading || !w.lived {
		w.finish(w.p.gone())
		return
	}
	w.restart()
}

// restart loads the plugin again, after a pause that grows when it keeps
// happening.
func (w *worker) restart() {
	pause, quarantine := w.p.health.died(w.p.opts.MaxRestarts, w.p.tally.abandoned.Load())
	if quarantine {
		w.p.quarantine()
		return
	}
	w.hold()
	again := func() {
		w.holding--
		if w.ctx.Err() != nil {
			w.finish(amp.ErrShuttingDown)
			return
		}
		w.load(func(err error) {
			if err == nil {
				return
			}
			w.p.log.Error("plugin does not restart", "error", err)
			w.realm = nil
			if w.ctx.Err() != nil || w.draining {
				w.finish(ErrRestarted)
				return
			}
			w.failHeld(ErrRestarted)
			w.restart()
		})
	}
	if pause == 0 {
		w.loop.post(again)
	} else {
		w.loop.timers.after(pause, again)
	}
}

// failHeld has the requests that are held fail.
func (w *worker) failHeld(err error) {
	for _, t := range w.takeHeld() {
		if t.req != nil {
			w.fail(t.req, err)
		} else {
			t.fn(w) // finds no realm, perhaps
		}
	}
}

// finish ends the worker. Requests that it still has fail with err.
func (w *worker) finish(err error) {
	w.failing = err
	w.failHeld(err)
	w.loop.end()
}

// drain has the worker end once it has done what it has. Its intervals stop;
// what its timers do is still done.
func (w *worker) drain() {
	w.draining = true
	if w.realm != nil {
		w.realm.stopTimers(false)
	}
}

// loseIdle closes the raw connections over which nothing passes, from now on.
func (w *worker) loseIdle() {
	w.stopping = true
	if w.realm == nil {
		return
	}
	left := false
	for _, t := range w.realm.transports {
		left = !t.loseIdle() || left
	}
	if left && !w.looking {
		w.looking = true
		w.loop.timers.after(lull/10, func() {
			w.looking = false
			w.loseIdle()
		})
	}
}

// checkDrained ends a draining worker that has nothing left to do.
func (w *worker) checkDrained() {
	r := w.realm
	if !w.draining || w.unloading || w.holding > 0 || len(w.held) > 0 || len(w.loop.front) > 0 || r.pending > 0 {
		return
	}
	if w.calls.len() > 0 && (len(r.timers) > 0 || !w.calls.forlorn()) {
		return
	}
	for _, c := range w.calls.all() {
		w.fail(c.req, amp.ErrShuttingDown)
	}
	w.unloading = true
	// An onUnload that never settles must not keep the generation, nor what that
	// has opened.
	w.loop.timers.after(w.p.opts.LoadTimeout, func() {
		r.stopTimers(true)
		r.failAll(amp.ErrShuttingDown)
		w.loop.end()
	})
	r.sequence(r.handlers["onUnload"], goja.Undefined(), func(err error) {
		if err != nil {
			r.report(slog.LevelError, "uncaught in amp.onUnload", asError(err), nil)
		}
		r.stopTimers(true)
		for _, t := range r.transports {
			t.lose() // amp.onUnload has opened it
		}
		r.closeConns()
		w.loop.end()
	})
}

// cut ends the worker now. The requests it has fail with err.
func (w *worker) cut(err error) {
	w.loop.refuse()
	w.cancel()
	w.loop.post(func() {
		w.unloading = true
		if r := w.realm; r != nil {
			r.failAll(err)
			r.stopTimers(true)
		}
		w.finish(err)
	})
	w.loop.dog.interrupt(errStopped)
}

// kill ends the runtime now, and has it replaced.
func (w *worker) kill(reason error) {
	if !w.loop.dog.interrupt(reason) {
		w.loop.post(func() {
			if w.realm != nil {
				w.realm.die(reason)
			}
		})
	}
}
