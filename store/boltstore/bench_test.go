package boltstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/storetest"
)

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) store.Store { return openIn(b, b.TempDir(), nil) })
}

// BenchmarkBbolt is what BenchmarkStore does, with bbolt's own ways to commit.
func BenchmarkBbolt(b *testing.B) {
	for _, way := range []string{"Update", "Batch"} {
		for _, inFlight := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("%s/%d", way, inFlight), func(b *testing.B) {
				increment := plainBbolt(b, way)
				b.ReportAllocs()
				b.ResetTimer()
				storetest.Increment(b, inFlight, b.N, increment)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			})
		}
	}
}

// BenchmarkRatio tells how many times as many durable increments of one counter
// a second there are as with bbolt's own ways, in pairs of runs on the same
// disk, one after the other: the median, so that a busy machine matters less.
// Run it with -benchtime 1x.
func BenchmarkRatio(b *testing.B) {
	for _, c := range []struct {
		way           string
		inFlight      int
		ours, theirs  int // increments in one run
		atLeastAsGoal float64
	}{
		{"Update", 1, 500, 500, 0.9},
		{"Update", 256, 50_000, 500, 60},
		{"Batch", 256, 50_000, 10_000, 3},
	} {
		b.Run(fmt.Sprintf("%s/%d", c.way, c.inFlight), func(b *testing.B) {
			theirs := plainBbolt(b, c.way)
			s := openIn(b, b.TempDir(), nil)
			defer s.Close()
			ours := func() error {
				return store.Update(context.Background(), s, ns, func(tx store.Tx) error {
					_, err := store.Add(tx, "n", 1)
					return err
				})
			}
			rate := func(n int, increment func() error) float64 {
				start := time.Now()
				storetest.Increment(b, c.inFlight, n, increment)
				return float64(n) / time.Since(start).Seconds()
			}
			var ratios []float64
			for b.Loop() {
				for range 7 {
					ratios = append(ratios, rate(c.ours, ours)/rate(c.theirs, theirs))
				}
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "times")
			b.ReportMetric(c.atLeastAsGoal, "goal")
		})
	}
}

// plainBbolt returns a function that increments a counter in a bbolt file.
func plainBbolt(b *testing.B, way string) func() error {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "plain.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	commit := db.Update
	if way == "Batch" {
		commit = db.Batch
	}
	return func() error {
		return commit(func(btx *bbolt.Tx) error {
			bucket, err := btx.CreateBucketIfNotExists([]byte(ns))
			if err != nil {
				return err
			}
			var n uint64
			if value := bucket.Get([]byte("n")); value != nil {
				n = binary.BigEndian.Uint64(value)
			}
			return bucket.Put([]byte("n"), binary.BigEndian.AppendUint64(nil, n+1))
		})
	}
}

// BenchmarkKeyFile tells how many times as long it takes to write a key file of
// 100 bytes in a store of a million keys, or of a million files, as in one that
// was empty, in pairs of runs, one after the other: the median.
// Run it with -benchtime 1x.
func BenchmarkKeyFile(b *testing.B) {
	for _, c := range []struct {
		name string
		put  func(tx store.Tx, name string, data []byte) error
	}{
		{"keys", func(tx store.Tx, name string, data []byte) error { return tx.Put(store.Keys, name, data) }},
		{"files", store.WriteFile},
	} {
		b.Run(c.name, func(b *testing.B) {
			const pairs, each = 41, 100
			data := make([]byte, 100)
			create := func(s *Store, name string) {
				err := store.Update(context.Background(), s, ns, func(tx store.Tx) error { return store.CreateFile(tx, name, data) })
				if err != nil {
					b.Fatal(err)
				}
			}
			dir := b.TempDir()
			fill(b, dir, 1_000_000, c.put)
			full := openIn(b, dir, nil)
			defer full.Close()
			var ratios, times []float64
			for b.Loop() {
				for pair := range pairs {
					empty := openIn(b, b.TempDir(), nil)
					var took [2]time.Duration
					for i, s := range []*Store{empty, full} {
						start := time.Now()
						for n := range each {
							create(s, fmt.Sprintf("user/%d/%d/%d", b.N, pair, n))
						}
						took[i] = time.Since(start)
					}
					ratios = append(ratios, float64(took[1])/float64(took[0]))
					times = append(times, float64(took[1].Microseconds())/each)
					if err := empty.Close(); err != nil {
						b.Fatal(err)
					}
				}
			}
			slices.Sort(ratios)
			slices.Sort(times)
			b.ReportMetric(ratios[len(ratios)/2], "times")
			b.ReportMetric(1.3, "goal")
			b.ReportMetric(times[len(times)/2], "µs/file")
		})
	}
}

// fill makes a store of many keys, or files.
func fill(b *testing.B, dir string, keys int, put func(tx store.Tx, name string, data []byte) error) {
	b.Helper()
	s := openIn(b, dir, &Options{NoSync: true})
	for i := 0; i < keys; {
		err := store.Update(context.Background(), s, ns, func(tx store.Tx) error {
			for range 50_000 {
				if err := put(tx, fmt.Sprintf("key/%08d", i), make([]byte, 100)); err != nil {
					return err
				}
				i++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
