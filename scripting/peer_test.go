package scripting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

const peerSource = `import * as amp from "amphost";
class Busy extends Error { constructor(m) { super(m); this.own = true; } }
const Back = new amp.Command("Back", { arguments: { n: amp.Integer(), how: amp.Unicode() }, response: { n: amp.Integer() }, errors: { BUSY: Busy } });
const Note = new amp.Command("Note", { arguments: { n: amp.Integer() }, requiresAnswer: false });
const Any = new amp.Command("Any", { arguments: amp.Box, response: amp.Box });
const Call = new amp.Command("Call", { arguments: { how: amp.Unicode() }, response: { out: amp.Unicode() } });
let last;
Call.responder(async ({ how }, peer) => {
  last ??= peer;
  if (last !== peer) throw new Error("another object for the same connection");
  try {
    switch (how) {
      case "note": return { out: String(await peer.callRemote(Note, { n: 7 })) };
      case "any": { const b = await peer.callRemote(Any, { "\xff": Buffer.from([1]), k: "v" }); return { out: Object.keys(b).join() + " " + b["\xff"].toString("hex") }; }
      case "bad": return { out: JSON.stringify(await peer.callRemote(Back, { n: 1.5, how })) };
      case "none": return { out: JSON.stringify(await peer.callRemote("Back", {})) };
      case "timeout": return { out: JSON.stringify(await peer.callRemote(Back, { n: 1, how: "hang" }, { timeout: 20 })) };
      case "abort": { const c = new AbortController(); setTimeout(() => c.abort(new RangeError("enough")), 10); return { out: JSON.stringify(await peer.callRemote(Back, { n: 1, how: "hang" }, { signal: c.signal })) }; }
      case "aborted": return { out: JSON.stringify(await peer.callRemote(Back, { n: 1, how: "hang" }, { signal: AbortSignal.abort("gone") })) };
      default: return { out: JSON.stringify(await peer.callRemote(Back, { n: 1, how })) };
    }
  } catch (e) {
    return { out: e instanceof Error ? [e.constructor.name, e instanceof amp.RemoteAmpError, e.code, e.description, e.message, e.own].join("|") : String(e) };
  }
});
new amp.Command("Rethrow").responder((_, peer) => peer.callRemote(Back, { n: 1, how: "other" }));
new amp.Command("Bye").responder((_, peer) => { peer.loseConnection(); });
new amp.Command("Peers", { response: { n: amp.Integer() } }).responder(() => ({ n: amp.peers().length }));
amp.onConnect((peer) => console.log("connected", peer.id > 0, peer.remoteAddress !== undefined));
amp.onDisconnect((peer, reason) => console.log("disconnected", peer.id > 0, reason.name, reason.message));
`

// client is the other end of the plugin's connection.
func client(t *testing.T, d *Dir) (*amp.Conn, *amp.Conn) {
	t.Helper()
	c, s := amp.Pipe(amp.HandlerFunc(func(r *amp.Request) {
		how, _ := r.Arg("how")
		switch {
		case r.Command == "Any":
			r.Answer(r.Args())
		case r.Command == "Note", string(how) == "hang":
		case string(how) == "ok":
			r.Answer(box("n", "42"))
		case string(how) == "busy":
			r.Fail(&amp.Error{Code: "BUSY", Description: "later"})
		case string(how) == "other":
			r.Fail(&amp.Error{Code: "OTHER", Description: "else"})
		case string(how) == "malformed":
			r.Answer(box("n", "x"))
		case string(how) == "empty":
			r.Answer(nil)
		case string(how) == "close":
			_ = r.Conn().Close()
		default:
			r.Fail(amp.ErrUnhandled)
		}
	}), d)
	d.Connected(s)
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return c, s
}

func callOver(t *testing.T, c *amp.Conn, command string, args amp.Box) (amp.Box, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return c.Call(ctx, command, args)
}

func TestCallRemote(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.js", peerSource)
	d, l := openDir(t, dir, nil)
	c, s := client(t, d)
	for _, x := range []struct{ how, want string }{
		{"ok", `{"n":42}`},
		{"busy", "Busy|false|BUSY||later|true"},
		{"other", "RemoteAmpError|true|OTHER|else|OTHER: else|"},
		{"unhandled", "UnhandledCommand|false|UNHANDLED||Unhandled Command: b'Back'|"},
		{"malformed", `Error|false|||bad answer to Back: "n": `},
		{"empty", `Error|false|||bad answer to Back: "n": missing|`},
		{"note", "undefined"},
		{"any", "k,ÿ 01"},
		{"bad", `TypeError|false|||Back: argument "n": 1.5 is not a whole number|`},
		{"none", "TypeError|false|||callRemote takes a Command, and its arguments|"},
		{"timeout", "TimeoutError|false|TIMEOUT||Back was not answered within 20ms|"},
		{"abort", "RangeError|false|||enough|"},
		{"aborted", "gone"},
	} {
		b, err := callOver(t, c, "Call", box("how", x.how))
		if got := string(b["out"]); err != nil || !strings.HasPrefix(got, x.want) {
			t.Errorf("%s: %q, %v, want %q", x.how, got, err, x.want)
		}
	}
	// A peer's own error that comes back is not this plugin's.
	if _, err := callOver(t, c, "Rethrow", nil); codeOf(err) != "UNKNOWN" {
		t.Errorf("Rethrow: %v", err)
	}
	l.wait("RemoteAmpError: OTHER: else")
	l.wait("msg=\"connected true true\"")
	if b, err := callOver(t, c, "Peers", nil); err != nil || string(b["n"]) != "1" {
		t.Errorf("Peers = %q, %v", b, err)
	}
	if _, err := callOver(t, c, "Call", box("how", "close")); err == nil {
		t.Error("answered over a closed connection")
	}
	<-s.Done()
	d.Disconnected(s, s.Err())
	l.wait(`msg="disconnected true ConnectionLost`)
	if b, err := ask(t, d, "Call", box("how", "ok")); err != nil || !strings.Contains(string(b["out"]), "ConnectionLost|false|||there is no connection") && !strings.Contains(l.String(), "another object") {
		if codeOf(err) != "UNKNOWN" { // another peer than the first
			t.Errorf("without a connection: %q, %v", b, err)
		}
	}
}

// loseConnection answers first; a reload calls onConnect not again, and the
// newest version hears of the end.
func TestConnectionEnds(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.js", peerSource)
	d, l := openDir(t, dir, nil)
	c, s := client(t, d)
	l.wait("connected true")
	l.reset()
	write(t, dir, "p.js", peerSource+"// changed\n")
	if err := d.Reload(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	if _, err := callOver(t, c, "Bye", nil); err != nil {
		t.Errorf("Bye: %v", err)
	}
	select {
	case <-c.Done():
		if !errors.Is(c.Err(), io.EOF) {
			t.Errorf("the client's end: %v", c.Err())
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the connection stays")
	}
	<-s.Done()
	d.Disconnected(s, s.Err())
	l.wait("disconnected true ConnectionLost")
	if !strings.Contains(l.String(), "generation=2") || strings.Contains(l.String(), "msg=\"connected") {
		t.Errorf("log: %s", l)
	}
}

// After loseConnection no command of the peer's finds a responder: whoever gets
// the answer knows that the connection is as good as closed.
func TestNothingIsAnsweredAfterLoseConnection(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.js", `import * as amp from "amphost";
new amp.Command("Bye").responder((_, peer) => { peer.loseConnection(); });
new amp.Command("More").responder(() => {});`)
	d, _ := openDir(t, dir, nil)
	for range 100 {
		c, _ := client(t, d)
		if _, err := callOver(t, c, "Bye", nil); err != nil {
			t.Fatalf("Bye: %v", err)
		}
		if _, err := callOver(t, c, "More", nil); err == nil {
			t.Fatal("More was answered after Bye")
		}
	}
}

// Two ends that call each other: Count of plugins/count.js.
func TestCallBack(t *testing.T) {
	source := `import * as amp from "amphost";
const Count = new amp.Command("Count", { arguments: { n: amp.Integer() }, response: { ok: amp.Boolean() } });
Count.responder(({ n }, peer) => {
  console.log("received:", n);
  if (n + 1 < 10) peer.callRemote(Count, { n: n + 1 }).catch((e) => console.warn("call failed:", e.message));
  return { ok: true };
});`
	a, la := run(t, "a", source, nil)
	b, lb := run(t, "b", source, nil)
	ca, cb := amp.Pipe(a, b)
	defer ca.Close()
	defer cb.Close()
	if _, err := callOver(t, ca, "Count", box("n", "1")); err != nil {
		t.Fatal(err)
	}
	lb.wait("received: 9")
	for n := 1; n < 10; n++ {
		l := la
		if n%2 == 1 {
			l = lb
		}
		l.wait(fmt.Sprintf("received: %d", n))
	}
}

// Calls of one connection start in the order in which they arrived.
func TestOrder(t *testing.T) {
	p, _ := run(t, "order", `import * as amp from "amphost";
const seen = [];
new amp.Command("Add", { arguments: { i: amp.Integer() } }).responder(async ({ i }) => { seen.push(i); await null; });
new amp.Command("Seen", { response: { list: amp.ListOf(amp.Integer()) } }).responder(() => ({ list: seen }));
`, nil)
	c, s := amp.Pipe(nil, p)
	defer c.Close()
	defer s.Close()
	const n = 500
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		c.Go("Add", box("i", fmt.Sprint(i)), func(_ amp.Box, err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := callOver(t, c, "Seen", nil)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for e := range amp.Elements(b["list"]) {
		if string(e) != fmt.Sprint(i) {
			t.Fatalf("call %d was %s", i, e)
		}
		i++
	}
	if i != n {
		t.Errorf("%d calls, want %d", i, n)
	}
}

const stateSource = `import * as amp from "amphost";
const session = amp.peerState(() => ({ user: "", seen: new Map(), visits: 0 }));
const out = { response: { out: amp.Unicode() } };
new amp.Command("Visit", out).responder((_, peer) => {
  const s = session(peer);
  s.visits++;
  s.seen.set("v" + VERSION, s.visits);
  return { out: [s.visits, [...s.seen].join(" "), s === peer.state].join("|") };
});
new amp.Command("Login", { arguments: { user: amp.Unicode() } }).responder(({ user }, peer) => { peer.authenticate({ user, roles: new Set(["a"]) }); });
new amp.Command("Spoil").responder((_, peer) => { peer.state.f = () => {}; });
`

const whoSource = `import * as amp from "amphost";
new amp.Command("Who", { response: { out: amp.Unicode() } }).responder((_, peer) => {
  const who = peer.identity;
  return { out: [who === null ? "nobody" : who.user + " " + who.roles.has("a"), who === peer.identity, peer.tls, JSON.stringify(peer.listener), JSON.stringify(peer.state)].join("|") };
});
`

// peer.state survives a reload, peer.identity is seen by every plugin.
func TestPeerState(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "s.js", strings.ReplaceAll(stateSource, "VERSION", "1"), "w.js", whoSource)
	d, l := openDir(t, dir, nil)
	c, s := amp.Pipe(nil, d)
	defer c.Close()
	defer s.Close()
	d.ConnectedVia(s, "front")
	out := func(command string, args amp.Box) string {
		t.Helper()
		b, err := callOver(t, c, command, args)
		if err != nil {
			return codeOf(err)
		}
		return string(b["out"])
	}
	for _, x := range []struct{ command, want string }{
		{"Visit", "1|v1,1|true"}, {"Visit", "2|v1,2|true"}, {"Who", `nobody|true||"front"|{}`}, {"reload", ""},
		{"Visit", "3|v1,2 v2,3|true"}, {"Login", ""}, {"Login", "UNKNOWN"}, {"Who", `ada true|true||"front"|{}`},
		{"Spoil", ""}, {"spoiled", ""}, {"Visit", "1|v3,1|true"},
	} {
		switch x.command {
		case "reload", "spoiled":
			version := map[string]string{"reload": "2", "spoiled": "3"}[x.command]
			write(t, dir, "s.js", strings.ReplaceAll(stateSource, "VERSION", version))
			if err := d.Reload(t.Context(), "s"); err != nil {
				t.Fatal(err)
			}
		default:
			if got := out(x.command, box("user", "ada")); got != x.want {
				t.Errorf("%s = %s, want %s", x.command, got, x.want)
			}
		}
	}
	l.wait("value.f: a function can't be cloned")
	if t.Failed() {
		t.Log(l)
	}
}

// amp.call reaches the commands of the host, amp.unhandled those that nobody
// answers; one plugin may have it.
func TestCallAndUnhandled(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.js", `import * as amp from "amphost";
class Nope extends Error {}
const Twice = new amp.Command("Twice", { arguments: { n: amp.Integer() }, response: { n: amp.Integer() }, errors: { NOPE: Nope } });
const Hang = new amp.Command("Hang");
new amp.Command("Try", { arguments: { n: amp.Integer() }, response: { out: amp.Unicode() } }).responder(async ({ n }) => {
  try { return { out: "n=" + (n === 7 ? await amp.call(Hang, {}, { timeout: 10 }) : (await amp.call(Twice, { n })).n) }; }
  catch (e) { return { out: e.constructor.name + " " + e.message }; }
});
`, "b.js", `import * as amp from "amphost";
class Nope extends Error {}
new amp.Command("Twice", { arguments: { n: amp.Integer() }, response: { n: amp.Integer() }, errors: { NOPE: Nope } }).responder(({ n }) => { if (n < 0) throw new Nope("negative"); return { n: 2 * n }; });
new amp.Command("Hang").responder(() => new Promise(() => {}));
export const plugin = { callTimeout: "300ms" };
`, "u.js", `import * as amp from "amphost";
amp.unhandled(async (name, box, peer) => {
  if (name === "Echo") return { ...box, name: Buffer.from(name) };
  if (name === "Refuse") throw new amp.RemoteAmpError("REFUSED", "not you");
});
`)
	d, l := openDir(t, dir, nil)
	for _, x := range []struct{ n, want string }{{"21", "n=42"}, {"-1", "Nope negative"}, {"7", "TimeoutError Hang was not answered within 10ms"}} {
		if b, err := ask(t, d, "Try", box("n", x.n)); err != nil || string(b["out"]) != x.want {
			t.Errorf("Try(%s) = %q, %v, want %s\n%s", x.n, b["out"], err, x.want, l)
		}
	}
	if b, err := ask(t, d, "Echo", box("k", "v")); err != nil || string(b["k"])+string(b["name"]) != "vEcho" {
		t.Errorf("Echo = %q, %v", b, err)
	}
	for command, want := range map[string]string{"Refuse": "REFUSED", "Other": "UNHANDLED"} {
		if _, err := ask(t, d, command, nil); codeOf(err) != want {
			t.Errorf("%s: %v, want %s", command, err, want)
		}
	}
	write(t, dir, "v.js", `import * as amp from "amphost"; amp.unhandled(() => {});`)
	if err := d.Reload(t.Context(), "v"); err == nil || !strings.Contains(err.Error(), "u.js:2") {
		t.Errorf("a second amp.unhandled: %v", err)
	}
}

// A script may freeze a peer: its end once ended the runtime.
func TestFrozenPeer(t *testing.T) {
	p, l := run(t, "frozen", `import * as amp from "amphost";
let n = 0;
new amp.Command("Freeze", { response: { n: amp.Integer() } }).responder((_, peer) => { Object.freeze(peer); return { n: ++n }; });`, nil)
	c, s := amp.Pipe(nil, p)
	defer s.Close()
	p.Connected(s)
	if _, err := callOver(t, c, "Freeze", nil); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	<-s.Done()
	p.Disconnected(s, s.Err())
	if b, err := ask(t, p, "Freeze", nil); err != nil || string(b["n"]) != "2" {
		t.Errorf("Freeze = %q, %v: the module's variables are gone\n%s", b["n"], err, l)
	}
}
