package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/amphost/amphost/scripting"
)

// openTerminal returns both ends of a terminal.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no terminals here: %v", err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// An error is in colours on a terminal, unless the person there wants none.
func TestColoursOnATerminalOnly(t *testing.T) {
	thrown := &scripting.Error{Message: "TypeError: no", File: "p.js", Line: 3, Column: 5, Frame: "> 3 | x\n    | ^"}
	for _, c := range []struct {
		noColor, term string
		want          bool
	}{{"", "xterm", true}, {"1", "xterm", false}, {"", "dumb", false}} {
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("TERM", c.term)
		person, program := openTerminal(t)
		newLogger(program, logText, slog.LevelInfo).Error("Sum failed", "error", thrown)
		var text strings.Builder
		buf := make([]byte, 4096)
		for !strings.Contains(text.String(), "^") {
			if err := person.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil && !strings.Contains(err.Error(), "deadline") {
				t.Fatal(err)
			}
			n, err := person.Read(buf)
			if err != nil {
				t.Fatalf("%v after %q", err, text.String())
			}
			text.Write(buf[:n])
		}
		if got := strings.Contains(text.String(), "\x1b["); got != c.want {
			t.Errorf("NO_COLOR=%q TERM=%q: in colours is %v, want %v:\n%q", c.noColor, c.term, got, c.want, text.String())
		}
		if got := wantsColor(program); got != c.want {
			t.Errorf("NO_COLOR=%q TERM=%q: wantsColor is %v, want %v", c.noColor, c.term, got, c.want)
		}
	}
}
