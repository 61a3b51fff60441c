package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/amphost/amphost/bench/sumpb"
)

// grpcGo answers unary calls.
var grpcGo = contender{
	name: "grpc", title: "gRPC-Go",
	has: func(context.Context) (string, error) { return grpc.Version, nil },
	start: func(ctx context.Context, b *bench) (*running, error) {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		p, err := start(ctx, address, b.self, "server", "grpc", address)
		if err != nil {
			return nil, err
		}
		return &running{address, []*process{p}, func(ctx context.Context, s shape, t time.Duration) (report, error) {
			return loadLines(ctx, s, t, func() (line, error) {
				conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					return nil, err
				}
				client := sumpb.NewMathsClient(conn)
				return caller{func() error {
					sum, err := client.Sum(context.Background(), &sumpb.SumRequest{A: 1, B: 2})
					if err != nil {
						return err
					}
					return isThree(sum.Total)
				}, conn}, nil
			})
		}}, nil
	},
}

type grpcMaths struct{ sumpb.UnimplementedMathsServer }

func (grpcMaths) Sum(_ context.Context, args *sumpb.SumRequest) (*sumpb.SumResponse, error) {
	return &sumpb.SumResponse{Total: args.A + args.B}, nil
}

func serveGRPC(_ context.Context, listen listen, _ []string) error {
	l, err := listen()
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	sumpb.RegisterMathsServer(server, grpcMaths{})
	return server.Serve(l)
}
