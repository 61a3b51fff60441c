package scripting

import (
	"slices"

	"github.com/dop251/goja"
)

// guardJSON puts checks before the functions of JSON.
func (r *realm) guardJSON(json *goja.Object) {
	for _, name := range []string{"parse", "rawJSON"} {
		r.before(json, name, func(c goja.FunctionCall) { r.checkJSON(c.Argument(0)) })
	}
	isArray, _ := goja.AssertFunction(r.object(r.rt.GlobalObject(), "Array").Get("isArray"))
	r.around(json, "stringify", func(f native, c goja.FunctionCall) goja.Value { return r.stringify(f, c, isArray) })
}

// checkJSON refuses a text that ends the process in the parser.
func (r *realm) checkJSON(v goja.Value) {
	if n := r.chars(v); n > maxJSON {
		panic(r.rangeError("JSON.parse: the text has %d characters, at most %d are read", n, maxJSON))
	}
	if depth := jsonDepth(v.String()); depth > maxJSONDeep {
		panic(r.rangeError("JSON.parse: the text nests deeper than %d levels", maxJSONDeep))
	}
}

// stringify is JSON.stringify with a replacer that counts: the depth, the
// items, and what the text will be at least.
func (r *realm) stringify(f native, c goja.FunctionCall, isArray goja.Callable) goja.Value {
	if _, ok := c.Argument(0).(*goja.Object); !ok {
		if o, ok := c.Argument(1).(*goja.Object); ok {
			r.atMost("JSON.stringify", o, maxKeys)
		}
		return f(c)
	}
	s := jsonCounter{r: r, isArray: isArray}
	if own, ok := c.Argument(1).(*goja.Object); ok {
		if s.own, ok = goja.AssertFunction(own); !ok && s.array(own) {
			s.names = r.namesOf(own)
		}
	}
	if v := c.Argument(2); !absent(v) {
		s.indent = 10
	}
	args := slices.Clone(c.Arguments)
	for len(args) < 2 {
		args = append(args, goja.Undefined())
	}
	args[1] = r.rt.ToValue(s.count)
	return f(goja.FunctionCall{This: c.This, Arguments: args})
}

// namesOf reads the list of names that JSON.stringify was given.
func (r *realm) namesOf(list *goja.Object) []string {
	names := []string{} // not nil, which is no list
	seen := make(map[string]bool)
	for i := range r.atMost("JSON.stringify", list, maxKeys) {
		var name string
		switch v := at(list, i).(type) {
		case nil:
			continue
		case *goja.Object:
			if class := v.ClassName(); class != "Number" && class != "String" {
				continue
			}
			name = v.String()
		default:
			if !goja.IsString(v) && !goja.IsNumber(v) {
				continue
			}
			name = v.String()
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// A jsonCounter is the replacer of one JSON.stringify.
type jsonCounter struct {
	r       *realm
	isArray goja.Callable
	own     goja.Callable // the script's, or nil
	names   []string      // of the properties that are written, if not nil
	indent  int64         // characters a level, at most

	holders []jsonHolder // what is being written, outermost first
	items   int
	size    int64 // of the text, at least
}

// A jsonHolder is an object that is being written.
type jsonHolder struct {
	value   *goja.Object
	written *goja.Object // what is written for it: not value if only some of its properties are
}

func (s *jsonCounter) array(o *goja.Object) bool {
	v, err := s.isArray(nil, o)
	if err != nil {
		panic(err) // a revoked proxy
	}
	return v.ToBoolean()
}

// count is the replacer: it is called with each key and value, this being what
// holds them.
func (s *jsonCounter) count(c goja.FunctionCall) goja.Value {
	holder, _ := c.This.(*goja.Object)
	v := c.Argument(1)
	s.r.step()
	if s.own != nil {
		var err error
		if v, err = s.own(holder, c.Arguments...); err != nil {
			panic(err)
		}
	}
	for len(s.holders) > 0 && s.holders[len(s.holders)-1].written != holder {
		s.holders = s.holders[:len(s.holders)-1]
	}
	if len(s.holders) == 0 {
		s.holders = append(s.holders, jsonHolder{holder, holder})
	}
	s.items++
	s.size += 1 + s.indent*int64(len(s.holders)) + s.r.chars(c.Argument(0)) + s.r.chars(v)
	if o, ok := v.(*goja.Object); ok {
		v = s.enter(o)
	}
	if s.size > maxJSON || s.items > maxItems {
		panic(s.r.rangeError("JSON.stringify: the text would have more than %d characters", maxJSON))
	}
	return v
}

// enter notes that an object is written next, and returns what is written for
// it.
func (s *jsonCounter) enter(o *goja.Object) goja.Value {
	if len(s.holders) > maxJSONDeep {
		panic(s.r.rangeError("JSON.stringify: the value nests deeper than %d levels", maxJSONDeep))
	}
	written := o
	switch class := o.ClassName(); {
	case isTypedArray(o):
		s.r.atMost("JSON.stringify", o, maxKeys)
	case class == "RawJSON":
		s.size += s.r.chars(o.Get("rawJSON"))
		return o
	case class == "Number", class == "String", class == "Boolean", class == "BigInt", class == "Function":
		return o
	case s.array(o):
		s.r.atMost("JSON.stringify", o, maxItems)
		s.holders = append(s.holders, jsonHolder{o, o})
		return o
	}
	if s.names != nil {
		for _, h := range s.holders {
			if h.value == o { // goja would look for what is written
				panic(s.r.rt.NewTypeError("Converting circular structure to JSON"))
			}
		}
		s.items += 4 * len(s.names) // that they are not there costs as much
		written = s.r.rt.NewDynamicObject(&namedProperties{o, s.names})
	}
	s.holders = append(s.holders, jsonHolder{o, written})
	return written
}

// namedProperties is an object of which some properties are seen, in an order
// of its own.
type namedProperties struct {
	of    *goja.Object
	names []string
}

func (p *namedProperties) Keys() []string              { return p.names }
func (p *namedProperties) Get(key string) goja.Value   { return p.of.Get(key) }
func (p *namedProperties) Has(string) bool             { return true }
func (p *namedProperties) Set(string, goja.Value) bool { return false }
func (p *namedProperties) Delete(string) bool          { return false }
