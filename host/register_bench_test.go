package host_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/boltstore"
)

// BenchmarkRegisterRatio tells how fast RegisterUser is end to end, over TCP,
// by way of a script, with 256 calls in flight: how many times the rate of the
// store alone, which does the same for 256 goroutines. The runs are pairs, one
// after the other, so that a busy machine matters less, and the median counts.
// Both sides have their garbage collected as amphost serve does. On a disk that is
// slow both wait for it, and the ratio says little: look at the rate, too. Run it
// with -benchtime 1x.
func BenchmarkRegisterRatio(b *testing.B) {
	const inFlight, users = 256, 20_000
	host.TuneGC(0)
	alone, err := boltstore.Open(b.TempDir()+"/alone.db", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer alone.Close()
	st, err := boltstore.Open(b.TempDir()+"/amphost.db", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	h, err := host.New(b.Context(), host.Config{
		Plugins: "../plugins",
		Logger:  slog.New(slog.DiscardHandler),
		Script:  scripting.Options{Store: st},
	})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }() // ends with Shutdown
	defer func() {
		if err := h.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
		<-served
	}()
	conns := make([]net.Conn, 4) // a connection keeps to one worker
	for i := range conns {
		if conns[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			b.Fatal(err)
		}
		defer conns[i].Close()
	}

	var last atomic.Int64 // names are never reused
	key := []byte("ssh-ed25519 AAAA")
	// The client costs as little as it can: it shares the machine.
	callScript := func(nc net.Conn, calls int) error {
		r := bufio.NewReaderSize(nc, 64<<10)
		var out []byte
		begun, answered := 0, 0
		for answered < calls {
			for begun < calls && begun < answered+inFlight/len(conns) {
				begun++
				out, _ = amp.Box{"_ask": fmt.Append(nil, begun), "_command": []byte("RegisterUser"), "username": fmt.Appendf(nil, "user%d", last.Add(1)), "publickey": key}.Append(out)
			}
			if _, err := nc.Write(out); err != nil {
				return err
			}
			out = out[:0]
			for more := true; more; more = r.Buffered() > 0 {
				box, err := amp.ReadBox(r)
				if err != nil || box["uid"] == nil {
					return fmt.Errorf("answer %q, error %v", box, err)
				}
				answered++
			}
		}
		return nil
	}
	byStore := func() error {
		name := fmt.Sprintf("user%d", last.Add(1))
		return store.Update(context.Background(), alone, "user-registration", func(tx store.Tx) error {
			exists, err := store.FileExists(tx, name)
			if err != nil {
				return err
			}
			if exists {
				return fs.ErrExist
			}
			uid, err := store.Add(tx, "uid", 1)
			return errors.Join(err, store.CreateFile(tx, name, fmt.Appendf(nil, "%d %s\n", uid, key)))
		})
	}
	storeRate := func() float64 {
		start := time.Now()
		var left atomic.Int64
		left.Store(users)
		var wg sync.WaitGroup
		for range inFlight {
			wg.Go(func() { // ends when none are left; waited for below
				for left.Add(-1) >= 0 {
					if err := byStore(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return users / time.Since(start).Seconds()
	}
	scriptRate := func() float64 {
		start := time.Now()
		var wg sync.WaitGroup
		for _, nc := range conns {
			wg.Go(func() { // ends with its share of the calls; waited for below
				if err := callScript(nc, users/len(conns)); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		return users / time.Since(start).Seconds()
	}
	var ratios, rates []float64
	for b.Loop() {
		for range 5 {
			store, script := storeRate(), scriptRate()
			ratios, rates = append(ratios, script/store), append(rates, script)
		}
	}
	slices.Sort(ratios)
	slices.Sort(rates)
	b.ReportMetric(ratios[len(ratios)/2], "times")
	b.ReportMetric(0.5, "goal")
	b.ReportMetric(rates[len(rates)/2], "registrations/s")
}
