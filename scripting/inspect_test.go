package scripting

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/amphost/amphost/amp"
)

// inspected are arguments of console.log.
var inspected = []string{
	`1, -0, 1.5, NaN, 10n, true, null, undefined, Symbol("s")`,
	`"text", ["text", 'it\'s', "a\nb", "\x00\u001b\u{1f600}", 'both \' and "']`,
	`{}`, `[]`, `[[]]`, `[,1,,2]`, `[undefined, null]`, `{ a: undefined }`,
	`{ a: 1, "odd key": 2, 3: 3, [Symbol("k")]: 4, ["__proto__"]: 5 }`,
	`{ a: { b: { c: { d: 1 } } } }`, `[[[[1]]]]`, `{ a: [[{}]], b: { c: {} } }`,
	`new Map([["k", { v: 1 }], [{ o: 1 }, new Set([1, "x"])]])`, `new Map()`, `new Set()`, `new Set([[1, 2]])`,
	`new Date(0)`, `new Date(NaN)`, `/a+/gi`,
	`new Uint8Array([1, 2])`, `new Float64Array(2)`, `new ArrayBuffer(3)`, `Buffer.from("hi")`, `[Buffer.alloc(60)]`,
	`class A {}`, `class extends Map {}`, `class B extends Array {}`, `function f() {}`, `() => {}`, `async function g() {}`, `function* h() {}`, `Math.max`,
	`new (class Point { x = 1; #y = 2; get z() { return 3; } })()`, `new (class extends Map {})()`, `Object.create(null)`, `Object.create({ a: 1 })`, `Object.assign(Object.create(null), { a: 1 })`,
	`{ get a() { return 1; }, set a(v) {}, get b() { return 2; }, set c(v) {} }`, `{ f() {}, g: class {} }`, `Object.assign(() => {}, { a: 1 })`,
	`new Array(200).fill(7)`, `Array.from({ length: 101 }, (_, i) => "item" + i)`, `"x".repeat(200), ["x".repeat(200)]`,
	`Array.from({ length: 30 }, (_, i) => i * 37)`, `Array.from({ length: 7 }, (_, i) => ({ i, name: "name" + i }))`,
	`{ list: [1, 2, 3], map: new Map([["a", [1]]]), deep: { x: { y: { z: 1 } } }, text: "a long text that makes the line long", more: "and more of it" }`,
	`(() => { const o = { a: 1 }; o.self = o; o.list = [o]; return o; })()`,
	`new WeakMap()`, `new WeakSet()`, `Promise.resolve(5)`, `new Promise(() => {})`, `Object(5)`, `Object("s")`, `Object(Symbol("x"))`, `new Boolean(false)`,
	`[new Date(0), /x/, null]`, `{ d: new Date(1e12) }`, `Symbol.iterator`, `[Symbol("a b")]`, `JSON`, `Math`,
	`"%s is %d years and %i days, %f %j %o %O %c %%", "Bob", 42.5, 42.9, "1.5", { a: 1 }, { a: 2 }, { b: { c: {} } }, "css", "rest", { x: 1 }`,
	`"%s", { a: { b: 1 } }, "%d", 5`, `"%s %s", "one"`, `"100%", 5`, `"%d", 10n, "%i"`, `"%s", null, undefined, Symbol("q")`, `"%s", 5n, -0`, `"%x", 1`,
	`[["a", 1], ["b", 2]]`, `{ "a-b": 1, b1: 2, $: 3, _: 4, "1a": 5 }`, `["a".repeat(80), "b".repeat(80)]`, `{ a: "x\ny".repeat(20) }`,
	`[1.5, -0, 0, 1e21, 1e-7]`, `[true, false]`, `[10n, -5n]`, `{ a: 1n }`,
	`{ a: new Error("told in a line").message }`, `[[1, [2, [3, [4, [5]]]]]]`, `{ a: { b: {} } }`, `{ a: { b: [] } }`, `{ a: { b: [1] } }`,
	`{ a: { list: Array.from({ length: 40 }, (_, i) => "w".repeat(i % 9)) } }`, `{ nums: Array.from({ length: 26 }, (_, i) => i * i * 1.5) }`, `Object.assign([1, 2], { extra: true })`, `[[..."abcdefgh"], [..."ijklmnop"]]`,
	`new Map(Array.from({ length: 8 }, (_, i) => ["key" + i, { i }]))`, `new Set(Array.from({ length: 30 }, (_, i) => i))`, `new Uint8Array(150)`, `{ text: "one\ntwo\nthree and a half", n: ["a\nb"] }`,
	`[{ a: 1, b: { c: [] } }, { a: 2, b: { c: [1] } }]`, `{ id: 5, user: { name: "Ada", tags: ["x", "y"], address: { street: "A street that is long enough", city: "Zurich" } } }`, `[null, undefined, , "x"]`, `Array(3)`, `{ und: [undefined] }`,
	`[1n, 22n, 333n, 4444n, 5n, 6n, 7n]`, `["a", 1, "b", 2, "c", 3, "d"]`, `{ a: [[[[1]]]], b: new Map([[{ deep: { er: { x: 1 } } }, 1]]) }`, `"a", { b: "c" }, ["d"], "e\nf"`, `{ "": 1, "a b": 2, "é": 3 }`,
	`new DataView(new ArrayBuffer(2))`, `Object.freeze({ a: 1 })`, `new Proxy({ a: 1 }, {})`, `new Proxy(() => {}, {})`,
}

// console.log shows values as Node's does.
func TestInspectIsNodes(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED, NOT PASSED: apt-get install nodejs")
	}
	list, err := json.Marshal(inspected)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), node, "-e", `const util = require("util");
console.log(JSON.stringify(`+string(list)+`.map((source) => util.format(...eval("[" + source + "]")))));`).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	source := `import * as amp from "amphost"; import util from "util";
const all = [`
	for _, s := range inspected {
		source += "\n() => util.format(" + s + "),"
	}
	p, _ := run(t, "inspect", source+`];
new amp.Command("All", { response: { out: amp.ListOf(amp.Unicode()) } }).responder(() => ({ out: all.map((f) => f()) }));`, nil)
	b, err := ask(t, p, "All", nil)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for got := range amp.Elements(b["out"]) {
		if string(got) != want[i] {
			t.Errorf("console.log(%s):\n%s\nNode:\n%s", inspected[i], got, want[i])
		}
		i++
	}
	if i != len(inspected) {
		t.Errorf("%d of %d", i, len(inspected))
	}
}
