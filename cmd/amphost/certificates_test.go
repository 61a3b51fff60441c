package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// check looks at the files of certificates that the configuration names, and
// shows what is wrong at their keys; serve says the same, with the file and line.
func TestFilesOfCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certificates(t, dir)
	write(t, "", dir, "plugins", "none.js")
	write(t, "nothing\n", dir, "empty.pem")
	for _, test := range []struct {
		files string // after the address, a line each
		line  int    // of the problem
		says  string // "" for none
	}{
		{"certificate = \"server.pem\"\nclient-ca = \"ca.pem\"", 0, ""},
		{"certificate = \"ada.crt\"\nkey = \"ada.key\"", 0, ""},
		{"certificate = \"missing.pem\"", 3, "certificate missing.pem: no such file or directory"},
		{"strict = true\ncertificate = \"missing.pem\"\nkey = \"ada.key\"", 4, "certificate missing.pem: no such file or directory"},
		{"certificate = \"ada.crt\"\nkey = \"missing.key\"", 4, "key missing.key: no such file or directory"},
		{"certificate = \"empty.pem\"", 3, "certificate empty.pem: there is no certificate in PEM form in it"},
		{"certificate = \"ada.crt\"", 3, `certificate ada.crt: there is no private key in PEM form in it: "key" names the file that has it`},
		{"certificate = \"ada.crt\"\nkey = \"empty.pem\"", 4, "key empty.pem: there is no private key in PEM form in it"},
		{"certificate = \"server.pem\"\nkey = \"ada.key\"", 4, "key ada.key: it is not the private key of the certificate in server.pem"},
		{"certificate = \"server.pem\"\nclient-ca = \"missing.pem\"", 4, "client-ca missing.pem: no such file or directory"},
		{"certificate = \"server.pem\"\nclient-ca = \"ada.key\"", 4, "client-ca ada.key: there is no certificate in PEM form in it"},
		{"certificate = \"expired.pem\"", 3, "warning: certificate expired.pem: it holds from "},
	} {
		write(t, "[[listener]]\naddress = \"tls://127.0.0.1:0\"\n"+test.files+"\n", dir, configName)
		stdout, stderr, code := amphost(t, dir, "check", "--json")
		var report checked
		if err := json.Unmarshal([]byte(stdout), &report); err != nil {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		says, warning := strings.CutPrefix(test.says, "warning: ")
		if wrong := says != "" && !warning; report.OK == wrong || (code == 1) != wrong {
			t.Errorf("%s: exit status %d, ok %v", test.files, code, report.OK)
		}
		if says == "" {
			if len(report.Problems) > 0 {
				t.Errorf("%s: %v", test.files, report.Problems)
			}
			continue
		}
		if len(report.Problems) != 1 {
			t.Errorf("%s: %v, want %s", test.files, report.Problems, says)
			continue
		}
		p := report.Problems[0]
		if p.File != configName || p.Line != test.line || p.Column != 1 || (p.Severity == "warning") != warning || !strings.HasPrefix(p.Message, "listener 127.0.0.1:0: "+says) {
			t.Errorf("%s: %v, want %s in line %d", test.files, p, says, test.line)
		}
		if !warning {
			complain(t, dir, exitFailure, []string{"serve", "--watch", "off"}, fmt.Sprintf("%s:%d: listener 127.0.0.1:0: %s", configName, test.line, says))
		}
	}
	write(t, "listen = [\"tls://127.0.0.1:0?certificate=missing.pem\"]\n", dir, configName)
	complain(t, dir, exitFailure, []string{"serve"}, configName+":1: listen 127.0.0.1:0: certificate missing.pem: no such file")
	complain(t, dir, exitFailure, []string{"serve", "--listen", "tls://127.0.0.1:0?certificate=missing.pem"}, "--listen 127.0.0.1:0: certificate missing.pem: no such file")
}

// A certificate that names no host is told of as such, with what it lacks.
func TestCertificateThatNamesNoHost(t *testing.T) {
	to := target{network: "tcp", address: "localhost:1", tls: new(tls.Config)}
	for host, want := range map[string]string{"localhost": "subjectAltName=DNS:localhost,", "127.0.0.1": "subjectAltName=IP:127.0.0.1,"} {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, NotAfter: time.Now()}
		text := to.tlsError(c.VerifyHostname(host)).Error()
		if !strings.Contains(text, `no subjectAltName, and its common name, "ada", does not count`) || !strings.Contains(text, want) || strings.Contains(text, "--server-name") {
			t.Errorf("%s: %s", host, text)
		}
	}
	named := &x509.Certificate{DNSNames: []string{"a", "b"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if text := to.tlsError(named.VerifyHostname("c")).Error(); !strings.Contains(text, "is for a, b, 127.0.0.1, and not for c: --server-name") {
		t.Error(text)
	}
}

// init and new say how to call what serve will serve, by the configuration.
func TestCallAddressIsTheConfigurations(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"":                                  ":8750",
		"port = 9000":                       ":9000",
		"host = \"0.0.0.0\"\nport = 9000":   ":9000",
		"host = \"::1\"\nport = 9000":       "[::1]:9000",
		"host = \"example.test\"":           "example.test:8750",
		"listen = [\"unix:a.sock\"]":        "unix:a.sock",
		"listen = [\"127.0.0.1:9001\"]":     ":9001",
		"listen = [\"x=127.0.0.1:9001\"]":   ":8750",
		"port = 1\nlisten = [\"unix:a\"]":   ":1",
		"listen = [\"systemd:a\"]":          ":8750",
		"[[listener]]\naddress = \":9002\"": ":9002",
		"[[listener]]\naddress = \"tls://example.test:9003\"\ncertificate = \"x\"": "tls://example.test:9003",
	} {
		dir := t.TempDir()
		write(t, config+"\n", dir, configName)
		stdout, stderr, code := amphost(t, dir, "init")
		if code != 0 || !strings.Contains(stdout, "amphost call "+want+" Sum ") {
			t.Errorf("%s: exit status %d, want a call of %s\n%s%s", config, code, want, stdout, stderr)
		}
		if stdout, _, _ := amphost(t, dir, "new", "more"); !strings.Contains(stdout, "amphost call "+want+" More ") {
			t.Errorf("%s: want a call of %s\n%s", config, want, stdout)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "plugins", "README.md")); err != nil || !strings.Contains(string(text), "amphost call "+want+" Sum ") {
			t.Errorf("%s: %v, want a call of %s\n%s", config, err, want, text)
		}
	}
}
