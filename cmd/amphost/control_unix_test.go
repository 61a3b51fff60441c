//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestControlSocketIsPrivate checks that another user can't connect.
func TestControlSocketIsPrivate(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can act as another user")
	}
	dir, err := os.MkdirTemp("", "amphost-private") // t.TempDir is private itself
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	old := syscall.Umask(0) // the worst there is
	c, err := openControl(path, newLogger(t.Output(), logText, slog.LevelInfo))
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	c.serve()
	defer c.close()
	if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket is %v, %v, want mode 0600", info.Mode(), err)
	}
	if nc, err := net.Dial("unix", path); err != nil {
		t.Errorf("its owner can't connect: %v", err)
	} else {
		nc.Close()
	}
	const connect = "import socket, sys\ntry:\n    socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n    print('connected')\nexcept OSError as e:\n    print(e.errno)"
	other := exec.Command(python, "-c", connect, path)
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := other.CombinedOutput()
	if want := fmt.Sprintln(int(syscall.EACCES)); string(out) != want {
		t.Errorf("another user gets %q, %v, want %q", out, err, want)
	}
}
