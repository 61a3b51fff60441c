package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/amphost/amphost/store"
)

// testLock checks that one writable transaction is open on a namespace at a
// time, and that the next sees what it committed.
func testLock(t *testing.T, s store.Store) {
	first := begin(t, s, true)
	begun := make(chan error, 1)
	var second store.Tx
	go func() { // ends when first does; received below
		var err error
		second, err = s.Begin(context.Background(), ns, true)
		begun <- err
	}()
	for range 100 {
		if _, err := store.Add(first, "n", 1); err != nil {
			t.Fatal(err)
		}
		select {
		case <-begun:
			t.Fatal("two writable transactions are open on one namespace")
		default:
		}
	}
	done := first.Commit()
	if err := receive(t, begun); err != nil {
		t.Fatal(err)
	}
	if n, err := store.Count(second, "n"); n != 100 || err != nil {
		t.Errorf("the next transaction counts %d, %v, want 100", n, err)
	}
	if err := errors.Join(receive(t, second.Rollback()), receive(t, done)); err != nil {
		t.Error(err)
	}
}

// testGathered checks that what is gathered is durable after Flush, and after
// any other transaction.
func testGathered(t *testing.T, s store.Store) {
	const n = 50
	g, ok := s.(store.Gatherer)
	if !ok {
		t.Skip("it is no store.Gatherer")
	}
	g.Flush() // of nothing
	gather := func() (dones []<-chan error) {
		for i := range n {
			tx := beginGathered(t, s)
			if _, err := store.Add(tx, "n", 1); err != nil {
				t.Fatal(err)
			}
			if i%10 == 9 {
				dones = append(dones, tx.Rollback())
			} else {
				dones = append(dones, tx.Commit())
			}
		}
		return dones
	}
	check := func(want int64, dones []<-chan error) {
		t.Helper()
		for _, done := range dones {
			if err := receive(t, done); err != nil {
				t.Error(err)
			}
		}
		view(t, s, func(tx store.Tx) error {
			if got, err := store.Count(tx, "n"); got != want || err != nil {
				t.Errorf("Count = %d, %v, want %d", got, err, want)
			}
			return nil
		})
	}
	dones := gather()
	g.Flush()
	check(45, dones)
	dones = gather()
	update(t, s, func(tx store.Tx) error { return tx.Put(store.Keys, "other", nil) })
	check(90, dones)
	dones = gather()
	tx := begin(t, s, true)
	if got, err := store.Count(tx, "n"); got != 135 || err != nil {
		t.Errorf("Count = %d, %v, want 135", got, err)
	}
	check(135, append(dones, tx.Rollback())) // which has read what is gathered
}

// testPipeline commits many transactions without waiting for any: each must
// see those before it, and when one is durable, so are they.
func testPipeline(t *testing.T, s store.Store) {
	const n = 200
	dones := make([]<-chan error, n)
	for i := range dones {
		tx := begin(t, s, true)
		got, err := store.Add(tx, "n", 1)
		if err != nil || got != int64(i+1) {
			t.Fatalf("Add = %d, %v, want %d", got, err, i+1)
		}
		if i%2 == 0 {
			err = tx.Put(store.Keys, fmt.Sprint(i/4), []byte(fmt.Sprint(i)))
		} else {
			err = tx.Delete(store.Keys, fmt.Sprint(i/4))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := len(scan(t, tx, store.Keys, store.Range{})); got != (i+1)%2 {
			t.Fatalf("transaction %d scans %d keys, want %d", i, got, (i+1)%2)
		}
		dones[i] = tx.Commit()
	}
	if err := receive(t, dones[n-1]); err != nil {
		t.Fatal(err)
	}
	view(t, s, func(tx store.Tx) error {
		if got, err := store.Count(tx, "n"); got != n || err != nil {
			t.Errorf("Count = %d, %v, want %d", got, err, n)
		}
		return nil
	})
	for _, done := range dones[:n-1] {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatal("a commit is durable before one that it stands on")
		}
	}
}

// testConcurrentCounters adds to counters from many goroutines, in several
// namespaces: no two may get the same number.
func testConcurrentCounters(t *testing.T, s store.Store) {
	const goroutines, each = 32, 25
	var seen sync.Map
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() { // ends after each rounds; waited for below
			name := fmt.Sprintf("ns%d", g%3)
			ctx := t.Context()
			if g%2 == 0 {
				ctx = context.Background() // some stores make a difference
			}
			for range each {
				var n int64
				err := store.Update(ctx, s, name, func(tx store.Tx) (err error) {
					n, err = store.Add(tx, "n", 1)
					return err
				})
				if err != nil {
					t.Errorf("Update: %v", err)
					return
				}
				if _, twice := seen.LoadOrStore(fmt.Sprint(name, n), true); twice {
					t.Errorf("two transactions counted %d in %s", n, name)
				}
			}
		})
	}
	wg.Wait()
	var total int64
	for i := range 3 {
		err := store.View(t.Context(), s, fmt.Sprintf("ns%d", i), func(tx store.Tx) error {
			n, err := store.Count(tx, "n")
			total += n
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if total != goroutines*each {
		t.Errorf("counted %d, want %d", total, goroutines*each)
	}
}

// testViewsDuringCommits reads while others write: a view must see whole
// transactions, all that was acknowledged before it began, and never go back.
func testViewsDuringCommits(t *testing.T, s store.Store) {
	const rounds = 100
	var acknowledged atomic.Int64
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // ends after its rounds; waited for below
		defer close(ended)
		for i := range rounds {
			var n int64
			ctx := t.Context()
			if i%2 == 0 {
				ctx = context.Background()
			}
			err := store.Update(ctx, s, ns, func(tx store.Tx) (err error) {
				if n, err = store.Add(tx, "a", 1); err != nil {
					return err
				}
				_, err = store.Add(tx, "b", 1)
				return err
			})
			if err != nil {
				t.Errorf("Update: %v", err)
				return
			}
			acknowledged.Store(n)
		}
	})
	for range 4 {
		wg.Go(func() { // ends with the writer; waited for below
			var last int64
			for {
				select {
				case <-ended:
					return
				default:
				}
				atLeast := max(last, acknowledged.Load())
				err := store.View(t.Context(), s, ns, func(tx store.Tx) error {
					a, errA := store.Count(tx, "a")
					b, errB := store.Count(tx, "b")
					entries := 0
					for range tx.Scan(store.Counters, store.Range{}) {
						entries++
					}
					if a != b || a < atLeast || a > 0 && entries != 2 {
						return fmt.Errorf("a = %d, b = %d, %d entries, want both the same and at least %d", a, b, entries, atLeast)
					}
					last = a
					return errors.Join(errA, errB)
				})
				if err != nil {
					t.Errorf("View: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}
