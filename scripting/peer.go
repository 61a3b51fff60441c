package scripting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// A peer is a connection as the scripts of one realm see it: the same object
// for the same connection.
type peer struct {
	conn *amp.Conn // nil for calls that came from no connection
	obj  *goja.Object
}

// peerOf returns the object for a connection, which may be nil.
func (r *realm) peerOf(conn *amp.Conn) *goja.Object {
	var id uint64
	if conn != nil {
		id = conn.ID()
	}
	if p, ok := r.peers[id]; ok {
		return p.obj
	}
	o := r.rt.CreateObject(r.peerProto)
	fixed := func(name string, v any) {
		must(o.DefineDataProperty(name, r.rt.ToValue(v), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_TRUE))
	}
	fixed("id", id)
	remote, local := "", ""
	if conn != nil {
		remote, local = addrString(conn.RemoteAddr()), addrString(conn.LocalAddr())
	}
	fixed("remoteAddress", remote)
	fixed("localAddress", local)
	must(o.DefineDataPropertySymbol(r.id, r.rt.ToValue(id), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
	r.peers[id] = &peer{conn: conn, obj: o}
	return o
}

// addrString returns an address, or "" if there is none.
func addrString(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// connected tells the script of a new connection.
func (r *realm) connected(conn *amp.Conn) {
	o := r.peerOf(conn)
	r.notify("onConnect", o)
}

// disconnected tells the script that a connection has ended.
func (r *realm) disconnected(conn *amp.Conn, reason error) {
	if len(r.handlers["onDisconnect"]) > 0 {
		if why, err := r.connectionLost(reason); err == nil {
			r.notify("onDisconnect", r.peerOf(conn), why)
		}
	}
	delete(r.peers, conn.ID())
}

// notify calls the handlers of a kind. What they throw is logged.
func (r *realm) notify(kind string, args ...goja.Value) {
	for _, fn := range r.handlers[kind] {
		v, err := r.enter(fn, args...)
		if err != nil && !isFatal(err) {
			r.report(slog.LevelError, "uncaught in amp."+kind, r.describe(err), nil)
		}
		_ = v // a promise that is rejected is logged as any other
		if r.dead != nil {
			return
		}
	}
}

// connectionLost makes an amp.ConnectionLost.
func (r *realm) connectionLost(reason error) (goja.Value, error) {
	text := "the connection is closed"
	switch {
	case reason == nil:
	case errors.Is(reason, io.EOF):
		text = "the peer closed the connection"
	case errors.Is(reason, amp.ErrClosed):
	default:
		text = reason.Error()
	}
	return r.fn.connectionLost(nil, r.rt.ToValue(text))
}

// An outgoing is a call that a script made and that is not answered yet.
type outgoing struct {
	id      uint64
	cmd     *command
	resolve func(any) error
	reject  func(any) error
	cancel  func() // forgets the call; its done may still come, and finds nothing
	timer   *timer
}

// callRemote is peer.callRemote: it returns the promise and the call's number.
// It panics with what makes the call impossible.
func (r *realm) callRemote(peerID, cmdID uint64, args goja.Value, timeout time.Duration) goja.Value {
	cmd := r.commands[cmdID]
	box := r.encodeArguments(cmd, args)
	p := r.peers[peerID]
	if p == nil || p.conn == nil {
		lost, err := r.fn.connectionLost(nil, r.rt.ToValue("there is no connection"))
		if err != nil {
			panic(err)
		}
		panic(lost)
	}
	promise, resolve, reject := r.rt.NewPromise()
	if !cmd.answers {
		// Room for it may have to be waited for, but not for long.
		ctx, cancel := context.WithTimeout(r.w.ctx, 50*time.Millisecond)
		defer cancel()
		if err := p.conn.Send(ctx, cmd.name, box); err != nil {
			must(reject(r.callError(cmd, err)))
		} else {
			must(resolve(goja.Undefined()))
		}
		return r.rt.NewArray(r.rt.ToValue(promise), 0)
	}
	o := r.startCall(cmd, resolve, reject, timeout)
	o.cancel = p.conn.Go(cmd.name, box, func(b amp.Box, err error) {
		r.post(func() { r.answered(o, b, err) })
	})
	return r.rt.NewArray(r.rt.ToValue(promise), o.id)
}

// encodeArguments makes the box of a call. It panics with a TypeError.
func (r *realm) encodeArguments(cmd *command, args goja.Value) amp.Box {
	o, ok := args.(*goja.Object)
	if !ok {
		panic(r.rt.NewTypeError("%s: the arguments must be an object", cmd.name))
	}
	var box amp.Box
	var err error
	if cmd.arguments.any {
		box, err = r.encodeBox(o)
	} else {
		var pairs []byte
		if pairs, err = r.encodeShape(nil, cmd.arguments, o); err == nil {
			box = boxOfPairs(pairs)
		}
	}
	if err != nil {
		panic(r.rt.NewTypeError("%s: argument %v", cmd.name, err))
	}
	return box
}

// startCall notes a call that is under way.
func (r *realm) startCall(cmd *command, resolve, reject func(any) error, timeout time.Duration) *outgoing {
	r.nextID++
	o := &outgoing{id: r.nextID, cmd: cmd, resolve: resolve, reject: reject, cancel: func() {}}
	r.outgoing[o.id] = o
	r.pending++
	if timeout >= 0 {
		o.timer = r.w.loop.timers.after(timeout, func() {
			if r.dead != nil || r.outgoing[o.id] == nil {
				return
			}
			e, err := r.fn.timeoutError(nil, r.rt.ToValue(fmt.Sprintf("%s was not answered within %v", cmd.name, timeout)))
			if err == nil {
				r.drop(o, e)
			}
		})
	}
	return o
}

// drop ends a call that is not waited for any longer.
func (r *realm) drop(o *outgoing, reason goja.Value) {
	if r.outgoing[o.id] == nil {
		return
	}
	r.forgetCall(o)
	o.cancel()
	r.settlePromise(o.reject, reason)
}

func (r *realm) forgetCall(o *outgoing) {
	delete(r.outgoing, o.id)
	r.pending--
	o.timer.stop()
}

// answered settles the promise of a call with the peer's answer.
func (r *realm) answered(o *outgoing, box amp.Box, err error) {
	if r.outgoing[o.id] == nil {
		return // timed out or cancelled
	}
	r.forgetCall(o)
	if err != nil {
		r.settlePromise(o.reject, r.callError(o.cmd, err))
		return
	}
	var v goja.Value
	if o.cmd.response.any {
		v, err = r.decodeBox(box)
	} else {
		v, err = r.decodeShape(o.cmd.response, boxSource(box))
	}
	if err != nil {
		e, _ := r.fn.plainError(nil, r.rt.ToValue(fmt.Sprintf("bad answer to %s: %v", o.cmd.name, err)))
		r.settlePromise(o.reject, e)
		return
	}
	r.settlePromise(o.resolve, v)
}

// settlePromise calls a promise's resolving function from the loop, and so
// runs what waits for it.
func (r *realm) settlePromise(f func(any) error, v any) {
	if err := f(v); err != nil && isFatal(err) {
		r.die(err)
	}
}

// callError makes what a call rejects with: an instance of the class that the
// command declares for the code, or one of amp's own.
func (r *realm) callError(cmd *command, err error) goja.Value {
	var e *amp.Error
	var v goja.Value
	var failed error
	if errors.As(err, &e) {
		for _, d := range cmd.errors {
			if d.code == e.Code {
				v, failed = r.fn.declaredError(nil, d.class, r.rt.ToValue(d.code), r.rt.ToValue(e.Description))
				if failed == nil {
					return v
				}
			}
		}
		v, failed = r.fn.remoteError(nil, r.rt.ToValue(e.Code), r.rt.ToValue(e.Description))
	} else if errors.Is(err, amp.ErrTooLong) || errors.Is(err, amp.ErrReservedKey) || errors.Is(err, amp.ErrEmptyKey) {
		v, failed = r.fn.plainError(nil, r.rt.ToValue(err.Error()))
	} else {
		v, failed = r.connectionLost(err)
	}
	if failed != nil {
		return r.rt.ToValue(err.Error())
	}
	return v
}
