package host_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

// serveListener serves a listener of its own until the test ends.
func serveListener(t *testing.T, h *host.Host, config *tls.Config, opts host.Listener) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	serveOn(t, h, l, opts)
	return l.Addr().String()
}

// listenFor is serveListener without TLS, for who needs the listener.
func listenFor(t *testing.T, h *host.Host, opts host.Listener) (l net.Listener, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, h, l, opts)
	return l, l.Addr().String()
}

func serveOn(t *testing.T, h *host.Host, l net.Listener, opts host.Listener) {
	served := make(chan error, 1)
	go func() { served <- h.ServeListener(l, opts) }() // ends with the host
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = h.Shutdown(ctx)
		if err := <-served; !errors.Is(err, amp.ErrServerClosed) {
			t.Errorf("ServeListener = %v", err)
		}
	})
}

// threePlugins answer A, B and GetC.
func threePlugins(t *testing.T) *host.Host {
	t.Helper()
	dir := t.TempDir()
	for name, command := range map[string]string{"a.js": "A", "b.js": "B", "c.js": "GetC"} {
		writePlugin(t, dir, name, word(command, "hello"))
	}
	commands := new(amp.Mux)
	commands.HandleFunc("InGo", func(context.Context, amp.Box) (amp.Box, error) { return nil, nil })
	h, _ := newHost(t, host.Config{Plugins: dir, Commands: commands})
	return h
}

// codes calls every command and returns how each is answered.
func codes(t *testing.T, c *amp.Conn) string {
	t.Helper()
	var out []string
	for _, command := range []string{"A", "B", "GetC", "InGo"} {
		_, err := c.Call(t.Context(), command, nil)
		code := "ok"
		if e, ok := errors.AsType[*amp.Error](err); ok {
			code = e.Code
		} else if err != nil {
			code = err.Error()
		}
		out = append(out, code)
	}
	return strings.Join(out, " ")
}

// Each listener answers what it is for.
func TestListenersAllowAndRefuse(t *testing.T) {
	h := threePlugins(t)
	for _, c := range []struct {
		opts host.Listener
		want string
	}{
		{host.Listener{}, "ok ok ok ok"},
		{host.Listener{Plugins: []string{"a", "c"}}, "ok UNHANDLED ok UNHANDLED"},
		{host.Listener{Rules: host.Rules{Allow: []string{"Get*", "B"}}}, "FORBIDDEN ok ok FORBIDDEN"},
		{host.Listener{Rules: host.Rules{Refuse: []string{"?", "In*"}}}, "FORBIDDEN FORBIDDEN ok FORBIDDEN"},
		{host.Listener{Plugins: []string{"a"}, Rules: host.Rules{Refuse: []string{"B"}}}, "ok FORBIDDEN UNHANDLED UNHANDLED"},
		{host.Listener{ClientRules: map[string]host.Rules{"*": {}}}, "FORBIDDEN FORBIDDEN FORBIDDEN FORBIDDEN"}, // nobody has a certificate
	} {
		conn := dial(t, serveListener(t, h, nil, c.opts))
		if got := codes(t, conn); got != c.want {
			t.Errorf("%+v: %s, want %s", c.opts, got, c.want)
		}
	}
	for _, bad := range []host.Listener{
		{Rules: host.Rules{Allow: []string{"["}}},
		{ClientRules: map[string]host.Rules{"ada": {Refuse: []string{"["}}}},
		{Name: "x", Plugins: []string{"a"}},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.ServeListener(l, bad); err == nil || errors.Is(err, amp.ErrServerClosed) {
			t.Errorf("%+v: %v, want an error", bad, err)
		}
	}
}

// All listeners of a host share its limit on connections, which here is one
// from each address.
func TestListenersShareLimits(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "a.js", word("A", "hello"))
	h, _ := newHost(t, host.Config{Plugins: dir, MaxConnsPerAddr: 1})
	plain, other := serve(t, h), serveListener(t, h, nil, host.Listener{Strict: true})
	first := dial(t, plain)
	if _, err := first.Call(t.Context(), "A", nil); err != nil {
		t.Fatal(err)
	}
	second := dial(t, other)
	if _, err := second.Call(t.Context(), "A", nil); err == nil {
		t.Error("a second connection from one address was accepted")
	}
}

// A strict listener behaves as Twisted's AMP, another one of the host does not.
func TestStrictListener(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "fails.js", `import * as amp from "amphost"; new amp.Command("Fail").responder(() => { throw new Error("no"); });`)
	h, _ := newHost(t, host.Config{Plugins: dir})
	for strict, address := range map[bool]string{false: serve(t, h), true: serveListener(t, h, nil, host.Listener{Strict: true})} {
		conn := dial(t, address)
		for range 2 {
			_, err := conn.Call(t.Context(), "Fail", nil)
			if e, ok := errors.AsType[*amp.Error](err); !ok || e.Code != "UNKNOWN" {
				if !strict {
					t.Errorf("%v", err)
				}
			} else if strict {
				select {
				case <-conn.Done():
				case <-time.After(10 * time.Second):
					t.Error("a strict listener keeps the connection after an error that is not declared")
				}
			}
		}
	}
}

// Who has a certificate of the authority gets in, and may what is allowed to a
// client of that name; nobody else does.
func TestMutualTLS(t *testing.T) {
	h := threePlugins(t)
	a := newAuthority(t)
	a.issue(t, "localhost")
	files := &host.TLSFiles{Certificate: a.file("localhost"), ClientCA: a.file("authority")}
	config, err := files.Config()
	if err != nil {
		t.Fatal(err)
	}
	address := serveListener(t, h, config, host.Listener{
		Rules:       host.Rules{Refuse: []string{"B"}},
		ClientRules: map[string]host.Rules{"ada": {Allow: []string{"A", "B"}}, "g*": {}},
	})
	other := newAuthority(t)
	for _, c := range []struct {
		name string
		cert tls.Certificate
		want string
	}{
		{"ada", a.issue(t, "ada"), "ok FORBIDDEN FORBIDDEN FORBIDDEN"},
		{"grace", a.issue(t, "grace"), "ok FORBIDDEN ok ok"},
		{"eve", a.issue(t, "eve"), "FORBIDDEN FORBIDDEN FORBIDDEN FORBIDDEN"},
		{"ada of another authority", other.issue(t, "ada"), ""},
		{"expired", a.issueUntil(t, "ada", time.Now().Add(-time.Minute)), ""},
		{"without", tls.Certificate{}, ""},
	} {
		client := &tls.Config{RootCAs: a.pool, ServerName: "localhost"}
		if c.cert.Certificate != nil {
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.cert, nil }
		}
		nc, err := tls.Dial("tcp", address, client)
		if err != nil {
			t.Fatal(err) // of TLS 1.3 the client is through before the server has looked
		}
		conn := amp.NewConn(nc, nil, nil)
		if c.want != "" {
			if got := codes(t, conn); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		} else if _, err := conn.Call(t.Context(), "A", nil); err == nil {
			t.Errorf("%s: was let in", c.name)
		}
		conn.Close()
	}
}

// New certificates are there for the next connection, and files that are half
// written are not used.
func TestTLSFilesAreReadAgain(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "server.pem")
	put := func(name string) {
		t.Helper()
		a.issue(t, name)
		text, err := os.ReadFile(a.file(name))
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	files := &host.TLSFiles{Certificate: path}
	config, err := files.Config()
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with l
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() { nc.(*tls.Conn).Handshake(); nc.Close() }() // ends with the client
		}
	}()
	shown := func() string {
		t.Helper()
		nc, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: a.pool, InsecureSkipVerify: true})
		if err != nil {
			t.Fatalf("a handshake failed: %v", err)
		}
		defer nc.Close()
		return nc.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	becomes := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); shown() != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the certificate is %s, want %s", shown(), want)
			}
		}
	}
	becomes("one")
	put("another")
	becomes("another")
	if err := os.WriteFile(path, []byte("-----BEGIN CERTIFICATE-----\nhalf"), 0o600); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 1500*time.Millisecond; time.Sleep(50 * time.Millisecond) {
		if got := shown(); got != "another" {
			t.Fatalf("the certificate is %s", got)
		}
	}
	put("third")
	becomes("third")
	if _, err := (&host.TLSFiles{Certificate: filepath.Join(dir, "none.pem")}).Config(); err == nil || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("a file that is not there: %v", err)
	}
}
