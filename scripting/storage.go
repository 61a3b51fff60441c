package scripting

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/store"
)

// An openTx is a transaction whose body is running. There is at most one in a
// realm, for a body is synchronous.
type openTx struct {
	id uint64
	tx store.Tx
}

// storeNatives are what amp.store is made of.
func (r *realm) storeNatives(set func(string, func(goja.FunctionCall) goja.Value)) {
	set("update", r.update)
	set("view", r.view)
	set("watchStore", r.declareWatch)

	// Each takes the number of its transaction first.
	op := func(name string, f func(tx store.Tx, c goja.FunctionCall) (goja.Value, error)) {
		set(name, func(c goja.FunctionCall) goja.Value {
			v, err := f(r.txOf(c.Argument(0)), c)
			if err != nil {
				panic(r.storeError(err))
			}
			if v == nil {
				return goja.Undefined()
			}
			return v
		})
	}
	op("get", func(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
		key := r.key(c.Argument(1))
		data, err := tx.Get(store.Keys, key)
		if err != nil || data == nil {
			return nil, err
		}
		v, err := r.decodeValue(data)
		if err != nil {
			return nil, fmt.Errorf("key %.80q: %w", key, err)
		}
		return v, nil
	})
	op("put", func(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
		key := r.key(c.Argument(1))
		data, err := r.encodeValue(nil, c.Argument(2))
		if err != nil {
			panic(r.rt.NewTypeError("put %.80q: %s", key, valueProblem(err)))
		}
		return nil, tx.Put(store.Keys, key, data)
	})
	op("del", func(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
		return nil, tx.Delete(store.Keys, r.key(c.Argument(1)))
	})
	op("scan", r.scan)
	op("checkName", func(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
		r.key(c.Argument(1))
		return nil, nil
	})
	op("counter", func(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
		name := r.key(c.Argument(1))
		delta := c.Argument(2).ToInteger()
		var n int64
		var err error
		if delta == 0 {
			n, err = store.Count(tx, name)
		} else {
			n, err = store.Add(tx, name, delta)
		}
		return r.rt.ToValue(n), err
	})
	op("fileExists", func(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
		ok, err := store.FileExists(tx, r.key(c.Argument(1)))
		return r.rt.ToValue(ok), err
	})
	op("fileRead", func(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
		data, err := store.ReadFile(tx, r.key(c.Argument(1)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return r.ownBuffer(data), nil
	})
	op("fileWrite", func(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
		name := r.key(c.Argument(1))
		data, err := r.encode(nil, &argType{kind: kindString}, c.Argument(2))
		if err != nil {
			panic(r.rt.NewTypeError("file %.80q: %s", name, err))
		}
		if !c.Argument(3).ToBoolean() {
			return nil, store.WriteFile(tx, name, data)
		}
		err = store.CreateFile(tx, name, data)
		if errors.Is(err, fs.ErrExist) {
			return r.rt.ToValue(false), nil
		}
		return r.rt.ToValue(true), err
	})
	op("fileRemove", func(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
		err := store.RemoveFile(tx, r.key(c.Argument(1)))
		if errors.Is(err, fs.ErrNotExist) {
			return r.rt.ToValue(false), nil
		}
		return r.rt.ToValue(true), err
	})
	op("fileList", func(tx store.Tx, c goja.FunctionCall) (goja.Value, error) {
		const most = 256
		after := ""
		if !absent(c.Argument(2)) {
			after = c.Argument(2).String()
		}
		names := []any{}
		for info, err := range store.ListFiles(tx, r.key(c.Argument(1))) {
			if err != nil {
				return nil, err
			}
			if after != "" && info.Name <= after {
				continue
			}
			if names = append(names, info.Name); len(names) == most {
				break
			}
		}
		return r.rt.NewArray(names...), nil
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
		v, err := r.decodeValue(entry.Value)
		if err != nil {
			return nil, fmt.Errorf("key %.80q: %w", entry.Key, err)
		}
		list = append(list, r.rt.NewArray(entry.Key, v))
	}
	return r.rt.NewArray(list...), nil
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

// txOf returns the transaction of a number. It panics with a TypeError after
// the transaction's end.
func (r *realm) txOf(v goja.Value) store.Tx {
	if r.tx == nil || r.tx.id != uint64(v.ToInteger()) {
		panic(r.rt.NewTypeError("the transaction has ended: use tx only within the function it was given to"))
	}
	return r.tx.tx
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
	r.mustNotNest("view")
	fn, _ := goja.AssertFunction(c.Argument(0))
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

// body runs the function of a transaction. tx is of no use to it afterwards.
func (r *realm) body(tx store.Tx, fn goja.Callable) (goja.Value, error) {
	r.nextID++
	r.tx = &openTx{id: r.nextID, tx: tx}
	defer func() { r.tx = nil }()
	o, err := r.fn.tx(nil, r.rt.ToValue(r.tx.id))
	if err != nil {
		return nil, err
	}
	return fn(goja.Undefined(), o)
}

// mustNotNest panics with a TypeError inside of a transaction.
func (r *realm) mustNotNest(what string) {
	if r.tx != nil {
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
