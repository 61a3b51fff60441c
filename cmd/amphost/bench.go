package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"

	"github.com/amphost/amphost/amp"
)

// exitAssertion is the exit status when a condition of --assert does not hold.
const exitAssertion = 99

func benchCommand() *cobra.Command {
	l := new(load)
	var asserted assertions
	var asJSON bool
	var args amp.Box
	var secure tlsFlags
	cmd := &cobra.Command{
		Use:   "bench ADDRESS COMMAND [key=value ...]",
		Short: "Measure how fast an AMP server answers a command",
		Long: `Call a command of an AMP server, of amphost or any other, over and over, and print
how many calls a second it answers and how long each takes.

Each connection has a number of calls under way at any time. With --rate calls are
begun at fixed times instead, and the time of one that could not be sent in time
counts from when it should have been: a server that stalls is not spared.

ADDRESS is as amphost call has it; with tls:// each connection does its handshake
before the first call.

Calls that fail are counted by their errors. If every one did, whatever was
measured is not the command, and the exit status is 1.

With --assert the exit status is 99 if a condition does not hold: p50, p99.9 and
the like, min, mean and max are times, rate is calls a second; errors and calls are
numbers. Conditions for errors say which are no failure.`,
		Example: `  amphost bench :8750 Sum a=13 b=81
  amphost bench :8750 Sum a=13 b=81 -c 8 -p 64 -n 1000000
  amphost bench :8750 Sum a=13 b=81 -t 30s --rate 5000 --assert 'p99<5ms,errors==0'`,
		Args: func(_ *cobra.Command, words []string) (err error) {
			if len(words) < 2 {
				return errors.New("bench needs the address of a server and the name of a command")
			}
			if l.to, err = secure.target(words[0]); err != nil {
				return err
			}
			l.command = words[1]
			if args, err = parsePairs(words[2:]); err != nil {
				return err
			}
			l.args = args
			if _, err := (amp.Box{"_command": []byte(l.command)}).Append(nil); err != nil {
				return fmt.Errorf("command %.40q…: %w", l.command, err)
			}
			if _, err := args.Append(nil); err != nil {
				return err
			}
			return l.check()
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if l.calls == 0 && l.time == 0 {
				l.time = 10 * time.Second
			}
			return bench(cmd.Context(), l, asserted, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&l.conns, "connections", "c", 8, "how many `connections`")
	flags.IntVarP(&l.inFlight, "in-flight", "p", 64, "how many `calls` are under way on each connection")
	flags.Int64VarP(&l.calls, "calls", "n", 0, "how many `calls` to make in all")
	flags.DurationVarP(&l.time, "time", "t", 0, "for how long to make calls (default 10s, unless there is -n)")
	flags.Float64Var(&l.rate, "rate", 0, "begin this many `calls` a second in all (default as many as are answered)")
	flags.Var(&asserted, "assert", "fail unless these `conditions` hold, as in 'p99<5ms,errors==0'")
	flags.BoolVar(&asJSON, "json", false, "print one JSON object")
	secure.add(flags)
	return cmd
}

// check refuses numbers that make no sense.
func (l *load) check() error {
	switch {
	case l.conns < 1 || l.conns > 100_000:
		return errors.New("-c is a number from 1 to 100,000")
	case l.inFlight < 1 || l.inFlight > 1_000_000:
		return errors.New("-p is a number from 1 to 1,000,000")
	case l.calls < 0 || l.time < 0 || l.rate < 0:
		return errors.New("-n, -t and --rate are more than zero")
	}
	return nil
}

// bench runs a load and prints what came of it.
func bench(ctx context.Context, l *load, asserted assertions, asJSON bool, stdout, stderr io.Writer) error {
	ctx, restore := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer restore()
	stop := func() {}
	if isTerminal(stderr) && !asJSON {
		stop = l.showProgress(stderr)
	}
	err := l.run(ctx)
	took := l.elapsed()
	stop()
	if err != nil {
		return err
	}
	times, failed := l.result()
	r := newBenchReport(l, times, failed, took)
	if asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = r.write(stdout)
	}
	if err != nil {
		return err
	}
	if list := asserted.failures(r); len(list) > 0 {
		for _, text := range list {
			fmt.Fprintln(stderr, "amphost: "+text)
		}
		return exitStatus(exitAssertion)
	}
	if !asserted.about("errors") {
		return r.failure()
	}
	return nil
}

// showProgress draws a bar until the function it returns is called.
func (l *load) showProgress(w io.Writer) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with end, which stop closes and waits for
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		begin := time.Now()
		for {
			select {
			case <-tick.C:
				done, at := l.done.Load(), time.Since(begin)
				part := float64(done) / float64(max(l.calls, 1))
				if l.calls == 0 {
					part = float64(at) / float64(l.time)
				}
				part = min(part, 1)
				fmt.Fprintf(w, "\r  %s%s %3.0f %%  %s calls/s ", strings.Repeat("█", int(part*30)), strings.Repeat("░", 30-int(part*30)), part*100, thousands(float64(done)/at.Seconds()))
			case <-end:
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// A benchReport is what bench has found.
type benchReport struct {
	Address     string             `json:"address"`
	Command     string             `json:"command"`
	Connections int                `json:"connections"`
	InFlight    int                `json:"inFlight"`
	Wanted      float64            `json:"wantedRate,omitempty"` // --rate
	Calls       int64              `json:"calls"`                // answered, with errors too
	Seconds     float64            `json:"seconds"`
	Rate        float64            `json:"callsPerSecond"`
	Errors      map[string]int64   `json:"errors"`              // by code
	Latency     map[string]float64 `json:"latencyMilliseconds"` // "p50" …

	times *hdrhistogram.Histogram // in nanoseconds
}

// failure says that every call failed, if that is so.
func (r *benchReport) failure() error {
	if n, _ := r.figure("errors"); r.Calls == 0 || int64(n) < r.Calls {
		return nil
	}
	var codes []string
	for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
		codes = append(codes, readableBytes(code))
	}
	return fmt.Errorf("every call failed, with %s: the rate and the times are those of errors; amphost call shows one whole", strings.Join(codes, " or "))
}

// shownPercentiles are those of the report.
var shownPercentiles = []string{"p50", "p90", "p99", "p99.9"}

func newBenchReport(l *load, times *hdrhistogram.Histogram, failed map[string]int64, took time.Duration) *benchReport {
	r := &benchReport{
		Address: l.to.String(), Command: l.command, Connections: l.conns, InFlight: l.inFlight, Wanted: l.rate,
		Calls: l.done.Load(), Seconds: took.Seconds(), Errors: failed, Latency: make(map[string]float64), times: times,
	}
	r.Rate = float64(r.Calls) / r.Seconds
	for _, name := range append([]string{"min", "mean", "max"}, shownPercentiles...) {
		ns, _ := r.figure(name)
		r.Latency[name] = ns / 1e6
	}
	return r
}

// figure returns a number of the report by the name that --assert has for it,
// times in nanoseconds, and as it is shown to people.
func (r *benchReport) figure(name string) (value float64, shown string) {
	switch name {
	case "errors":
		var n int64
		for _, each := range r.Errors {
			n += each
		}
		return float64(n), strconv.FormatInt(n, 10)
	case "calls":
		return float64(r.Calls), strconv.FormatInt(r.Calls, 10)
	case "rate":
		return r.Rate, thousands(r.Rate)
	case "min":
		value = float64(r.times.Min())
	case "mean":
		value = r.times.Mean()
	case "max":
		value = float64(r.times.Max())
	default:
		p, _ := percentileOf(name)
		value = float64(r.times.ValueAtPercentile(p))
	}
	d := time.Duration(value)
	if d < time.Millisecond {
		return value, d.Round(100 * time.Nanosecond).String()
	}
	return value, d.Round(time.Microsecond).String()
}

// write shows people the report.
func (r *benchReport) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s: %s, %s under way on each\n\n", r.Command, r.Address, count(r.Connections, "connection"), count(r.InFlight, "call"))
	fmt.Fprintf(&b, "  calls    %s in %.2f s\n", thousands(float64(r.Calls)), r.Seconds)
	fmt.Fprintf(&b, "  rate     %s calls/s", thousands(r.Rate))
	if r.Wanted > 0 {
		fmt.Fprintf(&b, " of %s wanted", thousands(r.Wanted))
	}
	b.WriteString("\n  errors   ")
	if len(r.Errors) == 0 {
		b.WriteString("none\n")
	}
	for i, code := range slices.Sorted(maps.Keys(r.Errors)) {
		if i > 0 {
			b.WriteString("           ")
		}
		fmt.Fprintf(&b, "%s %s\n", thousands(float64(r.Errors[code])), readableBytes(code))
	}
	b.WriteString("\n  latency\n")
	for _, name := range slices.Concat([]string{"min"}, shownPercentiles, []string{"max"}) {
		_, shown := r.figure(name)
		fmt.Fprintf(&b, "  %-7s  %s\n", name, shown)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// thousands writes a number with commas.
func thousands(n float64) string {
	text := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
