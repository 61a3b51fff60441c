package scripting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// A transport is a raw connection as amp.protocol gives it to a script. It
// belongs to one realm until it ends.
type transport struct {
	r        *realm
	id       uint64
	nc       net.Conn
	handlers *goja.Object
	about    *call // for the log
	ended    bool  // connectionLost was called; only the loop

	credit chan struct{} // chunks that were read and not handled yet
	gone   chan struct{} // closed with closed

	mu      sync.Mutex // guards the fields below
	more    sync.Cond  // something below has changed
	paused  bool
	out     []chunk
	unsent  int       // bytes in out, and of what is being written
	busy    time.Time // when something has passed last
	closing bool      // no more writes; close once out is empty
	closed  bool
}

// A chunk is bytes to be written, and whom to tell.
type chunk struct {
	data []byte
	done func(error)
}

// maxUnsentBytes is how much may wait for a peer that does not read before
// nothing more is read from it.
const maxUnsentBytes = 1 << 20

// lull is how long nothing passes over a connection that may be closed when the
// plugin is stopped.
const lull = time.Second

// lastWrite is how long a peer may take for what was sent before the connection
// was closed.
const lastWrite = 30 * time.Second

// maxChunks is how many chunks may have been read that the script has not
// handled yet.
const maxChunks = 4

// openTransport gives a raw connection to the protocol of a name, which then
// owns it. It is called on the loop.
func (r *realm) openTransport(name string, nc net.Conn) {
	factory := r.protocols[name]
	if factory == nil {
		_ = nc.Close() // the peer learns of it by that
		return
	}
	r.startTransport(name, factory, nc)
}

// startTransport makes the transport of a raw connection, of amp.dial if it has
// no name. factory makes its handlers; without one they are the transport's own
// properties.
func (r *realm) startTransport(name string, factory goja.Callable, nc net.Conn) goja.Value {
	r.nextID++
	about := &call{kept: true, about: []slog.Attr{slog.String("peer", addrString(nc.RemoteAddr()))}}
	if name != "" {
		about.about = append(about.about, slog.String("protocol", name))
	}
	t := &transport{r: r, id: r.nextID, nc: nc, about: about, credit: make(chan struct{}, maxChunks), gone: make(chan struct{}), busy: time.Now()}
	t.more.L = &t.mu
	r.transports[t.id] = t
	r.closers.add(t, t.abort)
	r.pending++
	o, err := r.fn.transport(nil, r.rt.ToValue(t.id), r.rt.ToValue(addrString(nc.RemoteAddr())), r.rt.ToValue(addrString(nc.LocalAddr())))
	if err == nil && factory != nil {
		var v goja.Value
		if v, err = r.enterFor(about, factory, o); err == nil {
			t.handlers, _ = v.(*goja.Object)
		}
	} else {
		t.handlers, _ = o.(*goja.Object)
	}
	if err != nil {
		r.report(slog.LevelError, "protocol failed", r.describe(err), about)
		t.abort()
	}
	r.w.waits.Go(t.read)  // ends with nc; the worker's end waits
	r.w.waits.Go(t.write) // ends when it is closed; the worker's end waits
	if r.w.stopping {
		r.w.loseIdle()
	}
	return o
}

// read passes what arrives to the loop.
func (t *transport) read() {
	buf := make([]byte, 32<<10)
	for {
		t.mu.Lock()
		for (t.paused || t.unsent > maxUnsentBytes) && !t.closed {
			t.more.Wait()
		}
		t.mu.Unlock()
		n, err := t.nc.Read(buf)
		if n > 0 {
			t.passed(0)
			data := append([]byte(nil), buf[:n]...)
			select {
			case t.credit <- struct{}{}:
			case <-t.gone:
			}
			t.r.post(func() {
				select {
				case <-t.credit:
				default:
				}
				t.received(data)
			})
		}
		if err != nil {
			// What was sent before goes out, to a peer that may have closed
			// its half only. It may also take nothing any more.
			_ = t.nc.SetWriteDeadline(time.Now().Add(lastWrite))
			t.shut()
			t.r.post(func() { t.lost(err) })
			return
		}
	}
}

// write writes what the script has sent, and then closes if it is to.
func (t *transport) write() {
	for {
		t.mu.Lock()
		for len(t.out) == 0 && !t.closing && !t.closed {
			t.more.Wait()
		}
		list := t.out
		t.out = nil
		end := len(list) == 0
		t.mu.Unlock()
		if end {
			_ = t.nc.Close() // read ends, and tells
			return
		}
		for _, c := range list {
			_, err := t.nc.Write(c.data)
			t.passed(len(c.data))
			c.done(err)
		}
	}
}

// passed notes that the peer has sent something, or taken so many bytes.
func (t *transport) passed(taken int) {
	t.mu.Lock()
	t.busy = time.Now()
	t.unsent -= taken
	t.mu.Unlock()
	if taken > 0 {
		t.more.Broadcast()
	}
}

// loseIdle closes the connection if it is idle. It is false if it is not.
func (t *transport) loseIdle() bool {
	t.mu.Lock()
	idle := t.closing || t.unsent == 0 && time.Since(t.busy) >= lull
	t.mu.Unlock()
	if idle {
		t.lose()
	}
	return idle
}

// shut has the writer end.
func (t *transport) shut() {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(t.gone)
	}
	t.mu.Unlock()
	t.more.Broadcast()
}

// abort closes the connection at once.
func (t *transport) abort() {
	_ = t.nc.Close()
	t.shut()
}

// lose closes the connection once what was sent is written.
func (t *transport) lose() {
	t.mu.Lock()
	if !t.closing {
		_ = t.nc.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	t.closing = true
	t.paused = false
	t.mu.Unlock()
	t.more.Broadcast()
}

// send queues bytes, and returns a promise of their being written.
func (t *transport) send(data []byte) goja.Value {
	r := t.r
	promise := r.newDeferred()
	done := func(err error) {
		r.post(func() {
			if err == nil {
				promise.resolve(goja.Undefined())
				return
			}
			if lost, failed := r.connectionLost(err); failed == nil {
				promise.reject(lost)
				r.handled(promise.promise) // who does not wait for a write need not hear of it
			}
		})
	}
	t.mu.Lock()
	refused := t.closing || t.closed
	if !refused {
		t.out = append(t.out, chunk{append([]byte(nil), data...), done})
		t.unsent += len(data)
	}
	t.mu.Unlock()
	t.more.Broadcast()
	if refused {
		done(amp.ErrClosed)
	}
	return promise.o
}

// lostWrite is what a write to a connection that has ended returns: a promise
// that is rejected. Who does not wait for it need not hear of it.
func (r *realm) lostWrite() goja.Value {
	lost, err := r.connectionLost(nil)
	if err != nil {
		panic(err)
	}
	promise := r.newDeferred()
	promise.reject(lost)
	r.handled(promise.promise)
	return promise.o
}

// received calls the script's dataReceived.
func (t *transport) received(data []byte) {
	if !t.ended {
		t.call("dataReceived", func() (goja.Value, error) { return t.r.buffer(data), nil })
	}
}

// lost calls the script's connectionLost, once.
func (t *transport) lost(reason error) {
	if t.ended {
		return
	}
	t.ended = true
	delete(t.r.transports, t.id)
	t.r.closers.remove(t)
	t.r.pending--
	if errors.Is(reason, net.ErrClosed) || errors.Is(reason, io.ErrClosedPipe) {
		reason = nil
	}
	t.call("connectionLost", func() (goja.Value, error) { return t.r.connectionLost(reason) })
}

// call calls one of the script's handlers, if it is there. What it throws ends
// the connection.
func (t *transport) call(name string, arg func() (goja.Value, error)) {
	if t.handlers != nil && !t.r.callHandler(t.about, t.handlers, name, arg) {
		t.abort()
	}
}

// callHandler calls a method of an object, if it is there. It is false if that
// threw; the log has the story then.
func (r *realm) callHandler(about *call, o *goja.Object, name string, arg func() (goja.Value, error)) bool {
	var fn goja.Callable
	err := r.try(func() { fn, _ = goja.AssertFunction(o.Get(name)) })
	if err == nil && fn == nil {
		return true
	}
	if err == nil {
		var v goja.Value
		if v, err = arg(); err == nil {
			r.current = about
			if _, err = fn(o, v); err != nil && isFatal(err) {
				r.die(err)
			}
			r.current = nil
		}
	}
	if err == nil {
		return true
	}
	if r.dead == nil {
		r.report(slog.LevelError, name+" failed", r.describe(err), about)
	}
	return false
}

// transportNatives are what transports and box senders are made of.
func (r *realm) transportNatives(set func(string, func(goja.FunctionCall) goja.Value)) {
	of := func(name string, f func(t *transport, c goja.FunctionCall) goja.Value) {
		set(name, func(c goja.FunctionCall) goja.Value {
			if t := r.transports[uint64(c.Argument(0).ToInteger())]; t != nil {
				return f(t, c)
			}
			if name == "transportWrite" {
				return r.lostWrite()
			}
			return goja.Undefined()
		})
	}
	of("transportWrite", func(t *transport, c goja.FunctionCall) goja.Value {
		data, err := r.encode(nil, &argType{kind: kindString}, c.Argument(1))
		if err != nil {
			panic(r.rt.NewTypeError("write: %s", err))
		}
		return t.send(data)
	})
	of("transportLose", func(t *transport, _ goja.FunctionCall) goja.Value {
		t.lose()
		return goja.Undefined()
	})
	of("transportPause", func(t *transport, c goja.FunctionCall) goja.Value {
		t.mu.Lock()
		t.paused = c.Argument(1).ToBoolean() && !t.closing
		t.mu.Unlock()
		t.more.Broadcast()
		return goja.Undefined()
	})
	set("protocol", func(c goja.FunctionCall) goja.Value {
		r.declareNamed(r.protocols, "protocol", c)
		return goja.Undefined()
	})
	set("boxReceiver", func(c goja.FunctionCall) goja.Value {
		r.declareNamed(r.receivers, "boxReceiver", c)
		return goja.Undefined()
	})
	set("sendBox", func(c goja.FunctionCall) goja.Value {
		o, ok := c.Argument(1).(*goja.Object)
		if !ok {
			panic(r.rt.NewTypeError("sendBox takes an object of Buffers"))
		}
		box, err := r.encodeAnyBox(o)
		if err != nil {
			panic(r.rt.NewTypeError("sendBox: %v", err))
		}
		if b := r.boxConns[uint64(c.Argument(0).ToInteger())]; b != nil {
			b.conn.send(box)
		}
		return goja.Undefined()
	})
}

// declareNamed is amp.protocol and amp.boxReceiver: (name, function).
func (r *realm) declareNamed(m map[string]goja.Callable, what string, c goja.FunctionCall) {
	name := c.Argument(0).String()
	r.mustLoad("amp." + what + "(" + name + ")")
	if _, taken := m[name]; taken {
		panic(r.rt.NewTypeError("amp.%s: there is a %q already", what, name))
	}
	m[name], _ = goja.AssertFunction(c.Argument(1))
}

// ServeRaw gives a raw connection to the plugin's protocol of a name, which
// then owns it. It is false, and the connection still the caller's, if there
// is none.
func (d *Dir) ServeRaw(protocol string, nc net.Conn) bool {
	return d.serveNamed("protocol "+protocol, func(p *Plugin) bool { return p.serveRaw(protocol, nc) })
}

// serveNamed does f with the plugin that has a protocol or box receiver. One
// that was just replaced, for which f is false, is looked up again.
func (d *Dir) serveNamed(key string, f func(*Plugin) bool) bool {
	for {
		t := d.table.Load()
		p := t.named[key]
		if p == nil {
			return false
		}
		if f(p) {
			return true
		}
		if d.table.Load() == t {
			return false
		}
	}
}

// ServeRaw gives a raw connection to the plugin's protocol of a name, as
// Dir.ServeRaw does.
func (p *Plugin) ServeRaw(protocol string, nc net.Conn) bool {
	return p.has("protocol "+protocol) && p.serveRaw(protocol, nc)
}

func (p *Plugin) serveRaw(protocol string, nc net.Conn) bool {
	w := p.workers[p.requests.Add(1)%uint64(len(p.workers))]
	return w.loop.offer(keyBarrier, func() {
		w.inOrder(func(w *worker) {
			if w.realm == nil {
				_ = nc.Close()
				return
			}
			w.realm.openTransport(protocol, nc)
		})
	})
}

func (p *Plugin) has(name string) bool {
	for _, n := range p.named {
		if n == name {
			return true
		}
	}
	return false
}

// switchTo answers a call with a protocol switch.
func (r *realm) switchTo(c *call, v goja.Value) error {
	if !goja.IsString(v) || r.protocols[v.String()] == nil {
		return fmt.Errorf("the responder of a ProtocolSwitchCommand returns the name of an amp.protocol, not %s", r.brief(v))
	}
	name := v.String()
	c.req.Switch(func(nc net.Conn) {
		r.deliver(func() { r.openTransport(name, nc) }, func() {
			// The generation has ended meanwhile.
			if serve := r.w.p.hub.serveRaw; serve == nil || !serve(name, nc) {
				_ = nc.Close()
			}
		})
	})
	return nil
}

// callSwitch is peer.callRemote of a ProtocolSwitchCommand: (peer, command,
// arguments, protocol, timeout) → promise and the call's number. A call that is
// given up takes the connection with it: nobody knows what the peer speaks.
func (r *realm) callSwitch(c goja.FunctionCall) goja.Value {
	cmd := r.commands[c.Argument(1).ToInteger()]
	box := r.encodeArguments(cmd, c.Argument(2))
	name := c.Argument(3).String()
	if r.protocols[name] == nil {
		panic(r.rt.NewTypeError("callRemote: { protocol } must name an amp.protocol of this plugin, and %q is none", name))
	}
	p := r.peers[uint64(c.Argument(0).ToInteger())]
	var conn *amp.Conn
	if p != nil {
		conn = p.connNow()
	}
	if conn == nil || p.boxes {
		lost, err := r.connectionLost(nil)
		if err != nil {
			panic(err)
		}
		panic(lost)
	}
	o := r.startCall(cmd, timeoutOf(c.Argument(4)))
	ctx, cancel := context.WithCancel(r.w.ctx)
	o.cancel = cancel
	r.w.waits.Go(func() { // ends with the answer, the connection, the call or the worker
		defer cancel()
		nc, err := conn.Switch(ctx, cmd.name, box)
		r.deliver(func() {
			switch {
			case err != nil:
				r.answered(o, nil, err)
			case r.outgoing[o.id] == nil: // given up meanwhile
				_ = nc.Close()
			default:
				r.openTransport(name, nc)
				r.written(o, nil)
			}
		}, func() {
			if err == nil {
				_ = nc.Close()
			}
		})
	})
	return r.rt.NewArray(o.promise.o, o.id)
}
