package scripting

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// A peer is a connection as the scripts of one realm see it: the same object
// for the same connection.
type peer struct {
	id     uint64
	conn   *amp.Conn // nil for calls that came from no connection, and for what comes back by itself
	dialed *dialed   // nil unless the script has opened it
	obj    *goja.Object
	state  *goja.Object // peer.state; nil until it is used
	who    goja.Value   // peer.identity; nil until it is known
	boxes  bool         // its boxes go to a box receiver: it can't be called

	now  uint64    // of what comes back by itself: the connection that it is now
	back *comeback // calls that wait for that; nil if none does
}

// connNow returns the connection of a peer, or nil if there is none now.
func (p *peer) connNow() *amp.Conn {
	if p.conn != nil || p.dialed == nil || p.dialed.client == nil {
		return p.conn
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	conn, _ := p.dialed.client.Conn(now) // does not wait
	return conn
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
	p := &peer{id: id, conn: conn}
	if conn == nil {
		return r.newPeer(p, "", "", "")
	}
	if d := r.w.p.hub.dialedBy(conn); d != nil {
		// What comes back by itself has come back as this.
		if p := r.peers[d.id]; p != nil {
			delete(r.peers, p.now)
			p.now = id
			r.peers[id] = p
			return p.obj
		}
	}
	var listener string
	listener, p.boxes = r.w.p.hub.listener(conn)
	return r.newPeer(p, addrString(conn.RemoteAddr()), addrString(conn.LocalAddr()), listener)
}

// newPeer makes the object for a peer. Natives know it by its id, which a script
// can't change: a symbol beside it would take 700 bytes of each connection.
func (r *realm) newPeer(p *peer, remote, local, listener string) *goja.Object {
	p.obj = r.rt.CreateObject(r.peerProto)
	for _, f := range []struct {
		name  string
		value any
	}{{"id", p.id}, {"remoteAddress", remote}, {"localAddress", local}, {"listener", listener}} {
		must(p.obj.DefineDataProperty(f.name, r.rt.ToValue(f.value), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_TRUE))
	}
	if len(r.peers)%256 == 255 {
		r.sweepPeers()
	}
	r.peers[p.id] = p
	return p.obj
}

// sweepPeers forgets the connections that have ended and of whose end nobody
// has told: a Plugin may be used without that.
func (r *realm) sweepPeers() {
	for id, p := range r.peers {
		if p.conn == nil {
			continue
		}
		select {
		case <-p.conn.Done():
			delete(r.peers, id)
		default:
		}
	}
}

// addrString returns an address, or "" if there is none. The clients of a UNIX
// socket have no name.
func addrString(a net.Addr) string {
	switch {
	case a == nil:
		return ""
	case a.Network() == "unix" && (a.String() == "" || a.String() == "@"):
		return "unix"
	case a.Network() == "unix":
		return "unix:" + a.String()
	}
	return a.String()
}

// peerNatives are what amp.Peer is made of, callRemote aside. Each takes the
// peer's number first.
func (r *realm) peerNatives(set func(string, func(goja.FunctionCall) goja.Value)) {
	of := func(name string, f func(p *peer, c goja.FunctionCall) goja.Value) {
		set(name, func(c goja.FunctionCall) goja.Value {
			p := r.peers[uint64(c.Argument(0).ToInteger())]
			if p == nil {
				// It has disconnected, and the script has kept the object.
				p = &peer{}
			}
			return f(p, c)
		})
	}
	set("connect", r.connect)
	set("dial", r.dial)
	set("startTLS", r.startTLS)
	of("loseConnection", func(p *peer, _ goja.FunctionCall) goja.Value {
		switch {
		case p.dialed != nil && !r.w.p.hub.giveUp(p.dialed, r):
			// The next generation has it.
		case p.dialed != nil && p.dialed.again:
			client := p.dialed.client
			r.w.waits.Go(func() { _ = client.Close() }) // waits for a goroutine of its own
			r.clients = slices.DeleteFunc(r.clients, func(c *amp.Client) bool { return c == client })
		case p.conn != nil:
			r.w.p.hangUp(p.conn)
		}
		return goja.Undefined()
	})
	of("identity", func(p *peer, _ goja.FunctionCall) goja.Value { return r.identity(p) })
	of("authenticate", func(p *peer, c goja.FunctionCall) goja.Value {
		if absent(c.Argument(1)) {
			panic(r.rt.NewTypeError("authenticate takes an identity"))
		}
		data, err := r.cloneValue(c.Argument(1))
		if err != nil {
			panic(r.rt.NewTypeError("authenticate: %s", valueProblem(err)))
		}
		if p.id == 0 {
			panic(r.rt.NewTypeError("authenticate: there is no connection"))
		}
		if !r.w.p.hub.authenticate(p.id, p.conn, data) {
			panic(r.rt.NewTypeError("authenticate: the peer has an identity already"))
		}
		return goja.Undefined()
	})
	of("state", func(p *peer, _ goja.FunctionCall) goja.Value {
		if p.state == nil {
			if p.state = r.stateLeft(p); p.state == nil {
				p.state = r.rt.NewObject()
			}
		}
		return p.state
	})
	of("tls", func(p *peer, _ goja.FunctionCall) goja.Value {
		if conn := p.connNow(); conn != nil {
			return r.tlsState(conn.TLS())
		}
		return goja.Null()
	})
}

// tlsState is what peer.tls shows.
func (r *realm) tlsState(s *tls.ConnectionState) goja.Value {
	if s == nil {
		return goja.Null()
	}
	about := map[string]any{
		"version": tls.VersionName(s.Version), "cipher": tls.CipherSuiteName(s.CipherSuite), "serverName": s.ServerName, "peerCertificate": nil,
	}
	o, err := r.toScript(about)
	if err != nil {
		panic(r.storeError(err))
	}
	cert := goja.Null()
	if len(s.VerifiedChains) > 0 {
		leaf := s.PeerCertificates[0]
		names := make([]any, len(leaf.DNSNames))
		for i, n := range leaf.DNSNames {
			names[i] = n
		}
		if cert, err = r.toScript(map[string]any{
			"subject": leaf.Subject.String(), "issuer": leaf.Issuer.String(), "commonName": leaf.Subject.CommonName, "names": names,
			"serialNumber": leaf.SerialNumber.Text(16), "notBefore": leaf.NotBefore, "notAfter": leaf.NotAfter, "raw": leaf.Raw,
		}); err != nil {
			panic(r.storeError(err))
		}
	}
	must(o.ToObject(r.rt).Set("peerCertificate", cert))
	return o
}

// leaveStates gives the states of the peers to the next generation.
func (r *realm) leaveStates() {
	for id, p := range r.peers {
		if p.state == nil || id == 0 || id != p.id {
			continue
		}
		var data []byte
		var err error
		if failed := r.try(func() { data, err = r.cloneValue(p.state) }); failed != nil {
			err = failed
		}
		if err != nil {
			r.log.LogAttrs(r.w.ctx, slog.LevelWarn, "peer.state does not survive the reload", slog.Uint64("conn", p.id), slog.String("error", valueProblem(err)))
			continue
		}
		r.w.p.hub.leave(p.id, r.prog.Name, data)
	}
}

// stateLeft returns the state of a peer that the generation before has left, or
// nil.
func (r *realm) stateLeft(p *peer) *goja.Object {
	if p.id == 0 {
		return nil
	}
	data := r.w.p.hub.take(p.id, r.prog.Name)
	if data == nil {
		return nil
	}
	v, err := r.decodeClone(data)
	if err != nil {
		r.log.LogAttrs(r.w.ctx, slog.LevelWarn, "peer.state does not survive the reload", slog.Uint64("conn", p.id), slog.String("error", valueProblem(err)))
		return nil
	}
	state, _ := v.(*goja.Object)
	return state
}

// takeStates completes the states that the script has used before the
// generation before it had left them, in amp.onLoad: what was there wins.
func (r *realm) takeStates() {
	for id, p := range r.peers {
		if p.state == nil || id != p.id {
			continue
		}
		if left := r.stateLeft(p); left != nil {
			_ = r.try(func() {
				for _, key := range left.Keys() {
					must(p.state.DefineDataProperty(key, left.Get(key), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE))
				}
			})
		}
	}
}

// ask is amp.call: it calls a command of the host itself.
func (r *realm) ask(c goja.FunctionCall) goja.Value {
	return r.askFor(r.commands[c.Argument(0).ToInteger()], c)
}

// askFor is ask for a command: (…, arguments, timeout).
func (r *realm) askFor(cmd *command, c goja.FunctionCall) goja.Value {
	box := r.encodeArguments(cmd, c.Argument(1))
	if !cmd.answers {
		r.w.p.hub.handler.ServeAMP(amp.NewRequest(r.w.ctx, cmd.name, box, func(amp.Box, error) {}))
		promise := r.newDeferred()
		promise.resolve(goja.Undefined())
		return r.rt.NewArray(promise.o, 0)
	}
	timeout := timeoutOf(c.Argument(2))
	ctx, cancel := context.WithCancel(r.w.ctx)
	o := r.startCall(cmd, timeout)
	o.cancel = cancel
	r.w.p.hub.handler.ServeAMP(amp.NewRequest(ctx, cmd.name, box, func(b amp.Box, err error) {
		cancel()
		r.post(func() { r.answered(o, b, err) })
	}))
	return r.rt.NewArray(o.promise.o, o.id)
}

// connected tells the script of a new connection.
func (r *realm) connected(conn *amp.Conn) {
	o := r.peerOf(conn)
	r.notify(conn, "onConnect", o)
}

// disconnected tells the script that a connection has ended.
func (r *realm) disconnected(conn *amp.Conn, reason error) {
	if len(r.handlers["onDisconnect"]) > 0 {
		if why, err := r.connectionLost(reason); err == nil {
			r.notify(conn, "onDisconnect", r.peerOf(conn), why)
		}
	}
	if p := r.peers[conn.ID()]; p != nil {
		r.keep(p)
		delete(r.peers, p.id)
	}
}

// keep leaves with the object of a peer that has gone what scripts may still ask
// it: a responder may have waited meanwhile.
func (r *realm) keep(p *peer) {
	if p.state == nil {
		if p.state = r.stateLeft(p); p.state == nil {
			p.state = r.rt.NewObject()
		}
	}
	for name, v := range map[string]goja.Value{"state": p.state, "identity": r.identity(p)} {
		// This fails if the script has frozen the object, which then has neither.
		_ = p.obj.DefineDataProperty(name, v, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
	}
}

// identity is peer.identity.
func (r *realm) identity(p *peer) goja.Value {
	if p.who == nil && p.id != 0 {
		if data := r.w.p.hub.identity(p.id); data != nil {
			v, err := r.decodeClone(data)
			if err != nil {
				panic(r.storeError(err))
			}
			p.who = v
		}
	}
	if p.who == nil {
		return goja.Null()
	}
	return p.who
}

// notify calls the handlers of a kind for a connection. What they throw is
// logged; a promise that is rejected is, as any other.
func (r *realm) notify(conn *amp.Conn, kind string, args ...goja.Value) {
	about := aboutConn(conn)
	for _, fn := range r.handlers[kind] {
		_, err := r.enterFor(about, fn, args...)
		if err != nil && !isFatal(err) {
			r.report(slog.LevelError, "uncaught in amp."+kind, r.describe(err), about)
		}
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
	call    *call // whose code made it, or nil
	began   time.Time
	cmd     *command
	promise deferred
	cancel  func() // forgets the call; its done may still come, and finds nothing
	timer   *timer
}

// callRemote is peer.callRemote: it returns the promise and the call's number.
// It panics with what makes the call impossible.
func (r *realm) callRemote(peerID, cmdID uint64, args goja.Value, timeout time.Duration) goja.Value {
	cmd := r.commands[cmdID]
	box := r.encodeArguments(cmd, args)
	p := r.peers[peerID]
	if p != nil && p.boxes {
		panic(r.rt.NewTypeError("callRemote: the boxes of this connection go to amp.boxReceiver, use sender.sendBox"))
	}
	if p == nil || p.conn == nil && p.dialed == nil {
		lost, err := r.fn.connectionLost(nil, r.rt.ToValue("there is no connection"))
		if err != nil {
			panic(err)
		}
		panic(lost)
	}
	o := r.startCall(cmd, timeout)
	stop := r.withConn(p, func(conn *amp.Conn, err error) {
		switch {
		case r.outgoing[o.id] == nil: // timed out meanwhile
		case err != nil:
			r.answered(o, nil, err)
		case !cmd.answers:
			o.cancel = func() {}
			conn.Notify(cmd.name, box, func(err error) {
				r.post(func() { r.written(o, err) })
			})
		default:
			o.cancel = conn.Go(cmd.name, box, func(b amp.Box, err error) {
				r.postFor(conn.ID(), func() { r.answered(o, b, err) })
			})
		}
	})
	if stop != nil {
		o.cancel = stop
	}
	return r.rt.NewArray(o.promise.o, o.id)
}

// written settles the promise of a command that wants no answer.
func (r *realm) written(o *outgoing, err error) {
	if r.outgoing[o.id] == nil {
		return // timed out or cancelled
	}
	r.forgetCall(o)
	if err != nil {
		o.promise.reject(r.callError(o.cmd, err))
		return
	}
	o.promise.resolve(goja.Undefined())
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
func (r *realm) startCall(cmd *command, timeout time.Duration) *outgoing {
	r.mustHaveRoom("call " + cmd.name)
	r.nextID++
	o := &outgoing{id: r.nextID, call: r.grab(), began: time.Now(), cmd: cmd, promise: r.newDeferred(), cancel: func() {}}
	if r.w.p.program != nil { // plugins make too many calls to note where each is made
		o.promise.place()
	}
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
	o.promise.reject(reason)
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
		o.promise.reject(r.callError(o.cmd, err))
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
		o.promise.reject(e)
		return
	}
	o.promise.resolve(v)
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
	} else if err == amp.ErrSlowPeer || errors.Is(err, amp.ErrTooLong) || errors.Is(err, amp.ErrReservedKey) || errors.Is(err, amp.ErrEmptyKey) {
		v, failed = r.fn.plainError(nil, r.rt.ToValue(err.Error()))
	} else {
		v, failed = r.connectionLost(err)
	}
	if failed != nil {
		return r.rt.ToValue(err.Error())
	}
	return v
}
