package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A line is one connection of a load. Its run keeps inFlight calls under way
// until ctx ends, but makes as many at least, waits for those that then are, and
// records how long each took. Close ends it at once.
type line interface {
	run(ctx context.Context, inFlight int, r *recorder) error
	io.Closer
}

// patience is how long calls may take that are under way when the time is over.
const patience = 10 * time.Second

// loadLines is the load for servers that do not speak AMP: the closed loop that
// `amphost bench` is, over lines that open makes. A call that fails is an error.
func loadLines(ctx context.Context, s shape, t time.Duration, open func() (line, error)) (report, error) {
	lines := make([]line, 0, s.conns)
	closeAll := func() {
		for _, l := range lines {
			_ = l.Close() // nobody waits for an answer any more
		}
	}
	defer closeAll()
	for range s.conns {
		l, err := open()
		if err != nil {
			return report{}, err
		}
		lines = append(lines, l)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over, stop := context.WithTimeout(ctx, t)
	defer stop()
	late := time.AfterFunc(t+patience, closeAll)
	defer late.Stop()

	recorders := make([]recorder, s.conns)
	begin := time.Now()
	var wg sync.WaitGroup
	for i, l := range lines {
		recorders[i].times = newTimes()
		wg.Go(func() { // ends with over, the first error of any line, or closeAll
			if err := l.run(over, s.inFlight, &recorders[i]); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	seconds := time.Since(begin).Seconds()
	if ctx.Err() != nil {
		return report{}, context.Cause(ctx)
	}
	times := newTimes()
	for i := range recorders {
		times.Merge(recorders[i].times)
	}
	ms := func(percentile float64) float64 { return float64(times.ValueAtPercentile(percentile)) / 1e6 }
	return report{
		Calls: times.TotalCount(), Seconds: seconds, Rate: float64(times.TotalCount()) / seconds,
		Latency: map[string]float64{"p50": ms(50), "p99": ms(99)},
	}, nil
}

// A recorder keeps the times of the calls of a line.
type recorder struct {
	mu    sync.Mutex              // guards times
	times *hdrhistogram.Histogram // in nanoseconds
}

// Times are kept up to longestCall, to 0.1 %.
const longestCall = time.Minute

func newTimes() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(longestCall), 3) }

// record counts calls that were begun at these times and have just been answered.
func (r *recorder) record(begun ...time.Time) {
	now := time.Now()
	r.mu.Lock()
	for _, at := range begun {
		_ = r.times.RecordValue(int64(min(max(now.Sub(at), 1), longestCall)))
	}
	r.mu.Unlock()
}

// A caller is a line of a library whose calls block: each call under way has a
// goroutine.
type caller struct {
	call func() error
	io.Closer
}

func (c caller) run(ctx context.Context, inFlight int, r *recorder) error {
	failed := make(chan error, inFlight)
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() { // ends with ctx, the first error, or the line
			for first := true; first || ctx.Err() == nil && len(failed) == 0; first = false {
				begun := time.Now()
				if err := c.call(); err != nil {
					failed <- err
					return
				}
				r.record(begun)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// A pipeline is a line of a protocol that answers in the order of the requests:
// what was answered together is taken together, and as many requests go out in
// one write.
type pipeline struct {
	net.Conn
	request []byte
	answer  func(r *bufio.Reader) error // takes one answer; an error if it is not the right one
}

func (p pipeline) run(ctx context.Context, inFlight int, r *recorder) error {
	in := bufio.NewReaderSize(p.Conn, 64<<10)
	var out []byte
	var begun []time.Time // of the calls under way, the oldest first
	for answered, first := inFlight, true; ; first = false {
		out = out[:0]
		if now := time.Now(); first || ctx.Err() == nil {
			for range answered {
				out = append(out, p.request...)
				begun = append(begun, now)
			}
		}
		if len(begun) == 0 {
			return nil
		}
		if _, err := p.Conn.Write(out); err != nil {
			return err
		}
		answered = 0
		for answered == 0 || answered < len(begun) && in.Buffered() > 0 {
			if err := p.answer(in); err != nil {
				return err
			}
			answered++
		}
		r.record(begun[:answered]...)
		begun = append(begun[:0], begun[answered:]...)
	}
}
