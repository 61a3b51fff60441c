package host

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// A small heap is collected once it has 96 MiB, a larger one when it has five
// times what lives.
func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 2400, 1 << 20: 2400, 4 << 20: 2300, 6 << 20: 1500, 8 << 20: 1100, 16 << 20: 500, 19 << 20: 400, 20 << 20: 400, 64 << 20: 400, 1 << 40: 400,
	} {
		if got := percent(live); got != want {
			t.Errorf("with %d MiB that live: GOGC=%d, want %d", live>>20, got, want)
		}
		if live > 0 && live < leastHeap/5 {
			if goal := live * uint64(percent(live)+100) / 100; goal > leastHeap*11/10 && percent(live) > garbage {
				t.Errorf("with %d MiB that live it is collected at %d MiB", live>>20, goal>>20)
			}
		}
	}
}

// GOGC follows what lives, collection by collection, and what the environment
// says is left as it is.
func TestTuneGC(t *testing.T) {
	if os.Getenv("AMPHOST_TEST_GC") != "" {
		TuneGC(2 << 30)
		gogc := func() int {
			n := debug.SetGCPercent(100)
			debug.SetGCPercent(n)
			return n
		}
		if os.Getenv("GOGC") != "" {
			if n, limit := gogc(), debug.SetMemoryLimit(-1); n != 150 || limit != 1<<30 {
				t.Errorf("GOGC=%d, GOMEMLIMIT=%d", n, limit)
			}
			return
		}
		if limit := debug.SetMemoryLimit(-1); limit != 2<<30+256<<20 {
			t.Errorf("GOMEMLIMIT=%d", limit)
		}
		becomes := func(what string, low, high int) {
			t.Helper()
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
				runtime.GC()
				n := gogc()
				if n >= low && n <= high {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("%s: GOGC=%d", what, n)
				}
			}
		}
		becomes("with little", 1500, 2400)
		lives := make([]byte, 100<<20)
		becomes("with much", 400, 400)
		runtime.KeepAlive(lives)
		becomes("with little again", 1500, 2400)
		return
	}
	for _, env := range [][]string{{"GOGC=", "GOMEMLIMIT="}, {"GOGC=150", "GOMEMLIMIT=1GiB"}} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTuneGC$", "-test.count=1")
		cmd.Env = append(append(os.Environ(), "AMPHOST_TEST_GC=1"), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", env, err, out)
		}
	}
}

// piece is garbage once there is another one.
var piece []byte

// What a server leaves behind is collected when it is at rest, once, and not while
// there is work.
func TestRest(t *testing.T) {
	p := new(pacer)
	work := func(bytes int) {
		for ; bytes > 0; bytes -= 1 << 16 {
			piece = make([]byte, 1<<16)
		}
	}
	work(2 * restLeast)
	if p.rest() {
		t.Error("it has collected while there was work")
	}
	if !p.rest() {
		t.Error("it has not collected at rest")
	}
	if p.rest() {
		t.Error("it has collected twice")
	}
	work(2 * restMost)
	p.rest()
	if p.rest() {
		t.Error("it has collected for next to nothing")
	}
}
