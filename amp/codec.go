package amp

import (
	"fmt"
	"reflect"
)

// Marshal encodes a struct, or what a pointer to one points to, as a box:
// each exported field as the argument type of Twisted's that fits its Go type.
//
//	Go type                      AMP        on the wire
//	int…, uint…, *big.Int        Integer    13, up to MaxDigits digits
//	string                       Unicode    UTF-8, strictly
//	[]byte                       String     as it is
//	float32, float64             Float      1.0, 1e+16, inf, nan
//	bool                         Boolean    True, False
//	Decimal                      Decimal    1.10, 1E+2
//	time.Time                    DateTime   2012-01-23T12:34:56.054321-01:23
//	Path                         Path       absolute, UTF-8
//	[]T of any of these          ListOf     the length before each element
//	[]struct, []*struct          AmpList    boxes one after the other
//	*os.File                     Descriptor only over UNIX sockets, not here
//	encoding.TextMarshaler and
//	encoding.TextUnmarshaler     String     its text
//
// The key is the field's name, or that in its tag: `amp:"user-name"`. The tag
// `amp:"-"` leaves the field out. The fields of an embedded struct without a
// tag count as the outer struct's own.
//
// A pointer, except to a big.Int or os.File, is optional: nil is left out. So
// is every field whose tag says `amp:",optional"`, if it has its type's zero
// value. A slice that is empty but not nil is sent, as empty. A field that is
// not optional is always sent; a nil slice then is an empty one, and a nil
// *big.Int is an error.
//
// It fails with a *ValueError or *TooLongError, which name the key, or, if a
// field's type cannot be sent, with an error that names the field.
func Marshal(v any) (Box, error) {
	rv := reflect.ValueOf(v)
	p, err := planForValue("Marshal", rv)
	if err != nil {
		return nil, err
	}
	e := encoder{first: -1}
	if err := e.encodeStruct(p, rv); err != nil {
		return nil, err
	}
	return boxOf(e.buf, nil), nil
}

// Unmarshal decodes b into the struct that v points to, in the forms that
// Marshal lists, and reads all that Twisted reads. Keys without a field are
// ignored. A field without a key becomes zero if it is optional, and is an
// error otherwise. Nothing in the struct shares memory with b.
//
// It fails with a *ValueError, which names the key, or, if a field's type
// cannot be sent, with an error that names the field. Some fields may have
// been set by then.
func Unmarshal(b Box, v any) error {
	rv := reflect.ValueOf(v)
	p, err := planForValue("Unmarshal", rv)
	if err != nil {
		return err
	}
	if rv.Kind() != reflect.Pointer {
		return fmt.Errorf("amp: Unmarshal into %s: it needs a pointer to set the fields", rv.Type())
	}
	var few [fewFields][]byte
	values := few[:]
	if len(p.fields) > fewFields {
		values = make([][]byte, len(p.fields))
	}
	for i := range p.fields {
		if value, ok := b[p.fields[i].key]; ok {
			values[i] = present(value)
		}
	}
	var d decoder
	return d.finish(d.fields(p, values, rv.UnsafePointer()))
}

// planForValue returns the plan of the struct that v is or points to.
func planForValue(what string, v reflect.Value) (*plan, error) {
	switch {
	case !v.IsValid():
		return nil, fmt.Errorf("amp: %s of nil: a struct is needed", what)
	case v.Kind() == reflect.Pointer && v.IsNil():
		return nil, fmt.Errorf("amp: %s of a nil %s", what, v.Type())
	}
	return planFor(v.Type())
}
