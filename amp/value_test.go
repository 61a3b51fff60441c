package amp

import (
	"errors"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseIntegerBeyondInt64(t *testing.T) {
	tests := []struct {
		text string
		n    int64
		big  string
	}{
		{"-9223372036854775808", math.MinInt64, ""},
		{"9223372036854775807", math.MaxInt64, ""},
		{"9223372036854775808", 0, "9223372036854775808"},
		{"-9223372036854775809", 0, "-9223372036854775809"},
		{"18446744073709551616", 0, "18446744073709551616"},
		{"-1_8446744073709551616_0", 0, "-184467440737095516160"},
		{"-0", 0, ""},
		{strings.Repeat("0", 4000) + "7", 7, ""},
	}
	for _, test := range tests {
		n, b, err := ParseInteger([]byte(test.text))
		got := ""
		if b != nil {
			got = b.String()
		}
		if n != test.n || got != test.big || err != nil {
			t.Errorf("ParseInteger(%q) = %d, %q, %v, want %d, %q", test.text, n, got, err, test.n, test.big)
		}
	}
	var value *ValueError
	if _, _, err := ParseInteger([]byte("12x")); !errors.As(err, &value) || value.Error() != `amp: Integer "12x": not a whole number` {
		t.Errorf("ParseInteger(12x): %v", err)
	}
	if text := string(AppendInteger([]byte("n="), math.MinInt64)); text != "n=-9223372036854775808" {
		t.Errorf("AppendInteger = %q", text)
	}
	dst := []byte("n=")
	if out, err := AppendBigInteger(dst, new(big.Int).Lsh(big.NewInt(1), 1<<20)); err == nil || string(out) != "n=" {
		t.Errorf("AppendBigInteger of a million bits = %.20q, %v", out, err)
	}
}

// Python reads these as strconv would not: it cuts exponents to about 10,000.
func TestParseFloatWithLongMantissa(t *testing.T) {
	zeros := strings.Repeat("0", 60000)
	for text, want := range map[string]float64{
		"0." + zeros + "1e100000":    math.Inf(1),
		"-0." + zeros + "1e100000":   math.Inf(-1),
		"0." + zeros + "1e060001":    1,
		"1" + zeros + "e-60000":      1,
		"1" + zeros + "e-100000":     0,
		"0." + zeros + "e100000":     0,
		"1" + zeros + "e-0000060000": 1,
	} {
		if got, err := ParseFloat([]byte(text)); got != want || err != nil {
			t.Errorf("ParseFloat(%.10s…%s) = %v, %v, want %v", text, text[len(text)-10:], got, err, want)
		}
	}
	if f, err := ParseFloat([]byte("-0e-100000")); err != nil || !math.Signbit(f) || f != 0 {
		t.Errorf("ParseFloat(-0e-100000) = %v, %v, want -0", f, err)
	}
}

// fixedZone is a location with an offset in seconds.
func fixedZone(offset int) *time.Location { return time.FixedZone("", offset) }

func TestAppendDateTime(t *testing.T) {
	at := func(offset int) time.Time { return time.Date(2012, 1, 23, 12, 34, 56, 54321999, fixedZone(offset)) }
	tests := []struct {
		t    time.Time
		want string
	}{
		{at(0), "2012-01-23T12:34:56.054321-00:00"},
		{at(0).In(time.UTC), "2012-01-23T12:34:56.054321-00:00"},
		{at(4980), "2012-01-23T12:34:56.054321+01:23"},
		{at(-4980), "2012-01-23T12:34:56.054321-01:23"},
		{at(30), "2012-01-23T12:34:56.054321-00:00"}, // floored
		{at(59), "2012-01-23T12:34:56.054321-00:00"},
		{at(60), "2012-01-23T12:34:56.054321+00:01"},
		{at(-1), "2012-01-23T12:34:56.054321-00:01"},
		{at(-30), "2012-01-23T12:34:56.054321-00:01"},
		{at(-61), "2012-01-23T12:34:56.054321-00:02"},
		{at(86399), "2012-01-23T12:34:56.054321+23:59"},
		{at(-86399), "2012-01-23T12:34:56.054321-24:00"}, // as Python: -23:59:59, floored
		{time.Time{}, "0001-01-01T00:00:00.000000-00:00"},
		{time.Date(9999, 12, 31, 23, 59, 59, 999999999, fixedZone(-3600)), "9999-12-31T23:59:59.999999-01:00"},
	}
	for _, test := range tests {
		got, err := AppendDateTime(nil, test.t)
		if err != nil || string(got) != test.want {
			t.Errorf("AppendDateTime(%v) = %s, %v, want %s", test.t, got, err, test.want)
		}
	}
	for _, bad := range []time.Time{
		at(86400), at(-86400), time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC).In(fixedZone(3600)),
	} {
		if got, err := AppendDateTime([]byte("x"), bad); err == nil || string(got) != "x" {
			t.Errorf("AppendDateTime(%v) = %s, %v", bad, got, err)
		}
	}
}

func TestParseDateTimeLocation(t *testing.T) {
	for text, offset := range map[string]int{
		"2012-01-23T12:34:56.054321+00:00": 0, "2012-01-23T12:34:56.054321-00:00": 0,
		"2012-01-23T12:34:56.054321+01:23": 4980, "2012-01-23T12:34:56.054321-01:23": -4980,
		"2012-01-23T12:34:56.054321+99:99": 99*3600 + 99*60, "2012-01-23T12:34:56.054321+-1:30": -1800,
	} {
		got, err := ParseDateTime([]byte(text))
		if err != nil {
			t.Errorf("ParseDateTime(%s): %v", text, err)
			continue
		}
		if want := time.Date(2012, 1, 23, 12, 34, 56, 54321000, fixedZone(offset)); !got.Equal(want) || got.Hour() != 12 {
			t.Errorf("ParseDateTime(%s) = %v, want %v", text, got, want)
		}
		if _, seconds := got.Zone(); seconds != offset || (got.Location() == time.UTC) != (offset == 0) {
			t.Errorf("ParseDateTime(%s) is in %v, %d s", text, got.Location(), seconds)
		}
	}
}

func TestPathIsAbsolute(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[Path]string{"": dir, "x/../y": filepath.Join(dir, "y"), "..": filepath.Dir(dir), "/a/./b/../c//d/": "/a/c/d"} {
		if got, err := ParsePath([]byte(text)); err != nil || string(got) != want {
			t.Errorf("ParsePath(%q) = %q, %v, want %q", text, got, err, want)
		}
		if got, err := AppendPath([]byte("p="), text); err != nil || string(got) != "p="+want {
			t.Errorf("AppendPath(%q) = %q, %v, want %q", text, got, err, "p="+want)
		}
	}
}

func TestElements(t *testing.T) {
	var value []byte
	for _, element := range []string{"a", "", "bcd"} {
		var err error
		if value, err = AppendElement(value, []byte(element)); err != nil {
			t.Fatal(err)
		}
	}
	if want := "\x00\x01a\x00\x00\x00\x03bcd"; string(value) != want {
		t.Errorf("AppendElement made %q, want %q", value, want)
	}
	var got []string
	for element := range Elements(append(value, "\x00\x05tail"...)) {
		got = append(got, string(element))
	}
	if want := []string{"a", "", "bcd"}; !slices.Equal(got, want) {
		t.Errorf("Elements = %q, want %q", got, want)
	}
	for element := range Elements(value) {
		if string(element) != "a" {
			t.Errorf("the first element is %q", element)
		}
		break
	}
	if _, err := AppendElement(nil, make([]byte, MaxValue+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("AppendElement of %d bytes: %v", MaxValue+1, err)
	}
}

func TestBoxes(t *testing.T) {
	one, two := "\x00\x01x\x00\x017", "\x00\x01x\x00\x019"
	tests := []struct {
		value string
		want  []string
		fails bool
	}{
		{"", nil, false},
		{"\x00\x00", []string{""}, false},
		{one + "\x00\x00" + two + "\x00\x00", []string{one, two}, false},
		{one + "\x00\x00" + two, []string{one}, false},
		{one + "\x00\x00" + two + "\x00", []string{one}, false},
		{one + "\x00\x00" + two + "\x01", []string{one}, false},
		{one + "\x00\x00" + two + "\x01\x00", []string{one}, true},
		{"GET / HTTP/1.1\r\n", nil, true},
	}
	for _, test := range tests {
		var got []string
		var failed error
		for pairs, err := range Boxes([]byte(test.value)) {
			if err != nil {
				failed = err
				continue
			}
			got = append(got, string(pairs))
		}
		if !slices.Equal(got, test.want) || (failed != nil) != test.fails {
			t.Errorf("Boxes(%q) = %q, %v, want %q, an error: %t", test.value, got, failed, test.want, test.fails)
		}
	}
}

func TestAppendUnicodeIsStrict(t *testing.T) {
	if got, err := AppendUnicode([]byte("s="), "h\u00e9"); err != nil || string(got) != "s=h\u00e9" {
		t.Errorf("AppendUnicode = %q, %v", got, err)
	}
	// What a lone surrogate of JavaScript would become if nobody looked.
	if got, err := AppendUnicode([]byte("s="), "\xed\xa0\x80"); err == nil || string(got) != "s=" {
		t.Errorf("AppendUnicode of a surrogate = %q, %v", got, err)
	}
}
