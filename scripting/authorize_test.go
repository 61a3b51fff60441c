package scripting

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// outsider connects a peer to a handler as a server does.
func outsider(t testing.TB, d *Dir) *amp.Conn {
	t.Helper()
	c, s := amp.Pipe(nil, d)
	d.Connected(s)
	t.Cleanup(func() {
		c.Close()
		s.Close()
		<-s.Done()
		d.Disconnected(s, s.Err())
	})
	return c
}

// says returns what a call comes to: "ok", or the error's text.
func says(t testing.TB, c *amp.Conn, command string, args amp.Box) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.Call(ctx, command, args); err != nil {
		return err.Error()
	}
	return "ok"
}

const guardSource = `import * as amp from "amphost";
new amp.Command("Login", { arguments: { user: amp.Unicode() } }).responder(({ user }, peer) => peer.authenticate({ user }));
amp.authorize((peer, command) => command === "Login" || peer.identity !== null);
`

func TestAuthorize(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "guard.js", guardSource, "math.js", sumSource, "other.js", `import * as amp from "amphost";
const Sum = new amp.Command("Sum", { arguments: { a: amp.Integer(), b: amp.Integer() }, response: { total: amp.Integer() } });
const out = { response: { out: amp.Unicode() } };
new amp.Command("Within", out).responder(async () => ({ out: String((await amp.call(Sum, { a: 1, b: 2 })).total) })); // nobody is asked about that
new amp.Command("Who", out).responder((_, peer) => ({ out: peer.identity.user }));`)
	d, l := openDir(t, dir, nil)
	const forbidden = "FORBIDDEN: the call is not allowed"
	sum := box("a", "1", "b", "2")
	ada, eve := outsider(t, d), outsider(t, d)
	for _, c := range []struct {
		peer    *amp.Conn
		command string
		args    amp.Box
		want    string
	}{
		{ada, "Sum", sum, forbidden},
		{ada, "Sum", box("a", "x"), forbidden}, // before anything is decoded
		{ada, "NoSuchCommand", nil, forbidden},
		{ada, "Login", nil, `BAD_ARGUMENTS: argument "user": missing`},
		{ada, "Login", box("user", "ada"), "ok"},
		{ada, "Sum", sum, "ok"},
		{ada, "Who", nil, "ok"},
		{ada, "NoSuchCommand", nil, "UNHANDLED: Unhandled Command: b'NoSuchCommand'"},
		{eve, "Sum", sum, forbidden},
		{eve, "Who", nil, forbidden},
	} {
		if got := says(t, c.peer, c.command, c.args); got != c.want {
			t.Errorf("%s %v: %s, want %s\n%s", c.command, c.args, got, c.want, l)
		}
	}
	if b, err := ask(t, d, "Sum", sum); err != nil || string(b["total"]) != "3" {
		t.Errorf("from within: %v, %v", b, err)
	}
	if b, err := ask(t, d, "Within", nil); err != nil || string(b["out"]) != "3" {
		t.Errorf("from a plugin: %v, %v", b, err)
	}
	// Identities live on through a reload of who gave them.
	write(t, dir, "guard.js", guardSource+"// 2\n")
	if err := d.Reload(t.Context(), "guard"); err != nil {
		t.Fatal(err)
	}
	if a, e := says(t, ada, "Sum", sum), says(t, eve, "Sum", sum); a != "ok" || e != forbidden {
		t.Errorf("after a reload: %s and %s", a, e)
	}
}

// What an authorizer can return, and what becomes of a call.
func TestAuthorizersAnswers(t *testing.T) {
	t.Parallel()
	const forbidden = "FORBIDDEN: the call is not allowed"
	answers := []struct{ name, fn, want, log string }{
		{"True", `() => true`, "ok", ""},
		{"Nothing", `() => {}`, "ok", ""},
		{"Truthy", `() => ({ user: "ada" })`, "ok", ""},
		{"AsyncTrue", `async () => { await null; return true; }`, "ok", ""},
		{"AsyncNothing", `async () => {}`, "ok", ""},
		{"Timer", `() => new Promise((ok) => setTimeout(ok, 5))`, "ok", ""},
		{"False", `() => false`, forbidden, ""},
		{"Null", `() => null`, forbidden, ""},
		{"Zero", `() => 0`, forbidden, ""},
		{"Text", `() => ""`, forbidden, ""},
		{"AsyncFalse", `async () => { await null; return false; }`, forbidden, ""},
		{"Throws", `() => { throw new TypeError("inside"); }`, forbidden, "TypeError: inside"},
		{"Odd", `() => { throw null; }`, forbidden, "Uncaught null"},
		{"Rejects", `async () => { await null; null.x; }`, forbidden, "Cannot read property"},
		{"Tells", `() => { throw new amp.RemoteAmpError("NOPE", "log in first"); }`, "FORBIDDEN: log in first", ""},
		{"Thenable", `() => ({ then(ok) { ok(false); } })`, forbidden, ""},
		{"Proxied", `() => new Proxy({}, { get() { throw new Error("trap"); } })`, forbidden, "trap"},
		{"Never", `() => new Promise(() => {})`, "TIMEOUT: the call was not answered in time", "amp.authorize has not decided in time"},
		{"Spins", `() => { for (;;); }`, "RESTARTED: the runtime that held the call has been replaced", "plugin restarted"},
		{"Deep", `() => { const f = () => f() + 1; return f(); }`, "RESTARTED: the runtime that held the call has been replaced", "plugin restarted"},
	}
	var b strings.Builder
	b.WriteString("import * as amp from \"amphost\";\nconst answers = {\n")
	for _, a := range answers {
		fmt.Fprintf(&b, "%s: %s,\n", a.name, a.fn)
	}
	b.WriteString("};\namp.authorize((peer, command) => answers[command]?.(peer, command));\n")
	for _, a := range answers {
		fmt.Fprintf(&b, "new amp.Command(%q).responder(() => { console.log(\"ran\", %q); });\n", a.name, a.name)
	}
	dir := t.TempDir()
	write(t, dir, "answers.js", b.String())
	d, l := openDir(t, dir, &Options{CallTimeout: 3 * time.Second, TurnTimeout: 500 * time.Millisecond})
	for _, a := range answers {
		t.Run(a.name, func(t *testing.T) {
			l.reset()
			if got := says(t, outsider(t, d), a.name, nil); got != a.want {
				t.Errorf("%s: %s, want %s\n%s", a.fn, got, a.want, l)
			}
			if a.log != "" {
				l.wait(a.log)
			}
			if ran := strings.Contains(l.String(), "ran "+a.name); ran != (a.want == "ok") {
				t.Errorf("the responder ran: %v", ran)
			}
			if a.log == "" && strings.Contains(l.String(), "WARN") {
				t.Errorf("the log says %s", l)
			}
		})
	}
}

// Decisions that come in any order change nothing of the order of commands, and
// none is lost while the authorizer is replaced, again and again.
func TestAuthorizersKeepTheOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	guard := func(version int) string {
		return fmt.Sprintf(`import * as amp from "amphost"; // %d
let n = 0;
amp.authorize(async (peer, command) => {
  n++;
  if (n %% 3 === 0) await new Promise((ok) => setTimeout(ok, n %% 4));
  else if (n %% 3 === 1) await null;
  return command !== "Refused";
});`, version)
	}
	write(t, dir, "guard.js", guard(0), "also.js", `import * as amp from "amphost"; amp.authorize(() => true);`, "count.js", `import * as amp from "amphost";
const last = new Map();
new amp.Command("Next", { arguments: { n: amp.Integer() } }).responder(({ n }, peer) => {
  if (n !== (last.get(peer.id) ?? 0) + 1) throw new Error("after " + last.get(peer.id) + ": " + n);
  last.set(peer.id, n);
});`)
	d, l := openDir(t, dir, nil)
	var wg sync.WaitGroup
	for range 3 {
		c := outsider(t, d)
		wg.Go(func() {
			var calls sync.WaitGroup
			for n := 1; n <= 400; n++ {
				calls.Add(1)
				c.Go("Next", box("n", fmt.Sprint(n)), func(_ amp.Box, err error) {
					defer calls.Done()
					if err != nil {
						t.Errorf("Next %d: %v", n, err)
					}
				})
				if n%7 == 0 {
					calls.Add(1)
					c.Go("Refused", nil, func(_ amp.Box, err error) {
						defer calls.Done()
						if err == nil || !strings.HasPrefix(err.Error(), "FORBIDDEN") {
							t.Errorf("Refused: %v", err)
						}
					})
				}
				if n%50 == 0 {
					calls.Wait()
				}
			}
			calls.Wait()
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	for version := 1; ; version++ {
		select {
		case <-done:
			if t.Failed() {
				t.Log(l)
			}
			return
		default:
		}
		write(t, dir, "guard.js", guard(version))
		if err := d.Reload(t.Context(), "guard"); err != nil {
			t.Fatal(err)
		}
	}
}

// Plugins that have to be asked: nothing is allowed while one is not there.
func TestRequiredAuthorizers(t *testing.T) {
	t.Parallel()
	const forbidden = "FORBIDDEN: the call is not allowed"
	dir := t.TempDir()
	sum := box("a", "1", "b", "2")
	write(t, dir, "math.js", sumSource)
	d, l := openDir(t, dir, &Options{Authorizers: []string{"guard"}})
	l.wait("every call is refused: the plugin that has to authorize it is not there")
	c := outsider(t, d)
	step := func(what, source, want, told string) {
		t.Helper()
		l.reset()
		path := filepath.Join(dir, "guard.js")
		if source == "" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, dir, "guard.js", source)
		}
		_ = d.ReloadAll(t.Context())
		if got := says(t, c, "Sum", sum); got != want {
			t.Errorf("%s: %s, want %s\n%s", what, got, want, l)
		}
		l.wait(told)
	}
	allow := `import * as amp from "amphost"; amp.authorize(() => true);`
	if got := says(t, c, "Sum", sum); got != forbidden {
		t.Errorf("missing: %s", got)
	}
	step("broken from the start", "import *", forbidden, "plugin not loaded")
	step("there", allow, "ok", "calls are allowed again")
	step("a new version is broken", "import *", "ok", "the old version goes on")
	step("mended", allow+"// 2", "ok", "plugin reloaded")
	step("throws while it loads", allow+"throw 1;", "ok", "the old version goes on")
	step("does not authorize", sumSource[:strings.Index(sumSource, "Sum.responder")], forbidden, "does not call amp.authorize")
	step("does again", allow, "ok", "calls are allowed again")
	step("removed", "", forbidden, "is not there")
	step("is back", allow, "ok", "calls are allowed again")
	step("does not come back from a restart", `import * as amp from "amphost";
if (globalThis.died) throw new Error();
amp.authorize(() => { for (;;); });`, "RESTARTED: the runtime that held the call has been replaced", "plugin restarted")
}

// An authorizer that does not come back opens nothing.
func TestQuarantinedAuthorizer(t *testing.T) {
	t.Parallel()
	for _, required := range [][]string{nil, {"guard"}} {
		dir := t.TempDir()
		write(t, dir, "math.js", sumSource, "guard.js", `import * as amp from "amphost"; amp.authorize(() => { const f = () => f() + 1; return f(); });`)
		d, l := openDir(t, dir, &Options{Authorizers: required, MaxRestarts: 1})
		c := outsider(t, d)
		for range 2 {
			if got := says(t, c, "Sum", box("a", "1", "b", "2")); !strings.HasPrefix(got, "RESTARTED") {
				t.Errorf("while it dies: %s", got)
			}
		}
		l.wait("plugin quarantined")
		for range 3 {
			if got := says(t, c, "Sum", box("a", "1", "b", "2")); got != "FORBIDDEN: the call is not allowed" {
				t.Errorf("quarantined: %s", got)
			}
		}
		write(t, dir, "guard.js", `import * as amp from "amphost"; amp.authorize(() => true);`)
		_ = d.ReloadAll(t.Context())
		if got := says(t, c, "Sum", box("a", "1", "b", "2")); got != "ok" {
			t.Errorf("mended: %s\n%s", got, l)
		}
	}
}

// A runtime that is abandoned refuses what it had not decided, and ends what it
// fetches.
func TestAbandonedAuthorizer(t *testing.T) {
	t.Parallel()
	web := newWebServer(t)
	gate := make(chan struct{})
	stuck := Module{Name: "stuck", Exports: map[string]any{"stick": func([]any) (any, error) { <-gate; return nil, nil }}}
	prog, err := BuildSource("guard", `import * as amp from "amphost";
import { stick } from "stuck";
amp.authorize((peer, command) => {
  fetch("`+web.URL+`/hang").catch(() => {});
  return command === "Stick" ? stick() : new Promise(() => {});
});`, stuck)
	if err != nil {
		t.Fatal(err)
	}
	l := &logs{t: t}
	p, err := Start(t.Context(), prog, &Options{Modules: []Module{stuck}, Logger: l.logger(0), TurnTimeout: 50 * time.Millisecond, CallTimeout: time.Minute, FetchTimeout: time.Minute, Net: allowAll})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	c, s := amp.Pipe(nil, p)
	defer c.Close()
	defer s.Close()
	answers := make(chan string, 2)
	go func() { answers <- says(t, c, "Later", nil) }()
	eventually(t, "it fetches", func() bool { return web.hanging.Load() == 1 })
	go func() { answers <- says(t, c, "Stick", nil) }()
	for range 2 {
		if got := <-answers; !strings.HasPrefix(got, "RESTARTED") {
			t.Errorf("it answers %s\n%s", got, l)
		}
	}
	select {
	case <-web.ended:
	case <-time.After(20 * time.Second):
		t.Error("its request goes on")
	}
	close(gate)
}

// A connection that a plugin has opened is a peer, too: what comes back over it
// needs permission. The plugin may say who it is.
func TestAuthorizeDialed(t *testing.T) {
	t.Parallel()
	for _, reconnect := range []string{"true", "false"} {
		o := newOutside(t)
		dir := t.TempDir()
		write(t, dir, "guard.js", guardSource, "p.js", strings.NewReplacer("ADDRESS", o.address, "RECONNECT", reconnect, "VERSION", "1", "EXTRA", "").Replace(dialedSource))
		d, l := openDir(t, dir, &Options{Net: allowAll})
		eventually(t, "it has connected", func() bool { return o.conn() != nil })
		call := func() string { return says(t, o.conn(), "Version", nil) }
		if got := call(); !strings.HasPrefix(got, "FORBIDDEN") {
			t.Errorf("before: %s\n%s", got, l)
		}
		if _, err := ask(t, d, "Name", nil); err != nil {
			t.Fatal(err)
		}
		if got := call(); got != "ok" {
			t.Errorf("after: %s\n%s", got, l)
		}
	}
}

// A protocol switch that is authorized still switches at the right byte.
func TestAuthorizeSwitch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "guard.js", `import * as amp from "amphost"; amp.authorize(async () => { await new Promise((ok) => setTimeout(ok, 5)); });`,
		"raw.js", `import * as amp from "amphost";
amp.protocol("echo", (transport) => ({ dataReceived(data) { transport.write(data); } }));
new amp.ProtocolSwitchCommand("Echo").responder(() => "echo");`)
	d, _ := openDir(t, dir, nil)
	c := outsider(t, d)
	nc, err := c.Switch(t.Context(), "Echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	buf := make([]byte, 2)
	if _, err := nc.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	if n, err := nc.Read(buf); err != nil || n == 0 {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
}

// A plugin without a Dir, and a script that listens, ask themselves.
func TestAuthorizeAlone(t *testing.T) {
	p, _ := run(t, "alone", sumSource+`amp.authorize((peer, command) => command !== "Sum");`, nil)
	c, s := amp.Pipe(nil, p)
	defer c.Close()
	defer s.Close()
	if got := says(t, c, "Sum", box("a", "1", "b", "2")); !strings.HasPrefix(got, "FORBIDDEN") {
		t.Errorf("Sum: %s", got)
	}
	if got := says(t, c, "Else", nil); !strings.HasPrefix(got, "UNHANDLED") {
		t.Errorf("Else: %s", got)
	}
}
