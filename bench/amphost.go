package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// build builds the amphost of a source tree into dir, and returns the path of
// the binary.
func build(ctx context.Context, tree, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "amphost")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/amphost")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build amphost of %s: %w\n%s", tree, err, bytes.TrimSpace(out))
	}
	return binary, nil
}

// revision is what git calls the tree around this directory.
func revision(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "a tree without a revision"
	}
	return string(bytes.TrimSpace(out))
}

// serve starts `amphost serve` with a store in dir and warnings logged, all else
// as shipped but for the flags, and returns its address.
func serve(ctx context.Context, binary, plugins, dir string, flags ...string) (p *process, address string, err error) {
	if address, err = freeAddress(); err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	args := []string{"serve", "--port", port, "--plugins", plugins, "--store", filepath.Join(dir, "amphost.db"), "--log-level", "warn"}
	p, err = start(ctx, address, binary, append(args, flags...)...)
	return p, address, err
}

// A shape is a closed loop: so many connections, and so many calls in flight on
// each of them at any time.
type shape struct{ conns, inFlight int }

func (s shape) String() string { return fmt.Sprintf("%d × %d", s.conns, s.inFlight) }

// A report is what a load has seen; it has fields of `amphost bench --json`.
type report struct {
	Calls   int64              `json:"calls"` // answered, with errors too
	Seconds float64            `json:"seconds"`
	Rate    float64            `json:"callsPerSecond"`
	Errors  map[string]int64   `json:"errors"`              // by code
	Latency map[string]float64 `json:"latencyMilliseconds"` // min, p50, p90, p99, p99.9, max, mean
}

// loadAMP has `amphost bench` call a command of the AMP server at address for
// some time. words are the command and its arguments, key=value. A call that
// fails is an error.
func loadAMP(ctx context.Context, binary, address string, s shape, t time.Duration, words ...string) (report, error) {
	args := append([]string{"bench", address}, words...)
	args = append(args, "-c", strconv.Itoa(s.conns), "-p", strconv.Itoa(s.inFlight), "-t", t.String(), "--json")
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return report{}, fmt.Errorf("amphost bench: %w\n%s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	var r report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return report{}, fmt.Errorf("amphost bench: %w", err)
	}
	if len(r.Errors) > 0 || r.Calls == 0 {
		return r, fmt.Errorf("%s at %s: of %d calls these failed: %v", words[0], address, r.Calls, r.Errors)
	}
	return r, nil
}
