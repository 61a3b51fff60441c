package scripting

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"fmt"

	"github.com/dop251/goja"
)

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
		switch c.Argument(0).String() {
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
			return goja.Undefined()
		}
		return r.rt.ToValue(r.rt.NewArrayBuffer(sum))
	})
}
