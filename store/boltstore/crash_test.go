package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/store"
)

// childRegister registers users as fast as it can, from 64 goroutines, and
// says of each, once it is told that it is durable: its name and uid.
func childRegister(path string, opts *Options) {
	s, err := Open(path, opts)
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	fmt.Println("open")
	run := time.Now().UnixNano()
	var wg sync.WaitGroup
	for g := range 64 {
		// Half of them wait for their commits, and so may do the writing.
		ctx, cancel := context.Background(), func() {}
		if g%2 == 0 {
			ctx, cancel = context.WithCancel(ctx)
		}
		wg.Go(func() { // ends when the process is killed
			defer cancel()
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d/%d/%d", run, g, i)
				if i%10 == 9 {
					name = fmt.Sprintf("%d/all/%d", run, i)
				}
				uid, err := register(ctx, s, name)
				switch {
				case err == nil:
					// One write, so that lines of goroutines don't mix.
					os.Stdout.WriteString(fmt.Sprintf("%s %d.\n", name, uid))
				case !errors.Is(err, fs.ErrExist):
					os.Stdout.WriteString(fmt.Sprintf("error: %v\n", err))
					return
				}
			}
		})
	}
	wg.Wait()
}

// register gives a name a number and a file, if it is free.
func register(ctx context.Context, s store.Store, name string) (uid int64, err error) {
	err = store.Update(ctx, s, ns, func(tx store.Tx) error {
		exists, err := store.FileExists(tx, name)
		if err != nil {
			return err
		}
		if exists {
			return fs.ErrExist
		}
		if uid, err = store.Add(tx, "n", 1); err != nil {
			return err
		}
		return store.CreateFile(tx, name, fmt.Appendf(nil, "%d key\n", uid))
	})
	return uid, err
}

// TestKill kills a process that registers users, again and again on the same
// file, from before there is one. What it was told is durable must be there, no
// uid may be given out twice or skipped, and the file must be sound.
//
// It does so 20 times, and 200 times if AMPHOST_LONG is set.
func TestKill(t *testing.T) {
	const each = 20 // kills of one file, which is read whole after each
	for range rounds(1, 10) {
		testKill(t, each)
	}
}

func testKill(t *testing.T, kills int) {
	path := filepath.Join(t.TempDir(), "test.db")
	told := make(map[string]int64)
	for i := range kills {
		child := startChild(t, "register", path)
		if i > 0 { // the first is killed while it makes the file, or soon after
			if line := child.line(); line != "open" {
				t.Fatalf("the child says %q", line)
			}
		}
		timer := time.AfterFunc(rand.N(200*time.Millisecond), func() { child.cmd.Process.Kill() })
		before := len(told)
		for line := child.line(); line != ""; line = child.line() {
			note(t, told, line)
		}
		timer.Stop()
		checkRegistered(t, path, told)
		t.Logf("kill %d: %d more registrations", i, len(told)-before)
	}
	if len(told) == 0 {
		t.Error("nothing was ever registered, so nothing was tested")
	}
}

// note notes what childRegister says.
func note(t *testing.T, told map[string]int64, line string) {
	t.Helper()
	if strings.HasPrefix(line, "error") {
		t.Fatalf("the child says %q", line)
	}
	name, number, _ := strings.Cut(line, " ")
	number, whole := strings.CutSuffix(number, ".")
	uid, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !whole {
		return // "open", or the line it was killed in
	}
	if other, twice := told[name]; twice {
		t.Fatalf("%q was registered twice: %d and %d", name, other, uid)
	}
	told[name] = uid
}

// checkRegistered checks a file against what was told of it.
func checkRegistered(t *testing.T, path string, told map[string]int64) {
	t.Helper()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && len(told) == 0 {
		return // killed before there was a file
	}
	checkPages(t, path)
	wantProblem(t, path, "")
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = store.View(t.Context(), s, ns, func(tx store.Tx) error {
		stored := make(map[string]int64)
		names := make(map[int64]string)
		for info, err := range store.ListFiles(tx, store.Range{}) {
			if err != nil {
				return err
			}
			data, err := store.ReadFile(tx, info.Name)
			if err != nil {
				return err
			}
			var uid int64
			if _, err := fmt.Sscanf(string(data), "%d key\n", &uid); err != nil {
				t.Errorf("file %q holds %q", info.Name, data)
			}
			if other, twice := names[uid]; twice {
				t.Errorf("uid %d is %q and %q", uid, other, info.Name)
			}
			stored[info.Name], names[uid] = uid, info.Name
		}
		for name, uid := range told {
			if stored[name] != uid {
				t.Errorf("%q was told it is %d, and is %d", name, uid, stored[name])
			}
		}
		n, err := store.Count(tx, "n")
		if n != int64(len(stored)) {
			t.Errorf("the counter is %d, and there are %d files", n, len(stored))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
