package scripting

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/store"
)

// An openUpdate is one amp.store.update until its promise settles.
type openUpdate struct {
	deferred
	fn goja.Callable

	// call is the call whose responder returned the promise, or 0. It is then
	// answered from here: reactions of the promise would cost as much again.
	call uint64
	by   *call // whose code began it, or nil
}

// update is amp.store.update. The body runs at once, on the loop; a goroutine
// waits until it is durable.
func (r *realm) update(c goja.FunctionCall) goja.Value {
	fn := r.bodyOf(c, "update")
	r.mustNotNest("update")
	r.mustHaveRoom("amp.store.update")
	u := &openUpdate{deferred: r.newDeferred(), fn: fn}
	u.by = r.grab()
	r.updates[u.o] = u
	r.attempt(u)
	return u.o
}

// attempt runs the body of an update once.
func (r *realm) attempt(u *openUpdate) {
	// Begin may wait for a body of the plugin's other generation, which the
	// watchdog bounds.
	ctx := &lazyTimeout{Context: r.w.ctx, limit: r.w.p.turnTimeout()}
	tx, err := r.w.beginUpdate(ctx)
	ctx.stop()
	if err != nil {
		r.settleUpdate(u, r.storeError(err), true)
		return
	}
	ended := false
	defer func() {
		if !ended {
			tx.Rollback() // a panic, or an interrupt
		}
	}()
	v, err := r.body(tx, u.fn)
	if err != nil && isFatal(err) {
		panic(err)
	}
	if err == nil {
		if ex := r.rt.Try(func() { r.mustNotBePromise(v, "update") }); ex != nil {
			err = ex
		}
	}
	ended = true
	var durable <-chan error
	if err != nil {
		// What the body saw may not be durable yet, so even its error waits.
		durable = tx.Rollback()
	} else {
		durable = tx.Commit()
	}
	r.w.gather()
	r.pending++
	current := r.grab()
	r.w.commits.wait(&r.w.waits, durable, func(outcome error) {
		r.post(func() {
			r.pending--
			r.current = current
			r.committed(u, v, err, outcome)
			r.current = nil
		})
	})
}

// committed settles an update's promise.
func (r *realm) committed(u *openUpdate, v goja.Value, thrown, outcome error) {
	switch {
	case errors.Is(outcome, store.ErrConflict):
		// Somebody else got through, so this makes progress.
		if err := r.try(func() { r.attempt(u) }); err != nil {
			return
		}
	case errors.Is(outcome, store.ErrQuota):
		r.settleUpdate(u, r.storeError(outcome), true)
	case outcome != nil:
		r.log.LogAttrs(r.w.ctx, slog.LevelError, "the store failed a commit", append(r.current.attrs(), slog.Any("error", outcome))...)
		r.settleUpdate(u, r.storeError(outcome), true)
	case thrown != nil:
		var ex *goja.Exception
		if errors.As(thrown, &ex) {
			r.settleUpdate(u, ex.Value(), true)
			return
		}
		r.settleUpdate(u, r.storeError(thrown), true)
	default:
		r.settleUpdate(u, v, false)
	}
}

// settleUpdate settles an update's promise, and answers its call.
func (r *realm) settleUpdate(u *openUpdate, v goja.Value, rejected bool) {
	delete(r.updates, u.o)
	if rejected {
		u.reject(v)
	} else {
		u.resolve(v)
	}
	if u.call == 0 || r.dead != nil {
		return
	}
	switch u.promise.State() {
	case goja.PromiseStatePending: // resolved with something that has a then
		r.watch(u.o, u.call)
	case goja.PromiseStateRejected:
		r.handled(u.promise) // by the answer
		r.settle(u.call, u.promise.Result(), true)
	default:
		r.settle(u.call, u.promise.Result(), false)
	}
}

// beginUpdate begins a transaction that gather is told of once it has ended.
func (w *worker) beginUpdate(ctx context.Context) (store.Tx, error) {
	if g, ok := w.p.opts.Store.(store.Gatherer); ok {
		return g.BeginGathered(ctx, w.p.prog.Name)
	}
	return w.p.opts.Store.Begin(ctx, w.p.prog.Name, true)
}

// gather is told of each transaction that has ended. The store makes them durable
// several at a time: all of those between two rests of the loop, or a quarter of
// the calls that run. With a quarter at the disk and a quarter on its way there,
// half of the clients keep the loop busy.
func (w *worker) gather() {
	w.gathered++
	if int64(w.gathered)*4 >= w.p.running.Load() {
		w.flush()
	}
}

// flush has the store make durable what was gathered.
func (w *worker) flush() {
	if w.gathered == 0 {
		return
	}
	w.gathered = 0
	if g, ok := w.p.opts.Store.(store.Gatherer); ok {
		g.Flush()
	}
}

// A lazyTimeout is a context that ends limit after somebody first waits for its
// end. Nearly no update waits, and a context with a timer costs as much as one.
// Only one goroutine may use it.
type lazyTimeout struct {
	context.Context // timed, once that is made
	limit           time.Duration
	cancel          context.CancelFunc // nil until then
}

// Done implements context.Context.
func (c *lazyTimeout) Done() <-chan struct{} {
	if c.cancel == nil {
		c.Context, c.cancel = context.WithTimeout(c.Context, c.limit)
	}
	return c.Context.Done()
}

func (c *lazyTimeout) stop() {
	if c.cancel != nil {
		c.cancel()
	}
}

// commitWaits wait for the commits of a worker, one after the other, in the
// order in which they were made, which is that in which they end. One goroutine
// does so for all, while there are any.
type commitWaits struct {
	mu      sync.Mutex // guards the fields below
	queue   []commitWait
	waiting bool // there is a goroutine
}

type commitWait struct {
	durable <-chan error
	done    func(error)
}

// wait has done called, on another goroutine, with what durable yields.
func (c *commitWaits) wait(goroutines *sync.WaitGroup, durable <-chan error, done func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, commitWait{durable, done})
	if !c.waiting {
		c.waiting = true
		goroutines.Go(c.run) // ends with the last commit; the worker's end waits
	}
}

func (c *commitWaits) run() {
	var list []commitWait
	for {
		c.mu.Lock()
		list, c.queue = c.queue, list[:0]
		c.waiting = len(list) > 0
		c.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for i, w := range list {
			list[i] = commitWait{}
			w.done(<-w.durable)
		}
	}
}
