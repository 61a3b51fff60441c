package main

import (
	"fmt"
	"strings"
	"time"
)

// results are all loads of all contenders.
type results struct {
	bench *bench
	list  []present
	runs  map[string]map[shape][]run // by the contender's name, one for each round
}

// median returns the medians of a contender's rounds; ok is false if it was not
// measured.
func (r *results) median(name string, s shape) (m run, ok bool) {
	runs := r.runs[name][s]
	if len(runs) == 0 {
		return run{}, false
	}
	of := func(figure func(run) float64) float64 {
		var values []float64
		for _, each := range runs {
			values = append(values, figure(each))
		}
		return median(values)
	}
	return run{
		rate: of(func(r run) float64 { return r.rate }),
		p50:  of(func(r run) float64 { return r.p50 }),
		p99:  of(func(r run) float64 { return r.p99 }),
		cpu:  of(func(r run) float64 { return r.cpu }),
	}, true
}

// spread is how far the rounds of a contender lie apart: the slowest one's rate
// and the fastest one's, as parts of the median.
func (r *results) spread(name string, s shape) (low, high float64) {
	m, _ := r.median(name, s)
	low, high = 1, 1
	for _, each := range r.runs[name][s] {
		low, high = min(low, each.rate/m.rate), max(high, each.rate/m.rate)
	}
	return low, high
}

// peers are what the others are compared with.
var peers = []struct{ name, title string }{{"twisted", "Twisted"}, {"node", "Node.js"}, {"bare", "bare loop"}}

// markdown is the results as tables.
func (r *results) markdown() string {
	var b strings.Builder
	b.WriteString(machine() + "\n")
	fmt.Fprintf(&b, "Medians of %s, %v for each load; in brackets the slowest and the fastest round.\n", counted(r.bench.rounds, "round"), r.bench.time)
	for _, s := range shapes {
		fmt.Fprintf(&b, "\n**%s, %s in flight on each**\n\n", counted(s.conns, "connection"), counted(s.inFlight, "call"))
		b.WriteString(table(r.rows(s)))
	}
	if rows := r.targets(); len(rows) > 1 {
		b.WriteString("\n**What it should reach**\n\n" + table(rows))
	}
	b.WriteString("\n**What was measured**\n\n")
	versions := [][]string{{"contender", "version"}}
	for _, c := range r.list {
		versions = append(versions, []string{c.title, c.version})
	}
	b.WriteString(table(versions))
	return b.String()
}

// rows are the medians of all contenders under one load.
func (r *results) rows(s shape) [][]string {
	head := []string{"contender", "calls/s", ""}
	for _, peer := range peers {
		head = append(head, "÷ "+peer.title)
	}
	rows := [][]string{append(head, "p50", "p99", "CPU per call")}
	for _, c := range r.list {
		m, _ := r.median(c.name, s)
		low, high := r.spread(c.name, s)
		row := []string{c.title, whole(m.rate), fmt.Sprintf("(%.0f–%.0f %%)", 100*low, 100*high)}
		for _, peer := range peers {
			text := ""
			if of, ok := r.median(peer.name, s); ok {
				text = showRatio(m.rate / of.rate)
			}
			row = append(row, text)
		}
		rows = append(rows, append(row, showTime(m.p50), showTime(m.p99), fmt.Sprintf("%.2f µs", m.cpu)))
	}
	return rows
}

// A target is a ratio that should be reached.
type target struct {
	text  string
	shape shape
	of    string // a contender
	to    string // the one it is compared with
	ratio func(of, to run) float64
	limit float64
	most  bool // limit is the most, not the least
}

var targets = []target{
	{"script ÷ Twisted, calls/s", shapes[0], "script", "twisted", rateRatio, 10, false},
	{"script ÷ Node.js, calls/s", shapes[0], "script", "node", rateRatio, 0.8, false},
	{"script with `workers: 2` ÷ Node.js, calls/s", shapes[0], "workers", "node", rateRatio, 1, false},
	{"Go responder ÷ bare loop, calls/s", shapes[0], "go", "bare", rateRatio, 0.7, false},
	{"Go responder ÷ Twisted, calls/s", shapes[0], "go", "twisted", rateRatio, 25, false},
	{"script, p99 ÷ p50", shapes[0], "script", "script", func(of, _ run) float64 { return of.p99 / of.p50 }, 5, true},
	{"script ÷ bare loop, p50", shapes[1], "script", "bare", func(of, to run) float64 { return of.p50 / to.p50 }, 1.4, true},
}

func rateRatio(of, to run) float64 { return of.rate / to.rate }

// reached says whether a ratio is what it should be.
func (t target) reached(ratio float64) bool {
	if t.most {
		return ratio <= t.limit
	}
	return ratio >= t.limit
}

// targets are those whose contenders were measured.
func (r *results) targets() [][]string {
	rows := [][]string{{"ratio", "load", "should be", "is", ""}}
	for _, t := range targets {
		of, ok := r.median(t.of, t.shape)
		to, okTo := r.median(t.to, t.shape)
		if !ok || !okTo {
			continue
		}
		bound, verdict := "at least", "**not reached**"
		if t.most {
			bound = "at most"
		}
		is := t.ratio(of, to)
		if t.reached(is) {
			verdict = "reached"
		}
		rows = append(rows, []string{t.text, t.shape.String(), fmt.Sprintf("%s %g", bound, t.limit), showRatio(is), verdict})
	}
	return rows
}

// showRatio shows a ratio with two or three digits.
func showRatio(r float64) string {
	switch {
	case r < 0.1:
		return fmt.Sprintf("%.3f", r)
	case r < 10:
		return fmt.Sprintf("%.2f", r)
	default:
		return fmt.Sprintf("%.1f", r)
	}
}

// showTime shows a time with three digits.
func showTime(ms float64) string {
	switch {
	case ms < 1:
		return fmt.Sprintf("%.3g µs", ms*1000)
	case ms < 1000:
		return fmt.Sprintf("%.3g ms", ms)
	default:
		return time.Duration(ms * float64(time.Millisecond)).Round(10 * time.Millisecond).String()
	}
}
