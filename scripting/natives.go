package scripting

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// natives makes the object through which the prelude reaches Go.
func (r *realm) natives() *goja.Object {
	o := r.rt.NewObject()
	set := func(name string, f func(goja.FunctionCall) goja.Value) { must(o.Set(name, f)) }
	must(o.Set("id", r.id))

	set("load", func(c goja.FunctionCall) goja.Value {
		r.load(c.Argument(0).String())
		return goja.Undefined()
	})

	// Logs and errors.
	// A line that nobody reads, or that is one too many, is asked about before its
	// text is made: that is what it would cost. mayWrite counts it.
	mayWrite := func(level slog.Level) bool {
		return r.log.Enabled(context.Background(), level) && r.w.p.mayLog()
	}
	set("mayWrite", func(c goja.FunctionCall) goja.Value {
		return r.rt.ToValue(mayWrite(slog.Level(c.Argument(0).ToInteger())))
	})
	set("ifMayWrite", func(c goja.FunctionCall) goja.Value {
		level := slog.Level(c.Argument(1).ToInteger())
		write, _ := c.Argument(2).Export().(native)
		f := r.rt.ToValue(func(c goja.FunctionCall) goja.Value {
			if !mayWrite(level) {
				return goja.Undefined()
			}
			return write(c)
		}).ToObject(r.rt)
		must(f.DefineDataProperty("name", c.Argument(0), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE))
		return f
	})
	set("log", func(c goja.FunctionCall) goja.Value {
		r.log.LogAttrs(context.Background(), slog.Level(c.Argument(0).ToInteger()), shortLine(c.Argument(1).String()), r.current.attrs()...)
		return goja.Undefined()
	})
	set("report", func(c goja.FunctionCall) goja.Value {
		r.report(slog.LevelError, c.Argument(0).String(), r.describeValue(c.Argument(1)), r.current)
		return goja.Undefined()
	})
	set("stack", func(c goja.FunctionCall) goja.Value {
		var lines []string
		for _, p := range parseStack(c.Argument(0).String()) {
			lines = append(lines, "    at "+formatPlace(p))
		}
		return r.rt.ToValue(strings.Join(lines, "\n"))
	})
	set("isProxy", func(c goja.FunctionCall) goja.Value {
		o, ok := c.Argument(0).(*goja.Object)
		return r.rt.ToValue(ok && o.ExportType() == typeProxy)
	})
	set("proxyTarget", func(c goja.FunctionCall) goja.Value {
		if p, ok := c.Argument(0).Export().(goja.Proxy); ok && p.Target() != nil {
			return p.Target()
		}
		return goja.Undefined()
	})
	set("promise", func(c goja.FunctionCall) goja.Value {
		p, ok := c.Argument(0).Export().(*goja.Promise)
		if !ok {
			return r.rt.NewArray(0, goja.Undefined())
		}
		result := p.Result()
		if result == nil {
			result = goja.Undefined()
		}
		return r.rt.NewArray(int(p.State()), result)
	})

	// Calls.
	set("settle", func(c goja.FunctionCall) goja.Value {
		r.settle(uint64(c.Argument(0).ToInteger()), c.Argument(1), false)
		return goja.Undefined()
	})
	set("fail", func(c goja.FunctionCall) goja.Value {
		r.settle(uint64(c.Argument(0).ToInteger()), c.Argument(1), true)
		return goja.Undefined()
	})
	set("command", r.declareCommand)
	set("responder", r.declareResponder)
	set("handler", r.declareHandler)
	set("callRemote", func(c goja.FunctionCall) goja.Value {
		return r.callRemote(uint64(c.Argument(0).ToInteger()), uint64(c.Argument(1).ToInteger()), c.Argument(2), timeoutOf(c.Argument(3)))
	})
	set("cancelCall", func(c goja.FunctionCall) goja.Value {
		if o := r.outgoing[uint64(c.Argument(0).ToInteger())]; o != nil {
			r.drop(o, c.Argument(1))
		}
		return goja.Undefined()
	})
	set("ask", r.ask)
	set("askNamed", r.askNamed)
	set("peers", func(goja.FunctionCall) goja.Value {
		list := []any{}
		for _, conn := range r.w.p.hub.conns() {
			list = append(list, r.peerOf(conn))
		}
		return r.rt.NewArray(list...)
	})
	r.peerNatives(set)
	r.transportNatives(set)
	set("callSwitch", r.callSwitch)
	r.programNatives(o)
	set("idleTimer", func(c goja.FunctionCall) goja.Value {
		if t := r.timers[uint64(c.Argument(0).ToInteger())]; t != nil {
			t.idle = true
		}
		return goja.Undefined()
	})
	about := r.rt.NewObject()
	must(about.Set("name", r.prog.Name))
	must(about.Set("generation", r.w.p.generation))
	set("config", func(goja.FunctionCall) goja.Value {
		v, err := r.config()
		if err != nil {
			panic(r.rt.NewTypeError("amp.plugin.config: %s", err))
		}
		return v
	})
	must(o.Set("plugin", about))

	// Timers.
	for name, repeat := range map[string]bool{"setTimeout": false, "setInterval": true, "setImmediate": false} {
		r.global(name, func(c goja.FunctionCall) goja.Value {
			fn, ok := goja.AssertFunction(c.Argument(0))
			if !ok {
				panic(r.rt.NewTypeError("%s takes a function", name))
			}
			skip := 2
			delay := time.Duration(0)
			if name == "setImmediate" {
				skip = 1
			} else {
				delay = max(milliseconds(c.Argument(1).ToFloat()), time.Millisecond)
			}
			var args []goja.Value
			if len(c.Arguments) > skip {
				args = slices.Clone(c.Arguments[skip:])
			}
			return r.rt.ToValue(r.setTimer(fn, delay, repeat, args))
		})
	}
	for _, name := range []string{"clearTimeout", "clearInterval", "clearImmediate"} {
		r.global(name, func(c goja.FunctionCall) goja.Value {
			if goja.IsNumber(c.Argument(0)) {
				r.clearTimer(uint64(c.Argument(0).ToInteger()))
			}
			return goja.Undefined()
		})
	}
	set("now", func(goja.FunctionCall) goja.Value {
		return r.rt.ToValue(float64(time.Since(r.w.p.started).Nanoseconds()) / 1e6)
	})
	must(o.Set("timeOrigin", float64(r.w.p.started.UnixNano())/1e6))

	r.textNatives(set)
	r.cryptoNatives(set)
	r.envNatives(set)
	r.urlNatives(set)
	r.fetchNatives(set)
	r.passwordNatives(set)
	r.storeNatives(set)
	return o
}

// global sets a global function that scripts don't see when they enumerate.
func (r *realm) global(name string, f func(goja.FunctionCall) goja.Value) {
	v := r.rt.ToValue(f).ToObject(r.rt)
	must(v.DefineDataProperty("name", r.rt.ToValue(name), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	must(r.rt.GlobalObject().DefineDataProperty(name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
}

// timeoutOf is the timeout of a call, in milliseconds; negative for none.
func timeoutOf(v goja.Value) time.Duration {
	const most = float64(1<<31 - 1) // a longer one is none, as Infinity is
	if ms := v.ToFloat(); ms >= 0 && ms <= most {
		return milliseconds(ms)
	}
	return -1
}

// milliseconds is a delay as scripts give it.
func milliseconds(ms float64) time.Duration {
	const most = float64(1<<31 - 1) // as everywhere: beyond it, at once
	if math.IsNaN(ms) || ms < 0 || ms > most {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}
