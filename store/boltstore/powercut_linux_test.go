package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/store"
)

// A power cut leaves on disk what was flushed, and nothing else. Here a disk is
// a file with an ext4 file system in it, which writes to that file what it
// would write to a disk. It keeps everything else back for 1000 seconds unless
// it is told to flush, so a copy of the file is what a cut would leave.

// cantTest ends a test for which the machine lacks something. Where CI is set
// root has everything.
func cantTest(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" && os.Getuid() == 0 {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// A disk is a file system of its own, mounted at dir.
type disk struct {
	image, dir string
}

// newDisk makes an empty disk.
func newDisk(t *testing.T) disk {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		cantTest(t, "can't make a file system (%v, %s): apt-get install e2fsprogs", err, out)
	}
	return mountDisk(t, image)
}

// mountDisk mounts the file system in an image until the end of the test.
func mountDisk(t *testing.T, image string) disk {
	t.Helper()
	d := disk{image, filepath.Join(filepath.Dir(image), "mounted")}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	options := "loop,commit=1000"
	if out, err := exec.Command("mount", "-t", "ext4", "-o", options, image, d.dir).CombinedOutput(); err != nil {
		cantTest(t, "can't mount a disk (%v, %s): run as root where loop devices are", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v, %s", err, out)
		}
	})
	return d
}

// copyImage copies what is on the disk right now.
func (d disk) copyImage(to string) error {
	if out, err := exec.Command("cp", "--sparse=always", d.image, to).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// cut stops a program, copies the disk into an image and kills the program.
func (d disk) cut(child *childProcess, image string) error {
	defer child.cmd.Process.Kill()
	if err := stop(child.cmd.Process); err != nil {
		return err
	}
	return d.copyImage(image)
}

// stop stops a program and waits until all of its threads stand still, so that
// none of them is in the middle of flushing.
func stop(p *os.Process) error {
	if err := exec.Command("kill", "-STOP", fmt.Sprint(p.Pid)).Run(); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		running := 0
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Pid))
		if err != nil || len(tasks) == 0 {
			return errors.New("the program has gone")
		}
		for _, path := range tasks {
			text, _ := os.ReadFile(path)
			_, state, _ := strings.Cut(string(text), ") ")
			if !strings.HasPrefix(state, "T") {
				running++
			}
		}
		if running == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d threads do not stop", running)
		}
	}
}

// runAndCut runs a program on a disk until a power cut after a while, has note
// note what it says, and returns the disk as the cut leaves it.
func runAndCut(t *testing.T, d disk, name string, after time.Duration, note func(line string)) disk {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	child := startChild(t, name, filepath.Join(d.dir, "test.db"))
	done := make(chan error, 1)
	time.AfterFunc(after, func() { done <- d.cut(child, image) }) // received below
	for line := child.line(); line != ""; line = child.line() {
		note(line)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	child.cmd.Wait()
	return mountDisk(t, image)
}

// TestPowerCut cuts the power while users are registered, again and again,
// beginning with a disk on which there is no store yet. What was told is there
// after each cut.
func TestPowerCut(t *testing.T) {
	for range rounds(2, 40) {
		d := newDisk(t)
		told := make(map[string]int64)
		for i := range 5 {
			before := len(told)
			d = runAndCut(t, d, "register", rand.N(400*time.Millisecond), func(line string) { note(t, told, line) })
			checkRegistered(t, filepath.Join(d.dir, "test.db"), told)
			t.Logf("cut %d: %d more registrations", i, len(told)-before)
		}
		if len(told) == 0 {
			t.Error("nothing was ever registered, so nothing was tested")
		}
	}
}

// TestPowerCutHasTeeth checks that a store that does not flush loses what it
// told, or TestPowerCut would prove nothing.
func TestPowerCutHasTeeth(t *testing.T) {
	for range 5 {
		d := newDisk(t)
		told := make(map[string]int64)
		d = runAndCut(t, d, "register carelessly", time.Second, func(line string) { note(t, told, line) })
		s, err := Open(filepath.Join(d.dir, "test.db"), &Options{NoCreate: true})
		if err != nil && len(told) > 0 {
			t.Logf("all of %d registrations are lost: %v", len(told), err)
			return
		}
		if err != nil {
			continue // it had not begun
		}
		lost := 0
		for name := range told {
			err := store.View(t.Context(), s, ns, func(tx store.Tx) error { _, err := store.ReadFile(tx, name); return err })
			if err != nil {
				lost++
			}
		}
		s.Close()
		if lost > 0 {
			t.Logf("%d of %d registrations are lost", lost, len(told))
			return
		}
	}
	t.Error("five power cuts lost nothing of what was never flushed")
}

// TestHistoryPowerCut checks histories in which the power is cut.
func TestHistoryPowerCut(t *testing.T) {
	for range rounds(1, 20) {
		d := newDisk(t)
		h := newHistory()
		for range 5 {
			d = runAndCut(t, d, "history", 100*time.Millisecond+rand.N(200*time.Millisecond), func(line string) { h.note(t, line) })
			h.crash()
		}
		h.check(t)
		t.Logf("%d transactions, %d of them cut off", len(h.ids), len(h.ids)-h.told)
		if h.told < 20 {
			t.Error("almost nothing happened, so nothing was tested")
		}
	}
}

// TestPowerCutAtBirth cuts the power at each system call with which a store is
// made: there is none then, or a whole one.
func TestPowerCutAtBirth(t *testing.T) {
	needStrace(t)
	none, whole := 0, 0
	// strace counts the calls of each thread, so which call the n-th is depends
	// on how busy the machine is.
	for sweep := 0; none == 0 || whole == 0; sweep++ {
		if sweep == 5 {
			t.Fatalf("%d cuts left no store, %d a whole one: it was not cut where it hurts, so nothing was tested", none, whole)
		}
		for _, calls := range []string{"fsync,fdatasync", "pwrite64", "linkat,unlinkat", "ftruncate,flock"} {
			for n := 1; ; n++ {
				if n > 60 {
					t.Fatalf("a store is made with more than %d calls of %s", n, calls)
				}
				opened, found := cutAtBirth(t, calls, n)
				if opened {
					break
				}
				if found {
					whole++
				} else {
					none++
				}
			}
		}
	}
	t.Logf("%d cuts left no store, %d a whole one", none, whole)
}

// cutAtBirth cuts the power at the n-th of some calls while a store is made. It
// reports whether that was done before, and whether there is a store then.
func cutAtBirth(t *testing.T, calls string, n int) (opened, found bool) {
	t.Helper()
	d := newDisk(t)
	// Killed at once, nothing more is flushed.
	child := startChild(t, "hold", filepath.Join(d.dir, "test.db"),
		"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, n))
	opened = child.line() == "open"
	if opened {
		child.stdin.Close()
	}
	child.cmd.Wait()
	image := filepath.Join(t.TempDir(), "image")
	if err := d.copyImage(image); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(mountDisk(t, image).dir, "test.db")
	s, err := Open(path, &Options{NoCreate: true})
	switch {
	case err == nil:
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		checkPages(t, path)
	case !errors.Is(err, fs.ErrNotExist) || opened:
		t.Errorf("cut at call %d of %s: %v", n, calls, err)
	}
	return opened, err == nil
}
