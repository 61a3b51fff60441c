package storetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/amphost/amphost/store"
)

// Bench measures durable increments of one counter with 1, 32 and 256 of them
// in flight, each store made by open, and views of one value. Bench closes the
// stores.
func Bench(b *testing.B, open func(b *testing.B) store.Store) {
	for _, inFlight := range []int{1, 32, 256} {
		b.Run(fmt.Sprint(inFlight), func(b *testing.B) {
			s := open(b)
			defer s.Close()
			b.ReportAllocs()
			b.ResetTimer()
			Increment(b, inFlight, b.N, func() error {
				return store.Update(context.Background(), s, ns, func(tx store.Tx) error {
					_, err := store.Add(tx, "n", 1)
					return err
				})
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
	b.Run("view", func(b *testing.B) {
		s := open(b)
		defer s.Close()
		err := store.Update(context.Background(), s, ns, func(tx store.Tx) error {
			return tx.Put(store.Keys, "key", make([]byte, 100))
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				err := store.View(context.Background(), s, ns, func(tx store.Tx) error {
					_, err := tx.Get(store.Keys, "key")
					return err
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "views/s")
	})
}

// Increment calls increment n times from so many goroutines, for benchmarks
// that compare a store with something else under the same load.
func Increment(b *testing.B, goroutines, n int, increment func() error) {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() { // ends when none are left; waited for below
			for left.Add(-1) >= 0 {
				if err := increment(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
