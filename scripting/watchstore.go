package scripting

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/store"
)

// What amp.store.watch was given is told of every commit to the plugin's
// namespace from the moment the module has run: what amp.onLoad reads and what
// the watchers are told leave no gap. Until the generation is published the
// changes are kept, for the one before it still runs and is told of them. An
// update's promise settles after its watchers were called, as the store tells
// watchers first.

// storeWatches are the watchers of one realm.
type storeWatches struct {
	list  []storeWatch
	stop  func()           // ends the store's telling; nil if it does not tell
	early [][]store.Change // what was told before the generation was published
}

// A storeWatch is what one call of amp.store.watch was given.
type storeWatch struct {
	prefix string
	fn     goja.Callable
}

// declareWatch is amp.store.watch: (prefix, function).
func (r *realm) declareWatch(c goja.FunctionCall) goja.Value {
	r.mustLoad("amp.store.watch")
	prefix := r.key(c.Argument(0))
	fn, _ := goja.AssertFunction(c.Argument(1))
	r.watches.list = append(r.watches.list, storeWatch{prefix, fn})
	return goja.Undefined()
}

// watchStore has the store tell the realm's watchers, if it has any.
func (r *realm) watchStore() error {
	if len(r.watches.list) == 0 {
		return nil
	}
	stop, err := r.w.p.opts.Store.Watch(r.prog.Name, func(changes []store.Change) {
		if !r.watches.concern(changes) {
			return
		}
		r.w.loop.post(func() { r.told(changes) })
	})
	if err != nil {
		return &Error{Message: "amp.store.watch: " + err.Error()}
	}
	r.watches.stop = stop
	return nil
}

// unwatchStore ends that.
func (r *realm) unwatchStore() {
	if r.watches.stop != nil {
		r.watches.stop()
		r.watches.stop = nil
	}
}

// concern reports whether some watcher is told of some of the changes. It is
// called by the store, while list does not change.
func (w *storeWatches) concern(changes []store.Change) bool {
	for _, c := range changes {
		for _, watch := range w.list {
			if watch.wants(c) {
				return true
			}
		}
	}
	return false
}

func (w *storeWatch) wants(c store.Change) bool {
	return c.Space == store.Keys && strings.HasPrefix(c.Key, w.prefix)
}

// told is called on the loop with what the store tells.
func (r *realm) told(changes []store.Change) {
	switch {
	case r.dead != nil || r.w.realm != r:
		r.unwatchStore()
	case r.watches.stop == nil: // it was on its way
	case !r.w.published:
		r.watches.early = append(r.watches.early, changes)
	default:
		r.tellInOrder(changes)
	}
}

// publish has the watchers of the plugin called from now on, first with what
// was kept for them.
func (p *Plugin) publish() {
	p.live.Store(true)
	for _, w := range p.workers {
		w.loop.post(func() {
			w.published = true
			r := w.realm
			if r == nil {
				return
			}
			early := r.watches.early
			r.watches.early = nil
			for _, changes := range early {
				r.tellInOrder(changes)
			}
		})
	}
}

// tellInOrder is tellWatchers, after what is held. The next generation is told
// of changes by the store, not by this one.
func (r *realm) tellInOrder(changes []store.Change) {
	r.w.inOrder(func(w *worker) {
		if w == r.w {
			r.tellWatchers(changes)
		}
	})
}

// tellWatchers calls the watchers whose keys have changed. What they throw is
// logged.
func (r *realm) tellWatchers(changes []store.Change) {
	for i := range r.watches.list {
		watch := &r.watches.list[i]
		if r.dead != nil || r.w.realm != r { // also if what was held comes too late
			return
		}
		var list []any
		var bad error
		if err := r.try(func() { list, bad = r.changesFor(watch, changes) }); err != nil {
			bad = err
		}
		if bad != nil {
			r.report(slog.LevelError, "amp.store.watch can't tell of a change", r.describe(bad), nil)
			continue
		}
		if len(list) == 0 {
			continue
		}
		_, err := r.enter(watch.fn, r.rt.NewArray(list...)) // a promise that is rejected is logged as any other
		if err != nil && !isFatal(err) {
			r.report(slog.LevelError, "uncaught in amp.store.watch", r.describe(err), nil)
		}
	}
}

// changesFor makes what one watcher is called with: an array of objects with a
// key and a value, undefined if the key was deleted. Each watcher gets its own.
func (r *realm) changesFor(watch *storeWatch, changes []store.Change) (list []any, err error) {
	for _, c := range changes {
		if !watch.wants(c) {
			continue
		}
		value := goja.Undefined()
		if c.Value != nil {
			if value, err = r.decodeValue(c.Value); err != nil {
				return nil, &Error{Message: fmt.Sprintf("key %.80q: %v", c.Key, err)}
			}
		}
		o := r.rt.NewObject()
		must(o.Set("key", c.Key))
		must(o.Set("value", value))
		list = append(list, o)
	}
	return list, nil
}
