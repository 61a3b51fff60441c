package scripting

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	"github.com/dop251/goja"
	"github.com/dop251/goja/unistring"
)

// A deferred is a promise that Go settles. The script has o.
//
// goja makes two functions for each, with names and lengths and wrappers: twenty
// objects, an eighth of what a small update takes. They are seldom needed: nearly
// always such a promise is fulfilled with plain data, and nobody has asked it by
// then. So it begins as a copy of a pending promise, is fulfilled by saying so,
// and becomes one that goja has made, functions and all, when it comes otherwise.
type deferred struct {
	r       *realm
	o       *goja.Object
	promise *goja.Promise
	// goja's functions, which settle it once; nil until they are needed.
	resolveBy, rejectBy func(any) error
	stack               string // where it was made, once place was called
}

// A pendingPromise is a promise and its object.
type pendingPromise struct {
	object  goja.Object
	promise goja.Promise
}

// promiseFields is where a promise has what makes it that promise and no other.
// With a goja whose promises look otherwise than they do in the one that this was
// written for, goja makes every deferred.
type promiseFields struct {
	known     bool
	self      uintptr // of goja.Object: an interface that holds the promise
	object    uintptr // of goja.Promise
	values    uintptr // its properties
	state     uintptr
	result    uintptr
	reactions uintptr // a slice of what waits for its being fulfilled
}

var promises = fieldsOfPromises(reflect.TypeFor[goja.Object](), reflect.TypeFor[goja.Promise]())

func fieldsOfPromises(object, promise reflect.Type) promiseFields {
	known := object.NumField() == 2 && promise.NumField() == 6 && promise.Field(0).Anonymous && promise.Field(0).Offset == 0 &&
		promise.Field(0).Type.Kind() == reflect.Struct && promise.Field(0).Type.NumField() == 10 // nothing that copies would share
	field := func(in reflect.Type, name string, is func(reflect.Type) bool) uintptr {
		f, ok := in.FieldByName(name)
		known = known && ok && is(f.Type)
		return f.Offset // from the beginning of what is embedded, which is that of the promise
	}
	f := promiseFields{
		self:      field(object, "self", func(t reflect.Type) bool { return t.Kind() == reflect.Interface && t.NumMethod() > 0 }),
		object:    field(promise, "val", isType[*goja.Object]),
		values:    field(promise, "values", isType[map[unistring.String]goja.Value]),
		state:     field(promise, "state", isType[goja.PromiseState]),
		result:    field(promise, "result", isType[goja.Value]),
		reactions: field(promise, "fulfillReactions", func(t reflect.Type) bool { return t.Kind() == reflect.Slice }),
	}
	field(object, "runtime", isType[*goja.Runtime])
	field(promise, "rejectReactions", func(t reflect.Type) bool { return t.Kind() == reflect.Slice })
	field(promise, "handled", isType[bool])
	f.known = known
	return f
}

func isType[T any](t reflect.Type) bool { return t == reflect.TypeFor[T]() }

// of returns the field of a promise or an object that is at offset.
func of[T, In any](in *In, offset uintptr) *T {
	return (*T)(unsafe.Add(unsafe.Pointer(in), offset))
}

// holds has a promise be what an object is.
func holds(o *goja.Object, p *goja.Promise) {
	of[[2]unsafe.Pointer](o, promises.self)[1] = unsafe.Pointer(p)
}

// newDeferred makes a promise that is pending. It is not copied any more once it
// may be settled.
func (r *realm) newDeferred() deferred {
	if r.aPromise == nil {
		d := deferred{r: r}
		d.promise, d.resolveBy, d.rejectBy = r.rt.NewPromise()
		d.o, _ = r.rt.ToValue(d.promise).(*goja.Object)
		if !promises.known || of[[2]unsafe.Pointer](d.o, promises.self)[1] != unsafe.Pointer(d.promise) {
			return d
		}
		r.aPromise = &pendingPromise{*d.o, *d.promise}
	}
	c := new(*r.aPromise)
	*of[*goja.Object](&c.promise, promises.object) = &c.object
	*of[map[unistring.String]goja.Value](&c.promise, promises.values) = make(map[unistring.String]goja.Value)
	holds(&c.object, &c.promise)
	return deferred{r: r, o: &c.object, promise: &c.promise}
}

// resolve settles the promise with a value, unless it is settled, as does reject,
// and so has what waits for it run.
func (d *deferred) resolve(v goja.Value) {
	if v == nil { // what functions of goja's may return
		v = goja.Undefined()
	}
	if d.resolveBy == nil {
		if d.promise.State() != goja.PromiseStatePending {
			return
		}
		if !d.isAwaited() {
			then, err := d.r.thenOf(v)
			thrown, _ := errors.AsType[*goja.Exception](err)
			f, follows := goja.AssertFunction(then)
			switch {
			case d.r.dead != nil:
				return // who asked once more would not be interrupted once more
			case thrown != nil:
				d.reject(thrown.Value())
				return
			case follows: // it has been asked for its then, and is not asked again
				v = d.r.following(v, f)
			case !d.isAwaited(): // a getter may wait for this very promise
				*of[goja.Value](d.promise, promises.result) = v
				*of[goja.PromiseState](d.promise, promises.state) = goja.PromiseStateFulfilled
				return
			}
		}
		d.materialize()
	}
	d.settle(d.resolveBy, v)
}

// isAwaited reports whether something waits for the promise, or goja settles it.
func (d *deferred) isAwaited() bool {
	return d.resolveBy != nil || len(*of[[]unsafe.Pointer](d.promise, promises.reactions)) > 0
}

// reject settles it as rejected.
func (d *deferred) reject(v goja.Value) {
	if d.resolveBy == nil {
		if d.promise.State() != goja.PromiseStatePending {
			return
		}
		d.materialize()
	}
	d.putPlace(v)
	d.settle(d.rejectBy, v)
}

func (d *deferred) settle(by func(any) error, v goja.Value) {
	if err := by(v); err != nil && isFatal(err) {
		d.r.die(err)
	}
}

// materialize has goja's functions settle the promise: it makes another one and
// puts that in the place of the copy.
func (d *deferred) materialize() {
	if d.resolveBy != nil {
		return
	}
	p, resolve, reject := d.r.rt.NewPromise()
	*p = *d.promise
	holds(d.o, p)
	d.promise, d.resolveBy, d.rejectBy = p, resolve, reject
}

// place notes where the script is: an error that comes from outside, with which
// the promise is rejected, is shown there if nobody catches it.
func (d *deferred) place() {
	var stack strings.Builder
	for _, p := range placesOf(d.r.rt.CaptureCallStack(0, nil)) {
		fmt.Fprintf(&stack, "\n\tat %s (%s:%d:%d)", cmp.Or(p.fn, "<anonymous>"), p.file, p.line, p.column)
	}
	d.stack = stack.String()
}

func (d *deferred) putPlace(v goja.Value) {
	o, ok := v.(*goja.Object)
	if !ok || d.stack == "" || o.ClassName() != "Error" {
		return
	}
	_ = d.r.try(func() {
		if own := o.Get("stack"); own != nil && len(parseStack(own.String())) == 0 {
			_ = o.Set("stack", own.String()+d.stack) // unless it is frozen
		}
	})
}

// thenOf returns the property then of a value, which makes a promise follow that
// value, or nil.
func (r *realm) thenOf(v goja.Value) (goja.Value, error) {
	o, ok := v.(*goja.Object)
	if !ok {
		return nil, nil
	}
	if r.getThen == nil {
		r.getThen, _ = goja.AssertFunction(r.rt.ToValue(func(c goja.FunctionCall) goja.Value {
			return c.Argument(0).(*goja.Object).Get("then")
		}))
	}
	return r.enter(r.getThen, o) // and not try: a getter may leave promise jobs
}

// following makes an object that a promise follows as it does v, whose then is f.
func (r *realm) following(v goja.Value, f goja.Callable) goja.Value {
	o := r.rt.NewObject()
	must(o.Set("then", func(c goja.FunctionCall) goja.Value {
		v, err := f(v, c.Arguments...)
		if err != nil {
			panic(err)
		}
		return v
	}))
	return o
}
