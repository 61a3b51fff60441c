package amp

import (
	"cmp"
	"errors"
	"math/big"
	"strconv"
	"strings"
)

// A Decimal is a decimal number as Python's decimal.Decimal has it: a sign, a
// coefficient of any number of digits and an exponent, all of them kept. So
// 1.10 is not 1.1, 1E+2 is not 100 and -0 is not 0, though they are numbers of
// the same size: == compares what is written, Cmp compares sizes. It may also be
// an infinity or not a number. The zero Decimal is 0.
//
// Arithmetic is for others: Rat gives an exact big.Rat, and String what any
// decimal package parses.
type Decimal struct {
	digits string // coefficient or a NaN's payload, without leading zeros: "" is 0
	exp    int64  // the coefficient counts units of ten to this power
	kind   decimalKind
	neg    bool
}

type decimalKind uint8

const (
	finite decimalKind = iota
	infinite
	quietNaN
	signalingNaN
)

// The exponents that Python takes for a number without rounding it.
const (
	maxDecimalExp = 999999999999999999   // of the first digit
	minDecimalExp = -1999999999999999997 // of the last digit
)

var (
	errDecimal    = errors.New("not a decimal number")
	errDecimalExp = errors.New("exponent out of range")
)

// NewDecimal returns the number coefficient × 10^exponent. It is for small
// numbers in programs, such as NewDecimal(1999, -2) for 19.99; ParseDecimal
// makes any.
func NewDecimal(coefficient int64, exponent int32) Decimal {
	digits, neg := strings.CutPrefix(strconv.FormatInt(coefficient, 10), "-")
	return Decimal{digits: strings.TrimLeft(digits, "0"), exp: int64(exponent), neg: neg}
}

// ParseDecimal reads a Decimal as Python's decimal.Decimal does: white space
// around it, underscores anywhere, a sign, an exponent, and inf, infinity, nan
// and snan in any case, the latter two with digits behind them, are allowed.
// Nothing is rounded. It fails with a *ValueError.
func ParseDecimal(text string) (Decimal, error) {
	if !isASCII(text) {
		return Decimal{}, valueError("Decimal", text, errASCII)
	}
	// Python's str.isspace, unlike that of its bytes, has U+001C to U+001F too.
	s := strings.Trim(text, " \t\n\v\f\r\x1c\x1d\x1e\x1f")
	s = strings.ReplaceAll(s, "_", "")
	var d Decimal
	if s != "" && (s[0] == '+' || s[0] == '-') {
		d.neg = s[0] == '-'
		s = s[1:]
	}
	for _, special := range [...]struct {
		prefix string
		kind   decimalKind
	}{{"nan", quietNaN}, {"snan", signalingNaN}} {
		if n := len(special.prefix); len(s) >= n && equalFold(s[:n], special.prefix) {
			d.kind = special.kind
			d.digits = strings.TrimLeft(s[n:], "0")
			if strings.Trim(d.digits, "0123456789") != "" {
				return Decimal{}, valueError("Decimal", text, errDecimal)
			}
			return d, nil
		}
	}
	if equalFold(s, "inf") || equalFold(s, "infinity") {
		d.kind = infinite
		return d, nil
	}
	mantissa, exponent, ok := cutNumber(s)
	if !ok {
		return Decimal{}, valueError("Decimal", text, errDecimal)
	}
	if exponent != "" {
		var err error
		if d.exp, err = strconv.ParseInt(exponent, 10, 64); err != nil {
			return Decimal{}, valueError("Decimal", text, errDecimalExp)
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	d.digits = strings.TrimLeft(whole+fraction, "0")
	// Only far from both ends of an int64 do the sums below not overflow.
	if d.exp > 2*maxDecimalExp || d.exp < 2*minDecimalExp {
		return Decimal{}, valueError("Decimal", text, errDecimalExp)
	}
	d.exp -= int64(len(fraction))
	if d.adjusted() > maxDecimalExp || d.exp < minDecimalExp {
		return Decimal{}, valueError("Decimal", text, errDecimalExp)
	}
	return d, nil
}

// adjusted returns the exponent of the first digit; a zero's digit is its 0.
func (d Decimal) adjusted() int64 {
	return d.exp + int64(max(len(d.digits), 1)) - 1
}

// String returns d as Python's str does, which is its text on the wire
// (amp-wire item Y6): 1.10, 1E+2, 0E-7, Infinity, NaN, sNaN123.
func (d Decimal) String() string {
	b, _ := d.AppendText(nil) // never fails
	return string(b)
}

// AppendText implements encoding.TextAppender with the text of String.
func (d Decimal) AppendText(dst []byte) ([]byte, error) {
	if d.neg {
		dst = append(dst, '-')
	}
	switch d.kind {
	case infinite:
		return append(dst, "Infinity"...), nil
	case quietNaN:
		return append(append(dst, "NaN"...), d.digits...), nil
	case signalingNaN:
		return append(append(dst, "sNaN"...), d.digits...), nil
	}
	digits := d.digits
	if digits == "" {
		digits = "0"
	}
	// Plain if no zero must be added behind and at most five in front.
	if left := d.adjusted(); d.exp <= 0 && left >= -6 {
		point := len(digits) + int(d.exp)
		switch {
		case d.exp == 0:
			return append(dst, digits...), nil
		case point > 0:
			dst = append(append(dst, digits[:point]...), '.')
			return append(dst, digits[point:]...), nil
		}
		dst = append(dst, "0."...)
		for range -point {
			dst = append(dst, '0')
		}
		return append(dst, digits...), nil
	}
	dst = append(dst, digits[0])
	if len(digits) > 1 {
		dst = append(append(dst, '.'), digits[1:]...)
	}
	dst = append(dst, 'E')
	if d.adjusted() >= 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, d.adjusted(), 10), nil
}

// MarshalText implements encoding.TextMarshaler with the text of String.
func (d Decimal) MarshalText() ([]byte, error) { return d.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler with ParseDecimal.
func (d *Decimal) UnmarshalText(text []byte) error {
	parsed, err := ParseDecimal(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}

// IsNaN reports whether d is not a number, quiet or signaling.
func (d Decimal) IsNaN() bool { return d.kind == quietNaN || d.kind == signalingNaN }

// IsInf reports whether d is an infinity of either sign.
func (d Decimal) IsInf() bool { return d.kind == infinite }

// Sign returns -1 if d < 0, 0 if it is a zero of either sign or not a number,
// and 1 if d > 0.
func (d Decimal) Sign() int {
	switch {
	case d.IsNaN() || d.kind == finite && d.digits == "":
		return 0
	case d.neg:
		return -1
	}
	return 1
}

// Equal reports whether d and e are written in the same way; it is ==, for
// packages that look for such a method. Cmp compares sizes.
func (d Decimal) Equal(e Decimal) bool { return d == e }

// Cmp compares sizes: it returns -1 if d < e, 0 if d = e, as 1E+2 and 100 are,
// and 1 if d > e. ok is false if either is not a number.
func (d Decimal) Cmp(e Decimal) (c int, ok bool) {
	if d.IsNaN() || e.IsNaN() {
		return 0, false
	}
	sign := d.Sign()
	if c := cmp.Compare(sign, e.Sign()); c != 0 || sign == 0 {
		return c, true
	}
	if d.kind != finite || e.kind != finite {
		return sign * cmp.Compare(d.kind, e.kind), true // infinite is the greater
	}
	if c := cmp.Compare(d.adjusted(), e.adjusted()); c != 0 {
		return sign * c, true
	}
	return sign * strings.Compare(strings.TrimRight(d.digits, "0"), strings.TrimRight(e.digits, "0")), true
}

// Rat returns d as an exact fraction. ok is false if d is not finite or its
// exponent is beyond ±MaxValue, which would take megabytes and more.
func (d Decimal) Rat() (r *big.Rat, ok bool) {
	if d.kind != finite || d.exp > MaxValue || d.exp < -MaxValue {
		return nil, false
	}
	n, scale := new(big.Int), new(big.Int)
	if d.digits != "" {
		n.SetString(d.digits, 10)
	}
	if d.neg {
		n.Neg(n)
	}
	scale.Exp(big.NewInt(10), big.NewInt(max(d.exp, -d.exp)), nil)
	if d.exp < 0 {
		return new(big.Rat).SetFrac(n, scale), true
	}
	return new(big.Rat).SetInt(n.Mul(n, scale)), true
}
