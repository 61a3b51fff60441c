package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/boltstore"
)

// publicKey is that of every user.
const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJwHgaeB0rWm4QBtvD+mGm3aRnd6Rj2tVRmP0vD1XY8p"

// userName returns a name for each number; the names of numbers that follow each
// other are not neighbours in a store.
func userName(n int64) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	return fmt.Sprintf("user-%x", sum[:8])
}

// registration returns the next call of RegisterUser, each with a name of its
// own.
func registration(last *atomic.Int64) func(int64) call {
	return func(int64) call {
		return call{
			command: "RegisterUser",
			args:    amp.Box{"username": []byte(userName(last.Add(1))), "publickey": []byte(publicKey)},
			check: func(answer amp.Box) error {
				if len(answer["uid"]) == 0 {
					return errors.New("there is no uid in the answer")
				}
				return nil
			},
		}
	}
}

// inFlight measures RegisterUser over the number of calls in flight.
func (g *growth) inFlight(ctx context.Context) (*finding, error) {
	xs := g.points(1, 4, 16, 64, 256, 1024)
	rows, err := g.medians(ctx, xs, func(ctx context.Context, x float64, dir string) (values []float64, err error) {
		var last atomic.Int64
		err = g.with(ctx, ownPlugins, dir, nil, func(_ *process, address string) error {
			r, err := drive(ctx, address, spread(int(x)), g.time, registration(&last))
			values = []float64{r.Rate, r.Latency["p50"], r.Latency["p99"]}
			return err
		})
		return values, err
	})
	if err != nil {
		return nil, err
	}
	return registrations(&finding{
		name: "inflight", title: "RegisterUser over calls in flight",
		about:   "`plugins/user-registration.ts`, each call a user of its own, from an empty store; an answer is sent once it is on disk. Up to 8 connections share the calls.",
		columns: []column{{"in flight", whole}},
		rows:    rows,
	}, "calls in flight"), nil
}

// users measures RegisterUser over the number of users that are there.
func (g *growth) users(ctx context.Context) (*finding, error) {
	xs := g.points(1000, 10_000, 100_000, 1_000_000)
	const inFlight = 256
	rows, err := g.medians(ctx, xs, func(ctx context.Context, x float64, dir string) (values []float64, err error) {
		var last atomic.Int64
		last.Store(int64(x))
		if err := writeUsers(ctx, filepath.Join(dir, "amphost.db"), int64(x)); err != nil {
			return nil, err
		}
		err = g.with(ctx, ownPlugins, dir, nil, func(_ *process, address string) error {
			r, err := drive(ctx, address, spread(inFlight), g.time, registration(&last))
			values = []float64{r.Rate, r.Latency["p50"], r.Latency["p99"]}
			return err
		})
		return values, err
	})
	if err != nil {
		return nil, err
	}
	return registrations(&finding{
		name: "users", title: "RegisterUser over users",
		about:   fmt.Sprintf("The same with %d calls in flight and a store that has users already. Names are in no order, so that each is written to a page of its own.", inFlight),
		columns: []column{{"users", whole}},
		rows:    rows,
	}, "users"), nil
}

func registrations(f *finding, x string) *finding {
	f.columns = append(f.columns, column{"registrations/s", whole}, column{"p50, ms", figures(1)}, column{"p99, ms", figures(1)})
	xs := f.column(0)
	f.panels = []panel{
		{title: "registrations a second", x: x, at: xs, curves: []curve{{"", f.column(1)}}},
		{title: "milliseconds", x: x, at: xs, curves: []curve{{"p50", f.column(2)}, {"p99", f.column(3)}}},
	}
	return f
}

// spread spreads calls in flight over up to eight connections.
func spread(calls int) shape {
	conns := min(calls, 8)
	return shape{conns, calls / conns}
}

// writeUsers makes a store with the users 1 to n, as plugins/user-registration.ts
// writes them. They are written in order of their names, and many at a time.
func writeUsers(ctx context.Context, path string, n int64) error {
	st, err := boltstore.Open(path, nil)
	if err != nil {
		return err
	}
	users := make([]string, n)
	for i := range users {
		users[i] = userName(int64(i) + 1)
	}
	slices.Sort(users)
	for chunk := range slices.Chunk(users, 20_000) {
		err := store.Update(ctx, st, "user-registration", func(tx store.Tx) error {
			for _, name := range chunk {
				uid, err := store.Add(tx, "uid", 1)
				if err != nil {
					return err
				}
				if err := store.CreateFile(tx, name, fmt.Appendf(nil, "%d %s\n", uid, publicKey)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return errors.Join(err, st.Close())
		}
	}
	return st.Close()
}
