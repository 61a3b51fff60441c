package boltstore

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"testing"
)

// childEnv names what a process that a test started is to do.
const childEnv = "BOLTSTORE_TEST_CHILD"

// children are the programs that tests start in processes of their own. Each
// gets the path of a store, and tells its test what happens on its standard
// output, a line at a time.
var children = map[string]func(path string){
	"register":            func(path string) { childRegister(path, nil) },
	"register carelessly": func(path string) { childRegister(path, &Options{NoSync: true}) },
	"history":             childHistory,
	"hold":                childHold,
	"fail":                childFail,
	"faults":              childFaults,
	"look past":           childLookPast,
}

func TestMain(m *testing.M) {
	if child := children[os.Getenv(childEnv)]; child != nil {
		child(os.Args[1])
		return
	}
	os.Exit(m.Run())
}

// A childProcess is a program of children that runs.
type childProcess struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner // what it says; a line that it was killed in may come as it is
	stdin io.Closer
}

// startChild starts a program of children, by way of a command if there is one.
func startChild(t *testing.T, name, path string, by ...string) *childProcess {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(by, exe, path)
	cmd := exec.Command(args[0], args[1:]...)
	// With the race detector a process waits a second before it ends.
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &childProcess{cmd: cmd, lines: bufio.NewScanner(out), stdin: in}
}

// line returns the next line the child says, or "" at its end.
func (c *childProcess) line() string {
	c.lines.Scan()
	return c.lines.Text()
}

// rounds is how many times a test does something: more if AMPHOST_LONG is set.
func rounds(short, long int) int {
	if os.Getenv("AMPHOST_LONG") != "" {
		return long
	}
	return short
}
