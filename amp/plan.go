package amp

import (
	"encoding"
	"errors"
	"fmt"
	"math/big"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// A plan is how a struct type becomes the pairs of a box.
type plan struct {
	fields []field // sorted by key, as on the wire
	files  bool    // some value is a descriptor, here or in a nested box
	before int     // how many fields are written before an _answer
	under  bool    // a key begins with "_"
	texts  bool    // a field reads its own text, which it may do once only
}

// A field is one field of a struct, or of one embedded in it.
type field struct {
	key      string
	head     []byte // the key as it is on the wire, its length before it
	name     string // in Go
	offset   uintptr
	form     *form
	optional bool
}

// in returns the field of the struct at base.
func (f *field) in(base unsafe.Pointer) reflect.Value { return f.form.at(unsafe.Add(base, f.offset)) }

// A form is how the values of a Go type are written.
type form struct {
	kind formKind
	typ  reflect.Type
	size uintptr // of an integer, in bytes
	elem *form   // what a pointerForm points to, or a listForm's elements
	plan *plan   // of the boxes of a boxesForm
}

// at returns the value of the form at p.
func (f *form) at(p unsafe.Pointer) reflect.Value { return reflect.NewAt(f.typ, p).Elem() }

type formKind uint8

const (
	integerForm formKind = iota
	unsignedForm
	bigForm
	floatForm
	booleanForm
	stringForm
	unicodeForm
	pathForm
	decimalForm
	dateTimeForm
	descriptorForm
	textForm
	listForm
	boxesForm
	pointerForm
)

// String returns Twisted's name for the form.
func (f *form) String() string {
	switch f.kind {
	case textForm:
		return f.typ.String()
	case pointerForm:
		return f.elem.String()
	}
	return [...]string{"Integer", "Integer", "Integer", "Float", "Boolean", "String", "Unicode", "Path",
		"Decimal", "DateTime", "Descriptor", "", "ListOf", "AmpList"}[f.kind]
}

// The types whose form their kind does not tell.
var (
	bigType         = reflect.TypeFor[big.Int]()
	decimalType     = reflect.TypeFor[Decimal]()
	fileType        = reflect.TypeFor[os.File]()
	pathType        = reflect.TypeFor[Path]()
	timeType        = reflect.TypeFor[time.Time]()
	marshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// plans caches the plan of each type that was asked for: map[reflect.Type]*plan.
var plans sync.Map

// planFor returns the plan of a struct type, or of what a pointer type points
// to. It fails if a field cannot be sent, and says which one.
func planFor(t reflect.Type) (*plan, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p, ok := plans.Load(t); ok {
		return p.(*plan), nil
	}
	pl := planner{structs: make(map[reflect.Type]*plan)}
	p, err := pl.plan(t)
	if err != nil {
		return nil, fmt.Errorf("amp: %w", err)
	}
	p.files = pl.files
	shared, _ := plans.LoadOrStore(t, p)
	return shared.(*plan), nil
}

// hasFiles reports whether boxes of the plan carry descriptors.
func (p *plan) hasFiles() bool { return p.files }

// A planner makes the plan of a type and of those nested in it, which may be
// the same.
type planner struct {
	structs map[reflect.Type]*plan
	within  []reflect.Type // pointers and slices being looked into
	files   bool
}

func (pl *planner) plan(t reflect.Type) (*plan, error) {
	if p, ok := pl.structs[t]; ok {
		return p, nil
	}
	if t.Kind() != reflect.Struct || t == timeType || t == bigType || t == decimalType || t == fileType {
		return nil, fmt.Errorf("%s is not a struct of keys and values", t)
	}
	p := new(plan)
	pl.structs[t] = p
	if err := pl.addFields(p, t, 0); err != nil {
		return nil, err
	}
	slices.SortFunc(p.fields, func(a, b field) int { return strings.Compare(a.key, b.key) })
	for i := range p.fields {
		b := &p.fields[i]
		if b.key < keyAnswer {
			p.before = i + 1
		}
		p.under = p.under || b.key[0] == '_'
		p.texts = p.texts || b.form.kind == textForm
		if i > 0 && p.fields[i-1].key == b.key {
			return nil, fmt.Errorf("%s: fields %s and %s have the same key %s", t, p.fields[i-1].name, b.name, quote(b.key))
		}
	}
	return p, nil
}

// addFields adds the fields of t, which is embedded at an offset, or the whole.
func (pl *planner) addFields(p *plan, t reflect.Type, offset uintptr) error {
	for i := range t.NumField() {
		sf := t.Field(i)
		if err := pl.addField(p, sf, offset+sf.Offset); err != nil {
			return fmt.Errorf("field %s of %s: %w", sf.Name, t, err)
		}
	}
	return nil
}

func (pl *planner) addField(p *plan, sf reflect.StructField, offset uintptr) error {
	tag, tagged := sf.Tag.Lookup("amp")
	if tag == "-" {
		return nil
	}
	key, option, _ := strings.Cut(tag, ",")
	if sf.Anonymous && !tagged {
		switch {
		case isPlainStruct(sf.Type):
			return pl.addFields(p, sf.Type, offset)
		case sf.Type.Kind() == reflect.Pointer && isPlainStruct(sf.Type.Elem()):
			return errors.New("embed the struct itself, not a pointer, or give the field a tag")
		}
	}
	if !sf.IsExported() {
		if tagged {
			return errors.New("it has an amp tag but is not exported")
		}
		return nil
	}
	if key == "" {
		key = sf.Name
	}
	switch {
	case option != "" && option != "optional":
		return fmt.Errorf("unknown option %s in its tag, there is only optional", quote(option))
	case len(key) > MaxKey:
		return fmt.Errorf("key %s is %d bytes long, a key has at most %d", quote(key), len(key), MaxKey)
	case reserved([]byte(key)):
		return fmt.Errorf("key %s belongs to the protocol", quote(key))
	}
	f, err := pl.form(sf.Type)
	if err != nil {
		return err
	}
	p.fields = append(p.fields, field{
		key:    key,
		head:   append([]byte{0, byte(len(key))}, key...),
		name:   sf.Name,
		offset: offset,
		form:   f,
		// *big.Int is how Go writes an Integer, not an optional one.
		optional: option != "" || f.kind == pointerForm && f.elem.kind != bigForm,
	})
	return nil
}

// isPlainStruct reports whether t is a struct that is no value of its own.
func isPlainStruct(t reflect.Type) bool {
	switch p := reflect.PointerTo(t); {
	case t == timeType, t == bigType, t == decimalType, t == fileType:
		return false
	case p.Implements(marshalerType), p.Implements(unmarshalerType):
		return false
	}
	return t.Kind() == reflect.Struct
}

// form returns the form of a type.
func (pl *planner) form(t reflect.Type) (*form, error) {
	kind := formKind(0)
	switch t {
	case bigType:
		kind = bigForm
	case decimalType:
		kind = decimalForm
	case pathType:
		kind = pathForm
	case timeType:
		kind = dateTimeForm
	case reflect.PointerTo(fileType):
		pl.files = true
		kind = descriptorForm
	default:
		return pl.formByMethods(t)
	}
	return &form{kind: kind, typ: t}, nil
}

// formByMethods returns the form of a type that may write and read its own
// text.
func (pl *planner) formByMethods(t reflect.Type) (*form, error) {
	p := reflect.PointerTo(t)
	switch writes, reads := p.Implements(marshalerType), p.Implements(unmarshalerType); {
	case writes && reads:
		return &form{kind: textForm, typ: t}, nil
	case writes:
		return nil, fmt.Errorf("%s has MarshalText, but not UnmarshalText", t)
	case reads:
		return nil, fmt.Errorf("%s has UnmarshalText, but not MarshalText", t)
	}
	return pl.formByKind(t)
}

func (pl *planner) formByKind(t reflect.Type) (*form, error) {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &form{kind: integerForm, typ: t, size: t.Size()}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return &form{kind: unsignedForm, typ: t, size: t.Size()}, nil
	case reflect.Float32, reflect.Float64:
		return &form{kind: floatForm, typ: t}, nil
	case reflect.Bool:
		return &form{kind: booleanForm, typ: t}, nil
	case reflect.String:
		return &form{kind: unicodeForm, typ: t}, nil
	case reflect.Pointer, reflect.Slice:
		if slices.Contains(pl.within, t) {
			return nil, fmt.Errorf("%s contains itself", t)
		}
		pl.within = append(pl.within, t)
		defer func() { pl.within = pl.within[:len(pl.within)-1] }()
		if t.Kind() == reflect.Slice {
			return pl.slice(t)
		}
		return pl.pointer(t)
	case reflect.Struct:
		return nil, fmt.Errorf("AMP has no box in a box: use []%s, a list of boxes, or embed it", t)
	}
	return nil, fmt.Errorf("AMP has no type for %s", t)
}

func (pl *planner) pointer(t reflect.Type) (*form, error) {
	elem, err := pl.form(t.Elem())
	if err != nil {
		return nil, err
	}
	if elem.kind == pointerForm || elem.kind == descriptorForm {
		return nil, fmt.Errorf("%s: one pointer is enough", t)
	}
	return &form{kind: pointerForm, typ: t, elem: elem}, nil
}

func (pl *planner) slice(t reflect.Type) (*form, error) {
	et := t.Elem()
	box := et
	if et.Kind() == reflect.Pointer {
		box = et.Elem()
	}
	if isPlainStruct(box) {
		// The struct may be one that is being looked into: pointers and slices
		// around it are new then.
		outside := pl.within
		pl.within = nil
		p, err := pl.plan(box)
		pl.within = outside
		return &form{kind: boxesForm, typ: t, plan: p}, err
	}
	elem, err := pl.form(et)
	if err != nil {
		return nil, err
	}
	switch {
	case et.Kind() == reflect.Uint8 && elem.kind == unsignedForm:
		return &form{kind: stringForm, typ: t}, nil
	case elem.kind == boxesForm:
		return nil, fmt.Errorf("%s: Twisted has no ListOf of AmpList", t)
	case elem.kind == descriptorForm:
		return nil, fmt.Errorf("%s: Twisted has no ListOf of Descriptor, only AmpList", t)
	case elem.kind == pointerForm && elem.elem.kind != bigForm:
		return nil, fmt.Errorf("%s: the elements of a list cannot be left out, use []%s", t, et.Elem())
	}
	return &form{kind: listForm, typ: t, elem: elem}, nil
}
