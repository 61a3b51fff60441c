package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/amphost/amphost/store"
)

// sampleAt writes the sample to a file of its own, changed by edit, and returns
// its path.
func sampleAt(t *testing.T, edit func(data []byte)) string {
	t.Helper()
	data := sampleFile(t)
	if edit != nil {
		edit(data)
	}
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantProblem checks what Check finds in a file.
func wantProblem(t *testing.T, path, want string) {
	t.Helper()
	problems, err := Check(path)
	if err != nil || !strings.Contains(strings.Join(problems, "\n"), want) || (want == "") != (len(problems) == 0) {
		t.Errorf("Check finds %q, %v, want %q", problems, err, want)
	}
}

func TestCheck(t *testing.T) {
	wantProblem(t, sampleAt(t, nil), "")
	empty := filepath.Join(t.TempDir(), "test.db")
	if _, err := Check(empty); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Check of no file: %v, want ErrNotExist", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(empty)); len(entries) > 0 {
		t.Errorf("Check made %v", entries)
	}
	if err := openIn(t, filepath.Dir(empty), nil).Close(); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, empty, "")

	s := openTemp(t, nil)
	if _, err := Check(s.path); !errors.Is(err, ErrLocked) {
		t.Errorf("Check of a file in use: %v, want ErrLocked", err)
	}
}

// TestCheckContents checks that counters and files that are not what was
// written are found.
func TestCheckContents(t *testing.T) {
	const piece = "p0\x00\x00\x00\x01" // of the file 0, which has one only
	for _, c := range []struct {
		name string
		edit func(bucket *bbolt.Bucket) error
		want string
	}{
		{"counter", func(b *bbolt.Bucket) error { return b.Put([]byte("cn"), []byte("4x")) }, `counter "n"`},
		{"head", func(b *bbolt.Bucket) error { return b.Put([]byte("f0"), []byte("?")) }, `file "0": store: damaged: not the head`},
		{"contents", func(b *bbolt.Bucket) error { return b.Put([]byte("p4\x00\x00\x00\x00"), make([]byte, 19_501)) }, "do not match"},
		{"missing piece", func(b *bbolt.Bucket) error { return b.Delete([]byte("p4\x00\x00\x00\x00")) }, "piece 0 is missing"},
		{"piece of no file", func(b *bbolt.Bucket) error { return b.Put([]byte("pgone\x00\x00\x00\x00"), []byte("1")) }, `file "gone": store: damaged: piece 0 is of no file`},
		{"piece beyond the end", func(b *bbolt.Bucket) error { return b.Put([]byte(piece), []byte("1")) }, "piece 1 is of no file"},
		{"name of a piece", func(b *bbolt.Bucket) error { return b.Put([]byte("p1"), []byte("1")) }, "is no name of a piece"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := sampleAt(t, nil)
			db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(btx *bbolt.Tx) error { return c.edit(btx.Bucket([]byte(ns))) })
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			wantProblem(t, path, c.want)
		})
	}
}

// TestCheckPages breaks pages in ways that bbolt would follow to where nothing
// is, or for ever.
func TestCheckPages(t *testing.T) {
	sample := sampleFile(t)
	order := binary.NativeEndian
	page := os.Getpagesize()
	// find returns the first page of a kind, but for those that are free.
	find := func(data []byte, kind uint16) (id int, p []byte) {
		c := pageChecker{r: bytes.NewReader(data)}
		if err := c.check(); err != nil || len(c.problems) > 0 {
			t.Fatal(err, c.problems)
		}
		for id := 2; id < len(data)/page; id++ {
			p := data[id*page:]
			if order.Uint16(p[8:]) == kind && order.Uint64(p) == uint64(id) && c.state[id] == pageUsed {
				return id, p
			}
		}
		t.Fatalf("the sample has no page of kind %d", kind)
		return 0, nil
	}
	for _, c := range []struct {
		name string
		edit func(data []byte)
		want string
	}{
		{"a branch to itself", func(data []byte) {
			id, p := find(data, branchPage)
			order.PutUint64(p[pageHeader+8:], uint64(id))
		}, "is used twice"},
		{"a branch far away", func(data []byte) {
			_, p := find(data, branchPage)
			order.PutUint64(p[pageHeader+8:], 1<<50)
		}, "is pointed to, and there are"},
		{"a branch to a free page", func(data []byte) {
			_, p := find(data, branchPage)
			c := pageChecker{r: bytes.NewReader(data)}
			if err := c.check(); err != nil {
				t.Fatal(err)
			}
			free := bytes.IndexByte(c.state, pageFree)
			order.PutUint64(data[free*page:], uint64(free))
			order.PutUint32(data[free*page+12:], 0)
			order.PutUint64(p[pageHeader+8:], uint64(free))
		}, "said to be free"},
		{"an empty branch", func(data []byte) {
			_, p := find(data, branchPage)
			order.PutUint16(p[10:], 0)
		}, "nothing below"},
		{"too many elements", func(data []byte) {
			_, p := find(data, leafPage)
			order.PutUint16(p[10:], 60_000)
		}, "has no room for them"},
		{"a key beyond the page", func(data []byte) {
			_, p := find(data, leafPage)
			order.PutUint32(p[pageHeader+8:], 1<<31)
		}, "beyond its end"},
		{"keys out of order", func(data []byte) {
			_, p := find(data, branchPage)
			at := pageHeader + int(order.Uint32(p[pageHeader:]))
			p[at] = 0xff
		}, "not in order"},
		{"a kind that is none", func(data []byte) {
			_, p := find(data, leafPage)
			order.PutUint16(p[8:], 77)
		}, "is of kind 0x4d"},
		{"pages beyond the end", func(data []byte) {
			_, p := find(data, leafPage)
			order.PutUint32(p[12:], 1<<31)
		}, "beyond the end of the file"},
		{"a first page of another number", func(data []byte) { data[page+3] ^= 0x40 }, "page 1 says that it is page"},
		{"a first page of another kind", func(data []byte) { data[8] ^= 0x02 }, "of kind 0x6"},
		{"another page's number", func(data []byte) {
			id, p := find(data, leafPage)
			order.PutUint64(p, uint64(id)+1)
		}, "says that it is page"},
		{"more free pages than fit", func(data []byte) {
			_, p := find(data, freelistPage)
			order.PutUint16(p[10:], 0xffff)
			order.PutUint64(p[pageHeader:], 1<<44)
		}, "says that it has 17592186044416"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := bytes.Clone(sample)
			c.edit(data)
			check := pageChecker{r: bytes.NewReader(data)}
			if err := check.check(); err != nil || !strings.Contains(strings.Join(check.problems, "\n"), c.want) {
				t.Errorf("problems %q, %v, want %q", check.problems, err, c.want)
			}
			path := filepath.Join(t.TempDir(), "test.db")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, path, store.ErrDamaged, "restore a backup")
			if problems, err := Check(path); err != nil || len(problems) == 0 {
				t.Errorf("Check finds %q, %v", problems, err)
			}
			if _, _, err := Compact(path); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Compact: %v, want ErrDamaged", err)
			}
			if _, err := Restore(filepath.Join(t.TempDir(), "new.db"), path); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Restore: %v, want ErrDamaged", err)
			}
		})
	}

	// A page that nobody uses is a waste, and no reason not to open the file.
	path := sampleAt(t, func(data []byte) {
		_, p := find(data, freelistPage)
		order.PutUint16(p[10:], order.Uint16(p[10:])-1)
	})
	wantProblem(t, path, "1 pages are neither in use nor free")
	s, err := Open(path, nil)
	if err != nil {
		t.Fatalf("Open with a page lost: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestCheckBelievesNothing flips bytes all over a file. If Check finds nothing,
// using the file must find no damage either.
func TestCheckBelievesNothing(t *testing.T) {
	sample := sampleFile(t)
	random := rand.New(rand.NewPCG(3, 4))
	path := filepath.Join(t.TempDir(), "test.db")
	found, missed := 0, 0
	for range rounds(40, 2000) {
		data := bytes.Clone(sample)
		for range 1 + random.IntN(3) {
			data[random.IntN(len(data)/4096)*4096+random.IntN(300)] ^= byte(1 << random.IntN(8))
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		problems, err := Check(path)
		switch {
		case errors.Is(err, store.ErrDamaged):
			t.Errorf("Check returns %v as an error", err)
		case err != nil: // what the file says of its format was hit
		case len(problems) > 0:
			found++
		default:
			s, err := Open(path, &Options{NoSync: true})
			if err != nil {
				t.Errorf("Check finds nothing, and Open says %v", err)
				continue
			}
			snap, err := s.snapshot()
			if err != nil {
				t.Fatal(err)
			}
			for err := range snap.Check() {
				t.Errorf("Check finds nothing, and bbolt's finds %v", err)
			}
			snap.Rollback()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			missed++
		}
	}
	t.Logf("%d times there was a problem, %d times none that pages or files show", found, missed)
	if found == 0 || missed == 0 {
		t.Error("it was always the same, so nothing was tested")
	}
}

// FuzzPages checks that any bytes can be checked.
func FuzzPages(f *testing.F) {
	path := filepath.Join(f.TempDir(), "new.db")
	if err := createFile(path); err != nil {
		f.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file, uint16(0), byte(0))
	f.Add(file, uint16(2*os.Getpagesize()+8), byte(1))
	f.Add(file[:1000], uint16(10), byte(1))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, flip byte) {
		data = bytes.Clone(data)
		if int(at) < len(data) {
			data[at] ^= flip
		}
		c := pageChecker{r: bytes.NewReader(data)}
		_ = c.check() // an error of reading, or problems, or nothing
	})
}
