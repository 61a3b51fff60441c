package amp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// A Server serves AMP connections. Set its fields before it is first used; the
// zero Server answers every command with UNHANDLED.
type Server struct {
	Handler Handler  // answers commands; nil answers none
	Options *Options // of each connection

	// Receiver, if set, makes a box receiver for each connection, which takes
	// its boxes instead of the Handler.
	Receiver func() BoxReceiver

	// OnConnect, if set, is called before a connection reads its first box,
	// and after its TLS handshake where the listener speaks TLS; OnDisconnect
	// once it has ended, with the reason. They are called on the connection's
	// reading goroutine, so the first may call its peer with Conn.Go only.
	OnConnect    func(*Conn)
	OnDisconnect func(*Conn, error)

	// MaxConns is how many connections may be open, and MaxConnsPerAddr how
	// many from one IP address; further ones are closed at once, and counted
	// in the log. Zero means 10,000 and 1,000, a negative number no limit.
	MaxConns        int
	MaxConnsPerAddr int

	// Limits, if set, is a server whose limits hold in place of this one's, for
	// the connections of both together.
	Limits *Server

	count connCount // of the servers whose limits are this one's
	tally tally     // of the same

	mu        sync.Mutex // guards the fields below
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	refused   int // since the last line in the log
	refusedAt time.Time
	closed    bool
	stop      chan struct{}  // closed when it begins to close; see closing
	finished  chan struct{}  // closed when Shutdown or Close has finished; made by the first of them
	wg        sync.WaitGroup // connections, until their goroutines and handler functions have ended
}

// Serve accepts connections from l, and closes it in the end. Once Shutdown or
// Close is called it waits for that to finish and returns ErrServerClosed, so
// a program may end when Serve returns. Any other error means that l failed.
// It may be called for several listeners. A tls.Listener works; so does a UNIX
// socket, over which descriptors travel.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		finished := s.finished
		s.mu.Unlock()
		l.Close()
		<-finished
		return ErrServerClosed
	}
	if s.listeners == nil {
		s.listeners = make(map[net.Listener]struct{})
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()

	err := s.accept(l)
	l.Close()
	s.mu.Lock()
	delete(s.listeners, l)
	closed, finished := s.closed, s.finished
	s.mu.Unlock()
	if closed {
		<-finished
		return ErrServerClosed
	}
	return fmt.Errorf("amp: accept on %s: %w", l.Addr(), err)
}

// accept accepts until l fails. Errors that may pass, such as too many open
// files, make it pause and try again, for longer each time.
func (s *Server) accept(l net.Listener) error {
	var pause time.Duration
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.serveConn(nc)
			continue
		}
		if s.isClosed() || !isTemporary(err) {
			return err
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.options().Logger.Warn("amp: accept failed, trying again", "listener", l.Addr(), "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-s.closing():
			return ErrServerClosed
		}
	}
}

// isTemporary reports whether accepting may work again later.
func isTemporary(err error) bool {
	var ne interface{ Temporary() bool }
	return errors.As(err, &ne) && ne.Temporary()
}

func (s *Server) options() *Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Options.withDefaults()
}

// SetOptions changes Options, for the connections to come.
func (s *Server) SetOptions(o *Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Options = o
}

// SetMaxConns changes MaxConns and MaxConnsPerAddr. Connections that are beyond
// them stay.
func (s *Server) SetMaxConns(all, perAddr int) {
	s.count.mu.Lock()
	defer s.count.mu.Unlock()
	s.MaxConns, s.MaxConnsPerAddr = all, perAddr
}

// serveConn starts a connection, or closes it if there are too many.
func (s *Server) serveConn(nc net.Conn) {
	addr := sourceOf(nc)
	s.mu.Lock()
	if why := s.refuseLocked(addr); why != "" {
		s.mu.Unlock()
		nc.Close()
		s.logRefused(why)
		return
	}
	c := newConn(nc, s.Handler, nil, s.Options)
	c.tally = &s.limits().tally
	c.release = sync.OnceFunc(func() { s.limits().count.give(addr) })
	if s.conns == nil {
		s.conns = make(map[*Conn]struct{})
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	keepAlive(nc, c.opts)
	if s.Receiver != nil {
		c.recv = s.Receiver()
	}
	started := false
	c.onStart = func() {
		started = true
		if s.OnConnect != nil {
			s.OnConnect(c)
		}
	}
	c.onDone = func(err error) {
		c.tally.over(err)
		if started && s.OnDisconnect != nil {
			s.OnDisconnect(c, err)
		}
		if err != io.EOF && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrSwitched) {
			c.opts.Logger.Warn("amp: connection ended", append(c.peerAttrs(), "reason", err)...)
		}
	}
	c.onEnd = func() {
		c.handlers.wait()
		s.forget(c)
		s.wg.Done()
	}
	c.start() // ends with the connection; Shutdown waits for onEnd
}

// refuseLocked says why a connection from addr is one too many, if it is, and
// else counts it.
func (s *Server) refuseLocked(addr string) string {
	if s.closed {
		return "the server is closed"
	}
	limits := s.limits()
	why := limits.count.take(limits, addr)
	limits.tally.mu.Lock()
	defer limits.tally.mu.Unlock()
	if why != "" {
		limits.tally.refused++
	} else {
		limits.tally.accepted++
	}
	return why
}

// Adopt counts a connection that another protocol is spoken on among the
// server's, until the net.Conn it returns is closed. It closes one that is beyond
// the limits, and returns nil.
func (s *Server) Adopt(nc net.Conn) net.Conn {
	addr := sourceOf(nc)
	s.mu.Lock()
	why := s.refuseLocked(addr)
	s.mu.Unlock()
	if why != "" {
		nc.Close()
		s.logRefused(why)
		return nil
	}
	keepAlive(nc, s.options())
	return &rawConn{Conn: nc, release: sync.OnceFunc(func() { s.limits().count.give(addr) })}
}

// limits returns the server whose limits hold.
func (s *Server) limits() *Server {
	if s.Limits != nil {
		return s.Limits
	}
	return s
}

// A connCount counts open connections.
type connCount struct {
	mu      sync.Mutex // guards the fields below; it may be taken with a Server's held
	open    int
	perAddr map[string]int
}

// take counts a connection from addr, or says which limit of s that is beyond.
func (n *connCount) take(s *Server, addr string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	most, mostPerAddr := s.MaxConns, s.MaxConnsPerAddr
	setDefault(&most, 10_000)
	setDefault(&mostPerAddr, 1000)
	switch {
	case over(n.open+1, most):
		return fmt.Sprintf("%d connections are open, Server.MaxConns", most)
	case addr != "" && over(n.perAddr[addr]+1, mostPerAddr):
		return fmt.Sprintf("%d connections from %s are open, Server.MaxConnsPerAddr", mostPerAddr, addr)
	}
	n.open++
	if addr != "" {
		if n.perAddr == nil {
			n.perAddr = make(map[string]int)
		}
		n.perAddr[addr]++
	}
	return ""
}

// give counts it as gone.
func (n *connCount) give(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open--
	if addr == "" {
		return
	}
	if n.perAddr[addr]--; n.perAddr[addr] == 0 {
		delete(n.perAddr, addr)
	}
}

// logRefused logs refused connections, at most once a second.
func (s *Server) logRefused(why string) {
	s.mu.Lock()
	s.refused++
	n := s.refused
	quiet := s.closed || time.Since(s.refusedAt) < time.Second
	if !quiet {
		s.refused, s.refusedAt = 0, time.Now()
	}
	s.mu.Unlock()
	if !quiet {
		s.options().Logger.Warn("amp: connection refused", "reason", why, "times", n)
	}
}

func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if c.Err() != ErrSwitched { // else whoever has the stream closes it
		c.release()
	}
}

// Conns returns the connections that are open now, in the order in which they
// were accepted.
func (s *Server) Conns() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.conns), func(a, b *Conn) int { return cmp.Compare(a.id, b.id) })
}

// Shutdown closes the listeners and shuts every connection down, as
// Conn.Shutdown does: what runs is answered. If ctx ends first, what is left
// is closed at once, and the context's error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	finished, first := s.close()
	if !first {
		select {
		case <-finished:
			return nil
		case <-ctx.Done():
			s.closeStreams()
			return ctx.Err()
		}
	}
	defer close(finished)
	var wg sync.WaitGroup
	for _, c := range s.Conns() {
		wg.Go(func() { c.Shutdown(ctx) })
	}
	wg.Wait()
	// Streams that have switched to another protocol, and handler functions
	// whose connection has ended, get until ctx ends.
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }() // ends when the last handler function does
	select {
	case <-done:
		return ctx.Err()
	case <-ctx.Done():
		s.closeStreams()
		return ctx.Err()
	}
}

// Close closes the listeners and every connection at once. It waits for the
// connections, so it must not be called on a reading goroutine, but not for
// handler functions.
func (s *Server) Close() error {
	finished, first := s.close()
	s.closeStreams()
	for _, c := range s.Conns() {
		<-c.Done()
	}
	if first {
		close(finished)
	}
	return nil
}

// close stops accepting. It reports whether it was the first to do so, and
// then has to close finished.
func (s *Server) close() (finished chan struct{}, first bool) {
	s.mu.Lock()
	if s.closed {
		defer s.mu.Unlock()
		return s.finished, false
	}
	s.closed, s.finished = true, make(chan struct{})
	close(s.closingLocked())
	finished = s.finished
	listeners := slices.Collect(maps.Keys(s.listeners))
	s.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	return finished, true
}

// closing is closed when the server begins to close.
func (s *Server) closing() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closingLocked()
}

func (s *Server) closingLocked() chan struct{} {
	if s.stop == nil {
		s.stop = make(chan struct{})
	}
	return s.stop
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) closeStreams() {
	for _, c := range s.Conns() {
		c.closeStream()
	}
}

// sourceOf returns the IP address a connection comes from, or "".
func sourceOf(nc net.Conn) string {
	if addr, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return addr.IP.String()
	}
	return ""
}

// keepAlive has the kernel notice a peer that is gone without a word. The options
// have their defaults.
func keepAlive(nc net.Conn, opts *Options) {
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: opts.KeepAlive > 0, Idle: opts.KeepAlive, Interval: opts.KeepAlive, Count: 3})
		if opts.UserTimeout > 0 {
			setUserTimeout(tcp, opts.UserTimeout)
		}
	}
}
