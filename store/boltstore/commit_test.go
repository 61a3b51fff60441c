package boltstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/store"
)

// hold keeps the committer from writing until release is called, so that
// commits stay on their way for as long as a test wants, or until its end.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	btx, err := s.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { btx.Rollback() })
	t.Cleanup(release)
	return release
}

// wantWaiting checks that an outcome has not been told.
func wantWaiting(t *testing.T, what string, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		t.Errorf("%s is told (%v) before it is durable", what, err)
	default:
	}
}

// TestNothingIsToldEarly checks that neither a commit, nor a transaction that
// only read from it, nor a view tells of what is not durable, and that what
// has nothing to do with it does not wait.
func TestNothingIsToldEarly(t *testing.T) {
	s := openTemp(t, nil)
	receive(t, put(t, s, "old", "1"))

	release := hold(t, s)
	written := put(t, s, "new", "1")

	tx := begin(t, s)
	if value, err := tx.Get(store.Keys, "new"); string(value) != "1" || err != nil {
		t.Errorf("the next transaction reads %q, %v, want what was committed before it", value, err)
	}
	read := tx.Commit()

	tx = begin(t, s)
	for range tx.Scan(store.Keys, store.Range{Prefix: "n"}) {
	}
	scanned := tx.Commit()

	tx = begin(t, s)
	tx.Get(store.Keys, "new")
	tx.Put(store.Keys, "new", []byte("2"))
	dropped := tx.Rollback()

	deleting := begin(t, s)
	deleting.Delete(store.Keys, "old")
	deleted := deleting.Commit()
	tx = begin(t, s)
	if value, err := tx.Get(store.Keys, "old"); value != nil || err != nil {
		t.Errorf("the transaction after a deletion reads %q, %v", value, err)
	}
	missed := tx.Commit()

	failing := make(chan error, 1)
	taken := errors.New("taken")
	go func() { // ends with the release; received below
		failing <- store.Update(context.Background(), s, ns, func(tx store.Tx) error {
			if value, _ := tx.Get(store.Keys, "new"); value != nil {
				return taken
			}
			return nil
		})
	}()

	tx = begin(t, s)
	tx.Get(store.Keys, "unrelated")
	for range tx.Scan(store.Keys, store.Range{Prefix: "u"}) {
	}
	if err := receive(t, tx.Commit()); err != nil {
		t.Errorf("a transaction that read nothing of it: %v", err)
	}
	if got := viewed(t, s, "new"); got != "" {
		t.Errorf("a view reads %q before it is durable", got)
	}
	if got := viewed(t, s, "old"); got != "1" {
		t.Errorf("a view reads %q of a key whose deletion is not durable, want 1", got)
	}
	told := map[string]<-chan error{
		"a write": written, "what was read": read, "what was scanned": scanned, "what a rolled back transaction read": dropped,
		"a deletion": deleted, "that a key is not there": missed, "an error": failing,
	}
	for what, done := range told {
		wantWaiting(t, what, done)
	}

	release()
	for what, done := range told {
		err := receive(t, done)
		if what == "an error" {
			if err != taken {
				t.Errorf("Update returned %v, want its function's error", err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := viewed(t, s, "new") + viewed(t, s, "old"); got != "1" {
		t.Errorf("a view reads %q when all is durable, want 1", got)
	}
}

// TestViewLooksPastWhatIsNotOnDisk is about the moment in which bbolt shows a
// transaction to readers and its fsync has not returned.
func TestViewLooksPastWhatIsNotOnDisk(t *testing.T) {
	s := openTemp(t, nil)
	for _, key := range []string{"changed", "deleted", "same"} {
		receive(t, put(t, s, key, "1"))
	}
	tx := begin(t, s)
	tx.Put(store.Keys, "changed", []byte("2"))
	tx.Put(store.Keys, "new", []byte("2"))
	tx.Delete(store.Keys, "deleted")
	receive(t, tx.Commit())

	state := func() string {
		var got strings.Builder
		err := store.View(t.Context(), s, ns, func(tx store.Tx) error {
			for _, key := range []string{"changed", "deleted", "new", "same"} {
				value, err := tx.Get(store.Keys, key)
				if err != nil {
					return err
				}
				if value != nil {
					got.WriteString(key + string(value) + " ")
				}
			}
			got.WriteString("= ")
			for e, err := range tx.Scan(store.Keys, store.Range{}) {
				if err != nil {
					return err
				}
				got.WriteString(e.Key + string(e.Value) + " ")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got.String()
	}

	const before = "changed1 deleted1 same1 = changed1 deleted1 same1 "
	const after = "changed2 new2 same1 = changed2 new2 same1 "
	txid := s.durableTx.Load()
	s.durableTx.Store(txid - 1) // as it is until the fsync has returned
	if got := state(); got != before {
		t.Errorf("before the fsync a view sees %q, want %q", got, before)
	}
	s.durableTx.Store(txid)
	if got := state(); got != after {
		t.Errorf("after the fsync a view sees %q, want %q", got, after)
	}
}

// TestNoWriteNoSync checks that what writes nothing costs no bbolt transaction.
func TestNoWriteNoSync(t *testing.T) {
	s := openTemp(t, nil)
	receive(t, put(t, s, "a", "1"))
	txid := s.durableTx.Load()
	release := hold(t, s)
	written := put(t, s, "a", "2")
	var reads []<-chan error
	for range 10 {
		tx := begin(t, s)
		tx.Get(store.Keys, "a")
		reads = append(reads, tx.Commit())
	}
	release()
	for _, done := range append(reads, written) {
		if err := receive(t, done); err != nil {
			t.Error(err)
		}
	}
	if got := s.durableTx.Load(); got > txid+1 {
		t.Errorf("one write and ten reads took %d bbolt transactions, want 1", got-txid)
	}
}

// TestOneSyncForAll checks that what queues during a commit shares the next.
func TestOneSyncForAll(t *testing.T) {
	s := openTemp(t, nil)
	receive(t, put(t, s, "a", "1"))
	txid := s.durableTx.Load()
	release := hold(t, s)
	var dones []<-chan error
	for range 100 {
		dones = append(dones, put(t, s, "a", "2"))
	}
	release()
	for _, done := range dones {
		if err := receive(t, done); err != nil {
			t.Error(err)
		}
	}
	// The committer may have taken the first before the others came.
	if got := s.durableTx.Load(); got > txid+2 {
		t.Errorf("100 commits took %d bbolt transactions, want at most 2", got-txid)
	}
}

// TestPendingIsForgotten checks that memory does not grow with the number of
// commits.
func TestPendingIsForgotten(t *testing.T) {
	s := openTemp(t, &Options{NoSync: true})
	var dones []<-chan error
	for i := range 1000 {
		dones = append(dones, put(t, s, strings.Repeat("k", i%50), "value"))
	}
	for _, done := range dones {
		receive(t, done)
	}
	begin(t, s).Rollback()
	space := s.namespaces[ns]
	if len(space.pending) != 0 || len(space.writer) != 0 || len(space.commits) != 0 {
		t.Errorf("%d keys, %d numbers and %d commits are remembered when all is durable", len(space.pending), len(space.writer), len(space.commits))
	}
}

// TestBackPressure checks that bodies that are faster than the disk are made
// to wait, and go on when it has caught up.
func TestBackPressure(t *testing.T) {
	s := openTemp(t, &Options{NoSync: true})
	release := hold(t, s)
	value := strings.Repeat("v", store.MaxValue)
	var dones []<-chan error
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	queued := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.queued > maxQueued
	}
	for !queued() { // the committer takes the first ones, and then waits
		if len(dones) > 1000 {
			t.Fatal("the queue has no end")
		}
		dones = append(dones, put(t, s, "a", value))
	}
	short, stop := context.WithTimeout(ctx, 10*time.Millisecond)
	defer stop()
	if tx, err := s.Begin(short, ns, true); !errors.Is(err, context.DeadlineExceeded) {
		if err == nil {
			tx.Rollback()
		}
		t.Fatalf("Begin with a full queue: %v, want that it waits for its context", err)
	}
	if got := viewed(t, s, "a"); got != "" {
		t.Error("a view sees what is queued")
	}
	release()
	tx, err := s.Begin(ctx, ns, true)
	if err != nil {
		t.Fatalf("Begin when the queue has room again: %v", err)
	}
	tx.Rollback()
	for _, done := range dones {
		if err := receive(t, done); err != nil {
			t.Error(err)
		}
	}
}

// TestFull checks that a commit there is no room for changes nothing, that
// nothing that stood on it is believed, and that the store goes on.
func TestFull(t *testing.T) {
	s := openTemp(t, nil)
	receive(t, put(t, s, "a", "1"))

	s.db.MaxSize = 1 // as a disk without room; the committer is idle
	big := strings.Repeat("v", store.MaxValue)
	release := hold(t, s)
	refused := []<-chan error{put(t, s, "big", big), put(t, s, "a", "2")}
	tx := begin(t, s)
	tx.Get(store.Keys, "a")
	refused = append(refused, tx.Commit())
	late := begin(t, s) // stands on what is refused while it is open
	if value, _ := late.Get(store.Keys, "a"); string(value) != "2" {
		t.Errorf("read %q, want 2", value)
	}
	late.Put(store.Keys, "late", nil)
	release()
	for i, done := range refused {
		if err := receive(t, done); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUncertain) {
			t.Errorf("commit %d without room: %v, want ErrFull", i, err)
		}
	}
	if err := receive(t, late.Commit()); !errors.Is(err, store.ErrFull) {
		t.Errorf("commit of a transaction that saw what was refused: %v, want ErrFull", err)
	}
	if got := viewed(t, s, "a"); got != "1" {
		t.Errorf("a view sees %q, want 1", got)
	}
	tx = begin(t, s)
	if value, err := tx.Get(store.Keys, "a"); string(value) != "1" || err != nil {
		t.Errorf("the next transaction reads %q, %v, want 1", value, err)
	}
	tx.Rollback()

	s.db.MaxSize = 0
	if err := receive(t, put(t, s, "big", big)); err != nil {
		t.Errorf("commit with room again: %v", err)
	}
	if got := viewed(t, s, "big") == big; !got {
		t.Error("what was committed with room again is not there")
	}
	select {
	case <-s.Failed():
		t.Errorf("the store has failed: %v", s.Err())
	default:
	}
	path := s.path
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	checkPages(t, path)
}

// TestUpdateContext checks that who stops waiting for the disk is not told
// that nothing happened.
func TestUpdateContext(t *testing.T) {
	s := openTemp(t, nil)
	release := hold(t, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	err := store.Update(ctx, s, ns, func(tx store.Tx) error {
		cancel(why)
		return tx.Put(store.Keys, "a", []byte("1"))
	})
	if !errors.Is(err, store.ErrUncertain) || !errors.Is(err, why) {
		t.Errorf("Update whose context ends: %v, want ErrUncertain and the cause", err)
	}
	release()
	tx := begin(t, s)
	tx.Get(store.Keys, "a")
	receive(t, tx.Commit())
	if got := viewed(t, s, "a"); got != "1" {
		t.Errorf("it was not written after all: %q", got)
	}
}

// TestCloseEndsEverything checks that Close waits for open transactions and
// for commits, and leaves no goroutine.
func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	s := openIn(t, t.TempDir(), nil)
	release := hold(t, s)
	committed := put(t, s, "a", "1")
	open := begin(t, s)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }() // received below
	for {                               // until Close is on its way
		tx, err := s.Begin(t.Context(), "other", true)
		if errors.Is(err, store.ErrClosed) {
			break
		}
		tx.Rollback()
		runtime.Gosched()
	}
	if err := open.Put(store.Keys, "b", nil); err != nil {
		t.Error(err)
	}
	last := open.Commit()
	wantWaiting(t, "Close", closed)
	release()
	for _, done := range []<-chan error{committed, last, closed} {
		if err := receive(t, done); err != nil {
			t.Error(err)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, and %d before", runtime.NumGoroutine(), before)
		}
	}
}

// TestGatheredCommitsAreFlushedOnce checks that the committer is not woken by
// what is gathered.
func TestGatheredCommitsAreFlushedOnce(t *testing.T) {
	s := openTemp(t, nil)
	receive(t, put(t, s, "old", "1"))
	before := s.durableTx.Load()
	var dones []<-chan error
	for range 1000 {
		tx, err := s.BeginGathered(t.Context(), ns)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Add(tx, "n", 1); err != nil {
			t.Fatal(err)
		}
		dones = append(dones, tx.Commit())
	}
	wantWaiting(t, "what is gathered", dones[0])
	s.Flush()
	for _, done := range dones {
		if err := receive(t, done); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.durableTx.Load() - before; n != 1 {
		t.Errorf("%d transactions of bbolt's for what was flushed once", n)
	}
}

// TestGatheredCommitsDoNotFillMemory checks that the queue is written when it is
// too long, though nobody flushes it.
func TestGatheredCommitsDoNotFillMemory(t *testing.T) {
	s := openTemp(t, &Options{NoSync: true})
	value := make([]byte, store.MaxValue)
	for i := range 2 * maxQueued / len(value) {
		tx, err := s.BeginGathered(t.Context(), ns)
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Put(store.Keys, fmt.Sprint(i), value); err != nil {
			t.Fatal(err)
		}
		tx.Commit() // Close waits for it
	}
}
