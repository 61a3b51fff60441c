package amp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
)

// MaxDigits is how many digits an Integer has at most, leading zeros
// included: the limit of Python's int since version 3.11 (amp-wire item Y1).
const MaxDigits = 4300

var (
	errWhole  = errors.New("not a whole number")
	errDigits = fmt.Errorf("more than %d digits", MaxDigits)
)

// AppendInteger appends n to dst.
func AppendInteger(dst []byte, n int64) []byte {
	return strconv.AppendInt(dst, n, 10)
}

// AppendBigInteger appends n to dst. It fails with a *ValueError, and returns
// dst as it was, if n has more than MaxDigits digits.
func AppendBigInteger(dst []byte, n *big.Int) ([]byte, error) {
	// Ask for the bits first: writing millions of digits takes long.
	tooMany := n.BitLen() > MaxDigits*10/3
	out := dst
	if !tooMany {
		out = n.Append(dst, 10)
		digits := out[len(dst):]
		tooMany = len(bytes.TrimPrefix(digits, []byte("-"))) > MaxDigits
	}
	if tooMany {
		return dst, &ValueError{Type: "Integer", Text: fmt.Sprintf("of %d bits", n.BitLen()), Err: errDigits}
	}
	return out, nil
}

// ParseInteger reads an Integer as Python's int does: white space around it, a
// sign, leading zeros and single underscores between digits are allowed. big
// is nil if the number fits n. It fails with a *ValueError.
func ParseInteger(text []byte) (n int64, big *big.Int, err error) {
	neg, mag, digits, err := scanInteger(text)
	if err != nil {
		return 0, nil, err
	}
	if n, ok := signed(neg, mag); ok && digits == nil {
		return n, nil, nil
	}
	return 0, bigInteger(neg, mag, digits), nil
}

// scanInteger splits an Integer into sign and magnitude. If the magnitude does
// not fit 64 bits, digits is what to read it from, underscores among them;
// otherwise digits is nil.
func scanInteger(text []byte) (neg bool, mag uint64, digits []byte, err error) {
	s := trimSpace(text)
	if len(s) > 0 && (s[0] == '+' || s[0] == '-') {
		neg = s[0] == '-'
		s = s[1:]
	}
	count, fits := 0, true
	before := byte('_') // an underscore stands between two digits
	for _, c := range s {
		d := c - '0'
		switch {
		case c == '_' && before != '_':
		case d > 9:
			return false, 0, nil, valueError("Integer", text, errWhole)
		default:
			count++
			sum := mag*10 + uint64(d)
			fits = fits && mag <= math.MaxUint64/10 && sum >= mag*10
			mag = sum
		}
		before = c
	}
	switch {
	case before == '_': // also if there is no digit at all
		return false, 0, nil, valueError("Integer", text, errWhole)
	case count > MaxDigits:
		return false, 0, nil, valueError("Integer", text, errDigits)
	case !fits:
		return neg, 0, s, nil
	}
	return neg, mag, nil, nil
}

// plainInteger reads the Integers that peers write: digits, and a minus before
// them perhaps, no more than an int64 holds for sure.
func plainInteger(text []byte) (n int64, ok bool) {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	if len(digits) < len(text) {
		n = -n
	}
	return n, true
}

// signed returns the number of a sign and a magnitude, and whether an int64
// holds it.
func signed(neg bool, mag uint64) (n int64, ok bool) {
	if neg {
		return -int64(mag), mag <= 1<<63
	}
	return int64(mag), mag <= math.MaxInt64
}

// bigInteger returns the number that scanInteger found.
func bigInteger(neg bool, mag uint64, digits []byte) *big.Int {
	n := new(big.Int).SetUint64(mag)
	if digits != nil {
		n.SetString(string(bytes.ReplaceAll(digits, []byte("_"), nil)), 10)
	}
	if neg {
		n.Neg(n)
	}
	return n
}

// trimSpace cuts the white space that Python's int and float ignore. It is
// ASCII; bytes.TrimSpace would take U+0085 as well.
func trimSpace(s []byte) []byte {
	for len(s) > 0 && isSpace(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
