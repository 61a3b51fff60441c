package scripting

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// natives makes the object through which the prelude reaches Go.
func (r *realm) natives() *goja.Object {
	o := r.rt.NewObject()
	set := func(name string, f func(goja.FunctionCall) goja.Value) { must(o.Set(name, f)) }
	must(o.Set("id", r.id))

	// Logs and errors.
	set("enabled", func(c goja.FunctionCall) goja.Value {
		return r.rt.ToValue(r.log.Enabled(context.Background(), slog.Level(c.Argument(0).ToInteger())))
	})
	set("log", func(c goja.FunctionCall) goja.Value {
		r.log.LogAttrs(context.Background(), slog.Level(c.Argument(0).ToInteger()), c.Argument(1).String(), r.current.attrs()...)
		return goja.Undefined()
	})
	set("report", func(c goja.FunctionCall) goja.Value {
		r.report(slog.LevelError, c.Argument(0).String(), r.describeValue(c.Argument(1)), r.current)
		return goja.Undefined()
	})
	set("stack", func(c goja.FunctionCall) goja.Value {
		var lines []string
		for _, p := range parseStack(c.Argument(0).String()) {
			lines = append(lines, "    at "+formatPlace(p))
		}
		return r.rt.ToValue(strings.Join(lines, "\n"))
	})
	set("isProxy", func(c goja.FunctionCall) goja.Value {
		o, ok := c.Argument(0).(*goja.Object)
		return r.rt.ToValue(ok && o.ExportType() == typeProxy)
	})
	set("proxyTarget", func(c goja.FunctionCall) goja.Value {
		if p, ok := c.Argument(0).Export().(goja.Proxy); ok && p.Target() != nil {
			return p.Target()
		}
		return goja.Undefined()
	})
	set("promise", func(c goja.FunctionCall) goja.Value {
		p, ok := c.Argument(0).Export().(*goja.Promise)
		if !ok {
			return r.rt.NewArray(0, goja.Undefined())
		}
		result := p.Result()
		if result == nil {
			result = goja.Undefined()
		}
		return r.rt.NewArray(int(p.State()), result)
	})

	// Calls.
	set("settle", func(c goja.FunctionCall) goja.Value {
		r.settle(uint64(c.Argument(0).ToInteger()), c.Argument(1), false)
		return goja.Undefined()
	})
	set("fail", func(c goja.FunctionCall) goja.Value {
		r.settle(uint64(c.Argument(0).ToInteger()), c.Argument(1), true)
		return goja.Undefined()
	})
	set("command", r.declareCommand)
	set("responder", r.declareResponder)
	set("handler", r.declareHandler)
	set("callRemote", func(c goja.FunctionCall) goja.Value {
		timeout := time.Duration(-1)
		if ms := c.Argument(3).ToFloat(); ms >= 0 {
			timeout = milliseconds(ms)
		}
		return r.callRemote(uint64(c.Argument(0).ToInteger()), uint64(c.Argument(1).ToInteger()), c.Argument(2), timeout)
	})
	set("cancelCall", func(c goja.FunctionCall) goja.Value {
		if o := r.outgoing[uint64(c.Argument(0).ToInteger())]; o != nil {
			r.drop(o, c.Argument(1))
		}
		return goja.Undefined()
	})
	set("loseConnection", func(c goja.FunctionCall) goja.Value {
		if p := r.peers[uint64(c.Argument(0).ToInteger())]; p != nil && p.conn != nil {
			r.w.p.hangUp(p.conn)
		}
		return goja.Undefined()
	})
	set("peers", func(goja.FunctionCall) goja.Value {
		list := []any{}
		if conns := r.w.p.conns; conns != nil {
			for _, conn := range conns() {
				list = append(list, r.peerOf(conn))
			}
		}
		return r.rt.NewArray(list...)
	})
	about := r.rt.NewObject()
	must(about.Set("name", r.prog.Name))
	must(about.Set("generation", r.w.p.generation))
	must(o.Set("plugin", about))

	// Timers.
	for name, repeat := range map[string]bool{"setTimeout": false, "setInterval": true, "setImmediate": false} {
		r.global(name, func(c goja.FunctionCall) goja.Value {
			fn, ok := goja.AssertFunction(c.Argument(0))
			if !ok {
				panic(r.rt.NewTypeError("%s takes a function", name))
			}
			skip := 2
			delay := time.Duration(0)
			if name == "setImmediate" {
				skip = 1
			} else {
				delay = max(milliseconds(c.Argument(1).ToFloat()), time.Millisecond)
			}
			var args []goja.Value
			if len(c.Arguments) > skip {
				args = slices.Clone(c.Arguments[skip:])
			}
			return r.rt.ToValue(r.setTimer(fn, delay, repeat, args))
		})
	}
	for _, name := range []string{"clearTimeout", "clearInterval", "clearImmediate"} {
		r.global(name, func(c goja.FunctionCall) goja.Value {
			if goja.IsNumber(c.Argument(0)) {
				r.clearTimer(uint64(c.Argument(0).ToInteger()))
			}
			return goja.Undefined()
		})
	}
	set("now", func(goja.FunctionCall) goja.Value {
		return r.rt.ToValue(float64(time.Since(r.w.p.started).Nanoseconds()) / 1e6)
	})
	must(o.Set("timeOrigin", float64(r.w.p.started.UnixNano())/1e6))

	r.textNatives(set)
	r.cryptoNatives(set)
	r.storeNatives(set)
	return o
}

// global sets a global function that scripts don't see when they enumerate.
func (r *realm) global(name string, f func(goja.FunctionCall) goja.Value) {
	v := r.rt.ToValue(f).ToObject(r.rt)
	must(v.DefineDataProperty("name", r.rt.ToValue(name), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	must(r.rt.GlobalObject().DefineDataProperty(name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
}

// milliseconds is a delay as scripts give it.
func milliseconds(ms float64) time.Duration {
	const most = float64(1<<31 - 1) // as everywhere: beyond it, at once
	if math.IsNaN(ms) || ms < 0 || ms > most {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}

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
	set("toText", func(c goja.FunctionCall) goja.Value {
		data := r.bytesArg(c.Argument(0))
		start, end := c.Argument(2).ToInteger(), c.Argument(3).ToInteger()
		return decodeText(r.rt, data[start:end], c.Argument(1).String())
	})
	set("decodeText", func(c goja.FunctionCall) goja.Value {
		data := r.bytesArg(c.Argument(0))[:c.Argument(2).ToInteger()]
		encoding := c.Argument(1).String()
		if fatal := c.Argument(3).ToBoolean(); fatal && (encoding == "utf8" && !utf8.Valid(data) || encoding == "utf16le" && len(data)%2 != 0) {
			return goja.Undefined()
		}
		return decodeText(r.rt, data, encoding)
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
	set("compare", func(c goja.FunctionCall) goja.Value {
		return r.rt.ToValue(bytes.Compare(r.bytesArg(c.Argument(0)), r.bytesArg(c.Argument(1))))
	})
	set("indexOf", func(c goja.FunctionCall) goja.Value {
		data, part, last := r.bytesArg(c.Argument(0)), r.bytesArg(c.Argument(1)), c.Argument(3).ToBoolean()
		return r.rt.ToValue(indexOf(data, part, c.Argument(2), last))
	})
	set("checkDepth", func(c goja.FunctionCall) goja.Value {
		const most = 2000
		if depth := jsonDepth(c.Argument(0).String()); depth > most {
			panic(r.rt.NewGoError(fmt.Errorf("JSON nests deeper than %d levels", most)))
		}
		return goja.Undefined()
	})
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
	case "latin1", "utf16le":
		units, ok := v.(goja.String)
		if !ok {
			units, _ = v.ToString().(goja.String)
		}
		data := make([]byte, 0, units.Length())
		for i := range units.Length() {
			if encoding == "latin1" {
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

// cryptoNatives are what crypto is made of.
func (r *realm) cryptoNatives(set func(string, func(goja.FunctionCall) goja.Value)) {
	set("random", func(c goja.FunctionCall) goja.Value {
		_, _ = rand.Read(r.bytesArg(c.Argument(0))) // never fails
		return goja.Undefined()
	})
	set("randomUUID", func(goja.FunctionCall) goja.Value {
		var u [16]byte
		_, _ = rand.Read(u[:])
		u[6], u[8] = u[6]&0x0F|0x40, u[8]&0x3F|0x80
		return r.rt.ToValue(fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]))
	})
	set("timingSafeEqual", func(c goja.FunctionCall) goja.Value {
		a, b := r.bytesArg(c.Argument(0)), r.bytesArg(c.Argument(1))
		if len(a) != len(b) {
			panic(r.rt.NewTypeError("timingSafeEqual: the arguments must have the same length"))
		}
		return r.rt.ToValue(subtle.ConstantTimeCompare(a, b) == 1)
	})
	set("digest", func(c goja.FunctionCall) goja.Value {
		data := r.bytesArg(c.Argument(1))
		var sum []byte
		switch name := c.Argument(0).String(); name {
		case "SHA-1":
			s := sha1.Sum(data)
			sum = s[:]
		case "SHA-256":
			s := sha256.Sum256(data)
			sum = s[:]
		case "SHA-384":
			s := sha512.Sum384(data)
			sum = s[:]
		case "SHA-512":
			s := sha512.Sum512(data)
			sum = s[:]
		default:
			panic(r.rt.NewTypeError("digest: there is no %q, but SHA-1, SHA-256, SHA-384 and SHA-512", name))
		}
		return r.rt.ToValue(r.rt.NewArrayBuffer(sum))
	})
}

// caller is where the script called into the prelude.
func (r *realm) caller() place {
	for _, p := range placesOf(r.rt.CaptureCallStack(0, nil)) {
		return p
	}
	return place{}
}

// mustLoad panics with a TypeError unless the plugin is loading.
func (r *realm) mustLoad(what string) {
	if !r.loading {
		panic(r.rt.NewTypeError("%s: declare it at the top of the plugin: once it is loaded its commands and handlers are fixed", what))
	}
}

// declareCommand is new amp.Command: (name, arguments, response, errors,
// requiresAnswer, switches) → its number.
func (r *realm) declareCommand(c goja.FunctionCall) goja.Value {
	name := c.Argument(0).String()
	r.mustLoad("new amp.Command(" + name + ")")
	cmd := &command{
		id: len(r.commands), name: name,
		arguments: r.readShape(c.Argument(1)), response: r.readShape(c.Argument(2)),
		answers: c.Argument(4).ToBoolean(), switches: c.Argument(5).ToBoolean(),
		place: r.caller(),
	}
	list := c.Argument(3).ToObject(r.rt)
	for i := range list.Get("length").ToInteger() {
		e := list.Get(fmt.Sprint(i)).ToObject(r.rt)
		cmd.errors = append(cmd.errors, errorClass{code: e.Get("0").String(), class: e.Get("1").ToObject(r.rt), fatal: e.Get("2").ToBoolean()})
	}
	r.commands = append(r.commands, cmd)
	return r.rt.ToValue(cmd.id)
}

// declareResponder is Command.responder: (number, function).
func (r *realm) declareResponder(c goja.FunctionCall) goja.Value {
	cmd := r.commands[c.Argument(0).ToInteger()]
	r.mustLoad(cmd.name + ".responder")
	at := r.caller()
	if other := r.responders[cmd.name]; other != nil {
		panic(r.rt.NewTypeError("%s has a responder already, at %s", cmd.name, other.fnPlace))
	}
	if err := checkCommandName(cmd.name); err != nil {
		panic(r.rt.NewTypeError("%s", err))
	}
	cmd.fn, _ = goja.AssertFunction(c.Argument(1))
	cmd.fnPlace = at
	r.responders[cmd.name] = cmd
	return goja.Undefined()
}

// declareHandler is amp.onLoad and its like: (kind, function).
func (r *realm) declareHandler(c goja.FunctionCall) goja.Value {
	kind := c.Argument(0).String()
	r.mustLoad("amp." + kind)
	fn, _ := goja.AssertFunction(c.Argument(1))
	r.handlers[kind] = append(r.handlers[kind], fn)
	return goja.Undefined()
}

// checkCommandName refuses the names that plugins can't answer.
func checkCommandName(name string) error {
	switch {
	case name == "StartTLS":
		return fmt.Errorf("StartTLS is answered by amphost itself")
	case strings.HasPrefix(name, "_"):
		return fmt.Errorf("%q: names that begin with _ are amphost's", name)
	case len(name) > 65535:
		return fmt.Errorf("a command's name has at most 65535 bytes")
	}
	return nil
}
