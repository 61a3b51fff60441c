// Package examples holds small programs on package amp. This test runs each as
// its README says, and compares what it prints.
package examples

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	// What the programs are made of: a change of it runs these tests again.
	_ "github.com/amphost/amphost/amp"
	_ "github.com/amphost/amphost/store/boltstore"
)

// A session is a block of a README: commands, each with what it prints. The
// last one of a session that ends with ^C runs on until it is interrupted.
type session struct {
	commands []command
	runsOn   bool
}

type command struct {
	line string
	want string
}

var blocks = regexp.MustCompile("(?s)```console\n(.*?)```")

// readSessions reads the sessions of a README.
func readSessions(t *testing.T, path string) []session {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var sessions []session
	for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
		var s session
		for line := range strings.Lines(block[1]) {
			switch after, ok := strings.CutPrefix(line, "$ "); {
			case ok:
				s.commands = append(s.commands, command{line: strings.TrimSpace(after)})
			case line == "^C\n":
				s.runsOn = true
			default:
				s.commands[len(s.commands)-1].want += line
			}
		}
		sessions = append(sessions, s)
	}
	if len(sessions) == 0 {
		t.Fatalf("%s shows no command", path)
	}
	return sessions
}

// build builds the programs once, and returns the directory they are in.
func build(t *testing.T) string {
	t.Helper()
	if err := builds(); err != nil {
		t.Fatal(err)
	}
	return bin
}

var bin string // made by TestMain

var builds = sync.OnceValue(func() error {
	sources, err := filepath.Glob("*/*.go")
	if err != nil {
		return err
	}
	for _, source := range sources {
		os.Stat(source) // go test notices, and does not take an old result for good
	}
	cmd := exec.Command("go", "build", "-o", bin+"/", "./...", "../cmd/amphost")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v\n%s", err, out)
	}
	return nil
})

func TestMain(m *testing.M) {
	var err error
	if bin, err = os.MkdirTemp("", "examples"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(bin)
	os.Exit(code)
}

// output collects what a program prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// A program is one that runs.
type program struct {
	cmd *exec.Cmd
	out output
}

var goRun = regexp.MustCompile(`^go run \./\S*/(\S+)`)

// start starts a command line as a README has it, in bash, with programs that
// were built in bin.
func start(t *testing.T, dir, bin, line string) *program {
	t.Helper()
	built := goRun.ReplaceAllString(line, "exec "+filepath.Join(bin, "$1"))
	if built == line {
		t.Fatalf("%s does not begin with go run", line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	p := &program{cmd: exec.CommandContext(ctx, "bash", "-c", built)}
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// wait waits for the program's end, and returns what it printed, as go run does.
func (p *program) wait() string {
	if err := p.cmd.Wait(); err != nil {
		return p.out.String() + err.Error() + "\n"
	}
	return p.out.String()
}

// expect waits until the program has printed so much.
func (p *program) expect(t *testing.T, lines int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); strings.Count(p.out.String(), "\n") < lines; {
		if time.Now().After(deadline) {
			t.Fatalf("%s prints only %q", p.cmd.Args, p.out.String())
		}
		time.Sleep(time.Millisecond)
	}
}

// interrupt ends the program as ^C does.
func (p *program) interrupt() string {
	p.cmd.Process.Signal(os.Interrupt)
	return p.wait()
}

var (
	ephemeral = regexp.MustCompile(`127\.0\.0\.1:\d{5}`)
	timestamp = regexp.MustCompile(`(?m)^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d `)
)

// plain takes out of a text what differs from run to run: ports that the
// system chose, and the time.
func plain(text, port, free string) string {
	text = strings.ReplaceAll(text, "127.0.0.1:"+free, "127.0.0.1:"+port)
	return timestamp.ReplaceAllString(ephemeral.ReplaceAllString(text, "127.0.0.1:?"), "")
}

var listens = regexp.MustCompile(`127\.0\.0\.1:(8750|1234)\b`)

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestReadmes(t *testing.T) {
	bin := build(t)
	readmes, err := filepath.Glob("*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, readme := range readmes {
		if _, err := os.Stat(filepath.Join(filepath.Dir(readme), "main.go")); err != nil {
			continue // not a Go program
		}
		t.Run(filepath.Dir(readme), func(t *testing.T) {
			t.Parallel()
			runReadme(t, readme, bin)
		})
	}
}

func runReadme(t *testing.T, readme, bin string) {
	dir := t.TempDir()
	port, free := "", freePort(t)
	at := func(line string) string {
		if m := listens.FindStringSubmatch(line); m != nil {
			port = m[1]
		}
		return listens.ReplaceAllString(line, "127.0.0.1:"+free)
	}
	check := func(c command, got string) {
		t.Helper()
		if want := plain(c.want, port, free); plain(got, port, free) != want {
			t.Errorf("$ %s\ngot:\n%swant:\n%s", c.line, plain(got, port, free), want)
		}
	}
	var server *program
	var serving command
	stop := func() {
		if server != nil {
			server.expect(t, strings.Count(serving.want, "\n"))
			check(serving, server.interrupt())
		}
		server = nil
	}
	for _, s := range readSessions(t, readme) {
		for _, c := range s.commands {
			if s.runsOn {
				stop()
				server, serving = start(t, dir, bin, at(c.line)), c
				server.expect(t, 1) // it listens
				continue
			}
			check(c, start(t, dir, bin, at(c.line)).wait())
		}
	}
	stop()
}

// A client that is there before its server waits for it, and comes back after
// it was away.
func TestMathClientWaitsForItsServer(t *testing.T) {
	bin, dir, address := build(t), t.TempDir(), "127.0.0.1:"+freePort(t)
	client := start(t, dir, bin, "go run ./examples/math-client -second 100ms -connect "+address)
	for lines := range 3 {
		server := start(t, dir, bin, "go run ./examples/math-server -listen "+address)
		client.expect(t, 2*lines+1)
		server.interrupt()
	}
	server := start(t, dir, bin, "go run ./examples/math-server -listen "+address)
	got, want := client.wait(), strings.Repeat("{'total': 6}\n", 7)
	if got != want {
		t.Errorf("the client prints %q, want %q", got, want)
	}
	server.interrupt()
}
