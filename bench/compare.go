package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

func init() { commands["compare"] = compareCommand }

// A side is one of the two trees that are compared.
type side struct {
	tree     string
	binary   string // its amphost
	goServer string // a program with a responder in Go, built from its packages
}

// A comparison is what is measured of both sides.
type comparison struct {
	name string
	unit string // of what measure returns
	// measure returns a time of a side: less is better. dir is empty, and load is
	// the amphost that makes calls, the same for both.
	measure func(ctx context.Context, s side, load, dir string, t time.Duration) (float64, error)
}

var comparisons = []comparison{
	{"Sum, script, 8 × 64", "µs per call", compareSum(shape{8, 64}, perCall)},
	{"Sum, script, 8 × 64, CPU of the server", "µs per call", compareSum(shape{8, 64}, cpuPerCall)},
	{"Sum, script, 1 × 1, p50", "µs", compareSum(shape{1, 1}, func(r report, _ time.Duration) float64 { return r.Latency["p50"] * 1000 })},
	{"Sum, Go responder, 8 × 64", "µs per call", compareGo},
	{"RegisterUser, 256 in flight", "µs per call", compareRegister},
	{"reload, until the new version answers", "ms", compareReload},
	{"start with 100 plugins", "ms", compareStart},
}

func compareCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("compare", flag.ExitOnError)
	base := flags.String("base", "", "the `revision` that this tree is compared with")
	pairs := flags.Int("pairs", 7, "how many `pairs` of measurements are made of each")
	length := flags.Duration("time", 2*time.Second, "how long each load lasts")
	slower := flags.Float64("slower", 0.20, "fail if something takes longer by more than this `part`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *base == "":
		return errors.New("name the revision to compare with: -base REVISION, or make bench-compare BASE=REVISION")
	case flags.NArg() > 0 || *pairs < 1 || *length <= 0 || *slower <= 0:
		return errors.New("-pairs, -time and -slower are more than zero, and there are no arguments but flags")
	}
	dir, err := os.MkdirTemp("", "compare")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	before, remove, err := checkOut(ctx, "..", *base, filepath.Join(dir, "tree"))
	if err != nil {
		return err
	}
	defer remove()
	here, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	sides := [2]side{{tree: before}, {tree: here}}
	for i := range sides {
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(own, 0o755); err != nil {
			return err
		}
		if sides[i].binary, err = build(ctx, sides[i].tree, own); err != nil {
			return err
		}
		if sides[i].goServer, err = buildGoServer(ctx, sides[i].tree, own); err != nil {
			return err
		}
	}
	results, err := compare(ctx, sides, comparisons, *pairs, *slower, func(ctx context.Context, c comparison, s side) (float64, error) {
		own, err := os.MkdirTemp(dir, "")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(own)
		return c.measure(ctx, s, sides[1].binary, own, *length)
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s beside %s; %s\n\n%s", revision(ctx), *base, machine(), comparisonTable(results, *slower))
	var failed []string
	for _, r := range results {
		if r.slower(*slower) {
			failed = append(failed, r.of.name)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("slower than %s by more than %.0f %%: %s", *base, 100**slower, strings.Join(failed, "; "))
	}
	return nil
}

// A compared is what came of a comparison: pairs of times, made one after the
// other, of the base and of this tree.
type compared struct {
	of    comparison
	pairs [][2]float64
}

// ratio is how many times as long this tree takes: the median of the pairs, in
// each of which the machine was the same.
func (c *compared) ratio() float64 {
	var ratios []float64
	for _, p := range c.pairs {
		ratios = append(ratios, p[1]/p[0])
	}
	return median(ratios)
}

// slower reports whether this tree takes longer by more than a part of what the
// base takes. Three of four pairs have to agree that it takes longer at all.
func (c *compared) slower(part float64) bool {
	longer := 0
	for _, p := range c.pairs {
		if p[1] > p[0] {
			longer++
		}
	}
	return !(c.ratio() <= 1+part) && 4*longer >= 3*len(c.pairs)
}

// compare measures pairs, every comparison once in each round, and who comes
// first changes from pair to pair. What looks slower at the end is measured once
// more, with as many pairs again: all of them count.
func compare(ctx context.Context, sides [2]side, list []comparison, pairs int, part float64, measure func(context.Context, comparison, side) (float64, error)) ([]*compared, error) {
	results := make([]*compared, len(list))
	for i, c := range list {
		results[i] = &compared{of: c}
	}
	one := func(r *compared, round int) error {
		fmt.Fprintf(os.Stderr, "  pair %d: %s\n", round+1, r.of.name)
		var pair [2]float64
		for i := range pair {
			which := (i + round) % 2
			took, err := measure(ctx, r.of, sides[which])
			if err == nil && !(took > 0) {
				err = fmt.Errorf("it took %v", took)
			}
			if err != nil {
				return fmt.Errorf("%s of %s: %w", r.of.name, sides[which].tree, err)
			}
			pair[which] = took
		}
		r.pairs = append(r.pairs, pair)
		return nil
	}
	for round := range pairs {
		for _, r := range results {
			if err := one(r, round); err != nil {
				return nil, err
			}
		}
	}
	for _, r := range results {
		for round := pairs; r.slower(part) && round < 2*pairs || round > pairs && round < 2*pairs; round++ {
			if err := one(r, round); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

func comparisonTable(results []*compared, part float64) string {
	rows := [][]string{{"", "unit", "base", "here", "here ÷ base", "from", "to", ""}}
	for _, r := range results {
		var before, here []float64
		least, most := math.Inf(1), 0.0
		for _, p := range r.pairs {
			before, here = append(before, p[0]), append(here, p[1])
			least, most = min(least, p[1]/p[0]), max(most, p[1]/p[0])
		}
		verdict := ""
		switch {
		case r.slower(part):
			verdict = "**slower**"
		case r.ratio() < 1/(1+part):
			verdict = "faster"
		}
		two := figures(2)
		rows = append(rows, []string{r.of.name, r.of.unit, two(median(before)), two(median(here)), two(r.ratio()), two(least), two(most), verdict})
	}
	return table(rows)
}

// checkOut checks a revision out into a directory that is not there yet, until
// remove is called.
func checkOut(ctx context.Context, repository, revision, dir string) (tree string, remove func(), err error) {
	git := func(ctx context.Context, args ...string) error {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", repository}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[0], err, bytes.TrimSpace(out))
		}
		return nil
	}
	if err := git(ctx, "rev-parse", "--quiet", "--verify", revision+"^{commit}"); err != nil {
		return "", nil, fmt.Errorf("there is no revision %q: %w", revision, err)
	}
	if err := git(ctx, "worktree", "add", "--quiet", "--detach", dir, revision); err != nil {
		return "", nil, err
	}
	return dir, func() {
		if err := git(context.WithoutCancel(ctx), "worktree", "remove", "--force", dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench compare:", err)
		}
	}, nil
}

//go:embed goserver/main.go
var goServerSource []byte

// buildGoServer builds goserver with the packages of a tree, which may be older
// than it is.
func buildGoServer(ctx context.Context, tree, dir string) (binary string, err error) {
	module := filepath.Join(dir, "goserver")
	sums, err := os.ReadFile(filepath.Join(tree, "go.sum"))
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(module, 0o755); err != nil {
		return "", err
	}
	for name, text := range map[string][]byte{
		"main.go": goServerSource,
		"go.sum":  sums, // of modules that are not needed, but asked about
		"go.mod":  fmt.Appendf(nil, "module goserver\n\ngo 1.26\n\nrequire github.com/amphost/amphost v0.0.0\n\nreplace github.com/amphost/amphost => %s\n", tree),
	} {
		if err := os.WriteFile(filepath.Join(module, name), text, 0o644); err != nil {
			return "", err
		}
	}
	binary = filepath.Join(dir, "go-responder")
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", binary, ".")
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a server with the packages of %s: %w\n%s", tree, err, bytes.TrimSpace(out))
	}
	return binary, nil
}

func perCall(r report, _ time.Duration) float64      { return 1e6 / r.Rate }
func cpuPerCall(r report, cpu time.Duration) float64 { return cpu.Seconds() * 1e6 / float64(r.Calls) }

// compareSum measures calls of plugins/math.js of the tree.
func compareSum(s shape, figure func(r report, cpu time.Duration) float64) func(context.Context, side, string, string, time.Duration) (float64, error) {
	return func(ctx context.Context, of side, load, dir string, t time.Duration) (result float64, err error) {
		p, address, err := serve(ctx, of.binary, filepath.Join(of.tree, "plugins"), dir)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, p.stop()) }()
		return loaded(ctx, p, address, load, s, t, figure)
	}
}

func compareGo(ctx context.Context, of side, load, _ string, t time.Duration) (result float64, err error) {
	address, err := freeAddress()
	if err != nil {
		return 0, err
	}
	p, err := start(ctx, address, of.goServer, address)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	return loaded(ctx, p, address, load, shape{8, 64}, t, perCall)
}

// loaded warms a server up, and then measures calls of its Sum.
func loaded(ctx context.Context, p *process, address, load string, s shape, t time.Duration, figure func(r report, cpu time.Duration) float64) (float64, error) {
	if _, err := loadAMP(ctx, load, address, s, t/4, "Sum", "a=13", "b=81"); err != nil {
		return 0, err
	}
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	r, err := loadAMP(ctx, load, address, s, t, "Sum", "a=13", "b=81")
	if err != nil {
		return 0, err
	}
	after, err := p.cpu()
	return figure(r, after-before), err
}

func compareRegister(ctx context.Context, of side, _, dir string, t time.Duration) (result float64, err error) {
	p, address, err := serve(ctx, of.binary, filepath.Join(of.tree, "plugins"), dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	var last atomic.Int64
	r, err := drive(ctx, address, spread(256), t, registration(&last))
	return perCall(r, 0), err
}

func compareReload(ctx context.Context, of side, _, dir string, _ time.Duration) (result float64, err error) {
	plugins, err := writePlugins(dir, 10)
	if err != nil {
		return 0, err
	}
	p, address, err := serve(ctx, of.binary, plugins, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if _, err := firstAnswer(ctx, address); err != nil {
		return 0, err
	}
	took, _, err := reloads(ctx, p, address, plugins, 5)
	return took.Seconds() * 1000, err
}

func compareStart(ctx context.Context, of side, _, dir string, _ time.Duration) (result float64, err error) {
	plugins, err := writePlugins(dir, 100)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	p, address, err := serve(ctx, of.binary, plugins, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	answered, err := firstAnswer(ctx, address)
	return answered.Sub(began).Seconds() * 1000, err
}
