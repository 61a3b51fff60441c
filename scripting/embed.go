package scripting

import (
	"errors"
	"fmt"
	"math/big"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// A Module is a module of the embedding program that plugins can import, as
// import { lookup } from "myapp/users".
//
// Its functions run on the plugin's loop and must not block it: what takes
// time returns a function (see Exports).
type Module struct {
	// Name is what plugins import: "myapp/users".
	Name string

	// Exports are its named exports; "default" is the default export, which
	// without one is an object of them all. A value is nil, a bool, a string, a
	// number, a []byte, a []any or map[string]any of these, or a function
	// func([]any) (any, error) of such values: its arguments are copies, its
	// error is thrown. A function that returns a func() (any, error) as its
	// value gives the script a promise of what that returns; it is run in a
	// goroutine of its own.
	Exports map[string]any

	// Types declares the exports in TypeScript, as the inside of a declare module
	// block: "export function lookup(name: string): Promise<string>;". It is
	// part of what the function Types returns. Default what can be told of them: a
	// function takes and returns anything.
	Types string
}

// embed makes the objects that the script imports Modules as.
func (r *realm) embed() error {
	host := r.rt.Get(hostName).ToObject(r.rt)
	for _, m := range r.w.p.opts.Modules {
		o := r.rt.NewObject()
		for _, name := range sortedKeys(m.Exports) {
			v, err := r.toScript(m.Exports[name])
			if err != nil {
				return fmt.Errorf("module %s: %w", m.Name, within(name, err))
			}
			must(o.DefineDataProperty(name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE))
		}
		must(host.Set(m.Name, o))
	}
	return nil
}

// toScript copies a Go value into the runtime.
func (r *realm) toScript(v any) (goja.Value, error) {
	switch v := v.(type) {
	case nil:
		return goja.Undefined(), nil
	case bool, string, int8, int16, int32, uint8, uint16, uint32, float32, float64, *big.Int:
		return r.rt.ToValue(v), nil
	case int, int64, uint, uint64:
		n, _ := new(big.Int).SetString(fmt.Sprint(v), 10)
		if !n.IsInt64() || n.Int64() > maxSafe || n.Int64() < -maxSafe {
			return nil, fmt.Errorf("%v is beyond ±(2^53-1), which a number can't hold: give a *big.Int", v)
		}
		return r.rt.ToValue(n.Int64()), nil
	case []byte:
		return r.buffer(v), nil
	case time.Time:
		return r.dateTime(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			item, err := r.toScript(v[i])
			if err != nil {
				return nil, within("["+strconv.Itoa(i)+"]", err)
			}
			list[i] = item
		}
		return r.rt.NewArray(list...), nil
	case map[string]any:
		o := r.rt.NewObject()
		for _, key := range sortedKeys(v) {
			item, err := r.toScript(v[key])
			if err != nil {
				return nil, within(key, err)
			}
			if err := o.DefineDataProperty(key, item, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE); err != nil {
				return nil, err
			}
		}
		return o, nil
	case func([]any) (any, error):
		return r.rt.ToValue(r.callable(v)), nil
	}
	return nil, fmt.Errorf("a %T can't be given to scripts", v)
}

// callable makes a function of the embedding program's callable.
func (r *realm) callable(f func([]any) (any, error)) func(goja.FunctionCall) goja.Value {
	return func(c goja.FunctionCall) goja.Value {
		args := make([]any, len(c.Arguments))
		for i, a := range c.Arguments {
			v, err := r.fromScript(a, 0)
			if err != nil {
				panic(r.rt.NewTypeError("argument %d: %s", i, valueProblem(err)))
			}
			args[i] = v
		}
		r.w.loop.dog.publish() // f may not return
		result, err := f(args)
		if err != nil {
			panic(r.thrown(err))
		}
		slow, ok := result.(func() (any, error))
		if !ok {
			v, err := r.toScript(result)
			if err != nil {
				panic(r.thrown(err))
			}
			return v
		}
		promise := r.newDeferred()
		r.pending++
		r.w.waits.Go(func() { // ends with slow; the worker's end waits
			result, err := r.w.p.runSlow(slow)
			r.post(func() {
				r.pending--
				var v goja.Value
				if err == nil {
					v, err = r.toScript(result)
				}
				if err != nil {
					promise.reject(r.thrown(err))
				} else {
					promise.resolve(v)
				}
			})
		})
		return promise.o
	}
}

// runSlow runs a slow function of the embedding program's. A panic is its
// mistake, but no reason to end the process.
func (p *Plugin) runSlow(slow func() (any, error)) (result any, err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("panic: %v", x)
			p.log.Error("a Go function panicked", "error", err, "stack", string(debug.Stack()))
		}
	}()
	return slow()
}

// thrown makes what an error of Go's is in a script: an amp.RemoteAmpError of
// an *amp.Error, else an Error.
func (r *realm) thrown(err error) goja.Value {
	var v goja.Value
	var failed error
	if e, ok := errors.AsType[*amp.Error](err); ok {
		v, failed = r.rt.New(r.remoteClass, r.rt.ToValue(e.Code), r.rt.ToValue(e.Description))
	} else {
		v, failed = r.fn.plainError(nil, r.rt.ToValue(err.Error()))
	}
	if failed != nil {
		return r.rt.ToValue(err.Error())
	}
	return v
}

// fromScript copies a value out of the runtime.
func (r *realm) fromScript(v goja.Value, depth int) (any, error) {
	switch {
	case absent(v):
		return nil, nil
	case goja.IsString(v):
		return wellFormed(v)
	case goja.IsNumber(v):
		if f := v.ToFloat(); f != float64(int64(f)) || f > maxSafe || f < -maxSafe {
			return f, nil
		}
		return v.ToInteger(), nil
	case goja.IsBigInt(v), v.ExportType() == typeBool:
		return v.Export(), nil
	}
	o, ok := v.(*goja.Object)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s can't be given to Go", r.brief(v))
	case depth > maxValueDepth:
		return nil, fmt.Errorf("it nests deeper than %d levels, or contains itself", maxValueDepth)
	}
	if b, ok := bytesOf(o); ok {
		return append([]byte(nil), b...), nil
	}
	switch _, callable := goja.AssertFunction(o); {
	case callable || o.ExportType() == typePromise:
		return nil, fmt.Errorf("%s can't be given to Go", r.brief(v))
	case o.ClassName() == "Date":
		return r.timeOf(o)
	case o.ClassName() == "Array":
		list := make([]any, 0, o.Get("length").ToInteger())
		for i := range o.Get("length").ToInteger() {
			item, err := r.fromScript(o.Get(strconv.FormatInt(i, 10)), depth+1)
			if err != nil {
				return nil, within("["+strconv.FormatInt(i, 10)+"]", err)
			}
			list = append(list, item)
		}
		return list, nil
	}
	if !isPlain(o) {
		return nil, fmt.Errorf("%s can't be given to Go: only plain objects, arrays, text, numbers, dates and bytes can", r.describeClass(o))
	}
	m := make(map[string]any)
	for _, key := range o.Keys() {
		item, err := r.fromScript(r.get(o, &field{name: key, shadows: true}), depth+1)
		if err != nil {
			return nil, within(key, err)
		}
		m[key] = item
	}
	return m, nil
}

// isPlain reports whether an object was made by {}, Object.create(null) or a
// copy of these: all that it has are its properties.
func isPlain(o *goja.Object) bool {
	proto := o.Prototype()
	return o.ClassName() == "Object" && o.ExportType() != typeProxy && (proto == nil || proto.Prototype() == nil)
}
