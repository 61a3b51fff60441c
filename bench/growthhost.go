package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/amphost/amphost/amp"
)

// idle measures what idle connections hold.
func (g *growth) idle(ctx context.Context) (*finding, error) {
	xs := g.points(1000, 3000, 10_000)
	rows, err := g.medians(ctx, xs, func(ctx context.Context, x float64, dir string) (values []float64, err error) {
		for _, calls := range []bool{false, true} {
			err := g.with(ctx, ownPlugins, dir, manyConnections, func(p *process, address string) error {
				more, total, err := g.idleAt(ctx, p, address, dir, int(x), calls)
				values = append(values, more/1024)
				if calls {
					values = append(values, total/(1<<20))
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		return values, nil
	})
	if err != nil {
		return nil, err
	}
	f := &finding{
		name: "idle", title: "Idle connections",
		about:   "How much more is resident for each connection: one that has not called yet, and one that has called `Sum` once and waits. `plugins/count.js`, which greets them, has an object for each. What a server gives back when it has been at rest for ten seconds is not counted.",
		columns: []column{{"connections", whole}, {"has not called, KiB", figures(1)}, {"has called, KiB", figures(1)}, {"all of the process, MiB", figures(1)}},
		rows:    rows,
	}
	f.panels = []panel{{title: "resident KiB per idle connection", x: "connections", at: xs, goal: 10, curves: []curve{{"has not called", f.column(1)}, {"has called", f.column(2)}}}}
	last := rows[len(rows)-1]
	for i, which := range []string{"that has not called", "that has called"} {
		f.bars = append(f.bars, bar{"at most 10 KiB of memory per idle connection " + which, fmt.Sprintf("%.1f KiB with %s", last[1+i], whole(last[0])), last[1+i] <= 10})
	}
	return f, nil
}

// idleAt makes n connections, which call once if calls is set. It returns the
// bytes that are resident for each, and those of the process.
func (g *growth) idleAt(ctx context.Context, p *process, address, dir string, n int, calls bool) (each, all float64, err error) {
	var conns []*amp.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	connect := func(call bool) error {
		conn, err := amp.Dial(ctx, "tcp", address, nil, nil)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		if !call {
			return nil
		}
		answer, err := conn.Call(ctx, "Sum", sumArgs)
		if err != nil {
			return err
		}
		return isSum(answer)
	}
	if err := connect(true); err != nil { // what the first call takes is not a connection's
		return 0, 0, err
	}
	before, err := p.atRest(ctx, g.binary, dir)
	if err != nil {
		return 0, 0, err
	}
	for range n {
		if err := connect(calls); err != nil {
			return 0, 0, err
		}
	}
	for { // the last may not have been accepted yet
		after, err := p.atRest(ctx, g.binary, dir)
		if err != nil {
			return 0, 0, err
		}
		if after.Connections > n {
			return float64(after.resident-before.resident) / float64(n), float64(after.resident), nil
		}
	}
}

// startup measures the time to the first answer, and what plugins hold.
func (g *growth) startup(ctx context.Context) (*finding, error) {
	xs := g.points(1, 10, 100, 1000)
	rows, err := g.medians(ctx, xs, func(ctx context.Context, x float64, dir string) (values []float64, err error) {
		err = g.among(ctx, int(x), dir, func(p *process, _, _ string, ready time.Duration) error {
			m, err := p.held(ctx, g.binary, dir)
			values = []float64{ready.Seconds() * 1000, float64(m.resident) / (1 << 20), float64(m.Heap) / (1 << 20)}
			return err
		})
		return values, err
	})
	if err != nil {
		return nil, err
	}
	one := rows[0]
	for i, row := range rows {
		resident, live := math.NaN(), math.NaN()
		if i > 0 {
			resident, live = 1024*(row[2]-one[2])/(row[0]-one[0]), 1024*(row[3]-one[3])/(row[0]-one[0])
		}
		rows[i] = []float64{row[0], row[1], row[2], resident, live}
	}
	f := &finding{
		name: "startup", title: "Start, and memory of plugins",
		about:   "From starting the program, with an empty store, to the first answer; all plugins have been built and started by then. Then what is resident, and how much more that is for each plugin than with one.",
		columns: []column{{"plugins", whole}, {"ready after, ms", whole}, {"resident, MiB", figures(1)}, {"per plugin, KiB", whole}, {"of it live heap, KiB", whole}},
		rows:    rows,
	}
	f.panels = []panel{
		{title: "milliseconds until ready", x: "plugins", at: xs, log: true, curves: []curve{{"", f.column(1)}}},
		{title: "resident MiB", x: "plugins", at: xs, log: true, curves: []curve{{"", f.column(2)}}},
	}
	for _, goal := range []struct{ plugins, ms float64 }{{10, 200}, {100, 1000}} {
		if row := f.at(goal.plugins); row != nil {
			f.bars = append(f.bars, bar{fmt.Sprintf("%s plugins are ready within %s ms", whole(goal.plugins), whole(goal.ms)), whole(row[1]) + " ms", row[1] <= goal.ms})
		}
	}
	return f, nil
}

// How a reload is measured: so many saves, whose median counts, and how long the
// plugin is left alone between asking which version answers.
const (
	saves     = 15
	askEvery  = 500 * time.Microsecond
	reloadBar = 1.25 // times the cost with one plugin
)

// reload measures the replacement of one plugin beside others.
func (g *growth) reload(ctx context.Context) (*finding, error) {
	xs := g.points(1, 10, 100, 1000)
	rows, err := g.medians(ctx, xs, func(ctx context.Context, x float64, dir string) (values []float64, err error) {
		err = g.among(ctx, int(x), dir, func(p *process, address, plugins string, _ time.Duration) error {
			took, cpu, err := reloads(ctx, p, address, plugins, saves)
			values = []float64{took.Seconds() * 1000, cpu.Seconds() * 1000}
			return err
		})
		return values, err
	})
	if err != nil {
		return nil, err
	}
	f := &finding{
		name: "reload", title: "A reload beside other plugins",
		about:   "From the end of the write of one plugin's file to the first answer of its new version, and the CPU time that the server takes for it, while the others are loaded.",
		columns: []column{{"plugins", whole}, {"new version answers after, ms", figures(1)}, {"CPU time, ms", figures(1)}},
		rows:    rows,
	}
	f.panels = []panel{{title: "milliseconds of a reload", x: "plugins", at: xs, curves: []curve{{"until it answers", f.column(1)}, {"CPU time", f.column(2)}}}}
	if row := f.at(1000); row != nil {
		times := ratio(row[1], rows[0][1])
		f.bars = []bar{{fmt.Sprintf("beside 1,000 plugins a reload takes what it takes with one, within %.0f %%", 100*(reloadBar-1)), fmt.Sprintf("%.2f times that", times), times <= reloadBar}}
	}
	return f, nil
}

// reloads saves the first of the plugins of writePlugins over and over. It
// returns the median of the time until its new version answers, and the server's
// mean CPU time for one.
func reloads(ctx context.Context, p *process, address, plugins string, n int) (took, cpu time.Duration, err error) {
	conn, err := amp.Dial(ctx, "tcp", address, nil, nil)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	save := func(version int) (time.Duration, error) {
		if err := os.WriteFile(pluginFile(plugins, 0), sumPlugin(0, version), 0o644); err != nil {
			return 0, err
		}
		began := time.Now()
		for {
			answer, err := conn.Call(ctx, commandOf(0), sumArgs)
			if err != nil {
				return 0, err
			}
			if string(answer["version"]) == strconv.Itoa(version) {
				return time.Since(began), nil
			}
			if time.Since(began) > time.Minute {
				return 0, fmt.Errorf("version %d of a plugin does not answer", version)
			}
			select {
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			case <-time.After(askEvery):
			}
		}
	}
	if _, err := save(1); err != nil { // the first may come before the watch
		return 0, 0, err
	}
	var all []time.Duration
	before, err := p.cpu()
	if err != nil {
		return 0, 0, err
	}
	for i := range n {
		one, err := save(2 + i)
		if err != nil {
			return 0, 0, err
		}
		all = append(all, one)
		// Files that are saved together are taken together: this is to be alone.
		select {
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
	after, err := p.cpu()
	slices.Sort(all)
	return all[len(all)/2], (after - before) / time.Duration(n), err
}
