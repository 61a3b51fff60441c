package scripting

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// A target is where a script connects to.
type target struct {
	network string // "tcp" or "unix"
	address string
	tls     *tls.Config // nil for plaintext
	options string      // what tls was made of
}

// key is equal for connections of which one can stand in for the other.
func (t target) key() string { return t.network + " " + t.address + " " + t.options }

// parseTarget reads "tcp://127.0.0.1:1234", "tls://example.com:8751",
// "unix:/run/x.sock" or "host:port".
func parseTarget(address string) (target, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if path = strings.TrimPrefix(path, "//"); path != "" {
			abs, err := filepath.Abs(path)
			return target{network: "unix", address: abs}, err
		}
	}
	if !strings.Contains(address, "://") {
		address = "tcp://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Port() == "" || u.Path != "" || u.Scheme != "tcp" && u.Scheme != "tls" {
		return target{}, fmt.Errorf("%q is no address: use tcp://HOST:PORT, tls://HOST:PORT or unix:PATH", address)
	}
	t := target{network: "tcp", address: u.Host}
	if u.Hostname() == "" {
		t.address = net.JoinHostPort("127.0.0.1", u.Port())
	}
	if u.Scheme == "tls" {
		t.tls = &tls.Config{ServerName: u.Hostname()}
	}
	return t, nil
}

// allowed is what Options.Net is asked about.
func (t target) allowed() string {
	if t.network == "unix" {
		return "unix:" + t.address
	}
	return t.address
}

// dial opens a connection to the target.
func (t target) dial(ctx context.Context, p *Plugin) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.DialTimeout)
	defer cancel()
	nc, err := p.dial(ctx, t.network, t.address)
	if err != nil || t.tls == nil {
		return nc, err
	}
	secured := tls.Client(nc, t.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return secured, nil
}

// target reads an address and { tls: … }, and asks for permission. It panics
// with a TypeError.
func (r *realm) target(v, options goja.Value) target {
	t, err := parseTarget(v.String())
	if err == nil {
		err = r.w.p.mayConnect(t.allowed(), netip.Addr{})
	}
	if err == nil && t.tls != nil {
		if o, ok := options.(*goja.Object); ok {
			t.options, err = readTLS(t.tls, o)
		}
		t.options = "tls " + t.options
	}
	if err != nil {
		panic(r.rt.NewTypeError("%s", err))
	}
	return t
}

// readTLS reads { serverName, ca, insecure }, and returns them as text.
func readTLS(config *tls.Config, o *goja.Object) (string, error) {
	var text string
	if name := o.Get("serverName"); !absent(name) {
		config.ServerName = name.String()
	}
	if insecure := o.Get("insecure"); !absent(insecure) {
		config.InsecureSkipVerify = insecure.ToBoolean()
	}
	if ca := o.Get("ca"); !absent(ca) {
		text = ca.String()
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(text)) {
			return "", errors.New("tls.ca has no certificate in PEM form")
		}
	}
	return fmt.Sprintf("%q %v %s", config.ServerName, config.InsecureSkipVerify, text), nil
}

// background runs f in a goroutine, and done with its result on the loop. The
// worker waits for both. What f has opened is closed if the realm has gone
// meanwhile.
func (r *realm) background(f func(ctx context.Context) (any, error), done func(v any, err error)) {
	r.pending++
	r.w.waits.Go(func() { // ends with f, which ends with the worker's context
		v, err := f(r.w.ctx)
		r.deliver(func() {
			r.pending--
			done(v, err)
		}, func() {
			if c, ok := v.(io.Closer); ok && err == nil {
				_ = c.Close()
			}
		})
	})
}

// deliver has the loop call f, or lost if the realm has gone by then.
func (r *realm) deliver(f, lost func()) {
	if !r.w.loop.post(func() {
		if r.dead == nil && r.w.realm == r {
			f()
		} else {
			r.w.p.drop()
			lost()
		}
	}) {
		r.w.p.drop()
		lost()
	}
}

// connect is amp.connect: (address, reconnect, tls) → promise of a peer.
func (r *realm) connect(c goja.FunctionCall) goja.Value {
	t := r.target(c.Argument(0), c.Argument(2))
	again := c.Argument(1).ToBoolean()
	promise := r.newDeferred()
	promise.place()
	hub := r.w.p.hub
	d := &dialed{hub: hub, key: fmt.Sprintf("%s %v %s", r.prog.Name, again, t.key()), address: t.address, again: again, users: []*realm{r}}
	if old := hub.adopt(d.key, r); old != nil {
		r.use(old)
		promise.resolve(r.dialedPeer(old))
		return promise.o
	}
	p := r.w.p
	opts := p.opts.Conn // it may outlive the generation
	opts.Initiator, opts.Logger = true, cmp.Or(opts.Logger, p.opts.Logger).With("plugin", r.prog.Name)
	open := func(ctx context.Context) (*amp.Conn, error) {
		nc, err := t.dial(ctx, p)
		if err != nil {
			return nil, err
		}
		return amp.NewConn(nc, d, &opts), nil
	}
	if again {
		d.client = amp.NewClient(open, &amp.ClientOptions{OnState: tellRefusal(opts.Logger)})
		hub.open(d)
		r.use(d)
		promise.resolve(r.dialedPeer(d))
		return promise.o
	}
	r.background(func(ctx context.Context) (any, error) { return open(ctx) }, func(v any, err error) {
		if err != nil {
			promise.reject(r.netError(err))
			return
		}
		d.conn = v.(*amp.Conn)
		hub.open(d)
		r.use(d)
		r.w.p.program.opened(r, d.conn)
		promise.resolve(r.dialedPeer(d))
	})
	return promise.o
}

// use notes a connection that the script has.
func (r *realm) use(d *dialed) {
	if d.again {
		r.clients = append(r.clients, d.client)
		return
	}
	r.conns = append(slices.DeleteFunc(r.conns, func(c *amp.Conn) bool {
		select {
		case <-c.Done():
			delete(r.peers, c.ID())
			return true
		default:
			return false
		}
	}), d.conn)
}

// dialedPeer makes the peer of a connection that the script has opened.
func (r *realm) dialedPeer(d *dialed) *goja.Object {
	if p := r.peers[d.id]; p != nil { // the other side has called already
		p.dialed = d
		return p.obj
	}
	p := &peer{id: d.id, conn: d.conn, dialed: d}
	if d.again {
		return r.newPeer(p, d.address, "", "")
	}
	return r.newPeer(p, addrString(d.conn.RemoteAddr()), addrString(d.conn.LocalAddr()), "")
}

// A comeback is calls that wait for their connection to come back.
type comeback struct {
	calls  []*waiting
	giveUp func()
}

type waiting struct{ f func(*amp.Conn, error) }

// withConn calls f, on the loop, with the connection of a peer: at once if
// there is one, and then it returns nil; else when there is one again, in the
// order of the calls. The function it returns waits no longer.
func (r *realm) withConn(p *peer, f func(*amp.Conn, error)) (stop func()) {
	back := p.back
	if back == nil {
		if conn := p.connNow(); conn != nil {
			f(conn, nil)
			return nil
		}
		back = r.comeback(p)
	}
	w := &waiting{f}
	back.calls = append(back.calls, w)
	return func() {
		back.calls = slices.DeleteFunc(back.calls, func(x *waiting) bool { return x == w })
		if len(back.calls) == 0 && p.back == back {
			p.back = nil
			back.giveUp()
		}
	}
}

// comeback waits for a connection to come back.
func (r *realm) comeback(p *peer) *comeback {
	ctx, giveUp := context.WithCancel(r.w.ctx)
	back := &comeback{giveUp: giveUp}
	p.back = back
	var conn *amp.Conn
	r.background(func(context.Context) (_ any, err error) {
		defer giveUp()
		conn, err = p.dialed.client.Conn(ctx)
		return nil, err
	}, func(_ any, err error) {
		if p.back == back {
			p.back = nil
		}
		calls := back.calls
		back.calls = nil // what one of them causes may give up others
		for _, w := range calls {
			w.f(conn, err)
		}
	})
	return back
}

// dial is amp.dial: (address, tls, function or undefined) → promise of a
// transport.
func (r *realm) dial(c goja.FunctionCall) goja.Value {
	t := r.target(c.Argument(0), c.Argument(1))
	factory, _ := goja.AssertFunction(c.Argument(2))
	promise := r.newDeferred()
	promise.place()
	p := r.w.p
	r.background(func(ctx context.Context) (any, error) { return t.dial(ctx, p) }, func(v any, err error) {
		if err != nil {
			promise.reject(r.netError(err))
			return
		}
		o := r.startTransport("", factory, v.(net.Conn))
		promise.resolve(o)
	})
	return promise.o
}

// startTLS is peer.startTLS: (peer, options) → promise.
func (r *realm) startTLS(c goja.FunctionCall) goja.Value {
	p := r.peers[uint64(c.Argument(0).ToInteger())]
	promise := r.newDeferred()
	promise.place()
	var config *tls.Config // of who accepted the connection: the operator's
	switch {
	case p != nil && p.dialed != nil && p.dialed.again:
		panic(r.rt.NewTypeError("startTLS: this connection comes back by itself, and would come back in the clear: connect to tls://"))
	case p == nil || p.conn == nil:
		panic(r.rt.NewTypeError("startTLS: there is no connection"))
	}
	o, given := c.Argument(1).(*goja.Object)
	if p.dialed != nil {
		config = new(tls.Config)
		if host, _, err := net.SplitHostPort(addrString(p.conn.RemoteAddr())); err == nil {
			config.ServerName = host
		}
		if given {
			if _, err := readTLS(config, o); err != nil {
				panic(r.rt.NewTypeError("startTLS: %s", err))
			}
		}
	} else if given {
		panic(r.rt.NewTypeError("startTLS takes options on connections of amp.connect only: on others this side is the TLS server, whose certificate and authorities are the operator's"))
	}
	r.background(func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, r.w.p.opts.DialTimeout)
		defer cancel()
		return nil, p.conn.StartTLS(ctx, config)
	}, func(_ any, err error) {
		if err != nil {
			promise.reject(r.netError(err))
			return
		}
		promise.resolve(goja.Undefined())
	})
	return promise.o
}

// netError makes what a failed connection rejects with.
func (r *realm) netError(err error) goja.Value {
	if errors.Is(err, context.Canceled) {
		err = errors.New("the plugin has ended")
	}
	if no, ok := errors.AsType[*refusal](err); ok {
		return r.rt.NewTypeError("%s", no)
	}
	v, failed := r.fn.connectionLost(nil, r.rt.ToValue(err.Error()))
	if failed != nil {
		return r.rt.ToValue(err.Error())
	}
	return v
}

// closeConnsOf is closeConns for a realm that may still run elsewhere.
func (w *worker) closeConnsOf(r *realm) {
	for _, d := range w.p.hub.release(r) {
		if d.conn != nil {
			_ = d.conn.Close()
			continue
		}
		// Its Close waits for a goroutine: not on the loop.
		w.waits.Go(func() { _ = d.client.Close() })
	}
}

// closeConns closes the connections that the script has opened and that no
// later generation has adopted.
func (r *realm) closeConns() {
	r.w.closeConnsOf(r)
	r.conns, r.clients = nil, nil
	r.w.p.program.closeServers(r)
}
