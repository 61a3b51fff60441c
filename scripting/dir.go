package scripting

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amphost/amphost/amp"
)

// A Dir keeps the plugins of one directory running, and replaces them as their
// files change. It implements amp.Handler.
type Dir struct {
	path  string // absolute
	opts  *Options
	table atomic.Pointer[table]

	turn     chan struct{} // 1-buffered: holds the right to change plugins
	draining sync.WaitGroup
	again    chan struct{}     // 1-buffered: Watch is to look at all files
	entries  map[string]*entry // by name; whoever holds turn
	past     map[string]*entry // those that were removed; whoever holds turn
	folders  []string          // that may hold a plugin; whoever holds turn
	allowed  amp.Handler       // serve; made once
	lacked   string            // the authorizer whose absence was logged; whoever holds turn
	hub      *hub
	keeper   *keeper
	config   map[string]map[string]any // by plugin; whoever holds turn

	mu       sync.Mutex // guards the fields below
	status   []Status   // in order of name; their paths are absolute
	watched  interest
	stopping bool
	retired  map[*Plugin]bool // they drain
	drained  chan struct{}    // closed, and made anew, when one of them has ended
	gone     bool             // the directory is, and that was logged
}

// maxDraining is how many generations of a plugin may drain at a time.
const maxDraining = 8

// tellClosed says so when every call is refused, and when that is over. The
// caller holds turn, or is alone.
func (d *Dir) tellClosed() {
	lacks := d.table.Load().lacks
	if lacks == d.lacked {
		return
	}
	d.lacked = lacks
	log := d.opts.Logger
	switch {
	case lacks == "":
		log.Info("calls are allowed again: every authorizer is there")
	case d.Plugin(lacks) == nil:
		log.Error("every call is refused: the plugin that has to authorize it is not there", "plugin", lacks)
	default:
		log.Error("every call is refused: the plugin that has to authorize it does not call amp.authorize", "plugin", lacks)
	}
}

// An entry is one plugin of a Dir through all its generations.
type entry struct {
	name       string
	path       string // its file or folder
	plugin     *Plugin
	generation int // of the last plugin that was published
	since      time.Time
	took       time.Duration
	err        error
	told       string // the hash, or else the text, of the failure that was logged last
	taken      bool   // err is that another plugin has one of its names
	entry      string // the file that the last good build began with
	built      string // the hash of the files at the last build, good or bad
	history    history
	stamps     stamps            // of the last build, good or bad; nil to look again
	missing    map[string]string // what was at paths that it asked for in vain
	files      []string          // of the last build
	cares      []string          // the paths that Watch cares for because of it
	retold     bool              // what its amp.plugin.config is has changed since the last generation
	tally      tally

	draining int  // generations that do; guarded by Dir.mu
	waiting  bool // until one of them has ended; guarded by Dir.mu
}

// OpenDir builds and starts every plugin under path. One that fails is logged,
// reported by Status, and left out. OpenDir itself fails if path can't be read;
// a directory that does not exist yet is an empty one, which Watch waits for.
// ctx bounds the start only.
func OpenDir(ctx context.Context, path string, opts *Options) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{
		path: abs, opts: opts.withDefaults(),
		turn: make(chan struct{}, 1), again: make(chan struct{}, 1),
		entries: make(map[string]*entry), past: make(map[string]*entry),
		retired: make(map[*Plugin]bool), drained: make(chan struct{}),
	}
	d.config = d.opts.Config
	d.keeper = newKeeper(d.opts.Store, d.opts.Logger)
	d.hub = newHub(d.opts)
	if d.hub.handler == nil {
		d.hub.handler = d
	}
	d.hub.describe = d.describe
	d.hub.serveRaw = d.ServeRaw
	d.hub.authority.limit, d.hub.authority.log = d.opts.CallTimeout, d.opts.Logger
	d.hub.authority.panel = func() ([]*Plugin, *amp.Error) {
		t := d.table.Load()
		return t.authorizers, t.closed
	}
	d.allowed = amp.HandlerFunc(d.serve)
	d.table.Store(new(table).after(nil, d.opts.Authorizers))
	if info, err := os.Stat(abs); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", displayPath(abs))
	}
	d.noteInterest()
	if _, err := d.apply(ctx, change{}); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	d.tellClosed()
	return d, nil
}

// Path returns the directory, absolute.
func (d *Dir) Path() string { return d.path }

// ServeAMP hands r to the plugin that answers its command. Requests of one
// connection to one plugin start in the order of the calls, also while the
// plugin is replaced.
func (d *Dir) ServeAMP(r *amp.Request) {
	p := d.table.Load().commands[r.Command]
	d.hub.authority.admit(r, p != nil && p.switches[r.Command], d.allowed)
}

// Authorize hands r to h once every plugin that has called amp.authorize agrees,
// and fails it with ErrForbidden otherwise. It does not block. Requests of one
// connection are handed on in the order of the calls, together with those of
// ServeAMP, which asks by itself. A request that came from no connection is
// handed on at once: there is no peer to ask about.
func (d *Dir) Authorize(r *amp.Request, h amp.Handler) {
	d.hub.authority.admit(r, false, h)
}

func (d *Dir) serve(r *amp.Request) {
	for {
		t := d.table.Load()
		p := t.commands[r.Command]
		if p == nil {
			p = t.unhandled
		}
		if p == nil {
			r.Fail(amp.ErrUnhandled)
			return
		}
		if p.take(r) {
			return
		}
		// It has been replaced, so there is a newer table; if there is none,
		// it was stopped for good.
		if d.table.Load() == t {
			r.Fail(amp.ErrShuttingDown)
			return
		}
	}
}

// Plugin returns the running generation of a plugin, or nil.
func (d *Dir) Plugin(name string) *Plugin { return d.table.Load().plugins[name] }

// Owner returns the name of the plugin that answers the command, or "".
func (d *Dir) Owner(command string) string {
	if p := d.table.Load().commands[command]; p != nil {
		return p.Name()
	}
	return ""
}

// Answers reports whether a plugin answers the command.
func (d *Dir) Answers(command string) bool { return d.table.Load().commands[command] != nil }

// Connected tells the plugins of a new connection, before its first request is
// handed to ServeAMP. It does not block.
func (d *Dir) Connected(conn *amp.Conn) { d.ConnectedVia(conn, "") }

// ConnectedVia is Connected for a connection to a listener that has a name.
func (d *Dir) ConnectedVia(conn *amp.Conn, listener string) {
	d.hub.add(conn, listener)
	d.each(func(p *Plugin) bool { return p.connected(conn) })
}

// Disconnected tells the plugins that a connection has ended, and why. It does
// not block.
func (d *Dir) Disconnected(conn *amp.Conn, reason error) {
	var telling atomic.Int64
	told := func() {
		if telling.Add(-1) == 0 {
			d.hub.forget(conn) // not before: they may ask who it was
		}
	}
	telling.Add(1)
	d.each(func(p *Plugin) bool {
		telling.Add(1)
		ok := p.disconnected(conn, reason, told)
		if !ok {
			telling.Add(-1)
		}
		return ok
	})
	told()
}

// each does f with the newest generation of every plugin. One that was just
// replaced, for which f is false, is looked up again.
func (d *Dir) each(f func(*Plugin) bool) {
	t := d.table.Load()
	for _, name := range sortedKeys(t.plugins) {
		for p := t.plugins[name]; p != nil && !f(p); {
			next := d.table.Load().plugins[name]
			if next == p {
				break // stopped for good
			}
			p = next
		}
	}
}

// Reload builds one plugin and, if what it would run has changed and starts
// well, puts it in the place of the one that runs, which goes on otherwise. It
// waits for its turn if other reloads are under way, and while eight
// generations of the plugin drain.
func (d *Dir) Reload(ctx context.Context, name string) error {
	result, err := d.applyAll(ctx, change{name: name})
	if err != nil {
		return err
	}
	if err, tried := result[name]; tried {
		return err
	}
	return fmt.Errorf("there is no plugin %q in %s: %w", name, displayPath(d.path), fs.ErrNotExist)
}

// ReloadAll looks at every plugin, as Watch does when files have changed.
// Plugins whose files are the same go on.
func (d *Dir) ReloadAll(ctx context.Context) error {
	result, err := d.applyAll(ctx, change{})
	if err != nil {
		return err
	}
	var list []error
	for _, name := range sortedKeys(result) {
		list = append(list, result[name])
	}
	return errors.Join(list...)
}

// applyAll is apply, and again for plugins that had to wait until generations
// have drained.
func (d *Dir) applyAll(ctx context.Context, ch change) (map[string]error, error) {
	all := make(map[string]error)
	for {
		d.mu.Lock()
		drained := d.drained
		d.mu.Unlock()
		result, err := d.apply(ctx, ch)
		if err != nil {
			return nil, err
		}
		wait := false
		for name, err := range result {
			all[name] = err
			wait = wait || err == errDraining
		}
		if !wait {
			return all, nil
		}
		select {
		case <-drained:
		case <-ctx.Done():
			return all, nil
		}
	}
}

// Stop stops every plugin, and waits for the generations that still drain.
// Watch has to end first. When ctx ends, what is left is cut off.
func (d *Dir) Stop(ctx context.Context) error {
	var list []error
	d.mu.Lock()
	d.stopping = true // whoever waits for his turn finds it so
	d.mu.Unlock()
	select {
	case d.turn <- struct{}{}:
		<-d.turn
	default:
		select {
		case d.turn <- struct{}{}:
			<-d.turn
		case <-ctx.Done(): // what runs is cut off all the same
			list = append(list, fmt.Errorf("a reload is not done: %w", context.Cause(ctx)))
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	d.mu.Lock()
	plugins := keysOf(d.retired)
	d.mu.Unlock()
	for _, p := range d.table.Load().plugins {
		plugins = append(plugins, p)
	}
	for _, p := range plugins {
		wg.Go(func() { // ends with the plugin; Wait is below
			err := p.Stop(ctx)
			mu.Lock()
			list = append(list, err)
			mu.Unlock()
		})
	}
	wg.Wait()
	done := make(chan struct{})
	go func() { // ends with the last generation, each of which has a deadline
		d.draining.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		list = append(list, fmt.Errorf("plugins that were replaced are not done: %w", context.Cause(ctx)))
	}
	d.hub.authority.close()
	d.keeper.wait()
	return errors.Join(list...)
}

// Status tells of every plugin, in order of name.
func (d *Dir) Status() []Status {
	d.mu.Lock()
	list := slices.Clone(d.status)
	running := make(map[string]int)
	draining := make(map[string]int)
	for p := range d.retired {
		running[p.prog.Name] += p.Running()
		draining[p.prog.Name]++
	}
	d.mu.Unlock()
	for i := range list {
		s := &list[i]
		s.Path = displayPath(s.Path)
		s.Running, s.Draining = running[s.Name], draining[s.Name]
		if p := d.Plugin(s.Name); p != nil {
			s.Running += p.Running()
			s.Restarts, s.Quarantined = p.health.count(), p.health.quarantined.Load() != nil
		}
		t := s.tally
		s.Abandoned = int(t.abandoned.Load())
		s.Failed, s.Dropped, s.Failure = t.failed.Load(), t.dropped.Load(), t.last.Load()
		s.Answered = t.ended.Load()
		s.Answered -= min(s.Failed, s.Answered)
	}
	return list
}

// A Status is what is known of one plugin of a Dir. What is counted is counted
// from the Dir's opening on, through all generations.
type Status struct {
	Name       string
	Path       string        // its file or folder, as shown to people
	Generation int           // 1 for the first that was published; 0 if none was
	Since      time.Time     // when the running generation was published
	Took       time.Duration // from seeing the change to publishing it
	Hash       string        // of the files of the running generation
	Commands   []Signature   // of the running generation, by name
	Protocols  []string      // names of its amp.protocol
	Receivers  []string      // names of its amp.boxReceiver
	Draining   int           // generations that were replaced and have not ended yet
	Running    int           // requests not yet answered, of all generations
	Answered   uint64        // requests that were answered with a response
	Failed     uint64        // requests that were answered with an error
	Dropped    uint64        // callbacks of generations that had ended, which were not called
	RolledBack bool          // its files are served once they change; see Dir.Rollback
	Err        error         // why the last build or start failed, or nil
	Failure    *Failure      // what went wrong last while it ran, or nil

	// Restarts is how often the running generation has lost a runtime, and
	// Quarantined that it did so too often, and answers no more.
	Restarts    int
	Quarantined bool

	// Abandoned is how many runtimes, of any generation, are in a function that
	// can't be interrupted, and did not come back yet.
	Abandoned int

	tally *tally
}
