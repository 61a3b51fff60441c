package scripting

import (
	"reflect"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// An arguments is the object that a responder gets: the decoded arguments in a
// row beside their shape. One of goja's own objects is a map, and takes as long
// to make as a small responder takes to run.
//
// To a script it is an ordinary object, but for two things that goja's dynamic
// objects can't have: properties named by a symbol, and accessors or properties
// that are read-only by themselves.
type arguments struct {
	shape  *shape
	values []goja.Value  // of the shape's fields; nil for those that are absent
	more   *more         // nil for what few scripts do
	few    [2]goja.Value // holds values of most shapes
}

// more is what a script has done to its arguments besides reading and setting them.
type more struct {
	added     []extra // what it has set that is not of the shape
	integrity integrity
}

// An extra is a property that a script has added.
type extra struct {
	name  string
	value goja.Value
}

// integrity is what may still be done to an object.
type integrity int

const (
	extensible integrity = iota
	closed               // Object.preventExtensions
	sealed
	frozen
)

var typeArguments = reflect.TypeFor[*arguments]()

// newArguments makes the object of a request's arguments. An error is a
// *keyError, of the first field that is missing or malformed.
func (r *realm) newArguments(s *shape, req *amp.Request) (*goja.Object, error) {
	a := &arguments{shape: s}
	var few [fewFields][]byte
	n, texts := len(s.fields), few[:]
	if n > len(few) {
		texts = make([][]byte, n)
	}
	if n > len(a.few) {
		a.values = make([]goja.Value, n)
	} else {
		a.values = a.few[:n]
	}
	for key, value := range pairSource(req.Pairs()).all() {
		if i := indexIn(s, key); i >= 0 {
			texts[i] = value // the last one counts (amp-wire item F6)
		}
	}
	for i := range s.fields {
		f := &s.fields[i]
		if texts[i] == nil {
			if f.typ.optional {
				continue
			}
			return nil, &keyError{path: f.name, err: errMissing}
		}
		v, err := r.decode(f.typ, texts[i])
		if err != nil {
			return nil, within(f.name, err)
		}
		a.values[i] = v
	}
	return r.rt.NewDynamicObject(a), nil
}

// slot returns where a property's value is, or nil.
func (a *arguments) slot(key string) *goja.Value {
	if i := indexIn(a.shape, key); i >= 0 {
		return &a.values[i]
	}
	if a.more != nil {
		for i := range a.more.added {
			if p := &a.more.added[i]; p.name == key {
				return &p.value
			}
		}
	}
	return nil
}

// rest returns a.more, and makes it if need be.
func (a *arguments) rest() *more {
	if a.more == nil {
		a.more = new(more)
	}
	return a.more
}

// integrity is what may still be done to a.
func (a *arguments) integrity() integrity {
	if a.more == nil {
		return extensible
	}
	return a.more.integrity
}

// Get implements goja.DynamicObject.
func (a *arguments) Get(key string) goja.Value {
	if v := a.slot(key); v != nil {
		return *v
	}
	return nil
}

// Has implements goja.DynamicObject.
func (a *arguments) Has(key string) bool { return a.Get(key) != nil }

// Set implements goja.DynamicObject.
func (a *arguments) Set(key string, value goja.Value) bool {
	v := a.slot(key)
	switch {
	case a.integrity() == frozen, a.integrity() > extensible && (v == nil || *v == nil):
		return false
	case v == nil:
		m := a.rest()
		m.added = append(m.added, extra{key, value})
	default:
		*v = value
	}
	return true
}

// Delete implements goja.DynamicObject.
func (a *arguments) Delete(key string) bool {
	v := a.slot(key)
	switch {
	case v == nil || *v == nil:
		return true
	case a.integrity() >= sealed:
		return false
	}
	*v = nil
	return true
}

// Keys implements goja.DynamicObject.
func (a *arguments) Keys() []string {
	list := make([]string, 0, len(a.values))
	for i, v := range a.values {
		if v != nil {
			list = append(list, a.shape.fields[i].name)
		}
	}
	if a.more != nil {
		for _, p := range a.more.added {
			if p.value != nil {
				list = append(list, p.name)
			}
		}
	}
	return list
}

// is reports whether as little as that may still be done to the object.
func (a *arguments) is(level integrity) bool {
	return a.integrity() >= level || a.integrity() >= closed && len(a.Keys()) == 0
}

// letFreeze has Object.freeze and its like know of arguments: goja's refuse
// dynamic objects.
func (r *realm) letFreeze() {
	argumentsOf := func(v goja.Value) *arguments {
		if o, ok := v.(*goja.Object); ok && o.ExportType() == typeArguments {
			a, _ := o.Export().(*arguments)
			return a
		}
		return nil
	}
	restrict := func(class, name string, level integrity, result func(*goja.Object) goja.Value) {
		r.around(r.rt.Get(class).ToObject(r.rt), name, func(f native, c goja.FunctionCall) goja.Value {
			a := argumentsOf(c.Argument(0))
			if a == nil {
				return f(c)
			}
			m := a.rest()
			m.integrity = max(m.integrity, level)
			return result(c.Argument(0).ToObject(r.rt))
		})
	}
	itself := func(o *goja.Object) goja.Value { return o }
	restrict("Object", "preventExtensions", closed, itself)
	restrict("Object", "seal", sealed, itself)
	restrict("Object", "freeze", frozen, itself)
	restrict("Reflect", "preventExtensions", closed, func(*goja.Object) goja.Value { return r.rt.ToValue(true) })

	tell := func(class, name string, is func(*arguments) bool) {
		r.around(r.rt.Get(class).ToObject(r.rt), name, func(f native, c goja.FunctionCall) goja.Value {
			if a := argumentsOf(c.Argument(0)); a != nil {
				return r.rt.ToValue(is(a))
			}
			return f(c)
		})
	}
	isExtensible := func(a *arguments) bool { return a.integrity() == extensible }
	tell("Object", "isExtensible", isExtensible)
	tell("Reflect", "isExtensible", isExtensible)
	tell("Object", "isSealed", func(a *arguments) bool { return a.is(sealed) })
	tell("Object", "isFrozen", func(a *arguments) bool { return a.is(frozen) })
}
