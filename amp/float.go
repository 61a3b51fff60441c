package amp

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strconv"
)

var errNumber = errors.New("not a number")

// AppendFloat appends f to dst as Python's repr writes it: the shortest text
// that reads back as f, always with a point or an exponent, the latter below
// 1e-04 and from 1e+16; inf, -inf, nan (amp-wire item Y4).
func AppendFloat(dst []byte, f float64) []byte {
	switch size := math.Abs(f); {
	case math.IsNaN(f):
		return append(dst, "nan"...)
	case size > math.MaxFloat64:
		if f < 0 {
			dst = append(dst, '-')
		}
		return append(dst, "inf"...)
	case size >= 1e16 || size < 1e-4 && size != 0:
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	case size == math.Trunc(size):
		return append(strconv.AppendFloat(dst, f, 'f', -1, 64), '.', '0')
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// ParseFloat reads a Float as Python's float does: white space around it, a
// sign, single underscores between digits, and inf, infinity and nan in any
// case are allowed, hexadecimal is not. What is too large is an infinity, not
// an error. It fails with a *ValueError.
func ParseFloat(text []byte) (float64, error) {
	var room [40]byte // for any float that AppendFloat writes
	number := room[:0]
	body := trimSpace(text)
	sign := 1.0
	if len(body) > 0 && (body[0] == '+' || body[0] == '-') {
		if body[0] == '-' {
			sign = -1
		}
		body = body[1:]
	}
	switch {
	case equalFold(body, "inf"), equalFold(body, "infinity"):
		return math.Inf(int(sign)), nil
	case equalFold(body, "nan"):
		return math.NaN(), nil
	}
	for i, c := range body {
		if c != '_' {
			number = append(number, c)
		} else if i == 0 || i == len(body)-1 || !isDigit(body[i-1]) || !isDigit(body[i+1]) {
			return 0, valueError("Float", text, errNumber)
		}
	}
	mantissa, exponent, ok := cutNumber(number)
	if !ok {
		return 0, valueError("Float", text, errNumber)
	}
	if len(number) > longNumber {
		number = normalize(mantissa, exponent)
	}
	f, _ := strconv.ParseFloat(string(number), 64) // only out of range by now: an infinity
	return math.Copysign(f, sign), nil
}

// longNumber is a length up to which strconv reads every number right. It
// loses count of more than 800 digits before the point, and cuts exponents to
// about 10,000, which a mantissa of as many zeros outweighs.
const longNumber = 300

// normalize returns a number as 0.DIGITS and an exponent, which strconv reads
// right at any length.
func normalize(mantissa, exponent []byte) []byte {
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	all := slices.Concat(whole, fraction)
	digits := bytes.TrimLeft(all, "0")
	// Without an exponent it is 0. One out of range becomes the greatest or
	// least int32: enough for an infinity or zero, whatever the digits are.
	exp, _ := strconv.ParseInt(string(exponent), 10, 32)
	exp += int64(len(whole) - (len(all) - len(digits)))
	out := append([]byte("0."), digits...)
	out = append(out, "0e"...)
	return strconv.AppendInt(out, exp, 10)
}

// cutNumber splits a decimal number without a sign, like 12, 1.5, .5, 5. or
// 1e-7, at its exponent. ok is false if it is anything else. exponent is nil
// if there is none.
func cutNumber[T string | []byte](number T) (mantissa, exponent T, ok bool) {
	i, digits := 0, 0
	for point := false; i < len(number) && (isDigit(number[i]) || number[i] == '.' && !point); i++ {
		if number[i] == '.' {
			point = true
		} else {
			digits++
		}
	}
	mantissa = number[:i]
	if digits == 0 {
		return mantissa, exponent, false
	}
	if i == len(number) {
		return mantissa, exponent, true
	}
	if number[i]|0x20 != 'e' {
		return mantissa, exponent, false
	}
	exponent = number[i+1:]
	i = 0
	if len(exponent) > 0 && (exponent[0] == '+' || exponent[0] == '-') {
		i = 1
	}
	if i == len(exponent) {
		return mantissa, exponent, false
	}
	for ; i < len(exponent); i++ {
		if !isDigit(exponent[i]) {
			return mantissa, exponent, false
		}
	}
	return mantissa, exponent, true
}

// equalFold reports whether s is the lower-case ASCII text in any case.
func equalFold[T string | []byte](s T, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		if s[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}
