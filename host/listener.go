package host

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path"
	"slices"
	"sync/atomic"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/scripting"
)

// A Listener says what the connections of one net.Listener are for, and what
// they may do. The zero Listener is for all commands.
type Listener struct {
	// Name, if set, is that of a plugin's amp.boxReceiver or amp.protocol, which
	// the connections are for instead of commands; of the other fields Strict
	// and TLS hold then.
	Name string

	// Plugins, if set, are those whose commands are answered. Others, and those
	// in Go, are unhandled.
	Plugins []string

	// Rules hold for every connection, ClientRules besides for those whose
	// certificate was verified and has a subject of that name: a pattern for its
	// common name. A client that none of several ClientRules is for may call
	// nothing.
	Rules       Rules
	ClientRules map[string]Rules

	// Strict is amp.Options.Strict for these connections, if Config.Conn does
	// not have it already.
	Strict bool

	// TLS, if set, is in place of Config.Conn.TLS: what StartTLS is answered
	// with. A listener that speaks TLS from the beginning is a tls.Listener.
	TLS *tls.Config
}

// Rules say which commands may be called: patterns as path.Match has them, such
// as "Get*". A command that they refuse fails with FORBIDDEN.
type Rules struct {
	Allow  []string // empty for all
	Refuse []string // wins
}

// check returns an error for a pattern that is malformed.
func (r Rules) check() error {
	for _, pattern := range slices.Concat(r.Allow, r.Refuse) {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("pattern %q of commands: %w", pattern, err)
		}
	}
	return nil
}

// allow reports whether a command may be called.
func (r Rules) allow(command string) bool {
	is := func(pattern string) bool {
		ok, _ := path.Match(pattern, command) // they were checked
		return ok
	}
	return (len(r.Allow) == 0 || slices.ContainsFunc(r.Allow, is)) && !slices.ContainsFunc(r.Refuse, is)
}

// check returns an error if the listener makes no sense.
func (l Listener) check() error {
	if err := l.Rules.check(); err != nil {
		return err
	}
	for subject, rules := range l.ClientRules {
		if _, err := path.Match(subject, ""); err != nil {
			return fmt.Errorf("pattern %q of clients: %w", subject, err)
		}
		if err := rules.check(); err != nil {
			return fmt.Errorf("client %q: %w", subject, err)
		}
	}
	if l.Name != "" && (len(l.Plugins) > 0 || len(l.ClientRules) > 0 || len(l.Rules.Allow)+len(l.Rules.Refuse) > 0) {
		return fmt.Errorf("a listener for %q answers no commands, so there is nothing to allow or to refuse", l.Name)
	}
	return nil
}

// ServeListener is Serve for connections that are told apart: see Listener. An
// error at once means that the Listener makes no sense; l is closed in any case.
func (h *Host) ServeListener(l net.Listener, opts Listener) error {
	if err := opts.check(); err != nil {
		l.Close()
		return fmt.Errorf("listener %s: %w", l.Addr(), err)
	}
	o := &own{listener: l}
	o.opts.Store(&opts)
	s := &amp.Server{Limits: &h.server}
	if opts.Name != "" {
		s.Receiver = func() amp.BoxReceiver {
			if r := h.dir.Receiver(opts.Name); r != nil {
				return r
			}
			return gone{} // since Accept
		}
		ctx, cancel := context.WithCancel(context.Background())
		named := &namedListener{Listener: l, name: opts.Name, h: h, server: s, ctx: ctx}
		defer named.shaking.Wait()
		defer cancel()
		l = named
	} else {
		s.Handler = &gate{h, o}
		s.OnConnect, s.OnDisconnect = h.dir.Connected, h.dir.Disconnected
	}
	h.mu.Lock()
	s.Options = opts.options(h.conn)
	h.others[s] = o
	closed := h.closed
	h.mu.Unlock()
	if closed {
		s.Close()
	}
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.others, s)
	}()
	return s.Serve(l)
}

// own is what a host knows of a listener with a Listener of its own.
type own struct {
	listener net.Listener // as ServeListener was given it
	opts     atomic.Pointer[Listener]
}

// options returns conn as it is for the listener's connections.
func (l Listener) options(conn amp.Options) *amp.Options {
	conn.Strict = conn.Strict || l.Strict
	if l.TLS != nil {
		conn.TLS = l.TLS
	}
	return &conn
}

// A gate answers the commands of a listener that may be called there.
type gate struct {
	h *Host
	*own
}

// ForgetsRequests implements amp.Forgetful.
func (g *gate) ForgetsRequests() {}

// ServeAMP implements amp.Handler.
func (g *gate) ServeAMP(r *amp.Request) {
	if !g.h.rates.admit(r, g.h.answers) {
		return
	}
	switch l := g.opts.Load(); {
	case !l.Rules.allow(r.Command), len(l.ClientRules) > 0 && !l.clientMay(r):
		r.Fail(scripting.ErrForbidden)
	case len(l.Plugins) > 0 && !slices.Contains(l.Plugins, g.h.dir.Owner(r.Command)):
		r.Fail(amp.ErrUnhandled)
	default:
		serveAMP(g.h.commands, g.h.dir, r)
	}
}

// clientMay reports whether the rules for a request's client let it through.
func (l *Listener) clientMay(r *amp.Request) bool {
	name := clientOf(r.Conn())
	for subject, rules := range l.ClientRules {
		if ok, _ := path.Match(subject, name); ok && name != "" && rules.allow(r.Command) {
			return true
		}
	}
	return false
}

// clientOf returns the common name of a connection's verified certificate, or "".
func clientOf(c *amp.Conn) string {
	if c == nil {
		return ""
	}
	return c.Client()
}
