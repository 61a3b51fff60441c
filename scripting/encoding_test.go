package scripting

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/store"
)

// roundTripSource is a plugin that stores each of its values, reads it back,
// and answers how that looks.
func roundTripSource(expressions []string) string {
	var b strings.Builder
	b.WriteString(`import * as amp from "amphost";
class Thing { x = 1 }
class MyArray extends Array {}
class MyDate extends Date {}
const deep = (n) => { let v = 1; for (let i = 0; i < n; i++) v = [v]; return v; };
const things = {
`)
	for i, e := range expressions {
		fmt.Fprintf(&b, "%d: () => (%s),\n", i, e)
	}
	b.WriteString(`};
const show = (v) => console.inspect(v, { depth: 300, breakLength: Infinity, compact: 9 });
const Do = new amp.Command("Do", { arguments: { what: amp.Unicode() }, response: { out: amp.Unicode() }, errors: { TYPE: TypeError, RANGE: RangeError, OTHER: Error } });
Do.responder(async ({ what }) => {
  const value = things[what]();
  await amp.store.update((tx) => tx.put("k", value));
  const first = amp.store.view((tx) => tx.get("k"));
  await amp.store.update((tx) => tx.put("again", first));
  const again = show(amp.store.view((tx) => tx.get("again")));
  if (again !== show(first)) throw new Error("read " + show(first) + " and stored it, which reads " + again);
  return { out: (first === null ? "null" : first?.constructor?.name ?? typeof first) + " " + show(first) };
});
`)
	return b.String()
}

func TestStoredValues(t *testing.T) {
	cases := []struct{ expression, want string }{
		// What is kept, and as what it is read.
		{`null`, "null null"},
		{`true`, "Boolean true"},
		{`false`, "Boolean false"},
		{`0`, "Number 0"},
		{`-0`, "Number -0"},
		{`NaN`, "Number NaN"},
		{`Infinity`, "Number Infinity"},
		{`-Infinity`, "Number -Infinity"},
		{`2 ** 53 - 1`, "Number 9007199254740991"},
		{`-(2 ** 53)`, "Number -9007199254740992"},
		{`2 ** 64`, "Number 18446744073709552000"},
		{`5e-324`, "Number 5e-324"},
		{`1.7976931348623157e308`, "Number 1.7976931348623157e+308"},
		{`0.1 + 0.2`, "Number 0.30000000000000004"},
		{`0n`, "BigInt 0n"},
		{`-1n`, "BigInt -1n"},
		{`2n ** 200n`, "BigInt 1606938044258990275541962092341162602522202993782792835301376n"},
		{`-(2n ** 64n)`, "BigInt -18446744073709551616n"},
		{`""`, "String ''"},
		{`"a\0b\n😀\uffff\ufffd"`, `String 'a\x00b\n😀` + "\uffff\ufffd'"},
		{`new Date(0)`, "Date 1970-01-01T00:00:00.000Z"},
		{`new Date(8.64e15)`, "Date +275760-09-13T00:00:00.000Z"},
		{`new Date(-8.64e15)`, "Date -271821-04-20T00:00:00.000Z"},
		{`new Date(-1)`, "Date 1969-12-31T23:59:59.999Z"},
		{`new Date(NaN)`, "Date Invalid Date"},
		{`new MyDate(7)`, "Date 1970-01-01T00:00:00.007Z"},
		{`new amp.DateTimeValue(-1, { microsecond: 999, offset: 1439 })`, "DateTimeValue DateTimeValue 1970-01-01T23:58:59.999999+23:59"},
		{`new amp.DateTimeValue(1e12, { offset: -330 })`, "DateTimeValue DateTimeValue 2001-09-08T20:16:40.000000-05:30"},
		{`new amp.DateTimeValue(NaN, { microsecond: 3, offset: 60 })`, "DateTimeValue DateTimeValue Invalid Date"},
		{`new Uint8Array(0)`, "Buffer <Buffer>"},
		{`new Uint8Array([0, 255])`, "Buffer <Buffer 00 ff>"},
		{`Buffer.from("hä")`, "Buffer <Buffer 68 c3 a4>"},
		{`new Uint8Array(new ArrayBuffer(8), 2, 3).fill(7)`, "Buffer <Buffer 07 07 07>"},
		{`Buffer.from([1, 2, 3, 4]).subarray(1, 3)`, "Buffer <Buffer 02 03>"},
		{`[]`, "Array []"},
		{`[[], [[]], [null, [-0]]]`, "Array [ [], [ [] ], [ null, [ -0 ] ] ]"},
		{`({})`, "Object {}"},
		{`Object.create(null)`, "Object {}"},
		{`Object.assign(Object.create(null), { a: 1 })`, "Object { a: 1 }"},
		{`({ b: 1, a: 2, 1: 3, 0: 4 })`, "Object { '0': 4, '1': 3, b: 1, a: 2 }"},
		{`({ "": 1, "a b": 2, "\0": 3, "ä.[0]": 4 })`, `Object { '': 1, 'a b': 2, '\x00': 3, 'ä.[0]': 4 }`},
		{`({ ["__proto__"]: 1 })`, "Object { ['__proto__']: 1 }"},
		{`({ ["__proto__"]: { evil: true }, toString: 1, hasOwnProperty: 2, constructor: null })`, "object { ['__proto__']: { evil: true }, toString: 1, hasOwnProperty: 2, constructor: null }"},
		{`({ a: undefined, b: { c: undefined }, ["__proto__"]: undefined })`, "Object { b: {} }"},
		{`({ get a() { return 5; } })`, "Object { a: 5 }"},
		{`({ [Symbol("s")]: 1, a: 2 })`, "Object { a: 2 }"},
		{`Object.defineProperty({ a: 1 }, "hidden", { value: 2, enumerable: false })`, "Object { a: 1 }"},
		{`({ toJSON() {}, a: 1 }).a`, "Number 1"},
		{`Object.freeze({ a: Object.freeze([1]) })`, "Object { a: [ 1 ] }"},
		{`MyArray.from([1, 2])`, "Array [ 1, 2 ]"},
		{`Object.assign([1], { extra: 2 })`, "Array [ 1 ]"},
		{`(() => { const shared = { x: 1 }; return [shared, shared]; })()`, "Array [ { x: 1 }, { x: 1 } ]"},
		{`deep(199).flat(Infinity)`, "Array [ 1 ]"},
		{`"x".repeat(1000000).length`, "Number 1000000"},

		// What is not, and where it is.
		{`undefined`, `TYPE: put "k": undefined can't be stored`},
		{`[undefined]`, `TYPE: put "k": value[0]: undefined can't be stored`},
		{`[1, , 2]`, `TYPE: put "k": value[1]: a hole can't be stored`},
		{`new Array(2 ** 32 - 1)`, `TYPE: put "k": value[0]: a hole can't be stored`},
		{`() => {}`, `TYPE: put "k": a function can't be stored`},
		{`({ a: [0, { b: class {} }] })`, `TYPE: put "k": value.a[1].b: a function can't be stored`},
		{`Symbol("s")`, `TYPE: put "k": `},
		{`[Symbol.iterator]`, `TYPE: put "k": value[0]: `},
		{`new Map()`, `TYPE: put "k": an object of class Map can't be stored`},
		{`({ s: new Set([1]) })`, `TYPE: put "k": value.s: an object of class Set can't be stored`},
		{`new WeakMap()`, `TYPE: put "k": an object of class WeakMap can't be stored`},
		{`/x/`, `TYPE: put "k": an object of class RegExp can't be stored`},
		{`new Error("x")`, `TYPE: put "k": an object of class Error can't be stored`},
		{`new Thing()`, `TYPE: put "k": an object of class Thing can't be stored`},
		{`Object.create({ a: 1 })`, `TYPE: put "k": an object of class Object can't be stored`},
		{`new Number(5)`, `TYPE: put "k": an object of class Number can't be stored`},
		{`new String("x")`, `TYPE: put "k": an object of class String can't be stored`},
		{`new Boolean(false)`, `TYPE: put "k": an object of class Boolean can't be stored`},
		{`Object(5n)`, `TYPE: put "k": an object of class BigInt can't be stored`},
		{`new ArrayBuffer(2)`, `TYPE: put "k": an object of class ArrayBuffer can't be stored`},
		{`new DataView(new ArrayBuffer(2))`, `TYPE: put "k": an object of class DataView can't be stored`},
		{`new Float64Array(1)`, `TYPE: put "k": an object of class Float64Array can't be stored`},
		{`new Uint16Array(1)`, `TYPE: put "k": an object of class Uint16Array can't be stored`},
		{`new Int8Array(1)`, `TYPE: put "k": an object of class Int8Array can't be stored`},
		{`new Uint8ClampedArray(1)`, `TYPE: put "k": an object of class Uint8ClampedArray can't be stored`},
		{`Promise.resolve(1)`, `TYPE: put "k": a promise (was an await forgotten?) can't be stored`},
		{`(function () { return arguments; })(1)`, `TYPE: put "k": an object of class `},
		{`(function* () {})()`, `TYPE: put "k": an object of class `},
		{`globalThis`, `TYPE: put "k": `},
		{`new Proxy(() => {}, {})`, `TYPE: put "k": a function can't be stored`},
		{`"\ud800"`, `TYPE: put "k": the text has half of a surrogate pair`},
		{`({ a: ["x\udc00"] })`, `TYPE: put "k": value.a[0]: the text has half of a surrogate pair`},
		{`({ a: { "x\ud800": 1 } })`, `TYPE: put "k": value.a: a property's name has half of a surrogate pair`},
		{`deep(201)`, `TYPE: put "k": value[0][0]`},
		{`(() => { const a = []; a.push(a); return a; })()`, `TYPE: put "k": value[0][0]`},
		{`(() => { const o = { b: {} }; o.b.a = [o]; return o; })()`, `TYPE: put "k": value.b.a[0].b.a[0].b`},
		{`({ a: { get b() { throw new RangeError("from a getter"); } } })`, "RANGE: from a getter"},
		{`(() => { let v = "x".repeat(10000); for (let i = 0; i < 60; i++) v = [v, v]; return v; })()`, "OTHER: store: too large: value of key \"k\" has more than 1048576 bytes"},
		{`(() => { let v = "x".repeat(10000); for (let i = 0; i < 60; i++) v = { a: v, b: v }; return v; })()`, "OTHER: store: too large: value of key \"k\" has more than 1048576 bytes"},
		{`Buffer.alloc(2 ** 20)`, "OTHER: store: too large"},
		{`"x".repeat(2 ** 20)`, "OTHER: store: too large"},
	}
	var expressions []string
	for _, c := range cases {
		expressions = append(expressions, c.expression)
	}
	p, l := run(t, "values", roundTripSource(expressions), nil)
	for i, c := range cases {
		b, err := ask(t, p, "Do", box("what", fmt.Sprint(i)))
		got := string(b["out"])
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s:\n got %s\nwant %s", c.expression, got, c.want)
		}
	}
	if t.Failed() {
		t.Log(l)
	}
}

// bareRealm makes a runtime that no loop has, for tests of conversions.
func bareRealm(t testing.TB) *realm {
	t.Helper()
	prog, err := BuildSource("bare", "")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlugin(prog, (&Options{Store: store.NewMem()}).withDefaults(), 1, newHub(&Options{}), new(tally))
	return newRealm(newWorker(p))
}

// Bytes that nobody wrote are told to be damaged, and not believed.
func TestDamagedValues(t *testing.T) {
	r := bareRealm(t)
	uvarint := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	nested := func(tag byte, n int) []byte { return bytes.Repeat([]byte{tag, 1}, n) }
	for name, data := range map[string][]byte{
		"nothing":              {},
		"only the version":     {formVersion},
		"no tag":               {formVersion, '?'},
		"more behind it":       {formVersion, tagNull, tagNull},
		"half a number":        {formVersion, tagNumber, 1, 2, 3},
		"half an integer":      {formVersion, tagInteger, 0x80},
		"a text too short":     {formVersion, tagString, 5, 'a'},
		"a text without end":   append([]byte{formVersion, tagString}, uvarint(math.MaxUint64)...),
		"a text not in UTF-8":  {formVersion, tagString, 1, 0xff},
		"a name not in UTF-8":  {formVersion, tagObject, 1, 1, 0xff, tagNull},
		"an array too short":   {formVersion, tagArray, 2, tagNull},
		"half an object":       {formVersion, tagObject, 1, 1, 'a'},
		"a bigint without end": {formVersion, tagBigInt, 2, 9},
		"a bigint's sign":      {formVersion, tagBigInt, 7, 0},
		"an offset too large":  append(binary.AppendUvarint(binary.AppendVarint([]byte{formVersion, tagDateTime}, 0), 0), binary.AppendVarint(nil, 100_000)...),
		"too deep":             append(append([]byte{formVersion}, nested(tagArray, 300)...), tagNull),
		"what is only cloned":  {formVersion, tagUndefined},
		"an integer too large": append([]byte{formVersion, tagInteger}, binary.AppendVarint(nil, 1<<60)...),
	} {
		if v, err := r.decodeValue(data); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: read %v, %v, want that it is damaged", name, v, err)
		}
	}
	if _, err := r.decodeValue([]byte{formVersion + 1, tagNull}); err == nil || !strings.Contains(err.Error(), "too old") {
		t.Errorf("a newer form: %v", err)
	}
	// Claims of length must not cost memory that the bytes do not justify.
	data := append([]byte{formVersion}, bytes.Repeat(append([]byte{tagArray}, uvarint(1<<20)...), 190)...)
	data = append(data, make([]byte, 1<<20)...)
	if _, err := r.decodeValue(data); err == nil {
		t.Error("arrays that are not there were read")
	}
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = r.decodeValue(data)
		}
	})
	if per := result.AllocedBytesPerOp(); per > 16<<20 {
		t.Errorf("reading 1 MiB of claims took %d MiB", per>>20)
	}
}

// FuzzStoredValue checks that any bytes read as a value or an error, and that
// what they read as is stored and read again as the same.
func FuzzStoredValue(f *testing.F) {
	r := bareRealm(f)
	for _, text := range []string{
		`null`, `[1, -0, 1.5, 1e300, "ä", true, false, 5n, -5n, 0n]`, `({ a: { b: [new Date(5), new Date(NaN)] }, ["__proto__"]: 1 })`, `Buffer.from("x")`,
	} {
		v, err := r.rt.RunString(text)
		if err != nil {
			f.Fatal(err)
		}
		data, err := r.encodeValue(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	v, err := r.fn.dateTime(nil, r.rt.ToValue(5), r.rt.ToValue(7), r.rt.ToValue(-90))
	if err != nil {
		f.Fatal(err)
	}
	data, err := r.encodeValue(nil, v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := r.decodeValue(data)
		if err != nil {
			return
		}
		encode := func(v goja.Value) []byte {
			t.Helper()
			var data []byte
			var err error
			if failed := r.try(func() { data, err = r.encodeValue(nil, v) }); failed != nil {
				err = failed
			}
			if err != nil {
				t.Fatalf("what was read can't be stored: %v", err)
			}
			return data
		}
		first := encode(v)
		v, err = r.decodeValue(first)
		if err != nil {
			t.Fatalf("what was stored can't be read: %v", err)
		}
		if again := encode(v); !bytes.Equal(first, again) {
			t.Errorf("%x is read and stored as %x", first, again)
		}
	})
}
