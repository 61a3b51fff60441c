package storetest

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/amphost/amphost/store"
)

func testCounters(t *testing.T, s store.Store) {
	steps := []struct {
		delta, want int64
		err         error
	}{
		{0, 0, nil},
		{1, 1, nil},
		{41, 42, nil},
		{-50, -8, nil},
		{store.MaxCounter, store.MaxCounter - 8, nil},
		{8, store.MaxCounter, nil},
		{1, store.MaxCounter, store.ErrOverflow},
		{math.MaxInt64, store.MaxCounter, store.ErrOverflow},
		{-2 * store.MaxCounter, -store.MaxCounter, nil},
		{-1, -store.MaxCounter, store.ErrOverflow},
		{math.MinInt64, -store.MaxCounter, store.ErrOverflow},
		{store.MaxCounter, 0, nil},
	}
	for _, step := range steps {
		update(t, s, func(tx store.Tx) error {
			got, err := store.Add(tx, "n", step.delta)
			if !errors.Is(err, step.err) || err == nil && got != step.want {
				t.Errorf("Add(%d) = %d, %v, want %d, %v", step.delta, got, err, step.want, step.err)
			}
			if got, err := store.Count(tx, "n"); got != step.want || err != nil {
				t.Errorf("Count after Add(%d) = %d, %v, want %d", step.delta, got, err, step.want)
			}
			return nil
		})
	}
	view(t, s, func(tx store.Tx) error {
		if got, err := store.Count(tx, "missing"); got != 0 || err != nil {
			t.Errorf("Count of a missing counter = %d, %v, want 0", got, err)
		}
		if _, err := store.Add(tx, "n", 1); !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("Add in a view: %v, want ErrReadOnly", err)
		}
		return nil
	})
}

// wantFile checks what a file holds.
func wantFile(t *testing.T, tx store.Tx, name string, want []byte) {
	t.Helper()
	got, err := store.ReadFile(tx, name)
	if err != nil || !bytes.Equal(got, want) || got == nil {
		t.Errorf("ReadFile(%.40q) = %d bytes, %v, want %d bytes", name, len(got), err, len(want))
	}
}

func testFiles(t *testing.T, s store.Store) {
	content := func(size int) []byte {
		return bytes.Repeat([]byte("amphost, "), size/9+1)[:size]
	}
	// What a small file holds is kept with its head.
	wantPieces := func(tx store.Tx, most int) {
		t.Helper()
		got := 0
		for _, e := range scan(t, tx, store.Pieces, store.Range{}) {
			got += len(e.Value)
		}
		if got > most {
			t.Errorf("%d bytes are kept in pieces for files of %d", got, most)
		}
	}
	// Growing and shrinking over the borders of pieces.
	for _, size := range []int{0, 1, 60_000, 60_001, 59_999, 1_000_000, 120_000, 180_001, 10, 0, 1024, 1025, 1023, 1025, 3_000_000} {
		update(t, s, func(tx store.Tx) error {
			if err := store.WriteFile(tx, "f", content(size)); err != nil {
				return err
			}
			wantFile(t, tx, "f", content(size))
			return nil
		})
		view(t, s, func(tx store.Tx) error {
			wantFile(t, tx, "f", content(size))
			wantPieces(tx, size)
			return nil
		})
	}
	update(t, s, func(tx store.Tx) error {
		if err := store.CreateFile(tx, "f", nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("CreateFile of a file that exists: %v, want fs.ErrExist", err)
		}
		if exists, err := store.FileExists(tx, "f"); !exists || err != nil {
			t.Errorf("FileExists = %v, %v, want true", exists, err)
		}
		wantFile(t, tx, "f", content(3_000_000))
		return store.RemoveFile(tx, "f")
	})
	view(t, s, func(tx store.Tx) error {
		if exists, err := store.FileExists(tx, "f"); exists || err != nil {
			t.Errorf("FileExists after RemoveFile = %v, %v, want false", exists, err)
		}
		if _, err := store.ReadFile(tx, "f"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile after RemoveFile: %v, want fs.ErrNotExist", err)
		}
		if err := store.RemoveFile(tx, "f"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("RemoveFile after RemoveFile: %v, want fs.ErrNotExist", err)
		}
		wantPieces(tx, 0)
		return nil
	})
	// A file whose contents were lost is an error, not a shorter file.
	update(t, s, func(tx store.Tx) error {
		if err := store.CreateFile(tx, "f", content(200_000)); err != nil {
			return err
		}
		pieces := scan(t, tx, store.Pieces, store.Range{})
		return tx.Delete(store.Pieces, pieces[1].Key)
	})
	view(t, s, func(tx store.Tx) error {
		if _, err := store.ReadFile(tx, "f"); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("ReadFile of a damaged file: %v, want ErrDamaged", err)
		}
		return nil
	})
}

// testFileNames checks that a name of a file is any bytes, and meets neither
// another file nor a counter nor a plain key.
func testFileNames(t *testing.T, s store.Store) {
	names := []string{
		"", ".", "..", "../../etc/passwd", "/", "a/b", `C:\`, "uid", "a b\n", "é", "\xff", "\xff\xff\xff\xff",
		"a", "a\x00", "a\x00\x00\x00\x00", "a\x00\x00\x00\x01", "\x00", "\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00",
		strings.Repeat("n", store.MaxFileName),
	}
	slices.Sort(names)
	big := make([]byte, 100_000)
	content := func(name string) []byte { return append([]byte("file "+name+" "), big...) }
	update(t, s, func(tx store.Tx) error {
		for _, name := range names {
			if err := store.CreateFile(tx, name, content(name)); err != nil {
				return err
			}
			if _, err := store.Add(tx, name, int64(len(name))); err != nil {
				return err
			}
			if err := tx.Put(store.Keys, name, []byte(name)); err != nil {
				return err
			}
		}
		tooLong := strings.Repeat("n", store.MaxFileName+1)
		for _, data := range [][]byte{nil, big} {
			if err := store.CreateFile(tx, tooLong, data); !errors.Is(err, store.ErrTooLarge) {
				t.Errorf("CreateFile with a name of %d bytes: %v, want ErrTooLarge", len(tooLong), err)
			}
		}
		return nil
	})
	check := func(tx store.Tx, names []string) {
		t.Helper()
		var listed []string
		for info, err := range store.ListFiles(tx, store.Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, info.Name)
			if want := int64(len(content(info.Name))); info.Size != want {
				t.Errorf("ListFiles says that %.40q has %d bytes, want %d", info.Name, info.Size, want)
			}
		}
		if !slices.Equal(listed, names) {
			t.Errorf("ListFiles yields %.40q, want %.40q", listed, names)
		}
		for _, name := range names {
			wantFile(t, tx, name, content(name))
		}
	}
	view(t, s, func(tx store.Tx) error {
		check(tx, names)
		for _, name := range names {
			wantValue(t, tx, store.Keys, name, []byte(name))
			if n, err := store.Count(tx, name); n != int64(len(name)) || err != nil {
				t.Errorf("Count(%.40q) = %d, %v, want %d", name, n, err, len(name))
			}
		}
		return nil
	})
	for len(names) > 0 { // each goes alone
		update(t, s, func(tx store.Tx) error { return store.RemoveFile(tx, names[0]) })
		names = names[1:]
		view(t, s, func(tx store.Tx) error {
			check(tx, names)
			return nil
		})
	}
}
