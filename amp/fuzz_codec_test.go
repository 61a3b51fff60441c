package amp

import (
	"errors"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// fuzzTypes adds the recorded texts of Twisted types with the prefixes as
// seeds, and has every Go type read each text: what decodes must encode, to a
// text that decodes to the same value and encodes to the same text.
func fuzzTypes(f *testing.F, prefixes []string, types ...reflect.Type) {
	f.Helper()
	for _, c := range goldenCases(f) {
		// Long seeds make the fuzzer slow, and teach it little.
		if len(c.Text) < 200 && slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(c.Type, p) }) {
			f.Add([]byte(c.Text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > MaxValue {
			return
		}
		for _, typ := range types {
			first := reflect.New(typ)
			err := Unmarshal(Box{"v": text}, first.Interface())
			checkValueError(t, err)
			if err != nil {
				continue
			}
			box, err := Marshal(first.Interface())
			checkValueError(t, err)
			if err != nil {
				// A list of numbers may outgrow a value, 1 is written 1.0; an
				// offset of a day can be read and not be written (item Y7).
				continue
			}
			second := reflect.New(typ)
			if err := Unmarshal(box, second.Interface()); err != nil {
				t.Fatalf("%s: %q became %q, which does not decode: %v", typ, text, box["v"], err)
			}
			again, err := Marshal(second.Interface())
			if err != nil || string(again["v"]) != string(box["v"]) {
				t.Fatalf("%s: %q became %q and then %q, %v", typ, text, box["v"], again["v"], err)
			}
			if !sameValue(first.Elem(), second.Elem()) {
				t.Fatalf("%s: %q became %+v and then %+v", typ, text, first.Elem(), second.Elem())
			}
		}
	})
}

// sameValue is reflect.DeepEqual for which not-a-number equals itself and a time is
// the same in two equal zones.
func sameValue(a, b reflect.Value) bool {
	switch x := a.Interface().(type) {
	case time.Time:
		return x.Equal(b.Interface().(time.Time))
	case big.Int:
		y := b.Interface().(big.Int)
		return x.Cmp(&y) == 0
	case Decimal:
		return x == b.Interface().(Decimal)
	case netip.Addr:
		return x == b.Interface().(netip.Addr)
	}
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		return a.Float() == b.Float() || math.IsNaN(a.Float()) && math.IsNaN(b.Float())
	case reflect.Slice:
		if a.Len() != b.Len() || a.IsNil() != b.IsNil() {
			return false
		}
		for i := range a.Len() {
			if !sameValue(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameValue(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return sameValue(a.Elem(), b.Elem())
	}
	return a.Interface() == b.Interface()
}

func FuzzUnmarshalNumbers(f *testing.F) {
	fuzzTypes(f, []string{"Integer", "Float", "Decimal"},
		reflect.TypeFor[one[int64]](), reflect.TypeFor[one[uint64]](), reflect.TypeFor[one[int8]](), reflect.TypeFor[one[*big.Int]](),
		reflect.TypeFor[one[float64]](), reflect.TypeFor[one[float32]](), reflect.TypeFor[one[Decimal]]())
}

func FuzzUnmarshalTexts(f *testing.F) {
	fuzzTypes(f, []string{"Unicode", "String", "Boolean", "DateTime", "Path"},
		reflect.TypeFor[one[string]](), reflect.TypeFor[one[[]byte]](), reflect.TypeFor[one[bool]](), reflect.TypeFor[one[time.Time]](),
		reflect.TypeFor[one[Path]](), reflect.TypeFor[one[netip.Addr]]())
}

func FuzzUnmarshalLists(f *testing.F) {
	fuzzTypes(f, []string{"ListOf", "AmpList"},
		reflect.TypeFor[one[[]int]](), reflect.TypeFor[one[[]*big.Int]](), reflect.TypeFor[one[[]float64]](), reflect.TypeFor[one[[]Decimal]](),
		reflect.TypeFor[one[[]time.Time]](), reflect.TypeFor[one[[]string]](), reflect.TypeFor[one[[][]byte]](), reflect.TypeFor[one[[][]int]](),
		reflect.TypeFor[one[[]innerBox]](), reflect.TypeFor[one[[]*outerBox]](), reflect.TypeFor[one[[]row]]())
}

// everyForm has a field of each form, required and optional.
type everyForm struct {
	Integer  int        `amp:"i"`
	Big      *big.Int   `amp:"big"`
	Float    float64    `amp:"f,optional"`
	Boolean  *bool      `amp:"b"`
	Text     string     `amp:"t,optional"`
	Bytes    []byte     `amp:"s,optional"`
	Decimal  *Decimal   `amp:"d"`
	When     *time.Time `amp:"w"`
	Path     *Path      `amp:"p"`
	Addr     netip.Addr `amp:"a,optional"`
	Integers []int      `amp:"l,optional"`
	Rows     []row      `amp:"r,optional"`
}

// FuzzUnmarshalBox has a struct read from the pairs of a box, as they come from
// the wire and as a Box: both read the same, and it is written to what reads the
// same again.
func FuzzUnmarshalBox(f *testing.F) {
	for _, seed := range [][]string{
		{"i", "1", "big", "2"},
		{"big", "9" + strings.Repeat("0", 30), "i", "-1", "zz", "", "i", "7"},
		{"a", "::1", "b", "True", "big", "0", "d", "1E+2", "f", "1.5", "i", "1", "l", "\x00\x011\x00\x012", "p", "/", "s", "", "t", "\u00e9"},
		{"big", "1", "i", "1", "w", "2012-01-23T12:34:56.000000-00:00", "r", "\x00\x01X\x00\x011\x00\x00\x00\x01X\x00\x012\x00\x04kids\x00\x00\x00\x00"},
		{"i", "", "big", ""},
	} {
		pairs := wire(seed)
		f.Add(pairs[:len(pairs)-2])
	}
	f.Fuzz(func(t *testing.T, pairs []byte) {
		if !checkPairs(pairs) {
			return
		}
		typ := reflect.TypeFor[everyForm]()
		p, err := planFor(typ)
		if err != nil {
			t.Fatal(err)
		}
		var fromWire, fromBox, again everyForm
		var d decoder
		err = d.decodeStruct(p, pairs, reflect.ValueOf(&fromWire))
		if v, ok := errors.AsType[*ValueError](err); err != nil && (!ok || v.Key == "" || v.Type == "") {
			t.Fatalf("%q fails with %v, which does not name a key", pairs, err)
		}
		boxErr := Unmarshal(boxOf(pairs, nil), &fromBox)
		if (err == nil) != (boxErr == nil) || err != nil && err.Error() != boxErr.Error() {
			t.Fatalf("%q reads with %v, as a box with %v", pairs, err, boxErr)
		}
		if err != nil {
			return
		}
		if !sameValue(reflect.ValueOf(fromWire), reflect.ValueOf(fromBox)) {
			t.Fatalf("%q reads as %+v, as a box as %+v", pairs, fromWire, fromBox)
		}
		box, err := Marshal(fromWire)
		if err != nil {
			return // as in fuzzTypes
		}
		if err := Unmarshal(box, &again); err != nil {
			t.Fatalf("%q is written as %q, which does not read: %v", pairs, box, err)
		}
		if twice, err := Marshal(again); err != nil || !reflect.DeepEqual(twice, box) {
			t.Fatalf("%q is written as %q and then as %q, %v", pairs, box, twice, err)
		}
	})
}
