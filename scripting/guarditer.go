package scripting

import (
	"strconv"

	"github.com/dop251/goja"
)

// guardIterators has the iterators of built-in objects heed an interrupt. goja
// walks them by itself in a spread, in a pattern with a rest, in new Set and in
// Promise.all, and a sparse array, or a long text, has no end there.
func (r *realm) guardIterators() {
	global := r.rt.GlobalObject()
	array, text := r.rt.NewArray(), r.rt.ToValue("").ToObject(r.rt)
	made := func(class string) *goja.Object {
		o, err := r.rt.New(global.Get(class))
		must(err)
		return o
	}
	for _, o := range []*goja.Object{array, text, made("Map"), made("Set")} {
		iterator := r.result(o.GetSymbol(goja.SymIterator), o)
		r.before(iterator.Prototype(), "next", func(goja.FunctionCall) { r.step() })
	}
	matches := r.result(r.object(global, "RegExp").Get("prototype").ToObject(r.rt).GetSymbol(goja.SymMatchAll), made("RegExp"), r.rt.ToValue(""))
	r.before(matches.Prototype(), "next", func(goja.FunctionCall) { r.step() })
}

// result is the object that a method returns.
func (r *realm) result(method goja.Value, this goja.Value, args ...goja.Value) *goja.Object {
	f, _ := goja.AssertFunction(method)
	v, err := f(this, args...)
	must(err)
	return v.ToObject(r.rt)
}

// step is called for each item by what goes through many without running any of
// the script.
func (r *realm) step() {
	if r.steps++; r.steps&1023 == 0 {
		r.heed()
	}
}

// heed ends a turn that was interrupted, as goja does before each instruction of
// a script.
func (r *realm) heed() {
	if r.w.loop.dog.interrupted(r.rt) {
		if err := r.enterInterrupted(); err != nil {
			panic(err) // a script could catch another error, and go on half alive
		}
	}
}

// interruption is err, or what interrupted the turn. A built-in function may
// have thrown since, which reached no code of the script that heeds it.
func (r *realm) interruption(err error) error {
	if r.w.loop.dog.late.Load() && !isFatal(err) {
		if e := r.enterInterrupted(); e != nil {
			return e
		}
	}
	return err
}

// enterInterrupted has goja heed an interrupt.
func (r *realm) enterInterrupted() error {
	if r.fn.own == nil { // its prelude is not loaded yet
		return nil
	}
	if _, err := r.fn.own(nil, goja.Undefined()); err != nil && isFatal(err) {
		return err
	}
	return nil
}

// at is an item of an array; nil if there is none.
func at(o *goja.Object, i int64) goja.Value { return o.Get(strconv.FormatInt(i, 10)) }
