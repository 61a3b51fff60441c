package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/boltstore"
)

// registerUntil registers users one after another until ended is closed, and returns
// how many.
func registerUntil(t *testing.T, s *server, client int, ended <-chan struct{}) (n int) {
	conn := s.dial()
	for {
		select {
		case <-ended:
			return n
		default:
		}
		_, err := ask(t.Context(), conn, "RegisterUser", "uid", amp.Box{"username": fmt.Appendf(nil, "user-%d-%d", client, n), "publickey": []byte("k")})
		if err != nil {
			t.Errorf("RegisterUser: %v", err)
			return n
		}
		n++
	}
}

// registered returns how many users a store has, which must fit together.
func registered(t *testing.T, path string) int64 {
	t.Helper()
	if problems, err := boltstore.Check(path); err != nil || len(problems) > 0 {
		t.Errorf("Check: %q, %v", problems, err)
	}
	s, err := boltstore.Open(path, &boltstore.Options{NoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var uids int64
	err = store.View(t.Context(), s, "user-registration", func(tx store.Tx) error {
		files := int64(0)
		for _, err := range store.ListFiles(tx, store.Range{}) {
			if err != nil {
				return err
			}
			files++
		}
		if uids, err = store.Count(tx, "uid"); uids != files {
			t.Errorf("%d uids were given, and there are %d users", uids, files)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return uids
}

// TestBackupWhileServing makes backups of a store that clients write to all the
// while: each is one state of it, not older than the command, and nobody waits
// for it.
func TestBackupWhileServing(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	s := serveIn(t, dir)
	socket := filepath.Join(dir, "amphost.db.sock")
	if info, err := os.Lstat(socket); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the control socket is %v, %v, want a socket of mode 0600", info.Mode(), err)
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() { registerUntil(t, s, c, ended) }) // ends with ended; waited for below
	}
	probe := s.dial()
	for i := range 5 {
		before, err := ask(t.Context(), probe, "RegisterUser", "uid", amp.Box{"username": fmt.Appendf(nil, "probe-%d", i), "publickey": []byte("k")})
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("backup-%d.db", i)
		if stdout, stderr, code := amphost(t, dir, "store", "backup", name); code != 0 || !strings.HasPrefix(stdout, name+": ") || stderr != "" {
			t.Fatalf("backup: exit %d, %s%s", code, stdout, stderr)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the backup is %v, %v, want mode 0600", info.Mode(), err)
		}
		var atLeast int64
		fmt.Sscan(before, &atLeast)
		if got := registered(t, filepath.Join(dir, name)); got < atLeast {
			t.Errorf("backup %d has %d users, and %d were registered before", i, got, atLeast)
		}
	}
	if _, stderr, code := amphost(t, dir, "store", "backup", "backup-0.db"); code != exitFailure || !strings.Contains(stderr, "--force") {
		t.Errorf("backup over another: exit %d, %s", code, stderr)
	}
	if _, stderr, code := amphost(t, dir, "store", "backup", "--force", "backup-0.db"); code != 0 {
		t.Errorf("backup --force: exit %d, %s", code, stderr)
	}
	if _, stderr, code := amphost(t, dir, "store", "backup", "--force", "amphost.db"); code != exitFailure || !strings.Contains(stderr, "is the store itself") {
		t.Errorf("backup over the store: exit %d, %s", code, stderr)
	}
	close(ended)
	wg.Wait()
	s.stop()
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the control socket is left behind: %v", err)
	}
	for _, name := range names(t, dir) {
		if strings.HasPrefix(name, ".amphost") {
			t.Errorf("%s is left behind", name)
		}
	}

	// What was backed up is a store that can be restored and served.
	all := registered(t, filepath.Join(dir, "amphost.db"))
	if err := os.WriteFile(filepath.Join(dir, "amphost.db"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := amphost(t, dir, "store", "restore", "backup-4.db"); code != 0 || !strings.Contains(stdout, "amphost.db.before-") {
		t.Fatalf("restore: exit %d, %s%s", code, stdout, stderr)
	}
	saved := registered(t, filepath.Join(dir, "amphost.db"))
	s = serveIn(t, dir)
	next, err := ask(t.Context(), s.dial(), "RegisterUser", "uid", amp.Box{"username": []byte("after"), "publickey": []byte("k")})
	if err != nil || next != fmt.Sprint(saved+1) || saved > all {
		t.Errorf("after a restore of %d users the next is %s, %v", saved, next, err)
	}
	s.stop()
}

// TestStoreIsTheServers checks that what needs the store to itself says who has
// it, and leaves it alone.
func TestStoreIsTheServers(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	write(t, "1", dir, "value")
	s := serveIn(t, dir)
	if stdout, stderr, code := amphost(t, dir, "store", "backup", "saved.db"); code != 0 {
		t.Fatalf("backup: exit %d, %s%s", code, stdout, stderr)
	}
	for _, args := range []string{
		"namespaces", "ls user-registration", "get user-registration a", "put user-registration a 1", "rm user-registration a", "files user-registration",
		"export out", "import out", "restore saved.db", "check", "compact", "stats",
	} {
		if args == "import out" {
			write(t, `{"amphostExport":1,"namespaces":[]}`, dir, "out", exportFile)
		}
		_, stderr, code := amphost(t, dir, append([]string{"store"}, strings.Split(args, " ")...)...)
		who := fmt.Sprintf("amphost.db: in use by another process, pid %d (amphost)", s.cmd.Process.Pid)
		if args == "restore saved.db" {
			who = strings.TrimPrefix(who, "amphost.db: ")
		}
		if code != exitFailure || !strings.Contains(stderr, who) {
			t.Errorf("store %s: exit %d, %q, want %q", args, code, stderr, who)
		}
	}
	s.stop()
}

// TestControlSocket checks where the socket is made, and what is said if it
// can't be.
func TestControlSocket(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	socket := filepath.Join(dir, "amphost.db.sock")

	// A server that was killed leaves one, which the next replaces.
	s := serveIn(t, dir)
	s.kill()
	if _, err := os.Lstat(socket); err != nil {
		t.Fatalf("there is no socket to replace: %v", err)
	}
	_, stderr, code := amphost(t, dir, "store", "backup", "while-dead.db")
	if code != 0 {
		t.Errorf("backup after a server was killed: exit %d, %s", code, stderr)
	}
	s = serveIn(t, dir)
	if _, stderr, code := amphost(t, dir, "store", "backup", "saved.db"); code != 0 {
		t.Errorf("backup by way of a socket that was replaced: exit %d, %s", code, stderr)
	}

	// Another server does not take it away.
	_, stderr, code = amphost(t, dir, "serve", "--port", "0", "--store", "other.db", "--control", "amphost.db.sock")
	if code != exitFailure || !strings.Contains(stderr, "another server listens on it") {
		t.Errorf("a second server on the socket: exit %d, %s", code, stderr)
	}
	conn, err := dialControl(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Call(t.Context(), "Sum", amp.Box{"a": []byte("1"), "b": []byte("2")}); !errors.Is(err, amp.ErrUnhandled) {
		t.Errorf("Sum over the control socket: %v, want that there is no such command", err)
	}
	// What is no file is not written to.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := backupOver.Call(t.Context(), conn, backupArgs{w}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a backup into a pipe: %v", err)
	}
	s.stop()

	// Elsewhere, or not at all.
	s = serveIn(t, dir, "--control", "here.sock")
	if _, stderr, code := amphost(t, dir, "store", "backup", "x.db"); code != exitFailure || !strings.Contains(stderr, "no server listens on the control socket amphost.db.sock") || !strings.Contains(stderr, fmt.Sprint("pid ", s.cmd.Process.Pid)) {
		t.Errorf("backup by way of the wrong socket: exit %d, %s", code, stderr)
	}
	if _, stderr, code := amphost(t, dir, "store", "backup", "--control", "here.sock", "x.db"); code != 0 {
		t.Errorf("backup by way of a named socket: exit %d, %s", code, stderr)
	}
	s.stop()
	s = serveIn(t, dir, "--control", "off")
	if got := names(t, dir); strings.Contains(strings.Join(got, " "), ".sock") {
		t.Errorf("with --control off there is %q", got)
	}
	s.stop()

	// What is not a socket stays.
	write(t, "precious", dir, "file")
	_, stderr, code = amphost(t, dir, "serve", "--port", "0", "--control", "file")
	if text, err := os.ReadFile(filepath.Join(dir, "file")); code != exitFailure || !strings.Contains(stderr, "something else of that name") || string(text) != "precious" || err != nil {
		t.Errorf("a file in the socket's place: exit %d, %s; it has %q, %v", code, stderr, text, err)
	}
	long := strings.Repeat("x", 200)
	for _, args := range [][]string{
		{"serve", "--port", "0", "--control", long},
		{"serve", "--port", "0", "--store", long},
	} {
		_, stderr, code := amphost(t, dir, args...)
		if code != exitFailure || !strings.Contains(stderr, "bytes, and the system takes") || !strings.Contains(stderr, "--control off") {
			t.Errorf("%s: exit %d, %s", args[:3], code, stderr)
		}
	}
	_, stderr, code = amphost(t, dir, "serve", "--port", "0", "--control", filepath.Join("missing", "s"))
	if code != exitFailure || !strings.Contains(stderr, "no such file") {
		t.Errorf("a socket in no directory: exit %d, %s", code, stderr)
	}
}

// TestBackupThatIsCutOff checks that a server stops copying for who has gone,
// and that nothing is left of it.
func TestBackupThatIsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := storeIn(t, dir, func(tx store.Tx) error { return store.WriteFile(tx, "f", make([]byte, 100_000)) })
	s, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.WriteTo(&interruptible{ctx, failOnWrite{t}}); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("a copy for nobody ends with %v", err)
	}
	_, err = boltstore.WriteBackup(filepath.Join(dir, "b.db"), false, func(f *os.File) error {
		_, err := s.WriteTo(&interruptible{ctx, f})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("the backup ends with %v", err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("%q are left, want the store alone", got)
	}
}

type failOnWrite struct{ t *testing.T }

func (w failOnWrite) Write([]byte) (int, error) {
	w.t.Error("something was written")
	return 0, nil
}

// TestStoreQuota checks that a plugin that has used up its quota is refused and
// the log says why, and that the others go on.
func TestStoreQuota(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	s := serveIn(t, dir, "--store-quota", "1GiB", "--store-quota", "user-registration=1000")
	conn := s.dial()
	accepted := 0
	for i := range 100 {
		_, err := ask(t.Context(), conn, "RegisterUser", "uid", amp.Box{"username": fmt.Appendf(nil, "user-%d", i), "publickey": []byte("k")})
		if err != nil {
			if remoteCode(err) != "UNKNOWN" {
				t.Errorf("RegisterUser over the quota: %v", err)
			}
			break
		}
		accepted++
	}
	if accepted == 0 || accepted == 100 {
		t.Errorf("%d users were registered in 1000 bytes", accepted)
	}
	s.stderr.await(t, `quota exceeded, nothing was written: plugin user-registration uses \d+ of 1000 bytes, and this would make it \d+`)
	if sum, err := ask(t.Context(), conn, "Sum", "total", amp.Box{"a": []byte("1"), "b": []byte("2")}); err != nil || sum != "3" {
		t.Errorf("Sum = %s, %v", sum, err)
	}
	s.stop()
	if got := registered(t, filepath.Join(dir, "amphost.db")); got != int64(accepted) {
		t.Errorf("%d users are stored, and %d were told so", got, accepted)
	}
}
