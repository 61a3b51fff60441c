package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// An authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := new(authority)
	a.issue(t, "authority", time.Hour)
	a.pool = x509.NewCertPool()
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a certificate for a name that holds for so long from now on. The
// first is the authority's own.
func (a *authority) issue(t *testing.T, name string, holds time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(holds),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if a.cert == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		a.cert, a.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if template.IsCA {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// pemOf returns a certificate and its key as one file has them.
func pemOf(t *testing.T, c tls.Certificate) string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

// A server that asks for certificates lets in those with the right one, logs who
// they are, and takes a new one of its own while calls and handshakes go on.
func TestMutualTLSOfTheServer(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	write(t, `import * as amp from "amphost";
new amp.Command("Who", { response: { name: amp.Unicode() } }).responder((_, peer) => {
  console.log("asked");
  return { name: JSON.stringify(peer.tls.peerCertificate.subject) };
});`, dir, "plugins", "who.js")
	write(t, pemOf(t, a.issue(t, "localhost", time.Hour)), dir, "server.pem")
	write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})), dir, "clients.pem")
	p := startProcess(t, dir, binary, "serve", "--listen", "tls://127.0.0.1:0?certificate=server.pem&client-ca=clients.pem")
	addr := p.stdout.await(t, `listens on tls://(\S+)`)[1]
	dial := func(cert *tls.Certificate) (*amp.Conn, *tls.Conn, error) {
		config := &tls.Config{RootCAs: a.pool, ServerName: "localhost"}
		if cert != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		nc, err := tls.Dial("tcp", addr, config)
		if err != nil {
			return nil, nil, err
		}
		return amp.NewConn(nc, nil, nil), nc, nil
	}
	ada, expired, stranger := a.issue(t, "ada", time.Hour), a.issue(t, "ada", -time.Hour), other.issue(t, "ada", time.Hour)
	for what, cert := range map[string]*tls.Certificate{"expired": &expired, "of another authority": &stranger, "none": nil} {
		conn, _, err := dial(cert)
		if err == nil { // with TLS 1.3 the client is through before the server has looked
			_, err = conn.Call(t.Context(), "Who", nil)
			conn.Close()
		}
		if err == nil {
			t.Errorf("certificate %s: let in", what)
		}
	}
	p.stderr.await(t, `connection ended.*TLS handshake`)
	conn, _, err := dial(&ada)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if name, err := ask(t.Context(), conn, "Who", "name", nil); err != nil || !strings.Contains(name, "ada") {
		t.Errorf("Who = %q, %v", name, err)
	}
	p.stderr.await(t, `asked.*client=ada`)

	// The certificate of the server changes under load.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var calls atomic.Int64
	wg.Go(func() { // ends with stop
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := conn.Call(t.Context(), "Who", nil); err != nil {
				t.Errorf("a call over a connection that was there: %v", err)
				return
			}
			calls.Add(1)
		}
	})
	next := a.issue(t, "localhost", 30*time.Minute)
	save(t, pemOf(t, next), dir, "server.pem")
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, nc, err := dial(&ada)
		if err != nil {
			t.Fatalf("a handshake failed while the certificate changes: %v", err)
		}
		if _, err := c.Call(t.Context(), "Who", nil); err != nil {
			t.Errorf("a call while the certificate changes: %v", err)
		}
		shown := nc.ConnectionState().PeerCertificates[0]
		c.Close()
		if string(shown.Raw) == string(next.Certificate[0]) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not shown")
		}
	}
	close(stop)
	wg.Wait()
	if calls.Load() == 0 {
		t.Error("no call was made meanwhile")
	}
	p.signal(os.Interrupt)
	if code := p.wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
