package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A holding is what a server holds at a moment.
type holding struct {
	resident    int64 // bytes
	Heap        int64 `json:"heap"` // bytes, live
	Goroutines  int   `json:"goroutines"`
	Descriptors int   `json:"descriptors"`
	Connections int   `json:"connections"`
	InFlight    int   `json:"inFlight"`
}

// held asks the server whose store is in dir what it holds. What is resident is
// read first: the heap is what is left after a collection.
func (p *process) held(ctx context.Context, binary, dir string) (holding, error) {
	var h holding
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid()))
	if err != nil {
		return h, err
	}
	if h.resident, err = residentOf(string(text)); err != nil {
		return h, err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, "stats", "--collect", "--json", "--store", filepath.Join(dir, "amphost.db"))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return h, fmt.Errorf("amphost stats: %w\n%s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return h, json.Unmarshal(out, &h)
}

// restTime is how long a server takes at most to give back what is garbage, see
// host.TuneGC, and a bit.
const restTime = 11 * time.Second

// atRest is held once the server has had nothing to do for restTime.
func (p *process) atRest(ctx context.Context, binary, dir string) (holding, error) {
	select {
	case <-ctx.Done():
		return holding{}, context.Cause(ctx)
	case <-time.After(restTime):
		return p.held(ctx, binary, dir)
	}
}

// residentOf reads VmRSS from a status file of proc(5).
func residentOf(status string) (bytes int64, err error) {
	_, rest, _ := strings.Cut(status, "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) < 2 || fields[1] != "kB" {
		return 0, fmt.Errorf("no VmRSS in the status of a process")
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	return kb * 1024, err
}

// A server is quiet if it takes less than quietLoad of a CPU for quietTime.
const (
	quietTime = 300 * time.Millisecond
	quietLoad = 0.1
	quietMost = time.Minute
)

// quiet waits until the server has done what it does on its own: after a start
// it keeps the versions of its plugins in the store, for example.
func (p *process) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, quietMost, errors.New("the server does not come to rest"))
	defer cancel()
	for {
		before, err := p.cpu()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(quietTime):
		}
		after, err := p.cpu()
		if err != nil {
			return err
		}
		if after-before < time.Duration(quietLoad*float64(quietTime)) {
			return nil
		}
	}
}
