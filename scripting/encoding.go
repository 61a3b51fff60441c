package scripting

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/dop251/goja"
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
)

// maxValueDepth bounds how deep a stored value nests.
const maxValueDepth = 200

var errDamaged = errors.New("the stored value is damaged")

// encodeValue appends the stored form of a value. An error names the path to
// what can't be stored. It may run getters: call it in r.try, or from script
// code.
func (r *realm) encodeValue(dst []byte, v goja.Value) ([]byte, error) {
	return r.appendValue(append(dst, formVersion), v, 0)
}

func (r *realm) appendValue(dst []byte, v goja.Value, depth int) ([]byte, error) {
	switch {
	case v == nil || goja.IsUndefined(v):
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
		mag := n.Bytes()
		dst = append(dst, tagBigInt, byte(n.Sign()+1))
		dst = binary.AppendUvarint(dst, uint64(len(mag)))
		return append(dst, mag...), nil
	case goja.IsNumber(v):
		f := v.ToFloat()
		if f == math.Trunc(f) && math.Abs(f) <= maxSafe && !(f == 0 && math.Signbit(f)) {
			return binary.AppendVarint(append(dst, tagInteger), int64(f)), nil
		}
		return binary.BigEndian.AppendUint64(append(dst, tagNumber), math.Float64bits(f)), nil
	case v.ExportType() == typeBool:
		if v.ToBoolean() {
			return append(dst, tagTrue), nil
		}
		return append(dst, tagFalse), nil
	}
	o, ok := v.(*goja.Object)
	if !ok {
		return dst, fmt.Errorf("%s can't be stored", r.brief(v))
	}
	if depth >= maxValueDepth {
		return dst, fmt.Errorf("it nests deeper than %d levels, or contains itself", maxValueDepth)
	}
	return r.appendObject(dst, o, depth)
}

func (r *realm) appendObject(dst []byte, o *goja.Object, depth int) ([]byte, error) {
	if data, ok := bytesOf(o); ok && o.ExportType() == typeBytes {
		dst = binary.AppendUvarint(append(dst, tagBytes), uint64(len(data)))
		return append(dst, data...), nil
	}
	switch o.ClassName() {
	case "Date":
		at, ok := o.Export().(time.Time)
		if ok && r.rt.InstanceOf(o, r.dateTimeClass) {
			dst = binary.AppendVarint(append(dst, tagDateTime), at.UnixMilli())
			dst = binary.AppendUvarint(dst, uint64(o.Get("microsecond").ToInteger()))
			return binary.AppendVarint(dst, o.Get("offset").ToInteger()), nil
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
			if element == nil {
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
	// A plain object: made by {}, Object.create(null) or a copy of these.
	if proto := o.Prototype(); o.ClassName() != "Object" || proto != nil && proto.Prototype() != nil {
		return dst, fmt.Errorf("%s can't be stored: store plain objects, arrays, text, numbers, dates and bytes", r.describeClass(o))
	}
	keys := o.Keys()
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
func (r *realm) decodeValue(data []byte) (goja.Value, error) {
	if len(data) == 0 {
		return nil, errDamaged
	}
	if data[0] != formVersion {
		return nil, fmt.Errorf("the stored value has form %d, which this amphost is too old for", data[0])
	}
	d := valueReader{r: r, data: data[1:]}
	v, err := d.value(0)
	if err == nil && len(d.data) > 0 {
		err = errDamaged
	}
	return v, err
}

// A valueReader reads values off data.
type valueReader struct {
	r    *realm
	data []byte
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
		return rt.ToValue(n), err
	case tagNumber:
		f, err := d.float()
		return rt.ToValue(f), err
	case tagString:
		s, err := d.bytes()
		return rt.ToValue(string(s)), err
	case tagBytes:
		b, err := d.bytes()
		if err != nil {
			return nil, err
		}
		return d.r.buffer(b), nil
	case tagBigInt:
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
		return d.r.fn.dateTime(nil, rt.ToValue(ms), rt.ToValue(int64(us)), rt.ToValue(offset))
	case tagArray:
		n, err := d.count()
		if err != nil {
			return nil, err
		}
		list := make([]any, n)
		for i := range list {
			if list[i], err = d.value(depth + 1); err != nil {
				return nil, err
			}
		}
		return rt.NewArray(list...), nil
	case tagObject:
		n, err := d.count()
		if err != nil {
			return nil, err
		}
		o := rt.NewObject()
		for range n {
			key, err := d.bytes()
			if err != nil {
				return nil, err
			}
			v, err := d.value(depth + 1)
			if err != nil {
				return nil, err
			}
			if err := o.DefineDataProperty(string(key), v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE); err != nil {
				return nil, err
			}
		}
		return o, nil
	}
	return nil, errDamaged
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

func (d *valueReader) float() (float64, error) {
	if len(d.data) < 8 {
		return 0, errDamaged
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(d.data))
	d.data = d.data[8:]
	return f, nil
}
