// Count has two programs count to nine together: each calls the other over one
// connection.
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

type CountArgs struct {
	N int `amp:"n"`
}

type CountResult struct {
	OK bool `amp:"ok"`
}

var Count = amp.Command[CountArgs, CountResult]{Name: "Count"}

// received answers Count at both ends: it calls the other one, from within the
// call. An error of that is answered to whoever called here.
func received(ctx context.Context, args CountArgs) (CountResult, error) {
	log.Println("received:", args.N)
	if next := args.N + 1; next < 10 {
		log.Println("sending:", next)
		return Count.Call(ctx, amp.ConnFrom(ctx), CountArgs{next})
	}
	return CountResult{OK: true}, nil
}

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "", "serve on this address")
	connect := flag.String("connect", "127.0.0.1:8750", "count with the server at this address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var mux amp.Mux
	Count.Handle(&mux, received)
	if err := run(ctx, &mux, *listen, *connect); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, mux *amp.Mux, listen, connect string) error {
	if listen == "" {
		conn, err := amp.Dial(ctx, "tcp", connect, mux, nil)
		if err != nil {
			return err
		}
		log.Printf("connection established: %s to %s", conn.LocalAddr(), conn.RemoteAddr())
		_, err = Count.Call(ctx, conn, CountArgs{1})
		return errors.Join(err, conn.Close())
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &amp.Server{
		Handler:   mux,
		OnConnect: func(c *amp.Conn) { log.Printf("connection established: %s to %s", c.RemoteAddr(), c.LocalAddr()) },
		OnDisconnect: func(c *amp.Conn, reason error) {
			log.Printf("connection lost: %s to %s: %v", c.RemoteAddr(), c.LocalAddr(), reason)
		},
	}
	context.AfterFunc(ctx, func() { server.Shutdown(context.Background()) })
	log.Println("listening on", l.Addr())
	if err := server.Serve(l); err != amp.ErrServerClosed {
		return err
	}
	return nil
}
