package scripting

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// A target is where a script connects to.
type target struct {
	network string // "tcp" or "unix"
	address string
	tls     *tls.Config // nil for plaintext
}

// parseTarget reads "tcp://127.0.0.1:1234", "tls://example.com:8751",
// "unix:/run/x.sock" or "host:port".
func parseTarget(address string) (target, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if path = strings.TrimPrefix(path, "//"); path != "" {
			return target{network: "unix", address: path}, nil
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

// dial opens a connection to the target.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	if t.tls != nil {
		return (&tls.Dialer{Config: t.tls}).DialContext(ctx, t.network, t.address)
	}
	return new(net.Dialer).DialContext(ctx, t.network, t.address)
}

// target reads an address and { tls: … }, and asks for permission. It panics
// with a TypeError.
func (r *realm) target(v, options goja.Value) target {
	t, err := parseTarget(v.String())
	if err == nil {
		if allowed := r.w.p.opts.Net; allowed == nil {
			err = errors.New("plugins have no permission to connect anywhere")
		} else {
			err = allowed(r.prog.Name, t.address)
		}
		if err != nil {
			err = fmt.Errorf("%s may not connect to %s: %w", r.prog.Name, t.address, err)
		}
	}
	if err == nil {
		if o, ok := options.(*goja.Object); ok && t.tls != nil {
			err = readTLS(t.tls, o)
		}
	}
	if err != nil {
		panic(r.rt.NewTypeError("%s", err))
	}
	return t
}

// readTLS reads { serverName, ca, insecure }.
func readTLS(config *tls.Config, o *goja.Object) error {
	if name := o.Get("serverName"); !absent(name) {
		config.ServerName = name.String()
	}
	if insecure := o.Get("insecure"); !absent(insecure) {
		config.InsecureSkipVerify = insecure.ToBoolean()
	}
	if ca := o.Get("ca"); !absent(ca) {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(ca.String())) {
			return errors.New("tls.ca has no certificate in PEM form")
		}
	}
	return nil
}

// background runs f in a goroutine, and done with its result on the loop. The
// worker waits for both.
func (r *realm) background(f func(ctx context.Context) (any, error), done func(v any, err error)) {
	r.pending++
	r.w.waits.Go(func() { // ends with f, which ends with the worker's context
		v, err := f(r.w.ctx)
		if !r.post(func() {
			r.pending--
			done(v, err)
		}) {
			if c, ok := v.(interface{ Close() error }); ok && err == nil {
				_ = c.Close() // nobody has it
			}
		}
	})
}

// connect is amp.connect: (address, reconnect, tls) → promise of a peer.
func (r *realm) connect(c goja.FunctionCall) goja.Value {
	t := r.target(c.Argument(0), c.Argument(2))
	again := c.Argument(1).ToBoolean()
	promise, resolve, reject := r.rt.NewPromise()
	opts := &amp.Options{Logger: r.log}
	open := func(ctx context.Context) (*amp.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if t.tls != nil {
			return amp.DialTLS(ctx, t.network, t.address, t.tls, r.w.p, opts)
		}
		return amp.Dial(ctx, t.network, t.address, r.w.p, opts)
	}
	if again {
		client := amp.NewClient(open, nil)
		r.clients = append(r.clients, client)
		r.nextClient++
		must(resolve(r.clientPeer(clientIDs+r.nextClient, client, t.address)))
		return r.rt.ToValue(promise)
	}
	r.background(func(ctx context.Context) (any, error) { return open(ctx) }, func(v any, err error) {
		if err != nil {
			r.settlePromise(reject, r.netError(err))
			return
		}
		conn := v.(*amp.Conn)
		r.conns = append(r.conns, conn)
		r.settlePromise(resolve, r.peerOf(conn))
	})
	return r.rt.ToValue(promise)
}

// clientIDs are the numbers of peers that come back by themselves; those of
// connections are below.
const clientIDs = 1 << 52

// clientPeer makes the peer of a connection that comes back by itself.
func (r *realm) clientPeer(id uint64, client *amp.Client, address string) *goja.Object {
	o := r.rt.CreateObject(r.peerProto)
	for name, v := range map[string]any{"id": id, "remoteAddress": address, "localAddress": "", "listener": ""} {
		must(o.DefineDataProperty(name, r.rt.ToValue(v), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_TRUE))
	}
	must(o.DefineDataPropertySymbol(r.id, r.rt.ToValue(id), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
	r.peers[id] = &peer{obj: o, client: client}
	return o
}

// withConn calls f, on the loop, with the connection of a peer: at once if
// there is one, else when there is one again, in the order of the calls.
func (r *realm) withConn(p *peer, f func(*amp.Conn, error)) {
	if p.client == nil {
		f(p.conn, nil)
		return
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if len(p.waiting) == 0 {
		if conn, err := p.client.Conn(now); err == nil {
			f(conn, nil)
			return
		}
	}
	if p.waiting = append(p.waiting, f); len(p.waiting) > 1 {
		return
	}
	r.background(func(ctx context.Context) (any, error) { return p.client.Conn(ctx) }, func(v any, err error) {
		list := p.waiting
		p.waiting = nil
		conn, _ := v.(*amp.Conn)
		for _, f := range list {
			f(conn, err)
		}
	})
}

// dial is amp.dial: (address, tls, function or undefined) → promise of a
// transport.
func (r *realm) dial(c goja.FunctionCall) goja.Value {
	t := r.target(c.Argument(0), c.Argument(1))
	factory, _ := goja.AssertFunction(c.Argument(2))
	promise, resolve, reject := r.rt.NewPromise()
	r.background(func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return t.dial(ctx)
	}, func(v any, err error) {
		if err != nil {
			r.settlePromise(reject, r.netError(err))
			return
		}
		o := r.startTransport("of amp.dial", factory, v.(net.Conn))
		r.settlePromise(resolve, o)
	})
	return r.rt.ToValue(promise)
}

// startTLS is peer.startTLS: (peer, options) → promise.
func (r *realm) startTLS(c goja.FunctionCall) goja.Value {
	p := r.peers[uint64(c.Argument(0).ToInteger())]
	promise, resolve, reject := r.rt.NewPromise()
	config := new(tls.Config)
	if p == nil || p.conn == nil {
		panic(r.rt.NewTypeError("startTLS: there is no connection"))
	}
	if host, _, err := net.SplitHostPort(addrString(p.conn.RemoteAddr())); err == nil {
		config.ServerName = host
	}
	if o, ok := c.Argument(1).(*goja.Object); ok {
		if err := readTLS(config, o); err != nil {
			panic(r.rt.NewTypeError("startTLS: %s", err))
		}
	}
	r.background(func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return nil, p.conn.StartTLS(ctx, config)
	}, func(_ any, err error) {
		if err != nil {
			r.settlePromise(reject, r.netError(err))
			return
		}
		r.settlePromise(resolve, goja.Undefined())
	})
	return r.rt.ToValue(promise)
}

// netError makes what a failed connection rejects with.
func (r *realm) netError(err error) goja.Value {
	if errors.Is(err, context.Canceled) {
		err = errors.New("the plugin has ended")
	}
	v, failed := r.fn.connectionLost(nil, r.rt.ToValue(err.Error()))
	if failed != nil {
		return r.rt.ToValue(err.Error())
	}
	return v
}

// closeConns closes the connections that the script has opened.
func (r *realm) closeConns() {
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	for _, client := range r.clients {
		// Its Close waits for a goroutine: not on the loop.
		r.w.waits.Go(func() { _ = client.Close() })
	}
	r.conns, r.clients = nil, nil
}
