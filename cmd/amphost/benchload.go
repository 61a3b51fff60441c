package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/amphost/amphost/amp"
)

// A load is what bench does: calls of one command over several connections.
// It speaks AMP itself, with boxes that are made once, so that the machine's
// time is the server's and not its own.
type load struct {
	to       target
	command  string
	args     amp.Box
	conns    int
	inFlight int           // on each connection
	calls    int64         // in all, or 0
	time     time.Duration // or for this long
	rate     float64       // calls a second in all, or 0 for as many as possible

	began time.Time
	left  atomic.Int64 // calls that have not been begun, if calls is set
	done  atomic.Int64 // calls that were answered, with an error too
	tally [16]tally
}

// A tally is what some of the connections have seen.
type tally struct {
	mu     sync.Mutex // guards the fields below
	times  *hdrhistogram.Histogram
	errors map[string]int64 // by code
}

// The times of calls are kept in nanoseconds, from 1 to an hour, to 0.1 %.
const longestCall = int64(time.Hour)

// Codes for calls that were not answered.
const (
	codeLost      = "connection lost"
	codeMalformed = "malformed answer"
)

// mostWakeUps is how often in a second calls are begun in all, with a rate.
const mostWakeUps = 40_000

// tagLength is how long the tags of calls are: a slot of the connection, in
// hexadecimal digits.
const tagLength = 8

// exactAlarms is up to how many connections each has a timer of the kernel's. With
// more of them there is always something that runs, so that Go's timers are not
// late either, and descriptors would run out.
const exactAlarms = 1000

// run makes the calls and returns once they are answered, or ctx has ended. An
// error means that there is no connection.
func (l *load) run(ctx context.Context) error {
	for i := range l.tally {
		l.tally[i] = tally{times: hdrhistogram.New(1, longestCall, 3), errors: make(map[string]int64)}
	}
	conns := make([]*loadConn, l.conns)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.nc.Close()
				c.alarm.close()
			}
		}
	}()
	for i := range conns {
		nc, err := l.to.dial(ctx)
		if err != nil {
			return err
		}
		conns[i] = newLoadConn(l, nc, &l.tally[i%len(l.tally)])
		if l.rate > 0 {
			if conns[i].alarm, err = newAlarm(l.conns <= exactAlarms); err != nil {
				return err
			}
		}
	}
	l.left.Store(l.calls)
	l.began = time.Now()
	if l.time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.time)
		defer cancel()
	}
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() { c.run(ctx, i) }) // ends with ctx, the calls or the connection
	}
	wg.Wait()
	return nil
}

// take counts off up to n calls that may be begun.
func (l *load) take(n int) int {
	if l.calls == 0 {
		return n
	}
	left := l.left.Add(-int64(n)) + int64(n)
	return int(max(min(left, int64(n)), 0))
}

// elapsed is how long the load has run.
func (l *load) elapsed() time.Duration { return time.Since(l.began) }

// times and errors are what all connections have seen.
func (l *load) result() (times *hdrhistogram.Histogram, errors map[string]int64) {
	times, errors = hdrhistogram.New(1, longestCall, 3), make(map[string]int64)
	for i := range l.tally {
		t := &l.tally[i]
		t.mu.Lock()
		times.Merge(t.times)
		for code, n := range t.errors {
			errors[code] += n
		}
		t.mu.Unlock()
	}
	return times, maps.Clone(errors)
}

// A loadConn is one of the connections.
type loadConn struct {
	l     *load
	nc    net.Conn
	r     *bufio.Reader
	tally *tally
	ask   []byte // a call, whose tag is at tagAt

	out   []byte        // calls to write; only whoever begins calls
	aside chan []byte   // to a goroutine that writes; nil if whoever begins calls does
	freed chan struct{} // 1-buffered: a slot is free, or ended is set
	alarm *alarm        // for the times of a rate; nil if there is none

	mu    sync.Mutex // guards the fields below
	begun []time.Duration
	free  []int // slots of begun that no call is in
	ended bool  // no call is begun any more
}

// tagAt is where the tag is in a call: behind the key.
const tagAt = 2 + len("_ask") + 2

func newLoadConn(l *load, nc net.Conn, t *tally) *loadConn {
	c := &loadConn{l: l, nc: nc, r: bufio.NewReaderSize(nc, 128<<10), tally: t, begun: make([]time.Duration, l.inFlight), freed: make(chan struct{}, 1)}
	// Two boxes without their ends and one with: the order of keys is free
	// (amp-wire item F5), and the tag's place is known.
	for _, box := range []amp.Box{{"_ask": make([]byte, tagLength)}, {"_command": []byte(l.command)}, l.args} {
		c.ask = bytes.TrimSuffix(c.ask, []byte{0, 0})
		c.ask, _ = box.Append(c.ask) // it was tried before
	}
	for slot := l.inFlight - 1; slot >= 0; slot-- {
		c.free = append(c.free, slot)
	}
	// What the socket may not hold must not be written where answers are read:
	// the server might wait for that.
	if len(c.ask)*l.inFlight > 32<<10 {
		c.aside = make(chan []byte, l.inFlight)
	}
	return c
}

// run makes this connection's share of the calls.
func (c *loadConn) run(ctx context.Context, index int) {
	defer context.AfterFunc(ctx, c.end)()
	var others sync.WaitGroup
	if c.aside != nil {
		others.Go(func() { // ends with aside
			for calls := range c.aside {
				_, _ = c.nc.Write(calls)
			}
		})
	}
	more := true
	if c.l.rate > 0 {
		others.Go(func() { // ends with ctx, the calls or the connection
			c.pace(ctx, index)
			c.closeAside()
		})
	} else {
		more = c.fill()
	}
	var err error
	if more {
		err = c.read()
	}
	c.end()
	if c.l.rate == 0 {
		c.closeAside()
	}
	others.Wait()
	// What time cut off is no error.
	if open := len(c.begun) - len(c.free); ctx.Err() == nil && err != nil && open > 0 {
		code := codeLost
		if errors.Is(err, errMalformedAnswer) {
			code = codeMalformed
		}
		c.fail(code, int64(open))
	}
}

func (c *loadConn) closeAside() {
	if c.aside != nil {
		close(c.aside)
	}
}

// end has no more calls begun. Those under way have a second.
func (c *loadConn) end() {
	c.mu.Lock()
	c.ended = true
	idle := len(c.free) == len(c.begun)
	c.mu.Unlock()
	if idle {
		_ = c.nc.SetDeadline(time.Now())
	} else {
		_ = c.nc.SetDeadline(time.Now().Add(time.Second))
	}
	c.alarm.close()
	c.tell()
}

func (c *loadConn) tell() {
	select {
	case c.freed <- struct{}{}:
	default:
	}
}

// fill begins as many calls as there are slots. It is false if there is nothing
// left to wait for.
func (c *loadConn) fill() bool {
	c.mu.Lock()
	if !c.ended && len(c.free) > 0 {
		n := c.l.take(len(c.free))
		c.ended = n < len(c.free)
		now := c.l.elapsed()
		for range n {
			c.beginLocked(now)
		}
	}
	more := len(c.free) < len(c.begun)
	c.mu.Unlock()
	c.flush()
	return more
}

// beginLocked puts a call into out, as begun then.
func (c *loadConn) beginLocked(at time.Duration) {
	slot := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	c.begun[slot] = at
	start := len(c.out)
	c.out = append(c.out, c.ask...)
	tag := c.out[start+tagAt : start+tagAt+tagLength]
	for i := len(tag) - 1; i >= 0; i-- {
		tag[i] = "0123456789abcdef"[slot&15]
		slot >>= 4
	}
}

// flush writes what is in out. Whoever reads finds out if that fails.
func (c *loadConn) flush() {
	switch {
	case len(c.out) == 0:
	case c.aside != nil:
		c.aside <- c.out // it has room for every call
		c.out = nil
	default:
		_, _ = c.nc.Write(c.out)
		c.out = c.out[:0]
	}
}

// pace begins calls at times that are fixed beforehand, this connection's share
// of them. A call whose time has come while all slots are taken is begun later,
// and its time runs all the same: what a server that stalls keeps from being
// sent must not look as if it had been fast.
func (c *loadConn) pace(ctx context.Context, index int) {
	step := float64(time.Second) / c.l.rate
	every := time.Duration(step * float64(c.l.conns))
	next := time.Duration(step * float64(index))
	// To wake up for each call would take the processor that the server needs, if
	// there are very many: then some are begun together, and the first ones late.
	shortest := min(time.Duration(c.l.conns)*time.Second/mostWakeUps, time.Millisecond)
	for {
		if wait := next - c.l.elapsed(); wait > 0 {
			c.alarm.sleep(max(wait, shortest))
		}
		c.mu.Lock()
		for !c.ended && next <= c.l.elapsed() && len(c.free) > 0 {
			if c.l.take(1) == 0 {
				c.ended = true
				break
			}
			c.beginLocked(next)
			next += every
		}
		ended, full, idle := c.ended, len(c.free) == 0, len(c.free) == len(c.begun)
		c.mu.Unlock()
		c.flush()
		if ended {
			if idle {
				_ = c.nc.SetReadDeadline(time.Now()) // there is nothing to read
			}
			return
		}
		if full {
			select {
			case <-c.freed:
			case <-ctx.Done():
				return
			}
		}
	}
}

var errMalformedAnswer = errors.New("not the answer of an AMP server")

// read takes answers, and begins a call for each, until there is nothing left
// to do.
func (c *loadConn) read() error {
	type answered struct {
		slot int
		code string // of an error
	}
	var batch []answered
	for {
		slot, code, err := c.readAnswer()
		if err == nil {
			batch = append(batch, answered{slot, code})
			if c.r.Buffered() > 0 && len(batch) < len(c.begun) {
				continue // take what came with it
			}
		}
		now := c.l.elapsed()
		c.tally.mu.Lock()
		for _, a := range batch {
			// Only this goroutine frees slots, so begun stays as it is.
			took := max(int64(now-c.begun[a.slot]), 1)
			_ = c.tally.times.RecordValue(min(took, longestCall))
			if a.code != "" {
				c.tally.errors[a.code]++
			}
		}
		c.tally.mu.Unlock()
		c.l.done.Add(int64(len(batch)))
		c.mu.Lock()
		for _, a := range batch {
			c.free = append(c.free, a.slot)
		}
		c.mu.Unlock()
		batch = batch[:0]
		if err != nil {
			return err
		}
		if c.l.rate == 0 {
			if !c.fill() {
				return nil
			}
			continue
		}
		c.mu.Lock()
		over := c.ended && len(c.free) == len(c.begun)
		c.mu.Unlock()
		if over {
			return nil
		}
		c.tell()
	}
}

// fail counts calls that were not answered.
func (c *loadConn) fail(code string, n int64) {
	c.tally.mu.Lock()
	c.tally.errors[code] += n
	c.tally.mu.Unlock()
	c.l.done.Add(n)
}

// readAnswer reads a box: the slot it answers, and its error code if it is one.
func (c *loadConn) readAnswer() (slot int, code string, err error) {
	slot = -1
	for {
		head, err := c.r.Peek(2)
		if err != nil {
			return 0, "", err
		}
		keyLength := int(head[0])<<8 | int(head[1])
		if keyLength == 0 {
			_, _ = c.r.Discard(2)
			if slot < 0 || slot >= len(c.begun) {
				return 0, "", errMalformedAnswer
			}
			return slot, code, nil
		}
		if keyLength > amp.MaxKey {
			return 0, "", errMalformedAnswer
		}
		head, err = c.r.Peek(2 + keyLength + 2)
		if err != nil {
			return 0, "", noEOF(err)
		}
		valueLength := int(head[2+keyLength])<<8 | int(head[3+keyLength])
		pair, err := c.r.Peek(2 + keyLength + 2 + valueLength)
		if err != nil {
			return 0, "", noEOF(err)
		}
		value := pair[2+keyLength+2:]
		switch string(pair[2 : 2+keyLength]) {
		case "_answer":
			slot = slotOf(value)
		case "_error":
			slot = slotOf(value)
			if code == "" {
				code = "?"
			}
		case "_error_code":
			code = string(value)
		}
		_, _ = c.r.Discard(len(pair))
	}
}

func slotOf(tag []byte) int {
	n, err := strconv.ParseUint(string(tag), 16, 31)
	if err != nil || len(tag) != tagLength {
		return -1
	}
	return int(n)
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
