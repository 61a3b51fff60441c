// Command bench measures amphost: beside others that answer the same calls, and
// beside itself. It is run in its own directory, and builds the amphost of the
// tree around it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: go run . COMMAND [flags]

  contenders  amphost beside other servers that answer the same call
  growth      how cost grows with connections, plugins, values and the store
  soak        reloads, connects, disconnects and calls, for minutes
  compare     this tree beside another revision

go run . COMMAND -h lists the flags.
`

// commands are what bench does. A command's arguments are those after its name.
var commands = map[string]func(ctx context.Context, args []string) error{}

func main() {
	ctx, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer restore()
	var run func(ctx context.Context, args []string) error
	if len(os.Args) > 1 {
		run = commands[os.Args[1]]
	}
	if run == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(ctx, os.Args[2:]); err != nil {
		restore()
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
