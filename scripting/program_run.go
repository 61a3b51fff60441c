package scripting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// BuildScript is Build for a script that is to be run as a program: it may be
// called anything. Its name, and so its namespace in the store, is the file's
// in small letters, with a - for what a plugin's name can't have.
func BuildScript(path string, modules ...Module) (*Program, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	base := filepath.Base(abs)
	ext := filepath.Ext(base)
	if !slices.Contains(scripts, ext) {
		return nil, fmt.Errorf("%s is not a script: its name ends in none of %s", displayPath(abs), strings.Join(scripts, ", "))
	}
	if _, err := os.Stat(abs); err != nil {
		return nil, fmt.Errorf("script %s: %w", displayPath(abs), pathError(err))
	}
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' {
			return c
		}
		return '-'
	}, strings.ToLower(strings.TrimSuffix(base, ext)))
	name = strings.TrimLeft(name, "-_")
	opts := buildOptions(filepath.Dir(abs))
	opts.EntryPoints = []string{abs}
	return build(cmp.Or(name[:min(len(name), 200)], "script"), abs, opts, modules)
}

// forever is longer than any script runs.
const forever = 10 * 365 * 24 * time.Hour

// Run runs a script as a program: its module, then amp.onLoad, then whatever
// is left to do. It returns when nothing is: no timer, no call, no commit, no
// connection and no listener. Its status is then 0, or what the script has
// given to amp.exit.
//
// An error that nobody caught, in a promise, a timer or a handler, ends the
// program: the error is then an *Error, and the status 1. A responder's error
// goes to its caller, as in a plugin. When ctx ends the program is cut off, and
// the error is ctx's cause.
//
// opts are as for Start, but that a script has one worker, may take as long as
// it likes to load, and runs without limit unless TurnTimeout sets one. args
// are its amp.args.
func Run(ctx context.Context, prog *Program, args []string, opts *Options) (status int, err error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.LoadTimeout, o.MaxWorkers = forever, 1
	set(&o.TurnTimeout, forever)
	p := newPlugin(prog, o.withDefaults(), 1, nil, new(tally))
	p.program = &program{args: args, servers: make(map[uint64]*amp.Server)}
	p.hub = newHub(p.opts)
	if p.hub.handler == nil {
		p.hub.handler = p
	}
	p.hub.describe = p.describe
	p.decideAlone()
	err = p.start(ctx)
	if err == nil {
		p.publish()
		select {
		case <-p.done:
		case <-ctx.Done():
			err = context.Cause(ctx)
			_ = p.Stop(ctx) // which has ended: it cuts off, and waits
		}
	} else {
		for _, w := range p.workers {
			select {
			case <-w.loop.done:
				w.waits.Wait()
			default: // stuck in a built-in function
			}
		}
	}
	if ended, status, uncaught := p.program.result(); ended {
		return status, uncaught
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// A program is what a plugin has besides when it is a script that Run runs. A
// plugin of a host has none: the methods work on nil.
type program struct {
	args    []string
	servers map[uint64]*amp.Server // of amp.listen; only the loop
	loading bool                   // amp.onLoad has not settled; only the loop

	mu     sync.Mutex // guards the fields below
	ended  bool       // by amp.exit or by err
	status int
	err    error // what nobody caught
}

var errEnded = errors.New("the program has ended")

// begin calls amp.onLoad in a program that is loaded already: what it does may
// take as long as the program, which answers calls meanwhile. It is false for a
// plugin.
func (g *program) begin(w *worker) bool {
	if g == nil {
		return false
	}
	g.loading = true
	w.loaded(nil)
	r := w.realm
	r.sequence(r.handlers["onLoad"], goja.Undefined(), func(err error) {
		g.loading = false
		if err != nil {
			g.end(1, err)
			r.die(errEnded)
		}
	})
	return true
}

// end notes how the program ended. The first time counts.
func (g *program) end(status int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		g.ended, g.status, g.err = true, status, err
	}
}

func (g *program) result() (ended bool, status int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended, g.status, g.err
}

// uncaught ends the program with an error that has no other listener. It is
// false for a plugin.
func (g *program) uncaught(r *realm, what string, e *Error) bool {
	if g == nil || what == "responder failed" {
		return false // the responder's caller was told
	}
	g.end(1, e)
	r.die(errEnded)
	return true
}

// died ends the program whose realm is dead: of amp.exit, of an uncaught
// error, or of e. It is false for a plugin, which is restarted.
func (g *program) died(w *worker, e *Error) bool {
	if g == nil {
		return false
	}
	if w.ctx.Err() == nil { // else it was cut off
		g.end(1, e)
	}
	w.cancel()
	if w.loaded != nil {
		w.loaded(errEnded)
		return true
	}
	w.finish(amp.ErrShuttingDown)
	return true
}

// rest is called when the loop has nothing to do now. If nothing is left that
// could give it something, the program has come to its end.
func (g *program) rest(w *worker) {
	switch {
	case !g.idle(w):
	case !w.lived:
	case g.loading:
		g.end(1, &Error{Message: "amp.onLoad has not settled, and nothing is left that could settle it: a promise in it is never kept"})
		w.loop.post(func() { w.realm.die(errEnded) })
	case w.unloading: // and what amp.onUnload waits for does not come
		w.loop.end()
	case !w.draining:
		w.loop.refuse()
		w.loop.post(w.drain) // calls amp.onUnload, and ends
	}
}

// idle reports whether nothing is left to do, nor can come from outside.
func (g *program) idle(w *worker) bool {
	r := w.realm
	if r == nil || r.dead != nil || !w.loop.isEmpty() {
		return false
	}
	if r.pending > 0 || w.calls.len() > 0 || len(r.clients) > 0 || len(g.servers) > 0 || r.watches.stop != nil {
		return false
	}
	for _, t := range r.timers {
		if !t.idle {
			return false
		}
	}
	r.conns = slices.DeleteFunc(r.conns, func(c *amp.Conn) bool {
		select {
		case <-c.Done():
			return true
		default:
			return false
		}
	})
	return len(r.conns) == 0
}

// opened has the end of a connection that the script has opened wake the loop:
// the program may end with it.
func (g *program) opened(r *realm, conn *amp.Conn) {
	if g == nil {
		return
	}
	r.w.waits.Go(func() { // ends with the connection, which ends with the realm
		<-conn.Done()
		r.w.loop.poke()
	})
}

// closeServers closes what amp.listen has opened.
func (g *program) closeServers(r *realm) {
	if g == nil {
		return
	}
	for id, server := range g.servers {
		delete(g.servers, id)
		r.w.waits.Go(func() { _ = server.Close() })
	}
}

// programNatives are what amp.args, amp.exit and amp.listen are made of.
func (r *realm) programNatives(o *goja.Object) {
	g := r.w.p.program
	own := r.rt.NewObject()
	must(o.Set("program", own))
	set := func(name string, f func(goja.FunctionCall) goja.Value) {
		if g == nil {
			f = func(goja.FunctionCall) goja.Value {
				panic(r.rt.NewTypeError("amp.%s is for scripts under amphost run: a plugin does not have it", name))
			}
		}
		must(own.Set(name, f))
	}
	if g != nil {
		args := make([]any, len(g.args))
		for i, a := range g.args {
			args[i] = a
		}
		must(own.Set("args", r.rt.NewArray(args...)))
	}
	set("exit", func(c goja.FunctionCall) goja.Value {
		status := c.Argument(0)
		if !absent(status) && (!goja.IsNumber(status) || status.ToFloat() != float64(uint8(status.ToInteger()))) {
			panic(r.rt.NewTypeError("amp.exit takes a status from 0 to 255, not %s", r.brief(status)))
		}
		g.end(int(status.ToInteger()), nil)
		r.die(errEnded)
		r.rt.Interrupt(errEnded) // the script does not come back from here
		return goja.Undefined()
	})
	set("listen", r.listen)
}

// listen is amp.listen: address → promise of a listener.
func (r *realm) listen(c goja.FunctionCall) goja.Value {
	g := r.w.p.program
	t, err := parseTarget(c.Argument(0).String())
	if err == nil && t.tls != nil {
		err = errors.New("amp.listen takes tcp://HOST:PORT or unix:PATH")
	}
	if err != nil {
		panic(r.rt.NewTypeError("amp.listen: %s", err))
	}
	promise := r.newDeferred()
	promise.place()
	r.background(func(ctx context.Context) (any, error) {
		return new(net.ListenConfig).Listen(ctx, t.network, t.address)
	}, func(v any, err error) {
		if err != nil {
			e, failed := r.fn.plainError(nil, r.rt.ToValue("amp.listen: "+err.Error()))
			if failed != nil {
				r.die(failed)
				return
			}
			promise.reject(e)
			return
		}
		l := v.(net.Listener)
		server := &amp.Server{
			Handler: r.w.p, Options: &amp.Options{Logger: r.log},
			OnConnect: r.w.p.Connected, OnDisconnect: r.w.p.Disconnected,
		}
		r.nextID++
		id := r.nextID
		g.servers[id] = server
		r.w.waits.Go(func() { // ends with the listener
			if err := server.Serve(l); !errors.Is(err, amp.ErrServerClosed) {
				r.post(func() { r.report(slog.LevelError, "a listener failed", &Error{Message: err.Error()}, nil) })
			}
		})
		promise.resolve(r.listener(id, server, l.Addr()))
	})
	return promise.o
}

// listener is what amp.listen gives the script.
func (r *realm) listener(id uint64, server *amp.Server, addr net.Addr) *goja.Object {
	address := "tcp://" + addr.String()
	if addr.Network() == "unix" {
		address = "unix:" + addr.String()
	}
	o := r.rt.NewObject()
	must(o.Set("address", address))
	must(o.Set("close", func(goja.FunctionCall) goja.Value {
		promise := r.newDeferred()
		r.background(func(ctx context.Context) (any, error) {
			// A responder may wait for this, and is waited for here.
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return nil, server.Shutdown(ctx)
		}, func(any, error) {
			delete(r.w.p.program.servers, id)
			promise.resolve(goja.Undefined())
		})
		return promise.o
	}))
	return o
}
