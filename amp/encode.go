package amp

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"math/big"
	"os"
	"reflect"
	"strconv"
	"time"
	"unsafe"
)

// An encoder appends the pairs of structs to a buffer.
type encoder struct {
	buf   []byte     // wire pairs: len16 key len16 value …
	files []*os.File // descriptors to send with the box, in order
	first int        // ordinal of files[0] on this connection; -1: descriptors cannot be sent here
}

// encodeStruct appends the pairs of the struct that v is or points to, sorted
// by key, without a terminator. If it fails, buf and files are as before.
func (e *encoder) encodeStruct(p *plan, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return fmt.Errorf("amp: a nil %s where values are needed", v.Type())
		}
		v = v.Elem()
	}
	if !v.CanAddr() { // some forms take the address of a field
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		v = c
	}
	buf, files := len(e.buf), len(e.files)
	if err := e.fields(p.fields, v.Addr().UnsafePointer()); err != nil {
		e.buf, e.files = e.buf[:buf], e.files[:files]
		return err
	}
	return nil
}

// answer appends the box of an answer: the fields of the struct at base, and the
// tag in its place among them (item F5). If it fails buf is to be dropped.
func (e *encoder) answer(p *plan, tag []byte, base unsafe.Pointer) error {
	if err := e.fields(p.fields[:p.before], base); err != nil {
		return err
	}
	e.buf = appendPair(e.buf, keyAnswer, tag)
	if err := e.fields(p.fields[p.before:], base); err != nil {
		return err
	}
	e.buf = append(e.buf, 0, 0)
	return nil
}

// fields appends fields of the struct at base, the most usual form without
// reflection.
func (e *encoder) fields(fields []field, base unsafe.Pointer) error {
	for i := range fields {
		f := &fields[i]
		if f.form.kind == integerForm && !f.optional {
			e.buf = append(e.buf, f.head...)
			at := len(e.buf)
			e.buf = strconv.AppendInt(append(e.buf, 0, 0), f.form.integer(unsafe.Add(base, f.offset)), 10)
			e.buf[at+1] = byte(len(e.buf) - at - 2)
			continue
		}
		value := f.in(base)
		if f.optional && value.IsZero() {
			continue
		}
		e.buf = append(e.buf, f.head...)
		if err := e.sized(f.form, value); err != nil {
			return at(f.key, err)
		}
	}
	return nil
}

// sized appends v, its length before it.
func (e *encoder) sized(f *form, v reflect.Value) error {
	start := len(e.buf) + 2
	e.buf = append(e.buf, 0, 0)
	if err := e.value(f, v); err != nil {
		return err
	}
	n := len(e.buf) - start
	if n > MaxValue {
		return &TooLongError{Local: true, Len: n}
	}
	binary.BigEndian.PutUint16(e.buf[start-2:], uint16(n))
	return nil
}

// value appends v, which is addressable.
func (e *encoder) value(f *form, v reflect.Value) (err error) {
	switch f.kind {
	case integerForm:
		e.buf = strconv.AppendInt(e.buf, v.Int(), 10)
	case unsignedForm:
		e.buf = strconv.AppendUint(e.buf, v.Uint(), 10)
	case bigForm:
		e.buf, err = AppendBigInteger(e.buf, v.Addr().Interface().(*big.Int))
	case floatForm:
		e.buf = AppendFloat(e.buf, v.Float())
	case booleanForm:
		e.buf = AppendBoolean(e.buf, v.Bool())
	case stringForm:
		return e.bytes(v.Bytes())
	case unicodeForm:
		if s := v.String(); len(s) > MaxValue { // don't grow buf for nothing
			return &TooLongError{Local: true, Len: len(s)}
		} else {
			e.buf, err = AppendUnicode(e.buf, s)
		}
	case pathForm:
		e.buf, err = AppendPath(e.buf, Path(v.String()))
	case decimalForm:
		e.buf, err = v.Addr().Interface().(*Decimal).AppendText(e.buf)
	case dateTimeForm:
		e.buf, err = AppendDateTime(e.buf, *v.Addr().Interface().(*time.Time))
	case descriptorForm:
		return e.file(v.Interface().(*os.File))
	case textForm:
		text, err := v.Addr().Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return &ValueError{Type: f.String(), Err: err}
		}
		return e.bytes(text)
	case listForm:
		for i := range v.Len() {
			if err := e.sized(f.elem, v.Index(i)); err != nil {
				return at(inList(i), err)
			}
		}
	case boxesForm:
		for i := range v.Len() {
			if err := e.box(f.plan, v.Index(i)); err != nil {
				return at(inList(i), err)
			}
		}
	case pointerForm:
		if v.IsNil() {
			return &ValueError{Type: f.String(), Err: errNil}
		}
		return e.value(f.elem, v.Elem())
	}
	return err
}

func (e *encoder) bytes(b []byte) error {
	if len(b) > MaxValue { // don't grow buf for nothing
		return &TooLongError{Local: true, Len: len(b)}
	}
	e.buf = append(e.buf, b...)
	return nil
}

// file appends the ordinal of a descriptor and keeps it for sending
// (amp-wire item D1).
func (e *encoder) file(f *os.File) error {
	switch {
	case f == nil:
		return &ValueError{Type: "Descriptor", Err: errNil}
	case e.first < 0:
		return &ValueError{Type: "Descriptor", Text: quote(f.Name()), Err: ErrNoDescriptors}
	}
	e.buf = strconv.AppendInt(e.buf, int64(e.first+len(e.files)), 10)
	e.files = append(e.files, f)
	return nil
}

// box appends the box of an AmpList that v is or points to.
func (e *encoder) box(p *plan, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return &ValueError{Type: "AmpList", Err: errNil}
		}
		v = v.Elem()
	}
	if err := e.fields(p.fields, v.Addr().UnsafePointer()); err != nil {
		return at(".", err)
	}
	e.buf = append(e.buf, 0, 0)
	return nil
}

// inList returns the place of an element, as an error names it.
func inList(i int) string { return "[" + strconv.Itoa(i) + "]" }
