package amp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// The protocol's own keys (item K1).
const (
	keyAsk              = "_ask"
	keyAnswer           = "_answer"
	keyCommand          = "_command"
	keyError            = "_error"
	keyErrorCode        = "_error_code"
	keyErrorDescription = "_error_description"
)

// reserved reports whether a key belongs to the protocol.
func reserved[K string | []byte](key K) bool {
	if len(key) == 0 || key[0] != '_' {
		return false
	}
	switch string(key) {
	case keyAsk, keyAnswer, keyCommand, keyError, keyErrorCode, keyErrorDescription:
		return true
	}
	return false
}

// errClosing ends the reading of a connection that is to close.
var errClosing = errors.New("amp: closing")

// An input holds the bytes that were read and not dispatched. An idle
// connection reads into a small buffer of its own; a busy one borrows a large
// one and gives it back when a read no longer needs it.
type input struct {
	c     *Conn
	src   io.Reader
	buf   []byte
	r, w  int // buf[r:w] is not dispatched yet
	last  int // what the last read brought
	scan  scanner
	since time.Time // when the first byte of an unfinished box was seen; zero if none
	large *[largeInput]byte
	small [512]byte

	begun    bool // a whole box has come: the peer speaks AMP
	bounded  bool // a read deadline is set
	lull     bool // and it is for giving back the large buffer
	lullFrom time.Time
}

// lullTime is how long a connection keeps a large buffer in which nothing is,
// at least; at most twice as long.
const lullTime = time.Second

const largeInput = 64 << 10

var largeInputs = sync.Pool{New: func() any { return new([largeInput]byte) }}

func (in *input) init(c *Conn, src io.Reader) {
	in.c = c
	in.src = src
	if r := fileReader(c, src); r != nil {
		in.src = r
	}
	in.buf = in.small[:]
}

// rest returns what is not dispatched, as a copy.
func (in *input) rest() []byte { return append([]byte(nil), in.buf[in.r:in.w]...) }

// fit makes room for a read.
func (in *input) fit() {
	have := in.w - in.r
	switch {
	case have == 0:
		in.r, in.w = 0, 0
		switch {
		case in.last > len(in.small)/2 && len(in.buf) != largeInput, len(in.buf) > largeInput:
			in.borrow()
		case in.last <= len(in.small)/2 && len(in.buf) > len(in.small):
			in.giveBack()
		}
	case in.w < len(in.buf):
	case in.r > 0:
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	case len(in.buf) < largeInput:
		in.borrow()
	default: // a box beyond the large buffer
		grown := make([]byte, 2*len(in.buf))
		in.w = copy(grown, in.buf[in.r:in.w])
		in.r = 0
		in.returnLarge()
		in.buf = grown
	}
}

func (in *input) borrow() {
	if in.large == nil {
		in.large = largeInputs.Get().(*[largeInput]byte)
	}
	in.w = copy(in.large[:], in.buf[in.r:in.w])
	in.r = 0
	in.buf = in.large[:]
}

func (in *input) returnLarge() {
	if in.large != nil {
		largeInputs.Put(in.large)
		in.large = nil
	}
}

// giveBack goes back to the small buffer; nothing is left in the other.
func (in *input) giveBack() {
	in.returnLarge()
	in.buf, in.r, in.w = in.small[:], 0, 0
}

// read is the reading goroutine.
func (c *Conn) read() {
	var err error
	if tc, ok := c.transport().(*tls.Conn); ok {
		err = c.shakeHands(tc) // handlers shall see the peer's certificate
		if state := c.stateErr(); state != nil {
			err = state
		}
	}
	if err == nil {
		if c.onStart != nil {
			c.onStart()
		}
		if c.recv != nil {
			c.recv.StartReceivingBoxes(c)
		}
		err = c.readBoxes()
	}
	c.stopReading(err)
}

// readOn is the reading goroutine after one that a command occupies.
func (c *Conn) readOn() {
	c.endBatch()
	c.served()
	c.stopReading(c.readBoxes())
}

// readBoxes reads and dispatches boxes until the connection is to end.
func (c *Conn) readBoxes() error {
	in := &c.in
	for {
		if err := c.dispatchAll(); err != nil {
			return err
		}
		if err := c.fill(in); err != nil {
			return err
		}
	}
}

// dispatchAll dispatches the whole boxes that are there.
func (c *Conn) dispatchAll() error {
	in := &c.in
	if in.r == in.w {
		return c.stateErr()
	}
	if err := c.stateErr(); err != nil && err != errClosing {
		return err // what was just read is not for us any more
	}
	c.startBatch()
	err := c.dispatchBatch(in) // the goroutine may end in it: see Occupy
	c.endBatch()
	return err
}

func (c *Conn) dispatchBatch(in *input) error {
	var h header
	for in.r < in.w {
		pairs, n, err := in.scan.next(in.buf[in.r:in.w], c.opts, &h)
		if err == errShort {
			break
		}
		if err != nil {
			return err
		}
		in.r += n
		in.begun = true
		in.since = time.Time{}
		if err := c.dispatch(&h, pairs); err != nil {
			return err
		}
		if c.full.Load() {
			c.awaitWritten()
			c.startBatch()
		}
		if c.attention.Load() {
			if err := c.stateErr(); err != nil && err != errClosing {
				return err
			}
		}
	}
	return c.stateErr()
}

// startBatch keeps the writer from starting until endBatch.
func (c *Conn) startBatch() {
	c.mu.Lock()
	c.out.batch = true
	c.mu.Unlock()
}

// endBatch has written what a batch of boxes has been answered with.
func (c *Conn) endBatch() {
	if r := c.spare; r != nil {
		c.spare = nil
		requests.Put(r)
	}
	if c.spareJob != nil {
		c.keepJob(nil)
	}
	if c.early > 0 {
		c.tally.answer(c.early)
		c.early = 0
	}
	c.mu.Lock()
	c.out.batch = false
	if c.canWriteNowLocked() {
		c.writeNowLocked()
		return
	}
	c.kickLocked()
	c.mu.Unlock()
}

// stateErr returns why the reader should stop, if it should.
func (c *Conn) stateErr() error {
	if !c.attention.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == ended:
		return c.err
	case c.takeover != nil:
		return ErrSwitched
	case c.state >= closing:
		return errClosing
	}
	return nil
}

// fill reads more, within the limits for unfinished boxes and idle
// connections, and no more than the peer takes of what it asked for.
func (c *Conn) fill(in *input) error {
	if c.awaitWritten() {
		in.since = time.Time{} // the peer could not finish its box meanwhile
	}
	partial := in.r < in.w
	if partial && in.since.IsZero() {
		in.since = time.Now()
	}
	in.fit()
	stop := c.setReadDeadline(partial, in.since)
	n, err := in.src.Read(in.buf[in.w:])
	if stop != nil {
		stop()
	}
	in.w += n
	in.last = n
	if n > 0 {
		return nil // an error comes again
	}
	switch {
	case err == nil:
		return nil
	case isTimeout(err):
		if err := c.stateErr(); err != nil {
			return err
		}
		if limit := c.opts.BoxTimeout; partial && limit > 0 && time.Since(in.since) >= limit {
			return fmt.Errorf("%w: %v", ErrBoxTimeout, limit)
		}
		if in.lull {
			in.lull = false
			if !partial {
				in.giveBack()
			}
			return nil
		}
		if !partial && c.idle() {
			return fmt.Errorf("%w: %v", ErrIdle, c.opts.IdleTimeout)
		}
		return nil
	case err == io.EOF && partial:
		return fmt.Errorf("amp: the peer hung up in the middle of a box: %w", io.ErrUnexpectedEOF)
	}
	if state := c.stateErr(); state != nil {
		return state
	}
	return err
}

// idle reports whether nothing happens that would keep a silent connection
// alive.
func (c *Conn) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running.Load() == 0 && !c.waitsLocked() && c.out.idleLocked()
}

// setReadDeadline bounds the next read. The function it may return undoes a
// bound on a transport that knows no deadlines.
func (c *Conn) setReadDeadline(partial bool, since time.Time) (stop func()) {
	var by time.Time
	switch {
	case partial && c.opts.BoxTimeout > 0:
		by = since.Add(c.opts.BoxTimeout)
	case !partial && c.in.large != nil:
		// Nothing is in the large buffer: give it back when nothing comes.
		now := time.Now()
		if c.in.lull && now.Before(c.in.lullFrom.Add(lullTime)) {
			return nil // the deadline that is set will do
		}
		by, c.in.lullFrom = now.Add(2*lullTime), now
	case !partial && c.opts.IdleTimeout > 0:
		by = time.Now().Add(c.opts.IdleTimeout)
	}
	lull := !partial && c.in.large != nil
	if by.IsZero() && !c.in.bounded {
		return nil // the usual case: nothing to set, nothing to undo
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.readBy.IsZero() {
		return nil // the reader is wanted back at once
	}
	if d, ok := c.rwc.(readDeadliner); ok && d.SetReadDeadline(by) == nil {
		c.in.bounded, c.in.lull = !by.IsZero(), lull
		return nil
	}
	if lull || by.IsZero() {
		return nil
	}
	return c.boundRead(partial, time.Until(by))
}

// boundRead ends the connection when a read lasts longer than d. The function
// it returns must be called after the read.
func (c *Conn) boundRead(partial bool, d time.Duration) (stop func()) {
	done := make(chan struct{})
	c.handlers.run(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		for {
			select {
			case <-done:
				return
			case <-timer.C:
			}
			if partial {
				c.end(fmt.Errorf("%w: %v", ErrBoxTimeout, c.opts.BoxTimeout))
				return
			}
			if c.idle() {
				c.end(fmt.Errorf("%w: %v", ErrIdle, c.opts.IdleTimeout))
				return
			}
			timer.Reset(c.opts.IdleTimeout)
		}
	})
	return func() { close(done) }
}

type readDeadliner interface{ SetReadDeadline(time.Time) error }

// interruptRead wants the reader back from the transport. It reports whether
// that is possible: not on a transport without deadlines.
func (c *Conn) interruptRead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.interruptReadLocked()
}

func (c *Conn) interruptReadLocked() bool {
	c.readBy = time.Unix(1, 0)
	d, ok := c.rwc.(readDeadliner)
	return ok && d.SetReadDeadline(c.readBy) == nil
}

// stopReading ends the connection after the reader has stopped for err. After a
// protocol switch it has whoever is to get the stream do so.
func (c *Conn) stopReading(err error) {
	var takeover func()
	switch {
	case err == ErrSwitched:
		takeover = c.handOver()
	case err == errClosing:
		err = ErrClosed
		c.flush(lingerTime, err)
		c.linger()
	case err == io.EOF:
		c.flush(halfCloseTime, err)
	case errors.Is(err, ErrTooLong), errors.Is(err, ErrMalformed), errors.Is(err, ErrBoxTooBig),
		errors.Is(err, ErrBoxTimeout), errors.Is(err, io.ErrUnexpectedEOF):
		// What was asked before is still answered (item F9; Twisted drops it
		// where a box is malformed, item F16).
		c.answerHTTP(err)
		c.flush(lingerTime, err)
		c.linger()
	}
	c.end(err)
	c.in.giveBack()
	c.mu.Lock()
	for c.out.writing {
		c.waitLocked()
	}
	err = c.err
	received, unsent := c.files, append(c.out.files, c.out.clear.files...)
	clear, late := c.out.clear, c.out.queue
	c.files, c.out.queue, c.out.clear = nil, queue{}, queue{}
	c.mu.Unlock()
	clear.notify(err)
	late.notify(err)
	for _, f := range received {
		f.Close()
	}
	closeFiles(unsent)
	if c.recv != nil {
		c.recv.StopReceivingBoxes(err)
	}
	if c.onDone != nil {
		c.onDone(err)
	}
	close(c.done)
	if takeover != nil {
		takeover()
	}
	if c.onEnd != nil {
		c.onEnd()
	}
}

// flush waits until all that runs is answered and written. Nothing more is read
// then, so calls fail with the reason, at once. After d it ends the connection.
func (c *Conn) flush(d time.Duration, reason error) {
	c.mu.Lock()
	c.advanceLocked(closing)
	c.mu.Unlock()
	failAll(c.takeCalls(), reason)
	timer := time.AfterFunc(d, func() { c.end(reason) })
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaitLocked(func() bool { return c.out.idleLocked() && c.running.Load() == 0 })
}

// linger tells the peer that nothing more comes, and waits until it has taken
// what was written: unread input at the time of close(2) would turn the last
// answers into a reset (item P8).
func (c *Conn) linger() {
	rwc := c.transport()
	cw, ok := rwc.(interface{ CloseWrite() error })
	if !ok || cw.CloseWrite() != nil {
		return
	}
	if d, ok := rwc.(readDeadliner); ok && d.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		io.Copy(io.Discard, rwc) // until the peer's end, or lingerTime
	}
}

// handOver ends the protocol on a stream that goes on with another.
func (c *Conn) handOver() func() {
	c.mu.Lock()
	fn := c.takeover
	c.awaitLocked(c.out.idleLocked)
	if c.state == ended {
		c.mu.Unlock()
		return nil
	}
	c.err = ErrSwitched
	c.advanceLocked(ended)
	rwc := c.rwc
	c.mu.Unlock()
	c.cancel()
	failAll(c.takeCalls(), ErrSwitched)
	nc := &rawConn{rest: c.in.rest(), release: c.release}
	if conn, ok := rwc.(net.Conn); ok {
		nc.Conn = conn
		conn.SetDeadline(time.Time{})
	} else {
		nc.Conn = pipeConn{rwc}
	}
	return func() { fn(nc) }
}
