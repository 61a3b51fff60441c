package scripting

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/dop251/goja"
)

// goja's built-in functions can't be interrupted while they run, and some ask
// for more memory than there is, which ends the process. These are the sizes
// beyond which they throw a RangeError instead: each is more than a turn gets
// done within its deadline. What they can't hold is in docs/security.md.
const (
	maxItems    = 1 << 22 // of an array that a function walks by itself
	maxNumbers  = 1 << 24 // of a typed array that a function walks by itself
	maxSorted   = 1 << 20 // of an array that is sorted without a function
	maxArgs     = 1 << 16 // of a list that becomes arguments
	maxChars    = 1 << 24 // of a string that a function makes
	maxSubject  = 1 << 22 // characters of a text that a regular expression goes through
	maxPattern  = 1 << 18 // characters of a regular expression
	maxKeys     = 1 << 17 // characters or bytes that are asked for as an object's properties
	maxBuffer   = 1 << 28 // bytes of one buffer
	maxBits     = 1 << 22 // of a bigint that a function or an operator makes
	maxDigits   = 1 << 17 // of a text that becomes a bigint
	maxJSON     = 1 << 24 // characters of a JSON text
	maxJSONDeep = 1000    // levels of a JSON text
	maxFlat     = 1000    // levels that flat goes down
	maxWithin   = 900     // built-in functions within each other; see around
	largeBuffer = 1 << 20 // bytes from which a buffer is asked for; see reserve
)

// matchTimeout is when a regular expression that backtracks gives up, which it
// tells as "no match". So it is more than the time that any turn has: whatever
// gives up has been interrupted before, and the script never learns of it.
const matchTimeout = 10 * time.Second

// maxTurn bounds how long a turn may take, whatever was asked for.
const maxTurn = matchTimeout - time.Second

// It is read when an expression is compiled, which a build does, too.
func init() { regexp2.DefaultMatchTimeout = matchTimeout }

type native = func(goja.FunctionCall) goja.Value

// guard puts checks before the built-in functions that need them. It is called
// before any code of the plugin runs.
func (r *realm) guard() {
	proto := func(class string) *goja.Object { return r.object(r.rt.Get(class), "prototype") }
	object := func(name string) *goja.Object { return r.rt.Get(name).ToObject(r.rt) }

	r.letFreeze()

	array := proto("Array")
	walks := func(name string, most int64) func(goja.FunctionCall) {
		return func(c goja.FunctionCall) { r.atMost(name, c.This, most) }
	}
	for _, name := range []string{
		"copyWithin", "entries", "every", "fill", "filter", "find", "findIndex", "findLast", "findLastIndex", "forEach", "includes",
		"indexOf", "keys", "lastIndexOf", "map", "reduce", "reduceRight", "reverse", "shift", "slice", "some", "splice",
		"toLocaleString", "toReversed", "toSpliced", "unshift", "with",
	} {
		r.before(array, name, walks(name, maxItems))
	}
	for _, name := range []string{"sort", "toSorted"} {
		r.before(array, name, func(c goja.FunctionCall) {
			most := int64(maxItems)
			if absent(c.Argument(0)) {
				most = maxSorted
			}
			r.atMost(name, c.This, most)
		})
	}
	r.before(array, "concat", func(c goja.FunctionCall) {
		n := r.atMost("concat", c.This, maxItems)
		for _, v := range c.Arguments {
			if o, ok := v.(*goja.Object); ok {
				if n += length(o); n > maxItems {
					r.tooLong("concat", n, maxItems)
				}
			}
		}
	})
	r.before(array, "join", func(c goja.FunctionCall) { r.checkJoin(c) })
	r.around(array, "flat", r.flat)
	r.around(array, "flatMap", r.flatMap)
	r.before(object("Array"), "from", func(c goja.FunctionCall) {
		if o, ok := c.Argument(0).(*goja.Object); ok {
			r.atMost("from", o, maxItems)
		}
	})

	text := proto("String")
	made := func(name string, chars float64) {
		if chars > maxChars {
			panic(r.rangeError("%s: the string would have more than %d characters", name, maxChars))
		}
	}
	r.before(text, "repeat", func(c goja.FunctionCall) { made("repeat", float64(r.chars(c.This))*c.Argument(0).ToFloat()) })
	for _, name := range []string{"padStart", "padEnd"} {
		r.before(text, name, func(c goja.FunctionCall) { made(name, c.Argument(0).ToFloat()) })
	}
	r.before(text, "concat", func(c goja.FunctionCall) {
		n := r.chars(c.This)
		for _, v := range c.Arguments {
			n += r.chars(v)
		}
		made("concat", float64(n))
	})
	r.before(text, "normalize", func(c goja.FunctionCall) { made("normalize", float64(r.chars(c.This))*64) }) // one becomes 18 at most, slowly
	r.before(text, "localeCompare", func(c goja.FunctionCall) { made("localeCompare", float64(r.chars(c.This))*4) })
	r.before(text, "split", func(c goja.FunctionCall) {
		if n := r.chars(c.This); n > maxItems {
			if goja.IsString(c.Argument(0)) && int64(strings.Count(c.This.String(), c.Argument(0).String())) < maxItems {
				return
			}
			r.tooLong("split", n, maxItems)
		}
	})
	for _, name := range []string{"replace", "replaceAll"} {
		r.before(text, name, func(c goja.FunctionCall) { made(name, r.replaced(c)) })
	}
	for _, name := range []string{"match", "matchAll", "search"} {
		r.before(text, name, func(c goja.FunctionCall) {
			r.checkSubject(name, c.This)
			r.checkPattern(c)
		})
	}
	r.before(proto("RegExp"), "test", func(c goja.FunctionCall) { r.checkSubject("test", c.Argument(0)) })
	for name, sym := range map[string]*goja.Symbol{"match": goja.SymMatch, "matchAll": goja.SymMatchAll, "replace": goja.SymReplace, "search": goja.SymSearch, "split": goja.SymSplit} {
		r.beforeSymbol(proto("RegExp"), sym, name, func(c goja.FunctionCall) { r.checkSubject(name, c.Argument(0)) })
	}
	r.before(object("String"), "raw", func(c goja.FunctionCall) {
		o, ok := c.Argument(0).(*goja.Object)
		if !ok {
			return
		}
		if raw, ok := o.Get("raw").(*goja.Object); ok {
			r.checkJoin(goja.FunctionCall{This: raw, Arguments: []goja.Value{r.rt.ToValue("")}})
		}
	})
	for _, name := range []string{"encodeURIComponent", "encodeURI", "escape"} {
		r.before(r.rt.GlobalObject(), name, func(c goja.FunctionCall) { made(name, float64(r.chars(c.Argument(0)))*6) })
	}

	r.before(proto("Function"), "apply", func(c goja.FunctionCall) { r.atMost("apply", c.Argument(1), maxArgs) })
	r.before(object("Reflect"), "apply", func(c goja.FunctionCall) { r.atMost("apply", c.Argument(2), maxArgs) })
	r.before(object("Reflect"), "construct", func(c goja.FunctionCall) { r.atMost("construct", c.Argument(1), maxArgs) })

	// A text's characters and a typed array's bytes are properties, too, and
	// each becomes a string.
	for _, name := range []string{"keys", "values", "entries", "getOwnPropertyNames", "getOwnPropertyDescriptors", "freeze", "seal", "isFrozen", "isSealed"} {
		r.before(object("Object"), name, func(c goja.FunctionCall) { r.checkProperties(name, c.Argument(0)) })
	}
	r.before(object("Object"), "assign", func(c goja.FunctionCall) {
		for _, v := range c.Arguments[min(1, len(c.Arguments)):] {
			r.checkProperties("assign", v)
		}
	})
	r.before(object("Reflect"), "ownKeys", func(c goja.FunctionCall) { r.checkProperties("ownKeys", c.Argument(0)) })

	typed := r.object(r.rt.Get("Uint8Array"), "prototype").Prototype()
	for _, name := range []string{"join", "toString", "toLocaleString", "toSorted", "sort"} {
		r.before(typed, name, walks(name, maxItems))
	}
	for _, name := range []string{
		"every", "filter", "find", "findIndex", "findLast", "findLastIndex", "forEach", "includes", "indexOf", "lastIndexOf", "map", "reduce", "reduceRight",
		"reverse", "some",
	} {
		r.before(typed, name, walks(name, maxNumbers))
	}
	r.before(typed, "set", func(c goja.FunctionCall) {
		if o, ok := c.Argument(0).(*goja.Object); ok && !isTypedArray(o) {
			r.atMost("set", o, maxItems)
		}
	})
	for _, name := range []string{"slice", "toReversed", "with", "map", "filter"} {
		r.before(typed, name, func(c goja.FunctionCall) { r.reserveLike(c.This) })
	}
	r.before(proto("ArrayBuffer"), "slice", func(c goja.FunctionCall) { r.reserveLike(c.This) })
	r.before(r.rt.Get("Uint8Array").ToObject(r.rt).Prototype(), "from", func(c goja.FunctionCall) {
		if o, ok := c.Argument(0).(*goja.Object); ok {
			r.atMost("from", o, maxItems)
		}
	})

	bigInt := object("BigInt")
	for _, name := range []string{"asIntN", "asUintN"} {
		r.before(bigInt, name, func(c goja.FunctionCall) {
			if c.Argument(0).ToFloat() > maxBits {
				panic(r.rangeError("%s: more than %d bits", name, maxBits))
			}
		})
	}

	r.guardJSON(object("JSON"))
	r.guardIterators()
}

// object returns a property that is an object.
func (r *realm) object(v goja.Value, name string) *goja.Object {
	return v.ToObject(r.rt).Get(name).ToObject(r.rt)
}

// before has check called before a method, which it ends by panicking with a
// value to throw.
func (r *realm) before(o *goja.Object, name string, check func(goja.FunctionCall)) {
	r.around(o, name, func(f native, c goja.FunctionCall) goja.Value {
		check(c)
		return f(c)
	})
}

func (r *realm) beforeSymbol(o *goja.Object, name *goja.Symbol, title string, check func(goja.FunctionCall)) {
	f, ok := o.GetSymbol(name).Export().(native)
	if !ok {
		return
	}
	v := r.rt.ToValue(func(c goja.FunctionCall) goja.Value {
		check(c)
		return f(c)
	}).ToObject(r.rt)
	r.entitle(v, "[Symbol."+title+"]", o.GetSymbol(name))
	must(o.DefineDataPropertySymbol(name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
}

// around puts g in the place of a method, which it is given. How deep such
// methods call each other by way of the script is bounded: Go takes the square
// of that to unwind them, and can't stop the world meanwhile.
func (r *realm) around(o *goja.Object, name string, g func(native, goja.FunctionCall) goja.Value) {
	old := o.Get(name)
	if old == nil {
		return // goja has none
	}
	f, ok := old.Export().(native)
	if !ok {
		return
	}
	v := r.rt.ToValue(func(c goja.FunctionCall) goja.Value {
		r.w.loop.dog.publish()
		if r.within++; r.within > maxWithin {
			r.within--
			panic(r.rangeError("%s: built-in functions call the script within each other, %d deep", name, maxWithin))
		}
		defer r.leaveNative()
		return g(f, c)
	}).ToObject(r.rt)
	r.entitle(v, name, old)
	must(o.DefineDataProperty(name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
}

func (r *realm) leaveNative() { r.within-- }

// entitle gives a function the name, and the number of arguments, of another.
func (r *realm) entitle(v *goja.Object, name string, old goja.Value) {
	must(v.DefineDataProperty("name", r.rt.ToValue(name), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	must(v.DefineDataProperty("length", old.ToObject(r.rt).Get("length"), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE))
}

func (r *realm) rangeError(format string, args ...any) *goja.Object {
	e, err := r.rt.New(r.rt.Get("RangeError"), r.rt.ToValue(fmt.Sprintf(format, args...)))
	must(err)
	return e
}

func (r *realm) tooLong(name string, n, most int64) {
	panic(r.rangeError("%s: %d items are too many, at most %d are taken", name, n, most))
}

// length is what an object has as its length.
func length(o *goja.Object) int64 {
	v := o.Get("length")
	if v == nil {
		return 0
	}
	return v.ToInteger()
}

// atMost returns the length of an array, or of whatever is taken for one.
func (r *realm) atMost(name string, v goja.Value, most int64) int64 {
	o, ok := v.(*goja.Object)
	if !ok {
		return 0
	}
	n := length(o)
	if n > most {
		r.tooLong(name, n, most)
	}
	return n
}

// chars is the length of what a value is as a string; of an object's, which
// would run the script, nothing is known.
func (r *realm) chars(v goja.Value) int64 {
	switch v := v.(type) {
	case goja.String:
		return int64(v.Length())
	case *goja.Object:
		if v.ClassName() == "String" {
			return length(v)
		}
	}
	return 0
}

// checkProperties is called before the properties of a value are copied, or
// listed.
func (r *realm) checkProperties(name string, v goja.Value) {
	most := int64(maxKeys)
	if o, ok := v.(*goja.Object); ok && o.ClassName() == "Array" {
		most = maxSorted
	}
	if n := r.elements(v); n > most {
		r.tooLong(name, n, most)
	}
}

// elements is how many properties a value has by number.
func (r *realm) elements(v goja.Value) int64 {
	switch v := v.(type) {
	case goja.String:
		return int64(v.Length())
	case *goja.Object:
		if class := v.ClassName(); class == "String" || class == "Array" || isTypedArray(v) {
			return length(v)
		}
	}
	return 0
}

// checkSubject is called before a regular expression goes through a text, which
// of all built-in functions is the likeliest not to return.
func (r *realm) checkSubject(name string, v goja.Value) {
	r.w.loop.dog.publish()
	if n := r.chars(v); n > maxSubject {
		panic(r.rangeError("%s: the text has %d characters, a regular expression goes through at most %d", name, n, maxSubject))
	}
}

// checkPattern is called before a text becomes a regular expression. One of
// megabytes takes long to compile, and may nest too deep for that.
func (r *realm) checkPattern(c goja.FunctionCall) goja.Value {
	if n := r.chars(c.Argument(0)); n > maxPattern {
		panic(r.rangeError("the regular expression has %d characters, at most %d are read", n, maxPattern))
	}
	return goja.Undefined()
}

// checkJoin bounds the text that join makes. It does not look at every item of
// a long list: whoever hides the long ones means it.
func (r *realm) checkJoin(c goja.FunctionCall) {
	o, ok := c.This.(*goja.Object)
	if !ok {
		return
	}
	n := r.atMost("join", o, maxItems)
	if n < 16 {
		return
	}
	each := int64(1)
	if !absent(c.Argument(0)) {
		each = r.chars(c.Argument(0))
	}
	longest := int64(0)
	for _, i := range []int64{0, n / 2, n - 1} {
		longest = max(longest, r.chars(o.Get(strconv.FormatInt(i, 10))))
	}
	if n*(each+longest) <= maxChars {
		return
	}
	total := n * each
	for i := int64(0); i < n && total <= maxChars; i++ {
		total += r.chars(o.Get(strconv.FormatInt(i, 10)))
	}
	if total > maxChars {
		panic(r.rangeError("join: the string would have more than %d characters", maxChars))
	}
}

// replaced is how long a text is, at most, once parts of it are replaced.
func (r *realm) replaced(c goja.FunctionCall) float64 {
	n := r.chars(c.This)
	by, ok := c.Argument(1).(goja.String)
	if !ok {
		return 0 // a function, which runs in the script
	}
	each := int64(by.Length())
	if s := by.String(); strings.Contains(s, "$") {
		each = max(each, n*int64(strings.Count(s, "$")))
	}
	if (n+1)*(each+1) <= maxChars {
		return 0
	}
	what, ok := c.Argument(0).(goja.String)
	if ok {
		matches := int64(strings.Count(c.This.String(), what.String()))
		return float64(n) + float64(matches)*float64(each)
	}
	rx, ok := c.Argument(0).(*goja.Object)
	if !ok || rx.ClassName() != "RegExp" {
		return 0
	}
	if n > maxSubject {
		return 0 // which is refused then
	}
	// How often it matches is found out by replacing with nothing.
	matches, most := int64(0), int64(maxChars)/(each+1)
	count := r.rt.ToValue(func(goja.FunctionCall) goja.Value {
		if matches++; matches > most {
			panic(r.rangeError("replace: the string would have more than %d characters", maxChars))
		}
		return r.rt.ToValue("")
	})
	if replace, ok := goja.AssertFunction(rx.GetSymbol(goja.SymReplace)); ok && rx.Get("global").ToBoolean() {
		if _, err := replace(rx, c.This, count); err != nil {
			panic(err)
		}
	}
	return 0
}

// flat goes down only so far: goja would follow an array that holds itself
// until the process ends.
func (r *realm) flat(f native, c goja.FunctionCall) goja.Value {
	r.atMost("flat", c.This, maxItems)
	if depth := c.Argument(0).ToInteger(); depth <= 1 || absent(c.Argument(0)) {
		return f(c)
	}
	if o, ok := c.This.(*goja.Object); ok {
		budget := int64(maxItems)
		r.checkFlat(o, c.Argument(0).ToInteger(), 0, &budget)
	}
	return f(c)
}

// flatMap counts what the function returns: between the calls of one of goja's
// own nothing of the script runs.
func (r *realm) flatMap(f native, c goja.FunctionCall) goja.Value {
	r.atMost("flatMap", c.This, maxItems)
	fn, ok := goja.AssertFunction(c.Argument(0))
	if !ok {
		return f(c)
	}
	items := int64(0)
	args := slices.Clone(c.Arguments)
	args[0] = r.rt.ToValue(func(c goja.FunctionCall) goja.Value {
		v, err := fn(c.This, c.Arguments...)
		if err != nil {
			panic(err)
		}
		if o, ok := v.(*goja.Object); ok && o.ClassName() == "Array" {
			if items += length(o); items > maxSorted { // goja takes a microsecond for each
				r.tooLong("flatMap", items, maxSorted)
			}
		}
		return v
	})
	return f(goja.FunctionCall{This: c.This, Arguments: args})
}

func (r *realm) checkFlat(o *goja.Object, depth, level int64, budget *int64) {
	if level > maxFlat {
		panic(r.rangeError("flat: the arrays nest deeper than %d levels", maxFlat))
	}
	n := length(o)
	if *budget -= n; *budget < 0 {
		r.tooLong("flat", maxItems-*budget, maxItems)
	}
	for i := range n {
		if e, ok := o.Get(strconv.FormatInt(i, 10)).(*goja.Object); ok && depth > 0 && e.ClassName() == "Array" {
			r.checkFlat(e, depth-1, level+1, budget)
		}
	}
}

func isTypedArray(o *goja.Object) bool {
	t := o.ExportType()
	return t != nil && t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Interface
}

// checkBuffer is called before a buffer, or a typed array, is made: (its class,
// what it is made of, the bytes of an item).
func (r *realm) checkBuffer(c goja.FunctionCall) goja.Value {
	n := float64(0)
	switch v := c.Argument(1).(type) {
	case *goja.Object:
		switch t := v.ExportType(); {
		case t == typeArrayBuffer:
			return goja.Undefined()
		case v.GetSymbol(goja.SymIterator) != nil && !isTypedArray(v) && v.ClassName() != "Array":
			return goja.Undefined() // it grows as the script yields
		}
		n = float64(length(v))
	default:
		n = v.ToFloat()
	}
	bytes := n * c.Argument(2).ToFloat()
	if bytes > maxBuffer {
		panic(r.rangeError("%s: more than %d bytes", c.Argument(0), maxBuffer))
	}
	if bytes >= largeBuffer {
		r.reserve(int64(bytes))
	}
	return goja.Undefined()
}

// checkDigits is called before BigInt reads a text.
func (r *realm) checkDigits(c goja.FunctionCall) goja.Value {
	if n := r.chars(c.Argument(0)); n > maxDigits {
		panic(r.rangeError("BigInt: the text has %d characters, at most %d are read", n, maxDigits))
	}
	return goja.Undefined()
}

// reserve asks for room for a large buffer.
func (r *realm) reserve(bytes int64) {
	if !r.w.p.hub.memory.room(r.w, bytes) {
		panic(r.rangeError("out of memory: there is no room for %d bytes more", bytes))
	}
}

// reserveLike asks for room for a copy of a buffer.
func (r *realm) reserveLike(v goja.Value) {
	if o, ok := v.(*goja.Object); ok {
		if n := o.Get("byteLength"); n != nil && n.ToInteger() >= largeBuffer {
			r.reserve(n.ToInteger())
		}
	}
}
