package amp

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestTwistedClient has a Twisted client use a server of this package, as it
// is by default and with Strict.
func TestTwistedClient(t *testing.T) {
	p := startTwisted(t)
	for _, test := range []struct {
		name string
		args argsOf
	}{
		{"values", nil},
		{"optional", nil},
		{"errors", nil},
		{"pipelining", argsOf{"calls": 5000}},
		{"out_of_order", nil},
		{"both_call", argsOf{"calls": 300, "times": 4}},
		{"quit_box", nil},
		{"behind_fatal", nil},
		{"large", nil},
		{"switch", nil},
		{"lost_in_call", nil},
		{"tls", argsOf{"subject": "TEMPORARY CERTIFICATE"}},
		{"tls_twice", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.run(t, test.name, serve(t, &Server{Handler: newTwistedResponder(t, true)}), test.args)
		})
		t.Run(test.name+"/inline, strict", func(t *testing.T) {
			s := &Server{Handler: newTwistedResponder(t, false), Options: &Options{Strict: true, Logger: quiet}}
			p.run(t, test.name, serve(t, s), test.args)
		})
	}
	for _, test := range []string{"undeclared", "no_answer", "descriptors_refused"} {
		t.Run(test, func(t *testing.T) {
			s := &Server{Handler: newTwistedResponder(t, false), Options: &Options{Logger: quiet}}
			p.run(t, test, serve(t, s), argsOf{"stays": true})
		})
		t.Run(test+"/strict", func(t *testing.T) {
			s := &Server{Handler: newTwistedResponder(t, true), Options: &Options{Strict: true, Logger: quiet}}
			p.run(t, test, serve(t, s), argsOf{"stays": false})
		})
	}
	t.Run("switch_refused", func(t *testing.T) {
		s := &Server{Handler: newTwistedResponder(t, true), Options: &Options{Logger: quiet}}
		p.run(t, "switch_refused", serve(t, s), nil)
	})
	t.Run("reflector", func(t *testing.T) {
		s := &Server{Receiver: func() BoxReceiver { return new(boxReflector) }}
		p.run(t, "reflector", serve(t, s), nil)
	})
	t.Run("descriptors", func(t *testing.T) {
		p.run(t, "descriptors", serveUNIX(t, &Server{Handler: newTwistedResponder(t, true)}), nil)
	})
	t.Run("tls_refused", func(t *testing.T) {
		s := &Server{Handler: newTwistedResponder(t, true), Options: &Options{RefuseTLS: true}}
		p.run(t, "tls_refused", serve(t, s), nil)
	})
	t.Run("tls_asked_by_server", func(t *testing.T) {
		p.run(t, "tls_asked_by_server", serve(t, &Server{Handler: newTwistedResponder(t, true)}), nil)
	})
	t.Run("tls_anonymous", func(t *testing.T) {
		pki := newAuthority(t)
		config := &tls.Config{Certificates: []tls.Certificate{pki.issue(t, "localhost")}}
		addr := serve(t, &Server{Handler: newTwistedResponder(t, true), Options: &Options{TLS: config}})
		p.run(t, "tls", addr, argsOf{"subject": "localhost", "authority": pki.file("authority")})
	})
	t.Run("tls_verified", func(t *testing.T) {
		pki := newAuthority(t)
		config := &tls.Config{
			Certificates: []tls.Certificate{pki.issue(t, "localhost")},
			ClientCAs:    pki.pool,
			ClientAuth:   tls.RequireAndVerifyClientCert,
		}
		s := &Server{Handler: newTwistedResponder(t, true), Options: &Options{TLS: config, Logger: quiet}}
		ended := make(chan error, 10)
		s.OnDisconnect = func(_ *Conn, err error) { ended <- err }
		addr := serve(t, s)
		pki.issue(t, "ada")
		p.run(t, "tls", addr, argsOf{
			"who": "ada", "subject": "localhost", "authority": pki.file("authority"), "certificate": pki.file("ada"),
		})
		<-ended
		// A client without a certificate, one with a certificate of another
		// authority, and one that does not trust ours.
		other := newAuthority(t)
		other.issue(t, "eve")
		for _, files := range []argsOf{
			{"authority": pki.file("authority")},
			{"authority": pki.file("authority"), "certificate": other.file("eve")},
			{"authority": other.file("authority"), "certificate": pki.file("ada")},
		} {
			p.run(t, "tls_not_verified", addr, files)
			if err := <-ended; err == nil || err == io.EOF {
				t.Errorf("the connection of %v ended with %v, want what is wrong with TLS", files, err)
			}
		}
	})
	t.Run("idle", func(t *testing.T) {
		s := &Server{Handler: newTwistedResponder(t, true)}
		p.run(t, "idle", serve(t, s), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown with a Twisted client that idles: %v", err)
		}
	})
}

// A boxReflector sends every box back.
type boxReflector struct{ c *Conn }

func (r *boxReflector) StartReceivingBoxes(c *Conn) { r.c = c }
func (r *boxReflector) BoxReceived(b Box)           { r.c.SendBox(b) }
func (r *boxReflector) StopReceivingBoxes(error)    {}

// serveUNIX is serve on a UNIX socket.
func serveUNIX(t testing.TB, s *Server) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != ErrServerClosed {
			t.Errorf("Serve = %v, want ErrServerClosed", err)
		}
	})
	return path
}
