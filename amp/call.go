package amp

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// An answerTo takes the answer to a call: its pairs, which are valid during
// the call only, or an error. It is called once, on the reading goroutine or
// on the one that ends the connection, and must not block.
type answerTo interface {
	finish(pairs []byte, err error)
}

// A Caller calls a peer's commands: a *Conn, or a *Client that waits for its
// connection first.
type Caller interface {
	// callConn returns the connection to call over.
	callConn(ctx context.Context) (*Conn, error)
}

func (c *Conn) callConn(context.Context) (*Conn, error) { return c, nil }

// Call sends a command and waits for its answer, for ctx, or for the
// connection's end. An error that the peer sent is an *Error; ErrUnhandled if
// it does not know the command. A late answer to a call that ctx ended is
// ignored. Call must not be used on the reading goroutine, in ServeAMP.
func (c *Conn) Call(ctx context.Context, command string, args Box) (Box, error) {
	var box Box
	err := c.call(ctx, command, args, func(pairs []byte) error {
		box = boxOf(pairs, reserved[[]byte])
		return nil
	})
	return box, err
}

// Go sends a command and returns at once. done is called once with the answer
// or an error, on the reading goroutine, or before Go returns; it must not
// block. Commands go out in the order of the calls to Go. The function it
// returns forgets the call, whose done is then called with context.Canceled
// unless it was called before. It fails with ErrSlowPeer when more than twice
// MaxUnwritten bytes wait to be written.
func (c *Conn) Go(command string, args Box, done func(Box, error)) (cancel func()) {
	a := answerFunc(func(pairs []byte, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(boxOf(pairs, reserved[[]byte]), nil)
	})
	tag, err := c.send(context.Background(), false, command, args, a)
	if err != nil {
		done(nil, err)
		return func() {}
	}
	return func() {
		if c.forget(tag) {
			a.finish(nil, context.Canceled)
		}
	}
}

type answerFunc func(pairs []byte, err error)

func (f answerFunc) finish(pairs []byte, err error) { f(pairs, err) }

// Send sends a command and asks for no answer: Twisted's requiresAnswer=False.
// It returns once the box is queued to be written. After the connection's end
// it fails with the reason.
func (c *Conn) Send(ctx context.Context, command string, args Box) error {
	return c.post(ctx, command, args)
}

// Notify sends a command and asks for no answer, as Send does, but returns at
// once. done is called once: with nil when the box has been written, else with
// the reason why it was not; on the goroutine that writes or the one that ends
// the connection, or before Notify returns. It must not block. Notify fails
// with ErrSlowPeer as Go does.
func (c *Conn) Notify(command string, args Box, done func(error)) {
	pairs, err := args.appendPairs(nil)
	if err == nil {
		err = checkCommand(command, pairs)
	}
	c.mu.Lock()
	switch {
	case err != nil:
		c.lastTag++
	default:
		if err = c.admitLocked(context.Background(), false); err == nil {
			// Before the writer may take the box; it needs the mutex.
			c.out.notices = append(c.out.notices, done)
			if _, err = c.sendLocked(command, pairs, nil); err != nil {
				c.out.notices = c.out.notices[:len(c.out.notices)-1]
			}
		}
	}
	c.mu.Unlock()
	if err != nil {
		done(err)
	}
}

func (c *Conn) post(ctx context.Context, command string, args sendable) error {
	_, err := c.send(ctx, true, command, args, nil)
	return err
}

// A wait is a call that somebody waits for.
type wait struct {
	done   chan struct{} // 1-buffered
	decode func(pairs []byte) error
	err    error
}

// newWait returns a wait. Each connection recycles its own: a channel that was
// made in a bubble of testing/synctest may not be used outside of it.
func (c *Conn) newWait() *wait {
	if w, ok := c.waits.Get().(*wait); ok {
		return w
	}
	return &wait{done: make(chan struct{}, 1)}
}

func (w *wait) finish(pairs []byte, err error) {
	if err == nil {
		err = w.decode(pairs)
	}
	w.err = err
	w.done <- struct{}{}
}

// call sends a command and waits. decode reads the answer on the reading
// goroutine.
func (c *Conn) call(ctx context.Context, command string, args sendable, decode func(pairs []byte) error) error {
	w := c.newWait()
	w.decode = decode
	tag, err := c.send(ctx, true, command, args, w)
	if err != nil {
		return err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if c.forget(tag) {
			return context.Cause(ctx)
		}
		<-w.done // the answer is just being read
	}
	err = w.err
	w.decode, w.err = nil, nil
	c.waits.Put(w)
	return err
}

// A sendable is the arguments of a command: a Box, or a struct with its plan.
type sendable interface {
	appendPairs(dst []byte) ([]byte, error)
}

// A sending is a struct to be sent.
type sending struct {
	plan  *plan
	value reflect.Value
}

func (s *sending) appendPairs(dst []byte) ([]byte, error) {
	e := encoder{buf: dst, first: -1}
	err := e.encodeStruct(s.plan, s.value)
	return e.buf, err
}

// send encodes a command and queues it. With a nil answerTo no answer is asked
// for. With wait it waits for room, or for the end of ctx; else it never blocks.
func (c *Conn) send(ctx context.Context, wait bool, command string, args sendable, a answerTo) (tag uint64, err error) {
	if s, ok := args.(*sending); ok && s.plan.hasFiles() {
		return c.sendFiles(ctx, wait, command, s, a)
	}
	scratch := buffers.Get().(*buffer)
	defer scratch.release()
	scratch.b, err = args.appendPairs(scratch.b[:0])
	if err == nil {
		err = checkCommand(command, scratch.b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.lastTag++ // it is used up all the same (item F11)
		return 0, err
	}
	if err := c.admitLocked(ctx, wait); err != nil {
		return 0, err
	}
	return c.sendLocked(command, scratch.b, a)
}

// admitLocked waits for room for a command, or for the end of ctx. Without wait
// it fails if there is none by far.
func (c *Conn) admitLocked(ctx context.Context, wait bool) error {
	switch {
	case wait:
		c.awaitRoomLocked(ctx)
	case over(c.out.size(), 2*c.opts.MaxUnwritten):
		return ErrSlowPeer
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// checkCommand refuses what cannot be sent.
func checkCommand(command string, pairs []byte) error {
	if len(command) > MaxValue {
		return &TooLongError{Key: keyCommand, Local: true, Len: len(command)}
	}
	for {
		key, _, rest, ok := nextPair(pairs)
		if !ok {
			return nil
		}
		if reserved(key) {
			return fmt.Errorf("%w: %q", ErrReservedKey, key)
		}
		pairs = rest
	}
}

// sendLocked queues a command whose arguments are encoded.
func (c *Conn) sendLocked(command string, pairs []byte, a answerTo) (tag uint64, err error) {
	c.lastTag++ // also for a command that wants no answer (item G2)
	switch {
	case c.state == ended:
		return 0, c.err
	case c.locked, c.state == switched:
		return 0, ErrSwitched
	case c.state == closing:
		return 0, ErrClosed
	}
	tag = c.lastTag
	var ask []byte
	if a != nil {
		var hex [16]byte
		ask = strconv.AppendUint(hex[:0], tag, 16)
		if c.calls == nil {
			c.calls = make(map[uint64]answerTo)
		}
		c.calls[tag] = a
		c.wakeLocked() // a reader that waits must read on for the answer
	}
	dst := c.out.dstLocked()
	dst.b = appendCommand(dst.b, command, ask, pairs)
	c.kickLocked()
	return tag, nil
}

// appendCommand appends the box of a command. ask is nil if no answer is
// wanted.
func appendCommand(dst []byte, command string, ask, pairs []byte) []byte {
	rest := pairs
	asked, named := ask == nil, false
	for !asked || !named {
		key, _, after, ok := nextPair(rest)
		switch {
		case !asked && (!ok || string(key) > keyAsk):
			dst = append(dst, pairs[:len(pairs)-len(rest)]...)
			pairs = rest
			dst = appendPair(dst, keyAsk, ask)
			asked = true
		case asked && (!ok || string(key) > keyCommand):
			dst = append(dst, pairs[:len(pairs)-len(rest)]...)
			pairs = rest
			dst = appendPair(dst, keyCommand, command)
			named = true
		default:
			rest = after
		}
	}
	dst = append(dst, pairs...)
	return append(dst, 0, 0)
}

// forget drops a call, and reports whether it was still waited for. Twisted,
// and so Options.Strict, keeps its place in the table (item R7).
func (c *Conn) forget(tag uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.calls[tag]
	if !ok || a == nil {
		return false
	}
	if c.opts.Strict {
		c.calls[tag] = nil
		c.forgotten++
	} else {
		delete(c.calls, tag)
	}
	return true
}

// waitsLocked reports whether this end waits for an answer.
func (c *Conn) waitsLocked() bool { return len(c.calls) > c.forgotten }

// dispatchAnswer gives an answer to the call it belongs to.
func (c *Conn) dispatchAnswer(id, pairs []byte, err *Error) error {
	var a answerTo
	tag, ok := parseTag(id)
	if ok {
		c.mu.Lock()
		if a, ok = c.calls[tag]; ok {
			delete(c.calls, tag)
			if a == nil {
				c.forgotten--
			}
		}
		c.mu.Unlock()
	}
	switch {
	case !ok && c.opts.Strict:
		return malformed("an answer that nobody waits for") // item K3
	case a == nil: // a call that was given up; its answer comes late
	case err != nil:
		a.finish(nil, err)
	default:
		a.finish(pairs, nil)
	}
	return nil
}

// parseTag reads a tag that this end may have made: lower-case hexadecimal
// digits without leading zeros (item G2). It is compared as bytes would be.
func parseTag(id []byte) (tag uint64, ok bool) {
	if len(id) == 0 || len(id) > 16 || id[0] == '0' {
		return 0, false
	}
	for _, d := range id {
		switch {
		case d >= '0' && d <= '9':
			tag = tag<<4 | uint64(d-'0')
		case d >= 'a' && d <= 'f':
			tag = tag<<4 | uint64(d-'a'+10)
		default:
			return 0, false
		}
	}
	return tag, true
}

// takeCalls takes all calls that wait.
func (c *Conn) takeCalls() map[uint64]answerTo {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls, c.forgotten = nil, 0
	c.wakeLocked()
	return calls
}

// failAll fails calls in the order in which they were made.
func failAll(calls map[uint64]answerTo, err error) {
	for _, tag := range slices.Sorted(maps.Keys(calls)) {
		if a := calls[tag]; a != nil {
			a.finish(nil, err)
		}
	}
}
