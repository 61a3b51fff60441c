package scripting

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/store"
)

// What a script holds of a transaction: tx, tx.files and tx.counter(name). They
// are objects without properties whose methods, in their prototypes, are Go's:
// classes of the prelude took as long as all the rest of a small update.

// An openTx is a transaction whose body is running, and tx of its script. There
// is at most one in a realm, for a body is synchronous.
type openTx struct {
	opaque
	r     *realm
	tx    store.Tx     // nil once the body has ended
	o     *goja.Object // what the script has of it
	files *goja.Object // tx.files, once asked for
	last  *goja.Object // what tx.counter gave last, for counter
	count *txCounter
}

// Get implements goja.DynamicObject: tx.files is a property of each tx, for a
// getter takes as long as to look a file up. Once the body has ended it is of no
// use.
func (t *openTx) Get(name string) goja.Value {
	if name != "files" {
		return nil
	}
	if t.files == nil {
		t.files = t.r.newOpaque(&txFiles{t: t}, t.r.protos.files)
	}
	return t.files
}

// Has implements goja.DynamicObject.
func (t *openTx) Has(name string) bool { return name == "files" }

// Keys implements goja.DynamicObject.
func (t *openTx) Keys() []string { return []string{"files"} }

// txFiles is tx.files.
type txFiles struct {
	opaque
	t *openTx
}

// A txCounter is what tx.counter gives.
type txCounter struct {
	opaque
	t    *openTx
	name string
}

// opaque is a goja.DynamicObject without properties.
type opaque struct{}

func (opaque) Get(string) goja.Value       { return nil }
func (opaque) Set(string, goja.Value) bool { return false }
func (opaque) Has(string) bool             { return false }
func (opaque) Delete(string) bool          { return true }
func (opaque) Keys() []string              { return nil }

// txProtos are the prototypes of a transaction's objects, classes of the prelude,
// which has those methods that are generators; and that of async functions.
type txProtos struct{ tx, files, counter, async *goja.Object }

// newOpaque makes an object of a handler and its prototype.
func (r *realm) newOpaque(d goja.DynamicObject, proto *goja.Object) *goja.Object {
	o := r.rt.NewDynamicObject(d)
	must(o.SetPrototype(proto))
	return o
}

// open returns the transaction behind one of its objects, and the counter if
// that is one. It panics with a TypeError after the transaction's end.
func (r *realm) open(v goja.Value) (*openTx, any) {
	o, ok := v.(*goja.Object)
	if !ok {
		panic(r.rt.NewTypeError("not called on a transaction"))
	}
	if t := r.tx.Load(); t != nil { // nearly always; Export allocates
		switch o {
		case t.o, t.files:
			return t, nil
		case t.last:
			return t, t.count
		}
	}
	handler := o.Export()
	var t *openTx
	switch h := handler.(type) {
	case *openTx:
		t = h
	case *txFiles:
		t = h.t
	case *txCounter:
		t = h.t
	default:
		panic(r.rt.NewTypeError("not called on a transaction"))
	}
	if t.tx == nil {
		panic(r.rt.NewTypeError("the transaction has ended: use tx only within the function it was given to"))
	}
	return t, handler
}

// checked throws what an operation failed with.
func (r *realm) checked(v goja.Value, err error) goja.Value {
	if err != nil {
		panic(r.storeError(err))
	}
	if v == nil {
		return goja.Undefined()
	}
	return v
}

// defineTxObjects gives the prototypes their methods.
func (r *realm) defineTxObjects(protos txProtos) {
	r.protos = protos
	accessor := func(proto *goja.Object, name string, get func(goja.FunctionCall) goja.Value) {
		must(proto.DefineAccessorProperty(name, r.rt.ToValue(get), nil, goja.FLAG_TRUE, goja.FLAG_FALSE))
	}
	method := func(proto *goja.Object, name string, f func(t *openTx, c goja.FunctionCall) (goja.Value, error)) {
		fn := func(c goja.FunctionCall) goja.Value {
			t, _ := r.open(c.This)
			return r.checked(f(t, c))
		}
		must(proto.DefineDataProperty(name, r.rt.ToValue(fn), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	}

	method(protos.tx, "get", func(t *openTx, c goja.FunctionCall) (goja.Value, error) {
		return r.getKey(t.tx, r.key(c.Argument(0)))
	})
	method(protos.tx, "put", func(t *openTx, c goja.FunctionCall) (goja.Value, error) {
		key := r.key(c.Argument(0))
		data, err := r.encodeValue(nil, c.Argument(1))
		if errors.Is(err, store.ErrTooLarge) {
			return nil, fmt.Errorf("%w: value of key %.40q has more than %d bytes: keep it in a file", store.ErrTooLarge, key, store.MaxValue)
		}
		if err != nil {
			panic(r.rt.NewTypeError("put %.80q: %s", key, valueProblem(err)))
		}
		return nil, t.tx.Put(store.Keys, key, data)
	})
	method(protos.tx, "delete", func(t *openTx, c goja.FunctionCall) (goja.Value, error) {
		return nil, t.tx.Delete(store.Keys, r.key(c.Argument(0)))
	})
	method(protos.tx, "counter", func(t *openTx, c goja.FunctionCall) (goja.Value, error) {
		t.count = &txCounter{t: t, name: r.key(c.Argument(0))}
		t.last = r.newOpaque(t.count, protos.counter)
		return t.last, nil
	})
	count := func(this goja.Value, delta int64) goja.Value {
		t, handler := r.open(this)
		counter, ok := handler.(*txCounter)
		if !ok {
			panic(r.rt.NewTypeError("not called on a counter"))
		}
		var n int64
		var err error
		if delta == 0 {
			n, err = store.Count(t.tx, counter.name)
		} else {
			n, err = store.Add(t.tx, counter.name, delta)
		}
		return r.checked(r.rt.ToValue(n), err)
	}
	accessor(protos.counter, "value", func(c goja.FunctionCall) goja.Value { return count(c.This, 0) })
	method(protos.counter, "next", func(_ *openTx, c goja.FunctionCall) (goja.Value, error) {
		return count(c.This, 1), nil
	})
	method(protos.counter, "add", func(_ *openTx, c goja.FunctionCall) (goja.Value, error) {
		n, ok := safeInteger(c.Argument(0))
		if !ok {
			panic(r.rt.NewTypeError("a counter adds whole numbers up to 2^53-1"))
		}
		return count(c.This, n), nil
	})

	method(protos.files, "exists", func(t *openTx, c goja.FunctionCall) (goja.Value, error) {
		ok, err := store.FileExists(t.tx, r.key(c.Argument(0)))
		return r.rt.ToValue(ok), err
	})
	method(protos.files, "read", func(t *openTx, c goja.FunctionCall) (goja.Value, error) {
		data, err := store.ReadFile(t.tx, r.key(c.Argument(0)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return r.ownBuffer(data), nil
	})
	method(protos.files, "create", func(t *openTx, c goja.FunctionCall) (goja.Value, error) {
		name, data := r.file(c)
		err := store.CreateFile(t.tx, name, data)
		if errors.Is(err, fs.ErrExist) {
			e, failed := r.fn.fileExists(nil, c.Argument(0))
			if failed != nil {
				panic(failed)
			}
			panic(e)
		}
		return nil, err
	})
	method(protos.files, "write", func(t *openTx, c goja.FunctionCall) (goja.Value, error) {
		name, data := r.file(c)
		return nil, store.WriteFile(t.tx, name, data)
	})
	method(protos.files, "remove", func(t *openTx, c goja.FunctionCall) (goja.Value, error) {
		err := store.RemoveFile(t.tx, r.key(c.Argument(0)))
		if errors.Is(err, fs.ErrNotExist) {
			return r.rt.ToValue(false), nil
		}
		return r.rt.ToValue(true), err
	})
}

// file returns the name and the contents that create and write were given, which
// are good until it is called again.
func (r *realm) file(c goja.FunctionCall) (name string, data []byte) {
	name = r.key(c.Argument(0))
	parts := []goja.Value{c.Argument(1)} // undefined is no contents
	if len(c.Arguments) > 1 {
		parts = c.Arguments[1:]
	}
	data = r.contents[:0]
	asked := false // for room
	for i, part := range parts {
		var err error
		if data, err = r.encode(data, contentsType, part); err != nil {
			if len(parts) > 1 {
				err = fmt.Errorf("part %d of its contents: %w", i+1, err)
			}
			panic(r.rt.NewTypeError("file %.80q: %s", name, err))
		}
		if rest := parts[i+1:]; len(rest) > 0 && len(data) >= largeBuffer && !asked {
			asked = true
			data = slices.Grow(data, r.roomFor(name, len(data), rest))
		}
	}
	if cap(data) <= mostContents {
		r.contents = data
	}
	return name, data
}

// roomFor asks for room for what is to follow the first so many bytes of a file,
// and returns how much that is. It panics with a RangeError.
func (r *realm) roomFor(name string, begun int, rest []goja.Value) (n int) {
	for _, part := range rest {
		if b, ok := r.bytesOf(part); ok {
			n += len(b)
		} else if goja.IsString(part) {
			n += int(r.chars(part)) // in UTF-8 three times that at most
		}
		if begun+n > maxBuffer {
			panic(r.rangeError("file %.80q: more than %d bytes", name, maxBuffer))
		}
	}
	r.reserve(int64(n))
	return n
}

// contentsType is what the contents of a file may be.
var contentsType = &argType{kind: kindString}

// mostContents is the largest memory for contents that file keeps.
const mostContents = 64 << 10

// getKey is tx.get.
func (r *realm) getKey(tx store.Tx, key string) (goja.Value, error) {
	data, err := tx.Get(store.Keys, key)
	if err != nil || data == nil {
		return nil, err
	}
	return r.decodeKey(key, data)
}

// listFiles is one stretch of tx.files.list.
func (r *realm) listFiles(tx store.Tx, rng store.Range) (goja.Value, error) {
	names := []any{}
	for info, err := range store.ListFiles(tx, rng) {
		if err != nil {
			return nil, err
		}
		names = append(names, info.Name)
	}
	return r.rt.NewArray(names...), nil
}
