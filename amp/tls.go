package amp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"time"
)

const startTLSName = "StartTLS"

// StartTLS asks the peer to encrypt the connection from here on (items TL1 to
// TL9), and waits until that is done and the peer's certificate is verified as
// config demands. Who opened the transport is the TLS client, whoever asks
// (item TL1); that end needs config.ServerName or InsecureSkipVerify, the
// other one a certificate. A nil config is Options.TLS, or what stands in for it.
// Calls made meanwhile go out encrypted. If the peer refuses, or ctx ends first,
// the connection ends: its user wanted no more of it in the clear.
func (c *Conn) StartTLS(ctx context.Context, config *tls.Config) error {
	if config == nil {
		config = c.opts.TLS
	}
	switch {
	case !c.opts.Initiator:
		var err error
		if config, err = withCertificate(config, c.opts.Logger); err != nil {
			return err
		}
	case config == nil:
		return errors.New("amp: StartTLS: who opened the connection needs a tls.Config that says whom to trust")
	}
	done := make(chan error, 1)
	a := answerFunc(func(_ []byte, err error) {
		if err == nil {
			// On the reading goroutine, and what is behind the answer is TLS.
			err = c.encrypt(config, c.in.rest())
		} else if _, ok := err.(*Error); ok {
			err = fmt.Errorf("amp: the peer refuses StartTLS: %w", err)
		}
		if err != nil {
			c.end(err)
		}
		done <- err
	})
	c.mu.Lock()
	_, secure := c.rwc.(*tls.Conn)
	if secure || c.out.hold && !c.locked {
		c.mu.Unlock()
		return ErrOnlyOneTLS
	}
	if _, ok := c.rwc.(net.Conn); !ok {
		c.mu.Unlock()
		return errTLS.Describe("TLS not available on this transport")
	}
	_, err := c.sendLocked(startTLSName, nil, a)
	if err == nil {
		c.out.holdLocked()
		c.kickLocked()
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		c.end(ErrClosed)
		<-done
		return context.Cause(ctx)
	}
}

// serveStartTLS answers the peer's StartTLS, on the reading goroutine.
func (c *Conn) serveStartTLS(r *Request) error {
	transport, isConn := c.transport().(net.Conn)
	_, secure := transport.(*tls.Conn)
	switch {
	case !r.asked: // nothing starts (item TL9)
		r.markAnswered()
		c.finish(false)
		return nil
	case c.isLocked(): // nothing of AMP may follow a request to switch
		r.Fail(errTLS.Describe("a protocol switch is under way"))
		return nil
	case secure: // an error, and the connection goes on as it is (item TL5)
		r.Fail(errTLS.Describe("the connection is encrypted already"))
		return nil
	case !isConn || c.opts.RefuseTLS:
		// Its asker holds back all it would send from now on, a Twisted client
		// for ever: close (items TL4, TL6).
		e := errTLS.Describe("TLS not available")
		e.Fatal = true
		r.Fail(e)
		return nil
	}
	config := c.opts.TLS
	if config == nil || !c.opts.Initiator {
		var err error
		if config, err = withCertificate(config, c.opts.Logger); err != nil {
			return err
		}
		// The TLS client that has no configuration has nothing to verify the
		// other end with. Twisted encrypts then all the same (item TL3).
		config.InsecureSkipVerify = config.InsecureSkipVerify || c.opts.Initiator
	}
	r.markAnswered()
	c.mu.Lock()
	crossed := c.out.hold // this end has asked at the same time
	if !crossed {
		c.out.holdLocked()
	}
	dst := c.out.clear.forAnswer()
	dst.b = appendTagged(dst.b, keyAnswer, r.tag, nil)
	c.kickLocked()
	c.mu.Unlock()
	if crossed {
		return nil // the peer's answer to this end's request comes next
	}
	// What stands behind the request in the clear could be anybody's, and
	// would be answered under TLS: drop it (item TL8).
	return c.encrypt(config, nil)
}

// encrypt writes what is held back no longer in the clear, and puts TLS under
// everything after it. It runs on the reading goroutine, and drops what was read
// and not dispatched. rest is what was read of TLS already.
func (c *Conn) encrypt(config *tls.Config, rest []byte) error {
	c.in.r, c.in.w = 0, 0
	c.endBatch()
	c.mu.Lock()
	c.awaitLocked(func() bool { return !c.out.writing && c.out.clear.buf == nil })
	if c.state == ended {
		defer c.mu.Unlock()
		return c.err
	}
	nc := c.rwc.(net.Conn)
	c.mu.Unlock()
	if len(rest) > 0 {
		nc = &rawConn{Conn: nc, rest: rest}
	}
	nc.SetDeadline(time.Time{})
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	var tc *tls.Conn
	if c.opts.Initiator {
		tc = tls.Client(nc, config)
	} else {
		tc = tls.Server(nc, config)
	}
	if err := c.shakeHands(tc); err != nil {
		if state := c.stateErr(); state != nil {
			return state // it was closed meanwhile
		}
		return err
	}
	c.in.src = tc
	c.direct = direct{} // nothing may go past the encryption
	c.in.bounded, c.in.lull = false, false
	c.mu.Lock()
	c.rwc = tc
	c.out.hold = false
	c.kickLocked()
	c.mu.Unlock()
	return nil
}

// shakeHands completes a TLS handshake within its time.
func (c *Conn) shakeHands(tc *tls.Conn) error {
	ctx := c.ctx
	if c.opts.HandshakeTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.opts.HandshakeTimeout)
		defer cancel()
	}
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	// A tls.Listener may have been told to speak older versions.
	if version := tc.ConnectionState().Version; version < tls.VersionTLS12 {
		return fmt.Errorf("%w: the peer speaks %s, and TLS 1.2 is the least", ErrHandshake, tls.VersionName(version))
	}
	return nil
}

// withCertificate returns a copy of config with a certificate: its own, or
// else one made for this process, which nobody can verify. Twisted makes one for
// each connection (item TL3). config may be nil.
func withCertificate(config *tls.Config, log *slog.Logger) (*tls.Config, error) {
	if config == nil {
		config = new(tls.Config)
	}
	config = config.Clone()
	if len(config.Certificates) > 0 || config.GetCertificate != nil || config.GetConfigForClient != nil {
		return config, nil
	}
	cert, err := selfSigned()
	if err != nil {
		return nil, err
	}
	warnSelfSigned.Do(func() {
		log.Warn("amp: a peer asked for StartTLS and no certificate is configured: using one that is signed by itself, which keeps out listeners but not impostors")
	})
	config.Certificates = []tls.Certificate{cert}
	return config, nil
}

var warnSelfSigned sync.Once

var selfSigned = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("amp: make a certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "TEMPORARY CERTIFICATE"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("amp: make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
})
