package amp

import (
	"errors"
	"time"
)

// dateTimeLen is the length of every DateTime: 2012-01-23T12:34:56.054321-01:23.
const dateTimeLen = 32

var (
	errDateTime = errors.New("not a date and time like 2012-01-23T12:34:56.054321-01:23")
	errDate     = errors.New("no such date or time")
	errYear     = errors.New("the year is not in 1 to 9999")
	errOffset   = errors.New("the offset from UTC is a day or more")
)

// AppendDateTime appends t to dst in 32 bytes, as Twisted writes it: the time
// in t's location, microseconds, and the offset from UTC in minutes, rounded
// down; UTC itself is -00:00 (amp-wire item Y7). What is finer than a
// microsecond is cut off. It fails with a *ValueError, and returns dst as it
// was, if the year is not in 1 to 9999 or the offset a day or more.
func AppendDateTime(dst []byte, t time.Time) ([]byte, error) {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	_, offset := t.Zone() // in seconds
	if year < 1 || year > 9999 {
		return dst, valueError("DateTime", t.Format("2006-01-02T15:04:05Z07:00"), errYear)
	}
	if offset <= -86400 || offset >= 86400 {
		return dst, valueError("DateTime", t.Format("2006-01-02T15:04:05Z07:00"), errOffset)
	}
	sign, minutes := byte('-'), offset/60
	if offset%60 < 0 {
		minutes--
	}
	if minutes > 0 {
		sign = '+'
	} else {
		minutes = -minutes
	}
	dst = append(appendDigits(dst, year, 4), '-')
	dst = append(appendDigits(dst, int(month), 2), '-')
	dst = append(appendDigits(dst, day, 2), 'T')
	dst = append(appendDigits(dst, hour, 2), ':')
	dst = append(appendDigits(dst, minute, 2), ':')
	dst = append(appendDigits(dst, second, 2), '.')
	dst = append(appendDigits(dst, t.Nanosecond()/1000, 6), sign)
	dst = append(appendDigits(dst, minutes/60, 2), ':')
	return appendDigits(dst, minutes%60, 2), nil
}

// appendDigits appends n with leading zeros.
func appendDigits(dst []byte, n, width int) []byte {
	for range width {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; n > 0; i-- {
		dst[i] = '0' + byte(n%10)
		n /= 10
	}
	return dst
}

// ParseDateTime reads a DateTime. Like Twisted it looks at length and positions
// only: anything may stand between the fields, each field is an Integer that
// fits its place, the sign is + or -. The offset may be as large as it can be
// written, up to 99 hours and 99 minutes, though AppendDateTime refuses a day
// or more. The location is time.UTC for a zero offset, else a fixed zone. It
// fails with a *ValueError.
func ParseDateTime(text []byte) (time.Time, error) {
	fail := func(why error) (time.Time, error) {
		return time.Time{}, valueError("DateTime", text, why)
	}
	if len(text) != dateTimeLen {
		return fail(errDateTime)
	}
	if !isASCII(string(text)) {
		return fail(errASCII)
	}
	var fields [9]int
	for i, at := range [...][2]int{{0, 4}, {5, 7}, {8, 10}, {11, 13}, {14, 16}, {17, 19}, {20, 26}, {27, 29}, {30, 32}} {
		neg, mag, _, err := scanInteger(text[at[0]:at[1]])
		if err != nil {
			return fail(errDateTime)
		}
		if fields[i] = int(mag); neg {
			fields[i] = -int(mag)
		}
	}
	year, month, day := fields[0], fields[1], fields[2]
	hour, minute, second, micro := fields[3], fields[4], fields[5], fields[6]
	offset := (fields[7]*60 + fields[8]) * 60
	switch sign := text[26]; {
	case sign == '-':
		offset = -offset
	case sign != '+':
		return fail(errDateTime)
	}
	switch {
	case year < 1: // four characters hold no more than 9999
		return fail(errYear)
	case month < 1 || month > 12, day < 1 || day > daysIn(year, month),
		hour < 0 || hour > 23, minute < 0 || minute > 59, second < 0 || second > 59, micro < 0:
		return fail(errDate)
	}
	zone := time.UTC
	if offset != 0 {
		zone = time.FixedZone("", offset)
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, micro*1000, zone), nil
}

// daysIn returns how many days a month has: the 0th of the next is its last.
func daysIn(year, month int) int {
	return time.Date(year, time.Month(month+1), 0, 0, 0, 0, 0, time.UTC).Day()
}
