package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// natsServer is Debian's, which is not on everybody's path.
const natsServer = "/usr/sbin/nats-server"

// nats is two servers: nats-server, and who answers the requests that it passes on.
var nats = contender{
	name: "nats", title: "NATS, request/reply", needs: "nats-server",
	has: func(ctx context.Context) (string, error) {
		text, err := output(ctx, natsServer, "--version")
		return strings.TrimPrefix(text, "nats-server: v"), err
	},
	start: startNATS,
}

func startNATS(ctx context.Context, b *bench) (server *running, err error) {
	server = new(running)
	defer func() {
		if err != nil {
			err = errors.Join(err, server.stop())
		}
	}()
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	broker, err := start(ctx, address, natsServer, "-a", host, "-p", port)
	if err != nil {
		return nil, err
	}
	server.address, server.processes = address, append(server.processes, broker)
	ready, err := freeAddress()
	if err != nil {
		return nil, err
	}
	responder, err := start(ctx, ready, b.self, "server", "nats", ready, address)
	if err != nil {
		return nil, err
	}
	server.processes = append(server.processes, responder)
	server.load = func(ctx context.Context, s shape, t time.Duration) (report, error) {
		return loadLines(ctx, s, t, func() (line, error) {
			nc, err := natsgo.Connect("nats://" + address)
			if err != nil {
				return nil, err
			}
			return caller{func() error {
				m, err := nc.Request("sum", []byte("1 2"), patience)
				if err != nil {
					return err
				}
				total, err := strconv.Atoi(string(m.Data))
				if err != nil {
					return err
				}
				return isThree(total)
			}, closer(nc.Close)}, nil
		})
	}
	return server, nil
}

// A closer is a Close that cannot fail.
type closer func()

func (c closer) Close() error {
	c()
	return nil
}

// serveNATS answers requests of the nats-server at args[0]. It does not speak to
// who connects to l: that it accepts connections says that it is ready.
func serveNATS(ctx context.Context, l listen, args []string) error {
	if len(args) != 1 {
		return errors.New("the address of a nats-server is missing")
	}
	nc, err := natsgo.Connect("nats://" + args[0])
	if err != nil {
		return err
	}
	defer nc.Close()
	_, err = nc.Subscribe("sum", func(m *natsgo.Msg) {
		_ = m.Respond(answerNATS(m.Data)) // who is not there any more needs no answer
	})
	if err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	if _, err := l(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// answerNATS sums up two numbers with a space between them.
func answerNATS(request []byte) []byte {
	first, second, _ := strings.Cut(string(request), " ")
	a, err := strconv.Atoi(first)
	if err != nil {
		return []byte(err.Error())
	}
	b, err := strconv.Atoi(second)
	if err != nil {
		return []byte(err.Error())
	}
	return strconv.AppendInt(nil, int64(a+b), 10)
}
