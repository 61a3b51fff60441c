package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/amphost/amphost/store"
)

// wantRefusal checks that a file is not opened, in one short sentence that
// names it, that it is left as it was, and that nothing else is left behind.
func wantRefusal(t *testing.T, path string, is error, says ...string) {
	t.Helper()
	before, _ := os.ReadFile(path)
	s, err := Open(path, nil)
	if err == nil {
		s.Close()
		t.Errorf("Open succeeded, want an error with %q", says)
		return
	}
	t.Log(err)
	if is != nil && !errors.Is(err, is) {
		t.Errorf("Open: %v, want an error that is %v", err, is)
	}
	for _, says := range append(says, path) {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("Open: %v, want an error with %q", err, says)
		}
	}
	if text := err.Error(); strings.Contains(text, "\n") || len(text) > len(path)*2+200 {
		t.Errorf("Open: %q, want a short sentence", text)
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(before, after) {
		t.Error("Open changed a file that it does not open")
	}
	wantNoRemains(t, filepath.Dir(path))
}

func wantNoRemains(t *testing.T, dir string) {
	t.Helper()
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".amphost") {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

// sampleFile returns the bytes of a store of some hundred pages.
func sampleFile(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	s := openIn(t, dir, &Options{NoSync: true})
	for i := range 40 {
		err := store.Update(t.Context(), s, ns, func(tx store.Tx) error {
			for j := range 20 {
				if err := tx.Put(store.Keys, fmt.Sprintf("%d/%d", j, i), bytes.Repeat([]byte{byte(i)}, 200)); err != nil {
					return err
				}
			}
			_, err := store.Add(tx, "n", 1)
			return errors.Join(err, store.WriteFile(tx, fmt.Sprint(i%5), make([]byte, 500*i)))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenRefuses(t *testing.T) {
	sample := sampleFile(t)
	page := os.Getpagesize()
	random := make([]byte, 100_000)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	files := []struct {
		name string
		data []byte
		says string
	}{
		{"empty", nil, "empty"},
		{"text", []byte("a file of something else\n"), "not a store"},
		{"random", random, "not a store"},
		{"zeros", make([]byte, 100_000), "not a store"},
		{"one byte", sample[:1], "not a store"},
		{"less than a page", sample[:1000], "cut off"},
		{"one page", sample[:page], "cut off"},
		{"two pages", sample[:2*page], "cut off"},
		{"a third", sample[:len(sample)/3], "cut off"},
		{"no first pages", sample[2*page:], "not a store"},
	}
	for _, f := range files {
		t.Run(f.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			if err := os.WriteFile(path, f.data, 0o600); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, path, store.ErrDamaged, f.says, "restore a backup")
		})
	}
	t.Run("cut by a page", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.db")
		if err := os.WriteFile(path, sample, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		size := pagesSize(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size-int64(page)); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, path, store.ErrDamaged, "cut off", fmt.Sprint(size), "restore a backup")
	})
	t.Run("newer", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.db")
		if err := os.WriteFile(path, sample, 0o600); err != nil {
			t.Fatal(err)
		}
		editMeta(t, path, func(meta *bbolt.Bucket) error { return meta.Put([]byte(formatKey), []byte("2")) })
		wantRefusal(t, path, nil, "format 2", "newer amphost")
		editMeta(t, path, func(meta *bbolt.Bucket) error { return meta.Put([]byte(formatKey), []byte("x")) })
		wantRefusal(t, path, store.ErrDamaged)
	})
	t.Run("another program's", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.db")
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
		wantRefusal(t, path, nil, "another program")
	})
	t.Run("directory", func(t *testing.T) { wantRefusal(t, t.TempDir(), nil, "is a directory") })
	t.Run("device", func(t *testing.T) { wantRefusal(t, os.DevNull, nil, "not a regular file") })
	t.Run("no directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "missing", "test.db")
		wantRefusal(t, path, nil, "there is no directory", "make it")
		if _, err := os.Stat(filepath.Dir(path)); err == nil {
			t.Error("Open made the directory")
		}
	})
	t.Run("forbidden", func(t *testing.T) {
		if os.Getuid() == 0 || runtime.GOOS == "windows" {
			t.Skip("to root nothing is forbidden")
		}
		path := filepath.Join(t.TempDir(), "test.db")
		if err := os.WriteFile(path, sample, 0o400); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, path, os.ErrPermission)
	})
}

// editMeta changes what a file says of itself.
func editMeta(t *testing.T, path string, edit func(meta *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(btx *bbolt.Tx) error { return edit(btx.Bucket([]byte(metaBucket))) })
	if err != nil {
		t.Fatal(err)
	}
}

// pagesSize returns how many bytes of the file are in use.
func pagesSize(t *testing.T, s *Store) int64 {
	t.Helper()
	snap, err := s.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Rollback()
	return snap.Size()
}

// TestDamage flips bytes all over a file and uses what can be opened. Whatever
// comes of it must be a value or an error: no panic, no fault, no endless loop,
// and a Close that returns.
//
// It does so 60 times, and 3000 times if AMPHOST_LONG is set.
func TestDamage(t *testing.T) {
	sample := sampleFile(t)
	random := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "test.db")
	outcomes := make(map[string]int)
	for range rounds(60, 3000) {
		data := bytes.Clone(sample)
		for range 1 + random.IntN([]int{3, 100}[random.IntN(2)]) {
			at := random.IntN(len(data))
			if random.IntN(2) == 0 {
				at = at / 4096 * 4096 // page headers are where it hurts
				at += random.IntN(64)
			}
			if at < len(data) {
				data[at] ^= byte(1 << random.IntN(8))
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, &Options{NoSync: true})
		if errors.Is(err, ErrLocked) {
			t.Errorf("the round before has left the file locked: %v", err)
		}
		outcome := "refused"
		if err != nil && !errors.Is(err, store.ErrDamaged) && !strings.Contains(err.Error(), "name another file") && !strings.Contains(err.Error(), "use the newer") {
			t.Errorf("Open: %v, want an error that is about damage", err)
		}
		if err == nil {
			outcome = useDamaged(t, s)
		}
		outcomes[outcome]++
	}
	t.Log(outcomes)
	if outcomes["damaged"]+outcomes["fine"] == 0 || outcomes["refused"] == 0 {
		t.Error("it was always the same, so nothing was tested")
	}
}

// TestTruncatedInUse cuts a file off while it is open: what is beyond its end is
// mapped, and a fault to read.
func TestTruncatedInUse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is mapped can't be cut off")
	}
	sample := sampleFile(t)
	for _, size := range []int{0, 1, os.Getpagesize(), 2 * os.Getpagesize(), len(sample) / 3} {
		path := filepath.Join(t.TempDir(), "test.db")
		if err := os.WriteFile(path, sample, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		open, err := s.Begin(t.Context(), ns, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(size)); err != nil {
			t.Fatal(err)
		}
		if _, err := open.Get(store.Keys, "1/1"); err == nil && size < len(sample)/3 {
			t.Errorf("cut to %d bytes, a key is read all the same", size)
		}
		open.Put(store.Keys, "1/1", []byte("new"))
		if err := receive(t, open.Commit()); err == nil && size < len(sample)/3 {
			t.Errorf("cut to %d bytes, a commit says that it is durable", size)
		}
		if outcome := useDamaged(t, s); outcome != "damaged" {
			t.Errorf("cut to %d bytes, nothing shows: %s", size, outcome)
		}
	}
}

// TestDamagedInUse damages a file that is open, so that a scan would have no end,
// or would ask for more memory than there is.
func TestDamagedInUse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what is written to a file need not show where it is mapped")
	}
	order := binary.NativeEndian
	for _, c := range []struct {
		name string
		edit func(id int, page []byte) bool // reports whether the page is one to edit
		want string
	}{
		{"a branch to itself", func(id int, page []byte) bool {
			if order.Uint16(page[8:]) != branchPage {
				return false
			}
			// In the middle of the keys, so that no scan begins there.
			isKey := func(i int) bool {
				at := pageHeader + i*elementSize
				return page[at+int(order.Uint32(page[at:]))] == byte(store.Keys)
			}
			for i := 1; i < int(order.Uint16(page[10:]))-1; i++ {
				if isKey(i-1) && isKey(i) && isKey(i+1) {
					order.PutUint64(page[pageHeader+i*elementSize+8:], uint64(id))
					return true
				}
			}
			return false
		}, "not in order"},
		{"a long key", func(_ int, page []byte) bool {
			if order.Uint16(page[8:]) != leafPage {
				return false
			}
			for i := range int(order.Uint16(page[10:])) {
				at := pageHeader + i*elementSize
				if page[at+int(order.Uint32(page[at+4:]))] == byte(store.Keys) {
					order.PutUint32(page[at+8:], 1<<30)
					return true
				}
			}
			return false
		}, "a key of 1073741824 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := sampleAt(t, nil)
			s, err := Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			size := os.Getpagesize()
			check := pageChecker{r: bytes.NewReader(data)}
			if err := check.check(); err != nil {
				t.Fatal(err)
			}
			id := 2
			for id < len(check.state) && (check.state[id] != pageUsed || order.Uint64(data[id*size:]) != uint64(id) || !c.edit(id, data[id*size:(id+1)*size])) {
				id++
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, reverse := range []bool{false, true} {
				err = store.View(t.Context(), s, ns, func(tx store.Tx) error {
					for _, err := range tx.Scan(store.Keys, store.Range{Reverse: reverse}) {
						if err != nil {
							return err
						}
					}
					return nil
				})
				if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("a scan with Reverse %t: %v, want ErrDamaged, %s", reverse, err, c.want)
				}
			}
			if _, err := s.Stats(); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Stats: %v, want ErrDamaged", err)
			}
		})
	}
}

// useDamaged reads all of a store, writes to it and closes it, and returns
// "damaged" if damage showed, else "fine".
func useDamaged(t *testing.T, s *Store) string {
	t.Helper()
	outcome := "fine"
	note := func(err error) {
		switch {
		case err == nil:
		case errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrUncertain), errors.Is(err, store.ErrFailed),
			errors.Is(err, fs.ErrNotExist): // a name was hit
			outcome = "damaged"
		default:
			t.Errorf("error %v, want one that is about damage", err)
		}
	}
	note(store.View(t.Context(), s, ns, func(tx store.Tx) error {
		for _, space := range []store.Space{store.Keys, store.Counters, store.Files, store.Pieces} {
			for _, reverse := range []bool{false, true} {
				for e, err := range tx.Scan(space, store.Range{Reverse: reverse}) {
					note(err)
					_, err = tx.Get(space, e.Key)
					note(err)
				}
			}
		}
		for i := range 5 {
			_, err := store.ReadFile(tx, fmt.Sprint(i))
			note(err)
		}
		return nil
	}))
	for i := range 5 {
		note(store.Update(t.Context(), s, ns, func(tx store.Tx) error {
			_, err := store.Add(tx, "n", 1)
			note(err)
			note(tx.Delete(store.Keys, fmt.Sprintf("%d/1", i)))
			return store.WriteFile(tx, fmt.Sprint(i), make([]byte, 1000))
		}))
	}
	_, err := s.WriteTo(io.Discard)
	note(err)
	_, err = s.Namespaces()
	note(err)
	_, err = s.Stats()
	note(err)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }() // received at once
	note(receive(t, closed))
	return outcome
}

// TestBirth checks that of many who make the same file at once one has it, and
// that nobody takes it away again.
func TestBirth(t *testing.T) {
	for range 10 {
		dir := t.TempDir()
		path := filepath.Join(dir, "test.db")
		var wg sync.WaitGroup
		var mu sync.Mutex
		var opened []*Store
		for range 8 {
			wg.Go(func() { // ends when Open does; waited for below
				s, err := Open(path, nil)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					opened = append(opened, s)
				} else if !errors.Is(err, ErrLocked) {
					t.Errorf("Open: %v, want ErrLocked", err)
				}
			})
		}
		wg.Wait()
		if len(opened) != 1 {
			t.Fatalf("%d have the file open, want 1", len(opened))
		}
		if err := receive(t, put(t, opened[0], "a", "1")); err != nil {
			t.Error(err)
		}
		if err := opened[0].Close(); err != nil {
			t.Error(err)
		}
		wantNoRemains(t, dir)
		s := openIn(t, dir, nil)
		if got := viewed(t, s, "a"); got != "1" {
			t.Errorf("read %q of the file that was made, want 1", got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("the file has mode %v, %v, want 0600", info.Mode(), err)
		}
	}
}

// childHold opens a store and keeps it until its standard input ends.
func childHold(path string) {
	s, err := Open(path, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
	if err := s.Close(); err != nil {
		fmt.Println(err)
	}
}

// TestLocked checks what is said of a file that is in use, and when.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	child := startChild(t, "hold", path)
	if line := child.line(); line != "open" {
		t.Fatalf("the child says %q", line)
	}
	said := []string{"in use by another process"}
	if runtime.GOOS == "linux" {
		said = append(said, fmt.Sprintf("pid %d (boltstore", child.cmd.Process.Pid))
	}
	start := time.Now()
	wantRefusal(t, path, ErrLocked, said...)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	child.stdin.Close()
	if line := child.line(); line != "" {
		t.Fatalf("the child says %q", line)
	}

	s, err := Open(path, nil)
	if err != nil {
		t.Fatalf("Open when it is free: %v", err)
	}
	defer s.Close()
	if runtime.GOOS == "linux" {
		wantRefusal(t, path, ErrLocked, "in use by this process")
	}
	if line := startChild(t, "hold", path).line(); !strings.Contains(line, "in use") || !strings.Contains(line, path) {
		t.Errorf("another process says %q", line)
	}
}
