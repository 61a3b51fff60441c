// Math-server adds and divides.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"

	"github.com/amphost/amphost/amp"
)

type SumArgs struct {
	A int `amp:"a"`
	B int `amp:"b"`
}

type SumResult struct {
	Total int `amp:"total"`
}

type DivideArgs struct {
	Numerator   int `amp:"numerator"`
	Denominator int `amp:"denominator"`
}

type DivideResult struct {
	Result float64 `amp:"result"`
}

var errZeroDivision = errors.New("division by zero")

var (
	Sum    = amp.Command[SumArgs, SumResult]{Name: "Sum"}
	Divide = amp.Command[DivideArgs, DivideResult]{
		Name:   "Divide",
		Errors: amp.ErrorCodes{{Code: "ZERO_DIVISION", Err: errZeroDivision}},
	}
)

func sum(_ context.Context, args SumArgs) (SumResult, error) {
	total := args.A + args.B
	log.Printf("Did a sum: %d + %d = %d", args.A, args.B, total)
	return SumResult{total}, nil
}

func divide(_ context.Context, args DivideArgs) (DivideResult, error) {
	if args.Denominator == 0 {
		return DivideResult{}, errZeroDivision
	}
	result := float64(args.Numerator) / float64(args.Denominator)
	log.Printf("Divided: %d / %d = %v", args.Numerator, args.Denominator, result)
	return DivideResult{result}, nil
}

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "127.0.0.1:1234", "serve on this address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var mux amp.Mux
	Sum.Handle(&mux, sum)
	Divide.Handle(&mux, divide)
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	server := &amp.Server{Handler: &mux}
	context.AfterFunc(ctx, func() { server.Shutdown(context.Background()) })
	log.Println("listening on", l.Addr())
	if err := server.Serve(l); err != amp.ErrServerClosed {
		log.Fatal(err)
	}
}
