package host

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How far garbage piles up.
const (
	garbage   = 400      // percent of what lives: GOGC
	leastHeap = 64 << 20 // below so many bytes it is not collected
)

// TuneGC lets garbage pile up further than Go does by itself, as amphost serve
// does: what lives is small in a server like this and what a call leaves behind is
// not, so collecting at twice the live heap would take a large part of the time,
// and while it collects every call takes longer. There is garbage of four times
// what lives, and more while the heap has not reached 64 MiB. memory is how large
// the heap may become, or not above zero if that has no bound: it is collected as
// often as necessary to stay below two thirds of that. It is for a program that
// does nothing but serve; if GOGC or GOMEMLIMIT is set in the environment, that is
// left as it is.
func TuneGC(memory int64) {
	if os.Getenv("GOMEMLIMIT") == "" && memory > 0 {
		debug.SetMemoryLimit(memory / 3 * 2)
	}
	if os.Getenv("GOGC") == "" {
		p := &pacer{sample: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
		p.collected()
	}
}

// A pacer sets GOGC after each collection, for there is no setting for a least
// heap.
type pacer struct {
	sample  []metrics.Sample
	percent int
}

// collected is called after each collection.
func (p *pacer) collected() {
	metrics.Read(p.sample)
	if n := percent(p.sample[0].Value.Uint64()); n != p.percent {
		p.percent = n
		debug.SetGCPercent(n)
	}
	// Nobody refers to it, so the next collection finds it.
	runtime.SetFinalizer(&struct{ p *pacer }{p}, func(x *struct{ p *pacer }) { x.p.collected() })
}

// percent is what GOGC has to be when so many bytes live. By itself Go starts
// with a heap of 4 MiB for 100 percent.
func percent(live uint64) int {
	const most = leastHeap / (4 << 20) * 100
	if live == 0 {
		return most
	}
	n := (leastHeap/int64(live) - 1) * 100 // in steps, so that it seldom changes
	return int(min(max(n, garbage), most))
}
