package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"time"
)

// Redis has no commands that people add in another language than C, but
// functions in Lua: FCALL is its script, PING what it can do without one.
var (
	redisPing  = redisContender("redis-ping", "redis-server, PING", "PONG", "PING")
	redisFcall = redisContender("redis-fcall", "redis-server, FCALL (Lua)", "3", "FCALL", "sum", "0", "1", "2")
)

const redisLibrary = `#!lua name=maths
redis.register_function('sum', function(keys, args) return tonumber(args[1]) + tonumber(args[2]) end)`

func redisContender(name, title, want string, command ...string) contender {
	return contender{
		name: name, title: title, needs: "redis-server",
		has: func(ctx context.Context) (string, error) {
			text, err := output(ctx, "redis-server", "--version")
			var version string
			for field := range bytes.FieldsSeq([]byte(text)) {
				if v, ok := bytes.CutPrefix(field, []byte("v=")); ok {
					version = string(v)
				}
			}
			return version, err
		},
		start: func(ctx context.Context, b *bench) (*running, error) { return b.startRedis(ctx, want, command) },
	}
}

// startRedis starts a server that keeps nothing on disk, with the library.
func (b *bench) startRedis(ctx context.Context, want string, command []string) (*running, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := b.mkdir("redis")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, address, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	if err != nil {
		return nil, err
	}
	server := &running{address, []*process{p}, func(ctx context.Context, s shape, t time.Duration) (report, error) {
		return loadLines(ctx, s, t, func() (line, error) {
			nc, err := net.Dial("tcp", address)
			return pipeline{nc, respOf(command...), func(r *bufio.Reader) error { return expectRESP(r, want) }}, err
		})
	}}
	if err := loadLibrary(address); err != nil {
		_ = server.stop()
		return nil, err
	}
	return server, nil
}

func loadLibrary(address string) error {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := nc.Write(respOf("FUNCTION", "LOAD", redisLibrary)); err != nil {
		return err
	}
	r := bufio.NewReader(nc)
	if err := expectRESP(r, "5"); err != nil { // how long the library's name is
		return err
	}
	return expectRESP(r, "maths")
}

// respOf is a command as clients of Redis send it.
func respOf(words ...string) (out []byte) {
	out = fmt.Appendf(out, "*%d\r\n", len(words))
	for _, word := range words {
		out = fmt.Appendf(out, "$%d\r\n%s\r\n", len(word), word)
	}
	return out
}

// expectRESP reads a line: a string or a number of Redis's, the length of a text
// or the text itself.
func expectRESP(r *bufio.Reader, want string) error {
	got, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	got = bytes.TrimSuffix(got, []byte("\r\n"))
	if len(got) > 0 && bytes.IndexByte([]byte("+:$"), got[0]) >= 0 {
		got = got[1:]
	}
	if string(got) != want {
		return fmt.Errorf("redis-server answers %q instead of %q", got, want)
	}
	return nil
}
