package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// Verify reads all counters and files of a namespace and yields what is wrong
// with them, each an error that is ErrDamaged. Any other error ends it. What
// plain keys hold is their owner's affair.
func Verify(tx Tx) iter.Seq[error] {
	return func(yield func(error) bool) {
		for _, verify := range []func(Tx, func(error) bool) bool{verifyCounters, verifyFiles, verifyPieces} {
			if !verify(tx, yield) {
				return
			}
		}
	}
}

func verifyCounters(tx Tx, yield func(error) bool) bool {
	for e, err := range tx.Scan(Counters, Range{}) {
		if err == nil {
			if _, err = parseCounter(e.Value); err != nil {
				err = fmt.Errorf("counter %.80q: %w", e.Key, err)
			}
		}
		if err != nil && (!yield(err) || !errors.Is(err, ErrDamaged)) {
			return false
		}
	}
	return true
}

func verifyFiles(tx Tx, yield func(error) bool) bool {
	for e, err := range tx.Scan(Files, Range{}) {
		if err == nil {
			_, err = ReadFile(tx, e.Key)
		}
		if err != nil && (!yield(err) || !errors.Is(err, ErrDamaged)) {
			return false
		}
	}
	return true
}

// verifyPieces looks for pieces that no file has.
func verifyPieces(tx Tx, yield func(error) bool) bool {
	var name string
	var most uint32 // pieces that the file of that name has
	known := false
	for e, err := range tx.Scan(Pieces, Range{}) {
		if err != nil {
			yield(err)
			return false
		}
		if len(e.Key) < numberSize {
			if !yield(fmt.Errorf("%w: %x is no name of a piece", ErrDamaged, e.Key)) {
				return false
			}
			continue
		}
		at := len(e.Key) - numberSize
		if !known || e.Key[:at] != name {
			name, known, most = e.Key[:at], true, 0
			stored, err := tx.Get(Files, name)
			if err != nil {
				yield(err)
				return false
			}
			if head, _, err := parseHead(stored); err == nil {
				most = pieces(int(head.size))
			}
		}
		if i := binary.BigEndian.Uint32([]byte(e.Key[at:])); i >= most {
			if !yield(fileError(name, fmt.Errorf("%w: piece %d is of no file", ErrDamaged, i))) {
				return false
			}
		}
	}
	return true
}
