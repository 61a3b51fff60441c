package store_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/amphost/amphost/store"
)

// A name is taken, a number given out and a file written in one transaction:
// all of it is on disk when Update returns, or none of it.
func Example() {
	ctx := context.Background()
	s := store.NewMem()
	defer s.Close()

	register := func(name, key string) (uid int64, err error) {
		err = store.Update(ctx, s, "registration", func(tx store.Tx) error {
			if uid, err = store.Add(tx, "uid", 1); err != nil {
				return err
			}
			return store.CreateFile(tx, name, fmt.Appendf(nil, "%d %s\n", uid, key))
		})
		return uid, err
	}
	for _, name := range []string{"ada", "ada", "../grace"} {
		uid, err := register(name, "ssh-ed25519 AAAA")
		if errors.Is(err, fs.ErrExist) {
			fmt.Println(name, "is taken")
			continue
		}
		fmt.Println(name, "is", uid)
	}

	store.View(ctx, s, "registration", func(tx store.Tx) error {
		data, err := store.ReadFile(tx, "ada")
		fmt.Printf("%s", data)
		return err
	})
	// Output:
	// ada is 1
	// ada is taken
	// ../grace is 2
	// 1 ssh-ed25519 AAAA
}

// Commit does not wait, so a program that must not block can go on and be told
// later. Transactions that begin meanwhile see what was committed.
func ExampleTx_Commit() {
	ctx := context.Background()
	s := store.NewMem()
	defer s.Close()

	var dones []<-chan error
	for range 3 {
		tx, err := s.Begin(ctx, "visits", true)
		if err != nil {
			fmt.Println(err)
			return
		}
		n, err := store.Add(tx, "visits", 1)
		fmt.Println("visit", n, err)
		dones = append(dones, tx.Commit())
	}
	for _, done := range dones {
		fmt.Println("durable:", <-done == nil)
	}
	// Output:
	// visit 1 <nil>
	// visit 2 <nil>
	// visit 3 <nil>
	// durable: true
	// durable: true
	// durable: true
}

func ExampleTx_scan() {
	ctx := context.Background()
	s := store.NewMem()
	defer s.Close()

	store.Update(ctx, s, "chat", func(tx store.Tx) error {
		for i, text := range []string{"hello", "world", "!"} {
			if err := tx.Put(store.Keys, fmt.Sprintf("message/%03d", i), []byte(text)); err != nil {
				return err
			}
		}
		return nil
	})
	store.View(ctx, s, "chat", func(tx store.Tx) error {
		for e, err := range tx.Scan(store.Keys, store.Range{Prefix: "message/", Reverse: true, Limit: 2}) {
			if err != nil {
				return err
			}
			fmt.Printf("%s: %s\n", e.Key, e.Value)
		}
		return nil
	})
	// Output:
	// message/002: !
	// message/001: world
}
