package boltstore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/store"
)

// backup makes a backup of a store.
func backup(s *Store, path string, replace bool) (int64, error) {
	return WriteBackup(path, replace, func(f *os.File) error {
		_, err := s.WriteTo(f)
		return err
	})
}

func TestBackupAndRestore(t *testing.T) {
	s := openTemp(t, nil)
	receive(t, put(t, s, "a", "1"))
	dir := t.TempDir()
	saved := filepath.Join(dir, "saved.db")
	size, err := backup(s, saved, false)
	if info, statErr := os.Stat(saved); err != nil || statErr != nil || info.Size() != size || info.Mode().Perm() != 0o600 {
		t.Fatalf("backup = %d, %v; the file: %v, %v, want mode 0600", size, err, info, statErr)
	}
	receive(t, put(t, s, "a", "2"))
	if _, err := backup(s, saved, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("backup over another: %v, want ErrExist", err)
	}

	// Restored where there is nothing.
	target := filepath.Join(dir, "test.db")
	if kept, err := Restore(target, saved); err != nil || kept != "" {
		t.Fatalf("Restore = %q, %v", kept, err)
	}
	r := openIn(t, dir, nil)
	if got := viewed(t, r, "a"); got != "1" {
		t.Errorf("the restored store has %q, want 1", got)
	}
	receive(t, put(t, r, "a", "3"))
	if _, err := Restore(target, saved); !errors.Is(err, ErrLocked) {
		t.Errorf("Restore of a store in use: %v, want ErrLocked", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	// Restored over another, which is kept.
	if _, err := backup(s, saved, true); err != nil {
		t.Fatal(err)
	}
	kept, err := Restore(target, saved)
	if err != nil || filepath.Dir(kept) != dir {
		t.Fatalf("Restore = %q, %v, want the name of the store before", kept, err)
	}
	for path, want := range map[string]string{target: "2", kept: "3"} {
		r, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := viewed(t, r, "a"); got != want {
			t.Errorf("%s has %q, want %s", path, got, want)
		}
		r.Close()
	}

	// Restored over one that is damaged.
	if err := os.WriteFile(target, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(target, saved); err != nil {
		t.Errorf("Restore over a damaged store: %v", err)
	}
	wantProblem(t, target, "")
	wantNoRemains(t, dir)
}

// TestNothingBadIsInstalled checks that neither a backup nor a restored store
// comes of what is not sound, and that what was there stays.
func TestNothingBadIsInstalled(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, nil)
	receive(t, put(t, s, "a", "1"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "test.db")
	before, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	bad := sampleAt(t, func(data []byte) { clear(data[len(data)/2:]) })
	for what, restore := range map[string]func() error{
		"damaged": func() error { _, err := Restore(target, bad); return err },
		"empty":   func() error { _, err := Restore(target, sampleAt(t, nil)+"x"); return err },
		"backup": func() error {
			_, err := WriteBackup(target, true, func(f *os.File) error { _, err := f.WriteString("half a st"); return err })
			return err
		},
	} {
		if err := restore(); !errors.Is(err, store.ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want an error about damage", what, err)
		}
		if after, _ := os.ReadFile(target); !bytes.Equal(before, after) {
			t.Errorf("%s: the file that was there has changed", what)
		}
	}
	wantNoRemains(t, dir)
	if _, err := Restore(target, dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Restore from a directory: %v", err)
	}
}

func TestCompact(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, nil)
	receive(t, put(t, s, "keep", "1"))
	receive(t, put(t, s, "big", strings.Repeat("v", store.MaxValue)))
	tx := begin(t, s)
	tx.Delete(store.Keys, "big")
	receive(t, tx.Commit())
	stats, err := s.Stats()
	if err != nil || stats.Free < store.MaxValue {
		t.Errorf("Stats = %+v, %v, want a MiB free", stats, err)
	}
	if _, _, err := Compact(s.path); !errors.Is(err, ErrLocked) {
		t.Errorf("Compact of a store in use: %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(s.path, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	before, after, err := Compact(s.path)
	if err != nil || before < store.MaxValue || after > 100_000 {
		t.Errorf("Compact = %d, %d, %v", before, after, err)
	}
	info, err := os.Stat(s.path)
	if err != nil || info.Size() != after || runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
		t.Errorf("the file is %v, %v, want %d bytes, mode 0640", info, err, after)
	}
	wantProblem(t, s.path, "")
	wantNoRemains(t, dir)
	s = openIn(t, dir, nil)
	defer s.Close()
	if got := viewed(t, s, "keep") + viewed(t, s, "big"); got != "1" {
		t.Errorf("read %q of a compacted store, want 1", got)
	}
}

func TestStats(t *testing.T) {
	s := openTemp(t, &Options{Quotas: map[string]int64{ns: 1 << 20}})
	err := store.Update(t.Context(), s, ns, func(tx store.Tx) error {
		_, err := store.Add(tx, "uid", 41)
		return errors.Join(err,
			tx.Put(store.Keys, "a", []byte("12")), tx.Put(store.Keys, "b", nil), tx.Put('x', "own", nil),
			store.WriteFile(tx, "f", make([]byte, 100_000)))
	})
	if err != nil {
		t.Fatal(err)
	}
	stats, err := s.Stats()
	if err != nil || len(stats.Namespaces) != 1 {
		t.Fatalf("Stats = %+v, %v", stats, err)
	}
	want := NamespaceStats{Name: ns, Keys: 2, Counters: 1, Files: 1, Other: 1, Bytes: usage(t, s, ns), Quota: 1 << 20}
	if stats.Namespaces[0] != want {
		t.Errorf("Stats of the namespace = %+v, want %+v", stats.Namespaces[0], want)
	}
	if stats.Size < 100_000 || stats.Free < 0 || stats.Free > stats.Size {
		t.Errorf("Stats = %+v", stats)
	}
}

// TestOpenWaitsForTheRightFile checks that who waits for a file that is then
// replaced does not go on with the one that has no name any more.
func TestOpenWaitsForTheRightFile(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it looks into /proc")
	}
	dir, other := t.TempDir(), t.TempDir()
	o := openIn(t, other, nil)
	receive(t, put(t, o, "a", "new"))
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	s := openIn(t, dir, nil)
	receive(t, put(t, s, "a", "old"))

	opened := make(chan *Store, 1)
	go func() { // ends when the file is free; received below
		s, err := Open(filepath.Join(dir, "test.db"), &Options{LockTimeout: time.Minute})
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	for deadline := time.Now().Add(30 * time.Second); openTimes(t, s.path) < 2; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits for the file")
		}
	}
	if err := os.Rename(filepath.Join(other, "test.db"), s.path); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	late := <-opened
	if late == nil {
		return
	}
	defer late.Close()
	if got := viewed(t, late, "a"); got != "new" {
		t.Errorf("who waited reads %q, want what is in the file of that name now", got)
	}
}

// openTimes returns how many descriptors of this process are of a file.
func openTimes(t *testing.T, path string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && to == path {
			n++
		}
	}
	return n
}
