package scripting

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"

	"github.com/amphost/amphost/amp"
)

// hostName is the global variable through which bundles reach the modules that
// the host provides.
const hostName = "__amphost"

// A realm is one runtime and everything that a script made in it. Only the
// loop's goroutine touches it, but for dead-safe post. When the runtime has to
// go, all of the realm goes with it.
type realm struct {
	w      *worker
	prog   *Program
	rt     *goja.Runtime
	log    *slog.Logger
	native *goja.Object // what the prelude has of Go
	shared *goja.Object // what Go, and its files, have of the prelude
	fn     struct {
		within, watch, then, resolve, own, freeze, title, textOf                                                                goja.Callable
		isRemote, remoteError, declaredError, timeoutError, connectionLost, dateTime, fileExists, plainError, transport, sender goja.Callable
	}
	newUint8Array goja.Constructor
	bufferClass   *goja.Object
	dateTimeClass *goja.Object
	remoteClass   *goja.Object // amp.RemoteAmpError
	quitProto     *goja.Object
	peerProto     *goja.Object
	id            *goja.Symbol

	loading    bool // the script may register commands
	reacts     bool // the script has had something wait for a promise
	dead       error
	diedIn     []slog.Attr // the call whose code ran then
	commands   []*command
	responders map[string]*command
	handlers   map[string][]goja.Callable // onLoad, onUnload, onConnect, onDisconnect
	settings   settings

	current   *call // whose code runs, for logs; nil outside of calls
	serving   *call // taken, and neither answered nor in calls yet
	spare     *call // a call to use again
	nextID    uint64
	within    int    // see around
	steps     uint   // see step
	expiry    *timer // for the oldest call
	timers    map[uint64]*timer
	peers     map[uint64]*peer
	outgoing  map[uint64]*outgoing   // calls that the script made
	contents  []byte                 // memory for what file returns
	aPromise  *pendingPromise        // what newDeferred copies
	getThen   goja.Callable          // what thenOf calls; nil until then
	pending   int                    // commits and outgoing calls under way
	rejected  []rejection            // promises rejected in this turn that nothing handles
	tx        atomic.Pointer[openTx] // the transaction whose body runs
	protos    txProtos
	made      [4]madeBuffer // in turn; see bytesOf
	nextMade  int
	pairs     []byte                       // reused by answers
	answering answering                    // what finish writes
	sole      [1]goja.Value                // what a responder is called with: goja copies it
	updates   map[*goja.Object]*openUpdate // by promise
	watches   storeWatches                 // what amp.store.watch was given

	judgements map[uint64]*judgement // that amp.authorize has not made yet
	passwords  int                   // that are hashed, or wait for it
	fetches    map[uint64]*fetch     // whose body is not read yet

	protocols  map[string]goja.Callable // amp.protocol
	receivers  map[string]goja.Callable // amp.boxReceiver
	transports map[uint64]*transport
	boxConns   map[uint64]*boxConn
	closers    closers       // what else has to be closed when it is abandoned
	conns      []*amp.Conn   // that the script has opened
	clients    []*amp.Client // that the script has opened

	unhandled      *command // what amp.unhandled was given, as if it were a command's responder
	unhandledPlace string   // where
}

//go:embed prelude/*.js
var preludeFiles embed.FS

// prelude is the compiled prelude, by the names of its files, shared by all
// runtimes. The files with a number are run, in order, when a realm is made,
// the others when something needs them.
var prelude = sync.OnceValue(func() map[string]*goja.Program {
	files, err := preludeFiles.ReadDir("prelude")
	if err != nil {
		panic(err)
	}
	list := make(map[string]*goja.Program)
	for _, f := range files {
		text, err := preludeFiles.ReadFile("prelude/" + f.Name())
		if err != nil {
			panic(err)
		}
		ast, err := goja.Parse(preludeName+"/"+f.Name(), string(text), parser.WithDisableSourceMaps)
		if err != nil {
			panic(err)
		}
		prog, err := goja.CompileAST(ast, true)
		if err != nil {
			panic(err)
		}
		list[f.Name()] = prog
	}
	return list
})

// newRealm makes a runtime with all that scripts find in it, and runs none of
// the plugin's code yet.
func newRealm(w *worker) *realm {
	r := &realm{
		w: w, prog: w.p.prog, rt: goja.New(), log: w.p.log,
		responders: make(map[string]*command), handlers: make(map[string][]goja.Callable),
		timers: make(map[uint64]*timer),
		peers:  make(map[uint64]*peer), outgoing: make(map[uint64]*outgoing), updates: make(map[*goja.Object]*openUpdate),
		protocols: make(map[string]goja.Callable), receivers: make(map[string]goja.Callable),
		transports: make(map[uint64]*transport), boxConns: make(map[uint64]*boxConn),
		judgements: make(map[uint64]*judgement),
		fetches:    make(map[uint64]*fetch),
		id:         goja.NewSymbol("amphost.id"),
	}
	r.answering.write = r.writeAnswer
	// Without a limit plain recursion eats all memory, and recursion through
	// built-in functions the goroutine's stack, which ends the process.
	r.rt.SetMaxCallStackSize(w.p.opts.MaxCallStack)
	r.rt.SetParserOptions(parser.WithDisableSourceMaps)
	r.rt.SetPromiseRejectionTracker(r.track)
	r.rt.SetAsyncContextTracker(tracker{r})

	r.guard()
	r.native = r.natives()
	r.shared = r.rt.NewObject()
	for _, file := range sortedKeys(prelude()) {
		if file[0] >= '0' && file[0] <= '9' {
			r.load(file)
		}
	}
	r.guardNatives()
	if r.prog.regexpSets {
		r.load("regexp.js")
	}
	for name, fn := range map[string]*goja.Callable{
		"within": &r.fn.within, "watch": &r.fn.watch, "then": &r.fn.then, "resolve": &r.fn.resolve, "own": &r.fn.own, "freeze": &r.fn.freeze, "textOf": &r.fn.textOf,
		"isRemote": &r.fn.isRemote, "remoteError": &r.fn.remoteError, "declaredError": &r.fn.declaredError, "timeoutError": &r.fn.timeoutError,
		"connectionLost": &r.fn.connectionLost, "dateTime": &r.fn.dateTime, "fileExists": &r.fn.fileExists, "transport": &r.fn.transport, "sender": &r.fn.sender, "plainError": &r.fn.plainError,
	} {
		*fn, _ = goja.AssertFunction(r.shared.Get(name))
	}
	r.newUint8Array, _ = goja.AssertConstructor(r.shared.Get("Uint8Array"))
	class := func(name string) *goja.Object { return r.shared.Get(name).ToObject(r.rt) }
	r.dateTimeClass, r.remoteClass = class("DateTimeValue"), class("RemoteAmpError")
	r.quitProto = class("QuitBox").Get("prototype").ToObject(r.rt)
	r.peerProto = class("peerPrototype")

	host := r.rt.NewObject()
	must(host.Set("amphost", r.shared.Get("module")))
	must(r.rt.GlobalObject().DefineDataProperty(hostName, host, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
	return r
}

// load runs a file of the prelude.
func (r *realm) load(file string) {
	f, err := r.rt.RunProgram(prelude()[file])
	if err == nil {
		fn, _ := goja.AssertFunction(f)
		_, err = fn(nil, r.native, r.shared)
	}
	if err != nil {
		panic(fmt.Errorf("prelude: %s: %w", file, err))
	}
}

// title names what was thrown, as console.error would.
func (r *realm) title(v goja.Value) (string, error) {
	if r.fn.title == nil {
		if err := r.try(func() { r.rt.Get("console") }); err != nil {
			return "", err
		}
		r.fn.title, _ = goja.AssertFunction(r.shared.Get("title"))
	}
	t, err := r.fn.title(nil, v)
	if err != nil {
		return "", err
	}
	return t.String(), nil
}

// must is for what can't fail but for a mistake in this package.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// run runs the plugin's module, and reads what it declared.
func (r *realm) run() error {
	r.loading = true
	if err := r.embed(); err != nil {
		return &Error{Message: err.Error()}
	}
	_, err := r.rt.RunProgram(r.prog.code)
	if err != nil {
		return r.loadError(err)
	}
	var bad error
	if err := r.try(func() { r.settings, bad = readSettings(r.rt.Get(exportsName)) }); err != nil {
		return r.loadError(err)
	}
	return bad
}

// loadError is what Start fails with when a script threw.
func (r *realm) loadError(err error) error {
	if isFatal(err) {
		r.die(err)
	}
	return r.describe(err)
}

// describe is errorOf, safely.
func (r *realm) describe(err error) (e *Error) {
	if failed := r.try(func() { e = r.errorOf(err) }); failed != nil || e == nil {
		if isException(err) {
			return &Error{Message: "an error that can't be shown"} // its text is the script's to make
		}
		return &Error{Message: firstLine(err.Error())}
	}
	return e
}

// describeValue is errorOfValue, safely.
func (r *realm) describeValue(v goja.Value, places ...place) (e *Error) {
	if failed := r.try(func() { e = r.errorOfValue(v, places) }); failed != nil || e == nil {
		return &Error{Message: "an error that can't be shown"}
	}
	return e
}

// try calls f, which may run script code through properties, and returns what
// that threw. A fatal error marks the realm dead.
func (r *realm) try(f func()) (err error) {
	defer func() {
		if x := recover(); x != nil {
			fatal, ok := x.(error)
			if !ok || !isFatal(fatal) {
				panic(x)
			}
			r.die(fatal)
			err = fatal
		}
	}()
	if ex := r.rt.Try(f); ex != nil {
		return ex
	}
	return nil
}

// enter calls a function of the script from the loop, not from within script
// code. What it throws is the caller's to tell; a fatal error marks the realm
// dead besides.
func (r *realm) enter(fn goja.Callable, args ...goja.Value) (goja.Value, error) {
	v, err := fn(goja.Undefined(), args...)
	if err != nil && isFatal(err) {
		r.die(err)
	}
	return v, err
}

// enterFor is enter for something that is no request.
func (r *realm) enterFor(about *call, fn goja.Callable, args ...goja.Value) (goja.Value, error) {
	r.current = about
	v, err := r.enter(fn, args...)
	r.current = nil
	return v, err
}

// errorOfDeath tells what a realm died of.
func (r *realm) errorOfDeath(err error) *Error {
	var thrown *goja.Exception
	if isFatal(err) || errors.As(err, &thrown) {
		return r.describe(err)
	}
	return &Error{Message: err.Error()}
}

// sequence calls functions of the script one after the other, each once the
// promise of the one before has settled. done is called on the loop, with the
// first error as an *Error.
func (r *realm) sequence(fns []goja.Callable, arg goja.Value, done func(error)) {
	if len(fns) == 0 {
		done(nil)
		return
	}
	v, err := r.enter(fns[0], arg)
	if err != nil {
		done(r.describe(err))
		return
	}
	next := func() { r.sequence(fns[1:], arg, done) }
	o, ok := v.(*goja.Object)
	if !ok || o.ExportType() != typePromise {
		next()
		return
	}
	// Native functions must not enter the script again: a turn of its own.
	ok1 := func(goja.FunctionCall) goja.Value { r.post(next); return goja.Undefined() }
	no := func(c goja.FunctionCall) goja.Value {
		e := r.describeValue(c.Argument(0))
		r.post(func() { done(e) })
		return goja.Undefined()
	}
	if _, err := r.enter(r.fn.then, o, r.rt.ToValue(ok1), r.rt.ToValue(no)); err != nil {
		done(r.describe(err))
	}
}

// die says that the runtime is of no use any more. The worker replaces it at
// the end of the turn.
func (r *realm) die(reason error) {
	if r.w.loop.dog.heeds(r.rt) {
		r.leave()
	}
	if r.dead == nil {
		r.dead = reason
		r.diedIn = cmp.Or(r.current, r.serving).attrs()
	}
}

// post has the loop call f, unless the realm is dead by then.
func (r *realm) post(f func()) bool { return r.postFor(keyFree, f) }

// postFor is post for what must stay in order with the requests of a connection.
func (r *realm) postFor(key uint64, f func()) bool {
	ok := r.w.loop.postFor(key, func() {
		if r.dead == nil && r.w.realm == r {
			f()
		} else {
			r.w.p.drop()
		}
	})
	if !ok {
		r.w.p.drop()
	}
	return ok
}

// A rejection is a promise that was rejected while nothing handled that.
type rejection struct {
	promise *goja.Promise
	call    *call
	places  []place // where, if it was not with an Error, which knows
}

// track is told of rejected promises. They are judged at the end of the turn.
func (r *realm) track(p *goja.Promise, op goja.PromiseRejectionOperation) {
	if op == goja.PromiseRejectionReject {
		x := rejection{promise: p, call: r.grab()}
		if _, isObject := p.Result().(*goja.Object); !isObject {
			x.places = placesOf(r.rt.CaptureCallStack(0, nil))
		}
		r.rejected = append(r.rejected, x)
	} else {
		r.handled(p)
	}
}

// handled says that somebody looks after a rejected promise.
func (r *realm) handled(p *goja.Promise) {
	r.rejected = slices.DeleteFunc(r.rejected, func(x rejection) bool { return x.promise == p })
}

// endTurn judges the promises that were rejected in the turn.
func (r *realm) endTurn() {
	for len(r.rejected) > 0 {
		list := r.rejected
		r.rejected = nil
		for _, x := range list {
			r.report(slog.LevelError, "unhandled rejection", r.describeValue(x.promise.Result(), x.places...), x.call)
		}
	}
}

// report logs a story that has no other listener.
func (r *realm) report(level slog.Level, what string, e *Error, c *call) {
	if r.w.p.program.uncaught(r, what, e) {
		return
	}
	if level >= slog.LevelError {
		r.w.p.tally.last.Store(&Failure{Err: e, Generation: r.w.p.generation, Time: time.Now()})
	}
	if r.w.p.mayLog() {
		r.log.LogAttrs(context.Background(), level, what, append(c.attrs(), slog.Any("error", e))...)
	}
}

// tracker keeps r.current across awaits.
type tracker struct{ r *realm }

// Grab implements goja.AsyncContextTracker.
func (t tracker) Grab() any {
	t.r.reacts = true
	return t.r.grab()
}

// Resumed implements goja.AsyncContextTracker.
func (t tracker) Resumed(c any) { t.r.current, _ = c.(*call) }

// Exited implements goja.AsyncContextTracker.
func (t tracker) Exited() { t.r.current = nil }

// grab returns the current call for somebody who keeps it.
func (r *realm) grab() *call {
	if r.current != nil {
		r.current.kept = true
	}
	return r.current
}

// setTimer is setTimeout and setInterval.
func (r *realm) setTimer(fn goja.Callable, delay time.Duration, repeat bool, args []goja.Value) uint64 {
	if most := r.w.p.opts.MaxTimers; len(r.timers) >= most {
		panic(r.rt.NewGoError(fmt.Errorf("more than %d timers", most)))
	}
	r.nextID++
	id, c := r.nextID, r.grab()
	t := r.w.loop.timers.after(delay, func() {
		if r.dead != nil {
			return
		}
		if !repeat {
			delete(r.timers, id)
		}
		r.current = c
		_, err := r.enter(fn, args...)
		r.current = nil
		if err != nil && !isFatal(err) {
			r.report(slog.LevelError, "uncaught in a timer", r.describe(err), c)
		}
	})
	if repeat {
		t.every = max(delay, time.Millisecond)
	}
	t.call = c
	r.timers[id] = t
	return id
}

// clearTimer is clearTimeout and clearInterval.
func (r *realm) clearTimer(id uint64) {
	r.timers[id].stop()
	delete(r.timers, id)
}

// stopTimers stops the intervals, or all timers.
func (r *realm) stopTimers(all bool) {
	r.unwatchStore() // which is over when intervals are
	for id, t := range r.timers {
		if all || t.every > 0 {
			if t.every == 0 && !t.stopped {
				r.w.p.drop()
			}
			t.stop()
			delete(r.timers, id)
		}
	}
	if all {
		r.expiry.stop()
	}
}

// fail fails every call of the realm.
func (r *realm) failAll(err error) {
	for _, c := range r.w.calls.all() {
		r.w.fail(c.req, err)
	}
	for _, j := range r.judgements {
		r.judged(j, err)
	}
	for _, o := range r.outgoing {
		o.cancel()
	}
	for _, f := range r.fetches {
		f.cancel()
	}
	for _, t := range r.transports {
		t.abort()
	}
	r.closeConns()
}

// A call is a request that a responder works on; or, without one, what else the
// script was called for: its log lines say so.
type call struct {
	id       uint64
	req      *amp.Request
	about    []slog.Attr // of what is no request
	cmd      *command
	kept     bool          // somebody else refers to it
	waited   time.Duration // for its turn
	deadline time.Time
	older    *call
	newer    *call
}

// attrs are what a log line says of the call.
func (c *call) attrs() []slog.Attr {
	switch {
	case c == nil:
		return nil
	case c.req == nil:
		return c.about
	}
	attrs := []slog.Attr{slog.String("command", c.req.Command)}
	if tag := c.req.Tag(); tag != "" {
		attrs = append(attrs, slog.String("tag", tag))
	}
	if conn := c.req.Conn(); conn != nil {
		attrs = append(attrs, connAttrs(conn)...)
	}
	return attrs
}

// aboutConn is for what a script is called for by a connection, and not by a
// request.
func aboutConn(conn *amp.Conn) *call { return &call{kept: true, about: connAttrs(conn)} }

func connAttrs(conn *amp.Conn) []slog.Attr {
	attrs := []slog.Attr{slog.Uint64("conn", conn.ID()), slog.String("peer", addrString(conn.RemoteAddr()))}
	if name := conn.Client(); name != "" {
		attrs = append(attrs, slog.String("client", name))
	}
	return attrs
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}

// mustHaveRoom throws if the script waits for too much already.
func (r *realm) mustHaveRoom(what string) {
	if most := r.w.p.opts.MaxOutgoing; r.pending >= most {
		panic(r.rangeError("%s: the plugin waits for %d calls and commits already, await some first", what, most))
	}
}
