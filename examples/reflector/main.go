// Reflector is a server that knows no commands: it sends back every box, the
// empty one too.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"

	"github.com/amphost/amphost/amp"
)

// A reflector is a box receiver: it gets whole boxes.
type reflector struct{ conn *amp.Conn }

func (r *reflector) StartReceivingBoxes(c *amp.Conn) { r.conn = c }

func (r *reflector) BoxReceived(b amp.Box) { r.conn.SendBox(b) }

func (r *reflector) StopReceivingBoxes(reason error) { log.Println("stopped:", reason) }

// A printer prints what comes back, and hangs up after so many boxes.
type printer struct {
	conn *amp.Conn
	left int
}

func (p *printer) StartReceivingBoxes(c *amp.Conn) { p.conn = c }

func (p *printer) BoxReceived(b amp.Box) {
	fmt.Printf("received: %q\n", b)
	if p.left--; p.left == 0 {
		p.conn.LoseConnection()
	}
}

func (p *printer) StopReceivingBoxes(error) {}

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "", "serve on this address")
	connect := flag.String("connect", "127.0.0.1:8750", "send boxes to this address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := func() error { return client(*connect) }
	if *listen != "" {
		run = func() error { return serve(ctx, *listen) }
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func client(address string) error {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	boxes := []amp.Box{{"hello": []byte("world")}, {}, {"_answer": []byte("7"), "empty": nil}}
	conn := amp.NewBoxConn(nc, &printer{left: len(boxes)}, nil)
	for _, box := range boxes {
		if err := conn.SendBox(box); err != nil {
			return err
		}
	}
	<-conn.Done()
	return nil
}

func serve(ctx context.Context, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &amp.Server{Receiver: func() amp.BoxReceiver { return new(reflector) }}
	context.AfterFunc(ctx, func() { server.Shutdown(context.Background()) })
	log.Println("listening on", l.Addr())
	if err := server.Serve(l); err != amp.ErrServerClosed {
		return err
	}
	return nil
}
