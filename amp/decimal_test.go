package amp

import (
	"math"
	"math/big"
	"testing"
)

func mustDecimal(t testing.TB, text string) Decimal {
	t.Helper()
	d, err := ParseDecimal(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDecimalEqualIsRepresentation(t *testing.T) {
	same := [][2]string{{"1.10", "+1.10"}, {"nan007", "NaN7"}, {"Inf", "infinity"}, {"00", "0"}, {"1E2", "1e+2"}, {"0.010", ".010"}}
	for _, pair := range same {
		if a, b := mustDecimal(t, pair[0]), mustDecimal(t, pair[1]); !a.Equal(b) || a != b {
			t.Errorf("%s and %s differ", pair[0], pair[1])
		}
	}
	different := [][2]string{{"1.10", "1.1"}, {"100", "1E+2"}, {"0", "-0"}, {"0", "0.0"}, {"NaN", "sNaN"}, {"NaN", "NaN1"}, {"Inf", "-Inf"}}
	for _, pair := range different {
		if a, b := mustDecimal(t, pair[0]), mustDecimal(t, pair[1]); a.Equal(b) {
			t.Errorf("%s and %s are equal", pair[0], pair[1])
		}
	}
	if (Decimal{}) != mustDecimal(t, "0") {
		t.Error("the zero Decimal is not 0")
	}
}

func TestDecimalCmp(t *testing.T) {
	ascending := []string{
		"-Inf", "-1E+999999999999999999", "-101", "-100", "-99.9", "-1E-1999999999999999997", "0", "1E-1999999999999999997", "0.099",
		"0.1", "0.11", "1", "1.0000001", "9", "9.99", "10", "99", "100", "101", "1E+999999999999999999", "Inf",
	}
	for i, x := range ascending {
		for j, y := range ascending {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got, ok := mustDecimal(t, x).Cmp(mustDecimal(t, y)); got != want || !ok {
				t.Errorf("%s Cmp %s = %d, %t, want %d", x, y, got, ok, want)
			}
		}
	}
	for _, pair := range [][2]string{{"100", "1E+2"}, {"0", "-0"}, {"0E+5", "0E-5"}, {"-1.10", "-1.1"}, {"12300", "1.23E4"}} {
		if c, ok := mustDecimal(t, pair[0]).Cmp(mustDecimal(t, pair[1])); c != 0 || !ok {
			t.Errorf("%s Cmp %s = %d, %t, want 0", pair[0], pair[1], c, ok)
		}
	}
	if _, ok := mustDecimal(t, "1").Cmp(mustDecimal(t, "sNaN")); ok {
		t.Error("a number was compared to sNaN")
	}
}

func TestDecimalParts(t *testing.T) {
	tests := []struct {
		text     string
		sign     int
		inf, nan bool
	}{
		{"0", 0, false, false}, {"-0", 0, false, false}, {"-1E-7", -1, false, false}, {"5", 1, false, false},
		{"-Infinity", -1, true, false}, {"Infinity", 1, true, false}, {"-NaN", 0, false, true}, {"sNaN1", 0, false, true},
	}
	for _, test := range tests {
		d := mustDecimal(t, test.text)
		if d.Sign() != test.sign || d.IsInf() != test.inf || d.IsNaN() != test.nan {
			t.Errorf("%s: Sign %d, IsInf %t, IsNaN %t", d, d.Sign(), d.IsInf(), d.IsNaN())
		}
	}
}

func TestDecimalRat(t *testing.T) {
	for text, want := range map[string]*big.Rat{
		"0": new(big.Rat), "-0.00": new(big.Rat), "1.10": big.NewRat(11, 10), "-1E+2": big.NewRat(-100, 1), "12.5E-1": big.NewRat(5, 4),
	} {
		if got, ok := mustDecimal(t, text).Rat(); !ok || got.Cmp(want) != 0 {
			t.Errorf("%s.Rat() = %v, %t, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"NaN", "-Inf", "1E+999999999999999999", "1E-999999999999999999"} {
		if r, ok := mustDecimal(t, text).Rat(); ok {
			t.Errorf("%s.Rat() = %v", text, r)
		}
	}
}

func TestNewDecimal(t *testing.T) {
	for want, got := range map[string]Decimal{
		"19.99": NewDecimal(1999, -2), "0": NewDecimal(0, 0), "0E+1": NewDecimal(0, 1), "-1E+2": NewDecimal(-1, 2),
		"-9223372036854775808": NewDecimal(math.MinInt64, 0), "1E-2147483648": NewDecimal(1, math.MinInt32),
	} {
		if got != mustDecimal(t, want) || got.String() != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestDecimalText(t *testing.T) {
	var d Decimal
	if err := d.UnmarshalText([]byte(" 1_0.50e3 ")); err != nil {
		t.Fatal(err)
	}
	if text, err := d.MarshalText(); err != nil || string(text) != "1.050E+4" {
		t.Errorf("MarshalText = %q, %v, want 1.050E+4", text, err)
	}
	before := d
	if err := d.UnmarshalText([]byte("x")); err == nil || d != before {
		t.Errorf("UnmarshalText of x: %v, and the value is %v", err, d)
	}
}
