package boltstore

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/amphost/amphost/store"
)

// Scan implements store.Tx: it merges the changes over the file, sorted, with
// a cursor in the file.
func (t *tx) Scan(space store.Space, r store.Range) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		if t.ended {
			yield(store.Entry{}, store.ErrEnded)
			return
		}
		changes := t.changesIn(space, r)
		file := cursor{tx: t, space: space, reverse: r.Reverse}
		file.start, file.end = r.Bounds()
		fail := file.step()
		for left := r.Limit; ; {
			if fail == nil && t.ended {
				fail = store.ErrEnded
			}
			if fail != nil {
				yield(store.Entry{}, fail)
				return
			}
			var e store.Entry
			switch order := compare(changes, file.at, r.Reverse); {
			case order == 0 && len(changes) == 0:
				return
			case order <= 0: // a change comes first, or replaces what is in the file
				e, changes = changes[0], changes[1:]
				e.Value = slices.Clone(e.Value)
				if order == 0 {
					fail = file.step()
				}
				if e.Value == nil { // deleted
					continue
				}
			default:
				e = *file.at
				if left != 1 {
					fail = file.step()
				}
			}
			if !yield(e, nil) || left == 1 {
				return
			}
			left--
		}
	}
}

// compare tells which comes first, the next change or what the cursor is at:
// negative for the change, positive for the cursor, 0 if they are the same key
// or if there is neither.
func compare(changes []store.Entry, at *store.Entry, reverse bool) int {
	switch {
	case len(changes) == 0 && at == nil:
		return 0
	case len(changes) == 0:
		return 1
	case at == nil:
		return -1
	}
	order := strings.Compare(changes[0].Key, at.Key)
	if reverse {
		order = -order
	}
	return order
}

// changesIn returns the changes over the file within a range, in the scan's
// order. The value of a deleted key is nil, and the others are not copies.
func (t *tx) changesIn(space store.Space, r store.Range) []store.Entry {
	start, end := r.Bounds()
	var changes []store.Entry
	add := func(stored string, value []byte) {
		if key := stored[1:]; stored[0] == byte(space) && key >= start && (end == "" || key < end) {
			changes = append(changes, store.Entry{Key: key, Value: value})
		}
	}
	for stored, value := range t.below {
		if _, ok := t.writes[stored]; !ok {
			add(stored, value)
		}
	}
	if len(changes) > 0 {
		t.early = true
	}
	for stored, value := range t.writes {
		add(stored, value)
	}
	slices.SortFunc(changes, func(a, b store.Entry) int {
		if r.Reverse {
			a, b = b, a
		}
		return strings.Compare(a.Key, b.Key)
	})
	return changes
}

// A cursor steps through a range of the file, as it is in a transaction's
// snapshot.
type cursor struct {
	tx         *tx
	space      store.Space
	start, end string // "" for no end
	reverse    bool

	bolt *bbolt.Cursor // nil before the first step
	at   *store.Entry  // nil at the end, and before the first step
}

// step moves to the next entry.
func (c *cursor) step() error {
	if err := c.tx.openSnapshot(); err != nil {
		return err
	}
	before := c.at
	c.at = nil
	if c.tx.bucket == nil {
		return nil
	}
	return c.tx.s.guard(func() error {
		key, value := c.move()
		if len(key) == 0 {
			return nil
		}
		// Two things that Open has excluded, but somebody may have written to
		// the file since. A scan in a circle would have no end.
		if len(key) > 1+store.MaxKey {
			return c.tx.s.damaged(fmt.Sprintf("a key of %d bytes", len(key)))
		}
		space, name := store.Space(key[0]), string(key[1:])
		if before != nil {
			order := cmp.Or(cmp.Compare(space, c.space), strings.Compare(name, before.Key))
			if order == 0 || (order < 0) != c.reverse {
				return c.tx.s.damaged("keys that are not in order")
			}
		}
		if space != c.space {
			return nil
		}
		if c.reverse && name < c.start || !c.reverse && c.end != "" && name >= c.end {
			return nil
		}
		value, err := c.tx.s.clone(value)
		if err == nil {
			c.at = &store.Entry{Key: name, Value: value}
		}
		return err
	})
}

// move moves bbolt's cursor, and may leave the range on the far side.
func (c *cursor) move() (key, value []byte) {
	if c.bolt != nil {
		if c.reverse {
			return c.bolt.Prev()
		}
		return c.bolt.Next()
	}
	c.bolt = c.tx.bucket.Cursor()
	if !c.reverse {
		return c.bolt.Seek([]byte(storedKey(c.space, c.start)))
	}
	end := []byte(storedKey(c.space, c.end))
	if c.end == "" {
		if c.space == 0xff {
			return c.bolt.Last()
		}
		end[0]++ // the first key of the next space
	}
	if key, _ := c.bolt.Seek(end); key == nil {
		return c.bolt.Last()
	}
	return c.bolt.Prev()
}
