package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// A socket that systemd has opened outlives amphost: through twenty restarts
// nobody is refused, and whoever connects meanwhile is served by the next one.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	start := func() (*exec.Cmd, *output) {
		out := new(output)
		// LISTEN_PID is the process's own, which the shell knows.
		cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=amp exec "$0" serve --listen systemd:amp --no-watch`, binary)
		cmd.Dir, cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = dir, []*os.File{f}, out, out
		cmd.Env = append(os.Environ(), "GORACE="+noExitPause)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, out
	}

	stop := make(chan struct{})
	var wg sync.WaitGroup
	var served atomic.Int64
	for range 3 {
		wg.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := amp.Dial(t.Context(), "tcp", l.Addr().String(), nil, nil)
				if err != nil {
					t.Errorf("a connection was refused: %v", err)
					return
				}
				answer, err := conn.Call(t.Context(), "Sum", amp.Box{"a": []byte("1"), "b": []byte("2")})
				switch e, told := errors.AsType[*amp.Error](err); {
				case told && e.Code == amp.ErrShuttingDown.Code: // the next one answers
				case told:
					t.Errorf("Sum: %v", err)
				case err == nil && string(answer["total"]) != "3":
					t.Errorf("Sum = %q", answer)
				case err == nil:
					served.Add(1)
				}
				conn.Close()
			}
		})
	}
	for range 20 {
		cmd, out := start()
		out.await(t, `listens on 127\.0\.0\.1:\d+`)
		for n, deadline := served.Load(), time.Now().Add(patience); served.Load() < n+3; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("nothing is served:\n%s", out.text())
			}
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("serve: %v\n%s", err, out.text())
		}
	}
	cmd, out := start() // for those who connect still
	out.await(t, "listens")
	close(stop)
	wg.Wait()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()

	// The name has to be right.
	bad := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=amp exec "$0" serve --listen systemd:other`, binary)
	bad.Dir, bad.ExtraFiles = dir, []*os.File{f}
	text, err := bad.CombinedOutput()
	if want := "left are: amp"; err == nil || !containsText(string(text), want) {
		t.Errorf("another name: %v, %s", err, text)
	}
}

func containsText(text, part string) bool { return len(lines(text, part)) > 0 }

// A UNIX socket of systemd's is left where it is.
func TestActivatedUnixSocketStays(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve --listen systemd: --no-watch`, binary)
	out := new(output)
	cmd.Dir, cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = dir, []*os.File{f}, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "unix:")
	stdout, stderr, code := amphost(t, dir, "call", "unix:"+path, "Sum", "a=1", "b=2")
	if code != 0 || stdout != "total: 3\n" {
		t.Errorf("Sum: %q, %q", stdout, stderr)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("serve: %v\n%s", err, out.text())
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket is gone: %v", err)
	}
}
