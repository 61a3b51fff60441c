package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/amphost/amphost/store"
)

// maxQueued is how many bytes of keys and values may be queued before Begin
// waits for the committer: what keeps memory bounded when bodies are faster
// than the disk.
const maxQueued = 64 << 20

// A layer is changes over what lies below it: keys as stored, each its space's
// byte and its name, with their values. A nil value is a key that is not there.
// A layer that more than one goroutine can see does not change.
type layer map[string][]byte

// A commit is a transaction that has ended and waits to be durable.
type commit struct {
	number   uint64 // in the order of commits; the first is 1
	ns       *namespace
	writes   layer            // empty if it only waits for what it read
	used     int64            // what its namespace holds with it, if that has a limit
	verdict  error            // what it ends with once it is durable
	done     chan error       // 1-buffered
	snapshot chan<- *bbolt.Tx // if set, sent the state right after this commit; 1-buffered
}

// An undo is what a bbolt transaction has overwritten, so that views can look
// past it: bbolt shows a transaction to readers when its meta page is written,
// which is before it is on disk.
type undo struct {
	txid   int64
	before changes
}

// changes are a layer for each namespace that has one.
type changes []change

type change struct {
	namespace string
	writes    layer
	own       bool // nobody else has seen writes yet
}

// of returns the changes of one namespace, or nil.
func (cs changes) of(namespace string) layer {
	for _, c := range cs { // one for each plugin at most
		if c.namespace == namespace {
			return c.writes
		}
	}
	return nil
}

// submit queues the commit of tx, if it has anything to write or to wait for,
// and returns it, or nil if it was not queued. If the caller stays until it is
// durable, and nobody is at work, the caller gets the work: a batch, which it
// has to hand to process.
func (s *Store) submit(tx *tx, done chan error, stay bool) (c *commit, batch []*commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		done <- s.failureLocked()
	case tx.epoch != s.epoch:
		// What it stood on was never written.
		done <- s.refusal
	case len(tx.writes) == 0 && !tx.early:
		done <- tx.refused
	default:
		c = &commit{ns: tx.ns, writes: tx.writes, used: tx.used, verdict: tx.refused, done: done}
		s.enqueueLocked(c)
		if stay && !s.busy {
			s.busy = true
			batch = s.takeLocked()
			s.work = batch
		} else if !tx.gathered || s.queued > maxQueued {
			s.dueLocked()
		}
	}
	return c, batch
}

// enqueueLocked puts the commit into the queue. The caller holds mu.
func (s *Store) enqueueLocked(c *commit) {
	s.last++
	c.number = s.last
	s.queue = append(s.queue, c)
	for key, value := range c.writes {
		s.queued += len(key) + len(value)
	}
}

// dueLocked has the committer take the queue once nobody is at work. The caller
// holds mu.
func (s *Store) dueLocked() {
	s.due = true
	s.wake.Signal()
}

// Flush implements store.Gatherer.
func (s *Store) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		s.dueLocked()
	}
}

// waitForRoom waits until the queue is not too long.
func (s *Store) waitForRoom(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.queued <= maxQueued {
			s.mu.Unlock()
			return nil
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// snapshot returns a bbolt transaction of all that was committed before and of
// nothing else. The caller must end it with Rollback.
func (s *Store) snapshot() (*bbolt.Tx, error) {
	c := &commit{done: make(chan error, 1)}
	snap := make(chan *bbolt.Tx, 1)
	c.snapshot = snap
	s.mu.Lock()
	err := s.usableLocked()
	if err == nil {
		s.open.Add(1) // only until the queue has it, so that the committer does not stop before
		s.enqueueLocked(c)
		s.dueLocked()
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	defer s.open.Done()
	if err := <-c.done; err != nil {
		return nil, err
	}
	return <-snap, nil
}

// commitQueued is the committer.
func (s *Store) commitQueued() {
	defer close(s.ended)
	for batch := s.take(); batch != nil; batch = s.take() {
		s.process(batch)
	}
}

// take waits until something in the queue is due that nobody is at work on, and
// takes all that are queued. It returns nil when the store is closed and the queue is empty.
func (s *Store) take() []*commit {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.busy || !s.due && !s.stop {
		s.wake.Wait()
	}
	s.busy = len(s.queue) > 0
	s.work = s.takeLocked()
	return s.work
}

// process makes a batch durable and tells everybody. The caller has set busy,
// so there is one at a time, and it ends it.
func (s *Store) process(batch []*commit) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy = false
		if s.due || s.stop {
			s.wake.Signal()
		}
	}()
	err := s.write(batch)
	if !s.finishWork() {
		return
	}
	if err != nil {
		s.fail(batch, err)
		return
	}
	s.durableCommit.Store(batch[len(batch)-1].number)
	s.tell(batch)
	for _, c := range batch {
		if c.snapshot != nil {
			snap, err := s.beginRead()
			c.snapshot <- snap
			c.done <- err
			continue
		}
		if c.ns.limit > 0 {
			c.ns.durable.Store(c.used)
		}
		c.done <- c.verdict
	}
}

// finishWork reports whether the outcome of the batch in hand is to be told: not
// if wedge has done so.
func (s *Store) finishWork() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.work != nil
	s.work = nil
	return mine
}

func (s *Store) takeLocked() []*commit {
	batch := s.queue
	s.queue = nil
	s.due = false
	s.queued = 0
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	return batch
}

// write makes a batch durable.
func (s *Store) write(batch []*commit) error {
	merged := merge(batch)
	if len(merged) == 0 {
		return nil // they waited for the batch before, which is durable now
	}
	var txid int64
	s.wrecked = true // until the next line has returned without a panic
	err := s.guard(func() error {
		err := s.db.Update(func(btx *bbolt.Tx) error {
			txid = int64(btx.ID())
			before, err := merged.apply(btx, s.clone)
			// From here on a view that sees this transaction finds its undo.
			s.undo.Store(&undo{txid: txid, before: before})
			return err
		})
		s.wrecked = false
		return err
	})
	if err == nil {
		s.durableTx.Store(txid)
	}
	return err
}

// merge returns what a batch changes. Of several writes of one key only the
// last matters, which is what makes a hot counter cheap.
func merge(batch []*commit) changes {
	var merged changes
	for _, c := range batch {
		if len(c.writes) == 0 {
			continue
		}
		i := 0
		for i < len(merged) && merged[i].namespace != c.ns.name {
			i++
		}
		if i == len(merged) {
			merged = append(merged, change{namespace: c.ns.name, writes: c.writes})
			continue
		}
		if !merged[i].own {
			merged[i].writes = maps.Clone(merged[i].writes) // a commit's, which others read
			merged[i].own = true
		}
		maps.Copy(merged[i].writes, c.writes)
	}
	return merged
}

// apply makes the changes in btx, in the order of keys, and returns what was
// there before, copied by clone.
func (cs changes) apply(btx *bbolt.Tx, clone func([]byte) ([]byte, error)) (before changes, err error) {
	for _, c := range cs {
		bucket, err := btx.CreateBucketIfNotExists([]byte(c.namespace))
		if err != nil {
			return nil, fmt.Errorf("namespace %s: %w", c.namespace, err)
		}
		old := make(layer, len(c.writes))
		cursor := bucket.Cursor() // Seek begins at the root, so Put may change what it was at
		for _, key := range slices.Sorted(maps.Keys(c.writes)) {
			k, value := []byte(key), c.writes[key]
			// Cloned: bbolt may reuse the page as soon as it is durable.
			old[key], err = clone(find(cursor, k))
			switch {
			case err != nil:
			case value == nil:
				err = bucket.Delete(k)
			default:
				err = bucket.Put(k, value)
			}
			if err != nil {
				return nil, fmt.Errorf("namespace %s: key %.80q: %w", c.namespace, key, err)
			}
		}
		before = append(before, change{namespace: c.namespace, writes: old})
	}
	return before, nil
}

// fail ends a batch that could not be written, and with it all that is queued,
// for it may stand on the batch.
func (s *Store) fail(batch []*commit, cause error) {
	refused := s.undone(cause)
	s.mu.Lock()
	batch = append(batch, s.takeLocked()...)
	var err error
	switch {
	case s.err != nil: // it has failed already: see wedge
		err = s.err
	case refused:
		err = fmt.Errorf("%w: %s: %w", store.ErrFull, s.path, cause)
		s.epoch++
		s.refusal = err
	default:
		err = fmt.Errorf("%w: %s: %w", store.ErrUncertain, s.path, cause)
		s.err = err // from here on nothing more is queued
		close(s.failed)
	}
	s.mu.Unlock()
	for _, c := range batch {
		c.done <- err
	}
}

// undone reports whether a write that failed with cause is known to have left
// nothing behind: there was no room for a page, and the meta page, which alone
// makes a transaction count, was not reached. A failed fsync is never undone,
// whichever it was: after it, nothing that the disk says can be trusted.
func (s *Store) undone(cause error) bool {
	if errors.Is(cause, berrors.ErrMaxSizeReached) {
		return true // bbolt looked before it wrote
	}
	path, ok := errors.AsType[*fs.PathError](cause)
	if !ok || path.Op != "write" || path.Err != syscall.ENOSPC && path.Err != syscall.EDQUOT {
		return false
	}
	snap, err := s.beginRead()
	if err != nil {
		return false
	}
	defer s.endRead(snap)
	return int64(snap.ID()) == s.durableTx.Load()
}
