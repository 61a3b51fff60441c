package scripting

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// One command for each type, whose responder describes what it got and sends
// it back as it is.
const echoSource = `import * as amp from "amphost";
const show = (v) => v instanceof amp.DateTimeValue ? v.toISOString() + "+" + v.microsecond + "@" + v.offset : console.inspect(v, { depth: 9, breakLength: Infinity, compact: 9 });
const types = {
  Integer: amp.Integer(), Big: amp.Integer({ bigint: true }), Float: amp.Float(), Boolean: amp.Boolean(), Unicode: amp.Unicode(), String: amp.String(),
  Decimal: amp.Decimal(), DateTime: amp.DateTime(), Path: amp.Path(),
  Integers: amp.ListOf(amp.Integer()), Nested: amp.ListOf(amp.ListOf(amp.Unicode())), Boxes: amp.AmpList({ x: amp.Integer(), y: amp.Unicode({ optional: true }) }),
  Optional: amp.Integer({ optional: true }), OptionalText: amp.Unicode({ optional: true }), OptionalList: amp.ListOf(amp.Integer(), { optional: true }),
};
for (const [name, type] of Object.entries(types)) {
  new amp.Command("Echo" + name, { arguments: { v: type }, response: { v: type, shown: amp.Unicode() } }).responder((args) => ({ v: args.v, shown: Object.hasOwn(args, "v") ? show(args.v) : "absent" }));
}
// Send gives a value of the script's, by number.
const sends = [
  ["Integer", () => 1.5], ["Integer", () => 2 ** 53], ["Integer", () => 2n ** 70n], ["Integer", () => "1"], ["Integer", () => NaN], ["Integer", () => -0],
  ["Float", () => 1], ["Float", () => NaN], ["Float", () => -Infinity], ["Float", () => 1e22], ["Float", () => 10n],
  ["Boolean", () => 1], ["Boolean", () => false], ["Unicode", () => "\ud800"], ["Unicode", () => "😀"], ["Unicode", () => 5],
  ["String", () => "é"], ["String", () => new Uint8Array([0, 255])], ["String", () => new Uint8Array([1, 2, 3, 4]).buffer], ["String", () => [1]], ["String", () => new Uint8Array([9, 8, 7]).subarray(1)],
  ["Decimal", () => "1.10"], ["Decimal", () => "1e2"], ["Decimal", () => "x"], ["Decimal", () => 1],
  ["DateTime", () => new Date(Date.UTC(2012, 0, 23, 12, 34, 56, 54))], ["DateTime", () => new amp.DateTimeValue(Date.UTC(2012, 0, 23, 12, 34, 56, 54), { microsecond: 321, offset: -150 })],
  ["DateTime", () => new Date(NaN)], ["DateTime", () => "2012-01-01"],
  ["Path", () => "/a/b"], ["Path", () => "a/b"],
  ["Integers", () => [1, 2n, 3]], ["Integers", () => []], ["Integers", () => [1, , 3]], ["Integers", () => [1, "x"]], ["Integers", () => ({})],
  ["Boxes", () => [{ x: 1 }, { x: 2, y: "z", w: 3 }]], ["Boxes", () => [{ y: "q" }]], ["Boxes", () => [null]],
  ["Unicode", () => "x".repeat(70000)], ["Optional", () => null], ["Optional", () => undefined], ["Unicode", () => undefined],
];
for (const [i, [type, make]] of sends.entries()) {
  new amp.Command("Send" + i, { response: { v: types[type] } }).responder(() => ({ v: make() }));
}
`

func TestDecode(t *testing.T) {
	p, _ := run(t, "echo", echoSource, nil)
	for _, c := range []struct{ command, in, shown, out string }{
		{"Integer", "13", "13", "13"},
		{"Integer", "-0", "0", "0"},
		{"Integer", " +007 ", "7", "7"},
		{"Integer", "9007199254740991", "9007199254740991", "9007199254740991"},
		{"Integer", "9007199254740992", "BAD_ARGUMENTS", "2^53-1"},
		{"Integer", "99999999999999999999999", "BAD_ARGUMENTS", "2^53-1"},
		{"Integer", "1.0", "BAD_ARGUMENTS", `"v"`},
		{"Big", "99999999999999999999999", "99999999999999999999999n", "99999999999999999999999"},
		{"Big", "5", "5n", "5"},
		{"Float", "1.5", "1.5", "1.5"},
		{"Float", "-0.0", "-0", "-0.0"},
		{"Float", "inf", "Infinity", "inf"},
		{"Float", "nan", "NaN", "nan"},
		{"Float", "1,5", "BAD_ARGUMENTS", ""},
		{"Boolean", "True", "true", "True"},
		{"Boolean", "true", "BAD_ARGUMENTS", ""},
		{"Unicode", "häß😀\x00", `'häß😀\x00'`, "häß😀\x00"},
		{"Unicode", "", "''", ""},
		{"Unicode", "\xff", "BAD_ARGUMENTS", ""},
		{"String", "\x00\xff\n", "<Buffer 00 ff 0a>", "\x00\xff\n"},
		{"String", "", "<Buffer>", ""},
		{"Decimal", "1.10", "'1.10'", "1.10"},
		{"Decimal", "1e+2", "'1E+2'", "1E+2"},
		{"Decimal", "nan", "'NaN'", "NaN"},
		{"Decimal", "-0", "'-0'", "-0"},
		{"DateTime", "2012-01-23T12:34:56.054321-01:23", "2012-01-23T13:57:56.054Z+321@-83", "2012-01-23T12:34:56.054321-01:23"},
		{"DateTime", "1969-12-31T23:59:59.999999-00:00", "1969-12-31T23:59:59.999Z+999@0", "1969-12-31T23:59:59.999999-00:00"},
		{"DateTime", "2012-01-23", "BAD_ARGUMENTS", ""},
		{"Path", "/tmp/x", "'/tmp/x'", "/tmp/x"},
		{"Integers", "\x00\x011\x00\x0222", "[ 1, 22 ]", "\x00\x011\x00\x0222"},
		{"Integers", "", "[]", ""},
		{"Integers", "\x00\x011\x00\x01x", "BAD_ARGUMENTS", `"v[1]"`},
		{"Nested", "\x00\x06\x00\x01a\x00\x01b\x00\x00", "[ [ 'a', 'b' ], [] ]", "\x00\x06\x00\x01a\x00\x01b\x00\x00"},
		{"Boxes", "\x00\x01x\x00\x017\x00\x01y\x00\x02hi\x00\x00\x00\x01x\x00\x019\x00\x00", "[ { x: 7, y: 'hi' }, { x: 9 } ]", "\x00\x01x\x00\x017\x00\x01y\x00\x02hi\x00\x00\x00\x01x\x00\x019\x00\x00"},
		{"Boxes", "\x00\x01y\x00\x017\x00\x00", "BAD_ARGUMENTS", `"v[0].x": missing`},
		{"Optional", "absent", "absent", "absent"},
		{"Optional", "", "BAD_ARGUMENTS", ""},
		{"OptionalText", "", "''", ""},
		{"OptionalText", "absent", "absent", "absent"},
		{"OptionalList", "", "[]", ""},
		{"Integer", "absent", "BAD_ARGUMENTS", "missing"},
	} {
		args := box("v", c.in)
		if c.in == "absent" {
			args = nil
		}
		got, err := ask(t, p, "Echo"+c.command, args)
		if c.shown == "BAD_ARGUMENTS" {
			if codeOf(err) != c.shown || !strings.Contains(err.Error(), c.out) {
				t.Errorf("%s(%q): %v, want %s with %s", c.command, c.in, err, c.shown, c.out)
			}
			continue
		}
		out := "absent"
		if v, ok := got["v"]; ok {
			out = string(v)
		}
		if err != nil || string(got["shown"]) != c.shown || out != c.out {
			t.Errorf("%s(%q): shown %q, out %q, %v; want %q, %q", c.command, c.in, got["shown"], out, err, c.shown, c.out)
		}
	}
}

func TestEncode(t *testing.T) {
	p, l := run(t, "echo", echoSource, nil)
	bad := func(log string) string { return "!" + log }
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		bad("1.5 is not a whole number"), bad("beyond"), "1180591620717411303424", bad("is not a number"), bad("NaN is not a whole number"), "0",
		"1.0", "nan", "-inf", "1e+22", bad("10n is not a number"),
		bad("1 is not a boolean"), "False", bad("surrogate"), "😀", bad("5 is not a string"),
		"é", "\x00\xff", "\x01\x02\x03\x04", bad("is not a Buffer"), "\x08\x07",
		"1.10", "1E+2", bad("Decimal"), bad("is not a string"),
		"2012-01-23T12:34:56.054000-00:00", "2012-01-23T10:04:56.054321-02:30",
		bad("invalid"), bad("is not a Date"),
		"/a/b", filepath.Join(wd, "a/b"),
		"\x00\x011\x00\x012\x00\x013", "", bad(`v[1]`), bad(`v[1]`), bad("is not an array"),
		"\x00\x01x\x00\x011\x00\x00\x00\x01x\x00\x012\x00\x01y\x00\x01z\x00\x00", bad(`v[0].x`), bad("v[0]"),
		bad("70000 bytes long"), "absent", "absent", bad("missing"),
	} {
		l.reset()
		b, err := ask(t, p, fmt.Sprintf("Send%d", i), nil)
		if want[:min(1, len(want))] == "!" {
			if codeOf(err) != "UNKNOWN" {
				t.Errorf("Send%d = %q, %v, want UNKNOWN", i, b["v"], err)
			}
			l.wait(want[1:])
			continue
		}
		got := "absent"
		if v, ok := b["v"]; ok {
			got = string(v)
		}
		if err != nil || got != want {
			t.Errorf("Send%d = %q, %v, want %q\n%s", i, got, err, want, l)
		}
	}
}

// Names that every object inherits are ordinary own properties.
func TestInheritedNames(t *testing.T) {
	p, l := run(t, "names", `import * as amp from "amphost";
const list = { ["__proto__"]: amp.Unicode(), constructor: amp.Unicode(), toString: amp.Unicode({ optional: true }), hasOwnProperty: amp.Unicode({ optional: true }) };
new amp.Command("Names", { arguments: list, response: list }).responder((args) => {
  if (!Object.hasOwn(args, "__proto__") || Object.getPrototypeOf(args) !== Object.prototype) throw new Error("not own");
  return { ["__proto__"]: args["__proto__"] + "!", constructor: args.constructor + "!" };
});
new amp.Command("Missing", { response: { constructor: amp.Unicode() } }).responder(() => ({}));
new amp.Command("Whole", { arguments: amp.Box, response: amp.Box }).responder((box) => {
  for (const v of Object.values(box)) if (!Buffer.isBuffer(v)) throw new Error("not a Buffer");
  return { ...box, ["__proto__"]: box["__proto__"] ?? "none", "ÿ": "high" };
});
new amp.Command("Reserved", { response: amp.Box }).responder(() => ({ _command: "x" }));
`, nil)
	b, err := ask(t, p, "Names", box("__proto__", "p", "constructor", "c"))
	if err != nil || string(b["__proto__"]) != "p!" || string(b["constructor"]) != "c!" || len(b) != 2 {
		t.Errorf("Names = %q, %v\n%s", b, err, l)
	}
	if _, err := ask(t, p, "Missing", nil); codeOf(err) != "UNKNOWN" || !strings.Contains(l.String(), `\"constructor\": missing`) {
		t.Errorf("Missing: %v\n%s", err, l)
	}
	b, err = ask(t, p, "Whole", box("__proto__", "p", "\xe9", "\x00\xff", "k", ""))
	if err != nil || string(b["__proto__"]) != "p" || string(b["\xe9"]) != "\x00\xff" || string(b["\xff"]) != "high" || len(b) != 4 {
		t.Errorf("Whole = %q, %v\n%s", b, err, l)
	}
	if _, err := ask(t, p, "Reserved", nil); codeOf(err) != "UNKNOWN" || !strings.Contains(l.String(), "belongs to the protocol") {
		t.Errorf("Reserved: %v\n%s", err, l)
	}
}

// A schema that can't be is a load error with its place.
func TestBadDeclarations(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{`new amp.Command("")`, "name must be a string"},
		{`new amp.Command("A", { args: {} })`, `there is no option "args"`},
		{`new amp.Command("A", { arguments: { a: amp.Integer } })`, "call it, amp.Integer()"},
		{`new amp.Command("A", { arguments: { a: "Integer" } })`, "is not an argument type"},
		{`new amp.Command("A", { arguments: { _ask: amp.Integer() } })`, "belongs to the protocol"},
		{`new amp.Command("A", { arguments: { ["x".repeat(256)]: amp.Integer() } })`, "at most 255 bytes"},
		{`new amp.Command("A", { errors: { X: "no class" } })`, "errors.X is not a class"},
		{`new amp.Command("A").responder(1)`, "takes a function"},
		{`const A = new amp.Command("A"); A.responder(() => {}); A.responder(() => {})`, "has a responder already, at /bad.js:1"},
		{`new amp.Command("StartTLS").responder(() => {})`, "answered by amphost itself"},
		{`new amp.Command("_x").responder(() => {})`, "are amphost's"},
		{`amp.Integer({ optinal: true })`, `there is no option "optinal"`},
		{`amp.ListOf(amp.AmpList({}))`, "can't hold an AmpList"},
		{`globalThis.x = 1; export const plugin = { workerz: 2 }`, "workerz: there is no such setting"},
		{`export const plugin = { deadline: 5 }`, "is not a time"},
		{`eval("1")`, "eval is not available"},
		{`new Function("return 1")`, "Function is not available"},
		{`(async () => {}).constructor("return 1")`, "Function is not available"},
	} {
		prog, err := BuildSource("bad", `import * as amp from "amphost"; `+c.source)
		if err != nil {
			t.Errorf("%s: build: %v", c.source, err)
			continue
		}
		p, err := Start(t.Context(), prog, &Options{Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			_ = p.Stop(t.Context())
			t.Errorf("%s: started, want %q", c.source, c.want)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.source, err, c.want)
		}
	}
	p, l := run(t, "late", `import * as amp from "amphost";
new amp.Command("Late").responder(() => { new amp.Command("More"); });
const Other = new amp.Command("Other");
new amp.Command("Respond").responder(() => { Other.responder(() => {}); });
`, nil)
	for _, command := range []string{"Late", "Respond"} {
		if _, err := ask(t, p, command, nil); codeOf(err) != "UNKNOWN" {
			t.Errorf("%s: %v", command, err)
		}
		l.wait("declare it at the top of the plugin")
		l.reset()
	}
}

// As long as an AMP value may be, and no longer than a turn.
func TestLongBuffers(t *testing.T) {
	p, l := run(t, "long", `import * as amp from "amphost";
new amp.Command("Try", { response: { out: amp.Unicode() } }).responder(() => {
  const a = Buffer.alloc(65535, "xyz"), slow = [];
  const b = a.subarray(3);
  for (const [name, f] of Object.entries({
    fill: () => a.fill("abc", 1).toString("latin1", 0, 8), from: () => Buffer.from(a).equals(a), clone: () => structuredClone(a).equals(a),
    inspect: () => { console.log(a, [a]); return "said"; }, one: () => Buffer.alloc(5, "ab").toString(), over: () => Buffer.from("abcdef").fill("xy", 1, 4).toString(),
    number: () => Buffer.alloc(3, 258).join(), empty: () => Buffer.alloc(2, "").join(), none: () => Buffer.from("ab").fill("x", 2).toString(), view: () => b.length,
  })) {
    const start = performance.now(), got = f(), took = performance.now() - start;
    slow.push(got);
    if (took > 300) console.error(name, "took", took);
  }
  return { out: slow.join(" ") };
});`, &Options{TurnTimeout: 20 * time.Second})
	b, err := ask(t, p, "Try", nil)
	if want := "xabcabca true true said ababa axyxef 2,2,2 0,0 ab 65532"; err != nil || string(b["out"]) != want {
		t.Errorf("got %q, %v, want %q", b["out"], err, want)
	}
	if strings.Contains(l.String(), "took") {
		t.Error(l)
	}
}
