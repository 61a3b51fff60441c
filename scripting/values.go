package scripting

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// maxSafe is the largest whole number that a JavaScript number tells apart from
// its neighbours.
const maxSafe = 1<<53 - 1

// A keyError is a value that is missing or wrong, and whose.
type keyError struct {
	path string // "a", "points[3].x"
	err  error
}

func (e *keyError) Error() string { return fmt.Sprintf("%q: %v", e.path, e.err) }
func (e *keyError) Unwrap() error { return e.err }

// within puts a name or an index before the path of an error.
func within(prefix string, err error) error {
	if k, ok := errors.AsType[*keyError](err); ok {
		sep := "."
		if strings.HasPrefix(k.path, "[") {
			sep = ""
		}
		return &keyError{path: prefix + sep + k.path, err: k.err}
	}
	return &keyError{path: prefix, err: err}
}

var errMissing = errors.New("missing")

// source finds the value of a key in a box.
type source interface {
	Arg(key string) (value []byte, ok bool)
}

// boxSource is a box that was received as an answer.
type boxSource amp.Box

func (b boxSource) Arg(key string) ([]byte, bool) { v, ok := b[key]; return v, ok }

// pairSource is a box in wire form, without its terminator.
type pairSource []byte

func (p pairSource) Arg(key string) (value []byte, ok bool) {
	for k, v := range p.all() {
		if string(k) == key {
			value, ok = v, true // the last one counts (amp-wire item F6)
		}
	}
	return value, ok
}

// all yields the pairs.
func (p pairSource) all() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for b := []byte(p); len(b) >= 4; {
			n := 2 + int(b[1])
			m := n + 2 + int(binary.BigEndian.Uint16(b[n:]))
			if !yield(b[2:n], b[n+2:m:m]) {
				return
			}
			b = b[m:]
		}
	}
}

// decodeShape makes an object of a box. An error is a *keyError.
func (r *realm) decodeShape(s *shape, from source) (*goja.Object, error) {
	o := r.rt.NewObject()
	for i := range s.fields {
		f := &s.fields[i]
		text, ok := from.Arg(f.name)
		if !ok {
			if f.typ.optional {
				continue
			}
			return nil, &keyError{path: f.name, err: errMissing}
		}
		v, err := r.decode(f.typ, text)
		if err != nil {
			return nil, within(f.name, err)
		}
		if err := r.setOwn(o, f, v); err != nil {
			return nil, within(f.name, err)
		}
	}
	return o, nil
}

// setOwn sets an own property, whatever it is called.
func (r *realm) setOwn(o *goja.Object, f *field, v goja.Value) error {
	if f.shadows {
		return o.DefineDataProperty(f.name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
	}
	return o.Set(f.name, v)
}

// decodeBox makes an object of Buffers of a whole box, without the protocol's
// own keys. A key's bytes become the characters U+0000 to U+00FF.
func (r *realm) decodeBox(b amp.Box) (*goja.Object, error) {
	o := r.rt.NewObject()
	for _, key := range sortedKeys(b) {
		if err := o.DefineDataProperty(fromLatin1(key), r.buffer(b[key]), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// decode makes a value of its text on the wire. The text is copied.
func (r *realm) decode(t *argType, text []byte) (goja.Value, error) {
	switch t.kind {
	case kindInteger:
		n, wide, err := amp.ParseInteger(text)
		switch {
		case err != nil:
			return nil, err
		case t.bigint:
			if wide == nil {
				wide = big.NewInt(n)
			}
			return r.rt.ToValue(wide), nil
		case wide != nil || n > maxSafe || n < -maxSafe:
			return nil, fmt.Errorf("%s is beyond ±(2^53-1), which a number can't hold", text)
		}
		return r.rt.ToValue(n), nil
	case kindFloat:
		f, err := amp.ParseFloat(text)
		return r.rt.ToValue(f), err
	case kindBoolean:
		b, err := amp.ParseBoolean(text)
		return r.rt.ToValue(b), err
	case kindUnicode:
		s, err := amp.ParseUnicode(text)
		return r.rt.ToValue(s), err
	case kindString:
		return r.buffer(text), nil
	case kindDecimal:
		d, err := amp.ParseDecimal(string(text))
		if err != nil {
			return nil, err
		}
		return r.rt.ToValue(d.String()), nil
	case kindDateTime:
		at, err := amp.ParseDateTime(text)
		if err != nil {
			return nil, err
		}
		return r.dateTime(at)
	case kindPath:
		p, err := amp.ParsePath(text)
		return r.rt.ToValue(string(p)), err
	case kindListOf:
		list := []any{}
		for element := range amp.Elements(text) {
			v, err := r.decode(t.element, element)
			if err != nil {
				return nil, within("["+strconv.Itoa(len(list))+"]", err)
			}
			list = append(list, v)
		}
		return r.rt.NewArray(list...), nil
	case kindAmpList:
		list := []any{}
		for pairs, err := range amp.Boxes(text) {
			var v goja.Value
			if err == nil {
				v, err = r.decodeShape(t.fields, pairSource(pairs))
			}
			if err != nil {
				return nil, within("["+strconv.Itoa(len(list))+"]", err)
			}
			list = append(list, v)
		}
		return r.rt.NewArray(list...), nil
	}
	panic("unknown kind")
}

// buffer makes a Buffer of a copy of data.
func (r *realm) buffer(data []byte) goja.Value {
	return r.ownBuffer(append([]byte(nil), data...))
}

// A madeBuffer is a Buffer and its bytes.
type madeBuffer struct {
	o    *goja.Object
	data []byte
}

// smallBuffer is the size of the largest Buffer that bytesOf remembers.
const smallBuffer = 1024

// bytesOf is the function bytesOf, which allocates, but for the Buffers that were
// made last: what a script makes it passes on.
func (r *realm) bytesOf(v goja.Value) ([]byte, bool) {
	if o, ok := v.(*goja.Object); ok {
		for i := range r.made {
			if m := &r.made[i]; m.o == o {
				return m.data, true
			}
		}
	}
	return bytesOf(v)
}

// ownBuffer makes a Buffer that takes data over.
func (r *realm) ownBuffer(data []byte) goja.Value {
	if r.bufferClass == nil {
		r.rt.Get("Buffer")
		r.bufferClass = r.shared.Get("Buffer").ToObject(r.rt)
	}
	o, err := r.newUint8Array(r.bufferClass, r.rt.ToValue(r.rt.NewArrayBuffer(data)))
	if err != nil {
		panic(err)
	}
	if len(data) <= smallBuffer {
		r.made[r.nextMade%len(r.made)] = madeBuffer{o, data}
		r.nextMade++
	}
	return o
}

// dateTime makes an amp.DateTimeValue.
func (r *realm) dateTime(at time.Time) (goja.Value, error) {
	_, offset := at.Zone()
	us := at.UnixMicro()
	ms := us / 1000
	if us%1000 < 0 {
		ms--
	}
	return r.fn.dateTime(nil, r.rt.ToValue(ms), r.rt.ToValue(us-ms*1000), r.rt.ToValue(offset/60))
}

// absent reports whether a property's value stands for none.
func absent(v goja.Value) bool { return v == nil || goja.IsUndefined(v) || goja.IsNull(v) }

// get returns a property of o as a field of that name.
func (r *realm) get(o *goja.Object, f *field) goja.Value {
	if f.shadows {
		v, err := r.fn.own(nil, o, r.rt.ToValue(f.name))
		if err != nil {
			panic(err)
		}
		return v
	}
	return o.Get(f.name)
}

// encodeShape appends the pairs of an object to dst, in the order of their
// keys and without a terminator. Other properties are dropped. An error is a
// *keyError, and dst is then of no use. It may run the script's getters, so it
// is called in r.try.
func (r *realm) encodeShape(dst []byte, s *shape, o *goja.Object) ([]byte, error) {
	for i := range s.sorted {
		f := &s.sorted[i]
		v := r.get(o, f)
		if absent(v) {
			if f.typ.optional {
				continue
			}
			return dst, &keyError{path: f.name, err: errMissing}
		}
		dst = append(dst, 0, byte(len(f.name)))
		dst = append(dst, f.name...)
		dst = append(dst, 0, 0)
		start := len(dst)
		var err error
		if dst, err = r.encode(dst, f.typ, v); err != nil {
			return dst, within(f.name, err)
		}
		n := len(dst) - start
		if n > amp.MaxValue {
			return dst, &keyError{path: f.name, err: fmt.Errorf("%d bytes long, a value has at most %d: split it over several keys or calls", n, amp.MaxValue)}
		}
		binary.BigEndian.PutUint16(dst[start-2:], uint16(n))
	}
	return dst, nil
}

// encodeBox makes a box of an object whose own properties are bytes.
func (r *realm) encodeBox(o *goja.Object) (amp.Box, error) {
	b := make(amp.Box)
	for _, name := range o.Keys() {
		key, ok := toLatin1(name)
		f := field{name: name, shadows: true}
		v := r.get(o, &f)
		if absent(v) {
			continue
		}
		switch {
		case !ok:
			return nil, &keyError{path: name, err: errors.New("a box's key is made of the characters U+0000 to U+00FF, one for each byte")}
		case key == "" || len(key) > amp.MaxKey:
			return nil, &keyError{path: name, err: fmt.Errorf("a box's key has 1 to %d bytes", amp.MaxKey)}
		case isReserved(key):
			return nil, &keyError{path: name, err: errors.New("the key belongs to the protocol")}
		}
		value, err := r.encode(nil, &argType{kind: kindString}, v)
		if err != nil {
			return nil, within(name, err)
		}
		if len(value) > amp.MaxValue {
			return nil, &keyError{path: name, err: fmt.Errorf("%d bytes long, a value has at most %d", len(value), amp.MaxValue)}
		}
		b[key] = value
	}
	return b, nil
}

// encode appends the text of a value to dst.
func (r *realm) encode(dst []byte, t *argType, v goja.Value) ([]byte, error) {
	switch t.kind {
	case kindInteger:
		return r.encodeInteger(dst, v)
	case kindFloat:
		if !goja.IsNumber(v) {
			return dst, r.not(v, "a number")
		}
		return amp.AppendFloat(dst, v.ToFloat()), nil
	case kindBoolean:
		if v.ExportType() != typeBool {
			return dst, r.not(v, "a boolean")
		}
		return amp.AppendBoolean(dst, v.ToBoolean()), nil
	case kindUnicode:
		s, err := r.text(v)
		return append(dst, s...), err
	case kindString:
		if goja.IsString(v) {
			s, err := r.text(v)
			return append(dst, s...), err
		}
		data, ok := r.bytesOf(v)
		if !ok {
			return dst, r.not(v, "a Buffer, Uint8Array, ArrayBuffer or string")
		}
		return append(dst, data...), nil
	case kindDecimal:
		if !goja.IsString(v) {
			return dst, r.not(v, `a string such as "1.10"`)
		}
		d, err := amp.ParseDecimal(v.String())
		if err != nil {
			return dst, err
		}
		return d.AppendText(dst)
	case kindDateTime:
		at, err := r.timeOf(v)
		if err != nil {
			return dst, err
		}
		return amp.AppendDateTime(dst, at)
	case kindPath:
		s, err := r.text(v)
		if err != nil {
			return dst, err
		}
		return amp.AppendPath(dst, amp.Path(s))
	case kindListOf, kindAmpList:
		return r.encodeList(dst, t, v)
	}
	panic("unknown kind")
}

// safeInteger returns a number that is whole and no larger than maxSafe.
func safeInteger(v goja.Value) (int64, bool) {
	if !goja.IsNumber(v) {
		return 0, false
	}
	f := v.ToFloat()
	return int64(f), f == math.Trunc(f) && math.Abs(f) <= maxSafe
}

func (r *realm) encodeInteger(dst []byte, v goja.Value) ([]byte, error) {
	switch {
	case goja.IsNumber(v):
		n, ok := safeInteger(v)
		if !ok {
			if f := v.ToFloat(); math.IsInf(f, 0) || f != math.Trunc(f) {
				return dst, fmt.Errorf("%v is not a whole number", v)
			}
			return dst, fmt.Errorf("%v is beyond ±(2^53-1): use a bigint", v)
		}
		return amp.AppendInteger(dst, n), nil
	case goja.IsBigInt(v):
		n, _ := v.Export().(*big.Int)
		return amp.AppendBigInteger(dst, n)
	}
	return dst, r.not(v, "a number or a bigint")
}

func (r *realm) encodeList(dst []byte, t *argType, v goja.Value) ([]byte, error) {
	o, ok := v.(*goja.Object)
	if !ok || o.ClassName() != "Array" {
		return dst, r.not(v, "an array")
	}
	for i := range o.Get("length").ToInteger() {
		index := strconv.FormatInt(i, 10)
		element := o.Get(index)
		if absent(element) {
			return dst, within("["+index+"]", errMissing)
		}
		var err error
		if t.kind == kindAmpList {
			item, isObject := element.(*goja.Object)
			if !isObject {
				return dst, within("["+index+"]", r.not(element, "an object"))
			}
			if dst, err = r.encodeShape(dst, t.fields, item); err == nil {
				dst = append(dst, 0, 0)
			}
		} else {
			dst = append(dst, 0, 0)
			start := len(dst)
			if dst, err = r.encode(dst, t.element, element); err == nil {
				n := len(dst) - start
				if n > amp.MaxValue {
					err = fmt.Errorf("%d bytes long, an element has at most %d", n, amp.MaxValue)
				} else {
					binary.BigEndian.PutUint16(dst[start-2:], uint16(n))
				}
			}
		}
		if err != nil {
			return dst, within("["+index+"]", err)
		}
	}
	return dst, nil
}

var (
	typeBool        = reflect.TypeFor[bool]()
	typeBytes       = reflect.TypeFor[[]byte]()
	typeArrayBuffer = reflect.TypeFor[goja.ArrayBuffer]()
	typePromise     = reflect.TypeFor[*goja.Promise]()
	typeProxy       = reflect.TypeFor[goja.Proxy]()
)

// bytesOf returns the bytes behind a Uint8Array or an ArrayBuffer. They belong
// to the script: copy what is kept.
func bytesOf(v goja.Value) ([]byte, bool) {
	o, ok := v.(*goja.Object)
	if !ok {
		return nil, false
	}
	switch o.ExportType() {
	case typeBytes:
		b, ok := o.Export().([]byte)
		return b, ok
	case typeArrayBuffer:
		b, ok := o.Export().(goja.ArrayBuffer)
		return b.Bytes(), ok
	}
	return nil, false
}

var errSurrogate = errors.New("the text has half of a surrogate pair, which UTF-8 can't hold")

// text returns a string as UTF-8.
func (r *realm) text(v goja.Value) (string, error) {
	if !goja.IsString(v) {
		return "", r.not(v, "a string")
	}
	return wellFormed(v)
}

// wellFormed returns a string value as UTF-8, and errSurrogate if it is not
// well-formed UTF-16.
func wellFormed(v goja.Value) (string, error) {
	s := v.String()
	if strings.Contains(s, "\uFFFD") && !isWellFormed(v) {
		return "", errSurrogate
	}
	return s, nil
}

// isWellFormed looks for half surrogate pairs in a string value.
func isWellFormed(v goja.Value) bool {
	s, ok := v.(goja.String)
	if !ok {
		s, ok = v.ToString().(goja.String)
	}
	if !ok {
		return true
	}
	for i, n := 0, s.Length(); i < n; i++ {
		switch c := s.CharAt(i); {
		case c >= 0xD800 && c < 0xDC00 && i+1 < n && s.CharAt(i+1) >= 0xDC00 && s.CharAt(i+1) < 0xE000:
			i++
		case c >= 0xD800 && c < 0xE000:
			return false
		}
	}
	return true
}

// timeOf returns the time that a Date or a DateTimeValue is.
func (r *realm) timeOf(v goja.Value) (time.Time, error) {
	o, ok := v.(*goja.Object)
	if !ok || o.ClassName() != "Date" {
		return time.Time{}, r.not(v, "a Date or an amp.DateTimeValue")
	}
	at, ok := o.Export().(time.Time)
	if !ok {
		return time.Time{}, errors.New("the Date is invalid")
	}
	if r.rt.InstanceOf(o, r.dateTimeClass) {
		offset := int(o.Get("offset").ToInteger())
		at = at.Add(time.Duration(o.Get("microsecond").ToInteger()) * time.Microsecond)
		return at.In(time.FixedZone("", offset*60)), nil
	}
	return at.UTC(), nil
}

// not says what a value is not.
func (r *realm) not(v goja.Value, what string) error {
	return fmt.Errorf("%s is not %s", r.brief(v), what)
}

// brief shows a value in a few words.
func (r *realm) brief(v goja.Value) string {
	var s string
	switch o, ok := v.(*goja.Object); {
	case ok:
		if _, callable := goja.AssertFunction(o); callable {
			return "a function"
		}
		if o.ExportType() == typePromise {
			return "a promise"
		}
		return "an object of class " + o.ClassName()
	case goja.IsString(v):
		s = strconv.Quote(v.String())
	default:
		s = v.String()
		if goja.IsBigInt(v) {
			s += "n"
		}
	}
	if len(s) > 60 {
		cut := 60
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}

func isReserved(key string) bool {
	if len(key) == 0 || key[0] != '_' {
		return false
	}
	for _, k := range reservedKeys {
		if k == key {
			return true
		}
	}
	return false
}

// fromLatin1 makes a string of bytes, one character for each.
func fromLatin1(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			runes := make([]rune, len(s))
			for j := range len(s) {
				runes[j] = rune(s[j])
			}
			return string(runes)
		}
	}
	return s
}

// toLatin1 is the opposite of fromLatin1.
func toLatin1(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for _, c := range s {
		if c > 0xFF {
			return "", false
		}
		b = append(b, byte(c))
	}
	return string(b), true
}
