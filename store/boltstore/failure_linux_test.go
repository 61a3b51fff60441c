package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/amphost/amphost/store"
)

// breakFile makes every later fsync of the store's file fail: it puts another
// file behind its descriptor.
func breakFile(t *testing.T, s *Store) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := syscall.Dup3(int(null.Fd()), int(s.file.Fd()), 0); err != nil {
		t.Fatal(err)
	}
}

// TestFailure checks that after a commit has failed nothing more is believed
// or taken, and that the program is told.
func TestFailure(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, nil)
	receive(t, put(t, s, "a", "1"))

	release := hold(t, s)
	breakFile(t, s)
	uncertain := []<-chan error{put(t, s, "a", "2"), put(t, s, "b", "2")}
	tx := begin(t, s)
	tx.Get(store.Keys, "a")
	uncertain = append(uncertain, tx.Commit())
	open := begin(t, s)
	open.Put(store.Keys, "c", nil)
	oldView, err := s.Begin(t.Context(), ns, false)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Failed():
		t.Error("Failed before anything did")
	default:
	}
	if err := s.Err(); err != nil {
		t.Errorf("Err before anything failed: %v", err)
	}
	release()

	for i, done := range uncertain {
		if err := receive(t, done); !errors.Is(err, store.ErrUncertain) || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("commit %d: %v, want ErrUncertain and the cause", i, err)
		}
	}
	select {
	case <-s.Failed():
	case <-time.After(10 * time.Second):
		t.Error("the program is not told")
	}
	if err := s.Err(); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), s.path) {
		t.Errorf("Err = %v, want the cause and the path", err)
	}
	later := map[string]error{"Commit": receive(t, open.Commit())}
	_, later["Begin of an update"] = s.Begin(t.Context(), ns, true)
	_, later["Begin of a view"] = s.Begin(t.Context(), ns, false)
	_, later["WriteTo"] = s.WriteTo(new(bytes.Buffer))
	_, later["Namespaces"] = s.Namespaces()
	for what, err := range later {
		if !errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrUncertain) {
			t.Errorf("%s after the failure: %v, want ErrFailed", what, err)
		}
	}
	if value, err := oldView.Get(store.Keys, "a"); string(value) != "1" || err != nil {
		t.Errorf("a view from before reads %q, %v, want 1", value, err)
	}
	oldView.Rollback()
	if err := s.Close(); !errors.Is(err, store.ErrUncertain) {
		t.Errorf("Close: %v, want why the store failed", err)
	}

	s = openIn(t, dir, nil)
	defer s.Close()
	if got := viewed(t, s, "a"); got != "1" { // nothing of it reached the file
		t.Errorf("read %q when opened again, want 1", got)
	}
}

// needStrace skips a test if there is no strace that works.
func needStrace(t *testing.T) {
	t.Helper()
	if err := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "true").Run(); err != nil {
		cantTest(t, "strace does not work here (%v): apt-get install strace, and allow ptrace", err)
	}
}

// TestEveryFsync makes an fsync of a commit fail, the one of its data and the
// one after which bbolt shows the transaction to readers. In each case what was
// told is there after a restart, and nothing is told that is not.
func TestEveryFsync(t *testing.T) {
	needStrace(t)
	var data, meta bool // which have failed
	// strace counts the calls of each thread, so n does not say which it is.
	for n := 1; n <= 6 || !(data && meta); n++ {
		if n == 50 {
			t.Fatalf("of 50 failures of fsync none was of each kind: data %v, meta %v", data, meta)
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := t.TempDir()
			if err := openIn(t, dir, nil).Close(); err != nil {
				t.Fatal(err)
			}
			child := startChild(t, "fail", filepath.Join(dir, "test.db"),
				"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync",
				"-e", fmt.Sprintf("inject=fdatasync:error=EIO:when=%d", 1+n%6))
			var told int64
			line := child.line()
			for ; strings.HasPrefix(line, "durable "); line = child.line() {
				told, _ = strconv.ParseInt(strings.TrimPrefix(line, "durable "), 10, 64)
			}
			if line != "failed true" {
				t.Errorf("the child says %q, want that its commit is uncertain", line)
			}
			for line = child.line(); line != "end"; line = child.line() {
				t.Errorf("the child says %q", line)
				if line == "" {
					break
				}
			}
			child.cmd.Wait()
			checkPages(t, filepath.Join(dir, "test.db"))
			s := openIn(t, dir, nil)
			defer s.Close()
			switch got := count(t, s); got {
			case told:
				data = true
			case told + 1:
				meta = true
			default:
				t.Errorf("after a restart the counter is %d, and %d was told", got, told)
			}
		})
	}
}

// TestEveryFault makes one system call of many commits fail, each in turn: a
// write, a flush, the growing of the file. What was told is there after a
// restart, what was refused for lack of room is not, and then work goes on.
func TestEveryFault(t *testing.T) {
	needStrace(t)
	outcomes := make(map[string]int)
	for _, fault := range []string{"pwrite64:error=EIO", "pwrite64:error=ENOSPC", "fdatasync:error=EIO", "fsync:error=EIO", "fsync:error=ENOSPC", "ftruncate:error=EIO", "ftruncate:error=ENOSPC"} {
		hit := false
		for n := 1; n <= rounds(5, 40); n++ {
			told, outcome := runFault(t, fault, n)
			outcomes[fault+" "+outcome]++
			hit = hit || told < 12
		}
		if !hit {
			t.Errorf("%s never showed, so nothing was tested", fault)
		}
	}
	t.Log(outcomes)
}

// runFault makes the n-th call of a kind fail, and checks what is left.
func runFault(t *testing.T, fault string, n int) (told int64, outcome string) {
	t.Helper()
	call, _, _ := strings.Cut(fault, ":")
	where := fmt.Sprintf("call %d of %s", n, fault)
	dir := t.TempDir()
	path := filepath.Join(dir, "test.db")
	if err := openIn(t, dir, nil).Close(); err != nil {
		t.Fatal(err)
	}
	child := startChild(t, "faults", path,
		"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:when=%d", fault, n))
	outcome = "durable"
	for line := child.line(); line != ""; line = child.line() {
		what, number, _ := strings.Cut(line, " ")
		switch what {
		case "durable":
			told, _ = strconv.ParseInt(number, 10, 64)
		case "full", "uncertain":
			outcome = what
		case "seen":
			if number != fmt.Sprint(told) {
				t.Errorf("%s: after it %s is seen, and %d was told", where, number, told)
			}
		case "open": // refused, for the call was made by opening the store
			outcome = "refused"
		case "end":
		default:
			t.Errorf("%s: the child says %q", where, line)
		}
	}
	child.cmd.Wait()
	checkPages(t, path)
	s := openIn(t, dir, nil)
	if got := count(t, s); got != told && (outcome != "uncertain" || got != told+1) {
		t.Errorf("%s: after a restart the counter is %d, and %d was told (%s)", where, got, told, outcome)
	}
	if err := receive(t, put(t, s, "after", "1")); err != nil {
		t.Errorf("%s: a commit after a restart: %v", where, err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("%s: Close after a restart: %v", where, err)
	}
	return told, outcome
}

// TestFaultAtBirth makes one system call of making a store fail, each in turn:
// the error says so, and there is no store then, or a whole one.
func TestFaultAtBirth(t *testing.T) {
	needStrace(t)
	refused := 0
	for _, fault := range []string{"pwrite64:error=EIO", "pwrite64:error=ENOSPC", "fdatasync,fsync:error=EIO", "linkat:error=EMLINK", "flock:error=ENOLCK"} {
		calls, _, _ := strings.Cut(fault, ":")
		for n := 1; n <= rounds(4, 12); n++ {
			path := filepath.Join(t.TempDir(), "test.db")
			child := startChild(t, "hold", path,
				"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:when=%d", fault, n))
			line := child.line()
			child.stdin.Close()
			child.line()
			child.cmd.Wait()
			if line != "open" {
				refused++
				if !strings.HasPrefix(line, "open "+path+": ") {
					t.Errorf("call %d of %s: the child says %q, want a reason with the path", n, fault, line)
				}
			}
			wantNoRemains(t, filepath.Dir(path))
			s, err := Open(path, &Options{NoCreate: true})
			if err == nil {
				err = s.Close()
			} else if errors.Is(err, fs.ErrNotExist) && line != "open" {
				err = nil
			}
			if err != nil {
				t.Errorf("call %d of %s: afterwards: %v", n, fault, err)
			}
		}
	}
	t.Logf("%d times there was an error", refused)
	if refused < 6 {
		t.Error("almost nothing failed, so nothing was tested")
	}
}

// TestViewLooksPastSlowFsync is TestViewLooksPastWhatIsNotOnDisk on the real
// thing: each fsync takes 300 ms, and in the second bbolt shows what is not on
// disk.
func TestViewLooksPastSlowFsync(t *testing.T) {
	needStrace(t)
	dir := t.TempDir()
	s := openIn(t, dir, nil)
	receive(t, put(t, s, "other", "1"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	line := startChild(t, "look past", filepath.Join(dir, "test.db"),
		"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync",
		"-e", "inject=fdatasync:delay_enter=300000").line()
	var early, unseen int
	if _, err := fmt.Sscanf(line, "%d %d <nil>", &early, &unseen); err != nil {
		t.Fatalf("the child says %q", line)
	}
	t.Logf("%d views did not see it; the first that did was %d ms early", unseen, early)
	if early > 150 || unseen < 10 {
		t.Errorf("a view saw a commit %d ms before it was durable, and %d did not", early, unseen)
	}
}

// TestFullDisk checks on a disk of 1 MiB that a commit without room leaves
// everything as it was, and that work goes on when there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		cantTest(t, "can't mount a small disk (%v): run as root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 500_000), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openIn(t, dir, nil)
	fill := func() (written int) {
		for {
			err := receive(t, put(t, s, fmt.Sprint("key", count(t, s)), strings.Repeat("v", 10_000)))
			if err != nil {
				if !errors.Is(err, store.ErrFull) || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("commit to a full disk: %v, want ErrFull and the cause", err)
				}
				return written
			}
			err = store.Update(t.Context(), s, ns, func(tx store.Tx) error {
				_, err := store.Add(tx, "n", 1)
				return err
			})
			if errors.Is(err, store.ErrFull) {
				return written
			}
			if err != nil {
				t.Fatal(err)
			}
			if written++; written > 1000 {
				t.Fatal("the disk has no end")
			}
		}
	}
	first := fill()
	for range 20 { // it stays as it is
		if err := receive(t, put(t, s, "one more", strings.Repeat("v", 100_000))); !errors.Is(err, store.ErrFull) {
			t.Fatalf("commit to a full disk: %v, want ErrFull", err)
		}
	}
	check := func() {
		t.Helper()
		for i := range count(t, s) {
			if got := viewed(t, s, fmt.Sprint("key", i)); len(got) != 10_000 {
				t.Errorf("key %d has %d bytes, want 10000", i, len(got))
			}
		}
		if viewed(t, s, "one more") != "" {
			t.Error("what was refused is there")
		}
	}
	check()
	if err := os.Remove(filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	second := fill()
	check()
	t.Logf("%d commits, %d more with room again", first, second)
	if first == 0 || second == 0 {
		t.Error("nothing was written, so nothing was tested")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	checkPages(t, filepath.Join(dir, "test.db"))
}

// TestReadOnlyDisk checks what is said of a disk that can't be written.
func TestReadOnlyDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		cantTest(t, "can't mount a small disk (%v): run as root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if err := openIn(t, dir, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, filepath.Join(dir, "test.db"), syscall.EROFS, "test.db: read-only file system")
	wantRefusal(t, filepath.Join(dir, "new.db"), syscall.EROFS, "new.db: read-only file system")
}

func TestFindLock(t *testing.T) {
	const locks = `1: POSIX  ADVISORY  WRITE 100 fe:00:42 0 EOF
2: FLOCK  ADVISORY  WRITE 101 fe:00:4242 0 EOF
3: FLOCK  ADVISORY  WRITE 102 fe:00:42 0 EOF
3: -> FLOCK  ADVISORY  WRITE 103 fe:00:42 0 EOF
4: FLOCK  ADVISORY  WRITE 0 fe:00:7 0 EOF
5: FLOCK  ADVISORY  WRITE 104 fe:00:8 0 EOF
6: FLOCK  ADVISORY  WRITE 105 fe:01:8 0 EOF
`
	for inode, want := range map[uint64]int{42: 102, 4242: 101, 2: 0, 7: 0, 8: 0} {
		if pid, ok := findLock(locks, inode); pid != want && ok || ok != (want != 0) {
			t.Errorf("findLock of inode %d = %d, %v, want %d", inode, pid, ok, want)
		}
	}
}
