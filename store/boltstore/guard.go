package boltstore

import (
	"errors"
	"fmt"
	"runtime/debug"

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

// damaged returns an error that is store.ErrDamaged and says why and what to do.
func (s *Store) damaged(why any) error {
	return fmt.Errorf("%w: %s: %v: restore a backup", store.ErrDamaged, s.path, why)
}
