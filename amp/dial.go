package amp

import (
	"context"
	"crypto/tls"
	"net"
)

// Dial connects to an AMP server. network and address are as for net.Dial:
// "tcp" and "127.0.0.1:8750", or "unix" and a path. h answers the commands
// that the server calls; nil answers none. ctx bounds the dialling only.
func Dial(ctx context.Context, network, address string, h Handler, opts *Options) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return initiate(nc, h, opts), nil
}

// DialTLS is Dial over TLS from the first byte on; for StartTLS see
// Conn.StartTLS. config may be nil; its ServerName defaults to the
// address, and versions before TLS 1.2 are not spoken.
func DialTLS(ctx context.Context, network, address string, config *tls.Config, h Handler, opts *Options) (*Conn, error) {
	if config != nil && config.MinVersion != 0 && config.MinVersion < tls.VersionTLS12 {
		config = config.Clone()
		config.MinVersion = tls.VersionTLS12
	}
	d := tls.Dialer{Config: config}
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return initiate(nc, h, opts), nil
}

func initiate(nc net.Conn, h Handler, opts *Options) *Conn {
	o := opts.withDefaults()
	o.Initiator = true
	keepAlive(nc, o)
	return NewConn(nc, h, o)
}

// Pipe returns two connections joined in memory, the first of them the
// initiator, for tests and for talk within a process.
func Pipe(a, b Handler) (*Conn, *Conn) {
	x, y := net.Pipe()
	return NewConn(x, a, &Options{Initiator: true}), NewConn(y, b, nil)
}
