package host_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

// A twistedPeer is a Python that plays Twisted's part: the one with which
// package amp is tested, too.
type twistedPeer struct {
	in  io.Writer
	out *bufio.Reader
	raw *os.File
}

// startTwisted starts one, which ends with the test. Where Twisted is not
// installed it skips the test; with CI set it fails.
func startTwisted(t *testing.T) *twistedPeer {
	t.Helper()
	const python = "/usr/bin/python3" // the one that Debian's python3-twisted is for
	if out, err := exec.Command(python, "-c", "import twisted.protocols.amp").CombinedOutput(); err != nil {
		const cure = "the other end needs Twisted: apt-get install python3-twisted"
		if os.Getenv("CI") != "" {
			t.Fatalf("%s\n%s", cure, out)
		}
		t.Skip("SKIPPED, NOT PASSED: " + cure)
	}
	cmd := exec.Command(python, "-B", "../amp/testdata/twisted/peer.py")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", cmd, err)
		}
	})
	return &twistedPeer{in, bufio.NewReader(out), out.(*os.File)}
}

type argsOf map[string]any

// ask has the process do something and returns what it says.
func (p *twistedPeer) ask(t *testing.T, request argsOf) argsOf {
	t.Helper()
	line, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	p.raw.SetReadDeadline(time.Now().Add(patience + 10*time.Second))
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("ask Twisted %s: %v", line, err)
	}
	if line, err = p.out.ReadBytes('\n'); err != nil {
		t.Fatalf("no answer from Twisted: %v", err)
	}
	var answer argsOf
	if err := json.Unmarshal(line, &answer); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if why, ok := answer["error"]; ok {
		t.Fatalf("in Twisted: %s", why)
	}
	return answer
}

// run runs a scenario of client.py against a server.
func (p *twistedPeer) run(t *testing.T, scenario, address string, args argsOf) {
	t.Helper()
	request := argsOf{"run": scenario, "address": address}
	maps.Copy(request, args)
	p.ask(t, request)
}

// listen starts a server of server.py and returns its address.
func (p *twistedPeer) listen(t *testing.T, kind string, args argsOf) string {
	t.Helper()
	request := argsOf{"listen": kind}
	maps.Copy(request, args)
	return p.ask(t, request)["address"].(string)
}

// copyPlugin copies a plugin of testdata/twisted, with words replaced.
func copyPlugin(t *testing.T, dir, name string, replace ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "twisted", name))
	if err != nil {
		t.Fatal(err)
	}
	writePlugin(t, dir, name, strings.NewReplacer(replace...).Replace(string(text)))
}

// TestTwistedClient has Twisted clients use plugins: every value type, error
// and way to close, calls in both directions, other protocols and TLS.
func TestTwistedClient(t *testing.T) {
	p := startTwisted(t)
	dir := t.TempDir()
	copyPlugin(t, dir, "responder.ts")
	pki := newAuthority(t)
	h, log := newHost(t, host.Config{Plugins: dir, Conn: amp.Options{TLS: pki.serverConfig(t)}})
	address := serve(t, h)
	for _, test := range []struct {
		name string
		args argsOf
	}{
		{"values", nil},
		{"optional", nil},
		{"errors", nil},
		{"undeclared", argsOf{"stays": true}},
		{"no_answer", argsOf{"stays": true}},
		{"pipelining", argsOf{"calls": 5000}},
		{"out_of_order", nil},
		{"both_call", argsOf{"calls": 300, "times": 4}},
		{"quit_box", nil},
		{"behind_fatal", nil},
		{"large", nil},
		{"switch", nil},
		{"switch_refused", nil},
		{"tls", argsOf{"who": "ada", "subject": "localhost", "authority": pki.file("authority"), "certificate": pki.file("ada")}},
		{"tls", argsOf{"subject": "localhost", "authority": pki.file("authority")}},
		{"tls_twice", nil},
		{"lost_in_call", nil},
		{"idle", nil},
	} {
		t.Run(test.name, func(t *testing.T) { p.run(t, test.name, address, test.args) })
	}
	t.Run("reflector", func(t *testing.T) {
		p.run(t, "reflector", serveNamed(t, h, "tcp", "127.0.0.1:0", "reflect").String(), nil)
	})
	t.Run("tls_asked_by_server", func(t *testing.T) {
		h, _ := newHost(t, host.Config{Plugins: dir}) // it makes a certificate, and wants none
		p.run(t, "tls_asked_by_server", serve(t, h), nil)
	})
	if n := strings.Count(log.String(), "secret surprise"); n != 1 {
		t.Errorf("the log tells %d times of the error that is not declared:\n%s", n, log)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown with a client that idles: %v", err)
	}
}

// TestTwistedServer has a plugin use a Twisted server.
func TestTwistedServer(t *testing.T) {
	p := startTwisted(t)
	dir := t.TempDir()
	pki := newAuthority(t)
	pki.issue(t, "localhost")
	trusted, err := os.ReadFile(pki.file("authority"))
	if err != nil {
		t.Fatal(err)
	}
	cert, _, _ := strings.Cut(string(trusted), "-----BEGIN PRIVATE KEY")
	copyPlugin(t, dir, "caller.ts", "AUTHORITY", cert)
	h, log := newHost(t, host.Config{Plugins: dir, AllowNet: map[string][]string{"caller": {"127.0.0.1:*"}}})
	address := p.listen(t, "responder", nil)
	secure := p.listen(t, "responder", argsOf{"certificate": pki.file("localhost")})
	for _, scenario := range []string{"Values", "Errors", "Talk", "SwitchTo", "Secure"} {
		t.Run(scenario, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			to := address
			if scenario == "Secure" {
				to = secure
			}
			if _, err := amp.Ask(ctx, h, scenario, amp.Box{"address": []byte(to)}); err != nil {
				t.Errorf("%v\n%s", err, log)
			}
		})
	}
}
