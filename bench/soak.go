package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func init() { commands["soak"] = soakCommand }

func soakCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	length := flags.Duration("time", 5*time.Minute, "how `long` it lasts")
	rests := flags.Int("rests", 10, "how often the server comes to rest, to see what it holds")
	temp := flags.String("dir", "", "where the store and the plugins are put for the time (default the system's directory for that)")
	document := flags.String("doc", "../docs/performance.md", "`document` whose table and picture are written; - prints the table alone")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *length <= 0 || *rests < 2 {
		return errors.New("-time is more than zero, -rests is two or more, and there are no arguments but flags")
	}
	dir, err := os.MkdirTemp(*temp, "soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := build(ctx, "..", dir)
	if err != nil {
		return err
	}
	f, err := soak(ctx, binary, dir, *length, *rests)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n\n%s\n", f.title, f.table())
	failed := false
	for _, b := range f.bars {
		fmt.Printf("%s\n\n", b)
		failed = failed || !b.reached
	}
	if *document != "-" {
		if err := f.save(*document, measuredAt(ctx)); err != nil {
			return err
		}
	}
	if failed {
		return errors.New("it is not as it should be")
	}
	return nil
}

// soak has a server do all it does, for some time, and looks at what it holds
// whenever it rests. An error means that it could not be tried; what was wrong
// is in the bars.
func soak(ctx context.Context, binary, dir string, length time.Duration, rests int) (f *finding, err error) {
	s, err := newSoaking(dir)
	if err != nil {
		return nil, err
	}
	p, address, err := serve(ctx, binary, s.plugins, dir, "--limit", "connections-per-address=off")
	if err != nil {
		return nil, err
	}
	s.address = address
	stopped := false
	defer func() {
		if !stopped {
			err = errors.Join(err, p.stop())
		}
	}()
	if _, err := firstAnswer(ctx, address); err != nil {
		return nil, err
	}
	f = &finding{
		name: "soak", title: "A soak",
		about: fmt.Sprintf("%.3g minutes of reloads, good and bad, of connects and disconnects of all kinds, of calls and of registrations, against one server. It rests %d times: what it holds then, after a collection.", length.Minutes(), rests),
		columns: []column{
			{"minutes", figures(1)}, {"calls", whole}, {"reloads", whole}, {"connects", whole}, {"users", whole},
			{"resident, MiB", figures(1)}, {"live heap, MiB", figures(2)}, {"goroutines", whole}, {"descriptors", whole},
		},
	}
	var at []holding
	for i := range rests {
		s.run(ctx, length/time.Duration(rests))
		h, err := s.rest(ctx, p, binary, dir)
		if err != nil {
			return nil, errors.Join(err, s.failure())
		}
		at = append(at, h)
		f.rows = append(f.rows, []float64{
			(length * time.Duration(i+1) / time.Duration(rests)).Minutes(),
			float64(s.calls.Load()), float64(s.reloads.Load()), float64(s.connects.Load()), float64(s.users.Load()),
			float64(h.resident) / (1 << 20), float64(h.Heap) / (1 << 20), float64(h.Goroutines), float64(h.Descriptors),
		})
		fmt.Fprintf(os.Stderr, "  rest %d of %d: %s calls, %.1f MiB live\n", i+1, rests, whole(float64(s.calls.Load())), float64(h.Heap)/(1<<20))
	}
	stopped = true
	if err := p.stop(); err != nil {
		s.fail(fmt.Errorf("the server's end: %w", err))
	}
	s.checkStore(ctx, binary, dir)

	wrong := s.failure()
	answers := bar{"no answer is lost or wrong", fmt.Sprintf("so for %s calls", whole(float64(s.calls.Load()))), wrong == nil}
	if wrong != nil {
		answers.got = fmt.Sprintf("not so: %d were, first %v", s.failures(), wrong)
	}
	f.bars = append([]bar{answers}, flat(at)...)
	minutes := f.column(0)
	f.panels = []panel{
		{title: "MiB", x: "minutes", shown: figures(1), linear: true, at: minutes, curves: []curve{{"live heap", f.column(6)}, {"resident", f.column(5)}}},
		{title: "goroutines and descriptors", x: "minutes", shown: figures(1), linear: true, at: minutes, curves: []curve{{"goroutines", f.column(7)}, {"descriptors", f.column(8)}}},
	}
	return f, nil
}

// What may differ between the first rest and the last: the heap by a tenth and
// what a few plugins take, for a rest may come while an old version still ends.
const (
	heapGrows       = 0.10
	heapMore        = 2 << 20
	goroutinesMore  = 5
	descriptorsMore = 3
)

// flat says whether what a server holds at its rests has grown from the first to
// the last. The smaller of the last two counts: a single rest may be too short.
func flat(at []holding) []bar {
	first, last, before := at[0], at[len(at)-1], at[max(len(at)-2, 1)]
	compare := func(what, unit string, of func(holding) float64, most float64) bar {
		got := min(of(last), of(before))
		return bar{
			text:    fmt.Sprintf("%s is flat, at most %s at the end", what, strings.TrimSuffix(shortNumber(math.Round(most*100)/100)+" "+unit, " ")),
			got:     fmt.Sprintf("%s, after %s", shortNumber(math.Round(got*100)/100), shortNumber(math.Round(of(first)*100)/100)),
			reached: got <= most,
		}
	}
	mib := func(h holding) float64 { return float64(h.Heap) / (1 << 20) }
	goroutines := func(h holding) float64 { return float64(h.Goroutines) }
	descriptors := func(h holding) float64 { return float64(h.Descriptors) }
	return []bar{
		compare("the live heap", "MiB", mib, mib(first)*(1+heapGrows)+heapMore/(1<<20)),
		compare("the number of goroutines", "", goroutines, goroutines(first)+goroutinesMore),
		compare("the number of descriptors", "", descriptors, descriptors(first)+descriptorsMore),
	}
}

// rest waits until the server has nothing to do, and asks it what it holds.
func (s *soaking) rest(ctx context.Context, p *process, binary, dir string) (holding, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, quietMost, errors.New("connections that were closed stay open at the server"))
	defer cancel()
	for {
		if err := p.quiet(ctx); err != nil {
			return holding{}, err
		}
		h, err := p.held(ctx, binary, dir)
		if err != nil || h.Connections == 0 && h.InFlight == 0 {
			return h, err
		}
	}
}

// checkStore checks that the store is whole, and has the users that were told
// so.
func (s *soaking) checkStore(ctx context.Context, binary, dir string) {
	store := filepath.Join(dir, "amphost.db")
	if out, err := exec.CommandContext(ctx, binary, "store", "check", "--store", store).CombinedOutput(); err != nil {
		s.fail(fmt.Errorf("amphost store check: %w: %s", err, out))
	}
	out, err := exec.CommandContext(ctx, binary, "store", "files", "user-registration", "--store", store).Output()
	if err != nil {
		s.fail(fmt.Errorf("amphost store files: %w", err))
	}
	if n := int64(strings.Count(string(out), "\n")); n != s.users.Load() {
		s.fail(fmt.Errorf("%d users were registered, and the store has %d", s.users.Load(), n))
	}
}
