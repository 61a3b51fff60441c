package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/amphost/amphost/amp"
)

// A call is one of those that drive makes.
type call struct {
	command string
	args    amp.Box
	check   func(answer amp.Box) error // nil if any answer will do
}

// drive is loadAMP for calls that differ: next returns the nth, and may be called
// by several goroutines. It costs more time of its own than `amphost bench`, so
// its rates compare with each other alone. A call that fails is an error, and so
// is an answer that check refuses.
func drive(ctx context.Context, address string, s shape, t time.Duration, next func(n int64) call) (report, error) {
	d := &driver{next: next, times: hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3)}
	conns := make([]*amp.Conn, s.conns)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	}()
	for i := range conns {
		conn, err := amp.Dial(ctx, "tcp", address, nil, nil)
		if err != nil {
			return report{}, err
		}
		conns[i] = conn
	}
	ctx, cancel := context.WithTimeout(ctx, t)
	defer cancel()
	d.ctx, d.cancel = ctx, cancel
	began := time.Now()
	for _, conn := range conns {
		for range s.inFlight {
			d.running.Add(1)
			d.begin(conn)
		}
	}
	d.running.Wait()
	took := time.Since(began)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil && d.times.TotalCount() == 0 {
		d.err = errors.New("no call was answered")
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return report{
		Calls: d.times.TotalCount(), Seconds: took.Seconds(), Rate: float64(d.times.TotalCount()) / took.Seconds(),
		Latency: map[string]float64{"p50": ms(d.times.ValueAtPercentile(50)), "p99": ms(d.times.ValueAtPercentile(99)), "max": ms(d.times.Max())},
	}, d.err
}

// A driver is what the calls of drive share.
type driver struct {
	ctx     context.Context // ends when no more calls are to be begun
	cancel  func()
	next    func(n int64) call
	n       atomic.Int64
	running sync.WaitGroup // one for each call in flight

	mu    sync.Mutex // guards the fields below
	times *hdrhistogram.Histogram
	err   error // the first
}

// begin begins a call, whose end begins another.
func (d *driver) begin(conn *amp.Conn) {
	n := d.n.Add(1)
	c := d.next(n)
	began := time.Now()
	conn.Go(c.command, c.args, func(answer amp.Box, err error) {
		took := max(time.Since(began).Microseconds(), 1)
		if err == nil && c.check != nil {
			err = c.check(answer)
		}
		d.mu.Lock()
		if err == nil {
			_ = d.times.RecordValue(took)
		} else if d.err == nil {
			d.err = fmt.Errorf("call %d, %s: %w", n, c.command, err)
			d.cancel()
		}
		d.mu.Unlock()
		if err != nil || d.ctx.Err() != nil {
			d.running.Done()
			return
		}
		d.begin(conn)
	})
}
