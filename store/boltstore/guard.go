package boltstore

import (
	"errors"
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/amphost/amphost/store"
)

// guard calls fn, which reads the file by way of bbolt, and returns its error.
//
// bbolt maps the file into memory and trusts it: on a damaged file it panics,
// or follows a page number to where there is no memory. The latter would end
// the process, as no recover stops a fault, unless the goroutine asks for a
// panic instead. Either becomes an error that is store.ErrDamaged.
func (s *Store) guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = s.damaged(p)
		}
	}()
	err = fn()
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return err
}

// beginRead begins a read-only transaction of bbolt's, which endRead must end.
func (s *Store) beginRead() (snap *bbolt.Tx, err error) {
	returned := false
	err = s.guard(func() error {
		var err error
		snap, err = s.db.Begin(false)
		returned = true
		return err
	})
	if !returned {
		s.wedge(err)
	}
	return snap, err
}

// endRead ends a transaction of beginRead.
func (s *Store) endRead(snap *bbolt.Tx) {
	select {
	case <-s.wedged: // it would wait for ever
	default:
		snap.Rollback()
	}
}

// wedge is for when a read-only transaction could not begin because the first
// pages are gone: somebody has cut off the file. bbolt reads them with its locks
// held, and then they stay so. Whoever needs one waits for ever, which may be the
// committer; so what it has in hand is ended here.
func (s *Store) wedge(cause error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s: %w", store.ErrUncertain, s.path, cause)
		close(s.failed)
	}
	select {
	case <-s.wedged:
	default:
		close(s.wedged)
	}
	err := s.err
	batch := append(s.work, s.takeLocked()...)
	s.work = nil
	s.mu.Unlock()
	for _, c := range batch {
		c.done <- err
	}
}

// damaged returns an error that is store.ErrDamaged and says why and what to do.
func (s *Store) damaged(why any) error {
	return fmt.Errorf("%w: %s: %v: restore a backup", store.ErrDamaged, s.path, why)
}
