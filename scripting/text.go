package scripting

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// bytesArg returns the bytes of an argument that the prelude has checked.
func (r *realm) bytesArg(v goja.Value) []byte {
	b, ok := bytesOf(v)
	if !ok {
		panic(r.rt.NewTypeError("%s", r.not(v, "a Buffer or Uint8Array")))
	}
	return b
}

// textNatives are what Buffer and the text encoders are made of.
func (r *realm) textNatives(set func(string, func(goja.FunctionCall) goja.Value)) {
	set("fromText", func(c goja.FunctionCall) goja.Value {
		data := encodeText(c.Argument(0), c.Argument(1).String())
		return r.rt.ToValue(r.rt.NewArrayBuffer(data))
	})
	set("bufferOf", func(c goja.FunctionCall) goja.Value {
		return r.ownBuffer(encodeText(c.Argument(0), c.Argument(1).String()))
	})
	set("concat", func(c goja.FunctionCall) goja.Value { return r.concat(c.Argument(0)) })
	set("quicken", r.quicken)
	set("toText", func(c goja.FunctionCall) goja.Value {
		data := r.bytesArg(c.Argument(0))
		start, end := c.Argument(2).ToInteger(), c.Argument(3).ToInteger()
		return decodeText(r.rt, data[start:end], c.Argument(1).String())
	})
	set("decodeText", func(c goja.FunctionCall) goja.Value {
		data := r.bytesArg(c.Argument(0))[:c.Argument(2).ToInteger()]
		encoding := c.Argument(1).String()
		fatal := c.Argument(3).ToBoolean()
		if fatal && (encoding == "utf8" && !utf8.Valid(data) || encoding == "utf16le" && len(data)%2 != 0) {
			return goja.Undefined()
		}
		text := decodeText(r.rt, data, encoding)
		if encoding == "utf16le" && !isWellFormed(text) { // Buffer keeps half a character, a decoder does not
			if fatal {
				return goja.Undefined()
			}
			text = r.rt.ToValue(strings.Clone(text.String()))
		}
		return text
	})
	set("wholeEnd", func(c goja.FunctionCall) goja.Value {
		data := r.bytesArg(c.Argument(0))
		return r.rt.ToValue(wholeEnd(data, c.Argument(1).String()))
	})
	set("wellFormed", func(c goja.FunctionCall) goja.Value { return r.rt.ToValue(isWellFormed(c.Argument(0))) })
	set("toWellFormed", func(c goja.FunctionCall) goja.Value {
		if isWellFormed(c.Argument(0)) {
			return c.Argument(0)
		}
		return r.rt.ToValue(strings.Clone(c.Argument(0).String()))
	})
	set("expandProperties", func(c goja.FunctionCall) goja.Value {
		source, err := expandProperties(c.Argument(0).String())
		if err != nil {
			e, failed := r.rt.New(r.rt.Get("SyntaxError"), r.rt.ToValue("Invalid regular expression: /"+c.Argument(0).String()+"/: "+err.Error()))
			if failed != nil {
				panic(failed)
			}
			panic(e)
		}
		return r.rt.ToValue(source)
	})
	set("compare", func(c goja.FunctionCall) goja.Value {
		return r.rt.ToValue(bytes.Compare(r.bytesArg(c.Argument(0)), r.bytesArg(c.Argument(1))))
	})
	set("indexOf", func(c goja.FunctionCall) goja.Value {
		data, last := r.bytesArg(c.Argument(0)), c.Argument(3).ToBoolean()
		var part []byte
		if goja.IsString(c.Argument(1)) {
			part = encodeText(c.Argument(1), c.Argument(4).String())
		} else {
			part = r.bytesArg(c.Argument(1))
		}
		return r.rt.ToValue(indexOf(data, part, c.Argument(2), last))
	})
	set("checkBuffer", r.checkBuffer)
	set("checkDigits", r.checkDigits)
	set("checkPattern", r.checkPattern)
}

// concat is Buffer.concat of an array, or undefined if something in it is no
// bytes: the prelude says so.
func (r *realm) concat(v goja.Value) goja.Value {
	list := v.ToObject(r.rt)
	n := r.atMost("Buffer.concat", list, maxItems)
	parts := make([][]byte, 0, n)
	total := 0
	for i := range n {
		b, ok := r.bytesOf(list.Get(strconv.FormatInt(i, 10)))
		if !ok {
			return goja.Undefined()
		}
		if total += len(b); total > maxBuffer {
			panic(r.rangeError("Buffer.concat: more than %d bytes", maxBuffer))
		}
		parts = append(parts, b)
	}
	if total >= largeBuffer {
		r.reserve(int64(total))
	}
	return r.ownBuffer(bytes.Join(parts, nil))
}

// quicken is given the class Buffer. It has Go answer for the methods that
// plugins call most, when they are called as they nearly always are: a function
// of the prelude takes longer than what it does.
func (r *realm) quicken(c goja.FunctionCall) goja.Value {
	class := c.Argument(0).ToObject(r.rt)
	proto := class.Get("prototype").ToObject(r.rt)
	r.around(class, "from", func(from native, c goja.FunctionCall) goja.Value {
		if len(c.Arguments) == 1 && goja.IsString(c.Arguments[0]) {
			return r.ownBuffer(encodeText(c.Arguments[0], "utf8"))
		}
		return from(c)
	})
	r.around(class, "concat", func(concat native, c goja.FunctionCall) goja.Value {
		if len(c.Arguments) == 1 {
			if o, ok := c.Arguments[0].(*goja.Object); ok && o.ClassName() == "Array" {
				if whole := r.concat(o); !goja.IsUndefined(whole) {
					return whole
				}
			}
		}
		return concat(c)
	})
	search := func(name string, result func(at int) any) {
		r.around(proto, name, func(search native, c goja.FunctionCall) goja.Value {
			if len(c.Arguments) == 1 && goja.IsString(c.Arguments[0]) {
				if data, ok := r.bytesOf(c.This); ok {
					return r.rt.ToValue(result(bytes.Index(data, encodeText(c.Arguments[0], "utf8"))))
				}
			}
			return search(c)
		})
	}
	search("includes", func(at int) any { return at >= 0 })
	search("indexOf", func(at int) any { return at })
	return goja.Undefined()
}

// encodeText is a string's bytes in an encoding of Buffer's.
func encodeText(v goja.Value, encoding string) []byte {
	s := v.String()
	switch encoding {
	case "hex":
		n := 0
		for n+1 < len(s) && isHex(s[n]) && isHex(s[n+1]) {
			n += 2
		}
		data, _ := hex.DecodeString(s[:n])
		return data
	case "base64", "base64url":
		// As Node: both alphabets, with or without padding, white space
		// skipped, up to the first "=".
		s, _, _ = strings.Cut(s, "=")
		clean := make([]byte, 0, len(s))
		for i := range len(s) {
			switch c := s[i]; {
			case c == '-':
				clean = append(clean, '+')
			case c == '_':
				clean = append(clean, '/')
			case c == '+', c == '/', c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
				clean = append(clean, c)
			}
		}
		if len(clean)%4 == 1 {
			clean = clean[:len(clean)-1]
		}
		data, _ := base64.RawStdEncoding.DecodeString(string(clean))
		return data
	case "latin1", "ascii", "utf16le":
		units, ok := v.(goja.String)
		if !ok {
			units, _ = v.ToString().(goja.String)
		}
		data := make([]byte, 0, units.Length())
		for i := range units.Length() {
			if encoding != "utf16le" {
				data = append(data, byte(units.CharAt(i)))
			} else {
				data = binary.LittleEndian.AppendUint16(data, units.CharAt(i))
			}
		}
		return data
	}
	return []byte(s)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// decodeText is the string that bytes are in an encoding of Buffer's. What is
// not UTF-8 is replaced.
func decodeText(rt *goja.Runtime, data []byte, encoding string) goja.Value {
	switch encoding {
	case "hex":
		return rt.ToValue(hex.EncodeToString(data))
	case "base64":
		return rt.ToValue(base64.StdEncoding.EncodeToString(data))
	case "base64url":
		return rt.ToValue(base64.RawURLEncoding.EncodeToString(data))
	case "latin1":
		return rt.ToValue(fromLatin1(string(data)))
	case "ascii":
		text := bytes.Clone(data)
		for i := range text {
			text[i] &= 0x7F
		}
		return rt.ToValue(string(text))
	case "utf16le":
		units := make([]uint16, len(data)/2)
		for i := range units {
			units[i] = binary.LittleEndian.Uint16(data[2*i:])
		}
		return goja.StringFromUTF16(units)
	}
	return rt.ToValue(replaceInvalid(data))
}

// replaceInvalid makes UTF-8 of bytes: each maximal part of a character that
// is cut off becomes one U+FFFD, as the Encoding standard says.
func replaceInvalid(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	var b strings.Builder
	for len(data) > 0 {
		c, n := utf8.DecodeRune(data)
		if c == utf8.RuneError && n <= 1 {
			n = badLength(data)
		}
		b.WriteRune(c)
		data = data[n:]
	}
	return b.String()
}

// badLength is how many bytes at the start of data are the maximal start of a
// character, at least one.
func badLength(data []byte) int {
	low, high := byte(0x80), byte(0xBF)
	more := 0
	switch c := data[0]; {
	case c >= 0xC2 && c <= 0xDF:
		more = 1
	case c == 0xE0:
		more, low = 2, 0xA0
	case c == 0xED:
		more, high = 2, 0x9F
	case c >= 0xE1 && c <= 0xEF:
		more = 2
	case c == 0xF0:
		more, low = 3, 0x90
	case c == 0xF4:
		more, high = 3, 0x8F
	case c >= 0xF1 && c <= 0xF3:
		more = 3
	}
	n := 1
	for n <= more && n < len(data) && data[n] >= low && data[n] <= high {
		n++
		low, high = 0x80, 0xBF
	}
	return n
}

// wholeEnd is where the last whole character of a chunk ends.
func wholeEnd(data []byte, encoding string) int {
	switch encoding {
	case "utf16le":
		end := len(data) &^ 1
		if end >= 2 && utf16.IsSurrogate(rune(binary.LittleEndian.Uint16(data[end-2:]))) && data[end-1] < 0xDC {
			end -= 2
		}
		return end
	case "utf8":
		for back := 1; back <= 3 && back <= len(data); back++ {
			c := data[len(data)-back]
			if utf8.RuneStart(c) {
				if c >= 0xC2 && !utf8.FullRune(data[len(data)-back:]) {
					return len(data) - back
				}
				break
			}
		}
	}
	return len(data)
}

func indexOf(data, part []byte, from goja.Value, last bool) int {
	start := 0
	if last {
		start = len(data)
	}
	if !goja.IsUndefined(from) {
		if f := from.ToFloat(); !math.IsNaN(f) {
			if f < 0 {
				f += float64(len(data))
			}
			if f < 0 && last {
				return -1
			}
			start = int(min(max(f, 0), float64(len(data))))
		}
	}
	if last {
		return bytes.LastIndex(data[:min(start+len(part), len(data))], part)
	}
	if i := bytes.Index(data[start:], part); i >= 0 {
		return start + i
	}
	return -1
}

// jsonDepth is how deep the brackets of a JSON text nest.
func jsonDepth(s string) int {
	depth, deepest := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		}
	}
	return deepest
}
