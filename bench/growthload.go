package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/amphost/amphost/amp"
)

// manyConnections lifts what a single address may not have otherwise.
var manyConnections = []string{"--limit", "connections=off", "--limit", "connections-per-address=off"}

// steadyRate is the rate, in calls a second, at which connections are compared
// when each of them does little.
const steadyRate = 5000

// connections measures Sum over the number of connections.
func (g *growth) connections(ctx context.Context) (*finding, error) {
	xs := g.points(1, 10, 100, 1000, 10_000)
	rows, err := g.medians(ctx, xs, func(ctx context.Context, x float64, dir string) (values []float64, err error) {
		err = g.with(ctx, ownPlugins, dir, manyConnections, func(_ *process, address string) error {
			full, err := loadAMP(ctx, g.binary, address, shape{int(x), 1}, g.time, "Sum", "a=13", "b=81")
			if err != nil {
				return err
			}
			steady, err := loadAMP(ctx, g.binary, address, shape{int(x), 64}, g.time, "Sum", "a=13", "b=81", "--rate", fmt.Sprint(steadyRate))
			values = []float64{full.Rate, full.Latency["p50"], full.Latency["p99"], steady.Latency["p99"]}
			return err
		})
		return values, err
	})
	if err != nil {
		return nil, err
	}
	f := &finding{
		name: "connections", title: "Connections",
		about:   fmt.Sprintf("`Sum` of `plugins/math.js`, one call in flight on each connection, as fast as it goes; and the p99 of %s calls a second in all, spread over the connections.", grouped(steadyRate)),
		columns: []column{{"connections", whole}, {"calls/s", whole}, {"p50, ms", figures(2)}, {"p99, ms", figures(2)}, {fmt.Sprintf("p99 at %s calls/s, ms", grouped(steadyRate)), figures(2)}},
		rows:    rows,
	}
	f.panels = []panel{
		{title: "calls a second", x: "connections", at: xs, curves: []curve{{"", f.column(1)}}},
		{title: "p99 in milliseconds", x: "connections", at: xs, log: true, curves: []curve{{"as fast as it goes", f.column(3)}, {fmt.Sprintf("%s calls/s", grouped(steadyRate)), f.column(4)}}},
	}
	return f, nil
}

// plugins measures calls over the number of plugins.
func (g *growth) plugins(ctx context.Context) (*finding, error) {
	xs := g.points(1, 10, 100, 1000)
	s := shape{8, 64}
	rows, err := g.medians(ctx, xs, func(ctx context.Context, x float64, dir string) (values []float64, err error) {
		err = g.among(ctx, int(x), dir, func(_ *process, address, _ string, _ time.Duration) error {
			for _, called := range []int64{1, int64(x)} {
				r, err := drive(ctx, address, s, g.time, func(n int64) call {
					return call{command: commandOf(int(n % called)), args: sumArgs, check: isSum}
				})
				if err != nil {
					return err
				}
				values = append(values, r.Rate, r.Latency["p99"])
			}
			return nil
		})
		return values, err
	})
	if err != nil {
		return nil, err
	}
	f := &finding{
		name: "plugins", title: "Plugins",
		about:   fmt.Sprintf("Plugins like `plugins/math.js`, %s connections × calls in flight: of one of them, while the others are idle, and of all in turn. The calls are made with package `amp`, which costs more than `amphost bench`.", s),
		columns: []column{{"plugins", whole}, {"one is called, calls/s", whole}, {"p99, ms", figures(2)}, {"all are called, calls/s", whole}, {"p99, ms", figures(2)}},
		rows:    rows,
	}
	f.panels = []panel{
		{title: "calls a second", x: "plugins", at: xs, curves: []curve{{"one is called", f.column(1)}, {"all are called", f.column(3)}}},
		{title: "p99 in milliseconds", x: "plugins", at: xs, curves: []curve{{"one is called", f.column(2)}, {"all are called", f.column(4)}}},
	}
	return f, nil
}

// values measures a command that echoes, over the size of its value.
func (g *growth) values(ctx context.Context) (*finding, error) {
	xs := g.points(10, 100, 1000, 10_000, amp.MaxValue)
	s := shape{8, 8}
	rows, err := g.medians(ctx, xs, func(ctx context.Context, x float64, dir string) (values []float64, err error) {
		plugins, err := writeEcho(dir)
		if err != nil {
			return nil, err
		}
		err = g.with(ctx, plugins, dir, nil, func(_ *process, address string) error {
			for _, command := range []string{"EchoString", "EchoUnicode"} {
				r, err := loadAMP(ctx, g.binary, address, s, g.time, command, "value="+strings.Repeat("x", int(x)))
				if err != nil {
					return err
				}
				values = append(values, r.Rate, r.Rate*x/1e6, r.Latency["p99"])
			}
			return nil
		})
		return values, err
	})
	if err != nil {
		return nil, err
	}
	f := &finding{
		name: "values", title: "Values",
		about: fmt.Sprintf("A command that answers with its argument, %s connections × calls in flight: `amp.String()`, which is bytes, and `amp.Unicode()`, which is text. A MB is a million bytes of value, each way.", s),
		columns: []column{
			{"bytes", whole}, {"String, calls/s", whole}, {"MB/s", figures(1)}, {"p99, ms", figures(2)},
			{"Unicode, calls/s", whole}, {"MB/s", figures(1)}, {"p99, ms", figures(2)},
		},
		rows: rows,
	}
	f.panels = []panel{
		{title: "calls a second", x: "bytes of value", at: xs, shown: sizeLabel, curves: []curve{{"String", f.column(1)}, {"Unicode", f.column(4)}}},
		{title: "megabytes a second", x: "bytes of value", at: xs, shown: sizeLabel, curves: []curve{{"String", f.column(2)}, {"Unicode", f.column(5)}}},
		{title: "p99 in milliseconds", x: "bytes of value", at: xs, shown: sizeLabel, curves: []curve{{"String", f.column(3)}, {"Unicode", f.column(6)}}},
	}
	return f, nil
}

// sizeLabel writes amp.MaxValue as people call it.
func sizeLabel(x float64) string {
	if x == amp.MaxValue {
		return "64Ki"
	}
	return shortNumber(x)
}

// firstAnswer waits until the first of the plugins of writePlugins answers.
func firstAnswer(ctx context.Context, address string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := amp.Dial(ctx, "tcp", address, nil, nil)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close()
	answer, err := conn.Call(ctx, commandOf(0), sumArgs)
	if err == nil {
		err = isSum(answer)
	}
	return time.Now(), err
}

// ratio is a number of times.
func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}
