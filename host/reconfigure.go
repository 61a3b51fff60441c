package host

import (
	"context"
	"fmt"
	"net"

	"github.com/amphost/amphost/amp"
)

// Stats are what a host has counted: amp.Server's for all of its listeners
// together.
type Stats struct {
	amp.Stats
	Limited uint64 // calls that were refused because there were too many a second
}

// Stats returns what was counted up to now. It may be called at any time.
func (h *Host) Stats() Stats { return Stats{h.server.Stats(), h.rates.limited.Load()} }

// Check returns an error if a configuration has patterns that make no sense.
func (c Config) Check() error {
	_, err := readPermissions(c)
	return err
}

// Reconfigure takes from cfg what can change while the host serves, and nothing
// else: AllowNet and AllowEnv, MaxConns and the other limits of Config hold at
// once; Conn for the connections to come; plugins whose table in Script.Config
// has changed are loaded again. An error means that cfg makes no sense, and
// nothing has changed, or that a plugin did not load, and goes on with its old
// table.
func (h *Host) Reconfigure(ctx context.Context, cfg Config) error {
	allowed, err := readPermissions(cfg)
	if err != nil {
		return err
	}
	if cfg.Conn.Logger == nil {
		cfg.Conn.Logger = h.conn.Logger
	}
	h.allowed.Store(allowed)
	h.rates.set(cfg.MaxCallsPerConn, cfg.MaxCallsPerAddr, cfg.MaxCallsPerCommand)
	h.server.SetMaxConns(cfg.MaxConns, cfg.MaxConnsPerAddr)
	h.mu.Lock()
	h.conn = cfg.Conn
	h.server.SetOptions(&cfg.Conn)
	for s, o := range h.others {
		s.SetOptions(o.opts.Load().options(cfg.Conn))
	}
	h.mu.Unlock()
	return h.dir.Configure(ctx, cfg.Script.Config)
}

// SetListener changes what holds for the connections of a listener that
// ServeListener was given: Rules, ClientRules and Plugins at once, Strict and TLS
// for those to come. Its Name stays.
func (h *Host) SetListener(l net.Listener, opts Listener) error {
	if err := opts.check(); err != nil {
		return fmt.Errorf("listener %s: %w", l.Addr(), err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s, o := range h.others {
		if o.listener != l {
			continue
		}
		if name := o.opts.Load().Name; name != opts.Name {
			return fmt.Errorf("listener %s: it is for %q, and can't become one for %q", l.Addr(), name, opts.Name)
		}
		o.opts.Store(&opts)
		s.SetOptions(opts.options(h.conn))
		return nil
	}
	return fmt.Errorf("listener %s is not served", l.Addr())
}
