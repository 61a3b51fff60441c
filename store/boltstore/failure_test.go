package boltstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/amphost/amphost/store"
)

// childFail writes until it can't, and says what happens.
func childFail(path string) {
	s, err := Open(path, nil)
	if err != nil {
		fmt.Println("open:", err)
		return
	}
	ctx := context.Background()
	increment := func() (n int64, err error) {
		err = store.Update(ctx, s, ns, func(tx store.Tx) error {
			n, err = store.Add(tx, "n", 1)
			return err
		})
		return n, err
	}
	for range 20 {
		n, err := increment()
		if err != nil {
			fmt.Println("failed", errors.Is(err, store.ErrUncertain))
			break
		}
		fmt.Println("durable", n)
	}
	if _, err := increment(); !errors.Is(err, store.ErrFailed) {
		fmt.Println("after a failure an update says:", err)
	}
	err = store.View(ctx, s, ns, func(tx store.Tx) error {
		n, err := store.Count(tx, "n")
		fmt.Println("after a failure a view sees:", n)
		return err
	})
	if !errors.Is(err, store.ErrFailed) {
		fmt.Println("after a failure a view says:", err)
	}
	if err := s.Close(); !errors.Is(err, store.ErrUncertain) {
		fmt.Println("after a failure Close says:", err)
	}
	fmt.Println("end")
}

// childFaults counts to 12, with more and more beside it so that the file grows,
// and says how each step ends: "durable N", "full" or "uncertain". After the
// first that is uncertain it says "end", else what a view sees then.
func childFaults(path string) {
	s, err := Open(path, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	for i := range 12 {
		var n int64
		err := store.Update(ctx, s, ns, func(tx store.Tx) error {
			n, err = store.Add(tx, "n", 1)
			return errors.Join(err, store.WriteFile(tx, fmt.Sprint(i), make([]byte, 100_000*i)))
		})
		switch {
		case err == nil:
			fmt.Println("durable", n)
		case errors.Is(err, store.ErrFull):
			fmt.Println("full")
		case errors.Is(err, store.ErrUncertain):
			fmt.Println("uncertain")
			if _, err := s.Begin(ctx, ns, true); !errors.Is(err, store.ErrFailed) {
				fmt.Println("after a failure an update says:", err)
			}
			fmt.Println("end")
			return
		default:
			fmt.Println("error:", err)
		}
	}
	err = store.View(ctx, s, ns, func(tx store.Tx) error {
		n, err := store.Count(tx, "n")
		fmt.Println("seen", n)
		return err
	})
	if err := errors.Join(err, s.Close()); err != nil {
		fmt.Println("error:", err)
	}
}

// childLookPast commits a value and reads it in views all the while. It says
// how long before the commit's end the first view saw it, in milliseconds, and
// how many views did not.
func childLookPast(path string) {
	s, err := Open(path, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	tx, err := s.Begin(context.Background(), ns, true)
	if err != nil {
		fmt.Println(err)
		return
	}
	tx.Put(store.Keys, "a", []byte("1"))
	done := tx.Commit()
	var first time.Time
	for unseen := 0; ; {
		store.View(context.Background(), s, ns, func(tx store.Tx) error {
			value, err := tx.Get(store.Keys, "a")
			if value == nil {
				unseen++
			} else if first.IsZero() {
				first = time.Now()
			}
			return err
		})
		select {
		case err := <-done:
			if first.IsZero() {
				first = time.Now()
			}
			fmt.Println(time.Since(first).Milliseconds(), unseen, err)
			return
		default:
		}
	}
}
