package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// patience bounds every wait of these tests. It is much longer than anything
// takes, since the machine may be busy with other packages' tests.
const patience = 60 * time.Second

// binary is the amphost that these tests run, built once from this package.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "amphost-e2e")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "amphost")
	build := exec.Command("go", "build", "-o", binary, ".")
	if raceEnabled() {
		build.Args = []string{"go", "build", "-race", "-o", binary, "."}
	}
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s%v\n", build, out, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// raceEnabled reports whether these tests were built with the race detector;
// the amphost they run then is too.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// A process is a program that a test started. It has ended when the test has.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout output
	stderr output
	ended  chan struct{} // closed once the program is gone
}

// startProcess starts a program in the directory dir.
func startProcess(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "PYTHONDONTWRITEBYTECODE=1", "GORACE="+noExitPause)
	return startCommand(t, cmd)
}

// startCommand starts a program whose directory and environment are set.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the program; the cleanup waits
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%.200s\nstdout:\n%s\nstderr:\n%s", p.cmd.String(), p.stdout.text(), p.stderr.text())
		}
	})
	return p
}

// signal sends sig to the program.
func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits for the program's end and returns its exit status, or the
// negative number of the signal that ended it.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s did not end", p.cmd)
	}
	state := p.cmd.ProcessState
	if ws := state.Sys().(syscall.WaitStatus); ws.Signaled() {
		return -int(ws.Signal())
	}
	return state.ExitCode()
}

// kill ends the program as a power cut would, and waits for its end.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait()
}

// An output is what a program has written so far.
type output struct {
	mu    sync.Mutex
	buf   bytes.Buffer  // guarded by mu
	grown chan struct{} // closed when buf grows; guarded by mu
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grown != nil {
		close(o.grown)
		o.grown = nil
	}
	return o.buf.Write(b)
}

func (o *output) text() string {
	text, _ := o.read()
	return text
}

// read returns what is there, and a channel that is closed when there is more.
func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grown == nil {
		o.grown = make(chan struct{})
	}
	return o.buf.String(), o.grown
}

// await waits until re matches what was written, and returns its groups.
func (o *output) await(t *testing.T, re string) []string {
	t.Helper()
	pattern := regexp.MustCompile(re)
	deadline := time.After(patience)
	for {
		text, grown := o.read()
		if groups := pattern.FindStringSubmatch(text); groups != nil {
			return groups
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("nothing matches %q in:\n%s", re, text)
		}
	}
}

// A server is an amphost that serves.
type server struct {
	*process
	addr string
}

// port returns the number of the port.
func (s *server) port() string {
	_, port, _ := net.SplitHostPort(s.addr)
	return port
}

// serveIn starts amphost in dir and waits until it listens, on a free port
// unless args name one.
func serveIn(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	p := startProcess(t, dir, binary, append([]string{"serve", "--port", "0"}, args...)...)
	return &server{process: p, addr: p.stdout.await(t, `listens on (\S+)`)[1]}
}

// stop asks the server to end and waits until it has, without complaint.
func (s *server) stop() {
	s.t.Helper()
	s.signal(os.Interrupt)
	if code := s.wait(); code != 0 {
		s.t.Errorf("exit status %d after an interrupt, want 0; stderr:\n%s", code, s.stderr.text())
	}
}

// dial connects to the server with package amp.
func (s *server) dial() *amp.Conn {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	conn, err := amp.Dial(ctx, "tcp", s.addr, nil, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// workDir returns a new directory with the project's plugins in it.
func workDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "plugins"), os.DirFS("../../plugins")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// write writes a file at path, and the directories it is in.
func write(t *testing.T, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// save replaces a file as editors do: written beside it, and renamed.
func save(t *testing.T, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	beside := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".swp")
	write(t, text, beside)
	if err := os.Rename(beside, name); err != nil {
		t.Fatal(err)
	}
}

// amphost runs a command line to its end.
func amphost(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	p := startProcess(t, dir, binary, args...)
	code = p.wait()
	return p.stdout.text(), p.stderr.text(), code
}

// ask calls a command and returns the value of one key of its answer.
func ask(ctx context.Context, conn *amp.Conn, command, key string, args amp.Box) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := conn.Call(ctx, command, args)
	if err != nil {
		return "", err
	}
	value, ok := answer[key]
	if !ok {
		return "", fmt.Errorf("%s: no %s in the answer %q", command, key, answer)
	}
	return string(value), nil
}

// remoteCode returns the code of an error that crossed the wire, or "".
func remoteCode(err error) string {
	if e, ok := errors.AsType[*amp.Error](err); ok {
		return e.Code
	}
	return ""
}

// lines returns the lines of text that contain part, from there on.
func lines(text, part string) []string {
	var found []string
	for line := range strings.Lines(text) {
		if i := strings.Index(line, part); i >= 0 {
			found = append(found, strings.TrimSpace(line[i:]))
		}
	}
	return found
}
