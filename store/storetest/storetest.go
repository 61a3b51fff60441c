// Package storetest tests implementations of store.Store: what every store
// must do ([Run]), what every store that outlives its process must do
// ([RunDurable]), and how fast it does it ([Bench]).
package storetest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/amphost/amphost/store"
)

// Run checks what every store must do, each check on an empty store that open
// made. Run closes the stores.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	checks := []struct {
		name  string
		check func(*testing.T, store.Store)
	}{
		{"Values", testValues},
		{"Copies", testCopies},
		{"Spaces", testSpaces},
		{"Namespaces", testNamespaces},
		{"Limits", testLimits},
		{"Rollback", testRollback},
		{"Panic", testPanic},
		{"Ended", testEnded},
		{"ReadOnly", testReadOnly},
		{"Snapshot", testSnapshot},
		{"Lock", testLock},
		{"Context", testContext},
		{"Close", testClose},
		{"Scan", testScan},
		{"ScanWhileWriting", testScanWhileWriting},
		{"Counters", testCounters},
		{"Files", testFiles},
		{"FileNames", testFileNames},
		{"Pipeline", testPipeline},
		{"Gathered", testGathered},
		{"ConcurrentCounters", testConcurrentCounters},
		{"ViewsDuringCommits", testViewsDuringCommits},
		{"Watch", testWatch},
		{"WatchFollows", testWatchFollows},
		{"Random", testRandom},
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			c.check(t, s)
		})
	}
}

// RunDurable checks what Run checks, and also closes stores and opens their
// directory again: what was committed must be there. open opens the store that
// lives in dir, or makes it.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	Run(t, func(t *testing.T) store.Store { return open(t, t.TempDir()) })
	t.Run("Reopen", func(t *testing.T) { testReopen(t, open) })
	t.Run("CloseWaits", func(t *testing.T) { testCloseWaits(t, open) })
}

// ns is the namespace of checks that need only one.
const ns = "test"

// patience is how long a check waits for what must happen.
const patience = 30 * time.Second

// update runs a transaction that must succeed.
func update(t *testing.T, s store.Store, fn func(store.Tx) error) {
	t.Helper()
	if err := store.Update(t.Context(), s, ns, fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

// view runs a read-only transaction that must succeed.
func view(t *testing.T, s store.Store, fn func(store.Tx) error) {
	t.Helper()
	if err := store.View(t.Context(), s, ns, fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}

// begin begins a transaction, which the test's end rolls back at the latest.
func begin(t *testing.T, s store.Store, writable bool) store.Tx {
	t.Helper()
	tx, err := s.Begin(t.Context(), ns, writable)
	if err != nil {
		t.Fatalf("Begin(%q, %v): %v", ns, writable, err)
	}
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

// beginGathered is begin for a writable transaction that waits for Flush, if the
// store has that.
func beginGathered(t *testing.T, s store.Store) store.Tx {
	t.Helper()
	g, ok := s.(store.Gatherer)
	if !ok {
		return begin(t, s, true)
	}
	tx, err := g.BeginGathered(t.Context(), ns)
	if err != nil {
		t.Fatalf("BeginGathered(%q): %v", ns, err)
	}
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

// receive waits for the outcome of a transaction.
func receive(t *testing.T, done <-chan error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		t.Fatalf("a transaction has not ended after %v", patience)
		return nil
	}
}

// wantValue checks what a key holds; want nil is a key that is not there.
func wantValue(t *testing.T, tx store.Tx, space store.Space, key string, want []byte) {
	t.Helper()
	got, err := tx.Get(space, key)
	if err != nil {
		t.Errorf("Get(%q, %.40q): %v", space, key, err)
	} else if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		t.Errorf("Get(%q, %.40q) = %.40q (nil: %v), want %.40q (nil: %v)", space, key, got, got == nil, want, want == nil)
	}
}
