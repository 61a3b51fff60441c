package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/amphost/amphost/store"
)

// A contended store behaves as one that is shared between hosts: another host
// gets in between the first few transactions, which then write nothing.
type contended struct {
	store.Store
	conflicts int   // transactions that are still to conflict
	err       error // what those say; nil for ErrConflict
}

func (c *contended) Begin(ctx context.Context, namespace string, writable bool) (store.Tx, error) {
	tx, err := c.Store.Begin(ctx, namespace, writable)
	return &contendedTx{tx, c}, err
}

type contendedTx struct {
	store.Tx
	c *contended
}

func (tx *contendedTx) Commit() <-chan error   { return tx.end(tx.Tx.Commit) }
func (tx *contendedTx) Rollback() <-chan error { return tx.end(tx.Tx.Rollback) }

func (tx *contendedTx) end(end func() <-chan error) <-chan error {
	if tx.c.conflicts == 0 {
		return end()
	}
	tx.c.conflicts--
	tx.Tx.Rollback()
	done := make(chan error, 1)
	if tx.c.err != nil {
		done <- tx.c.err
	} else {
		done <- store.ErrConflict
	}
	return done
}

func TestUpdateRunsAgainOnConflict(t *testing.T) {
	s := &contended{Store: store.NewMem(), conflicts: 3}
	runs := 0
	err := store.Update(t.Context(), s, "test", func(tx store.Tx) error {
		runs++
		n, err := store.Add(tx, "n", 1)
		if n != 1 {
			t.Errorf("run %d counts %d, so a run before it was not undone", runs, n)
		}
		return err
	})
	if err != nil || runs != 4 {
		t.Errorf("Update = %v after %d runs, want 4 runs", err, runs)
	}
}

// TestUpdateFailsOnWhatIs checks that an error of the function counts only if
// what it was based on does.
func TestUpdateFailsOnWhatIs(t *testing.T) {
	s := &contended{Store: store.NewMem(), conflicts: 3}
	taken := errors.New("taken")
	runs := 0
	err := store.Update(t.Context(), s, "test", func(store.Tx) error {
		if runs++; runs < 3 {
			return taken
		}
		return nil
	})
	if err != nil || runs != 4 {
		t.Errorf("Update = %v after %d runs, want the outcome of the 4th", err, runs)
	}
}

// TestUpdateTellsNothingOfAFailedStore checks that what a function concluded
// from data that may never become durable is not returned.
func TestUpdateTellsNothingOfAFailedStore(t *testing.T) {
	s := &contended{Store: store.NewMem(), conflicts: 1, err: store.ErrUncertain}
	taken := errors.New("taken")
	err := store.Update(t.Context(), s, "test", func(store.Tx) error { return taken })
	if !errors.Is(err, store.ErrUncertain) || errors.Is(err, taken) {
		t.Errorf("Update = %v, want ErrUncertain and not the function's error", err)
	}
}

func TestUpdateStopsWithItsContext(t *testing.T) {
	s := &contended{Store: store.NewMem(), conflicts: -1}
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	runs := 0
	err := store.Update(ctx, s, "test", func(store.Tx) error {
		if runs++; runs == 5 {
			cancel(why)
		}
		return nil
	})
	if !errors.Is(err, why) || runs != 5 {
		t.Errorf("Update = %v after %d runs, want the context's cause after 5", err, runs)
	}
}

func TestErrorsNameWhatTheyAreAbout(t *testing.T) {
	s := store.NewMem()
	err := store.Update(t.Context(), s, "test", func(tx store.Tx) error {
		tx.Put(store.Counters, "broken", []byte("many"))
		tx.Put(store.Files, "broken", []byte("head"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", store.MaxKey+1)
	tests := map[string]func(store.Tx) error{
		`counter "broken"`:  func(tx store.Tx) error { _, err := store.Add(tx, "broken", 1); return err },
		`file "broken"`:     func(tx store.Tx) error { _, err := store.ReadFile(tx, "broken"); return err },
		`file "nobody"`:     func(tx store.Tx) error { _, err := store.ReadFile(tx, "nobody"); return err },
		`32768 bytes`:       func(tx store.Tx) error { return tx.Put(store.Keys, long, nil) },
		`keep it in a file`: func(tx store.Tx) error { return tx.Put(store.Keys, "k", make([]byte, store.MaxValue+1)) },
		`adding 1 leaves`: func(tx store.Tx) error {
			store.Add(tx, "n", store.MaxCounter)
			_, err := store.Add(tx, "n", 1)
			return err
		},
		`"../x" is no namesp`: func(store.Tx) error { return store.CheckNamespace("../x") },
	}
	for want, fn := range tests {
		err := store.Update(t.Context(), s, "test", fn)
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("error %v, want a short one with %q", err, want)
		}
	}
}
