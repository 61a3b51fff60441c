package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/amphost/amphost/amp"
)

// TestStats makes calls of several ends and asks the server what it has seen.
func TestStats(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	s := serveIn(t, dir, "--limit", "connections-per-address=2")
	stats := func(args ...string) (r statsResult) {
		t.Helper()
		stdout, stderr, code := amphost(t, dir, append([]string{"stats", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != 0 {
			t.Fatalf("stats --json: exit %d, %v\n%s%s", code, err, stdout, stderr)
		}
		return r
	}
	if r := stats(); r.Accepted != 0 || r.Answered != 0 || len(r.Failed) != 0 || r.PID != s.cmd.Process.Pid {
		t.Errorf("before anything has happened: %+v", r)
	}

	sum := amp.Box{"a": []byte("1"), "b": []byte("2")}
	conns := []*amp.Conn{s.dial(), s.dial()}
	for i := range 5 {
		if _, err := ask(t.Context(), conns[i%2], "Sum", "total", sum); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ask(t.Context(), conns[0], "Nothing", "", nil); remoteCode(err) != "UNHANDLED" {
		t.Fatalf("Nothing: %v", err)
	}
	<-s.dial().Done() // one too many
	r := stats()
	if r.Connections != 2 || r.Accepted != 2 || r.Refused != 1 || r.Answered != 5 || fmt.Sprint(r.Failed) != "[{UNHANDLED 1}]" || r.InFlight != 0 {
		t.Errorf("after five calls, one that failed and a connection too many: %+v", r)
	}
	if r.Goroutines < 4 || r.Heap > r.Memory || r.Memory < 4<<20 || r.Descriptors < 6 || r.MaxDescriptors < r.Descriptors {
		t.Errorf("what the process holds: %+v", r)
	}
	// What is told is of now.
	for _, conn := range conns {
		conn.Close()
	}
	for range 100 {
		if r = stats("--collect"); r.Connections == 0 {
			break
		}
	}
	if r.Connections != 0 || r.Heap == 0 {
		t.Errorf("after the connections: %+v", r)
	}

	stdout, stderr, code := amphost(t, dir, "stats")
	want := regexp.MustCompile(strings.Join([]string{
		`^server        pid \d+, amphost \S+, up \d+ s`,
		`connections   0 open, 2 accepted, 1 refused`,
		`calls         0 in flight, 5 answered`,
		`              1 failed: UNHANDLED`,
		`limits        \d+ pauses of reading, 0 calls too many a second`,
		`goroutines    \d+`,
		`memory        \d+\.\d MiB live, \d+\.\d MiB from the system`,
		`descriptors   \d+ of \d+`,
	}, "\n") + "\n$")
	if code != 0 || stderr != "" || !want.MatchString(stdout) {
		t.Errorf("stats: exit %d, %s\n%s", code, stderr, stdout)
	}
	s.stop()
	if _, stderr, code := amphost(t, dir, "stats"); code != exitFailure || !strings.Contains(stderr, "no server listens") {
		t.Errorf("stats of nobody: exit %d, %s", code, stderr)
	}
}
