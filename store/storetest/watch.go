package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/amphost/amphost/store"
)

// A record is what a watcher was told.
type record struct {
	mu    sync.Mutex // guards calls
	calls [][]store.Change
}

func (r *record) note(changes []store.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, changes)
}

func (r *record) told() [][]store.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// watch watches a namespace until the end of the test.
func watch(t *testing.T, s store.Store, namespace string) (r *record, stop func()) {
	t.Helper()
	r = new(record)
	stop, err := s.Watch(namespace, r.note)
	if err != nil {
		t.Fatalf("Watch(%q): %v", namespace, err)
	}
	t.Cleanup(stop)
	return r, stop
}

// testWatch checks that a watcher is told of what each commit to its namespace
// changes, and of nothing else, before who committed it is told.
func testWatch(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error { return tx.Put(store.Keys, "before", nil) })
	told, stop := watch(t, s, ns)
	other, _ := watch(t, s, "other")

	update(t, s, func(tx store.Tx) error {
		return errors.Join(
			tx.Put(store.Keys, "b", []byte("1")),
			tx.Put(store.Keys, "a", []byte("written over")),
			tx.Put(store.Keys, "a", nil),
			tx.Put(store.Files, "a", []byte("3")),
		)
	})
	change := func(space store.Space, key string, value []byte) store.Change {
		return store.Change{Space: space, Key: key, Value: value}
	}
	want := [][]store.Change{{change(store.Files, "a", []byte("3")), change(store.Keys, "a", []byte{}), change(store.Keys, "b", []byte("1"))}}
	wantTold(t, told, want)
	update(t, s, func(tx store.Tx) error { return tx.Delete(store.Keys, "a") })
	want = append(want, []store.Change{change(store.Keys, "a", nil)})
	wantTold(t, told, want)

	// Nothing of what changes nothing, or was dropped, or is elsewhere.
	update(t, s, func(tx store.Tx) error { return nil })
	boom := errors.New("boom")
	err := store.Update(t.Context(), s, ns, func(tx store.Tx) error {
		return errors.Join(tx.Put(store.Keys, "dropped", nil), boom)
	})
	if !errors.Is(err, boom) {
		t.Errorf("Update returned %v, want its function's error", err)
	}
	view(t, s, func(tx store.Tx) error { return nil })
	err = store.Update(t.Context(), s, "other", func(tx store.Tx) error { return tx.Put(store.Keys, "c", []byte("2")) })
	if err != nil {
		t.Fatal(err)
	}
	wantTold(t, told, want)
	wantTold(t, other, [][]store.Change{{change(store.Keys, "c", []byte("2"))}})

	stop()
	stop()
	update(t, s, func(tx store.Tx) error { return tx.Put(store.Keys, "after", nil) })
	wantTold(t, told, want)
	if _, err := s.Watch("no namespace", told.note); err == nil {
		t.Error("Watch of what is no namespace succeeded")
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := s.Watch(ns, told.note); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Watch after Close: %v, want ErrClosed", err)
	}
}

func wantTold(t *testing.T, r *record, want [][]store.Change) {
	t.Helper()
	same := func(a, b store.Change) bool {
		return a.Space == b.Space && a.Key == b.Key && string(a.Value) == string(b.Value) && (a.Value == nil) == (b.Value == nil)
	}
	got := r.told()
	if !slices.EqualFunc(got, want, func(a, b []store.Change) bool { return slices.EqualFunc(a, b, same) }) {
		t.Errorf("the watcher was told %q, want %q", got, want)
	}
}

// testWatchFollows checks that who applies what it is told, in the order in
// which it is told, has what the store has; that what it is told can be read;
// and that watchers that come and go are no trouble.
func testWatchFollows(t *testing.T, s store.Store) {
	const goroutines, each = 8, 40
	followed := make(map[string]string)
	ahead := make(chan int64, goroutines*each) // counts that a watcher was told
	stop, err := s.Watch(ns, func(changes []store.Change) {
		for _, c := range changes {
			switch {
			case c.Space == store.Counters:
				var n int64
				fmt.Sscan(string(c.Value), &n)
				ahead <- n
			case c.Value == nil:
				delete(followed, c.Key)
			default:
				followed[c.Key] = string(c.Value)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { // ends when the commits have; waited for below
		for i := range goroutines * each {
			n := <-ahead
			if n != int64(i+1) {
				t.Errorf("call %d of the watcher is of commit %d", i+1, n)
			}
			err := store.View(t.Context(), s, ns, func(tx store.Tx) error {
				seen, err := store.Count(tx, "n")
				if seen < n {
					t.Errorf("a view sees %d after a watcher was told %d", seen, n)
				}
				return err
			})
			if err != nil {
				t.Errorf("View: %v", err)
			}
		}
	})
	for g := range goroutines {
		wg.Go(func() { // ends after each rounds; waited for below
			for i := range each {
				passing, err := s.Watch(ns, func([]store.Change) {})
				if err != nil {
					t.Errorf("Watch: %v", err)
					return
				}
				ctx := t.Context()
				if i%2 == 0 {
					ctx = context.Background() // some stores make a difference
				}
				err = store.Update(ctx, s, ns, func(tx store.Tx) error {
					n, err := store.Add(tx, "n", 1)
					key := fmt.Sprint((g*each + i*7) % 20)
					if n%3 == 0 {
						return errors.Join(err, tx.Delete(store.Keys, key))
					}
					return errors.Join(err, tx.Put(store.Keys, key, fmt.Append(nil, n)))
				})
				passing()
				if err != nil {
					t.Errorf("Update: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	view(t, s, func(tx store.Tx) error {
		stored := make(map[string]string)
		for _, e := range scan(t, tx, store.Keys, store.Range{}) {
			stored[e.Key] = string(e.Value)
		}
		if !maps.Equal(stored, followed) {
			t.Errorf("who follows has %v, and the store has %v", followed, stored)
		}
		return nil
	})
}
