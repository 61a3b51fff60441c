package host

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How far garbage piles up.
const (
	garbage   = 400      // percent of what lives: GOGC
	leastHeap = 96 << 20 // below so many bytes it is not collected
)

// A process is at rest once it has asked for less than restMost bytes for
// restTime. What it leaves behind is collected then if it may be restLeast bytes.
const (
	restTime  = 5 * time.Second
	restMost  = 1 << 20
	restLeast = 8 << 20
)

// TuneGC lets garbage pile up further than Go does by itself, as amphost serve
// does: what lives is small in a server like this and what a call leaves behind is
// not, so collecting at twice the live heap would take a large part of the time,
// and while it collects every call takes longer. There is garbage of four times
// what lives, and more while the heap has not reached 96 MiB. memory is how large
// the heap may become, as scripting.Options.MemoryLimit, or not above zero if that
// has no bound: it is collected as often as necessary for all that Go holds to stay
// below nine eighths of that. At less, a plugin that fills what it may have keeps
// the collector at work all the time, for everybody, before it is held to account.
// A server at rest gives what is garbage back to the system, within ten seconds.
// It is for a program that does nothing but serve; if GOGC or GOMEMLIMIT is set in
// the environment, that is left as it is.
func TuneGC(memory int64) {
	if os.Getenv("GOMEMLIMIT") == "" && memory > 0 {
		debug.SetMemoryLimit(memory / 8 * 9)
	}
	if os.Getenv("GOGC") == "" {
		p := &pacer{sample: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
		p.collected()
		p.restLater()
	}
}

// A pacer sets GOGC after each collection, for there is no setting for a least
// heap.
type pacer struct {
	sample  []metrics.Sample
	percent int

	allocated uint64 // in all, when rest last looked
	swept     uint64 // and when it last collected
}

// restLater has rest look every now and then, as long as the process lives.
func (p *pacer) restLater() {
	time.AfterFunc(restTime, func() {
		p.rest()
		p.restLater()
	})
}

// rest collects if there was little to do since it was last called. It reports
// whether it has.
func (p *pacer) rest() bool {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	now := sample[0].Value.Uint64()
	calm := now-p.allocated < restMost
	p.allocated = now
	if !calm || now-p.swept < restLeast {
		return false
	}
	p.swept = now
	debug.FreeOSMemory()
	return true
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
