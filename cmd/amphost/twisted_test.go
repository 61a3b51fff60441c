package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// python is the one that Debian's python3-twisted is for.
const python = "/usr/bin/python3"

// needTwisted skips a test where Twisted is not installed; with CI set it
// fails.
func needTwisted(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import twisted").CombinedOutput(); err != nil {
		const cure = "the other end needs Twisted: apt-get install python3-twisted"
		if os.Getenv("CI") != "" {
			t.Fatalf("%s\n%s", cure, out)
		}
		t.Skip("SKIPPED, NOT PASSED: " + cure)
	}
}

// twisted runs one of the Python programs in testdata to its end and returns
// what it printed.
func twisted(t *testing.T, program string, args ...string) string {
	t.Helper()
	p := startProcess(t, "testdata", python, append([]string{program}, args...)...)
	if code := p.wait(); code != 0 {
		t.Fatalf("%s: exit status %d\n%s%s", program, code, p.stdout.text(), p.stderr.text())
	}
	return p.stdout.text()
}

func TestTwistedCountsWithTheServer(t *testing.T) {
	t.Parallel()
	needTwisted(t)
	s := serveIn(t, workDir(t))

	got := twisted(t, "count_client.py", s.port())
	want := "sending: 1\nreceived: 2\nsending: 3\nreceived: 4\nsending: 5\nreceived: 6\nsending: 7\nreceived: 8\nsending: 9\n"
	if got != want {
		t.Errorf("the client printed\n%swant\n%s", got, want)
	}
	s.stderr.await(t, `connection established: 127.0.0.1:\d+ to `+s.addr)
	s.stderr.await(t, `connection lost: 127.0.0.1:\d+ to `+s.addr)

	var log []string
	for line := range strings.Lines(s.stderr.text()) {
		for _, what := range []string{"received: ", "sending: "} {
			if i := strings.Index(line, what); i >= 0 {
				log = append(log, line[i:i+len(what)+1])
			}
		}
	}
	wantLog := []string{"received: 1", "sending: 2", "received: 3", "sending: 4", "received: 5", "sending: 6", "received: 7", "sending: 8", "received: 9"}
	if !slices.Equal(log, wantLog) {
		t.Errorf("the server logged %q, want %q", log, wantLog)
	}
	s.stop()
}

func TestTwistedDoesMaths(t *testing.T) {
	t.Parallel()
	needTwisted(t)
	s := serveIn(t, workDir(t))

	got := twisted(t, "maths_client.py", s.port())
	want := "{'total': 94}\n{'result': 617.0}\nZeroDivisionError: division by zero\n{'total': 0}\n"
	if got != want {
		t.Errorf("the client printed\n%swant\n%s", got, want)
	}
	s.stderr.await(t, `Did a sum: 13 \+ 81 = 94`)
	s.stderr.await(t, `Divided: 1234 / 2 = 617`)
	if n := len(lines(s.stderr.text(), "connection established")); n != 1 {
		t.Errorf("%d connections, want 1: an error that is declared closes nothing", n)
	}
	s.stop()
}

func TestTwistedRegistersUsersAcrossARestart(t *testing.T) {
	t.Parallel()
	needTwisted(t)
	dir := workDir(t)

	s := serveIn(t, dir)
	got := twisted(t, "register_client.py", s.port(), "ada", "ada", "../evil")
	want := "Registration result: {'uid': 1}\nUsernameUnavailable: ada\nRegistration result: {'uid': 2}\nInvalidKey: a key is one line\n"
	if got != want {
		t.Errorf("the client printed\n%swant\n%s", got, want)
	}
	s.stop()

	s = serveIn(t, dir)
	got = twisted(t, "register_client.py", s.port(), "ada", "../evil", "grace")
	want = "UsernameUnavailable: ada\nUsernameUnavailable: ../evil\nRegistration result: {'uid': 3}\nInvalidKey: a key is one line\n"
	if got != want {
		t.Errorf("after a restart the client printed\n%swant\n%s", got, want)
	}
	s.stop()
}

func TestTwistedPipelinesAThousandSums(t *testing.T) {
	t.Parallel()
	needTwisted(t)
	s := serveIn(t, workDir(t), "--log-level", "warn")
	if got, want := twisted(t, "pipeline_client.py", s.port()), "1000 right answers\n"; got != want {
		t.Errorf("the client printed %q, want %q", got, want)
	}
	if log := s.stderr.text(); strings.Contains(log, "Did a sum") {
		t.Errorf("--log-level warn let console.log through:\n%s", log)
	}
	s.stop()
}

func TestCallATwistedServer(t *testing.T) {
	t.Parallel()
	needTwisted(t)
	server := startProcess(t, "testdata", python, "maths_server.py")
	addr := "127.0.0.1:" + server.stdout.await(t, `(\d+)\n`)[1]

	for _, c := range []struct {
		args           []string
		stdout, stderr string
		code           int
	}{
		{[]string{addr, "Sum", "a=13", "b=81"}, "total: 94\n", "", 0},
		{[]string{"tcp://" + addr, "Divide", "numerator=1", "denominator=4"}, "result: 0.25\n", "", 0},
		{[]string{addr, "Divide", "numerator=1", "denominator=0"}, "", "amphost: Divide: ZERO_DIVISION: division by zero\n", 1},
		{[]string{addr, "Subtract"}, "", "amphost: Subtract: UNHANDLED: Unhandled Command: b'Subtract'\n", 1},
		{[]string{addr, "Echo", "data=a=b"}, "data: \"a=b\\x00\\xff\\n\"\ntext: naïve\n", "", 0},
		{[]string{addr, "Nothing"}, "", "", 0},
		{[]string{addr, "Hang", "--timeout", "100ms"}, "", "amphost: " + addr + " did not answer Hang within 100ms; --timeout waits longer\n", 1},
	} {
		stdout, stderr, code := amphost(t, ".", append([]string{"call"}, c.args...)...)
		if stdout != c.stdout || stderr != c.stderr || code != c.code {
			t.Errorf("amphost call %q printed %q, %q, exit status %d; want %q, %q, %d", c.args, stdout, stderr, code, c.stdout, c.stderr, c.code)
		}
	}
}
