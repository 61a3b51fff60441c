package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func init() { commands["growth"] = growthCommand }

// growths are the measurements, in the order of the document.
var growths = []struct {
	name    string
	measure func(*growth, context.Context) (*finding, error)
}{
	{"connections", (*growth).connections},
	{"plugins", (*growth).plugins},
	{"values", (*growth).values},
	{"idle", (*growth).idle},
	{"startup", (*growth).startup},
	{"reload", (*growth).reload},
	{"inflight", (*growth).inFlight},
	{"users", (*growth).users},
}

// A growth is one run of the measurements.
type growth struct {
	binary string
	dir    string        // temporary, for plugins and stores
	time   time.Duration // of one load
	rounds int           // whose median counts
	most   float64       // x goes no further
}

func growthCommand(ctx context.Context, args []string) error {
	var names []string
	for _, each := range growths {
		names = append(names, each.name)
	}
	g := new(growth)
	flags := flag.NewFlagSet("growth", flag.ExitOnError)
	only := flags.String("only", strings.Join(names, ","), "which `measurements` to make")
	flags.DurationVar(&g.time, "time", 5*time.Second, "how long each load lasts")
	flags.IntVar(&g.rounds, "rounds", 3, "how many rounds there are, whose median counts")
	flags.Float64Var(&g.most, "most", math.Inf(1), "leave out everything with more than so many connections, plugins, bytes, calls or users")
	temp := flags.String("dir", "", "where stores and plugins are put for the time (default the system's directory for that)")
	document := flags.String("doc", "../docs/performance.md", "`document` whose tables and pictures are written; - prints the tables alone")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen := strings.Split(*only, ",")
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-only: there is no %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	if flags.NArg() > 0 || g.rounds < 1 || g.time <= 0 {
		return errors.New("-rounds and -time are more than zero, and there are no arguments but flags")
	}
	var err error
	if g.dir, err = os.MkdirTemp(*temp, "growth"); err != nil {
		return err
	}
	defer os.RemoveAll(g.dir)
	if g.binary, err = build(ctx, "..", g.dir); err != nil {
		return err
	}
	when := fmt.Sprintf("%s Medians of %d rounds; a load lasts %v.", measuredAt(ctx), g.rounds, g.time)
	if g.rounds == 1 {
		when = fmt.Sprintf("%s One round; a load lasts %v.", measuredAt(ctx), g.time)
	}
	for _, each := range growths {
		if !slices.Contains(chosen, each.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, each.name)
		f, err := each.measure(g, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", each.name, err)
		}
		fmt.Printf("%s\n\n%s\n", f.title, f.table())
		for _, b := range f.bars {
			fmt.Printf("%s\n\n", b)
		}
		if *document != "-" {
			if err := f.save(*document, when); err != nil {
				return err
			}
		}
	}
	return nil
}

// points returns those of the values of x that are to be measured.
func (g *growth) points(all ...float64) []float64 {
	var out []float64
	for _, x := range all {
		if x <= g.most || len(out) == 0 {
			out = append(out, x)
		}
	}
	return out
}

// medians measures every x once in each round, and returns rows that begin with
// x and go on with the median of each value.
func (g *growth) medians(ctx context.Context, xs []float64, measure func(ctx context.Context, x float64, dir string) ([]float64, error)) ([][]float64, error) {
	all := make([][][]float64, len(xs)) // by x and column
	for round := range g.rounds {
		for i, x := range xs {
			dir, err := os.MkdirTemp(g.dir, "")
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "  round %d of %d: %s\n", round+1, g.rounds, shortNumber(x))
			values, err := measure(ctx, x, dir)
			if err != nil {
				return nil, fmt.Errorf("at %s: %w", shortNumber(x), err)
			}
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
			if all[i] == nil {
				all[i] = make([][]float64, len(values))
			}
			for j, v := range values {
				all[i][j] = append(all[i][j], v)
			}
		}
	}
	rows := make([][]float64, len(xs))
	for i, x := range xs {
		rows[i] = []float64{x}
		for _, values := range all[i] {
			rows[i] = append(rows[i], median(values))
		}
	}
	return rows, nil
}

// median returns the middle of values, and NaN if there are none or one is NaN.
func median(values []float64) float64 {
	if len(values) == 0 || slices.ContainsFunc(values, math.IsNaN) {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// with starts a server for the time of use.
func (g *growth) with(ctx context.Context, plugins, dir string, flags []string, use func(p *process, address string) error) (err error) {
	p, address, err := serve(ctx, g.binary, plugins, dir, flags...)
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := p.stop(); err == nil {
			err = stopErr
		}
	}()
	return use(p, address)
}

// among starts a server with so many plugins for the time of use, which is called
// once the first of them has answered, ready after the start, and the server has
// come to rest.
func (g *growth) among(ctx context.Context, n int, dir string, use func(p *process, address, plugins string, ready time.Duration) error) error {
	plugins, err := writePlugins(dir, n)
	if err != nil {
		return err
	}
	began := time.Now()
	return g.with(ctx, plugins, dir, nil, func(p *process, address string) error {
		answered, err := firstAnswer(ctx, address)
		if err != nil {
			return err
		}
		if err := p.quiet(ctx); err != nil {
			return err
		}
		return use(p, address, plugins, answered.Sub(began))
	})
}

// measuredAt says what was measured, and on what.
func measuredAt(ctx context.Context) string {
	return fmt.Sprintf("Measured at `%s`: %s", revision(ctx), machine())
}

// ownPlugins is the directory of the project's plugins.
var ownPlugins = filepath.Join("..", "plugins")

// How numbers are shown in tables.
func whole(v float64) string { return grouped(int64(math.Round(v))) }
func figures(n int) func(float64) string {
	return func(v float64) string { return fmt.Sprintf("%.*f", n, v) }
}

// grouped writes 12500 as 12,500.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
