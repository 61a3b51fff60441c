package scripting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// A hostile is a script that does harm, by a mistake or on purpose: the body of
// a responder, and what its call comes to.
type hostile struct {
	name string
	body string
	want string // a code, perhaps followed by what the log has to say
	slow bool   // it has to be abandoned, or waits for its end
}

const (
	restarted = "RESTARTED"
	tooMany   = "UNKNOWN RangeError"
)

var hostiles = []hostile{
	// Loops.
	{"for", `for (;;) ;`, restarted, false},
	{"while and catch", `for (;;) { try { while (true) ; } catch {} finally { continue; } }`, restarted, false},
	{"do and labels", `outer: do { for (;;) continue outer; } while (true)`, restarted, false},
	{"microtasks", `const again = () => Promise.resolve().then(again); return again();`, restarted, false},
	{"queueMicrotask", `const again = () => queueMicrotask(again); again(); return new Promise(() => {});`, restarted, false},
	{"async loop", `return (async () => { for (;;) await null; })();`, restarted, false},
	{"generator", `function* g() { for (;;) yield 1; } for (const x of g()) ;`, restarted, false},
	{"async generator", `async function* g() { for (;;) yield 1; } return (async () => { for await (const x of g()) ; })();`, restarted, false},
	{"getter", `const o = { get x() { for (;;) ; } }; o.x;`, restarted, false},
	{"proxy trap", `new Proxy({}, { get() { for (;;) ; } }).x;`, restarted, false},
	{"toString", `String({ toString() { for (;;) ; } });`, restarted, false},
	{"sort", `const a = Array.from({ length: 100 }, (_, i) => i); for (;;) a.sort(() => Math.random() - 0.5);`, restarted, false},
	{"replacer", `"a".repeat(100).replace(/a/g, () => { for (;;) ; });`, restarted, false},
	{"reviver", `JSON.parse("[1]", () => { for (;;) ; });`, restarted, false},
	{"toJSON", `JSON.stringify({ toJSON() { for (;;) ; } });`, restarted, false},
	{"regexps", `for (;;) /a+b/.test("aaaaaaa");`, restarted, false},
	{"in a transaction", `return amp.store.update(() => { for (;;) ; });`, restarted, false},
	{"in a timer", `setTimeout(() => { for (;;) ; }, 1); return new Promise(() => {});`, restarted, false},

	// Recursion.
	{"recursion", `const f = () => f() + 1; f();`, restarted, false},
	{"mutual recursion", `const f = (n) => g(n + 1) + 1, g = (n) => f(n + 1) + 1; f(0);`, restarted, false},
	{"recursive getter", `const o = { get x() { return this.x; } }; o.x;`, restarted, false},
	{"recursive proxy", `const p = new Proxy({}, { get(t, k, r) { return r[k]; } }); p.x;`, restarted, false},
	{"recursive toString", `const o = { toString() { return "" + this; } }; "" + o;`, restarted, false},
	{"recursive toJSON", `const o = { toJSON() { return JSON.stringify(o); } }; JSON.stringify(o);`, tooMany, false},
	{"recursive constructor", `class A { a = new A(); } new A();`, restarted, false},
	{"recursion through forEach", `const f = () => [1].forEach(f); f();`, tooMany, false},
	{"recursion through sort", `const f = () => [1, 2].sort(f); f();`, tooMany, false},
	{"recursion through replace", `const f = () => "a".replace("a", f); f();`, tooMany, false},
	{"recursion through apply", `const f = () => f.apply(null, []); f();`, tooMany, false},

	// Regular expressions that backtrack.
	{"regexp", `return { text: String(/(?=a)(a+)+$/.test("a".repeat(40) + "b")) };`, restarted, true},
	{"regexp made", `return { text: String(new RegExp("(?=a)(a+)+$").test("a".repeat(40) + "b")) };`, restarted, true},
	{"regexp replace", `return { text: ("a".repeat(40) + "b").replace(/(?=a)(a+)+$/g, "") };`, restarted, true},
	{"regexp that is long", `new RegExp("(?=".repeat(5e6) + ")".repeat(5e6));`, tooMany, false},
	{"match of what is long", `"x".match("(?=".repeat(5e6) + ")".repeat(5e6));`, tooMany, false},
	{"test of a long text", `/(?=x)x+y/.test("x".repeat(5e6));`, tooMany, false},
	{"search of a long text", `"x".repeat(5e6).search(/y/);`, tooMany, false},
	{"regexp of a long text", `"x".repeat(5e6).replace(/x/g, "y");`, tooMany, false},

	// Built-in functions that can't be interrupted.
	{"join", `new Array(4e9).join();`, tooMany, false},
	{"indexOf", `new Array(4e9).indexOf(1);`, tooMany, false},
	{"includes", `new Array(4e9).includes(1);`, tooMany, false},
	{"forEach of an array-like", `[].forEach.call({ length: 2 ** 53 - 1 }, () => {});`, tooMany, false},
	{"Array.from", `Array.from({ length: 1e9 });`, tooMany, false},
	{"fill", `new Array(1e9).fill(0);`, tooMany, false},
	{"sort without a function", `new Array(4e9).sort();`, tooMany, false},
	{"concat", `[].concat(new Array(4e9));`, tooMany, false},
	{"spread", `[...new Array(4e9)];`, tooMany, false},
	{"spread arguments", `Math.max(...new Array(1e9));`, tooMany, false},
	{"spread keys", `[...Array(4e9).keys()];`, tooMany, false},
	{"apply", `Math.max.apply(null, { length: 1e9 });`, tooMany, false},
	{"Reflect.apply", `Reflect.apply(Math.max, null, { length: 1e9 });`, tooMany, false},
	{"Reflect.construct", `Reflect.construct(Array, { length: 1e9 });`, tooMany, false},
	{"length", `const a = []; a.length = 4e9; a.reverse();`, tooMany, false},
	{"sparse", `const a = []; a[4e9] = 1; a.shift();`, tooMany, false},
	{"flat", `const a = []; a.push(a, a); a.flat(Infinity);`, tooMany, false},
	{"flatMap with a built-in function", `new Array(1e5).fill(new Array(2e6)).flatMap(Object);`, tooMany, false},
	{"a pattern with a rest", `const [a, ...rest] = new Array(4e9);`, restarted, false},
	{"spread values", `Math.max(...new Array(4e9).values());`, restarted, false},
	{"Set of a sparse array", `new Set(new Array(4e9));`, restarted, false},
	{"Array.from an iterator", `try { Array.from(new Array(4e9).values()); } catch {} finally { return { text: "caught" }; }`, restarted, false},
	{"Promise.all of a sparse array", `return Promise.all(new Array(4e9));`, restarted, false},
	{"characters of a long text", `let s = "x".repeat(1e7); s += s + s + s; return { text: "" + [...s].length + Array.from(s).length };`, restarted, false},
	{"items of a long typed array", `new Set(new Float64Array(2 ** 25).map((_, i) => i));`, tooMany, false},
	{"properties of a text", `({ ...("x".repeat(1e7)) });`, tooMany, false},
	{"properties but for some", `const { a, ...rest } = "x".repeat(1e7);`, tooMany, false},
	{"properties but for some, assigned", `let a, rest; ({ a, ...rest } = new Uint8Array(1e7));`, tooMany, false},
	{"indexOf of bytes", `new Uint8Array(2 ** 28).indexOf(1);`, tooMany, false},
	{"every of bytes", `new Uint8Array(2 ** 28).every(isFinite);`, tooMany, false},
	{"set of an array-like", `new Uint8Array(2 ** 28).set({ length: 2 ** 28 });`, tooMany, false},
	{"String.raw", `String.raw({ raw: { length: 1e9 } });`, tooMany, false},
	{"repeat", `"x".repeat(2 ** 30);`, tooMany, false},
	{"padStart", `"x".padStart(2 ** 30);`, tooMany, false},
	{"padEnd", `"x".padEnd(2 ** 30);`, tooMany, false},
	{"replaceAll", `"x".repeat(1e5).replaceAll("x", "y".repeat(1e5));`, tooMany, false},
	{"replace with what is before", `"x".repeat(1e5).replace(/x/g, "$` + "`" + `");`, tooMany, false},
	{"join of long texts", `new Array(1e5).fill("y".repeat(1e5)).join("");`, tooMany, false},
	{"concat of long texts", `const s = "x".repeat(2 ** 22); "".concat(s, s, s, s, s);`, tooMany, false},
	{"normalize", `"\uFDFA".repeat(2 ** 22).normalize("NFKD");`, tooMany, false},
	{"power", `const e = 10000000000n; 2n ** e;`, tooMany, false},
	{"power assigned", `let x = 2n; const e = 10000000000n; x **= e;`, tooMany, false},
	{"shift", `const e = 10000000000n; 1n << e;`, tooMany, false},
	{"shift right by less than nothing", `const e = -10000000000n; 1n >> e;`, tooMany, false},
	{"BigInt of a text", `BigInt("9".repeat(1e6));`, tooMany, false},
	{"asUintN", `BigInt.asUintN(2 ** 40, -1n);`, tooMany, false},
	{"ArrayBuffer", `new ArrayBuffer(1e11);`, tooMany, false},
	{"typed array", `new Float64Array(2 ** 40);`, tooMany, false},
	{"typed array of an array-like", `new Uint8Array({ length: 2 ** 40 });`, tooMany, false},
	{"typed array from", `Uint8Array.from({ length: 2 ** 40 });`, tooMany, false},
	{"typed array join", `new Uint8Array(2 ** 27).join();`, tooMany, false},
	{"Buffer", `Buffer.alloc(2 ** 40);`, tooMany, false},
	{"Buffer.concat", `const b = Buffer.alloc(2 ** 24); Buffer.concat(new Array(40).fill(b));`, tooMany, false},
	{"a file in parts", `const b = Buffer.alloc(2 ** 24); return amp.store.update((tx) => tx.files.write("f", ...new Array(40).fill(b))).then(() => ({ text: "" }));`, tooMany, false},
	{"freeze of a long array", `Object.freeze(new Array(2e6));`, tooMany, false},
	{"keys of bytes", `Object.keys(new Uint8Array(2 ** 24));`, tooMany, false},

	// JSON.
	{"deep JSON read", `JSON.parse("[".repeat(5e6));`, tooMany, false},
	{"deep JSON written", `let a = []; for (let i = 0; i < 5000; i++) a = [a]; JSON.stringify(a);`, tooMany, false},
	{"wide JSON written", `let a = ["x".repeat(2 ** 24 - 9)]; for (let i = 0; i < 9; i++) a = [a, a]; JSON.stringify(a);`, tooMany, false},
	{"indented JSON", `let a = []; for (let i = 0; i < 900; i++) a = [a]; JSON.stringify(Array(1e5).fill(a), null, 10);`, tooMany, false},
	{"deep JSON written with names", `let a = {}; for (let i = 0; i < 5000; i++) a = { a }; JSON.stringify(a, ["a"]);`, tooMany, false},
	{"wide JSON written with names", `let a = {}; for (let i = 0; i < 900; i++) a = { a }; JSON.stringify(Array(1e5).fill(a), ["a"], 10);`, tooMany, false},
	{"sparse JSON written with names", `JSON.stringify(new Array(4e9), ["a"]);`, tooMany, false},
	{"a list of names", `JSON.stringify({}, new Array(4e9));`, tooMany, false},
	{"a list of names by proxy", `JSON.stringify({}, new Proxy(new Array(4e9), {}));`, tooMany, false},
	{"many names", `const names = Array.from({ length: 1e5 }, (_, i) => "n" + i); for (;;) try { JSON.stringify(new Array(1e5).fill({}), names); } catch {}`, restarted, false},
	{"an array by proxy as JSON", `JSON.stringify(new Proxy(new Array(4e9), {}));`, tooMany, false},
	{"text objects as JSON", `JSON.stringify([new String("x".repeat(2 ** 24))]);`, tooMany, false},
	{"raw JSON", `JSON.stringify(new Array(100).fill(JSON.rawJSON('"' + "x".repeat(1e6) + '"')));`, tooMany, false},
	{"deep raw JSON", `JSON.rawJSON("1" + "[".repeat(5e6));`, tooMany, false},
	{"bytes as JSON", `JSON.stringify(new Uint8Array(2 ** 24));`, tooMany, false},

	// Text as code.
	{"eval", `eval("1");`, "UNKNOWN EvalError", false},
	{"indirect eval", `(0, eval)("1");`, "UNKNOWN EvalError", false},
	{"Function", `new Function("return 1");`, "UNKNOWN EvalError", false},
	{"a function's constructor", `[].concat.constructor("return 1");`, "UNKNOWN EvalError", false},
	{"an async function's constructor", `(async () => {}).constructor("return 1");`, "UNKNOWN EvalError", false},
	{"a generator's constructor", `Object.getPrototypeOf(function* () {}).constructor("return 1");`, "UNKNOWN EvalError", false},
	{"a timer of text", `setTimeout("1", 1);`, "UNKNOWN TypeError", false},

	// Memory, of which the tests allow 512 MiB.
	{"large buffers", `const a = []; for (;;) a.push(new Uint8Array(2 ** 26));`, tooMany, false},
	{"many objects", `const a = []; for (;;) a.push({ i: [a.length] });`, restarted, false},
	{"a growing text", `let s = "x"; for (;;) s += s;`, restarted, true},

	// Promises and errors.
	{"a promise that never settles", `return new Promise(() => {});`, "TIMEOUT not answered in time", true},
	{"a throw in a timer", `setTimeout(() => { throw new Error("thrown in a timer"); }, 1); return { text: "" };`, "<nil> thrown in a timer", false},
	{"a rejection that nobody handles", `Promise.reject(new Error("nobody handles it")); return { text: "" };`, "<nil> nobody handles it", false},
	{"an error that can't be shown", `throw { get message() { throw 1; }, toString() { throw 2; }, get stack() { throw 3; } };`, "UNKNOWN responder failed", false},
	{"a thrown proxy", `throw new Proxy({}, { get() { throw new Error("trap"); }, getPrototypeOf() { throw 1; } });`, "UNKNOWN responder failed", false},
	{"a panic in Go", `boom();`, "RESTARTED panic: in Go", false},

	// Answers.
	{"a proxy", `return new Proxy({ text: "x" }, {});`, "<nil>", false},
	{"a proxy that throws", `return new Proxy({}, { get() { throw new Error("trap"); } });`, "UNKNOWN trap", false},
	{"a revoked proxy", `const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy;`, "UNKNOWN responder failed", false},
	{"a getter that throws", `return { get text() { throw new Error("in a getter"); } };`, "UNKNOWN in a getter", false},
	{"a getter that loops", `return { get text() { for (;;) ; } };`, restarted, false},
	{"a cycle", `const o = {}; o.text = o; return o;`, "UNKNOWN text", false},
	{"a cycle in a list", `const a = []; a.push(a); return { text: "", list: a };`, "UNKNOWN list", false},
	{"minus zero", `return { text: "", n: -0 };`, "<nil>", false},
	{"NaN", `return { text: "", n: NaN };`, "UNKNOWN", false},
	{"a lone surrogate", `return { text: "\ud800" };`, "UNKNOWN surrogate", false},
	{"more than 64 KiB", `return { text: "x".repeat(65536) };`, "UNKNOWN 65535", false},
	{"a list of more than 64 KiB", `return { text: "", list: new Array(70000).fill(1) };`, "UNKNOWN 65535", false},
	{"a then that loops", `return { get then() { for (;;) ; } };`, restarted, false},

	// Floods.
	{"timers", `for (;;) setTimeout(() => {}, 1e6);`, "UNKNOWN timers", false},
	{"intervals", `for (let i = 0; i < 1000; i++) setInterval(() => {}, 1); return { text: "" };`, "<nil>", false},
}

// hostileSource is a plugin with a script's body as a responder.
func hostileSource(body, deadline string) string {
	return `import * as amp from "amphost";
import { boom } from "boom";
new amp.Command("Harm", { response: { text: amp.Unicode(), n: amp.Integer({ optional: true }), list: amp.ListOf(amp.Integer(), { optional: true }) } }).responder(() => { ` + body + `
  return { text: "survived" };
});
new amp.Command("Fine", { response: { text: amp.Unicode() } }).responder(() => ({ text: "fine" }));
export const plugin = { deadline: "` + deadline + `", callTimeout: "1s" };
void boom;
`
}

const goodSource = `import * as amp from "amphost";
new amp.Command("Good", { arguments: { n: amp.Integer() }, response: { n: amp.Integer(), held: amp.Integer() } }).responder(async ({ n }) => {
  await null;
  return { n: n + 1, held: amp.store.view((tx) => tx.get("k") ?? 0) };
});
`

// besideGood runs f while four callers call a well-behaved plugin of the same
// directory without a pause over a connection. All their calls have to succeed.
func besideGood(t *testing.T, h hostile, opts Options, f func(d *Dir, l *logs)) {
	t.Helper()
	besideGoodEach(t, h, opts, 4, func(time.Duration) {}, f)
}

// besideGoodEach is besideGood with so many callers. told is called with what
// each call took.
func besideGoodEach(t *testing.T, h hostile, opts Options, callers int, told func(time.Duration), f func(d *Dir, l *logs)) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "good.js", goodSource)
	if h.body != "" {
		deadline := "9s" // what throws does so before, on any machine
		if h.want == restarted {
			deadline = "150ms"
		}
		write(t, dir, "harm.js", hostileSource(h.body, deadline))
	}
	opts.Modules = []Module{{Name: "boom", Exports: map[string]any{"boom": func([]any) (any, error) { panic("in Go") }}}}
	l := &logs{t: t}
	opts.Logger, opts.TurnTimeout = l.logger(slog.LevelInfo), maxTurn
	d, err := OpenDir(t.Context(), dir, &opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	if n := len(d.Status()); h.body != "" && (n != 2 || d.Plugin("harm") == nil) {
		t.Fatalf("it does not load\n%s", l)
	}
	c, s := amp.Pipe(nil, d)
	defer s.Close()
	defer c.Close()
	d.Connected(s)
	var over atomic.Bool
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for n := 0; n < 5 || !over.Load(); n++ {
				start := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				b, err := c.Call(ctx, "Good", amp.Box{"n": fmt.Append(nil, n)})
				cancel()
				if err != nil || string(b["n"]) != fmt.Sprint(n+1) {
					t.Errorf("a call of the well-behaved plugin: %v, %v", b, err)
					return
				}
				told(time.Since(start))
			}
		})
	}
	f(d, l)
	over.Store(true)
	wg.Wait()
}

// No script harms anyone else: its call fails with what fits, its own plugin
// answers the next one, and the calls of another plugin all succeed meanwhile.
func TestHostileScripts(t *testing.T) {
	t.Parallel()
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			if h.slow {
				t.Parallel()
			}
			besideGood(t, h, Options{MemoryLimit: testMemory()}, func(d *Dir, l *logs) { harm(t, h, d, l) })
		})
	}
}

// testMemory is what a test may use of memory, besides what is used already.
func testMemory() int64 { return int64(heapInUse()) + 512<<20 }

// harm calls a hostile script.
func harm(t *testing.T, h hostile, d *Dir, l *logs) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := amp.Ask(ctx, d, "Harm", nil)
	want, log, _ := strings.Cut(h.want, " ")
	if got := codeOf(err); got != want {
		t.Errorf("it came to %v, want %s\n%s", err, want, l)
	}
	if log != "" {
		eventually(t, fmt.Sprintf("%s is in the log:\n%s", log, l), func() bool { return strings.Contains(l.String(), log) })
	}
	for { // until it has been let go of its memory
		b, err := amp.Ask(ctx, d, "Fine", nil)
		if codeOf(err) == "OVERLOADED" || codeOf(err) == "RESTARTED" {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil || string(b["text"]) != "fine" {
			t.Errorf("its next call: %v\n%s", err, l)
		}
		return
	}
}

// An answer that comes when nobody is there any more is dropped.
func TestAnswerAfterDisconnection(t *testing.T) {
	t.Parallel()
	besideGood(t, hostile{body: `console.log("called"); return new Promise((ok) => setTimeout(() => { ok({ text: "late" }); console.log("answered late"); }, 50));`}, Options{}, func(d *Dir, l *logs) {
		c, s := amp.Pipe(nil, d)
		d.Connected(s)
		c.Go("Harm", nil, func(amp.Box, error) {})
		l.wait("msg=called")
		c.Close()
		<-s.Done()
		d.Disconnected(s, io.EOF)
		l.wait(`msg="answered late"`)
		if _, err := ask(t, d, "Fine", nil); err != nil {
			t.Error(err)
		}
		eventually(t, "no call is left", func() bool { return d.Plugin("harm").Running() == 0 })
	})
}

// A plugin that keeps dying is quarantined, and runs again once its file has
// changed.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	besideGood(t, hostile{body: `const f = () => f() + 1; f();`, want: restarted}, Options{MaxRestarts: 4}, func(d *Dir, l *logs) {
		eventually(t, "it is quarantined", func() bool {
			_, err := ask(t, d, "Harm", nil)
			if codeOf(err) != restarted {
				t.Errorf("a call: %v", err)
			}
			s := d.Status()[1]
			return s.Quarantined
		})
		l.wait("plugin quarantined")
		if s := d.Status()[1]; s.Restarts != 5 || s.Abandoned != 0 {
			t.Errorf("status: %d restarts, %d abandoned", s.Restarts, s.Abandoned)
		}
		_, err := ask(t, d, "Fine", nil)
		if e, ok := errors.AsType[*amp.Error](err); !ok || e.Code != restarted || !strings.Contains(e.Description, "once its file has changed") {
			t.Errorf("a call of a plugin that is quarantined: %v", err)
		}
		if err := d.Reload(t.Context(), "harm"); err != nil {
			t.Error(err)
		}
		if _, err := ask(t, d, "Fine", nil); codeOf(err) != restarted {
			t.Errorf("after a reload without a change: %v", err)
		}
		write(t, d.path, "harm.js", hostileSource(`return { text: "mended" };`, "5s"))
		if err := d.Reload(t.Context(), "harm"); err != nil {
			t.Error(err)
		}
		if b, err := ask(t, d, "Harm", nil); err != nil || string(b["text"]) != "mended" {
			t.Errorf("once it is mended: %v, %v", b, err)
		}
		if s := d.Status()[1]; s.Quarantined || s.Restarts != 0 {
			t.Errorf("status: %+v", s)
		}
	})
}
