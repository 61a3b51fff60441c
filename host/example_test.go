package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

type greetArgs struct {
	Name string `amp:"name"`
}

type greetResult struct {
	Text string `amp:"text"`
}

// Greet is a command that is answered in Go, beside the plugins'.
var Greet = amp.Command[greetArgs, greetResult]{Name: "Greet"}

func greet(_ context.Context, args greetArgs) (greetResult, error) {
	return greetResult{Text: "hello " + args.Name}, nil
}

func Example() {
	ctx := context.Background()

	var commands amp.Mux
	Greet.Handle(&commands, greet)
	h, err := host.New(ctx, host.Config{
		Plugins:  "../plugins",
		Watch:    true,
		Commands: &commands,
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go h.Serve(l)

	conn, err := amp.Dial(ctx, "tcp", l.Addr().String(), nil, nil)
	if err != nil {
		panic(err)
	}
	sum, err := conn.Call(ctx, "Sum", amp.Box{"a": []byte("13"), "b": []byte("81")})
	fmt.Printf("%s %v\n", sum["total"], err)
	greeting, err := Greet.Call(ctx, conn, greetArgs{Name: "Ada"})
	fmt.Printf("%s %v\n", greeting.Text, err)

	fmt.Println(h.Shutdown(ctx))
	// Output:
	// 94 <nil>
	// hello Ada <nil>
	// <nil>
}
