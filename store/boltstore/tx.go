package boltstore

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/amphost/amphost/store"
)

// A tx is one transaction: up to three layers over a snapshot of the file.
//
//	update:  writes  over  what is pending        over  the file
//	view:                  what must be undone    over  the file
type tx struct {
	s      *Store
	ns     *namespace
	writes layer // nil if read-only
	below  layer // namespace.pending, or from undo.before; may be nil
	early  bool  // an update that has read from pending what may not be durable
	epoch  int   // Store.epoch at the beginning
	ended  bool

	gathered bool // waits for Flush once it has ended

	used    int64 // what the namespace holds with writes, if it has a limit; set at the end
	refused error // why writes are not committed

	snap   *bbolt.Tx     // nil until the file is first needed
	bucket *bbolt.Bucket // of the namespace in snap; nil if there is none
	cursor *bbolt.Cursor // in bucket, for find
	key    []byte        // the stored key that Get has looked for last
	none   bool          // and which the file has not
	short  [64]byte      // and for most keys that is here
}

var _ store.Tx = (*tx)(nil)

// beginUpdate begins a writable transaction.
func (s *Store) beginUpdate(ctx context.Context, ns *namespace) (store.Tx, error) {
	if err := s.waitForRoom(ctx); err != nil {
		return nil, err
	}
	if err := ns.lock(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	failed, epoch := s.err != nil, s.epoch
	var err error
	if failed {
		err = s.failureLocked()
	}
	s.mu.Unlock()
	if failed {
		ns.unlock()
		return nil, err
	}
	if ns.epoch != epoch {
		ns.forget(epoch)
	}
	// The snapshot is opened later, or not at all, so it has at least what is
	// dropped from pending here. What it may have besides is in pending, as
	// nobody else writes to the namespace now.
	ns.settle(s.durableCommit.Load())
	t := &tx{s: s, ns: ns, writes: make(layer), below: ns.pending, epoch: epoch}
	t.key = t.short[:0]
	return t, nil
}

// beginView begins a read-only transaction.
func (s *Store) beginView(_ context.Context, ns *namespace) (store.Tx, error) {
	t := &tx{s: s, ns: ns}
	t.key = t.short[:0]
	if err := t.openSnapshot(); err != nil {
		if t.snap != nil {
			s.endRead(t.snap)
		}
		return nil, err
	}
	// The snapshot may show the newest bbolt transaction before it is on
	// disk. If so, look past it. If its undo is gone, it became durable after
	// the first of these lines, since the committer does one after another.
	if txid := int64(t.snap.ID()); txid > s.durableTx.Load() {
		if u := s.undo.Load(); u.txid == txid {
			t.below = u.before.of(ns.name)
		}
	}
	return t, nil
}

// openSnapshot opens the file as it is now, if it is not open yet.
func (t *tx) openSnapshot() error {
	if t.snap != nil {
		return nil
	}
	snap, err := t.s.beginRead()
	if err != nil {
		return err
	}
	t.snap = snap
	return t.s.guard(func() error {
		if t.bucket = snap.Bucket(t.ns.bucket); t.bucket != nil {
			t.cursor = t.bucket.Cursor()
		}
		return nil
	})
}

// find returns the value of a stored key in a bucket, by way of a cursor of its,
// or nil: what Bucket.Get does, which makes a cursor each time.
func find(c *bbolt.Cursor, key []byte) []byte {
	if found, value := c.Seek(key); bytes.Equal(found, key) {
		return value
	}
	return nil
}

// Get implements store.Tx.
func (t *tx) Get(space store.Space, key string) ([]byte, error) {
	if t.ended {
		return nil, store.ErrEnded
	}
	// Who asks whether there is one and then creates it asks twice.
	known := t.none && len(t.key) > 0 && t.key[0] == byte(space) && string(t.key[1:]) == key
	t.none = false
	t.key = append(append(t.key[:0], byte(space)), key...)
	if value, ok := t.writes[string(t.key)]; ok {
		return bytes.Clone(value), nil
	}
	if value, ok := t.below[string(t.key)]; ok {
		t.early = true
		return bytes.Clone(value), nil
	}
	if known {
		t.none = true
		return nil, nil
	}
	if err := t.openSnapshot(); err != nil || t.bucket == nil {
		return nil, err
	}
	var value []byte
	err := t.s.guard(func() (err error) {
		value, err = t.s.clone(find(t.cursor, t.key))
		return err
	})
	t.none = value == nil && err == nil
	return value, err
}

// clone copies a value out of the file. A size that was never written must not
// make it ask for memory that is not there.
func (s *Store) clone(value []byte) ([]byte, error) {
	if len(value) > store.MaxValue {
		return nil, s.damaged(fmt.Sprintf("a value of %d bytes", len(value)))
	}
	return bytes.Clone(value), nil
}

// Put implements store.Tx.
func (t *tx) Put(space store.Space, key string, value []byte) error {
	if err := store.CheckSize(key, value); err != nil {
		return err
	}
	return t.set(space, key, append([]byte{}, value...)) // not nil, also if empty
}

// Delete implements store.Tx.
func (t *tx) Delete(space store.Space, key string) error {
	return t.set(space, key, nil)
}

func (t *tx) set(space store.Space, key string, value []byte) error {
	switch {
	case t.ended:
		return store.ErrEnded
	case t.writes == nil:
		return store.ErrReadOnly
	}
	t.writes[storedKey(space, key)] = value
	return nil
}

// Commit implements store.Tx.
func (t *tx) Commit() <-chan error {
	done, _ := t.end(false)
	return done
}

// CommitWait is Commit for a goroutine that waits for the outcome whatever
// comes: see store.Update. If the committer has nothing to do this goroutine
// does its work, which saves waking one and being woken.
func (t *tx) CommitWait() error {
	done, batch := t.end(true)
	if batch != nil {
		t.s.process(batch)
	}
	return <-done
}

// Rollback implements store.Tx.
func (t *tx) Rollback() <-chan error {
	if !t.ended {
		clear(t.writes)
	}
	done, _ := t.end(false)
	return done
}

// end ends the transaction and hands what is in writes to the committer, or
// back to the caller if it stays: a batch to process.
func (t *tx) end(stay bool) (outcome <-chan error, batch []*commit) {
	done := make(chan error, 1)
	if t.ended {
		done <- store.ErrEnded
		return done, nil
	}
	t.ended = true
	if t.ns.limit > 0 && t.writes != nil {
		t.checkQuota()
	}
	// Before all that waits: bbolt can't grow its file while the snapshot is open, and
	// then the committer would wait for us.
	if t.snap != nil {
		t.s.endRead(t.snap)
	}
	if t.writes == nil {
		done <- nil
	} else {
		var c *commit
		if c, batch = t.s.submit(t, done, stay); c != nil {
			t.ns.add(c)
		}
		t.ns.unlock()
	}
	t.s.open.Done()
	return done, batch
}

// storedKey returns the key as it is stored.
func storedKey(space store.Space, key string) string {
	return string([]byte{byte(space)}) + key
}
