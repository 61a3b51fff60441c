package scripting

import (
	"errors"
	"fmt"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/store"
)

// storeNatives are what amp.store is made of.
func (r *realm) storeNatives(set func(string, func(goja.FunctionCall) goja.Value)) {
	set("update", r.update)
	set("view", r.view)
	set("watchStore", r.declareWatch)
	set("txObjects", func(c goja.FunctionCall) goja.Value {
		proto := func(i int) *goja.Object { return c.Argument(i).ToObject(r.rt).Get("prototype").ToObject(r.rt) }
		r.defineTxObjects(txProtos{proto(0), proto(1), proto(2), c.Argument(3).ToObject(r.rt)})
		return goja.Undefined()
	})
	// The generators take their object first.
	set("scan", func(c goja.FunctionCall) goja.Value {
		t, _ := r.open(c.Argument(0))
		return r.checked(r.scan(t.tx, c))
	})
	set("fileList", func(c goja.FunctionCall) goja.Value {
		t, _ := r.open(c.Argument(0))
		rng := store.Range{Prefix: r.key(c.Argument(1)), Limit: 256}
		if !absent(c.Argument(2)) {
			rng.Start = r.key(c.Argument(2)) + "\x00" // the next name in order
		}
		return r.checked(r.listFiles(t.tx, rng))
	})
}

// scan is one stretch of Tx.scan: (tx, prefix, start, end, limit, reverse,
// start is excluded).
func (r *realm) scan(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
	rng := store.Range{
		Prefix: r.key(c.Argument(1)), Start: r.key(c.Argument(2)), End: r.key(c.Argument(3)),
		Limit: int(c.Argument(4).ToInteger()), Reverse: c.Argument(5).ToBoolean(),
	}
	if c.Argument(6).ToBoolean() {
		rng.Start += "\x00" // the next key in order
	}
	list := []any{}
	for entry, err := range tx.Scan(store.Keys, rng) {
		if err != nil {
			return nil, err
		}
		v, err := r.decodeKey(entry.Key, entry.Value)
		if err != nil {
			return nil, err
		}
		list = append(list, r.rt.NewArray(entry.Key, v))
	}
	return r.rt.NewArray(list...), nil
}

// decodeKey makes the value of a key.
func (r *realm) decodeKey(key string, data []byte) (goja.Value, error) {
	v, err := r.decodeValue(data)
	if err != nil {
		return nil, fmt.Errorf("key %.80q: %w", key, err)
	}
	return v, nil
}

// key returns a name in the store. It panics with a TypeError if v is no
// string that UTF-8 can hold.
func (r *realm) key(v goja.Value) string {
	s, err := r.text(v)
	if err != nil {
		panic(r.rt.NewTypeError("a name in the store: %s", err))
	}
	return s
}

// valueProblem words what can't be stored.
func valueProblem(err error) string {
	if k, ok := errors.AsType[*keyError](err); ok {
		return within("value", k).(*keyError).path + ": " + k.err.Error()
	}
	return err.Error()
}

// storeError makes what a failed operation throws.
func (r *realm) storeError(err error) goja.Value {
	if errors.Is(err, store.ErrReadOnly) {
		return r.rt.NewTypeError("amp.store.view only reads: use amp.store.update")
	}
	e, failed := r.fn.plainError(nil, r.rt.ToValue(err.Error()))
	if failed != nil {
		return r.rt.NewGoError(err)
	}
	return e
}

// view is amp.store.view.
func (r *realm) view(c goja.FunctionCall) goja.Value {
	fn := r.bodyOf(c, "view")
	r.mustNotNest("view")
	tx, err := r.w.p.opts.Store.Begin(r.w.ctx, r.prog.Name, false)
	if err != nil {
		panic(r.storeError(err))
	}
	defer tx.Rollback()
	v, err := r.body(tx, fn)
	if err != nil {
		panic(err)
	}
	r.mustNotBePromise(v, "view")
	return v
}

// bodyOf returns the function that a transaction was given. It panics with a
// TypeError if that is none, or is async.
func (r *realm) bodyOf(c goja.FunctionCall, what string) goja.Callable {
	fn, ok := goja.AssertFunction(c.Argument(0))
	if !ok {
		panic(r.rt.NewTypeError("amp.store.%s takes a function of a transaction", what))
	}
	if o, _ := c.Argument(0).(*goja.Object); o.Prototype() == r.protos.async {
		panic(r.rt.NewTypeError("amp.store.%s: the function must not be async: a transaction waits for nothing", what))
	}
	return fn
}

// body runs the function of a transaction. tx is of no use to it afterwards.
func (r *realm) body(tx store.Tx, fn goja.Callable) (goja.Value, error) {
	t := &openTx{r: r, tx: tx}
	r.tx.Store(t)
	defer func() {
		r.tx.Store(nil)
		t.tx = nil
	}()
	t.o = r.newOpaque(t, r.protos.tx)
	return fn(goja.Undefined(), t.o)
}

// mustNotNest panics with a TypeError inside of a transaction.
func (r *realm) mustNotNest(what string) {
	if r.tx.Load() != nil {
		panic(r.rt.NewTypeError("amp.store.%s within a transaction: use the transaction that is open", what))
	}
}

// mustNotBePromise panics with a TypeError if a body returned a promise, for
// the transaction ends before it settles.
func (r *realm) mustNotBePromise(v goja.Value, what string) {
	o, ok := v.(*goja.Object)
	if !ok {
		return
	}
	if o.ExportType() == typePromise {
		if p, ok := o.Export().(*goja.Promise); ok && p.State() == goja.PromiseStateRejected {
			r.handled(p)
		}
		panic(r.rt.NewTypeError("amp.store.%s: the function must not be async, nor return a promise: a transaction waits for nothing", what))
	}
}
