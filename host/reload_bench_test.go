package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
)

// BenchmarkReload measures the time from the end of a write to the first answer
// of the new version, of a small plugin, while so many clients call it without
// pause; and prints how that is distributed.
func BenchmarkReload(b *testing.B) {
	for _, clients := range []int{0, 8, 64} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) { benchReload(b, clients) })
	}
}

func benchReload(b *testing.B, clients int) {
	dir := b.TempDir()
	path := filepath.Join(dir, "version.js")
	source := func(version int) []byte {
		return fmt.Appendf(nil, `import * as amp from "amphost";
const Version = new amp.Command("Version", { response: { n: amp.Integer() } });
Version.responder(() => ({ n: %d }));
`, version)
	}
	if err := os.WriteFile(path, source(0), 0o644); err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	h, err := host.New(b.Context(), host.Config{Plugins: dir, Watch: true, Logger: log, Script: scripting.Options{}})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { h.Serve(l) }) // ends with Shutdown
	defer wg.Wait()
	defer h.Shutdown(context.Background())
	dial := func() *amp.Conn {
		conn, err := amp.Dial(b.Context(), "tcp", l.Addr().String(), nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		return conn
	}
	var ended atomic.Bool
	var calls atomic.Int64
	var calling sync.WaitGroup
	defer calling.Wait()
	defer ended.Store(true)
	for range clients {
		conn := dial()
		calling.Go(func() { // ends with ended
			defer conn.Close()
			for !ended.Load() {
				if _, err := conn.Call(context.Background(), "Version", nil); err != nil {
					b.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	probe := dial()
	defer probe.Close()
	var took []time.Duration
	version := 0
	save := func() {
		version++
		want := fmt.Sprint(version)
		if err := os.WriteFile(path, source(version), 0o644); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		for {
			got, err := probe.Call(b.Context(), "Version", nil)
			if err != nil {
				b.Fatal(err)
			}
			if string(got["n"]) == want {
				break
			}
		}
		took = append(took, time.Since(start))
	}
	time.Sleep(200 * time.Millisecond) // the first watch
	begin := time.Now()
	for b.Loop() {
		save()
	}
	for len(took) < 300 { // or there is no hundredth
		save()
	}
	rate := float64(calls.Load()) / time.Since(begin).Seconds()
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[min(int(share*float64(len(took))), len(took)-1)].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(rate, "calls/s")
	var line strings.Builder
	for _, share := range []float64{0, 0.1, 0.5, 0.9, 0.95, 0.99, 1} {
		fmt.Fprintf(&line, "  p%g %.1f", 100*share, at(share))
	}
	b.Logf("%d reloads beside %.0f calls a second, milliseconds:%s", len(took), rate, line.String())
}
