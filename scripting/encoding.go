package scripting

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/store"
)

// The stored form of a script's value: a byte with the form's version, then a
// value. A value is a tag and what the tag says follows. Numbers of things are
// varints. The tags are part of what is stored: never change one.
const (
	formVersion = 1

	tagNull     = 'z'
	tagTrue     = 't'
	tagFalse    = 'f'
	tagInteger  = 'i' // zig-zag varint: a number that is whole, small and not -0
	tagNumber   = 'n' // 8 bytes, IEEE 754, big-endian
	tagString   = 's' // length, UTF-8
	tagBigInt   = 'b' // sign byte, length, magnitude big-endian
	tagDate     = 'd' // 8 bytes, milliseconds as a number; NaN is an invalid one
	tagDateTime = 'D' // zig-zag varint milliseconds, varint microsecond, zig-zag varint offset
	tagBytes    = 'x' // length, bytes
	tagArray    = 'a' // length, values
	tagObject   = 'o' // length, pairs of a string without its tag and a value

	// Only in clones, which are never stored.
	tagUndefined = 'u'
	tagMap       = 'M' // length, pairs of values
	tagSet       = 'S' // length, values
)

// maxValueDepth bounds how deep a stored value nests.
const maxValueDepth = 200

// invalidDate is stored for the milliseconds of a DateTimeValue that is no
// date.
const invalidDate = math.MinInt64

var errDamaged = errors.New("the stored value is damaged")

// encodeValue appends the stored form of a value. An error names the path to
// what can't be stored. It may run getters: call it in r.try, or from script
// code.
func (r *realm) encodeValue(dst []byte, v goja.Value) ([]byte, error) {
	w := valueWriter{realm: r, verb: "stored"}
	return w.appendValue(append(dst, formVersion), v, 0)
}

// cloneValue encodes a value for another runtime: as encodeValue, and also
// undefined, Maps, Sets and, as plain objects, instances of classes.
func (r *realm) cloneValue(v goja.Value) ([]byte, error) {
	w := valueWriter{realm: r, verb: "cloned", clone: true}
	return w.appendValue([]byte{formVersion}, v, 0)
}

// A valueWriter encodes values.
type valueWriter struct {
	*realm
	verb  string // "stored" or "cloned"
	clone bool
}

func (r *valueWriter) appendValue(dst []byte, v goja.Value, depth int) ([]byte, error) {
	o, isObject := v.(*goja.Object)
	switch {
	case !r.clone && len(dst) > store.MaxValue:
		// A few objects that hold each other twice make more than memory holds.
		return dst, store.ErrTooLarge
	case v == nil || goja.IsUndefined(v):
		if r.clone {
			return append(dst, tagUndefined), nil
		}
		return dst, errors.New("undefined can't be stored")
	case goja.IsNull(v):
		return append(dst, tagNull), nil
	case goja.IsString(v):
		s, err := wellFormed(v)
		if err != nil {
			return dst, err
		}
		dst = binary.AppendUvarint(append(dst, tagString), uint64(len(s)))
		return append(dst, s...), nil
	case goja.IsBigInt(v):
		n, _ := v.Export().(*big.Int)
		return appendBigInt(dst, n), nil
	case goja.IsNumber(v):
		f := v.ToFloat()
		if f == math.Trunc(f) && math.Abs(f) <= maxSafe && !(f == 0 && math.Signbit(f)) {
			return binary.AppendVarint(append(dst, tagInteger), int64(f)), nil
		}
		return binary.BigEndian.AppendUint64(append(dst, tagNumber), math.Float64bits(f)), nil
	case !isObject && v.ExportType() == typeBool:
		if v.ToBoolean() {
			return append(dst, tagTrue), nil
		}
		return append(dst, tagFalse), nil
	}
	if !isObject {
		return dst, fmt.Errorf("%s can't be %s", r.brief(v), r.verb)
	}
	if depth >= maxValueDepth {
		return dst, fmt.Errorf("it nests deeper than %d levels, or contains itself", maxValueDepth)
	}
	return r.appendObject(dst, o, depth)
}

func (r *valueWriter) appendObject(dst []byte, o *goja.Object, depth int) ([]byte, error) {
	// Export also makes bytes of a Uint8ClampedArray.
	if data, ok := bytesOf(o); ok && o.ExportType() == typeBytes && r.rt.InstanceOf(o, r.shared.Get("Uint8Array").ToObject(r.rt)) {
		dst = binary.AppendUvarint(append(dst, tagBytes), uint64(len(data)))
		return append(dst, data...), nil
	}
	switch o.ClassName() {
	case "Date":
		at, ok := o.Export().(time.Time)
		if r.rt.InstanceOf(o, r.dateTimeClass) {
			ms := int64(invalidDate)
			if ok {
				ms = at.UnixMilli()
			}
			return appendDateTime(dst, ms, o.Get("microsecond").ToInteger(), o.Get("offset").ToInteger()), nil
		}
		ms := math.NaN()
		if ok {
			ms = float64(at.UnixMilli())
		}
		return binary.BigEndian.AppendUint64(append(dst, tagDate), math.Float64bits(ms)), nil
	case "Array":
		n := o.Get("length").ToInteger()
		dst = binary.AppendUvarint(append(dst, tagArray), uint64(n))
		for i := range n {
			index := strconv.FormatInt(i, 10)
			element := o.Get(index)
			var err error
			if element == nil && !r.clone {
				err = errors.New("a hole can't be stored")
			} else {
				dst, err = r.appendValue(dst, element, depth+1)
			}
			if err != nil {
				return dst, within("["+index+"]", err)
			}
		}
		return dst, nil
	}
	if r.clone {
		// goja's class of a Map is Object.
		for class, tag := range map[string]byte{"Map": tagMap, "Set": tagSet} {
			if r.rt.InstanceOf(o, r.rt.Get(class).ToObject(r.rt)) {
				return r.appendCollection(dst, o, tag, depth)
			}
		}
	}
	// A plain object: made by {}, Object.create(null) or a copy of these.
	_, callable := goja.AssertFunction(o)
	proto := o.Prototype()
	if o.ClassName() != "Object" || o == r.rt.GlobalObject() || callable || o.ExportType() == typePromise || !r.clone && proto != nil && proto.Prototype() != nil {
		return dst, fmt.Errorf("%s can't be %s: only plain objects, arrays, text, numbers, dates and bytes can", r.describeClass(o), r.verb)
	}
	keys := o.Keys()
	if err := r.checkNames(o, keys); err != nil {
		return dst, err
	}
	at := len(dst)
	dst = append(dst, tagObject)
	n := 0
	var body []byte
	for _, key := range keys {
		f := field{name: key, shadows: true}
		v := r.get(o, &f)
		if v == nil || goja.IsUndefined(v) {
			continue
		}
		n++
		body = binary.AppendUvarint(body, uint64(len(key)))
		body = append(body, key...)
		var err error
		if body, err = r.appendValue(body, v, depth+1); err != nil {
			return dst[:at], within(key, err)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	return append(dst, body...), nil
}

func appendBigInt(dst []byte, n *big.Int) []byte {
	mag := n.Bytes()
	dst = append(dst, tagBigInt, byte(n.Sign()+1))
	dst = binary.AppendUvarint(dst, uint64(len(mag)))
	return append(dst, mag...)
}

func appendDateTime(dst []byte, ms, microsecond, offset int64) []byte {
	dst = binary.AppendVarint(append(dst, tagDateTime), ms)
	dst = binary.AppendUvarint(dst, uint64(microsecond))
	return binary.AppendVarint(dst, offset)
}

// checkNames returns an error if a property's name is no UTF-8. keys has U+FFFD
// for what is not.
func (r *realm) checkNames(o *goja.Object, keys []string) error {
	if !slices.ContainsFunc(keys, func(key string) bool { return strings.Contains(key, "\uFFFD") }) {
		return nil
	}
	list, _ := goja.AssertFunction(r.rt.Get("Object").ToObject(r.rt).Get("keys"))
	names, err := list(nil, o)
	if err != nil {
		panic(err)
	}
	r.rt.ForOf(names, func(name goja.Value) bool {
		if _, bad := wellFormed(name); bad != nil {
			err = errors.New("a property's name has half of a surrogate pair, which UTF-8 can't hold")
		}
		return err == nil
	})
	return err
}

// appendCollection appends the entries of a Map or the values of a Set.
func (r *valueWriter) appendCollection(dst []byte, o *goja.Object, tag byte, depth int) ([]byte, error) {
	n := 0
	var body []byte
	var err error
	add := func(v goja.Value) {
		if err == nil {
			body, err = r.appendValue(body, v, depth+1)
		}
	}
	r.rt.ForOf(o, func(v goja.Value) bool {
		n++
		if pair, ok := v.(*goja.Object); ok && tag == tagMap {
			add(pair.Get("0"))
			add(pair.Get("1"))
		} else {
			add(v)
		}
		return err == nil
	})
	if err != nil {
		return dst, within("entries()", err)
	}
	return append(binary.AppendUvarint(append(dst, tag), uint64(n)), body...), nil
}

// describeClass names what an object is.
func (r *realm) describeClass(o *goja.Object) string {
	if _, callable := goja.AssertFunction(o); callable {
		return "a function"
	}
	if o.ExportType() == typePromise {
		return "a promise (was an await forgotten?)"
	}
	name := ""
	if ctor, ok := o.Get("constructor").(*goja.Object); ok {
		name = ctor.Get("name").String()
	}
	if name == "" {
		name = o.ClassName()
	}
	return "an object of class " + name
}

// decodeValue reads what encodeValue wrote.
func (r *realm) decodeValue(data []byte) (goja.Value, error) { return r.readValue(data, false) }

// decodeClone reads what cloneValue wrote.
func (r *realm) decodeClone(data []byte) (goja.Value, error) { return r.readValue(data, true) }

func (r *realm) readValue(data []byte, clone bool) (goja.Value, error) {
	if len(data) == 0 {
		return nil, errDamaged
	}
	if data[0] != formVersion {
		return nil, fmt.Errorf("the stored value has form %d, which this amphost is too old for", data[0])
	}
	d := valueReader{r: r, data: data[1:], clone: clone}
	v, err := d.value(0)
	if err == nil && len(d.data) > 0 {
		err = errDamaged
	}
	return v, err
}

// A valueReader reads values off data.
type valueReader struct {
	r     *realm
	data  []byte
	clone bool // what is only in clones is read, too
}

func (d *valueReader) value(depth int) (goja.Value, error) {
	if len(d.data) == 0 || depth > maxValueDepth {
		return nil, errDamaged
	}
	rt := d.r.rt
	tag := d.data[0]
	d.data = d.data[1:]
	switch tag {
	case tagNull:
		return goja.Null(), nil
	case tagTrue, tagFalse:
		return rt.ToValue(tag == tagTrue), nil
	case tagInteger:
		n, err := d.varint()
		if n < -maxSafe || n > maxSafe {
			return nil, errDamaged
		}
		return rt.ToValue(n), err
	case tagNumber:
		f, err := d.float()
		return rt.ToValue(f), err
	case tagString:
		s, err := d.text()
		return rt.ToValue(s), err
	case tagBytes:
		b, err := d.bytes()
		if err != nil {
			return nil, err
		}
		return d.r.buffer(b), nil
	case tagBigInt:
		n, err := d.bigInt()
		return rt.ToValue(n), err
	case tagDate:
		ms, err := d.float()
		if err != nil {
			return nil, err
		}
		return rt.New(rt.Get("Date"), rt.ToValue(ms))
	case tagDateTime:
		ms, err := d.varint()
		if err != nil {
			return nil, err
		}
		us, err := d.uvarint()
		if err != nil {
			return nil, err
		}
		offset, err := d.varint()
		if err != nil {
			return nil, err
		}
		if us > 999 || offset <= -24*60 || offset >= 24*60 {
			return nil, errDamaged
		}
		at := rt.ToValue(ms)
		if ms == invalidDate {
			at = goja.NaN()
		}
		return d.r.fn.dateTime(nil, at, rt.ToValue(int64(us)), rt.ToValue(offset))
	case tagArray:
		n, err := d.count()
		if err != nil {
			return nil, err
		}
		var list []any // not of size n at once, for there may be less
		for range n {
			v, err := d.value(depth + 1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return rt.NewArray(list...), nil
	case tagUndefined:
		if d.clone {
			return goja.Undefined(), nil
		}
	case tagMap, tagSet:
		if d.clone {
			return d.collection(tag, depth)
		}
	case tagObject:
		n, err := d.count()
		if err != nil {
			return nil, err
		}
		o := rt.NewObject()
		for range n {
			key, err := d.text()
			if err != nil {
				return nil, err
			}
			v, err := d.value(depth + 1)
			if err != nil {
				return nil, err
			}
			if err := o.DefineDataProperty(key, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE); err != nil {
				return nil, err
			}
		}
		return o, nil
	}
	return nil, errDamaged
}

// collection reads a Map or a Set.
func (d *valueReader) collection(tag byte, depth int) (goja.Value, error) {
	n, err := d.count()
	if err != nil {
		return nil, err
	}
	var list []any
	for range n {
		item, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if tag == tagMap {
			v, err := d.value(depth + 1)
			if err != nil {
				return nil, err
			}
			item = d.r.rt.NewArray(item, v)
		}
		list = append(list, item)
	}
	class := "Set"
	if tag == tagMap {
		class = "Map"
	}
	return d.r.rt.New(d.r.rt.Get(class), d.r.rt.NewArray(list...))
}

func (d *valueReader) varint() (int64, error) {
	n, size := binary.Varint(d.data)
	if size <= 0 {
		return 0, errDamaged
	}
	d.data = d.data[size:]
	return n, nil
}

func (d *valueReader) uvarint() (uint64, error) {
	n, size := binary.Uvarint(d.data)
	if size <= 0 {
		return 0, errDamaged
	}
	d.data = d.data[size:]
	return n, nil
}

// count reads how many values follow, each of which has a byte at least.
func (d *valueReader) count() (int, error) {
	n, err := d.uvarint()
	if err != nil || n > uint64(len(d.data)) {
		return 0, errDamaged
	}
	return int(n), nil
}

func (d *valueReader) bytes() ([]byte, error) {
	n, err := d.count()
	if err != nil {
		return nil, err
	}
	b := d.data[:n]
	d.data = d.data[n:]
	return b, nil
}

func (d *valueReader) text() (string, error) {
	b, err := d.bytes()
	if err == nil && !utf8.Valid(b) {
		err = errDamaged
	}
	return string(b), err
}

func (d *valueReader) bigInt() (*big.Int, error) {
	if len(d.data) == 0 {
		return nil, errDamaged
	}
	sign := d.data[0]
	d.data = d.data[1:]
	b, err := d.bytes()
	n := new(big.Int).SetBytes(b)
	if sign == 0 {
		n.Neg(n)
	}
	if err == nil && int(sign) != n.Sign()+1 {
		err = errDamaged
	}
	return n, err
}

func (d *valueReader) float() (float64, error) {
	if len(d.data) < 8 {
		return 0, errDamaged
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(d.data))
	d.data = d.data[8:]
	return f, nil
}
