package amp

// direct writes to a socket without waiting: what the reader does with the
// answers to a batch, for to start the writer takes longer than to write them.
// Only the reading goroutine uses it.
type direct struct {
	socket // none on a transport that is no plain socket
	p      []byte
	n      int // of p that is written
}

// writeNowLocked writes what is in the outbox as far as the socket takes it
// without waiting, and has the writer do the rest. It gives the mutex back.
func (c *Conn) writeNowLocked() {
	o := &c.out
	q := o.takeLocked()
	o.writing = true
	c.mu.Unlock()

	n := c.direct.write(q.buf.b)
	if n < len(q.buf.b) {
		go c.write(q, n) // ends as described at kickLocked
		return
	}
	c.written(q, nil)
	c.mu.Lock()
	o.writing = false
	c.wakeLocked()
	c.offerRoomLocked()
	c.kickLocked() // others have sent something meanwhile
	c.mu.Unlock()
}

// canWriteNowLocked reports whether the outbox has something for writeNowLocked.
func (c *Conn) canWriteNowLocked() bool {
	o := &c.out
	return c.direct.works() && o.buf != nil && !o.writing && !o.hold && len(o.files) == 0 && c.state < ended
}
