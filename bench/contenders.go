package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A contender is a server that answers Sum, or the nearest to it that it has.
type contender struct {
	name  string // for -only
	title string // in tables
	needs string // a Debian package, if it is not there: what has is asked for
	has   func(ctx context.Context) (version string, err error)
	start func(ctx context.Context, b *bench) (*running, error)
}

// contenders are in the order of the tables.
var contenders = []contender{
	amphostScript, amphostWorkers, amphostGo,
	bare,
	twisted, node, nodeTuned,
	netRPC, grpcGo,
	redisPing, redisFcall, nats,
}

// A running contender is what start has started.
type running struct {
	address   string
	processes []*process
	// load makes calls for some time. A call that fails is an error.
	load func(ctx context.Context, s shape, t time.Duration) (report, error)
}

// cpu is the CPU time of all processes of the contender.
func (r *running) cpu() (total time.Duration, err error) {
	for _, p := range r.processes {
		each, err := p.cpu()
		if err != nil {
			return 0, err
		}
		total += each
	}
	return total, nil
}

func (r *running) stop() error {
	var errs []error
	for _, p := range slices.Backward(r.processes) {
		errs = append(errs, p.stop())
	}
	return errors.Join(errs...)
}

// shapes are the loads of each contender; the first one warms it up, too.
var shapes = []shape{{8, 64}, {1, 1}, {100, 1}}

// A bench is one run of contenders.
type bench struct {
	amphost string // its binary
	self    string // this binary, which is some of the servers
	dir     string // for what servers keep, and plugins; removed at the end

	rounds       int
	time, warmUp time.Duration // of each load; before the first
}

func init() { commands["contenders"] = runContenders }

func runContenders(ctx context.Context, args []string) error {
	var b bench
	flags := flag.NewFlagSet("contenders", flag.ExitOnError)
	flags.IntVar(&b.rounds, "rounds", 5, "how many times each contender is started; medians are shown")
	flags.DurationVar(&b.time, "time", 2*time.Second, "how long each load lasts")
	flags.DurationVar(&b.warmUp, "warmup", time.Second, "how long calls are made before the first load")
	only := flags.String("only", "", "which `contenders` are measured, with commas; default all: "+strings.Join(names(contenders), ","))
	document := flags.String("doc", "", "`document` whose tables are written, too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if flags.NArg() > 0 || b.rounds < 1 || b.time <= 0 {
		return errors.New("-rounds and -time are more than zero, and there are no arguments but flags")
	}
	if *document != "" {
		if _, err := os.Stat(*document); err != nil {
			return err // now, and not after minutes
		}
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "amphost-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.amphost, err = build(ctx, "..", b.dir); err != nil {
		return err
	}
	there, err := provide(ctx, chosen)
	if err != nil {
		return err
	}
	r, err := b.run(ctx, there)
	if r == nil {
		return err
	}
	tables := r.markdown()
	fmt.Println(tables)
	if err != nil || *document == "" {
		return err
	}
	text, err := os.ReadFile(*document)
	if err != nil {
		return err
	}
	return os.WriteFile(*document, replaceSection(text, "contenders", tables), 0o644)
}

func names(list []contender) (out []string) {
	for _, c := range list {
		out = append(out, c.name)
	}
	return out
}

// choose returns the contenders of -only, all if it is empty.
func choose(only string) ([]contender, error) {
	if only == "" {
		return contenders, nil
	}
	var chosen []contender
	for name := range strings.SplitSeq(only, ",") {
		i := slices.Index(names(contenders), name)
		if i < 0 {
			return nil, fmt.Errorf("there is no contender %q, but %s", name, strings.Join(names(contenders), ", "))
		}
		chosen = append(chosen, contenders[i])
	}
	return chosen, nil
}

// run measures the contenders, one after the other in each round, so that a
// machine that gets slower does so for all of them. One that fails is left out
// from then on; the error tells of it, and the results are of the others.
func (b *bench) run(ctx context.Context, list []present) (*results, error) {
	all := &results{bench: b, list: slices.Clone(list), runs: make(map[string]map[shape][]run)}
	var failed []error
	for round := range b.rounds {
		for _, c := range slices.Clone(all.list) {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, b.rounds, c.title)
			one, err := b.measure(ctx, c.contender)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", c.name, err)
				fmt.Fprintln(os.Stderr, "FAILED, NOT MEASURED:", err)
				failed = append(failed, err)
				all.list = slices.DeleteFunc(all.list, func(p present) bool { return p.name == c.name })
				delete(all.runs, c.name)
				continue
			}
			if all.runs[c.name] == nil {
				all.runs[c.name] = make(map[shape][]run)
			}
			for s, r := range one {
				all.runs[c.name][s] = append(all.runs[c.name][s], r)
			}
		}
	}
	return all, errors.Join(failed...)
}

// A run is one load of one contender.
type run struct {
	rate     float64 // calls a second
	p50, p99 float64 // in milliseconds
	cpu      float64 // of the server, in microseconds for each call
}

// measure starts a contender, applies each load to it, and stops it.
func (b *bench) measure(ctx context.Context, c contender) (all map[shape]run, err error) {
	server, err := c.start(ctx, b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	if b.warmUp > 0 {
		if _, err := server.load(ctx, shapes[0], b.warmUp); err != nil {
			return nil, err
		}
	}
	all = make(map[shape]run)
	for _, s := range shapes {
		before, err := server.cpu()
		if err != nil {
			return nil, err
		}
		r, err := server.load(ctx, s, b.time)
		if err != nil {
			return nil, err
		}
		after, err := server.cpu()
		if err != nil {
			return nil, err
		}
		all[s] = run{
			rate: r.Rate, p50: r.Latency["p50"], p99: r.Latency["p99"],
			cpu: float64((after - before).Nanoseconds()) / 1e3 / float64(r.Calls),
		}
	}
	return all, nil
}

// mkdir makes a new directory for a contender.
func (b *bench) mkdir(name string) (string, error) { return os.MkdirTemp(b.dir, name) }

// startAMP starts a server of AMP whose command line ends with its address, and
// has `amphost bench` for its load.
func (b *bench) startAMP(ctx context.Context, name string, args ...string) (*running, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, address, name, append(args, address)...)
	if err != nil {
		return nil, err
	}
	return b.runningAMP(p, address), nil
}

func (b *bench) runningAMP(p *process, address string) *running {
	return &running{address, []*process{p}, func(ctx context.Context, s shape, t time.Duration) (report, error) {
		return loadAMP(ctx, b.amphost, address, s, t, "Sum", "a=1", "b=2")
	}}
}

// A present contender is one that is on this machine.
type present struct {
	contender
	version string
}

// provide returns those of the contenders that are there, or can be installed.
// What is missing is told of.
func provide(ctx context.Context, list []contender) (there []present, err error) {
	for _, c := range list {
		version, err := c.has(ctx)
		if err != nil && c.needs != "" && os.Getuid() == 0 {
			if aptErr := aptGet(ctx, c.needs); aptErr != nil {
				fmt.Fprintln(os.Stderr, aptErr)
			}
			version, err = c.has(ctx)
		}
		switch {
		case err == nil:
			there = append(there, present{c, version})
		case c.needs != "":
			fmt.Fprintf(os.Stderr, "SKIPPED, NOT MEASURED: %s: %v: apt-get install %s\n", c.title, err, c.needs)
		default:
			return nil, fmt.Errorf("%s: %w", c.title, err)
		}
	}
	return there, nil
}

// aptGet installs a Debian package.
func aptGet(ctx context.Context, name string) error {
	for _, args := range [][]string{{"-q", "update"}, {"install", "-q", "-y", "--no-install-recommends", name}} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// output runs a program that tells its version.
func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return strings.TrimSpace(string(out)), nil
}
