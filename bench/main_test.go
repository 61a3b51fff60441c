package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
)

// binaries is where amphostBinary builds.
var binaries string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	// The servers that are this program are the tests' binary here.
	if len(os.Args) > 1 && os.Args[1] == "server" {
		ctx, restore := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer restore()
		if err := runServer(ctx, os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	var err error
	if binaries, err = os.MkdirTemp("", "bench"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	return m.Run()
}

var builtOnce = sync.OnceValues(func() (string, error) { return build(context.Background(), "..", binaries) })

// amphostBinary is the amphost of this tree.
func amphostBinary(t *testing.T) string {
	t.Helper()
	binary, err := builtOnce()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}
