package amp

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"reflect"
	"time"
	"unsafe"
)

// A decoder sets structs from the pairs of boxes.
type decoder struct {
	file func(ordinal int) (*os.File, error) // takes a received descriptor; nil: none here

	taken []*os.File // descriptors that file gave for the struct in hand
}

// decodeStruct sets the struct that v is or points to from wire pairs, which
// are well formed and without a terminator. Of two pairs with one key the
// later counts. Keys without a field are ignored. If it fails, the descriptors
// it took are closed.
func (d *decoder) decodeStruct(p *plan, pairs []byte, v reflect.Value) error {
	return d.finish(d.pairs(p, pairs, structOf(v)))
}

// structOf returns the struct that v, which is addressable, is or points to, also
// by way of a pointer that it points to. A pointer that is nil gets one.
func structOf(v reflect.Value) unsafe.Pointer {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		if v.Elem().Kind() == reflect.Struct {
			return v.UnsafePointer()
		}
		v = v.Elem()
	}
	return v.Addr().UnsafePointer()
}

// finish closes the descriptors taken so far if there is an error, which it
// returns: nobody else would.
func (d *decoder) finish(err error) error {
	if err != nil {
		for _, f := range d.taken {
			f.Close()
		}
	}
	d.taken = nil
	return err
}

// fewFields is how many fields a struct may have for its values to be found
// without an allocation.
const fewFields = 32

// present returns value, or an empty one if it is nil, which among values
// means that the key is absent.
func present(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// pairs sets the struct at base from wire pairs.
func (d *decoder) pairs(p *plan, pairs []byte, base unsafe.Pointer) error {
	if d.file == nil && !p.texts && d.ordered(p, pairs, base) {
		return nil
	}
	var few [fewFields][]byte
	values := few[:]
	if len(p.fields) > fewFields {
		values = make([][]byte, len(p.fields))
	}
	for next := 0; ; {
		key, value, rest, ok := nextPair(pairs)
		if !ok {
			return d.fields(p, values, base)
		}
		if i, ok := p.find(key, next); ok {
			values[i] = present(value)
			next = i + 1
		}
		pairs = rest
	}
}

// ordered is pairs for what peers send: each key once and in order. It is false,
// with some fields set perhaps, if one is missing or anything else is the matter.
func (d *decoder) ordered(p *plan, pairs []byte, base unsafe.Pointer) bool {
	next := 0
	for {
		key, text, rest, ok := nextPair(pairs)
		if !ok {
			return next == len(p.fields)
		}
		pairs = rest
		if next < len(p.fields) {
			if f := &p.fields[next]; string(key) == f.key {
				if !d.field(f, text, base) {
					return false
				}
				next++
				continue
			}
		}
		if key[0] == '_' && !p.under {
			continue
		}
		if _, known := p.find(key, next); known {
			return false
		}
	}
}

// field sets a field of the struct at base, the most usual forms without
// reflection.
func (d *decoder) field(f *field, text []byte, base unsafe.Pointer) bool {
	at := unsafe.Add(base, f.offset)
	switch f.form.kind {
	case integerForm:
		if n, ok := plainInteger(text); ok {
			return f.form.setInteger(at, n)
		}
	case unicodeForm:
		s, err := ParseUnicode(text)
		*(*string)(at) = s
		return err == nil
	case stringForm:
		*(*[]byte)(at) = append([]byte{}, text...)
		return true
	}
	return d.value(f.form, text, f.form.at(at)) == nil
}

// setInteger sets the signed integer at p, if n fits it.
func (f *form) setInteger(p unsafe.Pointer, n int64) bool {
	switch f.size {
	case 8:
		*(*int64)(p) = n
		return true
	case 4:
		*(*int32)(p) = int32(n)
		return n == int64(int32(n))
	case 2:
		*(*int16)(p) = int16(n)
		return n == int64(int16(n))
	}
	*(*int8)(p) = int8(n)
	return n == int64(int8(n))
}

// integer returns the signed integer at p.
func (f *form) integer(p unsafe.Pointer) int64 {
	switch f.size {
	case 8:
		return *(*int64)(p)
	case 4:
		return int64(*(*int32)(p))
	case 2:
		return int64(*(*int16)(p))
	}
	return int64(*(*int8)(p))
}

// find returns the index of the field with the key. It is likely next: peers
// send keys in order, though they need not.
func (p *plan) find(key []byte, next int) (int, bool) {
	if next < len(p.fields) && p.fields[next].key == string(key) {
		return next, true
	}
	low, high := 0, len(p.fields)
	for low < high {
		middle := (low + high) / 2
		if p.fields[middle].key < string(key) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(p.fields) && p.fields[low].key == string(key)
}

// fields sets the fields of the struct at base from the values of their keys; nil is an absent
// one.
func (d *decoder) fields(p *plan, values [][]byte, base unsafe.Pointer) error {
	for i := range p.fields {
		f := &p.fields[i]
		fv := f.in(base)
		var err error
		switch {
		case values[i] != nil:
			err = d.value(f.form, values[i], fv)
		case f.optional:
			fv.SetZero()
		default:
			err = &ValueError{Type: f.form.String(), Err: errMissing}
		}
		if err != nil {
			return at(f.key, err)
		}
	}
	return nil
}

// value sets v, which is addressable, from its text.
func (d *decoder) value(f *form, text []byte, v reflect.Value) error {
	switch f.kind {
	case integerForm, unsignedForm:
		return decodeInteger(text, v)
	case bigForm:
		neg, mag, digits, err := scanInteger(text)
		if err != nil {
			return err
		}
		*v.Addr().Interface().(*big.Int) = *bigInteger(neg, mag, digits)
	case floatForm:
		n, err := ParseFloat(text)
		if err != nil {
			return err
		}
		if v.OverflowFloat(n) {
			return unfit("Float", text, v)
		}
		v.SetFloat(n)
	case booleanForm:
		b, err := ParseBoolean(text)
		if err != nil {
			return err
		}
		v.SetBool(b)
	case stringForm:
		v.SetBytes(append([]byte{}, text...))
	case unicodeForm:
		s, err := ParseUnicode(text)
		if err != nil {
			return err
		}
		v.SetString(s)
	case pathForm:
		p, err := ParsePath(text)
		if err != nil {
			return err
		}
		v.SetString(string(p))
	case decimalForm:
		n, err := ParseDecimal(string(text))
		if err != nil {
			return err
		}
		*v.Addr().Interface().(*Decimal) = n
	case dateTimeForm:
		t, err := ParseDateTime(text)
		if err != nil {
			return err
		}
		*v.Addr().Interface().(*time.Time) = t
	case descriptorForm:
		file, err := d.take(text)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(file))
	case textForm:
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(text); err != nil {
			return valueError(f.String(), text, err)
		}
	case listForm:
		return d.list(f.elem, text, v)
	case boxesForm:
		return d.boxes(f.plan, text, v)
	case pointerForm:
		p := reflect.New(f.typ.Elem())
		if err := d.value(f.elem, text, p.Elem()); err != nil {
			return err
		}
		v.Set(p)
	}
	return nil
}

func decodeInteger(text []byte, v reflect.Value) error {
	neg, mag, digits, err := scanInteger(text)
	if err != nil {
		return err
	}
	if v.CanInt() {
		n, ok := signed(neg, mag)
		if !ok || digits != nil || v.OverflowInt(n) {
			return unfit("Integer", text, v)
		}
		v.SetInt(n)
		return nil
	}
	if neg && mag != 0 || digits != nil || v.OverflowUint(mag) {
		return unfit("Integer", text, v)
	}
	v.SetUint(mag)
	return nil
}

// unfit returns the error for a number that is too large for v's Go type.
func unfit(kind string, text []byte, v reflect.Value) error {
	return valueError(kind, text, fmt.Errorf("does not fit %s", v.Type()))
}

// take returns the descriptor with the ordinal in text.
func (d *decoder) take(text []byte) (*os.File, error) {
	neg, ordinal, digits, err := scanInteger(text)
	switch {
	case d.file == nil:
		err = ErrNoDescriptors
	case err != nil || neg && ordinal != 0 || digits != nil || ordinal > math.MaxInt32:
		err = errOrdinal
	default:
		var file *os.File
		if file, err = d.file(int(ordinal)); err == nil {
			d.taken = append(d.taken, file)
			return file, nil
		}
	}
	return nil, valueError("Descriptor", text, err)
}

var errOrdinal = errors.New("no ordinal of a descriptor")

// list sets v to a new slice of the elements of a ListOf.
func (d *decoder) list(elem *form, text []byte, v reflect.Value) error {
	n := 0
	for rest, ok := text, true; ok; n++ {
		_, rest, ok = nextElement(rest)
	}
	resize(v, n-1)
	for i := range n - 1 {
		var element []byte
		element, text, _ = nextElement(text)
		if err := d.value(elem, element, v.Index(i)); err != nil {
			return at(inList(i), err)
		}
	}
	return nil
}

// boxes sets v to a new slice of the boxes of an AmpList.
func (d *decoder) boxes(p *plan, text []byte, v reflect.Value) error {
	n := 0
	for rest, ok := text, true; ok; n++ {
		var err error
		if _, rest, ok, err = nextBox(rest); err != nil {
			return at(inList(n), err)
		}
	}
	resize(v, n-1)
	for i := range n - 1 {
		var pairs []byte
		pairs, text, _, _ = nextBox(text)
		if err := d.pairs(p, pairs, structOf(v.Index(i))); err != nil {
			return at(inList(i), at(".", err))
		}
	}
	return nil
}

// resize sets v to a new slice of n zero elements, not nil.
func resize(v reflect.Value, n int) {
	if n == 0 {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return
	}
	v.SetZero()
	v.Grow(n)
	v.SetLen(n)
}
