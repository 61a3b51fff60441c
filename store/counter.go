package store

import (
	"fmt"
	"strconv"
)

// MaxCounter is the largest value of a counter, and -MaxCounter the smallest:
// 2^53-1, the whole numbers that scripts can tell apart.
const MaxCounter = 1<<53 - 1

// Count returns the value of a counter. A counter that is not there is 0.
func Count(tx Tx, name string) (int64, error) {
	text, err := tx.Get(Counters, name)
	if err != nil || text == nil {
		return 0, err
	}
	n, err := parseCounter(text)
	if err != nil {
		return 0, fmt.Errorf("counter %.80q: %w", name, err)
	}
	return n, nil
}

// Add adds delta to a counter and returns its new value. A counter that is not
// there is 0. If the new value would leave ±MaxCounter nothing changes, and
// the error is ErrOverflow.
func Add(tx Tx, name string, delta int64) (int64, error) {
	n, err := Count(tx, name)
	if err != nil {
		return 0, err
	}
	// n is within ±MaxCounter, so the differences can't overflow.
	if delta > MaxCounter-n || delta < -MaxCounter-n {
		return 0, fmt.Errorf("%w: counter %.80q is %d, and adding %d leaves ±%d", ErrOverflow, name, n, delta, int64(MaxCounter))
	}
	n += delta
	return n, tx.Put(Counters, name, appendCounter(nil, n))
}

// appendCounter appends the stored form of a counter: its decimal digits, the
// same text that AMP sends.
func appendCounter(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// parseCounter reads what appendCounter wrote, and nothing else.
func parseCounter(text []byte) (int64, error) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n > MaxCounter || n < -MaxCounter || string(appendCounter(nil, n)) != string(text) {
		return 0, fmt.Errorf("%w: %.40q is not a counter's value", ErrDamaged, text)
	}
	return n, nil
}
