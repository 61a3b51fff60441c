package amp

import (
	"encoding/binary"
	"errors"
	"iter"
)

// AppendElement appends an element of a ListOf to dst: its length in 16 bits
// and the element (amp-wire item Y8). It fails with a *TooLongError, and
// returns dst as it was, if the element is longer than MaxValue; the whole
// list is a value and must not be longer either.
func AppendElement(dst, element []byte) ([]byte, error) {
	if len(element) > MaxValue {
		return dst, &TooLongError{Local: true, Len: len(element)}
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(element)))
	return append(dst, element...), nil
}

// Elements yields the elements of a ListOf; they are parts of value. What
// follows the last whole element is ignored, as Twisted does.
func Elements(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			element, rest, ok := nextElement(value)
			if !ok || !yield(element) {
				return
			}
			value = rest
		}
	}
}

// nextElement splits the first element from a ListOf. ok is false if there is
// no whole one.
func nextElement(value []byte) (element, rest []byte, ok bool) {
	if len(value) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(value))
	if len(value) < n {
		return nil, nil, false
	}
	return value[2:n:n], value[n:], true
}

// Boxes yields the boxes of an AmpList as their wire pairs, without the
// terminator; they are parts of value. What follows the last whole box is
// ignored, as Twisted does, unless a key in it is too long: that yields a
// *ValueError and ends the sequence (amp-wire item Y9).
func Boxes(value []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			pairs, rest, ok, err := nextBox(value)
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok || !yield(pairs, nil) {
				return
			}
			value = rest
		}
	}
}

// nextBox splits the first box from an AmpList. ok is false if there is no
// whole one.
func nextBox(value []byte) (pairs, rest []byte, ok bool, err error) {
	for n := 0; ; {
		m, err := pairLen(value[n:])
		switch {
		case err == errShort:
			return nil, nil, false, nil
		case err != nil:
			return nil, nil, false, &ValueError{Type: "AmpList", Err: errSubKey}
		case m == 2: // the terminator
			return value[:n:n], value[n+2:], true, nil
		}
		n += m
	}
}

var errSubKey = errors.New("a key is too long")
