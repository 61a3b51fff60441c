// Package host serves the plugins of a directory over AMP.
//
// A Host is an amp.Handler made of two: the commands that the embedding program
// answers in Go, and for all others the plugins of a scripting.Dir. It accepts
// connections itself with Serve, or is the handler of a server that the program
// already has. It has no globals, takes no signals and never exits; what it was
// given, the store above all, stays the giver's.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/scripting"
)

// Config says what a Host serves. Only Plugins is required.
type Config struct {
	// Plugins is the directory of plugins. It need not exist yet: with Watch,
	// plugins are served once it does.
	Plugins string

	// Watch replaces plugins as their files change. It listens to the file
	// system's events, and looks at the files where they do not come.
	Watch bool

	// Poll has Watch do without the file system's events.
	Poll bool

	// Commands answers the commands that are written in Go. What it has no
	// handler for goes to the plugins. A plugin that answers one of its
	// commands does not load.
	Commands *amp.Mux

	// AllowNet names, for each plugin, where its scripts may connect to, besides
	// what Script.Net says: patterns "HOST:PORT", in which the host may be
	// "*.example.com", "*" or a range "10.0.0.0/8" and the port "*", or
	// "unix:PATH". A pattern with a name or "*" does not reach addresses that
	// are not public, such as private, loopback and link-local ones, whatever
	// the name is found to stand for: they are named themselves, or
	// "localhost". Default nowhere.
	AllowNet map[string][]string

	// AllowEnv names, for each plugin, the variables of the environment that
	// its scripts may read with amp.env, besides what Script.Env says. Default
	// none.
	AllowEnv map[string][]string

	// Authorizers names the plugins whose amp.authorize every call of a peer
	// needs, of commands in Go, too: while one of them is missing, broken or
	// does not call it, every call is refused.
	Authorizers []string

	// Logger receives what Script and Conn have no logger of their own for.
	// Default slog.Default().
	Logger *slog.Logger

	// Script is the plugins' store, logger and limits. Scripts reach Commands, too,
	// with amp.call, unless it has a Handler.
	Script scripting.Options
	Conn   amp.Options // the logger and limits of each connection

	// MaxConns and MaxConnsPerAddr are amp.Server's, for all listeners
	// together. Defaults 10,000 and 1,000; a negative number for no limit.
	MaxConns        int
	MaxConnsPerAddr int

	// MaxCallsPerConn, MaxCallsPerAddr and MaxCallsPerCommand are how many calls
	// a second peers may make over one connection, from one IP address or with
	// one client's certificate, and of one command; for a moment as many at
	// once. Who calls more often is read more slowly, and gets OVERLOADED once
	// that does not help. Default no limits.
	MaxCallsPerConn    int
	MaxCallsPerAddr    int
	MaxCallsPerCommand int
}

// A Host is an AMP server whose commands are answered by plugins.
type Host struct {
	commands *amp.Mux
	dir      *scripting.Dir
	server   amp.Server
	log      *slog.Logger
	allowed  atomic.Pointer[permissions]
	rates    rates

	mu     sync.Mutex           // guards the fields below
	conn   amp.Options          // Config.Conn
	others map[*amp.Server]*own // one for each listener of ServeListener
	closed bool                 // Shutdown was called

	stopWatching context.CancelFunc
	watching     sync.WaitGroup // the watcher's goroutine; Shutdown waits
}

// New starts the plugins and returns a host that is ready to serve. A plugin
// that does not load is left out and told of by the log and by Plugins; New
// itself fails if the directory cannot be read. ctx bounds the start only. End
// a Host with Shutdown, also one that never served.
func New(ctx context.Context, cfg Config) (*Host, error) {
	cfg = cfg.withDefaults()
	h := &Host{commands: cfg.Commands, log: cfg.Logger, conn: cfg.Conn, others: make(map[*amp.Server]*own)}
	allowed, err := readPermissions(cfg)
	if err != nil {
		return nil, err
	}
	h.allowed.Store(allowed)
	cfg.Script.Net, cfg.Script.Env = h.permit(cfg.Script.Net, cfg.Script.Env)
	cfg.Script.Authorizers = append(slices.Clone(cfg.Script.Authorizers), cfg.Authorizers...)
	var plugins atomic.Pointer[scripting.Dir] // scripts may call while they load
	if cfg.Script.Handler == nil {
		cfg.Script.Handler = amp.HandlerFunc(func(r *amp.Request) { serveAMP(cfg.Commands, plugins.Load(), r) })
	}
	dir, err := scripting.OpenDir(ctx, cfg.Plugins, &cfg.Script)
	if err != nil {
		return nil, fmt.Errorf("open plugins: %w", err)
	}
	plugins.Store(dir)
	h.dir = dir
	h.server.Handler = h
	h.server.Options = &cfg.Conn
	h.rates.set(cfg.MaxCallsPerConn, cfg.MaxCallsPerAddr, cfg.MaxCallsPerCommand)
	h.server.MaxConns, h.server.MaxConnsPerAddr = cfg.MaxConns, cfg.MaxConnsPerAddr
	h.server.OnConnect = dir.Connected
	h.server.OnDisconnect = dir.Disconnected

	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stopWatching = stop
	if cfg.Watch {
		h.watching.Go(func() { // ends with watch; Shutdown waits
			look := dir.Watch
			if cfg.Poll {
				look = dir.Poll
			}
			if err := look(watch); err != nil && watch.Err() == nil {
				cfg.Logger.Error("plugins are no longer watched, a change needs a restart", "error", err)
			}
		})
	}
	return h, nil
}

// withDefaults returns c with its loggers and commands in place.
func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Script.Logger == nil {
		c.Script.Logger = c.Logger
	}
	if c.Conn.Logger == nil {
		c.Conn.Logger = c.Logger
	}
	if c.Commands == nil {
		c.Commands = new(amp.Mux)
	}
	reserved := c.Script.Reserved
	c.Script.Reserved = func(command string) (where string, taken bool) {
		switch {
		case c.Commands.Handler(command) != nil:
			return "the program that embeds amphost", true
		case reserved != nil:
			return reserved(command)
		}
		return "", false
	}
	return c
}

// ServeAMP lets a host be part of another program's server, or of none.
func (h *Host) ServeAMP(r *amp.Request) {
	if h.rates.admit(r, h.answers) {
		serveAMP(h.commands, h.dir, r)
	}
}

// answers reports whether somebody answers a command.
func (h *Host) answers(command string) bool {
	return h.commands.Handler(command) != nil || h.dir.Answers(command)
}

// ForgetsRequests implements amp.Forgetful.
func (h *Host) ForgetsRequests() {}

func serveAMP(commands *amp.Mux, plugins *scripting.Dir, r *amp.Request) {
	h := commands.Handler(r.Command)
	if _, ok := h.(amp.Forgetful); h != nil && !ok {
		r.Keep()
	}
	switch {
	case h != nil && plugins != nil:
		plugins.Authorize(r, h)
	case h != nil:
		h.ServeAMP(r)
	case plugins != nil:
		plugins.ServeAMP(r)
	default:
		r.Fail(amp.ErrUnhandled)
	}
}

// Serve accepts connections from l, as amp.Server.Serve does: it returns
// amp.ErrServerClosed once Shutdown has closed every connection. It may be
// called for several listeners.
func (h *Host) Serve(l net.Listener) error {
	return h.server.Serve(l)
}

// Plugins tells of every plugin, in order of name.
func (h *Host) Plugins() []scripting.Status {
	return h.dir.Status()
}

// Reload looks at the files of one plugin, or of all if name is "", as Watch
// does when they have changed. The error says what is wrong with the new
// versions; the old ones go on then.
func (h *Host) Reload(ctx context.Context, name string) error {
	if name == "" {
		return h.dir.ReloadAll(ctx)
	}
	return h.dir.Reload(ctx, name)
}

// Rollback puts the last good version of a plugin back, until its files change.
func (h *Host) Rollback(ctx context.Context, name string) error { return h.dir.Rollback(ctx, name) }

// lastMoment is what plugins have to end in when the connections have used up
// the time of a Shutdown: enough for a commit and for onUnload.
const lastMoment = 500 * time.Millisecond

// Shutdown closes the listeners, lets running commands be answered, and stops
// the plugins, in that order. If ctx ends first it cuts off what is left, for
// which plugins take at most another half second, and returns an error that
// says so. The store stays open: it is closed by whoever opened it, after
// Shutdown.
func (h *Host) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	servers := append(slices.Collect(maps.Keys(h.others)), &h.server)
	h.mu.Unlock()
	failed := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { failed[i] = s.Shutdown(ctx) }) // bounded by ctx; Wait is below
	}
	wg.Wait()
	err := errors.Join(failed...)
	h.stopWatching()
	h.watching.Wait()
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastMoment)
		defer cancel()
	}
	return errors.Join(err, h.dir.Stop(ctx))
}
