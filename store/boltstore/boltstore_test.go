package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.RunDurable(t, func(t *testing.T, dir string) store.Store {
		return openIn(t, dir, nil)
	})
}

// TestStoreNoSync is the same as TestStore at a speed at which commits, views
// and scans meet in other ways.
func TestStoreNoSync(t *testing.T) {
	storetest.RunDurable(t, func(t *testing.T, dir string) store.Store {
		return openIn(t, dir, &Options{NoSync: true})
	})
}

// TestCopyWhileInUse checks that a copy is one state of the store, not older
// than the call, while commits go on.
func TestCopyWhileInUse(t *testing.T) {
	s := openTemp(t, nil)
	ended := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	defer close(ended)
	for range 8 {
		wg.Go(func() { // ends with the test; waited for in its cleanup
			for {
				select {
				case <-ended:
					return
				default:
				}
				err := store.Update(context.Background(), s, ns, func(tx store.Tx) error {
					n, err := store.Add(tx, "n", 1)
					return errors.Join(err, store.WriteFile(tx, "n", fmt.Appendf(nil, "%d %s", n, bytes.Repeat([]byte("."), int(n)*100))))
				})
				if err != nil {
					t.Errorf("Update: %v", err)
					return
				}
			}
		})
	}
	var last int64
	for range 10 {
		var copied bytes.Buffer
		atLeast := count(t, s)
		if n, err := s.WriteTo(&copied); err != nil || n != int64(copied.Len()) {
			t.Fatalf("WriteTo = %d, %v, want %d", n, err, copied.Len())
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "test.db"), copied.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		checkPages(t, filepath.Join(dir, "test.db"))
		c := openIn(t, dir, nil)
		n := count(t, c)
		if n < atLeast || n < last {
			t.Errorf("a copy counts %d, and %d was durable before it", n, atLeast)
		}
		last = n
		if n > 0 {
			err := store.View(t.Context(), c, ns, func(tx store.Tx) error {
				data, err := store.ReadFile(tx, "n")
				if want := fmt.Appendf(nil, "%d ", n); !bytes.HasPrefix(data, want) {
					t.Errorf("a copy with counter %d has a file that begins with %.10q", n, data)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNamespaces(t *testing.T) {
	s := openTemp(t, nil)
	for _, name := range []string{"b", "a", "user-registration"} {
		err := store.Update(t.Context(), s, name, func(tx store.Tx) error {
			return tx.Put(store.Keys, "a", nil)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := store.View(t.Context(), s, "only-read", func(store.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	got, err := s.Namespaces()
	if want := []string{"a", "b", "user-registration"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Namespaces = %q, %v, want %q", got, err, want)
	}
}

// ns is the namespace of tests that need only one.
const ns = "test"

// openIn opens the store in a directory.
func openIn(t testing.TB, dir string, opts *Options) *Store {
	t.Helper()
	s, err := Open(filepath.Join(dir, "test.db"), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openTemp opens a store that the end of the test closes, unless it has failed.
func openTemp(t *testing.T, opts *Options) *Store {
	t.Helper()
	s := openIn(t, t.TempDir(), opts)
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrUncertain) {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// begin begins a writable transaction.
func begin(t *testing.T, s *Store) store.Tx {
	t.Helper()
	tx, err := s.Begin(t.Context(), ns, true)
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return tx
}

// put commits a value of a key, and does not wait.
func put(t *testing.T, s *Store, key, value string) <-chan error {
	t.Helper()
	tx := begin(t, s)
	if err := tx.Put(store.Keys, key, []byte(value)); err != nil {
		t.Fatal(err)
	}
	return tx.Commit()
}

// viewed returns what a view reads of a key.
func viewed(t *testing.T, s *Store, key string) string {
	t.Helper()
	var value []byte
	err := store.View(t.Context(), s, ns, func(tx store.Tx) (err error) {
		value, err = tx.Get(store.Keys, key)
		return err
	})
	if err != nil {
		t.Fatalf("View: %v", err)
	}
	return string(value)
}

// count returns the counter n.
func count(t *testing.T, s *Store) (n int64) {
	t.Helper()
	err := store.View(t.Context(), s, ns, func(tx store.Tx) (err error) {
		n, err = store.Count(tx, "n")
		return err
	})
	if err != nil {
		t.Fatalf("View: %v", err)
	}
	return n
}

// receive waits for the outcome of a commit.
func receive(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("a transaction has not ended after 30 s")
		return nil
	}
}

// checkPages has bbolt check a file that nobody has open.
func checkPages(t *testing.T, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(btx *bbolt.Tx) error {
		var errs []error
		for err := range btx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Errorf("bbolt's check of %s: %v", path, err)
	}
}
