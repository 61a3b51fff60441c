package host_test

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

// One connection that pipelines ten thousand calls does not keep fifty others,
// which call one after another, from being answered; nor do idle connections.
func TestCrowd(t *testing.T) {
	idle, rounds := 500, 20
	if os.Getenv("AMPHOST_LONG") != "" {
		idle, rounds = 9_500, 200 // both ends are here, within 20,000 descriptors
	}
	dir := t.TempDir()
	writePlugin(t, dir, "a.js", word("A", "hello"))
	h, _ := newHost(t, host.Config{Plugins: dir, MaxConns: -1, MaxConnsPerAddr: -1})
	addr := serve(t, h)
	for range idle {
		nc, err := net.Dial("tcp", addr)
		switch {
		case errors.Is(err, syscall.EMFILE) && os.Getenv("CI") == "":
			t.Skipf("SKIPPED, NOT PASSED: too few descriptors for %d connections", idle)
		case err != nil:
			t.Fatal(err)
		}
		defer nc.Close()
	}
	const callers = 50
	var conns []*amp.Conn
	for range callers {
		conns = append(conns, dial(t, addr))
	}
	pingPong := func() (p99 time.Duration) {
		var mu sync.Mutex
		var took []time.Duration // guarded by mu
		var wg sync.WaitGroup
		for _, c := range conns {
			wg.Go(func() {
				for range rounds {
					begin := time.Now()
					if _, err := c.Call(t.Context(), "A", nil); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					took = append(took, time.Since(begin))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		slices.Sort(took)
		if len(took) == 0 {
			t.Fatal("nothing was answered")
		}
		return took[len(took)*99/100]
	}
	alone := pingPong()
	flood := dial(t, addr)
	done := make(chan error, 10_000)
	for range cap(done) {
		flood.Go("A", nil, func(_ amp.Box, err error) { done <- err })
	}
	beside := pingPong()
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatalf("a pipelined call: %v", err)
		}
	}
	t.Logf("beside %d idle connections p99 is %v, and %v beside ten thousand pipelined calls", idle, alone, beside)
	if st := h.Stats(); st.Conns != idle+callers+1 || st.Answered != uint64(2*callers*rounds+cap(done)) {
		t.Errorf("%+v", st)
	}
}
