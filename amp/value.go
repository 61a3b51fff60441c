package amp

import (
	"errors"
	"unicode/utf8"
)

// A ValueError is a value that is not what its type requires: text that does
// not read as the type, or a Go value that the type cannot express. Where
// Twisted's argument types raise an exception, this package returns one.
type ValueError struct {
	Key  string // whose value it is, with its place in a list: a, rows[2].name; "" if unknown
	Type string // the AMP type: Integer, Unicode, …; a Go type for an encoding.TextMarshaler
	Text string // what was found, quoted and shortened to 64 bytes; "" if there was nothing
	Err  error  // what is wrong with it
}

// Error implements error.
func (e *ValueError) Error() string {
	s := "amp: "
	if e.Key != "" {
		s += "argument " + quote(e.Key) + ": "
	}
	s += e.Type
	if e.Text != "" {
		s += " " + e.Text
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *ValueError) Unwrap() error { return e.Err }

// valueError returns the error for text that is not of the type.
func valueError[T string | []byte](kind string, text T, why error) *ValueError {
	// No more of it than quote shows: the text may be large, and from anyone.
	return &ValueError{Type: kind, Text: quote(string(text[:min(len(text), quoted+1)])), Err: why}
}

// quoted is how many bytes quote shows.
const quoted = 64

// at adds to an error of a value where that value is.
func at(where string, err error) error {
	switch err := err.(type) {
	case *ValueError:
		err.Key = where + err.Key
	case *TooLongError:
		err.Key = where + err.Key
	}
	return err
}

var (
	errMissing = errors.New("missing")
	errNil     = errors.New("nil, and not optional")
	errBoolean = errors.New("neither True nor False")
	errUTF8    = errors.New("not UTF-8")
	errASCII   = errors.New("not ASCII")
)

// AppendBoolean appends True or False to dst (amp-wire item Y5).
func AppendBoolean(dst []byte, b bool) []byte {
	if b {
		return append(dst, "True"...)
	}
	return append(dst, "False"...)
}

// ParseBoolean reads a Boolean: exactly True or False. It fails with a
// *ValueError.
func ParseBoolean(text []byte) (bool, error) {
	switch string(text) {
	case "True":
		return true, nil
	case "False":
		return false, nil
	}
	return false, valueError("Boolean", text, errBoolean)
}

// AppendUnicode appends s to dst: UTF-8, kept as it is. It fails with a
// *ValueError, and returns dst as it was, if s is not UTF-8 (amp-wire item Y3).
func AppendUnicode(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return dst, valueError("Unicode", s, errUTF8)
	}
	return append(dst, s...), nil
}

// ParseUnicode reads a Unicode: strict UTF-8, of which nothing is replaced or
// normalized. It fails with a *ValueError.
func ParseUnicode(text []byte) (string, error) {
	if !utf8.Valid(text) {
		return "", valueError("Unicode", text, errUTF8)
	}
	return string(text), nil
}
