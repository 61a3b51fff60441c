package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/amphost/amphost/amp"
)

// cantTest ends a test for which the machine lacks something. Where CI is set
// root has everything.
func cantTest(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" && os.Getuid() == 0 {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// registerOne registers a user with a key of 10,000 bytes.
func registerOne(t *testing.T, conn *amp.Conn, i int) error {
	_, err := ask(t.Context(), conn, "RegisterUser", "uid", amp.Box{"username": fmt.Append(nil, i), "publickey": make([]byte, 10_000)})
	return err
}

// TestFullDisk serves a store on a disk that fills up: clients get an error,
// what was registered stays, other commands are answered, and with room again
// so are all, without a restart.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir, disk := workDir(t), t.TempDir()
	if err := syscall.Mount("none", disk, "tmpfs", 0, "size=2m"); err != nil {
		cantTest(t, "can't mount a small disk (%v): run as root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	other := filepath.Join(disk, "other")
	if err := os.WriteFile(other, make([]byte, 1_000_000), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(disk, "amphost.db")
	s := serveIn(t, dir, "--store", path)
	conn := s.dial()
	accepted := 0
	fill := func() {
		t.Helper()
		for before := accepted; ; accepted++ {
			if err := registerOne(t, conn, accepted); err != nil {
				if remoteCode(err) != "UNKNOWN" {
					t.Fatalf("RegisterUser on a full disk: %v", err)
				}
				if accepted == before {
					t.Error("there was no room at all")
				}
				return
			}
			if accepted > 1000 {
				t.Fatal("the disk has no end")
			}
		}
	}
	fill()
	s.stderr.await(t, "no room, nothing was written: .*amphost.db: .*no space left on device")
	first := accepted
	for range 10 {
		if err := registerOne(t, conn, accepted); remoteCode(err) != "UNKNOWN" {
			t.Errorf("RegisterUser on a full disk: %v", err)
		}
	}
	if sum, err := ask(t.Context(), conn, "Sum", "total", amp.Box{"a": []byte("1"), "b": []byte("2")}); err != nil || sum != "3" {
		t.Errorf("Sum on a full disk = %s, %v", sum, err)
	}
	for i := range first {
		if err := registerOne(t, conn, i); remoteCode(err) != "username-unavailable" {
			t.Errorf("user %d, who was registered, on a full disk: %v", i, err)
		}
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	fill()
	t.Logf("%d users were registered, and %d more with room again", first, accepted-first)
	s.stop()
	if got := registered(t, path); got != int64(accepted) {
		t.Errorf("%d users are stored, and %d were told so", got, accepted)
	}
}

// TestFailedFsync serves a store whose disk fails to flush: from then on nobody
// is told that anything is stored, the program ends and says why, and what was
// told before is there when it starts again.
func TestFailedFsync(t *testing.T) {
	t.Parallel()
	if err := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "true").Run(); err != nil {
		cantTest(t, "strace does not work here (%v): apt-get install strace, and allow ptrace", err)
	}
	dir := workDir(t)
	serveIn(t, dir).stop() // so that the store is there
	p := startProcess(t, dir, "strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=12",
		binary, "serve", "--port", "0")
	s := &server{process: p, addr: p.stdout.await(t, `listens on (\S+)`)[1]}
	conn := s.dial()
	accepted := 0
	for ; registerOne(t, conn, accepted) == nil; accepted++ {
		if accepted > 1000 {
			t.Fatal("nothing fails")
		}
	}
	if code := s.wait(); code != exitFailure {
		t.Errorf("exit status %d, want %d", code, exitFailure)
	}
	s.stderr.await(t, "the store has failed, start again once this is mended: .*outcome unknown.*input/output error")
	again := serveIn(t, dir)
	conn = again.dial()
	for i := range accepted {
		if err := registerOne(t, conn, i); remoteCode(err) != "username-unavailable" {
			t.Errorf("user %d, who was registered, after the failure: %v", i, err)
		}
	}
	again.stop()
	if got := registered(t, filepath.Join(dir, "amphost.db")); got != int64(accepted) && got != int64(accepted)+1 {
		t.Errorf("%d users are stored, and %d were told so, one of them perhaps not", got, accepted)
	}
}
