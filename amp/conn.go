package amp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is one AMP connection. Both ends may call and be called. Its methods
// may be used by several goroutines.
//
// One goroutine reads; another writes while there is something to write.
type Conn struct {
	id        uint64
	opts      *Options    // filled in, never changed
	h         Handler     // answers the peer's commands
	recv      BoxReceiver // takes whole boxes instead of h, or nil
	ctx       context.Context
	cancel    context.CancelFunc
	in        input         // only the reading goroutine
	forgetful bool          // h is Forgetful
	lending   bool          // the request that a handler has is lent; only the reading goroutine
	spare     *Request      // for the next command, or nil; only the reading goroutine
	spareJob  spareJob      // of the last lent request, for the next one, or nil; only the reading goroutine
	early     int           // lent requests that were answered in this batch, see Stats; only the reading goroutine
	direct    direct        // only the reading goroutine
	names     []string      // command names seen, so that they need not be allocated again; only the reading goroutine
	paused    *Request      // the reader waits for its answer; only the reading goroutine
	onStart   func()        // called before the first box is read, after a TLS handshake; or nil
	onDone    func(error)   // told when the connection has ended, before done is closed; or nil
	onEnd     func()        // called at the end of the last reading goroutine; or nil
	release   func()        // counts the transport as closed; or nil
	tally     *tally        // or nil
	rest      time.Duration // the reader rests for so long; only the reading goroutine

	waits sync.Pool // of *wait

	done      chan struct{} // closed when nothing of the protocol is read or written any more
	handlers  workers       // handler functions that run
	running   atomic.Int64  // commands whose answer is not written yet
	held      atomic.Int64  // bytes of large boxes whose command is not answered yet
	attention atomic.Bool   // the state is not open: the reader must look at it
	full      atomic.Bool   // so many answers may wait to be written that the reader must wait

	mu      sync.Mutex // guards the fields below
	changed sync.Cond  // on mu: the reader waits here, and whoever waits for a flush
	waiting int        // how many wait on changed
	room    sync.Cond  // on mu: calls and handler functions wait here for room to write
	rwc     io.ReadWriteCloser
	state   connState
	drained bool      // commands are refused with SHUTTING_DOWN, also when it is closing
	err     error     // why it ended; set once
	readBy  time.Time // when the reader is wanted back at the latest; zero: when there is something to read

	out       outbox              // boxes to be written
	calls     map[uint64]answerTo // calls that wait for the peer's answer, by tag
	forgotten int                 // those of them that were given up, with Options.Strict
	lastTag   uint64
	locked    bool              // a protocol switch was asked for: nothing is sent until its answer is here
	takeover  func(nc net.Conn) // who gets the stream: the connection is to switch

	files     map[int]*os.File // descriptors that no box has claimed yet
	lastFile  int              // ordinals given to received descriptors
	firstFile int              // ordinals given to descriptors that were sent
}

// connState is what a connection still does. It only grows.
type connState int

const (
	open     connState = iota
	draining           // it is about to close
	closing            // nothing more is read; what runs is answered
	switched           // the stream is to belong to another protocol
	ended              // nothing is read or written any more
)

// lingerTime bounds how long a connection that is to close waits for what
// still runs, and for the peer to take what was written.
const lingerTime = time.Second

// halfCloseTime bounds how long commands may run whose peer has closed its
// half of the connection. It may have closed both: TCP does not tell.
const halfCloseTime = 5 * time.Second

var lastConnID atomic.Uint64

// NewConn starts a connection over rwc, which it then owns: a net.Conn, a pipe
// to a child process, or any other stream. h answers the peer's commands; nil
// answers none. Limits that need time-outs close rwc where it has no deadlines.
func NewConn(rwc io.ReadWriteCloser, h Handler, opts *Options) *Conn {
	c := newConn(rwc, h, nil, opts)
	c.start()
	return c
}

func newConn(rwc io.ReadWriteCloser, h Handler, recv BoxReceiver, opts *Options) *Conn {
	if h == nil {
		h = unhandled
	}
	c := &Conn{
		id:   lastConnID.Add(1),
		opts: opts.withDefaults(),
		h:    h,
		recv: recv,
		rwc:  rwc,
		done: make(chan struct{}),
	}
	_, c.forgetful = h.(Forgetful)
	c.changed.L = &c.mu
	c.room.L = &c.mu
	c.handlers.serial = c.opts.Strict
	c.ctx, c.cancel = context.WithCancel(context.WithValue(context.Background(), connKey{}, c))
	c.in.init(c, rwc)
	c.direct.bind(rwc)
	return c
}

// start begins to read. The reading goroutine ends when the transport does,
// and waits for all others of the connection but handler functions.
func (c *Conn) start() { go c.read() }

// unhandled is the handler of a connection that has none.
var unhandled = HandlerFunc(func(r *Request) { r.Fail(ErrUnhandled) })

type connKey struct{}

// ConnFrom returns the connection behind the context of a handler function, or
// nil.
func ConnFrom(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

// ID returns a number that no other connection of this process has.
func (c *Conn) ID() uint64 { return c.id }

// Done is closed when the connection has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is nil until Done is closed. Then it is io.EOF if the peer hung up,
// ErrClosed after Close or Shutdown, ErrSwitched after a protocol switch, and
// otherwise what went wrong.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.err
	default:
		return nil
	}
}

// transport returns the stream as it is now, encrypted or not.
func (c *Conn) transport() io.ReadWriteCloser {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rwc
}

// RemoteAddr is the peer's address, or nil where the transport has none.
func (c *Conn) RemoteAddr() net.Addr {
	if nc, ok := c.transport().(net.Conn); ok {
		return nc.RemoteAddr()
	}
	return nil
}

// LocalAddr is this end's address, or nil where the transport has none.
func (c *Conn) LocalAddr() net.Addr {
	if nc, ok := c.transport().(net.Conn); ok {
		return nc.LocalAddr()
	}
	return nil
}

// peerName is the peer's address for the log.
func (c *Conn) peerName() string {
	if addr := c.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return "pipe"
}

// peerAttrs say who the peer is, for the log: its address, and the common name of
// its certificate if that was verified.
func (c *Conn) peerAttrs() []any {
	attrs := []any{"peer", c.peerName()}
	if name := c.Client(); name != "" {
		attrs = append(attrs, "client", name)
	}
	return attrs
}

// Client returns the common name of the peer's certificate, if that was
// verified, and "" otherwise.
func (c *Conn) Client() string {
	if state := c.TLS(); state != nil && len(state.VerifiedChains) > 0 {
		return state.VerifiedChains[0][0].Subject.CommonName
	}
	return ""
}

// TLS returns the state of the encryption, or nil on a plaintext connection.
// VerifiedChains tells whether the peer's certificate was verified.
func (c *Conn) TLS() *tls.ConnectionState {
	if tc, ok := c.transport().(*tls.Conn); ok {
		state := tc.ConnectionState()
		if state.HandshakeComplete {
			return &state
		}
	}
	return nil
}

// Running returns how many of the peer's commands are not answered yet.
func (c *Conn) Running() int { return int(c.running.Load()) }

// Close closes the connection at once. Pending calls fail with ErrClosed; what
// is not written yet is lost.
func (c *Conn) Close() error {
	c.end(ErrClosed)
	return nil
}

// Shutdown refuses further commands with SHUTTING_DOWN, waits until those that
// run are answered and the answers written, then closes. Until then the
// answers to this end's own calls still arrive. If ctx ends first it closes at
// once and returns the context's error.
func (c *Conn) Shutdown(ctx context.Context) error {
	c.Drain()
	stop := context.AfterFunc(ctx, func() { c.end(ErrClosed) })
	defer stop()
	c.mu.Lock()
	c.awaitLocked(func() bool { return c.running.Load() == 0 && c.out.idleLocked() })
	c.mu.Unlock()
	c.loseConnection()
	select {
	case <-c.done:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// Drain has the connection take no more commands, while those that run are
// answered: how Shutdown begins. It does not wait.
func (c *Conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drained = true
	c.advanceLocked(draining)
}

// advanceLocked moves the state forward and wakes whoever waits for it.
func (c *Conn) advanceLocked(to connState) {
	if to > c.state {
		c.state = to
		c.attention.Store(true)
		c.wakeLocked()
		c.room.Broadcast()
	}
}

// end ends the connection at once: the transport is closed, pending calls
// fail, the reader and the writer notice. It never waits.
func (c *Conn) end(err error) {
	c.mu.Lock()
	if c.state == ended {
		c.mu.Unlock()
		return
	}
	c.err = err
	c.advanceLocked(ended)
	rwc := c.rwc
	c.mu.Unlock()

	c.cancel()
	rwc.Close()
	failAll(c.takeCalls(), err)
}

// closeStream closes the stream, whatever speaks on it now.
func (c *Conn) closeStream() {
	c.end(ErrClosed)
	c.transport().Close()
}

// awaitLocked waits until cond holds or the connection has ended.
func (c *Conn) awaitLocked(cond func() bool) {
	for c.state != ended && !cond() {
		c.waitLocked()
	}
}

// waitLocked waits until somebody wakes it.
func (c *Conn) waitLocked() {
	c.waiting++
	c.changed.Wait()
	c.waiting--
}

// wakeLocked wakes everyone who waits for a change.
func (c *Conn) wakeLocked() {
	if c.waiting > 0 {
		c.changed.Broadcast()
	}
}

// isLocked reports whether this end has asked for a protocol switch.
func (c *Conn) isLocked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.locked
}

func (c *Conn) wake() {
	c.mu.Lock()
	c.wakeLocked()
	c.mu.Unlock()
}

// finish counts a command as answered that writes nothing.
func (c *Conn) finish(quit bool) {
	c.running.Add(-1)
	c.wake()
	if quit {
		c.loseConnection()
	}
}

// loseConnection closes the connection once what is running now is answered
// and written, and within a second: Twisted's transport.loseConnection (items
// E8, F18). It does not wait.
func (c *Conn) loseConnection() {
	c.mu.Lock()
	already := c.state >= closing
	c.advanceLocked(closing)
	c.mu.Unlock()
	if !already && !c.interruptRead() {
		// The reader stays in Read: do for it what it would do.
		c.handlers.run(func() {
			c.flush(lingerTime, ErrClosed)
			c.end(ErrClosed)
		})
	}
}

// isTimeout reports whether err is an I/O deadline that passed. The kernel's own
// time-out, for a peer that is gone, is none: the connection is over then.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() && !isGone(err)
}
