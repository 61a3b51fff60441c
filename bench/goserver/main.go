// Goserver answers Sum in Go. bench compare builds it with the packages of both
// trees, so that it uses only what has been there for long.
package main

import (
	"context"
	"log"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/amphost/amphost/amp"
)

type sumArgs struct {
	A int `amp:"a"`
	B int `amp:"b"`
}

type sumResult struct {
	Total int `amp:"total"`
}

func main() {
	debug.SetGCPercent(400) // much as amphost serve does
	sum := amp.Command[sumArgs, sumResult]{Name: "Sum"}
	var mux amp.Mux
	sum.Handle(&mux, func(_ context.Context, args sumArgs) (sumResult, error) {
		return sumResult{args.A + args.B}, nil
	})
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { _ = l.Close() })
	server := &amp.Server{Handler: &mux}
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}
