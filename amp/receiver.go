package amp

import "io"

// A BoxReceiver takes the whole boxes of a connection, the empty one too,
// instead of commands being answered: Twisted's IBoxReceiver. Its methods are
// called one after another on the connection's reading goroutine; while one
// runs, nothing is read. A BoxReceived that panics ends the connection.
type BoxReceiver interface {
	// StartReceivingBoxes is called once, before the first box. c.SendBox may
	// be used from here on.
	StartReceivingBoxes(c *Conn)
	// BoxReceived is called for every box, which it may keep.
	BoxReceived(b Box)
	// StopReceivingBoxes is called once, when the connection has ended.
	StopReceivingBoxes(reason error)
}

// NewBoxConn starts a connection over rwc, which it then owns, whose boxes go
// to receiver. Commands can't be called over it; boxes are sent with SendBox.
func NewBoxConn(rwc io.ReadWriteCloser, receiver BoxReceiver, opts *Options) *Conn {
	c := newConn(rwc, nil, receiver, opts)
	c.start()
	return c
}

// SendBox queues any box to be written, whatever its keys are: Twisted's
// IBoxSender. It waits while more than MaxUnwritten bytes wait already.
func (c *Conn) SendBox(b Box) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaitRoomLocked(c.ctx)
	switch {
	case c.state == ended:
		return c.err
	case c.locked, c.state == switched:
		return ErrSwitched
	case c.state == closing:
		return ErrClosed
	}
	dst := c.out.dstLocked()
	out, err := b.Append(dst.b)
	if err != nil {
		if len(dst.b) == 0 {
			c.out.buf = nil // nothing waits to be written
			dst.release()
		}
		return err
	}
	dst.b = out
	c.kickLocked()
	return nil
}

// LoseConnection closes the connection once what was sent is written: Twisted's
// transport.loseConnection. It does not wait; Done tells when it has ended.
func (c *Conn) LoseConnection() { c.loseConnection() }
