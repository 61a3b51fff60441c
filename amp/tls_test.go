package amp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The initiator asks, and the peer's identity is verified, on both ends.
func TestStartTLS(t *testing.T) {
	ca := newAuthority(t)
	m := mathMux()
	m.HandleFunc("Who", func(ctx context.Context, _ Box) (Box, error) {
		state := ConnFrom(ctx).TLS()
		if state == nil || len(state.VerifiedChains) == 0 {
			return Box{"name": nil}, nil
		}
		return Box{"name": []byte(state.PeerCertificates[0].Subject.CommonName)}, nil
	})
	server := &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "server")},
		ClientCAs:    ca.pool, ClientAuth: tls.VerifyClientCertIfGiven,
	}
	addr := serve(t, &Server{Handler: m, Options: &Options{TLS: server}})
	for _, name := range []string{"", "ada"} {
		c := dial(t, addr, nil, nil)
		if c.TLS() != nil {
			t.Error("the connection is encrypted from the start")
		}
		client := &tls.Config{RootCAs: ca.pool, ServerName: "server"}
		if name != "" {
			client.Certificates = []tls.Certificate{ca.issue(t, name)}
		}
		if err := c.StartTLS(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		if state := c.TLS(); state == nil || len(state.VerifiedChains) != 1 || state.Version < tls.VersionTLS12 {
			t.Errorf("TLS = %+v", state)
		}
		if box, err := c.Call(t.Context(), "Who", nil); err != nil || string(box["name"]) != name {
			t.Errorf("the server takes us for %q, %v, want %q", box["name"], err, name)
		}
		if err := c.StartTLS(t.Context(), client); err != ErrOnlyOneTLS {
			t.Errorf("a second StartTLS = %v", err)
		}
		if got, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil || got.Total != 3 {
			t.Errorf("after a second StartTLS: %v, %v", got, err)
		}
	}
}

// Who opened the transport is the TLS client, whoever asks (item TL1).
func TestStartTLSAskedByTheServer(t *testing.T) {
	ca := newAuthority(t)
	asked := make(chan error, 1)
	s := &Server{Handler: mathMux()}
	var wg sync.WaitGroup
	s.OnConnect = func(c *Conn) {
		wg.Go(func() {
			asked <- c.StartTLS(t.Context(), &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "server")}})
		})
	}
	c := dial(t, serve(t, s), nil, &Options{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "server"}})
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if got, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil || got.Total != 3 {
		t.Errorf("Sum = %v, %v", got, err)
	}
	if state := c.TLS(); state == nil || len(state.VerifiedChains) != 1 {
		t.Errorf("TLS = %+v", state)
	}
}

// Both may ask at once.
func TestStartTLSAskedByBoth(t *testing.T) {
	ca := newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "server")}}
	client := &tls.Config{RootCAs: ca.pool, ServerName: "server"}
	for range 20 {
		a, b := pair(t, mathMux(), &Options{Initiator: true, TLS: client}, mathMux(), &Options{TLS: server})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := a.StartTLS(t.Context(), client); err != nil && err != ErrOnlyOneTLS {
				t.Errorf("the initiator's StartTLS = %v", err)
			}
		})
		wg.Go(func() {
			if err := b.StartTLS(t.Context(), server); err != nil && err != ErrOnlyOneTLS {
				t.Errorf("the other's StartTLS = %v", err)
			}
		})
		for _, c := range []*Conn{a, b} {
			wg.Go(func() {
				if got, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil || got.Total != 3 {
					t.Errorf("Sum = %v, %v", got, err)
				}
			})
		}
		wg.Wait()
		for _, c := range []*Conn{a, b} {
			if got, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil || got.Total != 3 || c.TLS() == nil {
				t.Errorf("Sum = %v, %v, TLS %v", got, err, c.TLS() != nil)
			}
		}
	}
}

// Item TL2: calls that run, and calls made meanwhile, are answered encrypted.
func TestBoxesAroundStartTLS(t *testing.T) {
	gate := make(chan struct{})
	m := gateMux(gate)
	addr := serve(t, &Server{Handler: m, Options: &Options{Logger: quiet}})
	c := dial(t, addr, nil, nil)
	var wg sync.WaitGroup
	call := func(command string, n int) {
		wg.Go(func() {
			want := fmt.Append(nil, n)
			if box, err := c.Call(t.Context(), command, Box{"n": want}); err != nil || string(box["n"]) != string(want) {
				t.Errorf("%s %d = %v, %v", command, n, box, err)
			}
		})
	}
	for i := range 50 {
		call("Wait", i)
		call("Echo", i)
	}
	wg.Go(func() {
		if err := c.StartTLS(t.Context(), &tls.Config{InsecureSkipVerify: true}); err != nil {
			t.Error(err)
		}
		close(gate)
	})
	for i := range 50 {
		call("Wait", i)
		call("Echo", i)
	}
	wg.Wait()
	if c.TLS() == nil {
		t.Error("not encrypted")
	}
}

// startClear connects a peer that speaks TLS by hand.
func startClear(t *testing.T, opts *Options) *peer {
	t.Helper()
	return dialPeer(t, serve(t, &Server{Handler: mathMux(), Options: opts}))
}

// secure makes the peer a TLS client.
func (p *peer) secure(config *tls.Config) *tls.ConnectionState {
	p.t.Helper()
	tc := tls.Client(p.Conn, config)
	if err := tc.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.Conn, p.r = tc, bufio.NewReader(tc)
	state := tc.ConnectionState()
	return &state
}

// Item TL8: what stands behind StartTLS in the clear is not executed.
func TestPlaintextBehindStartTLSIsDropped(t *testing.T) {
	p := startClear(t, &Options{Logger: quiet})
	p.send(ask("1", "StartTLS"), ask("2", "Sum", "a", "1", "b", "1"), []string{"_command", "Sum", "a", "1", "b", "1"})
	p.want("_answer", "1")
	p.secure(&tls.Config{InsecureSkipVerify: true})
	p.send(ask("3", "Sum", "a", "1", "b", "2"))
	p.want("_answer", "3", "total", "3")
}

// A peer's answer to StartTLS, with a box behind it in the clear: no answer of
// ours may be fooled by it.
func TestPlaintextBehindTheAnswerIsNotRead(t *testing.T) {
	c, p := startConn(t, nil, &Options{Initiator: true, HandshakeTimeout: time.Second})
	done := make(chan error, 1)
	go func() { done <- c.StartTLS(t.Context(), &tls.Config{InsecureSkipVerify: true}) }()
	p.want("_ask", "1", "_command", "StartTLS")
	called := make(chan error, 1)
	c.Go("X", nil, func(_ Box, err error) { called <- err })
	go io.Copy(io.Discard, p) // ends with the connection
	p.Write(wire([]string{"_answer", "1"}, []string{"_answer", "2", "fake", ""}))
	if err := <-called; err == nil {
		t.Error("the call was answered in the clear")
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "TLS handshake") {
		t.Errorf("StartTLS = %v", err)
	}
}

// Items TL4 to TL7, TL9 and G7, at the answering end.
func TestAnswersToStartTLS(t *testing.T) {
	refused := startClear(t, &Options{RefuseTLS: true, Logger: quiet})
	refused.send(ask("1", "StartTLS"))
	refused.want("_error", "1", "_error_code", "TLS_ERROR", "_error_description", "TLS not available")
	refused.wantEnd()

	p := startClear(t, &Options{Logger: quiet})
	p.send([]string{"_command", "StartTLS"}, ask("1", "Sum", "a", "1", "b", "2")) // nobody asked: nothing starts
	p.want("_answer", "1", "total", "3")
	p.send(ask("1", "StartTLS", "tls_localCertificate", "ignored"))
	p.want("_answer", "1")
	if state := p.secure(&tls.Config{InsecureSkipVerify: true}); state.PeerCertificates[0].Subject.CommonName != "TEMPORARY CERTIFICATE" {
		t.Errorf("the certificate is %v", state.PeerCertificates[0].Subject)
	}
	p.send(ask("2", "StartTLS"), ask("3", "Sum", "a", "1", "b", "2")) // a second one is refused, and life goes on
	p.want("_error", "2", "_error_code", "TLS_ERROR", "_error_description", "the connection is encrypted already")
	p.want("_answer", "3", "total", "3")

	pipe, q := twoWays()
	c := NewConn(pipe, nil, &Options{Logger: quiet})
	defer c.Close()
	q.Write(wire(ask("1", "StartTLS")))
	if box, err := ReadBox(q); err != nil || string(box["_error_code"]) != "TLS_ERROR" {
		t.Errorf("over a pipe: %v, %v", box, err)
	}
	go io.Copy(io.Discard, q) // ends with the connection
	if err := c.StartTLS(t.Context(), nil); err == nil {
		t.Error("StartTLS over a pipe succeeds")
	}
}

// TLS 1.2 at least, whatever the configuration says.
func TestOldTLSIsRefused(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(t, "server")}, MinVersion: tls.VersionTLS10}
	p := startClear(t, &Options{TLS: config, Logger: quiet})
	p.send(ask("1", "StartTLS"))
	p.want("_answer", "1")
	old := tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err := old.Handshake(); err == nil {
		t.Errorf("the server speaks TLS %x", old.ConnectionState().Version)
	}

	// A listener that takes them is of no use either.
	log := new(logbook)
	connected, ended := false, make(chan error, 1)
	s := &Server{Handler: mathMux(), Options: &Options{Logger: log.logger()}, OnConnect: func(*Conn) { connected = true }}
	l := tls.NewListener(listen(t), config)
	go func() { ended <- s.Serve(l) }()
	nc, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if n, err := nc.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes over TLS 1.1", n)
	}
	s.Close()
	<-ended
	if connected || !strings.Contains(log.String(), "TLS 1.1") {
		t.Errorf("connected %v, the log says %s", connected, log)
	}
}

// A configuration without a certificate is given the one of the process.
func TestStartTLSWithoutACertificateOfItsOwn(t *testing.T) {
	ca := newAuthority(t)
	p := startClear(t, &Options{Logger: quiet, TLS: &tls.Config{ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert}})
	p.send(ask("1", "StartTLS"))
	p.want("_answer", "1")
	state := p.secure(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{ca.issue(t, "ada")}})
	if name := state.PeerCertificates[0].Subject.CommonName; name != "TEMPORARY CERTIFICATE" {
		t.Errorf("the certificate is that of %q", name)
	}
	p.send(ask("2", "Sum", "a", "1", "b", "2"))
	p.want("_answer", "2", "total", "3")
}

// The self-signed certificate is one for the process, and the log says so
// once.
func TestSelfSignedCertificate(t *testing.T) {
	warnSelfSigned = sync.Once{}
	log := new(logbook)
	var certs []string
	for range 2 {
		p := startClear(t, &Options{Logger: log.logger()})
		p.send(ask("1", "StartTLS"))
		p.want("_answer", "1")
		certs = append(certs, string(p.secure(&tls.Config{InsecureSkipVerify: true}).PeerCertificates[0].Raw))
	}
	if certs[0] != certs[1] {
		t.Error("two certificates")
	}
	if n := strings.Count(log.String(), "no certificate is configured"); n != 1 {
		t.Errorf("the log says so %d times: %s", n, log)
	}
}

// A refusal ends the connection: its user wanted no more of it in the clear.
func TestRefusedStartTLSEndsTheConnection(t *testing.T) {
	c := dial(t, serve(t, &Server{Options: &Options{RefuseTLS: true, Logger: quiet}}), nil, nil)
	err := c.StartTLS(t.Context(), &tls.Config{InsecureSkipVerify: true})
	if !errors.Is(err, errTLS) {
		t.Errorf("StartTLS = %v", err)
	}
	if end := endOf(t, c); end != err {
		t.Errorf("ended with %v", end)
	}
	if _, err := c.Call(t.Context(), "X", nil); err == nil {
		t.Error("a call went out in the clear")
	}
}

// What does not match ends the connection, with a reason at the end that
// looked.
func TestStartTLSThatFails(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert := ca.issue(t, "server")
	for _, test := range []struct {
		name           string
		server, client *tls.Config
		want           string
	}{
		{"wrong authority", nil, &tls.Config{RootCAs: other.pool, ServerName: "server"}, "unknown authority"},
		{"wrong name", nil, &tls.Config{RootCAs: ca.pool, ServerName: "elsewhere"}, "not elsewhere"},
		{"no name", nil, &tls.Config{RootCAs: ca.pool}, "ServerName"},
		{"too old", nil, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}, "version"},
		{"old server", &tls.Config{MaxVersion: tls.VersionTLS11}, &tls.Config{InsecureSkipVerify: true}, ""},
		{"no client certificate", &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool},
			&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, "handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := test.server
			if server == nil {
				server = new(tls.Config)
			}
			server.Certificates = []tls.Certificate{cert}
			c := dial(t, serve(t, &Server{Handler: mathMux(), Options: &Options{TLS: server, Logger: quiet}}), nil, nil)
			err := c.StartTLS(t.Context(), test.client)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("StartTLS = %v", err)
			}
			if end := endOf(t, c); end == nil {
				t.Error("the connection lives on")
			}
		})
	}
}

func TestStartTLSEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := startConn(t, nil, &Options{Initiator: true})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		go io.Copy(io.Discard, p) // ends with the connection
		if err := c.StartTLS(ctx, &tls.Config{InsecureSkipVerify: true}); err != context.DeadlineExceeded {
			t.Errorf("StartTLS = %v", err)
		}
		endOf(t, c)
	})
}

// A peer that agrees to TLS, or connects to a TLS listener, and then says
// nothing.
func TestHandshakeTimeout(t *testing.T) {
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "server")}}
	for name, start := range map[string]func(t *testing.T) (*Conn, *peer){
		"StartTLS": func(t *testing.T) (*Conn, *peer) {
			c, p := startConn(t, nil, &Options{HandshakeTimeout: 5 * time.Second, TLS: config})
			p.send(ask("1", "StartTLS"))
			p.want("_answer", "1")
			return c, p
		},
		"listener": func(t *testing.T) (*Conn, *peer) {
			a, b := net.Pipe()
			c := NewConn(tls.Server(a, config), nil, &Options{HandshakeTimeout: 5 * time.Second})
			return c, &peer{t, b, bufio.NewReader(b)}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, p := start(t)
			began := time.Now()
			for range 20 { // a byte of a handshake now and then
				time.Sleep(time.Second)
				if _, err := p.Write([]byte{22}); err != nil {
					break
				}
			}
			err := endOf(t, c)
			if !strings.Contains(err.Error(), "TLS handshake") || time.Since(began) > 7*time.Second {
				t.Errorf("%s: ended with %v after %v", name, err, time.Since(began))
			}
			p.Close()
		})
	}
}

func TestTLSListenerAndDialTLS(t *testing.T) {
	ca := newAuthority(t)
	l := tls.NewListener(listen(t), &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1"), ca.issue(t, "localhost")},
		ClientCAs:    ca.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	})
	s := &Server{Handler: mathMux(), Options: &Options{Logger: quiet}}
	names := make(chan string, 10)
	s.OnConnect = func(c *Conn) { names <- c.TLS().PeerCertificates[0].Subject.CommonName }
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	addr := "localhost:" + port
	c, err := DialTLS(t.Context(), "tcp", addr, &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue(t, "ada")}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil || got.Total != 3 {
		t.Errorf("Sum = %v, %v", got, err)
	}
	if name := <-names; name != "ada" {
		t.Errorf("the server sees %q", name)
	}
	if err := c.StartTLS(t.Context(), new(tls.Config)); err != ErrOnlyOneTLS {
		t.Errorf("StartTLS = %v", err)
	}
	if _, err := DialTLS(t.Context(), "tcp", addr, nil, nil, nil); err == nil {
		t.Error("DialTLS without the authority succeeds")
	}
	// A connection that has not shaken hands does not hold up the end.
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	eventually(t, "it is there", func() bool { return len(s.Conns()) == 2 })
	start := time.Now()
	if err := s.Shutdown(t.Context()); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("Shutdown = %v after %v", err, time.Since(start))
	}
	<-served
	if err := endOf(t, c); err != io.EOF {
		t.Errorf("ended with %v", err)
	}
}
