package host

import (
	"crypto/tls"
	"fmt"
	"net"
	"path"
	"slices"

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
	conn := *h.server.Options
	conn.Strict = conn.Strict || opts.Strict
	if opts.TLS != nil {
		conn.TLS = opts.TLS
	}
	s := &amp.Server{Options: &conn, Limits: &h.server}
	if opts.Name != "" {
		s.Receiver = func() amp.BoxReceiver {
			if r := h.dir.Receiver(opts.Name); r != nil {
				return r
			}
			return gone{} // since Accept
		}
		l = &namedListener{Listener: l, name: opts.Name, dir: h.dir, log: h.log}
	} else {
		s.Handler = &gate{h: h, Listener: opts}
		s.OnConnect, s.OnDisconnect = h.dir.Connected, h.dir.Disconnected
	}
	h.mu.Lock()
	h.others = append(h.others, s)
	closed := h.closed
	h.mu.Unlock()
	if closed {
		s.Close()
	}
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.others = slices.DeleteFunc(h.others, func(other *amp.Server) bool { return other == s })
	}()
	return s.Serve(l)
}

// A gate answers the commands of a listener that may be called there.
type gate struct {
	h *Host
	Listener
}

// ServeAMP implements amp.Handler.
func (g *gate) ServeAMP(r *amp.Request) {
	switch {
	case !g.Rules.allow(r.Command), len(g.ClientRules) > 0 && !g.clientMay(r):
		r.Fail(scripting.ErrForbidden)
	case len(g.Plugins) > 0 && !slices.Contains(g.Plugins, g.h.dir.Owner(r.Command)):
		r.Fail(amp.ErrUnhandled)
	default:
		g.h.ServeAMP(r)
	}
}

// clientMay reports whether the rules for a request's client let it through.
func (g *gate) clientMay(r *amp.Request) bool {
	name := clientOf(r.Conn())
	for subject, rules := range g.ClientRules {
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
