package scripting

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// A kind is one of AMP's argument types.
type kind uint8

const (
	kindInteger kind = iota
	kindFloat
	kindBoolean
	kindUnicode
	kindString
	kindDecimal
	kindDateTime
	kindPath
	kindListOf
	kindAmpList
)

var kindNames = []string{"Integer", "Float", "Boolean", "Unicode", "String", "Decimal", "DateTime", "Path", "ListOf", "AmpList"}

// An argType is how one value is declared.
type argType struct {
	kind     kind
	optional bool
	bigint   bool     // of an Integer
	element  *argType // of a ListOf
	fields   *shape   // of an AmpList
}

// String returns the type as people write it: "ListOf(Integer)".
func (t *argType) String() string {
	switch t.kind {
	case kindListOf:
		return "ListOf(" + t.element.String() + ")"
	case kindAmpList:
		return "AmpList(" + t.fields.String() + ")"
	}
	return kindNames[t.kind]
}

// A field is one named value of a box.
type field struct {
	name string // in the script and, as UTF-8, on the wire
	typ  *argType
	// shadows is set if every object inherits a property of that name: it
	// counts only if it is the object's own.
	shadows bool
}

// A shape is what a box is declared to hold. It is immutable.
type shape struct {
	fields []field        // as declared
	sorted []field        // by the bytes of their names, as they are written
	any    bool           // amp.Box: whatever there is
	needed bool           // some field is not optional
	byName map[string]int // where a name is in fields; nil if there are few
}

// fewFields is up to how many names are found by looking at each.
const fewFields = 8

// indexIn returns which field has a name, or -1.
func indexIn[K string | []byte](s *shape, name K) int {
	if s.byName != nil {
		if i, ok := s.byName[string(name)]; ok {
			return i
		}
		return -1
	}
	for i := range s.fields {
		if s.fields[i].name == string(name) {
			return i
		}
	}
	return -1
}

// String returns the fields as people write them: "a Integer, b? Unicode".
func (s *shape) String() string {
	if s.any {
		return "Box"
	}
	var b strings.Builder
	for i, f := range s.fields {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(f.name)
		if f.typ.optional {
			b.WriteByte('?')
		}
		b.WriteString(" " + f.typ.String())
	}
	return b.String()
}

// inherited are the names of the properties that every object has.
var inherited = []string{
	"__proto__", "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
	"__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
}

// reservedKeys belong to the protocol (amp-wire item K1).
var reservedKeys = []string{"_ask", "_answer", "_command", "_error", "_error_code", "_error_description"}

// readShape reads what the prelude made of a declaration: an array of pairs of
// a name and a type, or null for amp.Box. It panics with a TypeError if a name
// can't be on the wire.
func (r *realm) readShape(v goja.Value) *shape {
	if goja.IsNull(v) {
		return &shape{any: true}
	}
	s := &shape{}
	list := v.ToObject(r.rt)
	for i := range list.Get("length").ToInteger() {
		pair := list.Get(fmt.Sprint(i)).ToObject(r.rt)
		name := pair.Get("0").String()
		switch {
		case name == "":
			panic(r.rt.NewTypeError("an argument's name can't be empty"))
		case len(name) > amp.MaxKey:
			panic(r.rt.NewTypeError("an argument's name has at most %d bytes: %.40q…", amp.MaxKey, name))
		case slices.Contains(reservedKeys, name):
			panic(r.rt.NewTypeError("%q belongs to the protocol and can't be an argument's name", name))
		}
		f := field{name: name, typ: r.readType(pair.Get("1").ToObject(r.rt)), shadows: slices.Contains(inherited, name)}
		s.fields = append(s.fields, f)
		s.needed = s.needed || !f.typ.optional
	}
	if len(s.fields) > fewFields {
		s.byName = make(map[string]int, len(s.fields))
		for i, f := range s.fields {
			s.byName[f.name] = i
		}
	}
	s.sorted = slices.Clone(s.fields)
	slices.SortFunc(s.sorted, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return s
}

// readType reads one of the prelude's ArgumentTypes.
func (r *realm) readType(o *goja.Object) *argType {
	t := &argType{
		kind:     kind(slices.Index(kindNames, o.Get("kind").String())),
		optional: o.Get("optional").ToBoolean(),
	}
	switch t.kind {
	case kindInteger:
		t.bigint = o.Get("bigint").ToBoolean()
	case kindListOf:
		t.element = r.readType(o.Get("element").ToObject(r.rt))
	case kindAmpList:
		t.fields = r.readShape(o.Get("fields"))
	}
	return t
}

// An errorClass is a declared error: the class a script throws, the code that
// travels.
type errorClass struct {
	code  string
	class *goja.Object
	fatal bool
}

// A command is one amp.Command of a realm.
type command struct {
	id        int
	name      string
	arguments *shape
	response  *shape
	errors    []errorClass // in the order of their declaration, fatal ones last
	answers   bool         // requiresAnswer
	switches  bool         // a ProtocolSwitchCommand
	place     place        // where it was declared

	fn       goja.Callable // the responder, or nil
	fnPlace  place         // where the responder was given
	seesPeer bool          // it may look at the peer
}

// signature returns what people are shown of the command.
func (c *command) signature() Signature {
	s := Signature{
		Name: c.name, Arguments: fieldsOf(c.arguments), Response: fieldsOf(c.response), File: c.fnPlace.display(), Line: c.fnPlace.line,
		arguments: c.arguments, response: c.response,
	}
	for _, e := range c.errors {
		s.Errors = append(s.Errors, e.code)
	}
	return s
}

func fieldsOf(s *shape) []Field {
	if s.any {
		return []Field{{Name: "…", Type: "Box"}}
	}
	list := make([]Field, len(s.fields))
	for i, f := range s.fields {
		list[i] = Field{Name: f.name, Type: f.typ.String(), Optional: f.typ.optional}
	}
	return list
}

// A Signature tells of a command that a plugin answers.
type Signature struct {
	Name      string
	Arguments []Field
	Response  []Field
	Errors    []string // the codes it declares
	File      string   // where its responder is, as shown to people
	Line      int

	arguments *shape
	response  *shape
}

// A Field is one argument, or one value of a response.
type Field struct {
	Name     string
	Type     string // "Integer", "ListOf(Unicode)", "AmpList(x Integer, y? Float)"; "Box" for any
	Optional bool
}

// String returns the signature in one line: "Sum(a Integer, b Integer) → total
// Integer".
func (s Signature) String() string {
	line := s.Name + "(" + joinFields(s.Arguments) + ")"
	if len(s.Response) > 0 {
		line += " → " + joinFields(s.Response)
	}
	return line
}

func joinFields(fields []Field) string {
	list := make([]string, len(fields))
	for i, f := range fields {
		optional := ""
		if f.Optional {
			optional = "?"
		}
		list[i] = f.Name + optional + " " + f.Type
	}
	return strings.Join(list, ", ")
}
