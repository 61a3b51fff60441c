package scripting

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A webServer is what fetch talks to.
type webServer struct {
	*httptest.Server
	hanging atomic.Int64  // requests to /hang and /drip
	ended   chan struct{} // gets one for each that the client has given up
}

func newWebServer(t *testing.T) *webServer {
	t.Helper()
	s := &webServer{ended: make(chan struct{}, 100)}
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header()["x-odd"] = []string{"caf\xe9"}
		fmt.Fprintf(w, "%s %s host=%v type=%q accept=%q agent=%q auth=%q cookie=%q x=%q length=%d referer=%q\n%s", r.Method, r.RequestURI, r.Host == s.Listener.Addr().String(),
			r.Header.Get("Content-Type"), r.Header.Get("Accept"), r.UserAgent(), r.Header.Get("Authorization"), r.Header.Get("Cookie"), strings.Join(r.Header.Values("X-X"), "|"), r.ContentLength, r.Referer(), body)
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		var code int
		fmt.Sscan(r.PathValue("code"), &code)
		w.WriteHeader(code)
		if code != 204 && code != 304 {
			fmt.Fprintf(w, `{"code":%d}`, code)
		}
	})
	mux.HandleFunc("/redirect/{code}", func(w http.ResponseWriter, r *http.Request) {
		var code int
		fmt.Sscan(r.PathValue("code"), &code)
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(code)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		for range 64 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, r *http.Request) { // small on the way
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for range 64 {
			_, _ = z.Write(make([]byte, 64<<10))
		}
		_ = z.Close()
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte{0xEF, 0xBB, 0xBF, 'h', 0xFF, 0}) })
	hang := func(w http.ResponseWriter, r *http.Request) {
		s.hanging.Add(1)
		if r.URL.Path == "/drip" {
			_, _ = io.WriteString(w, "first")
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		s.ended <- struct{}{}
	}
	mux.HandleFunc("/hang", hang)
	mux.HandleFunc("/drip", hang)
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "short")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

const fetchSource = `import * as amp from "amphost";
const at = "BASE", other = "OTHER";
const cases = { CASES };
const told = (e) => e instanceof Error ? e.constructor.name + (e instanceof DOMException ? " " + e.name : "") + ": " + e.message : "threw " + e;
new amp.Command("Try", { arguments: { what: amp.Unicode() }, response: { out: amp.Unicode() } }).responder(async ({ what }) => {
  let out;
  try { out = await cases[what](); } catch (e) { out = told(e); }
  return { out: typeof out === "string" ? out : JSON.stringify(out) };
});
`

func TestFetch(t *testing.T) {
	t.Parallel()
	s, other := newWebServer(t), newWebServer(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	free.Close()
	const echoed = ` host=true type="" accept="*/*" agent="amphost" auth="" cookie="" x="" length=0 referer=""` + "\n"
	cases := []struct{ name, script, want string }{
		{"text", `(await fetch(at + "/echo?a=b#frag")).text()`, "GET /echo?a=b" + echoed},
		{"URL", `(await fetch(new URL("/echo", at))).text()`, "GET /echo" + echoed},
		{"about", `(async () => { const r = await fetch(at + "/status/201?q#frag"); return [r.ok, r.status, r.statusText, r.url === at + "/status/201?q", r.redirected, r.type, r.bodyUsed, await r.json(), r.bodyUsed]; })()`,
			`[true,201,"Created",true,false,"basic",false,{"code":201},true]`},
		{"not ok", `(async () => { const r = await fetch(at + "/status/404"); return [r.ok, r.status, (await r.json()).code]; })()`, `[false,404,404]`},
		{"no content", `(async () => { const r = await fetch(at + "/status/204"); return [r.status, await r.text(), (await (await fetch(at + "/status/304")).bytes()).length]; })()`, `[204,"",0]`},
		{"post text", `(await fetch(at + "/echo", { method: "post", body: "hé" })).text()`, `POST /echo host=true type="text/plain;charset=UTF-8" accept="*/*" agent="amphost" auth="" cookie="" x="" length=3 referer=""` + "\nhé"},
		{"post form", `(await fetch(at + "/echo", { method: "POST", body: new URLSearchParams({ a: "b c" }) })).text()`, `POST /echo host=true type="application/x-www-form-urlencoded;charset=UTF-8" accept="*/*" agent="amphost" auth="" cookie="" x="" length=5 referer=""` + "\na=b+c"},
		{"put bytes", `(await fetch(at + "/echo", { method: "PUT", body: new Uint8Array([104, 105, 33]).subarray(0, 2), headers: { "Content-Type": "x/y" } })).text()`, `PUT /echo host=true type="x/y" accept="*/*" agent="amphost" auth="" cookie="" x="" length=2 referer=""` + "\nhi"},
		{"post buffer", `(await fetch(at + "/echo", { method: "POST", body: new Uint8Array([104, 105]).buffer })).text()`, `POST /echo host=true type="" accept="*/*" agent="amphost" auth="" cookie="" x="" length=2 referer=""` + "\nhi"},
		{"headers", `(await fetch(at + "/echo", { headers: new Headers([["X-X", "1"], ["x-x", " 2 "], ["User-Agent", "me"], ["Accept", "a/b"], ["Connection", "close"], ["Content-Length", "7"], ["Cookie", "c=d"], ["Authorization", "me"]]) })).text()`,
			`GET /echo host=true type="" accept="a/b" agent="me" auth="me" cookie="c=d" x="1, 2" length=0 referer=""` + "\n"},
		{"answer's headers", `(async () => { const { headers } = await fetch(at + "/echo"); return [headers.get("X-Odd"), headers.get("set-cookie"), headers.getSetCookie(), headers.has("nope"), headers.get("nope"), [...headers.keys()].includes("content-type")]; })()`,
			`["café","a=1, b=2",["a=1","b=2"],false,null,true]`},
		{"bytes", `(async () => { const r = await fetch(at + "/bytes"); const c = r.clone(), d = r.clone(); const b = await r.arrayBuffer(); return [b instanceof ArrayBuffer, b.byteLength, await c.text(), [...(await d.bytes())]]; })()`, `[true,6,"h�\u0000",[239,187,191,104,255,0]]`},
		{"twice", `(async () => { const r = await fetch(at + "/bytes"); await r.text(); await r.text(); })()`, "TypeError: the body has been read already"},
		{"clone late", `(async () => { const r = await fetch(at + "/bytes"); await r.text(); r.clone(); })()`, "TypeError: Response.clone: the body has been read already"},
		{"not JSON", `(async () => (await fetch(at + "/bytes")).json())()`, "SyntaxError: "},
		{"Request", `(async () => { const q = new Request(at + "/echo", { method: "POST", body: "x", headers: { "x-x": "q" } }); return (await fetch(q)).text(); })()`, `POST /echo host=true type="text/plain;charset=UTF-8" accept="*/*" agent="amphost" auth="" cookie="" x="q" length=1 referer=""` + "\nx"},
		{"Request and more", `(async () => { const q = new Request(at + "/echo", { method: "POST", body: "x" }); return (await fetch(q, { method: "PATCH", body: "yz" })).text(); })()`, `PATCH /echo host=true type="text/plain;charset=UTF-8" accept="*/*" agent="amphost" auth="" cookie="" x="" length=2 referer=""` + "\nyz"},
		{"many", `(async () => (await Promise.all(Array.from({ length: 100 }, (_, i) => fetch(at + "/echo?" + i).then((r) => r.text())))).filter((t, i) => t.startsWith("GET /echo?" + i + " ")).length)()`, "100"},
		{"odd path", `(async () => (await (await fetch(at + "/echo/../echo?%zz|^[ü]")).text()).split(" ")[1])()`, "/echo?%zz|^[%C3%BC]"},

		// Redirects.
		{"follow", `(async () => { const r = await fetch(at + "/redirect/302?to=/status/203"); return [r.status, r.redirected, r.url === at + "/status/203"]; })()`, `[203,true,true]`},
		{"303 drops the body", `(await fetch(at + "/redirect/303?to=/echo", { method: "POST", body: "x" })).text()`, "GET /echo" + echoed},
		{"307 keeps the body", `(await fetch(at + "/redirect/307?to=/echo", { method: "POST", body: "x" })).text()`, "POST /echo host=true"},
		{"manual", `(async () => { const r = await fetch(at + "/redirect/302?to=/echo", { redirect: "manual" }); return [r.status, r.headers.get("location"), r.redirected, r.ok]; })()`, `[302,"/echo",false,false]`},
		{"error", `fetch(at + "/redirect/302?to=/echo", { redirect: "error" })`, `TypeError: fetch GET ` + s.URL + `/redirect/302?to=/echo: it is redirected to ` + s.URL + `/echo, and redirect is "error"`},
		{"loop", `fetch(at + "/loop")`, "TypeError: fetch GET " + s.URL + "/loop: it was redirected more than 20 times"},
		{"secrets stay", `(await fetch(at + "/redirect/302?to=" + other + "/echo", { headers: { Authorization: "me", Cookie: "c", "X-X": "x" } })).text()`, `GET /echo host=true type="" accept="*/*" agent="amphost" auth="" cookie="" x="x"`},
		{"secrets stay there and back", `(await fetch(at + "/redirect/302?to=" + encodeURIComponent(other + "/redirect/302?to=" + at + "/echo"), { headers: { Authorization: "me" } })).text()`, `GET /echo host=true type="" accept="*/*" agent="amphost" auth=""`},
		{"secrets go where they are for", `(await fetch(at + "/redirect/302?to=/echo", { headers: { Authorization: "me" } })).text()`, `GET /echo host=true type="" accept="*/*" agent="amphost" auth="me"`},
		{"to a place that is not allowed", `fetch(at + "/redirect/302?to=http://127.0.0.1:2/x")`, "TypeError: fetch GET " + s.URL + "/redirect/302?to=http://127.0.0.1:2/x: it is redirected to http://127.0.0.1:2/x: web may not connect to 127.0.0.1:2: say --allow-net 127.0.0.1:2"},
		{"to a file", `fetch(at + "/redirect/302?to=file:///etc/passwd")`, "TypeError: fetch GET " + s.URL + "/redirect/302?to=file:///etc/passwd: it is redirected to file:///etc/passwd: the scheme is file, and neither http nor https"},

		// What goes wrong.
		{"not allowed", `fetch("http://127.0.0.1:2/")`, "TypeError: fetch GET http://127.0.0.1:2/: web may not connect to 127.0.0.1:2: say --allow-net 127.0.0.1:2"},
		{"the port of a scheme", `fetch("https://elsewhere.example/x")`, "TypeError: fetch GET https://elsewhere.example/x: web may not connect to elsewhere.example:443: say --allow-net elsewhere.example:443"},
		{"a name that is an address", `fetch("http://localhost:` + "PORT" + `/echo")`, "TypeError: fetch GET http://localhost:PORT/echo: web may not connect to localhost:PORT: it is "},
		{"an address in disguise", `fetch("http://0x7f.1:2/")`, "TypeError: fetch GET http://127.0.0.1:2/: web may not connect to 127.0.0.1:2"},
		{"nobody there", `fetch("http://` + nobody + `/")`, "TypeError: fetch GET http://" + nobody + "/: dial tcp " + nobody + ": connect: connection refused"},
		{"no URL", `fetch("/x")`, `TypeError: fetch: "/x" is no URL`},
		{"another scheme", `fetch("ftp://x/")`, "TypeError: fetch: ftp://x/ begins with neither http:// nor https://"},
		{"file", `fetch("file:///etc/passwd")`, "TypeError: fetch: file:///etc/passwd begins with neither http:// nor https://"},
		{"a password in it", `fetch("http://me:secret@x/")`, "TypeError: fetch: a URL must not hold a name and a password"},
		{"GET with a body", `fetch(at, { body: "x" })`, "TypeError: fetch: a request with the method GET can't have a body"},
		{"an object for a body", `fetch(at, { method: "POST", body: { a: 1 } })`, "TypeError: the body must be text, bytes or URLSearchParams: for JSON use JSON.stringify"},
		{"a header with a newline", `fetch(at, { headers: { "X-X": "a\r\nHost: evil" } })`, "TypeError: Headers: "},
		{"a bad method", `fetch(at, { method: "G T" })`, `TypeError: fetch: "G T" is not a method`},
		{"CONNECT", `fetch(at, { method: "connect" })`, "TypeError: fetch: the method connect is not allowed"},
		{"cut off", `(async () => (await fetch(at + "/cut")).text())()`, "TypeError: fetch GET " + s.URL + "/cut: unexpected EOF"},
		{"too big", `(async () => { const r = await fetch(at + "/big"); return r.status + " " + await r.text(); })()`, "TypeError: fetch GET " + s.URL + "/big: the body is larger than 1048576 bytes"},
		{"too big when it is decompressed", `(async () => (await fetch(at + "/bomb")).text())()`, "TypeError: fetch GET " + s.URL + "/bomb: the body is larger than 1048576 bytes"},
		{"too slow", `fetch(at + "/hang")`, "DOMException TimeoutError: fetch GET " + s.URL + "/hang: the time is up: it was not done within 200ms"},
		{"a body that is too slow", `(async () => { const r = await fetch(at + "/drip"); return r.status + await r.text(); })()`, "DOMException TimeoutError: fetch GET " + s.URL + "/drip: the time is up"},

		// Abort.
		{"aborted before", `fetch(at, { signal: AbortSignal.abort() })`, "DOMException AbortError: "},
		{"aborted for a reason", `fetch(at, { signal: AbortSignal.abort("why") })`, "threw why"},
		{"aborted meanwhile", `(() => { const c = new AbortController(); setTimeout(() => c.abort(new Error("enough")), 20); return fetch(at + "/hang", { signal: c.signal }); })()`, "Error: enough"},
		{"a signal's time", `fetch(at + "/hang", { signal: AbortSignal.timeout(20) })`, "DOMException TimeoutError: the time is up"},
		{"any signal", `fetch(at + "/hang", { signal: AbortSignal.any([new AbortController().signal, AbortSignal.timeout(20)]) })`, "DOMException TimeoutError: the time is up"},
		{"aborted in the body", `(async () => { const c = new AbortController(); const r = await fetch(at + "/drip", { signal: c.signal }); setTimeout(() => c.abort(), 20); return r.text(); })()`, "DOMException AbortError: "},
		{"aborted after", `(async () => { const c = new AbortController(); const r = await fetch(at + "/status/200", { signal: c.signal }); const t = await r.text(); c.abort(); return t; })()`, `{"code":200}`},

		// What is there without a server.
		{"Response", `(async () => { const r = new Response("x", { status: 418, headers: { a: "b" } }); return [r.status, r.ok, r.headers.get("content-type"), r.headers.get("A"), await r.text(), new Response().ok, r.url]; })()`, `[418,false,"text/plain;charset=UTF-8","b","x",true,""]`},
		{"Response.json", `(async () => { const r = Response.json({ a: 1 }); return [r.headers.get("content-type"), await r.json(), Response.redirect("http://x/y").headers.get("location"), Response.error().status]; })()`, `["application/json",{"a":1},"http://x/y",0]`},
		{"Headers", `(() => { const h = new Headers({ b: 1, A: "x" }); h.append("a", "y"); h.set("C", "z"); h.delete("B"); return [[...h], h.get("A"), console.inspect(h)]; })()`, `[[["a","x, y"],["c","z"]],"x, y","Headers { a: 'x, y', c: 'z' }"]`},
	}
	var b strings.Builder
	for _, c := range cases {
		fmt.Fprintf(&b, "%q: async () => { return %s; },\n", c.name, strings.Replace(c.script, "(await ", "await (await ", 1))
	}
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	base := strings.NewReplacer("BASE", s.URL, "OTHER", other.URL, "CASES", b.String()).Replace(fetchSource)
	opts := Options{MaxFetchBody: 1 << 20, Net: func(plugin, address string, ip netip.Addr) error {
		switch {
		case address == "localhost:"+port && !ip.IsValid():
			return nil
		case address == "localhost:"+port:
			return fmt.Errorf("it is %s", ip)
		case strings.HasPrefix(address, "127.0.0.1:") && address != "127.0.0.1:2":
			return nil
		}
		return errors.New("say --allow-net " + address)
	}}
	p, l := run(t, "web", strings.ReplaceAll(base, "PORT", port), &opts)
	opts.FetchTimeout = 200 * time.Millisecond
	hurried, _ := run(t, "web", strings.ReplaceAll(base, "PORT", port), &opts)
	for _, c := range cases {
		to := p
		if strings.Contains(c.name, "too slow") {
			to = hurried
		}
		b, err := ask(t, to, "Try", box("what", c.name))
		if want := strings.ReplaceAll(c.want, "PORT", port); err != nil || !strings.HasPrefix(string(b["out"]), want) {
			t.Errorf("%s: %s\n= %s, %v\nwant %s", c.name, c.script, b["out"], err, want)
		}
	}
	// What was given up is over at the other end, too.
	for n := s.hanging.Load(); n > 0; n-- {
		select {
		case <-s.ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("%d requests still hang", n)
		}
	}
	if strings.Contains(l.String(), "rejection") {
		t.Errorf("the log says %s", l)
	}
}

// Without a permission there is no network.
func TestFetchNeedsPermission(t *testing.T) {
	s := newWebServer(t)
	p, _ := run(t, "web", strings.NewReplacer("BASE", s.URL, "CASES", `a: () => fetch(at)`).Replace(fetchSource), nil)
	b, err := ask(t, p, "Try", box("what", "a"))
	if want := "web may not connect to " + s.Listener.Addr().String() + ": plugins have no permission to connect anywhere"; err != nil || !strings.Contains(string(b["out"]), want) {
		t.Errorf("%s, %v, want %s", b["out"], err, want)
	}
}

// A fetch keeps no loop, is work that a generation finishes when it is
// replaced, and ends with the runtime or the plugin that made it.
func TestFetchAndItsGeneration(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	var asked atomic.Int64
	var shut atomic.Bool
	gone := make(chan struct{}, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		opens := gate
		if shut.Load() {
			opens = nil
		}
		asked.Add(1)
		select {
		case <-opens:
			fmt.Fprint(w, "at last")
		case <-r.Context().Done():
			gone <- struct{}{}
		}
	}))
	t.Cleanup(s.Close)
	plugin := func(version string) string {
		return strings.NewReplacer("BASE", s.URL, "VERSION", version).Replace(`import * as amp from "amphost";
const out = { response: { out: amp.Unicode() } };
new amp.Command("Get", out).responder(async () => ({ out: "VERSION " + await (await fetch("BASE")).text() }));
new amp.Command("Note", out).responder(() => { fetch("BASE").then((r) => r.text()).then((t) => console.log("noted", t, "VERSION")); return { out: "VERSION" }; });
new amp.Command("Spin", out).responder(() => { for (;;); });
amp.onUnload(() => console.log("unloaded VERSION"));`)
	}
	dir := t.TempDir()
	write(t, dir, "web.js", plugin("v1"))
	d, l := openDir(t, dir, &Options{Net: allowAll, TurnTimeout: 200 * time.Millisecond})
	got := make(chan string, 1)
	go func() {
		b, err := ask(t, d, "Get", nil)
		got <- fmt.Sprint(string(b["out"]), err)
	}()
	if _, err := ask(t, d, "Note", nil); err != nil { // while the other waits
		t.Fatal(err)
	}
	eventually(t, "both ask", func() bool { return asked.Load() == 2 })
	write(t, dir, "web.js", plugin("v2"))
	if err := d.Reload(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if b, err := ask(t, d, "Note", nil); err != nil || string(b["out"]) != "v2" {
		t.Fatalf("after the reload: %s, %v", b["out"], err)
	}
	eventually(t, "the new version asks", func() bool { return asked.Load() == 3 })
	if strings.Contains(l.String(), "unloaded v1") {
		t.Error("the old version has ended before its fetch")
	}
	close(gate)
	if g := <-got; g != "v1 at last<nil>" {
		t.Errorf("the call of the old version: %s", g)
	}
	for _, text := range []string{"noted at last v1", "noted at last v2", "unloaded v1"} {
		l.wait(text)
	}

	// A runtime that dies takes its fetches with it, and so does a plugin that
	// is cut off.
	shut.Store(true)
	for _, end := range []func(){
		func() { _, _ = ask(t, d, "Spin", nil) },
		func() {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = d.Stop(ctx)
		},
	} {
		n := asked.Load()
		if _, err := ask(t, d, "Note", nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it asks", func() bool { return asked.Load() == n+1 })
		end()
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			t.Fatal("the request goes on")
		}
	}
}
