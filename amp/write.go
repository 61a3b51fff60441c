package amp

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// An outbox holds the boxes that are not written yet. Senders append whole
// boxes under the connection's mutex and never wait for the socket; a writing
// goroutine, which lives only while there is something to write, takes all
// that has gathered in one piece.
type outbox struct {
	queue             // where senders append
	clear   queue     // what is still written while hold is set
	hold    bool      // nothing of queue may be written: StartTLS is under way
	batch   bool      // the reader dispatches a batch and will start the writer after it
	gathers *Batch    // what answers wait for that nobody has taken yet, or nil
	writing bool      // the writing goroutine runs
	taken   int       // bytes the writer has taken and not written
	owed    int       // how many of them at most belong to answers
	since   time.Time // when it began to write the piece it writes now

	allowed   int       // how many bytes of answers may wait, because the reader must read on
	allowedAt time.Time // since when
}

// A queue is a run of encoded boxes.
type queue struct {
	buf     *buffer       // nil when there are none
	answers int           // how many of them answer a command
	reply   int           // how many bytes those are
	files   []outFile     // descriptors that travel with them
	notices []func(error) // told when it is written, or why it was not
}

// An outFile is a descriptor that travels with the byte at offset in a queue.
type outFile struct {
	offset int
	file   *os.File
}

// notify says that the queue has been written, or why it was not.
func (q *queue) notify(err error) {
	for _, done := range q.notices {
		done(err)
	}
}

type buffer struct{ b []byte }

// buffers recycles what outboxes use while they are busy, so that an idle
// connection owns none.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// keepBuffer is the largest buffer that is worth keeping.
const keepBuffer = 256 << 10

func (b *buffer) release() {
	if cap(b.b) <= keepBuffer {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

// size is how many bytes wait to be written.
func (o *outbox) size() int {
	if o.buf == nil {
		return o.taken
	}
	return o.taken + len(o.buf.b)
}

// replySize is how many bytes of answers wait to be written.
func (o *outbox) replySize() int { return o.reply + min(o.owed, o.taken) }

// idleLocked reports whether all is written that was sent.
func (o *outbox) idleLocked() bool { return !o.writing && o.buf == nil && o.clear.buf == nil }

// takeLocked takes what may be written now; its buffer is nil if that is
// nothing.
func (o *outbox) takeLocked() queue {
	from := &o.queue
	if o.hold {
		from = &o.clear
	}
	q := *from
	*from = queue{}
	o.gathers = nil
	return q
}

// forAnswer counts an answer, and returns the buffer to append it to.
func (q *queue) forAnswer() *buffer {
	if q.buf == nil {
		q.buf = buffers.Get().(*buffer)
	}
	q.answers++
	return q.buf
}

// holdLocked keeps all that is sent from now on for later. What was sent
// before is still written.
func (o *outbox) holdLocked() {
	o.clear, o.queue, o.hold = o.queue, queue{}, true
}

// dstLocked returns the buffer to append a box to.
func (o *outbox) dstLocked() *buffer {
	if o.buf == nil {
		o.buf = buffers.Get().(*buffer)
	}
	return o.buf
}

// kickLocked starts the writer if there is something for it to do.
func (c *Conn) kickLocked() {
	o := &c.out
	if o.writing || o.batch || o.hold && o.clear.buf == nil || !o.hold && o.buf == nil {
		return
	}
	o.writing = true
	go c.write(queue{}, 0) // ends when all is written or the connection has ended; read waits for it
}

// write writes the rest of q, from an offset, and then until nothing is left.
func (c *Conn) write(q queue, at int) {
	if q.buf == nil {
		// Let others that are ready append first: one write for all of them.
		runtime.Gosched()
	}
	c.mu.Lock()
	for q.buf != nil || c.state != ended {
		if q.buf == nil {
			q, at = c.out.takeLocked(), 0
		}
		if q.buf == nil {
			break
		}
		now := time.Now()
		c.out.taken, c.out.owed, c.out.since = len(q.buf.b)-at, q.reply, now
		w := c.rwc
		c.mu.Unlock()
		c.written(q, c.writeAll(w, q, at, now))
		q = queue{}
		c.mu.Lock()
		c.out.taken = 0
		c.wakeLocked()
		c.offerRoomLocked()
	}
	c.out.writing = false
	c.wakeLocked()
	c.mu.Unlock()
}

// written lets go of a queue that has been written, or could not be.
func (c *Conn) written(q queue, err error) {
	q.buf.release()
	closeFiles(q.files)
	q.notify(err)
	c.running.Add(int64(-q.answers))
	if err != nil {
		c.end(err)
	}
}

// largePiece is how much is written at a time, so that progress can be seen;
// smallPiece while the reader waits for progress.
const (
	largePiece = 64 << 10
	smallPiece = 16 << 10
)

func (c *Conn) writePiece() int {
	if !c.full.Load() {
		return largePiece
	}
	return min(smallPiece, max(c.opts.MaxUnwritten/8, 512))
}

// writeAll writes a queue from an offset, and fails with ErrSlowPeer when the
// peer takes nothing for as long as Options.WriteTimeout.
func (c *Conn) writeAll(w io.Writer, q queue, at int, now time.Time) error {
	p, files := q.buf.b, q.files
	stall := c.stallGuard(w)
	defer stall.stop()
	for begin := at; at < len(p); {
		if at > begin {
			now = time.Now()
			c.mu.Lock()
			c.out.since, c.out.taken = now, len(p)-at
			c.wakeLocked()
			c.offerRoomLocked()
			c.mu.Unlock()
		}
		stall.restart(now)
		end := min(at+c.writePiece(), len(p))
		if len(files) > 0 {
			if files[0].offset == at {
				if err := sendFile(w, p[at], files[0].file); err != nil {
					return writeError(err)
				}
				files = files[1:]
				at++
				continue
			}
			end = min(end, files[0].offset)
		}
		n, err := w.Write(p[at:end])
		at += n
		if err != nil && !(isTimeout(err) && n > 0) {
			return writeError(err)
		}
	}
	return nil
}

// A stallGuard bounds how long a write may make no progress: with a deadline,
// or by closing a transport that has none.
type stallGuard struct {
	c     *Conn
	d     interface{ SetWriteDeadline(time.Time) error }
	timer *time.Timer
}

func (c *Conn) stallGuard(w io.Writer) stallGuard {
	g := stallGuard{c: c}
	g.d, _ = w.(interface{ SetWriteDeadline(time.Time) error })
	return g
}

// restart is called before each write.
func (g *stallGuard) restart(now time.Time) {
	switch limit := g.c.opts.WriteTimeout; {
	case limit < 0:
	case g.timer != nil:
		g.timer.Reset(limit)
	case g.d != nil && g.d.SetWriteDeadline(now.Add(limit)) == nil:
	default:
		c := g.c
		g.timer = time.AfterFunc(limit, func() { c.end(fmt.Errorf("%w for %v", ErrSlowPeer, limit)) })
	}
}

func (g *stallGuard) stop() {
	if g.timer != nil {
		g.timer.Stop()
	}
}

func writeError(err error) error {
	if isTimeout(err) {
		return fmt.Errorf("%w: %w", ErrSlowPeer, err)
	}
	return err
}

// writeAnswer sends the answer to a command.
func (c *Conn) writeAnswer(r *Request, pairs []byte, quit bool) {
	c.writeReply(r, quit, func(dst []byte) []byte { return appendTagged(dst, keyAnswer, r.tag, pairs) })
}

// writeError sends the error that answers a command, and closes the connection
// after it if it is fatal.
func (c *Conn) writeError(r *Request, e *Error) {
	c.writeReply(r, e.Fatal, func(dst []byte) []byte { return appendError(dst, r.tag, e) })
}

// appendError appends the box of an error.
func appendError(dst, tag []byte, e *Error) []byte {
	code := e.Code
	if len(code) > MaxValue {
		code = code[:MaxValue]
	}
	dst = appendPair(dst, keyError, tag)
	dst = appendPair(dst, keyErrorCode, code)
	dst = appendPair(dst, keyErrorDescription, wireDescription(e.Description))
	return append(dst, 0, 0)
}

// writeReply appends the box that answers a command. With quit the connection
// closes once it is written. Who is patient waits for room first; others never
// block, and a peer that lets their answers pile up beyond MaxUnwritten without
// taking any is cut off.
func (c *Conn) writeReply(r *Request, quit bool, appendBox func(dst []byte) []byte) {
	c.mu.Lock()
	if r.patient {
		c.awaitRoomLocked(c.ctx)
	}
	dst := c.replyLocked()
	if dst == nil {
		return
	}
	before := len(dst.b)
	dst.b = appendBox(dst.b)
	c.repliedLocked(len(dst.b)-before, quit, r.batch)
}

// replyLocked returns the buffer to append the box of an answer to. If it is nil
// nobody is there to take that, which counts as taken, and the mutex is given back.
func (c *Conn) replyLocked() *buffer {
	if c.state >= switched {
		c.running.Add(-1)
		c.wakeLocked()
		c.mu.Unlock()
		return nil
	}
	return c.out.dstLocked()
}

// repliedLocked counts an answer in the outbox and its bytes, and has it written,
// with a batch if it belongs to one. It gives the mutex back.
func (c *Conn) repliedLocked(bytes int, quit bool, b *Batch) {
	c.out.answers++
	c.out.reply += bytes
	if b != nil && !quit {
		c.gatherLocked(b)
	} else {
		c.kickLocked()
	}
	c.wakeLocked()
	size := c.out.replySize()
	if c.opts.MaxUnwritten < 0 || size <= c.opts.MaxUnwritten/2 {
		c.mu.Unlock()
		if quit {
			c.loseConnection()
		}
		return
	}
	c.full.Store(true)
	most, stuck := c.opts.MaxUnwritten, c.out.taken > 0 && time.Since(c.out.since) > stuckTime
	if c.waitsLocked() {
		// The reader must read on, little by little: see awaitWritten.
		most, stuck = 4*c.opts.MaxUnwritten, c.out.allowed > 0
	}
	stuck = stuck && over(size, most)
	c.mu.Unlock()
	switch {
	case stuck:
		c.end(fmt.Errorf("%w: %d bytes of answers wait for it, MaxUnwritten is %d", ErrSlowPeer, size, c.opts.MaxUnwritten))
	case quit:
		c.loseConnection()
	}
}

// appendTagged appends a box of pairs and one protocol key, in the byte order
// of the keys (item F5).
func appendTagged(dst []byte, key string, tag, pairs []byte) []byte {
	rest := pairs
	for {
		k, _, after, ok := nextPair(rest)
		if !ok || string(k) > key {
			break
		}
		rest = after
	}
	dst = append(dst, pairs[:len(pairs)-len(rest)]...)
	dst = appendPair(dst, key, tag)
	dst = append(dst, rest...)
	return append(dst, 0, 0)
}

// stuckTime is how long a peer may not take a piece while more than MaxUnwritten
// bytes of answers wait for it, and this end waits for none of it.
const stuckTime = time.Second

// patience is how long a peer may not take a piece before this end, which waits
// for answers itself, reads on for another piece of answers.
const patience = 250 * time.Millisecond

// crowdedLocked reports whether more than MaxUnwritten bytes wait to be
// written.
func (c *Conn) crowdedLocked() bool { return over(c.out.size(), c.opts.MaxUnwritten) }

// awaitRoomLocked waits until no more than MaxUnwritten bytes wait to be
// written, or until ctx or the connection has ended. Who appends under the
// same lock is sure of the room.
func (c *Conn) awaitRoomLocked(ctx context.Context) {
	if !c.crowdedLocked() {
		return
	}
	c.out.batch = false // it may be the reader who waits, in a box receiver
	c.kickLocked()
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		c.room.Broadcast()
		c.mu.Unlock()
	})
	defer stop()
	for c.state != ended && ctx.Err() == nil && c.crowdedLocked() {
		c.room.Wait()
	}
}

// offerRoomLocked wakes those who wait for room, if there is any.
func (c *Conn) offerRoomLocked() {
	if !c.crowdedLocked() {
		c.room.Broadcast()
	}
}

// awaitWritten waits while more than half of MaxUnwritten of what the peer asked
// for waits to be written. While this end waits for answers itself, which may be
// the next boxes, it reads on: freely up to MaxUnwritten, and beyond that a bit
// at a time when the peer takes nothing, for it may be waiting for us to read. It
// reports whether it has waited.
func (c *Conn) awaitWritten() (waited bool) {
	if !c.full.Load() {
		return false
	}
	c.endBatch()
	defer func() {
		if waited {
			c.tally.holdBack()
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.state < closing {
		size := c.out.replySize()
		if !over(size, c.opts.MaxUnwritten/2) {
			c.full.Store(false)
			c.out.allowed = 0
			break
		}
		if c.waitsLocked() {
			if !over(size, max(c.opts.MaxUnwritten, c.out.allowed)) {
				break
			}
			if time.Since(c.out.since) > patience && time.Since(c.out.allowedAt) > patience {
				c.out.allowed, c.out.allowedAt = size+c.writePiece(), time.Now()
				break
			}
		}
		waited = true
		timer := time.AfterFunc(patience, c.wake)
		c.waitLocked()
		timer.Stop()
	}
	return waited
}

// writeSwitch answers a protocol switch: nothing else is sent after it. It
// reports whether this was the first answer to the request, which it marks as
// answered under the lock: a reader that is paused for it must not read on.
func (c *Conn) writeSwitch(r *Request, fn func(nc net.Conn)) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !r.markAnswered() {
		return false
	}
	c.wakeLocked()
	if c.state >= switched {
		c.running.Add(-1)
		return true
	}
	if c.locked {
		// Both ends have asked the other to switch. Each refuses, or they would
		// wait for each other.
		q := c.out.clear.forAnswer()
		q.b = appendError(q.b, r.tag, ErrUnknown.Describe("a protocol switch is under way"))
		c.kickLocked()
		return true
	}
	q := c.out.forAnswer()
	q.b = appendTagged(q.b, keyAnswer, r.tag, nil)
	c.kickLocked()
	c.takeover = fn
	c.advanceLocked(switched)
	c.interruptReadLocked()
	return true
}
