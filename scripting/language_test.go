package scripting

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/language.md")

// languagePage is what TestLanguage finds, for plugin authors.
const languagePage = "../docs/language.md"

// features are tried one by one. The script is the body of an async function
// whose result must be true; a result of "no: …" is known not to work, and how.
var features = []struct {
	group string
	list  []struct{ name, script string }
}{
	{"Syntax", []struct{ name, script string }{
		{"`let`, `const`, destructuring, spread, default and rest parameters", `const { a, ...rest } = { a: 1, b: 2, c: 3 }; const f = (x = 4, ...y) => x + y.length; return a === 1 && rest.c === 3 && f(undefined, 1, 2) === 6 && [...[1, 2], 3].length === 3`},
		{"optional chaining, `??`, `??=`, `||=`, `&&=`, `**`", `let o = {}; o.x ??= 5; return o?.y?.z === undefined && (null ?? 1) === 1 && o.x === 5 && 2 ** 3 === 8`},
		{"template literals, tagged and raw", "return `a${1}` === 'a1' && String.raw`\\n${1}é` === '\\\\n1é'"},
		{"classes: fields, `#private`, `static`, static blocks, accessors, `#x in o`", `class A { #x = 1; static n = 0; static { A.n = 7; } get x() { return this.#x; } static has(o) { return #x in o; } } return new A().x === 1 && A.n === 7 && A.has(new A()) && !A.has({})`},
		{"decorators", `const log = []; function d(v, c) { log.push(c.kind + " " + c.name); return v; } class A { @d m() {} @d accessor x = 1; } return log.join() === "method m,accessor x" && new A().x === 1`},
		{"generators", `function* g() { const x = yield 1; yield x * 2; } const i = g(); i.next(); return i.next(21).value === 42`},
		{"`async`/`await`, async generators, `for await`", `async function* g() { yield 1; await null; yield 2; } let s = 0; for await (const x of g()) s += x; return s === 3`},
		{"`using` and `await using`", `let s = ""; { using a = { [Symbol.dispose]() { s += "a"; } }; await using b = { async [Symbol.asyncDispose]() { s += "b"; } }; } return s === "ba"`},
		{"labels, getters, computed keys, numeric separators, `BigInt` literals", `outer: for (;;) { for (;;) break outer; } return { get ["x" + 1]() { return 1_000n; } }.x1 === 1000n`},
		{"ES modules are strict code, unless CommonJS is bundled with them", `let e; try { Object.freeze([1]).push(2); } catch (x) { e = x; } return e instanceof TypeError && (function () { return this; })() === undefined`},
		{"`import.meta`", `return Object.keys(import.meta).length > 0 ? true : "no: it is empty, with a warning from the build"`},
		{"dynamic `import()` of what is bundled", `const m = await import("amphost"); return m.Command !== undefined`},
		{"exceptions: `cause`, `finally`, optional catch binding", `let n = 0; try { try { throw new Error("a", { cause: 5 }); } finally { n++; } } catch { n++; } return n === 2 && new Error("a", { cause: 5 }).cause === 5`},
	}},
	{"Values", []struct{ name, script string }{
		{"`Map`, `Set` with their ES2025 methods, `WeakMap`, `WeakSet`", `return new Set([1, 2]).union(new Set([3])).size === 3 && new Set([1, 2]).isSubsetOf(new Set([1, 2, 3])) && new Map([[1, 2]]).get(1) === 2 && new WeakMap([[{}, 1]]) instanceof WeakMap`},
		{"`Map.groupBy`, `Object.groupBy`, `Object.fromEntries`, `Object.hasOwn`", `return Object.groupBy([1, 2, 3], (x) => x % 2 ? "odd" : "even").odd.length === 2 && Map.groupBy([1, 2], (x) => x).size === 2 && Object.hasOwn({ a: 1 }, "a")`},
		{"arrays: `at`, `flat`, `findLast`, `toSorted`, `toSpliced`, `with`, `Array.fromAsync`", `return [1, 2].at(-1) === 2 && [3, 1].toSorted()[0] === 1 && [1, 2].with(0, 5)[0] === 5 && (await Array.fromAsync([Promise.resolve(1)]))[0] === 1 && [1, 2].findLast((x) => x < 2) === 1`},
		{"iterator helpers", `function* g() { yield* [1, 2, 3, 4]; } return g().filter((x) => x % 2 === 0).map((x) => x * 10).toArray().join() === "20,40" && [1, 2].values().take(1).toArray().length === 1 && Iterator.from([1]).some((x) => x === 1)`},
		{"typed arrays, `DataView`, `ArrayBuffer`; base64 and hex of `Uint8Array`", `return new Uint8Array([1, 255]).toHex() === "01ff" && Uint8Array.fromBase64("AQI=")[1] === 2 && new DataView(new ArrayBuffer(8)).getFloat64(0) === 0 && new Uint8Array(2) instanceof Uint8Array && Uint8Array.from([1]).length === 1`},
		{"`BigInt`, `BigInt64Array`", `return 2n ** 70n === 1180591620717411303424n && new BigInt64Array(1)[0] === 0n`},
		{"`Symbol`s, `Proxy`, `Reflect`", `return new Proxy({}, { get: (_, k) => k }).hello === "hello" && Reflect.ownKeys({ a: 1 })[0] === "a"`},
		{"`Promise`: `all`, `allSettled`, `any`, `race`, `withResolvers`, `try`", `const { promise, resolve } = Promise.withResolvers(); resolve(4); return (await promise) === 4 && (await Promise.try(() => 5)) === 5 && (await Promise.any([Promise.reject(1), 2])) === 2`},
		{"strings: `at`, `matchAll`, `replaceAll`, `normalize`, `isWellFormed`", `return "aXbX".replaceAll("X", "-") === "a-b-" && "\ud800".isWellFormed() === false && "\ud800".toWellFormed() === "\ufffd" && "e\u0301".normalize() === "é"`},
		{"`JSON.rawJSON`, `Error.isError`, `RegExp.escape`, `Math.sumPrecise`", `return JSON.stringify(JSON.rawJSON("1.0")) === "1.0" && Error.isError(new Error()) && new RegExp(RegExp.escape("a.b")).test("a.b") && Math.sumPrecise([0.1, 0.2, 0.3, -0.3, -0.2, -0.1]) === 0`},
		{"`structuredClone`", `const a = { m: new Map([[1, new Set([2])]]), d: new Date(5), b: Buffer.from("x") }; a.self = a; const b = structuredClone(a); return b.self === b && b.m.get(1).has(2) && b.d.getTime() === 5 && b.b.toString() === "x"`},
		{"`WeakRef` and `FinalizationRegistry`: a reference is kept, nothing is called", `return new WeakRef({ a: 1 }).deref().a === 1 && new FinalizationRegistry(() => {}) instanceof FinalizationRegistry`},
	}},
	{"Regular expressions", []struct{ name, script string }{
		{"named groups, lookbehind, flags `s` `y` `u`", `return "2020-01".match(/(?<y>\d+)-(?<m>\d+)/).groups.m === "01" && /(?<=a)b/.test("ab") && /a.b/s.test("a\nb")`},
		{"`\\p{…}`: categories, scripts, common properties", `return /^\p{L}+$/u.test("é") && !/\p{L}/u.test("p{L}".replace(/[a-z]/gi, "")) && /^[\p{Lu}\d]+$/u.test("É1") && /^\P{L}$/u.test("1") && /\p{Script=Greek}/u.test("α")`},
		{"flag `v` without set operations", `return /^\p{L}$/v.test("ä")`},
		{"two groups of one name", `return "a".match(/(?<y>a)|(?<y>b)/).groups.y === "a" ? true : "no: only the last one counts; a literal gets a warning from the build"`},
		{"modifiers, as in `(?i:a)`", `try { return new RegExp("(?i:a)b").test("Ab"); } catch (e) { return "no: a SyntaxError; of a literal, an error of the build"; }`},
		{"flag `d` (match indices)", `try { return /a/d.exec("a").indices[0][0] === 0; } catch (e) { return "no: a SyntaxError"; }`},
		{"`\\p{Emoji}` and its like", `try { return new RegExp("\\p{Emoji}", "u").test("😀"); } catch (e) { return "no: a SyntaxError; a literal gets a warning from the build"; }`},
	}},
	{"Around", []struct{ name, script string }{
		{"`setTimeout`, `setInterval`, `setImmediate`, `queueMicrotask`", `let n = 0; queueMicrotask(() => n++); await new Promise((ok) => setImmediate(ok)); const t = setInterval(() => n++, 1); await new Promise((ok, no, x) => setTimeout(ok, 20)); clearInterval(t); return n > 2`},
		{"`Buffer`", `return Buffer.from("hé").toString("hex") === "68c3a9" && Buffer.concat([Buffer.from("a"), new Uint8Array([98])]).equals(Buffer.from("ab")) && Buffer.from("aGk=", "base64").toString() === "hi" && Buffer.alloc(3, "ab").toString() === "aba" && Buffer.from("abc").indexOf("c") === 2 && Buffer.from([1, 2]).readUInt16BE(0) === 258 && Buffer.compare(Buffer.from("a"), Buffer.from("b")) === -1 && Buffer.from("ff", "latin1").slice(1).length === 1`},
		{"`TextEncoder`, `TextDecoder` (UTF-8, UTF-16LE, Latin-1; streaming)", `const d = new TextDecoder(); return new TextEncoder().encode("é").length === 2 && d.decode(new Uint8Array([0xc3]), { stream: true }) + d.decode(new Uint8Array([0xa9])) === "é"`},
		{"`URL`, `URLSearchParams`", `if (typeof URL === "undefined") return "no: not yet"; const u = new URL("../c?x=1#h", "http://ä.example:80/a/b"); u.searchParams.append("y", "a b"); return u.href === "http://xn--4ca.example/c?x=1&y=a+b#h" && new URLSearchParams({ a: "1" }).get("a") === "1" && !URL.canParse("nope")`},
		{"`AbortController`, `AbortSignal.timeout`, `Event`, `EventTarget`", `const s = AbortSignal.timeout(2); await new Promise((ok) => s.addEventListener("abort", ok)); return s.aborted && s.reason.name === "TimeoutError"`},
		{"`crypto.randomUUID`, `getRandomValues`, `timingSafeEqual`, `subtle.digest`", `const h = Buffer.from(await crypto.subtle.digest("SHA-256", new TextEncoder().encode("abc"))).toString("hex"); return h.startsWith("ba7816bf") && /^[0-9a-f-]{36}$/.test(crypto.randomUUID()) && crypto.timingSafeEqual(Buffer.from("a"), Buffer.from("a")) && crypto.getRandomValues(new Uint8Array(4)).length === 4`},
		{"`atob`, `btoa`, `performance.now`, `console`", `return atob(btoa("\xff")) === "\xff" && performance.now() > 0 && typeof console.table === "function"`},
		{"`Date`", `return new Date(Date.UTC(2020, 1, 29)).toISOString() === "2020-02-29T00:00:00.000Z"`},
		{"`Intl`, and locales in `toLocaleString`", `return typeof Intl === "undefined" && (1234.5).toLocaleString("de") === "1234.5" && (5n).toLocaleString("de") === "5" && ["b", "ä", "a"].sort((a, b) => a.localeCompare(b)).join("") === "aäb" ? "no: dates and numbers are not localised" : true`},
		{"`eval` and `new Function`", `try { return (0, eval)("1") === 1; } catch (e) { return "no: an EvalError"; }`},
		{"`ArrayBuffer` that is resizable, `transfer`", `return new ArrayBuffer(1, { maxByteLength: 2 }).resizable === undefined && !ArrayBuffer.prototype.transfer ? "no" : true`},
		{"`Float16Array`", `return typeof Float16Array === "undefined" ? "no" : true`},
		{"`Error.captureStackTrace`", `const o = {}; Error.captureStackTrace(o); return typeof o.stack === "string"`},
		{"`SharedArrayBuffer`, `Atomics`", `return typeof SharedArrayBuffer === "undefined" ? "no: a runtime has one thread" : true`},
		{"`Temporal`", `return typeof Temporal === "undefined" ? "no" : true`},
		{"`fetch`, `Request`, `Response`, `Headers`: whole bodies, no streams", `const r = Response.json({ a: new Headers({ B: "c" }).get("b") }, { status: 201 }); const e = await fetch("http://127.0.0.1:1").catch((e) => e); return r.status === 201 && (await r.json()).a === "c" && e instanceof TypeError && /no permission/.test(e.message) && new Request("http://x", { method: "post", body: "y" }).method === "POST"`},
	}},
}

// TestLanguage tries what the page promises, and that the page says what was
// found: go test ./scripting -run TestLanguage -update writes it.
func TestLanguage(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# What plugins are written in

JavaScript and TypeScript, bundled by esbuild (types are removed, not checked) and run by goja, a JavaScript
engine in Go. A test tries each line of this page and writes it: nothing here is a guess.

Files may be ES modules or CommonJS, and import JSON, text (` + "`.txt .md .html .sql .pem`" + `) and npm packages from
` + "`node_modules`" + `. ` + "`await`" + ` at the top level is not supported: use ` + "`amp.onLoad`" + `. Of Node's modules only
` + "`buffer`, `crypto`, `events`, `timers`, `url`, `util` and `perf_hooks`" + ` exist, in part.

Good to know: ` + "`s += x`" + ` copies the whole string each time, so collect pieces in an array and join them; calls may nest
2,000 deep, beyond that the runtime is replaced.
`)
	for _, g := range features {
		fmt.Fprintf(&b, "\n## %s\n\n| what | works |\n|---|---|\n", g.group)
		for _, f := range g.list {
			fmt.Fprintf(&b, "| %s | %s |\n", f.name, try(t, f.name, f.script))
		}
	}
	got := b.String()
	if *update {
		if err := os.MkdirAll("../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(languagePage, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(languagePage)
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != got {
		t.Errorf("%s does not say what works: run go test ./scripting -run TestLanguage -update", languagePage)
	}
}

// try runs a script and returns what the page says of it.
func try(t *testing.T, name, script string) string {
	t.Helper()
	prog, err := BuildSource("try", `import * as amp from "amphost";
new amp.Command("Try", { response: { out: amp.Unicode() } }).responder(async () => ({ out: String(await (async () => { `+script+` })()) }));`)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return "no"
	}
	l := &logs{t: t}
	p, err := Start(t.Context(), prog, &Options{Logger: l.logger(0), TurnTimeout: time.Minute})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return "no"
	}
	defer func() { _ = p.Stop(t.Context()) }()
	out, err := ask(t, p, "Try", nil)
	switch s := string(out["out"]); {
	case err == nil && s == "true":
		return "yes"
	case err == nil && (s == "no" || strings.HasPrefix(s, "no: ")):
		return s
	default:
		t.Errorf("%s: %q, %v\n%s", name, s, err, l)
		return "no"
	}
}
