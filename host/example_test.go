package host_test

import (
	"context"
	"fmt"
	"log"
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

// Greet is a command that is answered in Go.
var Greet = amp.Command[greetArgs, greetResult]{Name: "Greet"}

func greet(_ context.Context, args greetArgs) (greetResult, error) {
	return greetResult{Text: "hello " + args.Name}, nil
}

// A program that serves commands in Go and in scripts. Each calls the other
// without a connection: the script testdata/plugins/welcome.js has
// amp.call(Greet, { name }) in its responder for Welcome.
func Example() {
	ctx := context.Background()
	var commands amp.Mux
	Greet.Handle(&commands, greet)
	h, err := host.New(ctx, host.Config{
		Plugins:  "testdata/plugins",
		Commands: &commands,
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Shutdown(ctx)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go h.Serve(l) // until Shutdown, for clients elsewhere
	answer, err := amp.Ask(ctx, h, "Welcome", amp.Box{"name": []byte("Ada")})
	fmt.Printf("%s %v\n", answer["text"], err)
	// Output: hello Ada, and welcome <nil>
}
