package host_test

import (
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
// Run it with -benchtime 1x.
func BenchmarkRegisterRatio(b *testing.B) {
	const inFlight, users = 256, 20_000
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
	conn, err := amp.Dial(b.Context(), "tcp", l.Addr().String(), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()

	var last atomic.Int64 // names are never reused
	key := []byte("ssh-ed25519 AAAA")
	byScript := func() error {
		_, err := conn.Call(context.Background(), "RegisterUser", amp.Box{"username": fmt.Appendf(nil, "user%d", last.Add(1)), "publickey": key})
		return err
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
	rate := func(register func() error) float64 {
		start := time.Now()
		var left atomic.Int64
		left.Store(users)
		var wg sync.WaitGroup
		for range inFlight {
			wg.Go(func() { // ends when none are left; waited for below
				for left.Add(-1) >= 0 {
					if err := register(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return users / time.Since(start).Seconds()
	}
	var ratios, rates []float64
	for b.Loop() {
		for range 5 {
			store, script := rate(byStore), rate(byScript)
			ratios, rates = append(ratios, script/store), append(rates, script)
		}
	}
	slices.Sort(ratios)
	slices.Sort(rates)
	b.ReportMetric(ratios[len(ratios)/2], "times")
	b.ReportMetric(0.5, "goal")
	b.ReportMetric(rates[len(rates)/2], "registrations/s")
}
