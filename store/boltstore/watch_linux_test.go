package boltstore

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/amphost/amphost/store"
)

// TestWatchTellsOnlyWhatIsDurable checks that a watcher hears nothing of a
// commit while it waits for the disk, and never of one that failed.
func TestWatchTellsOnlyWhatIsDurable(t *testing.T) {
	s := openTemp(t, nil)
	var told atomic.Int64
	stop, err := s.Watch(ns, func(changes []store.Change) { told.Add(int64(len(changes))) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	release := hold(t, s)
	waiting := put(t, s, "a", "1")
	for range 100 {
		wantWaiting(t, "a write", waiting)
	}
	if n := told.Load(); n != 0 {
		t.Errorf("the watcher was told of %d changes before they were durable", n)
	}
	release()
	if err := receive(t, waiting); err != nil || told.Load() != 1 {
		t.Errorf("when the commit ended with %v the watcher knew of %d changes, want 1", err, told.Load())
	}

	s.db.MaxSize = 1 // as a disk without room; the committer is idle
	if err := receive(t, put(t, s, "big", strings.Repeat("v", store.MaxValue))); !errors.Is(err, store.ErrFull) {
		t.Fatalf("commit without room: %v", err)
	}
	s.db.MaxSize = 0
	breakFile(t, s)
	if err := receive(t, put(t, s, "a", "2")); !errors.Is(err, store.ErrUncertain) {
		t.Fatalf("commit to a file that is broken: %v", err)
	}
	if told.Load() != 1 {
		t.Error("the watcher was told of a commit that failed")
	}
	if _, err := s.Watch(ns, func([]store.Change) {}); !errors.Is(err, store.ErrFailed) {
		t.Errorf("Watch of a store that has failed: %v, want ErrFailed", err)
	}
}
