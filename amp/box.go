package amp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Limits of the wire format (amp-wire items F2, F3).
const (
	MaxKey   = 255   // bytes in a key; a key has at least one
	MaxValue = 65535 // bytes in a value, which may be empty
)

// A Box is one AMP message: keys of 1 to MaxKey arbitrary bytes, values of up
// to MaxValue arbitrary bytes. The keys _ask, _answer, _command, _error,
// _error_code and _error_description belong to the protocol.
type Box map[string][]byte

// Append appends the wire form of b to dst and returns the extended slice.
// Pairs are written in the byte order of their keys, as Twisted does (item
// F5), so equal boxes have equal bytes. It fails with a *TooLongError or
// ErrEmptyKey, and returns dst as it was, if a pair cannot be written.
func (b Box) Append(dst []byte) ([]byte, error) {
	out, err := b.appendPairs(dst)
	if err != nil {
		return dst, err
	}
	return append(out, 0, 0), nil
}

// appendPairs is Append without the terminator.
func (b Box) appendPairs(dst []byte) ([]byte, error) {
	// Most boxes are small: sort their keys without an allocation.
	var few [8]string
	keys := slices.AppendSeq(few[:0], maps.Keys(b))
	slices.Sort(keys)
	out := dst
	for _, key := range keys {
		var err error
		if out, err = AppendPair(out, key, b[key]); err != nil {
			return dst, err
		}
	}
	return out, nil
}

// AppendPair appends the wire form of one pair to dst: a 16-bit length and the
// key, a 16-bit length and the value. It fails with a *TooLongError or
// ErrEmptyKey, and returns dst as it was, if the pair cannot be written.
func AppendPair[K, V string | []byte](dst []byte, key K, value V) ([]byte, error) {
	switch {
	case len(key) == 0:
		return dst, ErrEmptyKey
	case len(key) > MaxKey:
		return dst, &TooLongError{Key: string(key), IsKey: true, Local: true, Len: len(key)}
	case len(value) > MaxValue:
		return dst, &TooLongError{Key: string(key), Local: true, Len: len(value)}
	}
	return appendPair(dst, key, value), nil
}

// appendPair is AppendPair for a pair that is known to fit.
func appendPair[K, V string | []byte](dst []byte, key K, value V) []byte {
	dst = append(dst, 0, byte(len(key)))
	dst = append(dst, key...)
	dst = append(dst, byte(len(value)>>8), byte(len(value)))
	return append(dst, value...)
}

// nextPair splits the first pair from wire pairs, which are well formed and
// without a terminator. ok is false at their end.
func nextPair(pairs []byte) (key, value, rest []byte, ok bool) {
	if len(pairs) == 0 {
		return nil, nil, nil, false
	}
	n := 2 + int(pairs[1])
	m := n + 2 + int(binary.BigEndian.Uint16(pairs[n:]))
	return pairs[2:n:n], pairs[n+2 : m : m], pairs[m:], true
}

// findPair returns the value of key among wire pairs: the last one, as in a
// dictionary (item F6).
func findPair(pairs []byte, key string) (value []byte, ok bool) {
	for {
		k, v, rest, more := nextPair(pairs)
		if !more {
			return value, ok
		}
		if string(k) == key {
			value, ok = v, true
		}
		pairs = rest
	}
}

// boxOf copies wire pairs into a Box, leaving out the keys that skip names.
func boxOf(pairs []byte, skip func(key []byte) bool) Box {
	b := make(Box, countPairs(pairs))
	// Two allocations for all keys and all values.
	text, data := string(pairs), slices.Clone(pairs)
	for rest := data; ; {
		at := len(data) - len(rest) + 2
		key, value, after, ok := nextPair(rest)
		if !ok {
			return b
		}
		if skip == nil || !skip(key) {
			b[text[at:at+len(key)]] = value
		}
		rest = after
	}
}

func countPairs(pairs []byte) int {
	for n := 0; ; n++ {
		_, _, rest, ok := nextPair(pairs)
		if !ok {
			return n
		}
		pairs = rest
	}
}

// A scanner finds the end of the box at the start of a growing buffer. It
// remembers how far it came, so that a box that arrives byte by byte is read
// once.
type scanner struct {
	off   int // bytes of whole pairs seen so far
	pairs int // how many they are
}

// errShort says that the buffer ends before the pair or the box does.
var errShort = errors.New("amp: short buffer")

// next returns the pairs of the box at the start of data, without the
// terminator, and its whole length, and sets its header. It returns errShort while
// the box is incomplete; call it again with more data behind the same start.
// A box that exceeds the limits of opts is ErrBoxTooBig.
func (s *scanner) next(data []byte, opts *Options, h *header) (pairs []byte, length int, err error) {
	*h = header{}
	off, count := s.off, s.pairs
	for {
		rest := data[off:]
		n, err := pairLen(rest)
		switch {
		case err != nil:
			if err == errShort && over(len(data), opts.MaxBox) {
				return nil, 0, tooBig(opts)
			}
			s.off, s.pairs = off, count
			return nil, 0, err
		case n == 2:
			pairs = data[:off:off]
			if s.off > 0 { // the pairs before were seen elsewhere, perhaps
				*h = header{}
				for at := 0; at < len(pairs); at += n {
					n, _ = pairLen(pairs[at:])
					h.add(pairs[at:at+n], at)
				}
				*s = scanner{}
			}
			h.close()
			return pairs, off + 2, nil
		}
		if rest[2] == '_' {
			h.add(rest[:n], off)
		}
		off += n
		count++
		if over(off, opts.MaxBox) || over(count, opts.MaxPairs) {
			return nil, 0, tooBig(opts)
		}
	}
}

func tooBig(opts *Options) error {
	return fmt.Errorf("%w: the limits are %d bytes and %d pairs, see Options.MaxBox and MaxPairs", ErrBoxTooBig, opts.MaxBox, opts.MaxPairs)
}

// pairLen returns the length of the pair at the start of data; 2 means a
// terminator, since a zero length ends the box in key position only (item F3).
// A key that is too long is refused as soon as the two bytes of its length are
// there (item F9).
func pairLen(data []byte) (int, error) {
	if len(data) < 2 {
		return 0, errShort
	}
	if data[0] != 0 {
		return 0, &TooLongError{IsKey: true, Len: int(binary.BigEndian.Uint16(data))}
	}
	n := 4 + int(data[1])
	if n == 4 {
		return 2, nil
	}
	if len(data) < n {
		return 0, errShort
	}
	n += int(data[n-2])<<8 | int(data[n-1])
	if len(data) < n {
		return 0, errShort
	}
	return n, nil
}

// checkPairs reports whether pairs is a run of whole pairs without a
// terminator.
func checkPairs(pairs []byte) bool {
	for len(pairs) > 0 {
		n, err := pairLen(pairs)
		if err != nil || n == 2 {
			return false
		}
		pairs = pairs[n:]
	}
	return true
}

// ReadBox reads one box from r. It returns io.EOF only between two boxes, and
// a *TooLongError for a key length that no AMP peer sends. It reads bytes one
// pair at a time and never beyond the box; give it a buffered reader. There is
// no limit on the size of a box here: a Conn has one, see Options.MaxBox.
func ReadBox(r io.Reader) (Box, error) {
	var head [2]byte
	box := make(Box)
	for first := true; ; first = false {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if !first && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if head[0] != 0 {
			return nil, &TooLongError{IsKey: true, Len: int(binary.BigEndian.Uint16(head[:]))}
		}
		if head[1] == 0 {
			return box, nil
		}
		key := make([]byte, head[1])
		if _, err := io.ReadFull(r, key); err != nil {
			return nil, noEOF(err)
		}
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, noEOF(err)
		}
		value := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(r, value); err != nil {
			return nil, noEOF(err)
		}
		box[string(key)] = value
	}
}

// noEOF turns an end between two boxes into an end within one.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
