package scripting

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
)

// fuzzSource has a command that answers with a value made of bytes, and one that
// calls a function of those that scripts can reach with such values.
const fuzzSource = `import * as amp from "amphost";

class Bytes {
  constructor(data) { this.data = data; this.at = 0; this.depth = 0; this.made = []; }
  byte() { return this.at < this.data.length ? this.data[this.at++] : 0; }
  text() { const n = this.byte() % 12; const s = this.data.toString("latin1", this.at, this.at + n); this.at += n; return s; }
}
const key = (b) => ["a", "text", "n", "list", "then", "length", "toJSON", "message", "__proto__", "constructor", "0", "name", b.text()][b.byte() % 13];
function value(b) {
  if (++b.depth > 8) { b.depth--; return b.byte(); }
  const v = make(b);
  if (typeof v === "object" && v !== null) b.made.push(v);
  b.depth--;
  return v;
}
function make(b) {
  switch (b.byte() % 42) {
    case 0: return undefined;
    case 1: return null;
    case 2: return b.byte() % 2 === 0;
    case 3: return b.byte();
    case 4: return -b.byte() / 7;
    case 5: return [0, -0, NaN, Infinity, -Infinity, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53), 1e308, 5e-324, 2 ** 63, 2 ** 64][b.byte() % 13];
    case 6: return BigInt(b.byte()) ** BigInt(b.byte() % 40);
    case 7: return -BigInt(b.byte());
    case 8: return b.text();
    case 9: return "x".repeat(b.byte() * 300);
    case 10: return "\ud800" + b.text();
    case 11: return b.text() + "ä\u{1f600}\0";
    case 12: return ["tcp://127.0.0.1:1", "utf8", "hex", "base64", "utf16le", "sha-256", "SHA-512", "1.5E+3", "NaN", "-Infinity", "/tmp", "a".repeat(300), "../x"][b.byte() % 13];
    case 13: return Symbol(b.text());
    case 14: return Symbol.iterator;
    case 15: return () => value(b);
    case 16: return () => { throw value(b); };
    case 17: return async () => value(b);
    case 18: return function* () { for (let n = b.byte() % 5; n > 0; n--) yield value(b); };
    case 19: return class extends Error {};
    case 20: case 21: { const a = []; for (let n = b.byte() % 6; n > 0; n--) a.push(value(b)); return a; }
    case 22: case 23: case 24: case 25: { const o = {}; for (let n = b.byte() % 6; n > 0; n--) o[key(b)] = value(b); return o; }
    case 26: { const o = Object.create(null); o[key(b)] = value(b); return o; }
    case 27: { const v = value(b); const o = {}; Object.defineProperty(o, key(b), { get() { return v; }, enumerable: true, configurable: true }); return o; }
    case 28: { const o = {}; Object.defineProperty(o, key(b), { get() { throw value(b); }, enumerable: true, configurable: true }); return o; }
    case 29: return new Proxy(Object(value(b)), {});
    case 30: return new Proxy({}, { get() { throw new Error("get"); }, ownKeys() { return ["a", "a"]; }, getPrototypeOf() { throw 1; } });
    case 31: { const { proxy, revoke } = Proxy.revocable([], {}); revoke(); return proxy; }
    case 32: return b.made.length > 0 ? b.made[b.byte() % b.made.length] : {};
    case 33: return new Date([0, NaN, 8.64e15, -8.64e15, b.byte()][b.byte() % 5]);
    case 34: return Buffer.from(b.text());
    case 35: return [new Uint8Array(b.byte()), new Float64Array(b.byte()), new ArrayBuffer(b.byte()), new DataView(new ArrayBuffer(8)), new BigInt64Array(2)][b.byte() % 5];
    case 36: return [new Map([[value(b), value(b)]]), new Set([value(b)]), new WeakMap(), /x(?=y)/g][b.byte() % 4];
    case 37: return Promise.resolve(value(b));
    case 38: { const p = Promise.reject(value(b)); p.catch(() => {}); return p; }
    case 39: return [new Error(b.text(), { cause: value(b) }), new amp.RemoteAmpError("CODE", b.text()), new AggregateError([value(b)])][b.byte() % 3];
    case 40: return [amp.Integer(), amp.Unicode(), amp.Box, Twin, new amp.QuitBox(Object(value(b))), new AbortController().signal, amp.plugin][b.byte() % 7];
    case 41: { const a = []; a.push(a); return a; }
  }
}

const types = {
  integer: amp.Integer({ optional: true }), bigint: amp.Integer({ bigint: true, optional: true }), float: amp.Float({ optional: true }), boolean: amp.Boolean({ optional: true }),
  text: amp.Unicode({ optional: true }), bytes: amp.String({ optional: true }), decimal: amp.Decimal({ optional: true }), date: amp.DateTime({ optional: true }), path: amp.Path({ optional: true }),
  list: amp.ListOf(amp.ListOf(amp.Unicode()), { optional: true }), rows: amp.AmpList({ a: amp.Integer(), text: amp.Unicode({ optional: true }) }, { optional: true }),
};
const seed = { arguments: { data: amp.String() } };
const Twin = new amp.Command("Twin", { arguments: types, response: types });
new amp.Command("Typed", { ...seed, response: types, errors: { E: Error } }).responder(({ data }) => {
  const b = new Bytes(data);
  if (b.byte() % 8 === 0) throw value(b);
  if (b.byte() % 4 === 0) return value(b);
  const o = {};
  for (const name of Object.keys(types)) o[name] = value(b);
  return o;
});
new amp.Command("Boxed", { ...seed, response: amp.Box }).responder(({ data }) => value(new Bytes(data)));
Twin.responder((args) => args);

// What scripts can reach, but for what ends, or waits for, something.
const functions = [];
const seen = new Set();
const collect = (path, o, depth) => {
  if ((typeof o !== "object" && typeof o !== "function") || o === null || seen.has(o) || depth > 4) return;
  seen.add(o);
  for (const name of Reflect.ownKeys(o)) {
    const d = Object.getOwnPropertyDescriptor(o, name);
    for (const f of [d.value, d.get, d.set]) {
      if (typeof f === "function") functions.push([path + "." + String(name), f, o]);
      collect(path + "." + String(name), f, depth + 1);
    }
  }
};
const harmless = ["freeze", "seal", "preventExtensions", "setPrototypeOf", "defineProperty", "defineProperties", "deleteProperty", "set", "assign", "exit", "__defineGetter__", "__defineSetter__", "set __proto__"];
collect("amp", amp, 0);
for (const name of ["Buffer", "TextEncoder", "TextDecoder", "URL", "URLSearchParams", "crypto", "structuredClone", "console", "atob", "btoa", "setTimeout", "setInterval", "clearTimeout", "queueMicrotask",
  "AbortSignal", "AbortController", "EventTarget", "performance", "JSON", "BigInt", "Uint8Array", "ArrayBuffer", "Iterator", "RegExp", "fetch", "Headers"]) {
  if (globalThis[name] !== undefined) { functions.push([name, globalThis[name], globalThis]); collect(name, globalThis[name], 0); }
}
const able = functions.filter(([path]) => !harmless.includes(path.split(".").pop()));
new amp.Command("Poke", seed).responder(({ data }, peer) => {
  const b = new Bytes(data);
  const [, f, holder] = able[(b.byte() * 256 + b.byte()) % able.length];
  const args = [];
  const call = (self) => {
    for (let n = b.byte() % 5; n > 0; n--) args.push(value(b));
    try {
      const v = b.byte() % 4 === 0 ? Reflect.construct(f, args) : Reflect.apply(f, self, args);
      if (v instanceof Promise) v.catch(() => {});
    } catch {}
  };
  switch (b.byte() % 5) {
    case 0: return call(value(b));
    case 1: return call(Object.create(holder === amp || typeof holder !== "object" ? null : holder));
    case 2: return call(Buffer.from(b.text()));
    case 3: amp.store.update((tx) => { for (const f of [tx.get, tx.put, tx.scan, tx.delete, tx.counter, tx.files.write, tx.files.list, tx.files.create]) {
      try { const v = f.call(b.byte() % 3 === 0 ? value(b) : f === tx.files.write || f === tx.files.list || f === tx.files.create ? tx.files : tx, value(b), value(b)); if (v?.next) v.next(); } catch {}
    } }).catch(() => {}); return;
    default: return call(undefined);
  }
});
new amp.Command("Count", { response: { n: amp.Integer() } }).responder(() => ({ n: able.length }));
export const plugin = { deadline: "500ms", callTimeout: "500ms" };
`

// panickedHere reports whether a log tells of a panic that is this package's and
// not goja's, which has some: those cost the plugin its runtime and that is all.
func panickedHere(log string) bool {
	_, stack, ok := strings.Cut(log, " go=")
	if !ok {
		return false
	}
	at := strings.LastIndex(stack, `\npanic(`)
	for _, frame := range strings.Split(stack[max(at, 0):], `\n`)[1:] {
		if strings.HasPrefix(frame, "github.com/") {
			return !strings.HasPrefix(frame, "github.com/dop251/goja.")
		}
	}
	return true
}

// FuzzBindings throws random JavaScript values at the encoder of responses, and
// random arguments at every function that scripts can reach. Nothing panics,
// and every call is answered.
func FuzzBindings(f *testing.F) {
	for i := range 42 {
		f.Add([]byte{1, 1, byte(i), 3, 1, byte(i), 7, 200, 3})
		f.Add([]byte{byte(i), byte(i * 6), 4, 2, byte(i), byte(41 - i), 1, 2, 3, 4})
	}
	prog, err := BuildSource("fuzzed", fuzzSource)
	if err != nil {
		f.Fatal(err)
	}
	var mu sync.Mutex
	l := &logs{t: f}
	var p *Plugin
	start := func() *Plugin { // once in the process that fuzzes
		mu.Lock()
		defer mu.Unlock()
		if p == nil {
			p, err = Start(context.Background(), prog, &Options{
				Logger: l.logger(slog.LevelInfo), Store: store.NewMem(), LoadTimeout: time.Minute, MaxRestarts: -1, MaxLogLines: -1, MemoryLimit: int64(heapInUse()) + 1<<30,
			})
			if err != nil {
				f.Fatal(err)
			}
		}
		return p
	}
	f.Cleanup(func() {
		if p != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_ = p.Stop(ctx) // timers, and calls, are left
		}
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 60_000 {
			return
		}
		p := start()
		p.health.reset() // no pauses
		for _, command := range []string{"Typed", "Boxed", "Poke"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := amp.Ask(ctx, p, command, amp.Box{"data": data})
			cancel()
			if ctx.Err() == context.DeadlineExceeded {
				t.Errorf("%s: no answer: %v", command, err)
			}
			if s := l.String(); panickedHere(s) {
				t.Errorf("%s: %v: a panic\n%s", command, err, s)
			}
			l.reset()
		}
	})
}
