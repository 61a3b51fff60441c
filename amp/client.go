package amp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// A Client keeps a connection to one server: it dials again, with pauses that
// grow, whenever the connection ends or can't be made. It is a Caller: a call
// made while there is no connection waits for one, or for its context. A call
// that was sent and not answered when its connection ended fails; it is not
// sent again, for nobody knows whether it was executed.
type Client struct {
	opts   ClientOptions
	dial   func(ctx context.Context) (*Conn, error)
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{} // closed when the dialling goroutine has ended

	mu      sync.Mutex // guards the fields below
	conn    *Conn      // nil while there is none
	changed chan struct{}
	err     error // why it has given up; nil while it has not
}

// ClientOptions adjust a Client. A nil *ClientOptions means the defaults.
type ClientOptions struct {
	// MinPause and MaxPause bound the pause before dialling again. It doubles
	// with each attempt that fails, and half of it is left to chance, so that
	// clients of a server that restarts don't return all at once. A connection
	// that has lasted longer than the pause starts again with the shortest.
	// Defaults 100 ms and 30 s.
	MinPause, MaxPause time.Duration

	// MaxAttempts is how many attempts in a row may fail before the client
	// gives up, and every call fails. Zero means never.
	MaxAttempts int

	// OnState, if set, is told of each connection (conn is not nil), and of
	// each loss or failed attempt (err says why). It is called on the
	// client's goroutine: it should not block, and must not call Close.
	OnState func(conn *Conn, err error)
}

// NewClient returns a client that dials with dial, starting now.
//
//	client := amp.NewClient(func(ctx context.Context) (*amp.Conn, error) {
//		return amp.Dial(ctx, "tcp", "127.0.0.1:8750", nil, nil)
//	}, nil)
func NewClient(dial func(ctx context.Context) (*Conn, error), opts *ClientOptions) *Client {
	c := &Client{dial: dial, ended: make(chan struct{}), changed: make(chan struct{})}
	if opts != nil {
		c.opts = *opts
	}
	setDefault(&c.opts.MinPause, 100*time.Millisecond)
	setDefault(&c.opts.MaxPause, 30*time.Second)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	go c.run() // ends with Close, which waits, or when it gives up
	return c
}

// Conn returns the connection, and waits for one while there is none.
func (c *Client) Conn(ctx context.Context) (*Conn, error) {
	for {
		c.mu.Lock()
		conn, changed, err := c.conn, c.changed, c.err
		c.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if conn != nil && conn.alive() {
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (c *Client) callConn(ctx context.Context) (*Conn, error) { return c.Conn(ctx) }

// Call calls a command as Conn.Call does, over the connection or, while there
// is none, the next one.
func (c *Client) Call(ctx context.Context, command string, args Box) (Box, error) {
	conn, err := c.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return conn.Call(ctx, command, args)
}

// Close ends the client and its connection. Calls fail with ErrClosed.
func (c *Client) Close() error {
	c.giveUp(ErrClosed)
	c.cancel()
	<-c.ended
	return nil
}

// run dials, and waits for the connection's end, until it gives up.
func (c *Client) run() {
	defer close(c.ended)
	pause, failed := c.opts.MinPause, 0
	for {
		conn, err := c.dial(c.ctx)
		if err == nil {
			start := time.Now()
			failed = 0
			c.set(conn)
			c.state(conn, nil)
			select {
			case <-conn.Done():
				err = conn.Err()
			case <-c.ctx.Done():
				conn.Close()
				<-conn.Done()
			}
			c.set(nil)
			if time.Since(start) > pause {
				pause = c.opts.MinPause
			}
		} else {
			failed++
		}
		if c.ctx.Err() != nil {
			return
		}
		c.state(nil, err)
		if c.opts.MaxAttempts > 0 && failed >= c.opts.MaxAttempts {
			c.giveUp(fmt.Errorf("amp: gave up after %d attempts to connect: %w", failed, err))
			return
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		case <-c.ctx.Done():
			return
		}
		pause = min(2*pause, c.opts.MaxPause)
	}
}

func (c *Client) state(conn *Conn, err error) {
	if c.opts.OnState != nil {
		c.opts.OnState(conn, err)
	}
}

// set changes the connection and wakes who waits for it.
func (c *Client) set(conn *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	close(c.changed)
	c.changed = make(chan struct{})
}

// giveUp makes every call fail with err from now on.
func (c *Client) giveUp(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// alive reports whether commands can still be sent.
func (c *Conn) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state < closing
}
