// Package examples holds small programs: in Go on package amp, and scripts and
// plugins of amphost. This test runs each as its README says, and compares what
// it prints.
package examples

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	// What the programs are made of: a change of it runs these tests again.
	_ "github.com/amphost/amphost/amp"
	_ "github.com/amphost/amphost/host"
	_ "github.com/amphost/amphost/store/boltstore"
)

// patience bounds every wait of these tests. It is much longer than anything
// takes, since the machine may be busy with other packages' tests.
const patience = 60 * time.Second

// bin is the directory of the programs, built once: the examples in Go, and amphost.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "4") // they wait more than they work
	dir, err := os.MkdirTemp("", "amphost-examples")
	if err != nil {
		panic(err)
	}
	bin = dir
	code := 1
	if out, err := exec.Command("go", "build", "-o", dir+"/", "./...", "../cmd/amphost").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// workDir returns a new directory in which the command lines of a README mean
// what they mean in the project's.
func workDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"examples", "plugins"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join("..", name))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// python is the one that Debian's python3-twisted is for.
const python = "/usr/bin/python3"

// needTwisted skips a test where Twisted is not installed; with CI set it
// fails.
func needTwisted(t *testing.T) {
	t.Helper()
	if err := importTwisted(); err != nil {
		const cure = "the other end needs Twisted: apt-get install python3-twisted"
		if os.Getenv("CI") != "" {
			t.Fatalf("%s\n%v", cure, err)
		}
		t.Skip("SKIPPED, NOT PASSED: " + cure)
	}
}

var importTwisted = sync.OnceValue(func() error {
	if out, err := exec.Command(python, "-c", "import twisted").CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
})

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
	cmd   *exec.Cmd
	out   output
	goRun bool // which prints its exit status
}

var (
	goRun   = regexp.MustCompile(`^go run \./\S*/(\S+)`)
	netcat  = regexp.MustCompile(`^nc (\S+) (\d+)`)
	python3 = regexp.MustCompile(`^python3 `)
)

// start starts a command line as a README has it, in bash, with the programs
// that were built.
func start(t *testing.T, dir, line string) *program {
	t.Helper()
	p := &program{goRun: goRun.MatchString(line)}
	line = goRun.ReplaceAllString(line, "$1")
	line = netcat.ReplaceAllString(line, "cat </dev/tcp/$1/$2") // nc need not be installed
	if python3.MatchString(line) {
		needTwisted(t)
		line = python3.ReplaceAllString(line, python+" -Bu ")
	}
	if !strings.ContainsAny(line, "|;<&") {
		line = "exec " + line // so that signals reach it
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p.cmd = exec.CommandContext(ctx, "bash", "-c", line)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "NO_COLOR=1", "PATH="+bin+":"+os.Getenv("PATH"))
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// wait waits for the program's end, and returns what it printed.
func (p *program) wait() string {
	if err := p.cmd.Wait(); err != nil && p.goRun {
		return p.out.String() + err.Error() + "\n"
	}
	return p.out.String()
}

// expect waits until the program has printed so much.
func (p *program) expect(t *testing.T, lines int) {
	t.Helper()
	p.await(t, fmt.Sprintf(`(.*\n){%d}`, lines))
}

// await waits until the program has printed what matches, and returns its groups.
func (p *program) await(t *testing.T, re string) []string {
	t.Helper()
	pattern := regexp.MustCompile(re)
	for deadline := time.Now().Add(patience); ; {
		if groups := pattern.FindStringSubmatch(p.out.String()); groups != nil {
			return groups
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: nothing matches %s in\n%s", p.cmd.Args, re, p.out.String())
		}
		time.Sleep(time.Millisecond)
	}
}

// interrupt ends the program as ^C does.
func (p *program) interrupt() string {
	p.cmd.Process.Signal(os.Interrupt)
	return p.wait()
}

// kill ends the program as a power cut would.
func (p *program) kill() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	p.wait()
}

// ports are those that a README names, and the free ones that stand for them.
type ports map[string]string

var port = regexp.MustCompile(`(\b127\.0\.0\.1[: ]|--port[= ]|\.py )(\d+)\b`)

// free puts free ports in the place of those of a command line.
func (p ports) free(t *testing.T, line string) string {
	return port.ReplaceAllStringFunc(line, func(s string) string {
		m := port.FindStringSubmatch(s)
		if m[2] == "1" {
			return s // where nobody listens
		}
		if p[m[2]] == "" {
			p[m[2]] = freePort(t)
		}
		return m[1] + p[m[2]]
	})
}

// named is the way back; ports that no command line has are the system's.
func (p ports) named(text string) string {
	return port.ReplaceAllStringFunc(text, func(s string) string {
		m := port.FindStringSubmatch(s)
		for named, free := range p {
			if m[2] == named || m[2] == free {
				return m[1] + named
			}
		}
		return m[1] + "?"
	})
}

var (
	timestamp = regexp.MustCompile(`(?m)^\d{4}[/-]\d\d[/-]\d\d \d\d:\d\d:\d\d(\.\d+)? |^\d\d:\d\d:\d\d\.\d{3} |^\d\d:\d\d:\d\d[-+]\d{4} `)
	duration  = regexp.MustCompile(`\b0:00:\d\d\.\d\d\b|\bms=\d+(\.\d+)?`)
	received  = regexp.MustCompile(`(?m)^(Task \d+: )got \d+ bytes of poetry from (\S+)\n`)
)

// plain takes out of a text what differs from run to run: ports that the
// system chose, the time, and how the system cut what it delivered.
func (p ports) plain(text string) string {
	text = timestamp.ReplaceAllString(text, "")
	text = duration.ReplaceAllString(text, "TIME")
	return received.ReplaceAllString(p.named(text), "")
}

// anyOrder is a text with its lines sorted: those of different connections may
// come in any order.
func anyOrder(text string) string {
	return strings.Join(slices.Sorted(strings.Lines(text)), "")
}

var lastPort = func() *atomic.Int32 {
	p := new(atomic.Int32)
	p.Store(int32(20000 + rand.IntN(5000)))
	return p
}()

// freePort returns a port that nobody listens on, and that nobody gets besides:
// it is below those that the system gives to connections and listeners.
func freePort(t *testing.T) string {
	t.Helper()
	for range 5000 {
		port := strconv.Itoa(int(lastPort.Add(1)))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

func TestReadmes(t *testing.T) {
	readmes, err := filepath.Glob("*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, readme := range append(readmes, "../plugins/README.md") {
		t.Run(filepath.Base(filepath.Dir(readme)), func(t *testing.T) {
			t.Parallel()
			runReadme(t, readme)
		})
	}
}

func runReadme(t *testing.T, readme string) {
	dir := workDir(t)
	ports := make(ports)
	configs, err := filepath.Glob(filepath.Join(dir, "examples", filepath.Base(filepath.Dir(readme)), "*.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range configs {
		if err := os.WriteFile(path, []byte(ports.free(t, readFile(t, path))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(c command, got string, order func(string) string) {
		t.Helper()
		if got, want := ports.plain(got), ports.plain(c.want); order(got) != order(want) {
			t.Errorf("$ %s\ngot:\n%swant:\n%s", c.line, got, want)
		}
	}
	var running []*program // those that were started and not stopped
	var shown []command    // what the page shows of each
	stop := func() {
		for i, p := range running {
			p.expect(t, strings.Count(shown[i].want, "\n"))
		}
		for i, p := range slices.Backward(running) {
			got := p.interrupt()
			if shown[i].want != "" { // else the page does not show it
				check(shown[i], got, anyOrder)
			}
		}
		running, shown = nil, nil
	}
	for _, s := range readSessions(t, readme) {
		for _, c := range s.commands {
			line := ports.free(t, c.line)
			if !s.runsOn {
				check(c, start(t, dir, line).wait(), func(text string) string { return text })
				continue
			}
			if !client.MatchString(line) && !slices.ContainsFunc(shown, func(c command) bool { return python3.MatchString(c.line) }) {
				stop() // one server after another, unless there is an old one
			}
			p := start(t, dir, line)
			running, shown = append(running, p), append(shown, c)
			if client.MatchString(line) {
				p.expect(t, 1) // it is connected
			} else {
				p.await(t, `listen(s|ing) on .*\n`)
			}
		}
	}
	stop()
}

// client matches those that run beside their server, also when they run on.
var client = regexp.MustCompile(`^amphost run \S*(client|watch)\.js`)

// A client that is there before its server waits for it, and comes back after
// it was away.
func TestMathClientWaitsForItsServer(t *testing.T) {
	for _, line := range []string{"go run ./examples/math-client -second 100ms -connect ADDRESS", "amphost run examples/math-client/client.js ADDRESS 0.1"} {
		t.Run(strings.Fields(line)[0], func(t *testing.T) {
			t.Parallel()
			dir, address := workDir(t), "127.0.0.1:"+freePort(t)
			client := start(t, dir, strings.Replace(line, "ADDRESS", address, 1))
			for lines := range 3 {
				server := start(t, dir, "go run ./examples/math-server -listen "+address)
				client.expect(t, 2*lines+1)
				server.interrupt()
			}
			server := start(t, dir, "go run ./examples/math-server -listen "+address)
			if got, want := client.wait(), strings.Repeat("{'total': 6}\n", 7); got != want {
				t.Errorf("the client prints %q, want %q", got, want)
			}
			server.interrupt()
		})
	}
}
