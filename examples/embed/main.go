// Embed is a program with commands of its own beside those of plugins: what is
// the program's to know is answered in Go, what people want to change as it
// runs is in embed/plugins.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
	"github.com/amphost/amphost/store/boltstore"
)

type TemperatureArgs struct {
	Place string `amp:"place"`
}

type TemperatureResult struct {
	Celsius float64 `amp:"celsius"`
}

var ErrNoSuchPlace = errors.New("no such place")

// Temperature is answered here. Plugins call it with amp.call.
var Temperature = amp.Command[TemperatureArgs, TemperatureResult]{
	Name:   "Temperature",
	Errors: amp.ErrorCodes{{"NO_SUCH_PLACE", ErrNoSuchPlace}},
}

// thermometers is what the program has, and plugins have not.
var thermometers = map[string]float64{"attic": 31.5, "cellar": 8}

func temperature(_ context.Context, args TemperatureArgs) (TemperatureResult, error) {
	celsius, ok := thermometers[args.Place]
	if !ok {
		return TemperatureResult{}, fmt.Errorf("%w: %s", ErrNoSuchPlace, args.Place)
	}
	return TemperatureResult{celsius}, nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8750", "the address to serve on")
	plugins := flag.String("plugins", "examples/embed/plugins", "the directory of plugins")
	path := flag.String("store", "embed.db", "the file of what plugins keep")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *plugins, *path); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, plugins, path string) error {
	st, err := boltstore.Open(path, nil)
	if err != nil {
		return err
	}
	defer st.Close() // after the host has stopped

	var commands amp.Mux
	Temperature.Handle(&commands, temperature)
	h, err := host.New(ctx, host.Config{
		Plugins:  plugins,
		Watch:    true,
		Commands: &commands,
		Script:   scripting.Options{Store: st},
	})
	if err != nil {
		return err
	}

	// Go calls a plugin as it calls anything that answers AMP: no network.
	answer, err := amp.Ask(ctx, h, "Describe", amp.Box{"place": []byte("attic")})
	if err != nil {
		log.Println("Describe:", err)
	} else {
		log.Printf("%s", answer["text"])
	}

	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	log.Println("listening on", l.Addr())
	serving := h.Serve(l) // until l is closed

	// Calls that are under way get some time to finish.
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = h.Shutdown(grace)
	if ctx.Err() == nil {
		return errors.Join(serving, err)
	}
	return err
}
