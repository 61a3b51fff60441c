package main

import (
	"encoding/pem"
	"net"
	"strings"
	"testing"
	"time"
)

// certificates puts into dir, as PEM files, those of a server for localhost, of
// its authority, and of clients.
func certificates(t *testing.T, dir string) {
	t.Helper()
	a, other := newAuthority(t), newAuthority(t)
	caPEM := func(a *authority) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	}
	write(t, caPEM(a), dir, "ca.pem")
	write(t, caPEM(other), dir, "other-ca.pem")
	write(t, pemOf(t, a.issue(t, "localhost", time.Hour)), dir, "server.pem")
	write(t, pemOf(t, a.issue(t, "localhost", -time.Hour)), dir, "expired.pem")
	ada := pemOf(t, a.issue(t, "ada", time.Hour))
	write(t, ada, dir, "ada.pem")
	cert, key, _ := strings.Cut(ada, "-----BEGIN PRIVATE")
	write(t, cert, dir, "ada.crt")
	write(t, "-----BEGIN PRIVATE"+key, dir, "ada.key")
	write(t, pemOf(t, other.issue(t, "ada", time.Hour)), dir, "stranger.pem")
}

// amphost call and bench speak TLS: they trust whom they are told to, show the
// certificate they are given, and say what is wrong and what to do about it.
func TestCallOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, `import * as amp from "amphost";
new amp.Command("Who", { response: { name: amp.Unicode() } }).responder((_, peer) => ({ name: peer.tls?.peerCertificate?.commonName ?? "nobody" }));`, dir, "plugins", "who.js")
	certificates(t, dir)
	p := startProcess(t, dir, binary, "serve", "--listen", "tls://localhost:0?certificate=server.pem", "--listen", "tls://localhost:0?certificate=server.pem&client-ca=ca.pem",
		"--listen", "tls://localhost:0?certificate=expired.pem", "--listen", "tcp://localhost:0")
	m := p.stdout.await(t, `listens on tls://(\S+), tls://(\S+), tls://(\S+), (\S+)\n`)
	open, mutual, expired, plain := m[1], m[2], m[3], m[4]
	// Certificates are for the name.
	name := func(addr string) string {
		_, port, _ := net.SplitHostPort(addr)
		return "localhost:" + port
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"tls://" + name(open) + " Who --ca ca.pem", 0, "name: nobody\n"},
		{"tls://" + open + " Who --ca ca.pem --server-name localhost", 0, "name: nobody\n"},
		{"tls://" + open + " Who --insecure", 0, "name: nobody\n"},
		{"tls://" + name(mutual) + " Who --ca ca.pem --cert ada.pem", 0, "name: ada\n"},
		{"tls://" + name(mutual) + " Who --ca ca.pem --cert ada.crt --key ada.key", 0, "name: ada\n"},
		{"tls://" + name(mutual) + " Who --insecure --cert ada.pem", 0, "name: ada\n"},

		{"tls://" + name(open) + " Who", 1, "signed by nobody that is trusted here: --ca FILE"},
		{"tls://" + name(open) + " Who --ca other-ca.pem", 1, "signed by nobody that is trusted here: --ca FILE"},
		{"tls://" + open + " Who --ca ca.pem", 1, "is for localhost, and not for 127.0.0.1: --server-name"},
		{"tls://" + name(open) + " Who --ca ca.pem --server-name elsewhere", 1, "is for localhost, and not for elsewhere"},
		{"tls://" + name(expired) + " Who --ca ca.pem", 1, "the server needs a new one"},
		{"tls://" + name(mutual) + " Who --ca ca.pem", 1, "certificate required; --cert FILE shows it a certificate"},
		{"tls://" + name(mutual) + " Who --ca ca.pem --cert stranger.pem", 1, "refuses the certificate of --cert"},
		{"tls://" + plain + " Who --insecure", 1, "if it does not, call it as " + plain},
		{name(open) + " Who", 1, "if it speaks TLS, its address is tls://" + name(open)},

		{plain + " Who --ca ca.pem", 2, "the address is tls://" + plain},
		{"tls://" + plain + " Who --ca none.pem", 2, "none.pem"},
		{"tls://" + plain + " Who --ca ada.key", 2, "there is no certificate in PEM form in it"},
		{"tls://" + plain + " Who --cert ada.crt", 2, "--cert ada.crt with key ada.crt"},
		{"tls://" + plain + " Who --key ada.key", 2, "name it with --cert"},
		{"tls://" + plain + " Who --insecure --ca ca.pem", 2, "--insecure looks at no certificate"},
		{"tls://unix:x Who", 2, "is not tls://host:port"},
	} {
		args := append([]string{"call"}, strings.Fields(c.args)...)
		if c.code == 0 {
			if stdout, stderr, code := amphost(t, dir, args...); stdout != c.want || code != 0 {
				t.Errorf("call %s: %q, %q, exit status %d, want %q", c.args, stdout, stderr, code, c.want)
			}
			continue
		}
		complain(t, dir, c.code, args, c.want)
	}

	stdout, stderr, code := amphost(t, dir, "bench", "tls://"+name(mutual), "Who", "-n", "200", "-c", "2", "--ca", "ca.pem", "--cert", "ada.crt", "--key", "ada.key", "--assert", "errors==0,calls==200")
	if code != 0 || !strings.HasPrefix(stdout, "Who at tls://localhost:") {
		t.Errorf("bench: %q, %q, exit status %d", stdout, stderr, code)
	}
	complain(t, dir, 1, []string{"bench", "tls://" + open, "Who", "-n", "1", "--ca", "ca.pem", "--server-name", "elsewhere"}, "not for elsewhere")
	if _, stderr, code := amphost(t, dir, "bench", "tls://"+open, "Who", "-n", "1", "--insecure", "--assert", "errors==0"); code != 0 {
		t.Errorf("bench --insecure: %s", stderr)
	}
}
