package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/amphost/amphost/store"
)

func testValues(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error {
		wantValue(t, tx, store.Keys, "a", nil)
		return errors.Join(
			tx.Put(store.Keys, "a", []byte("1")),
			tx.Put(store.Keys, "b", []byte("2")),
			tx.Put(store.Keys, "c", []byte("3")),
			tx.Put(store.Keys, "empty", nil),
			tx.Put(store.Keys, "", []byte("of the empty key")),
		)
	})
	update(t, s, func(tx store.Tx) error {
		wantValue(t, tx, store.Keys, "a", []byte("1"))
		err := errors.Join(
			tx.Put(store.Keys, "a", []byte("one")),
			tx.Delete(store.Keys, "b"),
			tx.Delete(store.Keys, "c"),
			tx.Put(store.Keys, "c", []byte("again")),
			tx.Delete(store.Keys, "never there"),
		)
		wantValue(t, tx, store.Keys, "a", []byte("one"))
		wantValue(t, tx, store.Keys, "b", nil)
		return err
	})
	check := func(tx store.Tx) error {
		wantValue(t, tx, store.Keys, "a", []byte("one"))
		wantValue(t, tx, store.Keys, "b", nil)
		wantValue(t, tx, store.Keys, "c", []byte("again"))
		wantValue(t, tx, store.Keys, "empty", []byte{})
		wantValue(t, tx, store.Keys, "", []byte("of the empty key"))
		wantValue(t, tx, store.Keys, "never there", nil)
		return nil
	}
	view(t, s, check)
	update(t, s, check)
}

// testCopies checks that no slice is shared between a store and its users.
func testCopies(t *testing.T, s store.Store) {
	spoil := func(value []byte) { copy(value, "spoiled") }
	update(t, s, func(tx store.Tx) error {
		value := []byte("pristine")
		err := tx.Put(store.Keys, "a", value)
		spoil(value)
		return err
	})
	for range 3 { // a value that is pending, one that is durable
		tx := begin(t, s, true)
		value, err := tx.Get(store.Keys, "a")
		if err != nil {
			t.Fatal(err)
		}
		spoil(value)
		wantValue(t, tx, store.Keys, "a", []byte("pristine"))
		for e, err := range tx.Scan(store.Keys, store.Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			spoil(e.Value)
		}
		kept, _ := tx.Get(store.Keys, "a")
		if err := tx.Put(store.Keys, "a", []byte("pristine")); err != nil {
			t.Fatal(err)
		}
		value, _ = tx.Get(store.Keys, "a")
		spoil(value)
		tx.Commit()
		if string(kept) != "pristine" {
			t.Errorf("a value changed in its user's hands: %q", kept)
		}
	}
	view(t, s, func(tx store.Tx) error {
		wantValue(t, tx, store.Keys, "a", []byte("pristine"))
		return nil
	})
}

// testSpaces checks that a name in one space meets no name in another.
func testSpaces(t *testing.T, s store.Store) {
	spaces := []store.Space{0, store.Counters, store.Files, store.Keys, store.Pieces, 0xff}
	names := []string{"", "\x00", "a", "k", "ka", "\xff", "\xff\xff"}
	value := func(space store.Space, name string) []byte {
		return append([]byte{byte(space)}, "/"+name...)
	}
	update(t, s, func(tx store.Tx) error {
		for _, space := range spaces {
			for _, name := range names {
				if err := tx.Put(space, name, value(space, name)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	view(t, s, func(tx store.Tx) error {
		for _, space := range spaces {
			for _, name := range names {
				wantValue(t, tx, space, name, value(space, name))
			}
			for _, r := range []store.Range{{}, {Reverse: true}} {
				if got := len(scan(t, tx, space, r)); got != len(names) {
					t.Errorf("Scan(%q, %+v) yields %d entries, want %d", space, r, got, len(names))
				}
			}
		}
		return nil
	})
}

func testNamespaces(t *testing.T, s store.Store) {
	ctx := t.Context()
	longest := strings.Repeat("n", store.MaxNamespace)
	names := []string{"a", "0", "user-registration", "a_b", longest}
	for _, name := range names {
		err := store.Update(ctx, s, name, func(tx store.Tx) error {
			return tx.Put(store.Keys, "name", []byte(name))
		})
		if err != nil {
			t.Errorf("Update in namespace %.40q: %v", name, err)
		}
	}
	for _, name := range names {
		err := store.View(ctx, s, name, func(tx store.Tx) error {
			wantValue(t, tx, store.Keys, "name", []byte(name))
			return nil
		})
		if err != nil {
			t.Errorf("View of namespace %.40q: %v", name, err)
		}
	}
	for _, name := range []string{"", "-a", "A", "a b", "a/b", "..", "a\x00", "é", longest + "n"} {
		for _, writable := range []bool{false, true} {
			if tx, err := s.Begin(ctx, name, writable); err == nil {
				tx.Rollback()
				t.Errorf("Begin(%.40q, %v) succeeded, want an error", name, writable)
			}
		}
	}
	// A transaction on one namespace must not wait for one on another.
	first := begin(t, s, true)
	if err := store.Update(ctx, s, "other", func(store.Tx) error { return nil }); err != nil {
		t.Error(err)
	}
	receive(t, first.Rollback())
}

func testLimits(t *testing.T, s store.Store) {
	key := strings.Repeat("k", store.MaxKey)
	value := make([]byte, store.MaxValue)
	update(t, s, func(tx store.Tx) error {
		if err := tx.Put(store.Keys, key+"k", nil); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("Put of a key of %d bytes: %v, want ErrTooLarge", len(key)+1, err)
		}
		if err := tx.Put(store.Keys, "a", append(value, 0)); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("Put of a value of %d bytes: %v, want ErrTooLarge", len(value)+1, err)
		}
		return tx.Put(store.Keys, key, value)
	})
	view(t, s, func(tx store.Tx) error {
		wantValue(t, tx, store.Keys, key, value)
		wantValue(t, tx, store.Keys, key+"k", nil)
		wantValue(t, tx, store.Keys, "a", nil)
		return nil
	})
	update(t, s, func(tx store.Tx) error {
		return errors.Join(tx.Delete(store.Keys, key+"k"), tx.Delete(store.Keys, key))
	})
}

func testRollback(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error { return tx.Put(store.Keys, "a", []byte("1")) })
	tx := begin(t, s, true)
	if err := errors.Join(tx.Put(store.Keys, "a", []byte("2")), tx.Put(store.Keys, "b", nil)); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, tx.Rollback()); err != nil {
		t.Errorf("Rollback: %v", err)
	}
	boom := errors.New("boom")
	err := store.Update(t.Context(), s, ns, func(tx store.Tx) error {
		return errors.Join(boom, tx.Delete(store.Keys, "a"))
	})
	if !errors.Is(err, boom) {
		t.Errorf("Update returned %v, want its function's error", err)
	}
	check := func(tx store.Tx) error {
		wantValue(t, tx, store.Keys, "a", []byte("1"))
		wantValue(t, tx, store.Keys, "b", nil)
		return nil
	}
	view(t, s, check)
	update(t, s, check)
}

// testPanic checks that a panic in a transaction passes through and does not
// leave the namespace locked.
func testPanic(t *testing.T, s store.Store) {
	for _, run := range []func(context.Context, store.Store, string, func(store.Tx) error) error{store.Update, store.View} {
		func() {
			defer func() {
				if got := recover(); got != "boom" {
					t.Errorf("recovered %v, want the function's panic", got)
				}
			}()
			run(t.Context(), s, ns, func(tx store.Tx) error {
				tx.Put(store.Keys, "a", []byte("1"))
				for range tx.Scan(store.Keys, store.Range{}) {
					panic("boom")
				}
				panic("boom")
			})
		}()
	}
	update(t, s, func(tx store.Tx) error {
		wantValue(t, tx, store.Keys, "a", nil)
		return nil
	})
}

func testEnded(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error {
		return errors.Join(tx.Put(store.Keys, "a", []byte("1")), tx.Put(store.Keys, "b", []byte("2")))
	})
	for _, writable := range []bool{false, true} {
		for _, end := range []func(store.Tx) <-chan error{store.Tx.Commit, store.Tx.Rollback} {
			tx := begin(t, s, writable)
			scanned := 0
			for _, err := range tx.Scan(store.Keys, store.Range{}) {
				if scanned++; scanned == 1 {
					if err != nil {
						t.Fatal(err)
					}
					if err := receive(t, end(tx)); err != nil {
						t.Errorf("end of a transaction: %v", err)
					}
				} else if !errors.Is(err, store.ErrEnded) {
					t.Errorf("a scan that outlives its transaction yields error %v, want ErrEnded", err)
				}
			}
			if scanned != 2 {
				t.Errorf("a scan that outlives its transaction yields %d times, want an entry and an error", scanned)
			}
			_, err := tx.Get(store.Keys, "a")
			got := map[string]error{
				"Get":      err,
				"Put":      tx.Put(store.Keys, "a", []byte("late")),
				"Delete":   tx.Delete(store.Keys, "a"),
				"Commit":   receive(t, tx.Commit()),
				"Rollback": receive(t, tx.Rollback()),
			}
			for _, err := range tx.Scan(store.Keys, store.Range{}) {
				got["Scan"] = err
			}
			for _, method := range []string{"Get", "Put", "Delete", "Scan", "Commit", "Rollback"} {
				if !errors.Is(got[method], store.ErrEnded) {
					t.Errorf("%s after the end: %v, want ErrEnded", method, got[method])
				}
			}
		}
	}
	view(t, s, func(tx store.Tx) error {
		wantValue(t, tx, store.Keys, "a", []byte("1"))
		return nil
	})
}

func testReadOnly(t *testing.T, s store.Store) {
	tx := begin(t, s, false)
	if err := tx.Put(store.Keys, "a", nil); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Put in a view: %v, want ErrReadOnly", err)
	}
	if err := tx.Delete(store.Keys, "a"); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Delete in a view: %v, want ErrReadOnly", err)
	}
	wantValue(t, tx, store.Keys, "a", nil)
	if err := receive(t, tx.Commit()); err != nil {
		t.Errorf("Commit of a view: %v", err)
	}
}

// testSnapshot checks that a transaction sees one state from beginning to end,
// whatever is committed meanwhile, and that it waits for nobody.
func testSnapshot(t *testing.T, s store.Store) {
	put := func(value string) {
		update(t, s, func(tx store.Tx) error { return tx.Put(store.Keys, "a", []byte(value)) })
	}
	put("1")
	old := begin(t, s, false)
	put("2")
	recent := begin(t, s, false)
	put("3")
	wantValue(t, old, store.Keys, "a", []byte("1"))
	wantValue(t, recent, store.Keys, "a", []byte("2"))

	writer := begin(t, s, true)
	if err := writer.Put(store.Keys, "a", []byte("4")); err != nil {
		t.Fatal(err)
	}
	view(t, s, func(tx store.Tx) error {
		wantValue(t, tx, store.Keys, "a", []byte("3"))
		return nil
	})
	if err := receive(t, writer.Commit()); err != nil {
		t.Fatal(err)
	}
	wantValue(t, old, store.Keys, "a", []byte("1"))
	view(t, s, func(tx store.Tx) error {
		wantValue(t, tx, store.Keys, "a", []byte("4"))
		return nil
	})
	receive(t, old.Rollback())
	receive(t, recent.Rollback())
}

// testContext checks that contexts that end are obeyed.
func testContext(t *testing.T, s store.Store) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for _, writable := range []bool{false, true} {
		if tx, err := s.Begin(ctx, ns, writable); !errors.Is(err, why) {
			if err == nil {
				tx.Rollback()
			}
			t.Errorf("Begin with a context that has ended: %v, want its cause", err)
		}
	}
	first := begin(t, s, true)
	ctx, cancel = context.WithCancelCause(t.Context())
	failed := make(chan error, 1)
	go func() { // ends with the context; received below
		tx, err := s.Begin(ctx, ns, true)
		if err == nil {
			tx.Rollback()
		}
		failed <- err
	}()
	cancel(why)
	if err := receive(t, failed); !errors.Is(err, why) {
		t.Errorf("Begin with a context that ends while it waits: %v, want its cause", err)
	}
	receive(t, first.Rollback())
	update(t, s, func(store.Tx) error { return nil })
}

func testClose(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error { return tx.Put(store.Keys, "a", nil) })
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, writable := range []bool{false, true} {
		if _, err := s.Begin(t.Context(), ns, writable); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Begin(%q, %v) after Close: %v, want ErrClosed", ns, writable, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
