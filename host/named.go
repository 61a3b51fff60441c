package host

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/amphost/amphost/amp"
)

// ServeNamed accepts connections from l for what a plugin has under the name:
// its amp.boxReceiver, which takes whole boxes, or else its amp.protocol, which
// takes bytes. That is looked up for each connection, so the plugin may come
// later and be replaced. A connection that comes while there is none is closed,
// and the log says what to do. Otherwise ServeNamed is as Serve. At a Shutdown
// the connections of a box receiver are closed once what was sent is written,
// raw ones once nothing has passed for a second.
func (h *Host) ServeNamed(l net.Listener, name string) error {
	return h.ServeListener(l, Listener{Name: name})
}

// A namedListener accepts the connections of a box receiver. It gives those of a
// raw protocol away, and closes others.
type namedListener struct {
	net.Listener
	name    string
	h       *Host
	server  *amp.Server     // whose limits hold
	ctx     context.Context // ends with ServeListener
	shaking sync.WaitGroup  // handshakes of raw connections

	mu     sync.Mutex // guards the fields below
	closed int        // connections since the last line in the log
	told   time.Time
}

// Accept implements net.Listener.
func (l *namedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		switch {
		case err != nil:
			return nil, err
		case l.h.dir.Receiver(l.name) != nil:
			return nc, nil
		}
		l.serveRaw(nc)
	}
}

// serveRaw gives a connection to the raw protocol, after the handshake if it
// speaks TLS. It does not block.
func (l *namedListener) serveRaw(nc net.Conn) {
	counted := l.server.Adopt(nc)
	if counted == nil {
		return // it is one too many
	}
	tc, secure := nc.(*tls.Conn)
	if !secure {
		if !l.h.dir.ServeRaw(l.name, counted) {
			l.refuse(counted)
		}
		return
	}
	l.shaking.Go(func() { // ends within the time for handshakes; ServeListener waits
		ctx, cancel := l.ctx, func() {}
		if limit := l.h.handshakeTimeout(); limit > 0 {
			ctx, cancel = context.WithTimeout(ctx, limit)
		}
		defer cancel()
		err := tc.HandshakeContext(ctx)
		switch {
		case err != nil:
			counted.Close()
			l.h.log.Warn("connection ended", "listener", l.name, "peer", nc.RemoteAddr().String(), "reason", fmt.Errorf("TLS handshake: %w", err))
		case !l.h.dir.ServeRaw(l.name, counted):
			l.refuse(counted)
		}
	})
}

// handshakeTimeout returns Config.Conn's, or the default.
func (h *Host) handshakeTimeout() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return cmp.Or(h.conn.HandshakeTimeout, 10*time.Second) // as amp.Options
}

// refuse closes a connection that nobody is there for, and tells of it, once a
// second at most.
func (l *namedListener) refuse(nc net.Conn) {
	peer := nc.RemoteAddr().String()
	nc.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed++
	if time.Since(l.told) < time.Second {
		return
	}
	what := fmt.Sprintf("connection closed: no plugin has amp.boxReceiver(%q, …) or amp.protocol(%q, …), which this listener is for", l.name, l.name)
	l.h.log.Warn(what, "listener", l.name, "peer", peer, "times", l.closed)
	l.closed, l.told = 0, time.Now()
}

// gone takes the boxes of a connection whose box receiver is gone: none.
type gone struct{}

// StartReceivingBoxes implements amp.BoxReceiver.
func (gone) StartReceivingBoxes(c *amp.Conn) { c.LoseConnection() }

// BoxReceived implements amp.BoxReceiver.
func (gone) BoxReceived(amp.Box) {}

// StopReceivingBoxes implements amp.BoxReceiver.
func (gone) StopReceivingBoxes(error) {}
