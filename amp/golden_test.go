package amp

import (
	"bufio"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"reflect"
	"testing"
	"time"
)

// one is a struct with one value.
type one[T any] struct {
	V T `amp:"v"`
}

type innerBox struct {
	X *big.Int `amp:"x"`
	Y *string  `amp:"y"`
}

type outerBox struct {
	Rows []innerBox `amp:"rows"`
	AB   *[]bool    `amp:"a-b"`
}

// twistedTypes are the Go types for the types in testdata/golden.py.
var twistedTypes = map[string]reflect.Type{
	"Integer":                 reflect.TypeFor[one[*big.Int]](),
	"String":                  reflect.TypeFor[one[[]byte]](),
	"Unicode":                 reflect.TypeFor[one[string]](),
	"Float":                   reflect.TypeFor[one[float64]](),
	"Boolean":                 reflect.TypeFor[one[bool]](),
	"Decimal":                 reflect.TypeFor[one[Decimal]](),
	"DateTime":                reflect.TypeFor[one[time.Time]](),
	"Path":                    reflect.TypeFor[one[Path]](),
	"ListOf(Integer)":         reflect.TypeFor[one[[]*big.Int]](),
	"ListOf(String)":          reflect.TypeFor[one[[][]byte]](),
	"ListOf(Unicode)":         reflect.TypeFor[one[[]string]](),
	"ListOf(Float)":           reflect.TypeFor[one[[]float64]](),
	"ListOf(Boolean)":         reflect.TypeFor[one[[]bool]](),
	"ListOf(Decimal)":         reflect.TypeFor[one[[]Decimal]](),
	"ListOf(DateTime)":        reflect.TypeFor[one[[]time.Time]](),
	"ListOf(ListOf(Integer))": reflect.TypeFor[one[[][]big.Int]](),
	"AmpList":                 reflect.TypeFor[one[[]innerBox]](),
	"AmpList(AmpList)":        reflect.TypeFor[one[[]*outerBox]](),
}

// A verdict is what decoding a text and encoding the value again gives.
type verdict struct {
	canonical   string
	refused     bool // it did not decode
	unencodable bool // it did not encode
}

// judge decodes text as the value of a struct type like one and encodes it
// again.
func judge(t testing.TB, typ reflect.Type, text string) (verdict, error) {
	t.Helper()
	v := reflect.New(typ)
	err := Unmarshal(Box{"v": []byte(text)}, v.Interface())
	checkValueError(t, err)
	if err != nil {
		return verdict{refused: true}, err
	}
	box, err := Marshal(v.Interface())
	checkValueError(t, err)
	if err != nil {
		return verdict{unencodable: true}, err
	}
	return verdict{canonical: string(box["v"])}, nil
}

// checkValueError fails the test if err does not say whose value and what type
// it is about.
func checkValueError(t testing.TB, err error) {
	t.Helper()
	if err == nil || errors.Is(err, ErrTooLong) {
		return
	}
	if v, ok := errors.AsType[*ValueError](err); !ok || v.Key == "" || v.Key[0] != 'v' || v.Type == "" || len(v.Text) > 300 {
		t.Errorf("error %q does not name the key v and a type in a few words", err)
	}
}

type goldenCase struct {
	Type        string
	Text        string
	Canonical   *string
	Unencodable bool
}

// goldenCases reads what testdata/golden.py recorded.
func goldenCases(t testing.TB) []goldenCase {
	t.Helper()
	f, err := os.Open("testdata/golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var cases []goldenCase
	dec := json.NewDecoder(bufio.NewReader(f))
	for dec.More() {
		var c goldenCase
		if err := dec.Decode(&c); err != nil {
			t.Fatal(err)
		}
		c.Text = latin1(c.Text)
		if c.Canonical != nil {
			*c.Canonical = latin1(*c.Canonical)
		}
		cases = append(cases, c)
	}
	return cases
}

// latin1 returns the bytes that s has as its characters.
func latin1(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func TestValuesAreThoseOfTwisted(t *testing.T) {
	cases := goldenCases(t)
	if len(cases) < 300 {
		t.Fatalf("%d cases in testdata/golden.jsonl, want hundreds", len(cases))
	}
	for _, c := range cases {
		want := verdict{refused: c.Canonical == nil, unencodable: c.Unencodable}
		if !want.refused {
			want.canonical = *c.Canonical
		}
		if got, err := judge(t, twistedTypes[c.Type], c.Text); got != want {
			t.Errorf("%s %.100q: got %.200v, %v, want %.200v", c.Type, c.Text, got, err, want)
		}
	}
}

// TestGoKinds reads the recorded Integers and Floats into the Go types that
// hold fewer of them: the same number, or a refusal.
func TestGoKinds(t *testing.T) {
	kinds := map[string][]reflect.Type{
		"Integer": {
			reflect.TypeFor[one[int]](), reflect.TypeFor[one[int8]](), reflect.TypeFor[one[int16]](),
			reflect.TypeFor[one[int32]](), reflect.TypeFor[one[int64]](), reflect.TypeFor[one[uint]](),
			reflect.TypeFor[one[uint8]](), reflect.TypeFor[one[uint16]](), reflect.TypeFor[one[uint32]](),
			reflect.TypeFor[one[uint64]](), reflect.TypeFor[one[uintptr]](), reflect.TypeFor[one[big.Int]](),
		},
		"Float": {reflect.TypeFor[one[float32]]()},
	}
	for _, c := range goldenCases(t) {
		for _, typ := range kinds[c.Type] {
			field := typ.Field(0).Type
			got, err := judge(t, typ, c.Text)
			want := verdict{refused: true}
			if c.Canonical != nil {
				if text, ok := holds(t, field, c.Type, *c.Canonical); ok {
					want = verdict{canonical: text}
				}
			}
			if got != want {
				t.Errorf("%s %.100q into %s: got %.200v, %v, want %.200v", c.Type, c.Text, field, got, err, want)
			}
		}
	}
}

// holds returns the number in text as typ holds it, in canonical form. ok is
// false if it is beyond the type.
func holds(t *testing.T, typ reflect.Type, kind, text string) (canonical string, ok bool) {
	t.Helper()
	if kind == "Float" {
		f, err := ParseFloat([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return string(AppendFloat(nil, float64(float32(f)))), !reflect.Zero(typ).OverflowFloat(f)
	}
	n, good := new(big.Int).SetString(text, 10)
	if !good {
		t.Fatalf("%q is no integer", text)
	}
	if typ.Kind() == reflect.Struct {
		return text, true
	}
	low, high := new(big.Int), big.NewInt(1)
	bits := uint(typ.Bits())
	if reflect.Zero(typ).CanInt() {
		bits--
		low.Neg(low.Lsh(big.NewInt(1), bits))
	}
	high.Lsh(high, bits)
	return text, n.Cmp(low) >= 0 && n.Cmp(high) < 0
}
