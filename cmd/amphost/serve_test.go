package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

func TestBannerSaysWhatIsServed(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	s := serveIn(t, dir)
	s.stdout.await(t, `call .*\n`)
	banner := s.stdout.text()
	for _, want := range []string{
		`amphost listens on 127\.0\.0\.1:\d+\n`,
		`math +Divide\(numerator Integer, denominator Integer\) → result Float`,
		`Sum\(a Integer, b Integer\) → total Integer`,
		`count +Count\(n Integer\) → ok Boolean`,
		`user-registration +RegisterUser\(username Unicode, publickey String\) → uid Integer`,
		`amphost\.db`,
		`plugins`,
		regexp.QuoteMeta("call " + s.addr + " Sum a=13 b=81"),
	} {
		if !regexp.MustCompile(want).MatchString(banner) {
			t.Errorf("the banner does not say %q:\n%s", want, banner)
		}
	}

	// The line to try works as it stands.
	words := strings.Fields(lines(banner, "call "+s.addr)[0])
	stdout, stderr, code := amphost(t, dir, words...)
	if stdout != "total: 94\n" || code != 0 {
		t.Errorf("%q printed %q, %q, exit status %d, want %q", words, stdout, stderr, code, "total: 94\n")
	}
	s.stop()
}

func TestLogsAsJSON(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	p := startProcess(t, dir, binary, "serve", "--port", "0", "--log-format", "json")
	addr := p.stderr.await(t, `"address":"([^"]+)"`)[1]
	if _, stderr, code := amphost(t, dir, "call", addr, "Sum", "a=1", "b=5"); code != 0 {
		t.Fatal(stderr)
	}
	p.stderr.await(t, `Did a sum: 1 \+ 5 = 6`)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit status %d after SIGTERM, want 0", code)
	}
	if out := p.stdout.text(); out != "" {
		t.Errorf("stdout is %q, want everything in the log", out)
	}
	messages := make(map[string]map[string]any)
	for line := range strings.Lines(p.stderr.text()) {
		record := make(map[string]any)
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Errorf("%q is not JSON: %v", line, err)
			continue
		}
		messages[record["msg"].(string)] = record
	}
	if sum := messages["Did a sum: 1 + 5 = 6"]; sum["plugin"] != "math" || sum["command"] != "Sum" || sum["level"] != "INFO" {
		t.Errorf("console.log gave the record %v, want it to name the plugin and the command", sum)
	}
	if messages["stopped"] == nil {
		t.Errorf("no record says that it stopped:\n%s", p.stderr.text())
	}
}

// complain runs a command line that cannot work, and checks that it ends with
// the status and one line that says all of want.
func complain(t *testing.T, dir string, status int, args []string, want ...string) {
	t.Helper()
	_, stderr, code := amphost(t, dir, args...)
	if code != status {
		t.Errorf("amphost %q: exit status %d, want %d; stderr:\n%s", shorten(args), code, status, stderr)
	}
	said, _ := strings.CutSuffix(strings.TrimSpace(stderr), " --help.")
	said, _, _ = strings.Cut(said, "\nSee ")
	if strings.Contains(said, "\n") || !strings.HasPrefix(said, "amphost: ") {
		t.Errorf("amphost %q: want one line, got\n%s", shorten(args), stderr)
	}
	for _, part := range want {
		if !strings.Contains(said, part) {
			t.Errorf("amphost %q: want %q in\n%s", shorten(args), part, stderr)
		}
	}
}

// shorten cuts arguments that are too long to be shown.
func shorten(args []string) []string {
	var short []string
	for _, arg := range args {
		short = append(short, arg[:min(len(arg), 80)])
	}
	return short
}

func TestBadInputGetsOneClearSentence(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	s := serveIn(t, dir)

	complain(t, dir, 1, []string{"serve", "--port", s.port(), "--store", "other.db"}, "port "+s.port(), "in use", "--port")
	complain(t, dir, 1, []string{"serve", "--port", "0"}, "amphost.db", "process")
	complain(t, dir, 1, []string{"serve", "--port", "0", "--plugins", "nowhere"}, "nowhere", "--plugins")
	complain(t, dir, 1, []string{"serve", "--port", "0", "--plugins", "plugins/math.js"}, "plugins/math.js", "file", "--plugins")
	complain(t, dir, 1, []string{"serve", "--port", "0", "--store", "nowhere/amphost.db"}, "nowhere", "amphost.db")
	complain(t, dir, 1, []string{"serve", "--port", "0", "--host", "192.0.2.1"}, "192.0.2.1", "--host")

	write(t, strings.Repeat("this is not a store\n", 1000), dir, "damaged.db")
	complain(t, dir, 1, []string{"serve", "--port", "0", "--store", "damaged.db"}, "damaged.db")
	write(t, "", dir, "empty.db")
	if err := os.Truncate(filepath.Join(dir, "empty.db"), 1<<16); err != nil {
		t.Fatal(err)
	}
	complain(t, dir, 1, []string{"serve", "--port", "0", "--store", "empty.db"}, "empty.db")

	complain(t, dir, 2, []string{"serve", "--porr", "1"}, "--porr")
	complain(t, dir, 2, []string{"serve", "--port", "99999"}, "--port 99999", "number from 0 to 65535")
	complain(t, dir, 2, []string{"serve", "--port", "http"}, "--port http", "number from 0 to 65535")
	complain(t, dir, 2, []string{"serve", "--grace", "5"}, "--grace 5", "10s")
	complain(t, dir, 2, []string{"serve", "--log-format", "xml"}, "xml", "json")
	complain(t, dir, 2, []string{"serve", "--log-level", "loud"}, "loud", "debug")
	complain(t, dir, 2, []string{"serve", "plugins"}, "plugins")
	complain(t, dir, 2, []string{"call", s.addr}, "command")
	complain(t, dir, 2, []string{"call", s.addr, "Sum", "a"}, `"a"`, "key=value")
	complain(t, dir, 2, []string{"call", s.addr, "Sum", "a=1", "a=2"}, "a", "twice")
	complain(t, dir, 2, []string{"call", "http://" + s.addr, "Sum"}, "http://", "host:port")
	complain(t, dir, 2, []string{"call", ":99999", "Sum"}, ":99999", "number from 0 to 65535")
	complain(t, dir, 1, []string{"call", "127.0.0.1:1", "Sum"}, "127.0.0.1:1", "nothing listens")
	complain(t, dir, 1, []string{"call", "unix:nowhere.sock", "Sum"}, "no socket nowhere.sock")
	complain(t, dir, 1, []string{"call", s.addr, "Sum", "a=1", "b=x"}, "BAD_ARGUMENTS", "b")
	complain(t, dir, 1, []string{"call", s.addr, "Sum", "a=1", "_ask=2"}, "_ask")
	complain(t, dir, 1, []string{"call", s.addr, "Sum", "a=1", "b=" + strings.Repeat("2", 65536)}, "65536", "65535")
	s.stop()
}

// TestCallSaysWhatIsNoAMPServer calls what answers in another way, or not at all.
func TestCallSaysWhatIsNoAMPServer(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\n\r\n": "answers in another protocol than AMP",
		"SSH-2.0-OpenSSH_9.2\r\n":          "answers in another protocol than AMP",
		"":                                 "closed the connection instead of answering",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() { // ends with its one connection, or the listener
			nc, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(nc, answer)
			nc.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, nc)
			nc.Close()
		}()
		complain(t, t.TempDir(), 1, []string{"call", l.Addr().String(), "Sum"}, "Sum: "+l.Addr().String(), want)
	}
}

func TestACutOffStoreIsRefused(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	s := serveIn(t, dir)
	if _, stderr, code := amphost(t, dir, "call", s.addr, "RegisterUser", "username=ada", "publickey=k"); code != 0 {
		t.Fatal(stderr)
	}
	s.stop()
	if err := os.Truncate(filepath.Join(dir, "amphost.db"), 5000); err != nil {
		t.Fatal(err)
	}
	complain(t, dir, 1, []string{"serve", "--port", "0"}, "amphost.db")
}

func TestHTTPClientIsToldAndTheLogSaysWhy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, helloPlugin("there"), dir, "plugins", "hello.js") // the only one, and it logs nothing
	s := serveIn(t, dir)
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(nc) // to its end: the connection is closed
	if err != nil {
		t.Fatal(err)
	}
	if text := string(answer); !strings.HasPrefix(text, "HTTP/1.1 400 ") || !strings.Contains(text, "use an AMP client") {
		t.Errorf("the client got %q, want an HTTP answer that says what to use", text)
	}
	s.stderr.await(t, `HTTP`)
	if said := lines(s.stderr.text(), "HTTP"); len(said) != 1 {
		t.Errorf("the log speaks of HTTP in %d lines, want one: %q", len(said), said)
	}
	s.stop()
}

// TestServeEndsWhenTheStoreFails lets the file grow no further, in a way of
// which the store does not know what it leaves on disk.
func TestServeEndsWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	p := startProcess(t, workDir(t), "sh", "-c", `ulimit -f 256; exec "$0" "$@"`, binary, "serve", "--port", "0")
	s := &server{process: p, addr: p.stdout.await(t, `listens on (\S+)`)[1]}
	conn := s.dial()
	for n := range 100 {
		uid, err := ask(t.Context(), conn, "RegisterUser", "uid", amp.Box{
			"username":  fmt.Appendf(nil, "user%d", n),
			"publickey": bytes.Repeat([]byte("k"), 60000),
		})
		if err != nil {
			break
		}
		t.Logf("there was still room for uid %s", uid)
	}
	if code := p.wait(); code != 1 {
		t.Errorf("exit status %d when the store failed, want 1", code)
	}
	if said := lines(p.stderr.text(), "amphost: the store has failed"); len(said) != 1 || !strings.Contains(said[0], "amphost.db") {
		t.Errorf("it does not say that the store failed:\n%s", p.stderr.text())
	}
}

// slowPlugin answers Slow when Go is called, or never.
const slowPlugin = `import * as amp from "amphost";
const Slow = new amp.Command("Slow", { response: { text: amp.Unicode() } });
const Go = new amp.Command("Go");
let release;
Slow.responder(async () => {
  console.log("slow begins");
  await new Promise((resolve) => { release = resolve; });
  await amp.store.update((tx) => tx.put("slow", true));
  return { text: "done" };
});
Go.responder(() => { setTimeout(release, 300); return {}; });
`

func TestInterruptLetsRunningCallsFinish(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		dir := t.TempDir()
		write(t, slowPlugin, dir, "plugins", "slow.js")
		s := serveIn(t, dir)
		conn := s.dial()
		type result struct {
			text string
			err  error
		}
		answer := make(chan result, 1)
		go func() { // ends with its call
			text, err := ask(t.Context(), conn, "Slow", "text", nil)
			answer <- result{text, err}
		}()
		s.stderr.await(t, "slow begins")
		if _, err := conn.Call(t.Context(), "Go", nil); err != nil {
			t.Fatal(err)
		}
		s.signal(sig) // before the 300 ms are over, unless the machine sleeps
		if code := s.wait(); code != 0 {
			t.Errorf("exit status %d after %v, want 0", code, sig)
		}
		if got := <-answer; got.err != nil || got.text != "done" {
			t.Errorf("the call that ran at the %v got %q, %v, want its answer", sig, got.text, got.err)
		}
		if !errors.Is(waitEnd(conn), io.EOF) {
			t.Errorf("the connection ended with %v, want the server to hang up", conn.Err())
		}
	}
}

// waitEnd returns why a connection ended.
func waitEnd(conn *amp.Conn) error {
	<-conn.Done()
	return conn.Err()
}

// A signal while plugins load is no failure: nothing was served yet, and the
// store is whole.
func TestInterruptWhileLoadingEndsQuietly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, `import * as amp from "amphost";
amp.onLoad(() => { console.log("loads"); return new Promise((ok) => setTimeout(ok, 3_600_000)); });`, dir, "plugins", "loads.js")
	p := startProcess(t, dir, binary, "serve", "--port", "0", "--limit", "load=1h")
	p.stderr.await(t, "loads")
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	if text := p.stderr.text(); strings.Contains(text, "amphost:") || strings.Contains(text, "ERR") {
		t.Errorf("it complains:\n%s", text)
	}
	if _, stderr, code := amphost(t, dir, "store", "check"); code != 0 {
		t.Errorf("the store: %s", stderr)
	}
}

func TestGraceIsAllThatCallsGet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, slowPlugin, dir, "plugins", "slow.js")
	s := serveIn(t, dir, "--grace", "100ms")
	if err := s.dial().Send(t.Context(), "Slow", nil); err != nil {
		t.Fatal(err)
	}
	s.stderr.await(t, "slow begins")
	s.signal(os.Interrupt)
	if code := s.wait(); code != 1 {
		t.Errorf("exit status %d after a call was cut off, want 1", code)
	}
	const want = "amphost: calls that had not finished after 100ms were cut off; --grace gives them longer\n"
	if log := s.stderr.text(); !strings.HasSuffix(log, want) {
		t.Errorf("it did not end with %q:\n%s", want, log)
	}
}

func TestASecondInterruptEndsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, slowPlugin, dir, "plugins", "slow.js")
	s := serveIn(t, dir, "--grace", "1h")
	conn := s.dial()
	if err := conn.Send(t.Context(), "Slow", nil); err != nil {
		t.Fatal(err)
	}
	s.stderr.await(t, "slow begins")
	s.signal(os.Interrupt)
	s.stderr.await(t, "a second signal")
	begin := time.Now()
	s.signal(os.Interrupt)
	if code := s.wait(); code != -int(syscall.SIGINT) {
		t.Errorf("ended with %d, want the signal to end it", code)
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("took %v, want at once", took)
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	stdout, _, code := amphost(t, ".", "version")
	if !regexp.MustCompile(`^amphost \S+ go1\.\d+\S* \w+/\w+\n$`).MatchString(stdout) || code != 0 {
		t.Errorf("version printed %q, exit status %d", stdout, code)
	}
	if again, _, code := amphost(t, ".", "--version"); again != stdout || code != 0 {
		t.Errorf("--version printed %q, exit status %d, want %q", again, code, stdout)
	}
	for _, args := range [][]string{{}, {"--help"}, {"serve", "--help"}, {"call", "--help"}} {
		stdout, _, code := amphost(t, ".", args...)
		if code != 0 || !strings.Contains(stdout, "amphost serve") && !strings.Contains(stdout, "amphost call") {
			t.Errorf("amphost %q: exit status %d, printed\n%s", args, code, stdout)
		}
		for scan := bufio.NewScanner(strings.NewReader(stdout)); scan.Scan(); {
			if n := len([]rune(scan.Text())); n > 100 {
				t.Errorf("amphost %q: a line of %d characters: %s", args, n, scan.Text())
			}
		}
	}
}
