package amp

import (
	"runtime"
	"sync"
	"time"
)

// A Batch has the answers to requests wait for each other, so that those that go
// over one connection are written together: for who answers many requests one
// after the other. What waits is written by Flush, by whatever else is written
// over the connection, or within two milliseconds: the next answer may take long.
//
// The zero Batch is ready to use, by several goroutines at once.
type Batch struct {
	mu      sync.Mutex // guards the fields below; taken with a connection's held
	conns   []*Conn    // where answers wait
	spare   []*Conn    // memory for the next conns
	flushes uint64     // counts Flush
	started int        // how many writers since others were let run
	seen    uint64     // what it was when the timer was last set
	timer   *time.Timer
	armed   bool
}

// batchTime is how long answers may wait for Flush, at most twice.
const batchTime = time.Millisecond

// mostWriters is how many connections may be flushed until others are let run.
const mostWriters = 64

// Add has the answer to r wait, whoever gives it, and whenever. It is called
// before that, and by whom the request belongs to.
func (b *Batch) Add(r *Request) { r.batch = b }

// Flush has what waits written. It may let other goroutines run first, if those
// that write have not come to it.
func (b *Batch) Flush() {
	b.mu.Lock()
	if len(b.conns) == 0 {
		b.mu.Unlock()
		return
	}
	list := b.conns
	b.conns, b.spare = b.spare[:0], nil
	b.flushes++
	b.started += len(list)
	crowd := b.started >= mostWriters
	if crowd {
		b.started = 0
	}
	b.mu.Unlock()
	for i, c := range list {
		c.mu.Lock()
		crowd = crowd || c.out.writing && c.out.taken == 0
		c.kickLocked()
		c.mu.Unlock()
		list[i] = nil
	}
	b.mu.Lock()
	b.spare = list[:0]
	b.mu.Unlock()
	if crowd {
		runtime.Gosched()
	}
}

// gatherLocked has the answer that was appended last wait for a Batch, unless it
// waits for something else already, or is about to be written.
func (c *Conn) gatherLocked(b *Batch) {
	if o := &c.out; !o.writing && !o.batch && o.gathers != b {
		o.gathers = b
		b.add(c)
	}
}

func (b *Batch) add(c *Conn) {
	b.mu.Lock()
	b.conns = append(b.conns, c)
	if !b.armed {
		b.armLocked()
	}
	b.mu.Unlock()
}

func (b *Batch) armLocked() {
	b.armed, b.seen = true, b.flushes
	if b.timer == nil {
		b.timer = time.AfterFunc(batchTime, b.look)
	} else {
		b.timer.Reset(batchTime)
	}
}

// look is what the timer does.
func (b *Batch) look() {
	b.mu.Lock()
	late := b.seen == b.flushes
	b.armed = false
	if len(b.conns) > 0 && !late {
		b.armLocked()
	}
	b.mu.Unlock()
	if late {
		b.Flush()
	}
}
