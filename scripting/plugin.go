package scripting

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
)

// Options adjust plugins. A nil *Options means the defaults.
type Options struct {
	// Store is what amp.store keeps things in, one namespace a plugin. Default
	// a store.NewMem for each plugin that is started by Start, one for all of
	// a Dir's.
	Store store.Store

	// Logger receives what plugins log, and what goes wrong in them. A script's
	// errors come as an *Error in the attribute "error". Default
	// slog.Default().
	Logger *slog.Logger

	// LoadTimeout bounds the time from the start of a plugin until it could
	// answer, amp.onLoad included. Default 5 seconds.
	LoadTimeout time.Duration

	// TurnTimeout bounds how long JavaScript may run without returning to its
	// event loop. What overruns it loses its runtime: the calls in it fail
	// with ErrRestarted and a fresh runtime takes its place. Default 1 second;
	// at most 9 seconds.
	TurnTimeout time.Duration

	// CallTimeout bounds how long a call may stay unanswered; it then fails
	// with ErrTimeout, and a late answer is dropped. Default 30 seconds;
	// negative for no limit.
	CallTimeout time.Duration

	// MaxInFlight bounds the calls of one plugin that are not answered yet.
	// Those beyond it fail with amp.ErrOverloaded. Default 10,000.
	MaxInFlight int

	// MaxInFlightTotal bounds those of all plugins of a Dir. Default 65,536.
	MaxInFlightTotal int

	// MaxOutgoing bounds the calls that a plugin has made and that are not
	// answered, and its commits that are not durable: one more throws. Default
	// 10,000.
	MaxOutgoing int

	// MaxLogLines bounds what a plugin writes into the log, in lines a second.
	// What goes beyond is counted and dropped. Default 1000; negative for no
	// limit.
	MaxLogLines int

	// MaxRestarts is how often a plugin's runtime may die in a row, each time
	// within a minute of the last: after one more the plugin is quarantined,
	// and its calls fail with ErrRestarted until its files change. Default 10;
	// negative for no limit.
	MaxRestarts int

	// MemoryLimit is how large the heap of the whole process may become, in
	// bytes. At 80% of it, garbage not counted, new calls of the plugin that has
	// asked for most lately fail with amp.ErrOverloaded; at 90% it loses its
	// runtime; at 100%, if that has not helped for three seconds, no plugin gets
	// new calls. Default eight ninths of what GOMEMLIMIT says, or three quarters of
	// the memory of the control group or the machine; negative for no limit. See
	// host.TuneGC.
	MemoryLimit int64

	// FetchTimeout bounds a fetch of a script, from its start to the last byte of
	// the body. Default 30 seconds.
	FetchTimeout time.Duration

	// MaxFetchBody bounds the body of a response in bytes, decompressed: the rest
	// of a larger one is not read, and the script gets an error. Default 8 MiB.
	MaxFetchBody int64

	// MaxWorkers bounds what a plugin may ask for with its setting workers.
	// Default 16.
	MaxWorkers int

	// MaxTimers bounds the timers that wait in one runtime: setting more throws.
	// Default 10,000.
	MaxTimers int

	// MaxCallStack bounds how deep scripts may call. What goes deeper loses its
	// runtime, as with TurnTimeout. Calls through built-in functions also use the
	// goroutine's stack: ten thousand levels of them take seconds to unwind.
	// Default 2000.
	MaxCallStack int

	// DialTimeout bounds how long amp.connect and amp.dial try to connect, and
	// how long peer.startTLS may take. Default 30 seconds.
	DialTimeout time.Duration

	// Conn are the limits of the connections that scripts open with amp.connect.
	// Their logger is Logger if there is none.
	Conn amp.Options

	// Handler answers what scripts call with amp.call. Default the Dir's
	// plugins, or the plugin itself.
	Handler amp.Handler

	// Config is what amp.plugin.config is, by the names of plugins: tables of
	// nil, bool, int64, float64, string, time.Time, []any and map[string]any.
	// It belongs to the plugins from then on. Default an empty object for each.
	Config map[string]map[string]any

	// Modules can be imported by plugins, besides "amphost".
	Modules []Module

	// Net says whether a plugin may connect to an address, "host:port" or
	// "unix:/path": nil if so, else why not and what to do about it. It is
	// asked with the zero Addr before the host is looked up, again with each
	// address that it was found to have before that is connected to, and for
	// each redirect of a fetch. It is called on any goroutine. Default nobody
	// may.
	Net func(plugin, address string, resolved netip.Addr) error

	// Env says whether a plugin may read a variable of the environment with
	// amp.env: nil if so, else why not and what to do about it. Default nobody
	// may.
	Env func(plugin, name string) error

	// Authorizers names plugins of a Dir that have to be there, and have called
	// amp.authorize, for a peer to call anything: while one of them is missing
	// or broken every call of a peer fails with ErrForbidden. The others that
	// call it are asked, too, but whoever removes them opens what they guarded.
	Authorizers []string

	// Reserved says who, other than a plugin, answers a command: a plugin that
	// declares a responder for it does not load. Default nobody.
	Reserved func(command string) (where string, taken bool)
}

func (o *Options) withDefaults() *Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Store == nil {
		d.Store = store.NewMem()
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	set(&d.LoadTimeout, 5*time.Second)
	set(&d.TurnTimeout, time.Second)
	set(&d.CallTimeout, 30*time.Second)
	set(&d.FetchTimeout, 30*time.Second)
	set(&d.MaxFetchBody, 8<<20)
	set(&d.MaxInFlight, 10_000)
	set(&d.MaxInFlightTotal, 65_536)
	set(&d.MaxOutgoing, 10_000)
	set(&d.MaxLogLines, 1000)
	set(&d.MaxRestarts, 10)
	set(&d.MaxWorkers, 16)
	if d.MemoryLimit == 0 {
		d.MemoryLimit = defaultMemoryLimit()
	}
	set(&d.MaxTimers, 10_000)
	set(&d.MaxCallStack, 2000)
	set(&d.DialTimeout, 30*time.Second)
	return &d
}

func set[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// A Plugin is one running generation of a plugin: one runtime, or as many as
// it has workers, each owned by one goroutine. It implements amp.Handler.
type Plugin struct {
	prog       *Program
	opts       *Options
	generation int
	answerer   amp.Answerer
	config     map[string]any // for amp.plugin.config
	log        *slog.Logger
	started    time.Time
	tally      *tally          // shared with its other generations
	settings   settings        // of the first worker's module
	signatures []Signature     // by name
	unhandled  string          // where amp.unhandled was called, or ""
	named      []string        // "protocol NAME", "boxReceiver NAME"
	switches   map[string]bool // the commands that are answered by switching
	saves      bool            // amp.hot.save was called
	authorizes bool            // amp.authorize was called
	alone      bool            // it belongs to no Dir
	allowed    amp.Handler     // serve; made once
	workers    []*worker
	program    *program // of a script that Run runs, or nil
	hub        *hub
	health     health
	lines      lineLimit
	before     *Plugin        // the generation that this one is to replace, or nil
	hanging    sync.WaitGroup // connections being closed

	httpOnce sync.Once
	http     *http.Transport // of fetch; nil until the first

	live      atomic.Bool  // published
	running   atomic.Int64 // requests not answered yet
	slowUntil atomic.Int64 // since started, in nanoseconds: see worker.lends
	requests  atomic.Uint64
	stop      sync.Once
	done      chan struct{} // closed when every worker has ended
}

// Start runs the program in a fresh runtime. Once it returns without an error
// the plugin is ready to answer. An error that is the plugin's fault is an
// ErrInvalid, and an *Error if a script threw it.
func Start(ctx context.Context, prog *Program, opts *Options) (*Plugin, error) {
	p := newPlugin(prog, opts.withDefaults(), 1, nil, new(tally))
	p.hub = newHub(p.opts)
	if p.hub.handler == nil {
		p.hub.handler = p
	}
	p.hub.describe = p.describe
	p.decideAlone()
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	p.publish()
	return p, nil
}

func newPlugin(prog *Program, opts *Options, generation int, h *hub, t *tally) *Plugin {
	p := &Plugin{
		prog: prog, opts: opts, generation: generation, hub: h, started: time.Now(), tally: t, config: opts.Config[prog.Name],
		answerer: amp.Answerer{Name: prog.Name, Generation: generation},
		log:      opts.Logger.With("plugin", prog.Name, "generation", generation),
		done:     make(chan struct{}),
	}
	p.allowed = amp.HandlerFunc(p.serve)
	return p
}

// decideAlone has a plugin that belongs to no Dir decide what its peers may call.
func (p *Plugin) decideAlone() {
	p.hub.authority.limit, p.hub.authority.log = p.opts.CallTimeout, p.opts.Logger
	p.alone = true
	p.hub.authority.panel = func() ([]*Plugin, *amp.Error) {
		if p.authorizes {
			return []*Plugin{p}, nil
		}
		return nil, nil
	}
}

// start starts the plugin's workers. If it fails none is left.
func (p *Plugin) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.opts.LoadTimeout,
		&Error{Message: fmt.Sprintf("not ready after %v: amp.onLoad has not settled, or the module runs too long", p.opts.LoadTimeout)})
	defer cancel()
	if err := p.startWorker(ctx); err != nil {
		p.abandon()
		return err
	}
	p.before = nil // or generations would hold on to each other
	for range p.settings.workers - 1 {
		if err := p.startWorker(ctx); err != nil {
			p.abandon()
			return err
		}
	}
	go func() { // ends with the workers; Stop and Done wait for it
		for _, w := range p.workers {
			<-w.loop.done
			w.waits.Wait()
		}
		p.hanging.Wait()
		p.hangUpIdle()
		if p.alone {
			p.hub.authority.close()
		}
		close(p.done)
	}()
	return nil
}

// startWorker starts one worker and waits until it is ready.
func (p *Plugin) startWorker(ctx context.Context) error {
	w := newWorker(p)
	p.workers = append(p.workers, w)
	ready := make(chan error, 1)
	go w.loop.run() // ends when the worker does; p.done waits
	w.loop.post(func() { w.load(func(err error) { ready <- err }) })
	select {
	case err := <-ready:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// abandon ends the workers of a plugin that did not start.
func (p *Plugin) abandon() {
	for _, w := range p.workers {
		w.cut(amp.ErrShuttingDown)
	}
	for _, w := range p.workers {
		select {
		case <-w.loop.done:
		case <-time.After(2 * stuckAfter): // in a built-in function that can't be interrupted
		}
	}
	p.hangUpIdle()
}

// Name returns the plugin's name.
func (p *Plugin) Name() string { return p.prog.Name }

// Generation returns which of the plugin's generations this is, from 1.
func (p *Plugin) Generation() int { return p.generation }

// Program returns what the plugin runs.
func (p *Plugin) Program() *Program { return p.prog }

// Commands returns the commands the plugin answers, in order of name. The
// slice is the caller's.
func (p *Plugin) Commands() []Signature { return slices.Clone(p.signatures) }

// Running returns how many requests are not answered yet.
func (p *Plugin) Running() int { return int(p.running.Load()) }

// ServeAMP hands r to the plugin's loop, and does not block; a request that is
// Alone it may answer itself, and then it may end its goroutine: see
// amp.Request.Occupy. Requests of one connection start in the order of the calls.
func (p *Plugin) ServeAMP(r *amp.Request) {
	p.hub.authority.admit(r, p.switches[r.Command], p.allowed)
}

func (p *Plugin) serve(r *amp.Request) {
	if !p.take(r) {
		r.Fail(amp.ErrShuttingDown)
	}
}

// take is ServeAMP. It is false if the plugin takes no more requests.
func (p *Plugin) take(r *amp.Request) bool {
	w := p.workers[0]
	if len(p.workers) > 1 {
		if conn := r.Conn(); conn != nil {
			w = p.workerOf(conn)
		} else {
			w = p.workers[p.requests.Load()%uint64(len(p.workers))]
		}
	}
	p.requests.Add(1)
	return p.takeOn(w, r)
}

// takeOn is take for a worker that is known.
func (p *Plugin) takeOn(w *worker, r *amp.Request) bool {
	if p.switches[r.Command] {
		// What follows it in the stream is for the new protocol.
		r.Pause()
	}
	r.SetAnswerer(&p.answerer)
	if e := p.health.quarantined.Load(); e != nil {
		r.Fail(e)
		return true
	}
	if p.hub.memory.overloaded(p) {
		r.Fail(amp.ErrOverloaded.Describe("the process runs out of memory"))
		return true
	}
	all, n, most := p.hub.running.Add(1), p.running.Add(1), p.maxInFlight()
	if int(all) > p.opts.MaxInFlightTotal || !mayTake(r.Conn(), int(n), most) {
		p.hub.running.Add(-1)
		p.running.Add(-1)
		switch {
		case int(n) > most:
			r.Fail(amp.ErrOverloaded.Describe("%s has %d calls in flight", p.prog.Name, n-1))
		case int(all) > p.opts.MaxInFlightTotal:
			r.Fail(amp.ErrOverloaded.Describe("the plugins have %d calls in flight", all-1))
		default:
			r.Fail(amp.ErrOverloaded.Describe("%s has %d calls in flight, and this connection its share of them", p.prog.Name, n-1))
		}
		p.tally.ended.Add(1)
		p.tally.failed.Add(1)
		return true
	}
	if !w.loop.ask(r) {
		p.hub.running.Add(-1)
		p.running.Add(-1)
		return false
	}
	return true
}

func (p *Plugin) maxInFlight() int {
	if n := p.settings.maxInFlight; n > 0 {
		return min(n, p.opts.MaxInFlight)
	}
	return p.opts.MaxInFlight
}

func (p *Plugin) callTimeout() time.Duration {
	return capped(p.settings.callTimeout, p.opts.CallTimeout)
}

// lapsed reports whether a call has been unanswered for longer than it may be.
func (p *Plugin) lapsed(after time.Duration) bool {
	limit := p.callTimeout()
	return limit > 0 && after >= limit
}

func (p *Plugin) turnTimeout() time.Duration {
	limit, _ := p.turnLimit()
	return limit
}

// turnLimit is how long a turn may take, and what it is that says so.
func (p *Plugin) turnLimit() (limit time.Duration, setting string) {
	limit = capped(p.settings.deadline, p.opts.TurnTimeout)
	switch longest := p.longest(); {
	case limit > longest:
		return longest, "no setting allows more"
	case limit == p.opts.TurnTimeout:
		return limit, "TurnTimeout, which is turn in [limits]"
	}
	return limit, "deadline, of the plugin's settings"
}

// longest is how long a turn may take, whatever was asked for; see maxTurn.
func (p *Plugin) longest() time.Duration {
	if p.program != nil {
		return forever // nobody else waits for it
	}
	return maxTurn
}

// capped is what a plugin asks for, within what the operator allows. Zero asks
// for nothing; negative means no limit.
func capped(want, most time.Duration) time.Duration {
	switch {
	case want == 0:
		return most
	case most < 0:
		return want
	case want < 0:
		return most
	}
	return min(want, most)
}

// Stop takes no more requests, waits until those it has are answered and what
// they began is done, and ends the plugin. Raw connections get until nothing
// has passed over them for a second. If ctx ends first what is left is cut off,
// calls fail with amp.ErrShuttingDown, and the error is ctx's cause.
func (p *Plugin) Stop(ctx context.Context) error {
	for _, w := range p.workers {
		w.loop.post(w.loseIdle)
	}
	return p.end(ctx)
}

// end is Stop for a plugin that was replaced: its raw connections get until ctx
// ends.
func (p *Plugin) end(ctx context.Context) error {
	p.drain()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	for _, w := range p.workers {
		w.cut(amp.ErrShuttingDown)
	}
	select {
	case <-p.done:
	case <-time.After(2 * stuckAfter):
		p.log.Error("the plugin does not stop: it is in a built-in function that can't be interrupted")
	}
	return fmt.Errorf("stop plugin %s: %w", p.prog.Name, context.Cause(ctx))
}

// refuse has the plugin take no more requests.
func (p *Plugin) refuse() {
	for _, w := range p.workers {
		w.loop.refuse()
	}
}

// drain has the plugin end once it has done what it has.
func (p *Plugin) drain() {
	p.refuse()
	p.stop.Do(func() {
		for _, w := range p.workers {
			w.loop.post(w.drain)
		}
	})
}

// Done is closed when the plugin has ended.
func (p *Plugin) Done() <-chan struct{} { return p.done }

// Connected tells the plugin of a new connection, before its first request is
// handed to ServeAMP; Disconnected that it has ended, and why. They don't
// block. A Dir does this for its plugins.
func (p *Plugin) Connected(conn *amp.Conn) {
	p.hub.add(conn, "")
	p.connected(conn)
}

// Disconnected is described with Connected.
func (p *Plugin) Disconnected(conn *amp.Conn, reason error) {
	if !p.disconnected(conn, reason, func() { p.hub.forget(conn) }) {
		p.hub.forget(conn)
	}
}

// connected and disconnected tell the plugin of a connection. They are false
// if it takes no more of that; told is called otherwise, once it has been told.
func (p *Plugin) connected(conn *amp.Conn) bool {
	w := p.workerOf(conn)
	return w.loop.offer(conn.ID(), func() { // one that was replaced must not greet it
		w.inOrder(func(w *worker) {
			if w.realm != nil && len(w.realm.handlers["onConnect"]) > 0 {
				w.realm.connected(conn)
			}
		})
	})
}

func (p *Plugin) disconnected(conn *amp.Conn, reason error, told func()) bool {
	w := p.workerOf(conn)
	return w.loop.postFor(conn.ID(), func() { // also one that ends
		w.inOrder(func(w *worker) {
			defer told()
			if w.realm != nil {
				w.realm.disconnected(conn, reason)
			}
		})
	})
}

// workerOf returns the worker of a connection.
func (p *Plugin) workerOf(conn *amp.Conn) *worker {
	return p.workers[conn.ID()%uint64(len(p.workers))]
}

// hangUp closes a connection once what is running on it has been answered.
func (p *Plugin) hangUp(conn *amp.Conn) {
	conn.Drain()          // now: the caller's next command must not find a responder
	p.hanging.Go(func() { // bounded by its context; done waits
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.Shutdown(ctx) // whatever it says, the connection ends
	})
}

// signaturesOf lists what a realm's commands are.
func signaturesOf(r *realm) []Signature {
	list := make([]Signature, 0, len(r.responders))
	for _, name := range sortedKeys(r.responders) {
		list = append(list, r.responders[name].signature())
	}
	slices.SortFunc(list, func(a, b Signature) int { return strings.Compare(a.Name, b.Name) })
	return list
}
