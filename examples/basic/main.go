// Basic is the least server and the least client: the one knows no command, the
// other calls none.
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

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "", "serve on this address")
	connect := flag.String("connect", "127.0.0.1:8750", "connect to this address")
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
	conn, err := amp.Dial(ctx, "tcp", address, nil, nil)
	if err != nil {
		return err
	}
	log.Println("connected to", conn.RemoteAddr())
	if _, err := conn.Call(ctx, "Hello", nil); !errors.Is(err, amp.ErrUnhandled) {
		return errors.Join(err, conn.Close())
	}
	log.Println("the server has no Hello; goodbye")
	return conn.Close()
}

func serve(ctx context.Context, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &amp.Server{
		OnConnect:    func(c *amp.Conn) { log.Println("connected:", c.RemoteAddr()) },
		OnDisconnect: func(c *amp.Conn, reason error) { log.Printf("disconnected: %s: %v", c.RemoteAddr(), reason) },
	}
	context.AfterFunc(ctx, func() { server.Shutdown(context.Background()) })
	log.Println("listening on", l.Addr())
	if err := server.Serve(l); err != amp.ErrServerClosed {
		return err
	}
	return nil
}
