package amp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// A SwitchCommand is a command after which the connection speaks another
// protocol: Twisted's ProtocolSwitchCommand (items S1 to S6). Its answer has no
// keys.
type SwitchCommand[Args any] struct {
	Name        string
	Errors      ErrorCodes // as in Command
	FatalErrors ErrorCodes
}

// Call asks the peer to switch, and returns the raw stream once it has: first
// what the peer sent behind its answer. The Conn has then ended with
// ErrSwitched, which is also what calls fail with that were not answered yet.
// From the call on nothing else can be sent. Answers to the peer's commands wait
// meanwhile: if the peer switches they are dropped; after an error that it sent
// they go out, and AMP goes on. If ctx ends first, the connection is closed:
// nobody knows what it speaks.
func (cmd SwitchCommand[Args]) Call(ctx context.Context, caller Caller, args Args) (net.Conn, error) {
	c, err := caller.callConn(ctx)
	if err != nil {
		return nil, err
	}
	box, err := Marshal(args)
	if err != nil {
		return nil, err
	}
	nc, err := c.Switch(ctx, cmd.Name, box)
	return nc, declaredError(err, cmd.Errors, cmd.FatalErrors)
}

// Handle has m answer the command with fn, which runs in a goroutine of its
// own while the connection waits. It returns who takes the stream over, and
// owns and closes it, or an error, after which AMP goes on.
func (cmd SwitchCommand[Args]) Handle(m *Mux, fn func(ctx context.Context, args Args) (func(nc net.Conn), error)) {
	mustPlan[Args](cmd.Name)
	m.Handle(cmd.Name, HandlerFunc(func(r *Request) {
		var args Args
		if err := r.Unmarshal(&args); err != nil {
			r.Fail(err)
			return
		}
		r.Pause()
		r.spawn(jobFunc(func() {
			defer r.recoverHandler()
			takeover, err := fn(r.Context(), args)
			if err != nil {
				r.Fail(codedError(err, cmd.Errors, cmd.FatalErrors))
				return
			}
			r.Switch(takeover)
		}))
	}))
}

// Switch is SwitchCommand.Call without types.
func (c *Conn) Switch(ctx context.Context, command string, args Box) (net.Conn, error) {
	done := make(chan net.Conn, 1)
	failed := make(chan error, 1)
	a := answerFunc(func(_ []byte, err error) {
		c.mu.Lock()
		c.locked, c.out.hold = false, false
		if err != nil {
			c.kickLocked() // AMP goes on
			c.mu.Unlock()
			failed <- err
			return
		}
		// On the reading goroutine: it looks at takeover next.
		c.takeover = func(nc net.Conn) { done <- nc }
		c.advanceLocked(switched)
		late := c.out.queue
		c.out.queue = queue{} // it would be read by the other protocol
		c.mu.Unlock()
		closeFiles(late.files)
		late.notify(ErrSwitched)
	})
	pairs, err := args.appendPairs(nil)
	if err == nil {
		err = checkCommand(command, pairs)
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.out.hold && !c.locked {
		err = errors.New("amp: a protocol switch while StartTLS is under way")
	} else if _, err = c.sendLocked(command, pairs, a); err == nil {
		c.locked = true
		c.out.holdLocked()
		c.kickLocked()
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case nc := <-done:
		return nc, nil
	case err := <-failed:
		return nil, err
	case <-c.done:
		select {
		case err := <-failed: // by the peer's own switch, for one
			return nil, err
		default:
		}
		if c.Err() == ErrSwitched {
			return <-done, nil // the reading goroutine is just handing it over
		}
		return nil, c.Err()
	case <-ctx.Done():
		c.closeStream()
		return nil, context.Cause(ctx)
	}
}

// A rawConn is a stream after a protocol switch: what was read already comes
// first.
type rawConn struct {
	net.Conn
	rest    []byte
	release func() // called once it is closed; or nil
}

// Close implements net.Conn.
func (c *rawConn) Close() error {
	err := c.Conn.Close()
	if c.release != nil {
		c.release()
	}
	return err
}

func (c *rawConn) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite closes the writing half, where the transport can.
func (c *rawConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return os.ErrInvalid
}

// A pipeConn makes a net.Conn of a transport that has no addresses or
// deadlines.
type pipeConn struct{ io.ReadWriteCloser }

func (pipeConn) LocalAddr() net.Addr              { return pipeAddr{} }
func (pipeConn) RemoteAddr() net.Addr             { return pipeAddr{} }
func (pipeConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (pipeConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (pipeConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
