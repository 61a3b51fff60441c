// Locator has commands answered by an object that knows nothing of any network,
// and serves it in several ways at once.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/amphost/amphost/amp"
)

// A shouter answers Shout. It is a whole amp.Handler by itself; an amp.Mux would
// be another.
type shouter struct{}

func (shouter) ServeAMP(r *amp.Request) {
	if r.Command != "Shout" {
		r.Fail(amp.ErrUnhandled)
		return
	}
	text, _ := r.Arg("text")
	r.Answer(amp.Box{"text": []byte(strings.ToUpper(string(text)))})
}

func main() {
	log.SetFlags(0)
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	// Without a network.
	args := amp.Box{"text": []byte("hello")}
	box, err := amp.Ask(ctx, shouter{}, "Shout", args)
	if err != nil {
		return err
	}
	fmt.Printf("in this process: %s\n", box["text"])

	// In two servers. Connections answer StartTLS themselves, whatever the
	// handler is.
	dir, err := os.MkdirTemp("", "locator")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, where := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"},
		{"unix", filepath.Join(dir, "socket")},
	} {
		l, err := net.Listen(where.network, where.address)
		if err != nil {
			return err
		}
		server := &amp.Server{Handler: shouter{}}
		go server.Serve(l) // ends with Close
		text, err := shout(ctx, where.network, l.Addr().String(), args)
		server.Close()
		if err != nil {
			return err
		}
		fmt.Printf("over %s: %s\n", where.network, text)
	}
	return nil
}

func shout(ctx context.Context, network, address string, args amp.Box) (string, error) {
	conn, err := amp.Dial(ctx, network, address, nil, nil)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// The server's certificate is made on the fly, and nobody can verify it.
	if err := conn.StartTLS(ctx, &tls.Config{InsecureSkipVerify: true}); err != nil {
		return "", err
	}
	box, err := conn.Call(ctx, "Shout", args)
	return string(box["text"]), err
}
