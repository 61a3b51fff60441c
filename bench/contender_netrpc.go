package main

import (
	"context"
	"fmt"
	"net"
	"net/rpc"
	"runtime"
	"time"
)

var netRPC = contender{
	name: "netrpc", title: "net/rpc",
	has: func(context.Context) (string, error) { return runtime.Version(), nil },
	start: func(ctx context.Context, b *bench) (*running, error) {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		p, err := start(ctx, address, b.self, "server", "netrpc", address)
		if err != nil {
			return nil, err
		}
		return &running{address, []*process{p}, func(ctx context.Context, s shape, t time.Duration) (report, error) {
			return loadLines(ctx, s, t, func() (line, error) {
				client, err := rpc.Dial("tcp", address)
				if err != nil {
					return nil, err
				}
				return caller{func() error {
					var sum SumResult
					if err := client.Call("Maths.Sum", SumArgs{1, 2}, &sum); err != nil {
						return err
					}
					return isThree(sum.Total)
				}, client}, nil
			})
		}}, nil
	},
}

// isThree says whether a server has summed up 1 and 2.
func isThree[T int | int64](total T) error {
	if total != 3 {
		return fmt.Errorf("1 + 2 = %d", total)
	}
	return nil
}

// Maths is the service; net/rpc finds its methods.
type Maths struct{}

// Sum is called by its clients.
func (Maths) Sum(args SumArgs, result *SumResult) error {
	result.Total = args.A + args.B
	return nil
}

func serveNetRPC(_ context.Context, l listen, _ []string) error {
	server := rpc.NewServer()
	if err := server.Register(Maths{}); err != nil {
		return err
	}
	return accept(l, func(nc net.Conn) { server.ServeConn(nc) })
}
