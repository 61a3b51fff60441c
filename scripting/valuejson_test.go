package scripting

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/dop251/goja"
)

// storedForm returns the stored form of what a line of JavaScript makes.
func storedForm(t testing.TB, r *realm, source string) []byte {
	t.Helper()
	v, err := r.rt.RunString(source)
	if err != nil {
		t.Fatal(err)
	}
	data, err := r.encodeValue(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What scripts store reads as JSON, and that as exactly what they stored.
func TestValueJSON(t *testing.T) {
	r := bareRealm(t)
	must(r.rt.Set("DateTimeValue", r.dateTimeClass))
	for _, c := range []struct{ script, want string }{
		{`null`, `null`},
		{`true`, `true`},
		{`[0, -0, 1, -5, 1.5, 2**53-1]`, `[0,-0,1,-5,1.5,9007199254740991]`},
		{`[2**53, 1e300, 5e-324, -(2**64)]`, `[9.007199254740992e+15,1e+300,5e-324,-1.8446744073709552e+19]`},
		{`[NaN, Infinity, -Infinity]`, `[{"$number":"NaN"},{"$number":"Infinity"},{"$number":"-Infinity"}]`},
		{`[0n, -1n, 2n**70n]`, `[{"$bigint":"0"},{"$bigint":"-1"},{"$bigint":"1180591620717411303424"}]`},
		{`"a\"\n<😀>"`, `"a\"\n<😀>"`},
		{`new Uint8Array([1, 2, 255])`, `{"$bytes":"AQL/"}`},
		{`[new Date(5), new Date(-1), new Date(8.64e15), new Date(NaN)]`,
			`[{"$date":"1970-01-01T00:00:00.005Z"},{"$date":"1969-12-31T23:59:59.999Z"},{"$date":8640000000000000},{"$date":null}]`},
		{`new DateTimeValue(5, { microsecond: 7, offset: -90 })`, `{"$datetime":"1969-12-31T22:30:00.005007-01:30"}`},
		{`new DateTimeValue(-1, { microsecond: 999, offset: 1439 })`, `{"$datetime":"1970-01-01T23:58:59.999999+23:59"}`},
		{`new DateTimeValue(1e15, { offset: 60 })`, `{"$datetime":[1000000000000000,0,60]}`},
		{`new DateTimeValue(NaN, { microsecond: 3 })`, `{"$datetime":[null,3,0]}`},
		{`({ b: [], a: {}, ["__proto__"]: { c: null } })`, `{"b":[],"a":{},"__proto__":{"c":null}}`},
		{`({ $date: 1, b: 2 })`, `{"$date":1,"b":2}`},
		{`({ $date: "x" })`, `{"$object":{"$date":"x"}}`},
		{`({ $object: { $object: {} } })`, `{"$object":{"$object":{"$object":{"$object":{}}}}}`},
		{`({ $: 1 })`, `{"$object":{"$":1}}`},
	} {
		stored := storedForm(t, r, c.script)
		text, err := ValueJSON(stored)
		if err != nil || string(text) != c.want || !json.Valid(text) {
			t.Errorf("%s is %s, %v, want %s", c.script, text, err, c.want)
			continue
		}
		back, err := ParseValueJSON(text)
		if err != nil || !bytes.Equal(back, stored) {
			t.Errorf("%s reads as %x, %v, want %x", text, back, err, stored)
		}
	}
}

// What people write is taken, or refused with a reason.
func TestParseValueJSON(t *testing.T) {
	r := bareRealm(t)
	for _, c := range []struct{ text, want string }{ // what a script has then
		{` { "a" : [ 1 , 2.50 , 1e3 ] } `, `{"a":[1,2.5,1000]}`},
		{`"\u00e4"`, `"ä"`},
		{`{"$date":"2026-11-22T10:00:00+01:00"}`, `"2026-11-22T09:00:00.000Z"`},
		{`{"$object":{"a":1}}`, `{"a":1}`},
		{`{"a":1,"$b":2}`, `{"a":1,"$b":2}`},
	} {
		stored, err := ParseValueJSON([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		v, err := r.decodeValue(stored)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		stringify, _ := goja.AssertFunction(r.rt.Get("JSON").ToObject(r.rt).Get("stringify"))
		if got, err := stringify(nil, v); err != nil || got.String() != c.want {
			t.Errorf("%s is %v, %v, want %s", c.text, got, err, c.want)
		}
	}
	for text, want := range map[string]string{
		``:                                "not whole",
		`[1`:                              "not whole",
		`{"a":`:                           "not whole",
		`1 2`:                             "more behind",
		`{"a":1,"a":2}`:                   `"a" is there twice`,
		`{"$object":{"a":1,"a":2}}`:       `"a" is there twice`,
		`12345678901234567890`:            `{"$bigint":"12345678901234567890"}`,
		`1e999`:                           "too large",
		`{"$bigint":"x"}`:                 `"$bigint": can't read`,
		`{"$bytes":"?"}`:                  `"$bytes": can't read`,
		`{"$date":"tomorrow"}`:            `"$date": can't read`,
		`{"$datetime":[1,1000,0]}`:        `"$datetime": can't read`,
		`{"$datetime":[1,0,1440]}`:        `"$datetime": can't read`,
		`{"$datetime":[1,0]}`:             `"$datetime": can't read`,
		`{"$number":"5"}`:                 `"$number": can't read`,
		`{"$what":1}`:                     `{"$object":{"$what":…}}`,
		`{"$object":1}`:                   "takes an object",
		strings.Repeat("[", 1_000_000):    "nests deeper",
		strings.Repeat(`{"a":`, 100_000):  "nests deeper",
		strings.Repeat(`{"$a":`, 100_000): "nests deeper",
		`nul`:                             "not whole",
		`nulx`:                            "invalid",
	} {
		if stored, err := ParseValueJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %x, %v, want an error with %q", text, stored, err, want)
		}
	}
	for _, stored := range [][]byte{{}, {formVersion}, {formVersion, '?'}, {formVersion, tagNull, 0}, {formVersion, tagUndefined}, {2, tagNull}} {
		if text, err := ValueJSON(stored); err == nil {
			t.Errorf("%x is %s, want an error", stored, text)
		}
	}
}

// FuzzValueJSON checks that what a script could have stored comes back from
// JSON byte for byte, and that no bytes are too much.
func FuzzValueJSON(f *testing.F) {
	r := bareRealm(f)
	must(r.rt.Set("DateTimeValue", r.dateTimeClass))
	for _, source := range []string{
		`({ $a: 1 })`, `({ $object: { $object: 5n } })`, `[new Date(5), new DateTimeValue(5, { offset: 3 }), NaN, -0, 1e30, "ä", new Uint8Array(3)]`,
	} {
		f.Add(storedForm(f, r, source))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		text, jsonErr := ValueJSON(stored)
		if jsonErr == nil && !json.Valid(text) {
			t.Fatalf("%x is %s, which is no JSON", stored, text)
		}
		v, err := r.decodeValue(stored)
		if err != nil {
			return
		}
		if jsonErr != nil {
			t.Fatalf("a script reads %x, and as JSON it is %v", stored, jsonErr)
		}
		var canonical []byte
		if failed := r.try(func() { canonical, err = r.encodeValue(nil, v) }); failed != nil || err != nil || !bytes.Equal(canonical, stored) {
			return
		}
		back, err := ParseValueJSON(text)
		if err != nil || !bytes.Equal(back, stored) {
			t.Errorf("%x is %s, which reads as %x, %v", stored, text, back, err)
		}
	})
}
