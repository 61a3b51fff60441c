package host_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
	"github.com/amphost/amphost/store/boltstore"
)

// BenchmarkEndToEnd calls the plugins that come with amphost over TCP, with so
// many calls in flight on one connection. RegisterUser waits for the disk.
func BenchmarkEndToEnd(b *testing.B) {
	st, err := boltstore.Open(b.TempDir()+"/amphost.db", nil)
	if err != nil {
		b.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	h, err := host.New(b.Context(), host.Config{
		Plugins: "../plugins",
		Logger:  quiet,
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
	b.Cleanup(func() {
		if err := errors.Join(h.Shutdown(context.Background()), st.Close()); err != nil {
			b.Error(err)
		}
		<-served
	})
	var users atomic.Int64 // names are never reused, as b.N grows from run to run
	for _, c := range []struct {
		command string
		args    func() amp.Box
	}{
		{"Sum", func() amp.Box { return amp.Box{"a": []byte("13"), "b": []byte("81")} }},
		{"RegisterUser", func() amp.Box {
			return amp.Box{"username": fmt.Appendf(nil, "user%d", users.Add(1)), "publickey": []byte("key")}
		}},
	} {
		for _, inFlight := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", c.command, inFlight), func(b *testing.B) {
				conn, err := amp.Dial(b.Context(), "tcp", l.Addr().String(), nil, nil)
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				b.ReportAllocs()
				room := make(chan struct{}, inFlight)
				for b.Loop() {
					room <- struct{}{}
					conn.Go(c.command, c.args(), func(_ amp.Box, err error) {
						<-room
						if err != nil {
							b.Error(err)
						}
					})
				}
				for range inFlight { // until the last is answered
					room <- struct{}{}
				}
			})
		}
	}
}
