package scripting

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/dop251/goja"
	"golang.org/x/crypto/argon2"
)

// What a password costs to hash: OWASP's least for argon2id, a fiftieth of a
// second and 19 MiB.
const (
	passwordMemory  = 19 * 1024 // KiB
	passwordTime    = 2
	passwordThreads = 1
	passwordSalt    = 16
	passwordKey     = 32
)

// passwordTurns bounds how many passwords are hashed at a time, and so their
// memory: in the whole process, for it is its processors they need.
var passwordTurns = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// maxPasswords is how many of a worker may wait for that.
const maxPasswords = 1000

// A passwordHash is a hash in PHC string format, taken apart.
type passwordHash struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// hashPassword hashes a password with a fresh salt.
func hashPassword(text string) string {
	salt := make([]byte, passwordSalt)
	_, _ = rand.Read(salt) // never fails
	h := passwordHash{memory: passwordMemory, time: passwordTime, threads: passwordThreads, salt: salt}
	h.key = h.of(text, passwordKey)
	return h.String()
}

func (h passwordHash) of(text string, length int) []byte {
	return argon2.IDKey([]byte(text), h.salt, h.time, h.memory, h.threads, uint32(length))
}

// matches reports whether it is the hash of a password. It takes as long if not.
func (h passwordHash) matches(text string) bool {
	return subtle.ConstantTimeCompare(h.of(text, len(h.key)), h.key) == 1
}

// String returns the hash in PHC string format.
func (h passwordHash) String() string {
	text := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads, text(h.salt), text(h.key))
}

// readPasswordHash reads a hash in PHC string format, of this program or of
// another, within what it may cost.
func readPasswordHash(text string) (h passwordHash, err error) {
	part := strings.Split(text, "$")
	if len(part) < 2 || part[0] != "" {
		return h, errors.New(`it is no hash of amp.password.hash, which begins with "$argon2id$"`)
	}
	if part[1] != "argon2id" {
		return h, fmt.Errorf("it was made by %q, and only argon2id is known", part[1])
	}
	if len(part) != 6 || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errors.New("it is cut off, or of another version of argon2id")
	}
	var n [3]uint64
	params := strings.Split(part[3], ",")
	for i, limit := range []struct {
		name string
		most uint64
	}{{"m=", 256 * 1024}, {"t=", 16}, {"p=", 16}} {
		if i < len(params) && strings.HasPrefix(params[i], limit.name) {
			n[i], err = strconv.ParseUint(params[i][2:], 10, 32)
		}
		if err != nil || n[i] == 0 || n[i] > limit.most || len(params) != 3 {
			return h, fmt.Errorf("its parameters %q are not m=1…%d,t=1…16,p=1…16", part[3], 256*1024)
		}
	}
	h.memory, h.time, h.threads = uint32(n[0]), uint32(n[1]), uint8(n[2])
	decode := base64.RawStdEncoding.Strict().DecodeString
	if h.salt, err = decode(part[4]); err == nil {
		h.key, err = decode(part[5])
	}
	if err != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.key) < 16 || len(h.key) > 64 {
		return h, errors.New("its salt or its key is damaged")
	}
	return h, nil
}

// passwordNatives are what amp.password is made of.
func (r *realm) passwordNatives(set func(string, func(goja.FunctionCall) goja.Value)) {
	text := func(what string, v goja.Value) string {
		if !goja.IsString(v) {
			panic(r.rt.NewTypeError("amp.password.%s takes text", what))
		}
		s, err := wellFormed(v)
		if err != nil {
			panic(r.rt.NewTypeError("amp.password.%s: %s", what, err))
		}
		return s
	}
	set("hashPassword", func(c goja.FunctionCall) goja.Value {
		password := text("hash", c.Argument(0))
		return r.inPasswordTurn(func() any { return hashPassword(password) })
	})
	set("verifyPassword", func(c goja.FunctionCall) goja.Value {
		password := text("verify", c.Argument(0))
		h, err := readPasswordHash(text("verify", c.Argument(1)))
		if err != nil {
			panic(r.rt.NewTypeError("amp.password.verify: the hash can't be read: %s", err))
		}
		return r.inPasswordTurn(func() any { return h.matches(password) })
	})
}

// inPasswordTurn returns a promise of what f returns, which is called elsewhere
// when it is its turn.
func (r *realm) inPasswordTurn(f func() any) goja.Value {
	if r.passwords >= maxPasswords {
		panic(r.thrown(fmt.Errorf("amp.password: %d passwords wait for their turn already", r.passwords)))
	}
	r.passwords++
	promise := r.newDeferred()
	promise.place()
	r.background(func(ctx context.Context) (any, error) {
		select {
		case passwordTurns <- struct{}{}:
			defer func() { <-passwordTurns }()
			return f(), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}, func(v any, err error) {
		r.passwords--
		if err != nil {
			promise.reject(r.thrown(err))
			return
		}
		promise.resolve(r.rt.ToValue(v))
	})
	return promise.o
}
