package boltstore

import (
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/amphost/amphost/store"
)

// measureLimited measures the namespaces that have a limit. It is done when
// the store is opened: it takes about a second for ten million keys.
func (s *Store) measureLimited(btx *bbolt.Tx) error {
	return btx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		limit := s.opts.quota(string(name))
		if limit == 0 || string(name) == metaBucket {
			return nil
		}
		ns := newNamespace(string(name))
		ns.limit = limit
		err := bucket.ForEach(func(key, value []byte) error {
			ns.used += sizeOf(len(key), value)
			return nil
		})
		ns.durable.Store(ns.used)
		s.namespaces[ns.name] = ns
		return err
	})
}

// sizeOf is what a key counts: its name, without the byte of its space, and its
// value.
func sizeOf(stored int, value []byte) int64 { return int64(stored) - 1 + int64(len(value)) }

// checkQuota drops the writes of a transaction that ends if they would make the
// namespace hold more than it may, and more than it does.
func (t *tx) checkQuota() {
	t.used = t.ns.used
	for key, value := range t.writes {
		old, err := t.before(key)
		if err != nil {
			t.refuse(err)
			return
		}
		if old != nil {
			t.used -= sizeOf(len(key), old)
		}
		if value != nil {
			t.used += sizeOf(len(key), value)
		}
	}
	if t.used > t.ns.limit && t.used > t.ns.used {
		t.refuse(fmt.Errorf("%w: plugin %s uses %d of %d bytes, and this would make it %d", store.ErrQuota, t.ns.name, t.ns.used, t.ns.limit, t.used))
	}
}

// refuse drops the writes of a transaction. It ends with err once what that
// stands on is durable.
func (t *tx) refuse(err error) {
	clear(t.writes)
	t.used = t.ns.used
	t.early, t.refused = true, err
}

// before returns what a stored key holds without the transaction's writes, not
// a copy, or nil.
func (t *tx) before(stored string) (value []byte, err error) {
	if value, ok := t.below[stored]; ok {
		return value, nil
	}
	if err := t.openSnapshot(); err != nil || t.bucket == nil {
		return nil, err
	}
	err = t.s.guard(func() error {
		value = find(t.cursor, []byte(stored))
		return nil
	})
	return value, err
}
