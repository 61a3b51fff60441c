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
	writing bool      // the writing goroutine runs
	taken   int       // bytes the writer has taken and not written
	since   time.Time // when it began to write the piece it writes now
}

// A queue is a run of encoded boxes.
type queue struct {
	buf     *buffer   // nil when there are none
	answers int       // how many of them answer a command
	files   []outFile // descriptors that travel with them
}

// An outFile is a descriptor that travels with the byte at offset in a queue.
type outFile struct {
	offset int
	file   *os.File
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
	return q
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
	go c.write() // ends when all is written or the connection has ended; read waits for it
}

// write writes until nothing is left.
func (c *Conn) write() {
	// Let others that are ready append first: one write for all of them.
	runtime.Gosched()
	c.mu.Lock()
	for c.state != ended {
		q := c.out.takeLocked()
		if q.buf == nil {
			break
		}
		now := time.Now()
		c.out.taken, c.out.since = len(q.buf.b), now
		w := c.rwc
		c.mu.Unlock()
		err := c.writeAll(w, q, now)
		q.buf.release()
		closeFiles(q.files)
		c.running.Add(int64(-q.answers))
		if err != nil {
			c.end(err)
		}
		c.mu.Lock()
		c.out.taken = 0
		c.crowdLocked()
		c.wakeLocked()
	}
	c.out.writing = false
	c.wakeLocked()
	c.mu.Unlock()
}

// writePiece is how much is written at a time, so that progress can be seen.
const writePiece = 64 << 10

// writeAll writes a queue, and fails with ErrSlowPeer when the peer takes
// nothing for as long as Options.WriteTimeout.
func (c *Conn) writeAll(w io.Writer, q queue, now time.Time) error {
	p, files := q.buf.b, q.files
	timer := c.stallTimer(w)
	if timer != nil {
		defer timer.Stop()
	}
	at := 0
	for at < len(p) {
		end := min(at+writePiece, len(p))
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
		if at > 0 {
			now = time.Now()
			c.mu.Lock()
			c.out.since, c.out.taken = now, len(p)-at
			c.crowdLocked()
			c.wakeLocked()
			c.mu.Unlock()
		}
		if timer != nil {
			timer.Reset(c.opts.WriteTimeout)
		} else if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok && c.opts.WriteTimeout > 0 {
			d.SetWriteDeadline(now.Add(c.opts.WriteTimeout))
		}
		n, err := w.Write(p[at:end])
		at += n
		if err != nil && !(isTimeout(err) && n > 0) {
			return writeError(err)
		}
	}
	return nil
}

// stallTimer closes a transport without deadlines when a write makes no
// progress.
func (c *Conn) stallTimer(w io.Writer) *time.Timer {
	if _, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok || c.opts.WriteTimeout < 0 {
		return nil
	}
	return time.AfterFunc(c.opts.WriteTimeout, func() {
		c.end(fmt.Errorf("%w for %v", ErrSlowPeer, c.opts.WriteTimeout))
	})
}

func writeError(err error) error {
	if isTimeout(err) {
		return fmt.Errorf("%w: %w", ErrSlowPeer, err)
	}
	return err
}

// writeAnswer sends the answer to a command.
func (c *Conn) writeAnswer(tag, pairs []byte, quit bool) {
	c.writeReply(quit, func(dst []byte) []byte { return appendTagged(dst, keyAnswer, tag, pairs) })
}

// writeError sends the error that answers a command, and closes the connection
// after it if it is fatal.
func (c *Conn) writeError(tag []byte, e *Error) {
	code := e.Code
	if len(code) > MaxValue {
		code = code[:MaxValue]
	}
	c.writeReply(e.Fatal, func(dst []byte) []byte {
		dst = appendPair(dst, keyError, tag)
		dst = appendPair(dst, keyErrorCode, code)
		dst = appendPair(dst, keyErrorDescription, wireDescription(e.Description))
		return append(dst, 0, 0)
	})
}

// writeReply appends the box that answers a command. With quit the connection
// closes once it is written. A peer that lets answers pile up beyond
// MaxUnwritten without taking any is cut off.
func (c *Conn) writeReply(quit bool, appendBox func(dst []byte) []byte) {
	c.mu.Lock()
	if c.state >= switched { // nobody is there to take it
		c.running.Add(-1)
		c.wakeLocked()
		c.mu.Unlock()
		return
	}
	dst := c.out.dstLocked()
	dst.b = appendBox(dst.b)
	c.out.answers++
	c.kickLocked()
	c.crowdLocked()
	c.wakeLocked()
	size := c.out.size()
	stuck := over(size, c.opts.MaxUnwritten) && c.out.taken > 0 && time.Since(c.out.since) > time.Second
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

// crowdLocked notes whether too much waits to be written.
func (c *Conn) crowdLocked() {
	if crowded := over(c.out.size(), c.opts.MaxUnwritten); crowded != c.crowded.Load() {
		c.crowded.Store(crowded)
	}
}

// waitRoom waits until no more than MaxUnwritten bytes wait to be written, or
// until ctx or the connection has ended.
func (c *Conn) waitRoom(ctx context.Context) {
	if !c.crowded.Load() {
		return
	}
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		c.wakeLocked()
		c.mu.Unlock()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaitLocked(func() bool { return ctx.Err() != nil || !c.crowded.Load() })
}

// writeSwitch answers a protocol switch: nothing else is sent after it.
func (c *Conn) writeSwitch(tag []byte, fn func(nc net.Conn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state >= switched {
		c.running.Add(-1)
		return
	}
	dst := c.out.dstLocked()
	dst.b = appendTagged(dst.b, keyAnswer, tag, nil)
	c.out.answers++
	c.kickLocked()
	c.takeover = fn
	c.advanceLocked(switched)
	c.interruptReadLocked()
}
