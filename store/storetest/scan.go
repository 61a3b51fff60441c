package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/amphost/amphost/store"
)

// scan returns what a scan yields, which must be no error.
func scan(t *testing.T, tx store.Tx, space store.Space, r store.Range) []store.Entry {
	t.Helper()
	var entries []store.Entry
	for e, err := range tx.Scan(space, r) {
		if err != nil {
			t.Fatalf("Scan(%q, %+v): %v", space, r, err)
		}
		entries = append(entries, e)
	}
	return entries
}

// testScan scans ranges of every shape over keys that are on disk, in the
// transaction's own writes, and mixed.
func testScan(t *testing.T, s store.Store) {
	var keys []string
	for _, letter := range []string{"", "\x00", "a", "ab", "b", "é", "\xff", "\xff\xff"} {
		keys = append(keys, letter)
		for i := range 30 { // enough for several pages
			keys = append(keys, fmt.Sprintf("%s/%02d", letter, i))
		}
	}
	bounds := []string{"", "\x00", "\xc3", "a", "a/", "a/07", "a/07x", "b/29", "é/15", "\xff", "\xff\xff", "\xff\xff\xff"}
	var ranges []store.Range
	for _, a := range bounds {
		ranges = append(ranges, store.Range{Prefix: a})
		for _, b := range bounds {
			ranges = append(ranges, store.Range{Start: a, End: b}, store.Range{Prefix: a, Start: b}, store.Range{Prefix: a, End: b})
		}
	}
	// check compares scans with a filter over all keys.
	check := func(t *testing.T, tx store.Tx, all map[string]string) {
		sorted := make([]string, 0, len(all))
		for key := range all {
			sorted = append(sorted, key)
		}
		slices.Sort(sorted)
		for _, r := range ranges {
			var want []string
			for _, key := range sorted {
				if strings.HasPrefix(key, r.Prefix) && key >= r.Start && (r.End == "" || key < r.End) {
					want = append(want, key)
				}
			}
			for _, r.Reverse = range []bool{false, true} {
				if r.Reverse {
					slices.Reverse(want)
				}
				for _, r.Limit = range []int{0, 1, 2, 31} {
					limited := want
					if r.Limit > 0 && r.Limit < len(want) {
						limited = want[:r.Limit]
					}
					entries := scan(t, tx, store.Keys, r)
					var got []string
					for _, e := range entries {
						got = append(got, e.Key)
						if string(e.Value) != all[e.Key] {
							t.Fatalf("Scan(%+v) yields %q for key %q, want %q", r, e.Value, e.Key, all[e.Key])
						}
					}
					if !slices.Equal(got, limited) {
						t.Fatalf("Scan(%+v) = %q, want %q", r, got, limited)
					}
				}
			}
		}
	}
	all := make(map[string]string)
	put := func(tx store.Tx, key, value string) {
		value += strings.Repeat(".", 100)
		all[key] = value
		if err := tx.Put(store.Keys, key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(tx store.Tx, key string) {
		delete(all, key)
		if err := tx.Delete(store.Keys, key); err != nil {
			t.Fatal(err)
		}
	}

	empty := begin(t, s, false)
	check(t, empty, all)
	receive(t, empty.Rollback())

	// All in the transaction's writes, beside neighbours in other spaces.
	tx := begin(t, s, true)
	for _, space := range []store.Space{store.Keys - 1, store.Keys + 1, store.Counters, store.Files} {
		if err := errors.Join(tx.Put(space, "", nil), tx.Put(space, "a", nil), tx.Put(space, "\xff", nil)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range keys {
		put(tx, key, "first")
	}
	check(t, tx, all)
	done := tx.Commit()

	// Some of it is pending or durable, some is written over, deleted, new.
	tx = begin(t, s, true)
	for i, key := range keys {
		switch i % 7 {
		case 1:
			put(tx, key, "second")
		case 2, 3:
			remove(tx, key)
		case 4:
			put(tx, key+"+", "new")
		}
	}
	check(t, tx, all)
	if err := errors.Join(receive(t, done), receive(t, tx.Commit())); err != nil {
		t.Fatal(err)
	}

	// All of it is durable.
	tx = begin(t, s, false)
	check(t, tx, all)
	receive(t, tx.Rollback())
	tx = begin(t, s, true)
	check(t, tx, all)
	for i, key := range keys {
		if i%2 == 0 {
			remove(tx, key)
		} else if i%5 == 0 {
			put(tx, key, "third")
		}
	}
	check(t, tx, all)
	receive(t, tx.Rollback())
}

// testScanWhileWriting checks that the body of a loop does not change what the
// loop yields.
func testScanWhileWriting(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error {
		return errors.Join(
			tx.Put(store.Keys, "a", []byte("1")), tx.Put(store.Keys, "c", []byte("1")), tx.Put(store.Keys, "e", []byte("1")))
	})
	for _, reverse := range []bool{false, true} {
		tx := begin(t, s, true)
		if err := tx.Put(store.Keys, "d", []byte("1")); err != nil {
			t.Fatal(err)
		}
		var got []string
		for e, err := range tx.Scan(store.Keys, store.Range{Reverse: reverse}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Key+string(e.Value))
			for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
				if err := tx.Put(store.Keys, key, []byte("2")); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Delete(store.Keys, "c"); err != nil {
				t.Fatal(err)
			}
		}
		if reverse {
			slices.Reverse(got)
		}
		if want := []string{"a1", "c1", "d1", "e1"}; !slices.Equal(got, want) {
			t.Errorf("a scan whose body writes yields %q, want %q", got, want)
		}
		if got := len(scan(t, tx, store.Keys, store.Range{})); got != 5 {
			t.Errorf("the scan after it yields %d entries, want 5", got)
		}
		receive(t, tx.Rollback())
	}
}
