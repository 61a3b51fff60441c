package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/amphost/amphost/host"
)

// servers are the contenders, or parts of them, that are written in Go: this
// program, run once more as `bench server NAME ADDRESS [ARGUMENT ...]`. Each
// ends with ctx, and its listener does.
var servers = map[string]func(ctx context.Context, l listen, args []string) error{
	"amphost": serveAmphostGo,
	"bare":    serveBare,
	"netrpc":  serveNetRPC,
	"grpc":    serveGRPC,
	"nats":    serveNATS,
}

// listen starts to listen at ADDRESS: the server is ready.
type listen func() (net.Listener, error)

func init() { commands["server"] = runServer }

func runServer(ctx context.Context, args []string) error {
	if len(args) < 2 || servers[args[0]] == nil {
		return errors.New("server needs the name of a server and an address")
	}
	host.TuneGC(0) // as amphost serve does, for all of them
	err := servers[args[0]](ctx, func() (net.Listener, error) {
		l, err := net.Listen("tcp", args[1])
		if err == nil {
			context.AfterFunc(ctx, func() { _ = l.Close() })
		}
		return l, err
	}, args[2:])
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

// accept calls serve in a goroutine for each connection, until the listener is
// closed. They end with the process.
func accept(listen listen, serve func(nc net.Conn)) error {
	l, err := listen()
	if err != nil {
		return err
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go serve(nc) // until the peer leaves, or the process ends
	}
}
