package main

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A script fetches over TLS from who has a certificate that the system trusts,
// and from nobody else; and the program ends with its last fetch.
func TestFetchOverTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Proto, r.Header.Get("X-Key"))
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	write(t, `import * as amp from "amphost";
const get = async () => (await fetch("`+s.URL+`/", { headers: { "X-Key": amp.env.KEY } })).text();
get().then(console.log, (e) => console.log(e.name, e.message));`, dir, "get.js")
	trusted := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, want string }{
		{trusted, "HTTP/2.0 secret\n"},
		{os.DevNull, "TypeError fetch GET " + s.URL + "/: tls: failed to verify certificate: "},
	} {
		p := startProcess(t, dir, "env", "SSL_CERT_FILE="+c.file, "SSL_CERT_DIR=/nowhere", "KEY=secret", binary, "run", "get.js")
		if code := p.wait(); code != 0 || !strings.HasPrefix(p.stdout.text(), c.want) {
			t.Errorf("with %s: exit status %d, %q, %q, want %q", c.file, code, p.stdout.text(), p.stderr.text(), c.want)
		}
	}
}
