package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCPUOfStat(t *testing.T) {
	const stat = "1234 (a) name (x) S 1 2 3 0 -1 4194304 10 20 30 40 250 50 7 8 20 0 9 0 100 200 300"
	got, err := cpuOfStat(stat)
	if want := 3 * time.Second; err != nil || got != want {
		t.Errorf("cpuOfStat(%q) = %v, %v, want %v", stat, got, err, want)
	}
	if got, err := cpuOfStat("nonsense"); err == nil {
		t.Errorf("cpuOfStat of nonsense = %v, want an error", got)
	}
}

// What every measurement stands on: a server that is built from the tree,
// answers, is charged for what it did, and ends.
func TestServeAndLoad(t *testing.T) {
	binary := amphostBinary(t)
	p, address, err := serve(t.Context(), binary, "../plugins", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	before, err := p.cpu()
	if err != nil {
		t.Fatal(err)
	}
	r, err := loadAMP(t.Context(), binary, address, shape{8, 64}, 200*time.Millisecond, "Sum", "a=1", "b=2")
	if err != nil {
		t.Fatal(err)
	}
	after, err := p.cpu()
	if err != nil || after <= before {
		t.Errorf("CPU time after %d calls is %v, %v, want more than %v", r.Calls, after, err, before)
	}
	if r.Latency["p50"] <= 0 || r.Latency["p99"] < r.Latency["p50"] || r.Rate <= 0 {
		t.Errorf("loadAMP = %+v, want a rate and latencies", r)
	}
	if _, err := loadAMP(t.Context(), binary, address, shape{1, 1}, 50*time.Millisecond, "NoSuchCommand"); err == nil || !strings.Contains(err.Error(), "UNHANDLED") {
		t.Errorf("a load of a command that is not there: error %v, want UNHANDLED", err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if nc, err := net.Dial("tcp", address); err == nil {
		nc.Close()
		t.Error("the server accepts connections after stop")
	}
}

func TestStartTellsWhyAServerEnded(t *testing.T) {
	script := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no such thing >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, err = start(context.Background(), address, script)
	if err == nil || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("start of a server that fails: error %v, want what it wrote and its exit status", err)
	}
}
