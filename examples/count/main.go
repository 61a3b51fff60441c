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

// A counter answers Count at one end.
type counter struct {
	counted chan error // told how counting ended at this end; nil if nobody waits
}

// received calls the other end, from within the call. An error of that is
// answered to whoever called here.
func (c *counter) received(ctx context.Context, args CountArgs) (CountResult, error) {
	log.Println("received:", args.N)
	next := args.N + 1
	if next == 10 {
		return CountResult{OK: true}, nil
	}
	log.Println("sending:", next)
	res, err := Count.Call(ctx, amp.ConnFrom(ctx), CountArgs{next})
	if next == 9 || err != nil {
		select {
		case c.counted <- err:
		default:
		}
	}
	return res, err
}

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "", "serve on this address")
	connect := flag.String("connect", "127.0.0.1:8750", "count with the server at this address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := func() error { return client(ctx, *connect) }
	if *listen != "" {
		run = func() error { return serve(ctx, *listen) }
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func client(ctx context.Context, address string) error {
	c := counter{counted: make(chan error, 1)}
	var mux amp.Mux
	Count.Handle(&mux, c.received)
	conn, err := amp.Dial(ctx, "tcp", address, &mux, nil)
	if err != nil {
		return err
	}
	log.Printf("connection established: %s to %s", conn.LocalAddr(), conn.RemoteAddr())
	if _, err = Count.Call(ctx, conn, CountArgs{1}); err == nil {
		// The other end may answer at once, and count on.
		select {
		case err = <-c.counted:
		case <-conn.Done():
			err = conn.Err()
		}
	}
	return errors.Join(err, conn.Close())
}

func serve(ctx context.Context, address string) error {
	var c counter
	var mux amp.Mux
	Count.Handle(&mux, c.received)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &amp.Server{
		Handler:   &mux,
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
