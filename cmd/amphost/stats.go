package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

// serverStats tells what a server has counted since it began, and what it holds.
// It is answered over the control socket.
var serverStats = amp.Command[statsArgs, statsResult]{Name: "Stats"}

type statsArgs struct {
	Collect bool `amp:"collect"` // garbage, before memory is read
}

// A statsResult is what amphost stats tells.
type statsResult struct {
	PID     int       `amp:"pid" json:"pid"`
	Version string    `amp:"version" json:"version"`
	Since   time.Time `amp:"since" json:"since"`

	Connections int          `amp:"connections" json:"connections"` // open
	Accepted    uint64       `amp:"accepted" json:"accepted"`
	Refused     uint64       `amp:"refused" json:"refused"` // by limits on connections
	Cut         []occurrence `amp:"cut" json:"cut"`         // by other limits
	Gone        uint64       `amp:"gone" json:"gone"`       // whose peer was gone without a word

	InFlight int          `amp:"inFlight" json:"inFlight"`
	Answered uint64       `amp:"answered" json:"answered"`
	Failed   []occurrence `amp:"failed" json:"failed"`
	HeldBack uint64       `amp:"heldBack" json:"heldBack"`
	Limited  uint64       `amp:"limited" json:"limited"`

	Goroutines     int    `amp:"goroutines" json:"goroutines"`
	Heap           uint64 `amp:"heap" json:"heap"`                     // bytes that the last collection found in use
	Memory         uint64 `amp:"memory" json:"memory"`                 // bytes that the process has from the system for Go
	Descriptors    int    `amp:"descriptors" json:"descriptors"`       // open; 0 if the system does not tell
	MaxDescriptors int    `amp:"maxDescriptors" json:"maxDescriptors"` // or 0
}

// An occurrence is how often something happened.
type occurrence struct {
	What  string `amp:"what" json:"what"`
	Times uint64 `amp:"times" json:"times"`
}

// handleStats has a server's control socket answer this command.
func handleStats(m *amp.Mux, h *host.Host) {
	since := time.Now()
	serverStats.Handle(m, func(_ context.Context, args statsArgs) (statsResult, error) {
		if args.Collect {
			runtime.GC()
		}
		s := h.Stats()
		r := statsResult{
			PID: os.Getpid(), Version: version(), Since: since,
			Connections: s.Conns, Accepted: s.Accepted, Refused: s.Refused, Gone: s.Gone, Cut: []occurrence{},
			InFlight: s.Running, Answered: s.Answered, Failed: []occurrence{}, HeldBack: s.HeldBack, Limited: s.Limited,
			Descriptors: openDescriptors(),
		}
		r.MaxDescriptors, _ = maxDescriptors()
		for err, n := range s.Cut {
			r.Cut = append(r.Cut, occurrence{err.Error(), n})
		}
		for code, n := range s.Failed {
			r.Failed = append(r.Failed, occurrence{strings.ToValidUTF8(cmp.Or(code, "other codes"), "�"), n})
		}
		byWhat := func(a, b occurrence) int { return strings.Compare(a.What, b.What) }
		slices.SortFunc(r.Cut, byWhat)
		slices.SortFunc(r.Failed, byWhat)
		r.measure()
		return r, nil
	})
}

// measure reads what the Go runtime tells of this process.
func (r *statsResult) measure() {
	samples := []metrics.Sample{
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	r.Goroutines = int(samples[0].Value.Uint64())
	r.Heap = samples[1].Value.Uint64()
	r.Memory = samples[2].Value.Uint64() - samples[3].Value.Uint64()
}

// openDescriptors counts the descriptors of this process, or is 0 where there is
// no way to know.
func openDescriptors() int {
	list, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0
	}
	return len(list) - 1 // less the one of the directory
}

func statsCommand() *cobra.Command {
	f := new(controlFlags)
	var args statsArgs
	cmd := f.add(&cobra.Command{
		Use:   "stats",
		Short: "Tell what a server has counted: connections, calls, limits, memory",
		Long: `Tell of a server that runs: the connections that are open and what limits did to
others, the calls that are in flight, were answered and have failed, by code; and
the goroutines, memory and descriptors of the process. amphost plugins tells of
single plugins.`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := f.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer conn.Close()
			r, err := serverStats.Call(cmd.Context(), conn, args)
			if err != nil {
				return explainControl(err)
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return r.write(cmd.OutOrStdout(), time.Now())
		},
	})
	cmd.Flags().BoolVar(&args.Collect, "collect", false, "have the server collect its garbage first, so that live is what it needs now")
	return cmd
}

// write shows people the numbers.
func (r *statsResult) write(out io.Writer, now time.Time) error {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	row := func(what, format string, args ...any) { fmt.Fprintf(t, what+"\t"+format+"\n", args...) }
	number := func(n uint64) string { return thousands(float64(n)) }
	row("server", "pid %d, amphost %s, up %s", r.PID, r.Version, age(now.Sub(r.Since)))
	row("connections", "%d open, %s accepted, %s refused", r.Connections, number(r.Accepted), number(r.Refused))
	for _, c := range r.Cut {
		row("", "%s cut off: %s", number(c.Times), printable(c.What))
	}
	if r.Gone > 0 {
		row("", "%s gone without a word", number(r.Gone))
	}
	row("calls", "%d in flight, %s answered", r.InFlight, number(r.Answered))
	for _, c := range r.Failed {
		row("", "%s failed: %s", number(c.Times), printable(c.What))
	}
	row("limits", "%s pauses of reading, %s calls too many a second", number(r.HeldBack), number(r.Limited))
	row("goroutines", "%d", r.Goroutines)
	row("memory", "%s live, %s from the system", mebibytes(r.Heap), mebibytes(r.Memory))
	if r.Descriptors > 0 {
		of := ""
		if r.MaxDescriptors > 0 {
			of = fmt.Sprintf(" of %d", r.MaxDescriptors)
		}
		row("descriptors", "%d%s", r.Descriptors, of)
	}
	return t.Flush()
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
