// Math-client calls a server now and then, over a connection that comes back
// by itself.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/amphost/amphost/amp"
)

type SumArgs struct {
	A int `amp:"a"`
	B int `amp:"b"`
}

type SumResult struct {
	Total int `amp:"total"`
}

var Sum = amp.Command[SumArgs, SumResult]{Name: "Sum"}

func main() {
	log.SetFlags(0)
	connect := flag.String("connect", "127.0.0.1:1234", "the server's address")
	second := flag.Duration("second", time.Second, "how long a second lasts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	client := amp.NewClient(func(ctx context.Context) (*amp.Conn, error) {
		return amp.Dial(ctx, "tcp", *connect, nil, nil)
	}, &amp.ClientOptions{MaxPause: *second})
	defer client.Close()
	start := time.Now()
	for _, s := range []int{1, 3, 6, 9, 12, 15, 18} {
		select {
		case <-time.After(time.Until(start.Add(time.Duration(s) * *second))):
		case <-ctx.Done():
			return
		}
		// While there is no connection this waits for one.
		res, err := Sum.Call(ctx, client, SumArgs{1, 5})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("{'total': %d}\n", res.Total)
	}
}
