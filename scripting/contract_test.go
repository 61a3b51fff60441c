package scripting

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// Everything that registers does so while the module runs, and is a TypeError
// from amp.onLoad on.
func TestRegistrationEndsWithTheModule(t *testing.T) {
	p, _ := run(t, "late", `import * as amp from "amphost";
const Other = new amp.Command("Other"), Switch = new amp.ProtocolSwitchCommand("Switch");
const all = {
  Command: () => new amp.Command("More"), ProtocolSwitchCommand: () => new amp.ProtocolSwitchCommand("More"),
  responder: () => Other.responder(() => {}), switchResponder: () => Switch.responder(() => "x"),
  onLoad: () => amp.onLoad(() => {}), onUnload: () => amp.onUnload(() => {}), onConnect: () => amp.onConnect(() => {}), onDisconnect: () => amp.onDisconnect(() => {}),
  unhandled: () => amp.unhandled(() => {}), protocol: () => amp.protocol("x", () => {}), boxReceiver: () => amp.boxReceiver("x", () => {}),
  save: () => amp.hot.save(() => {}), watch: () => amp.store.watch("", () => {}), authorize: () => (amp.authorize ?? amp.onLoad)(() => {}),
};
const late = () => Object.entries(all).filter(([, f]) => {
  try { f(); return true; } catch (e) { return !(e instanceof TypeError && e.message.includes("declare it at the top of the plugin")); }
}).map(([name]) => name);
let loading;
amp.onLoad(() => { loading = late(); });
new amp.Command("Late", { response: { out: amp.Unicode() } }).responder(() => ({ out: [loading.join(), late().join()].join("|") }));
// Not all that is new later registers: what is made of values may be made at any time.
new amp.Command("Fine").responder(() => { new amp.QuitBox(); new amp.DateTimeValue(0); new amp.RemoteAmpError("X"); amp.Integer(); amp.peerState(); });
`, nil)
	if b, err := ask(t, p, "Late", nil); err != nil || string(b["out"]) != "|" {
		t.Errorf("registered after the module had run: %q, %v", b["out"], err)
	}
	if _, err := ask(t, p, "Fine", nil); err != nil {
		t.Error(err)
	}
}

// Calls of a plugin interleave where they await, and nowhere else.
func TestCallsInterleaveAtAwait(t *testing.T) {
	p, _ := run(t, "turns", `import * as amp from "amphost";
const log = [];
let running = 0, most = 0, open = 0;
new amp.Command("Step", { arguments: { n: amp.Integer() } }).responder(async ({ n }) => {
  most = Math.max(most, ++running);
  for (let i = 0; i < 3; i++) {
    if (++open !== 1) log.push("two at once");
    for (let x = 0; x < 1000; x++) ;
    open--;
    await new Promise((ok) => setTimeout(ok, 1));
  }
  running--;
});
new amp.Command("Said", { response: { most: amp.Integer(), log: amp.Unicode() } }).responder(() => ({ most, log: log.join() }));`, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := ask(t, p, "Step", box("n", "1")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b, err := ask(t, p, "Said", nil); err != nil || string(b["most"]) < "2" || string(b["log"]) != "" {
		t.Errorf("at most %s calls were under way, log %q, %v", b["most"], b["log"], err)
	}
}

// What a script keeps of its arguments is its own, and what it sends is taken
// at once: nothing is shared with a connection.
func TestBytesAreCopies(t *testing.T) {
	p, _ := run(t, "keeps", `import * as amp from "amphost";
const kept = [], scratch = Buffer.alloc(4);
const Keep = new amp.Command("Keep", { arguments: { b: amp.String(), box: amp.ListOf(amp.String()) }, response: { b: amp.String() } });
Keep.responder(({ b, box }) => { kept.push(b, ...box); scratch.set(b); try { return { b: scratch }; } finally { setImmediate(() => scratch.fill(0)); } });
new amp.Command("Kept", { response: { b: amp.ListOf(amp.String()) } }).responder(() => ({ b: kept }));`, nil)
	c, s := amp.Pipe(nil, p)
	defer c.Close()
	defer s.Close()
	var want []string
	for i := range 50 {
		v := fmt.Sprintf("%04d", i)
		list := "\x00\x05<" + v
		b, err := callOver(t, c, "Keep", box("b", v, "box", list))
		if err != nil || string(b["b"]) != v {
			t.Fatalf("Keep(%s) = %q, %v", v, b["b"], err)
		}
		want = append(want, v, "<"+v)
	}
	b, err := callOver(t, c, "Kept", nil)
	var got []string
	for e := range amp.Elements(b["b"]) {
		got = append(got, string(e))
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("kept %q, %v", got, err)
	}
}

// A DateTimeValue can't be changed, and is a Date in all else.
func TestDateTimeValue(t *testing.T) {
	p, _ := run(t, "dates", `import * as amp from "amphost";
const d = new amp.DateTimeValue("2020-01-02T03:04:05.678Z", { microsecond: 9, offset: -90 });
const refused = (f) => { try { f(); return "no"; } catch (e) { return e.name; } };
new amp.Command("Try", { response: { out: amp.Unicode() } }).responder(() => ({ out: [
  refused(() => { d.microsecond = 1; }), refused(() => d.setTime(5)), refused(() => d.setUTCFullYear(1999)), refused(() => { delete d.offset; }), refused(() => { d.more = 1; }),
  refused(() => new amp.DateTimeValue(0, { microsecond: 1000 })), refused(() => new amp.DateTimeValue(0, { offset: 1.5 })),
  d instanceof Date, d.getTime(), new Date(d).getTime(), d.microsecond, d.offset, JSON.stringify(d), console.inspect(d), structuredClone(d) instanceof Date,
].join(" ") }));`, nil)
	want := `TypeError TypeError TypeError TypeError TypeError RangeError RangeError true 1577934245678 1577934245678 9 -90 "2020-01-02T03:04:05.678Z" DateTimeValue 2020-01-02T01:34:05.678009-01:30 true`
	if b, err := ask(t, p, "Try", nil); err != nil || string(b["out"]) != want {
		t.Errorf("got %q, %v, want %q", b["out"], err, want)
	}
}

// amp.call is as callRemote, in the process.
func TestCallWithin(t *testing.T) {
	p, l := run(t, "within", `import * as amp from "amphost";
class Odd extends Error {}
const Note = new amp.Command("Note", { arguments: { n: amp.Integer() }, requiresAnswer: false });
Note.responder(({ n }, peer) => { console.log("noted", n, peer.identity, peer.tls, peer.remoteAddress === ""); if (n === 2) throw new Error("of no interest"); });
const Nobody = new amp.Command("Nobody", { requiresAnswer: false });
const Half = new amp.Command("Half", { arguments: { n: amp.Integer() }, response: { n: amp.Integer() }, errors: { ODD: Odd } });
Half.responder(async ({ n }) => { if (n % 2) throw new Odd("it is odd"); return { n: n / 2 }; });
const Hang = new amp.Command("Hang");
Hang.responder(() => new Promise(() => {}));
const Back = new amp.Command("Back");
Back.responder((_, peer) => peer.callRemote(Back).catch((e) => { console.log("back:", e.name); }));
const tries = {
  note: () => amp.call(Note, { n: 1 }), failed: () => amp.call(Note, { n: 2 }), nobody: () => amp.call(Nobody),
  half: () => amp.call(Half, { n: 4 }).then((r) => r.n), odd: () => amp.call(Half, { n: 3 }), named: () => amp.call("Half", { n: 6 }).then((r) => r.n),
  bad: () => amp.call(Half, { n: 1.5 }), none: () => amp.call({}), back: () => amp.call(Back),
  forever: () => Promise.race([amp.call(Hang, {}, { timeout: Infinity }), new Promise((ok) => setTimeout(ok, 20, "waits"))]),
  timeout: () => amp.call(Hang, {}, { timeout: 5 }), aborted: () => amp.call(Hang, {}, { signal: AbortSignal.abort("before") }),
  abort: () => { const c = new AbortController(); setTimeout(() => c.abort(new RangeError("meanwhile")), 5); return amp.call(Hang, {}, { signal: c.signal }); },
};
new amp.Command("Try", { arguments: { how: amp.Unicode() }, response: { out: amp.Unicode() } }).responder(async ({ how }) => {
  try { return { out: String(await tries[how]()) }; } catch (e) { return { out: e?.name === undefined ? e : e.constructor.name + ": " + e.message + (e.code ? " " + e.code : "") }; }
});
export const plugin = { callTimeout: "2s" };`, nil)
	for how, want := range map[string]string{
		"note": "undefined", "failed": "undefined", "nobody": "undefined", "half": "2", "odd": "Odd: it is odd ODD", "named": "3",
		"bad": `TypeError: Half: argument "n": 1.5 is not a whole number`, "none": "TypeError: amp.call takes a Command or a command's name, and its arguments", "back": "[object Object]", "forever": "waits",
		"timeout": "TimeoutError: Hang was not answered within 5ms TIMEOUT", "aborted": "before", "abort": "RangeError: meanwhile",
	} {
		if b, err := ask(t, p, "Try", box("how", how)); err != nil || string(b["out"]) != want {
			t.Errorf("%s: %q, %v, want %q", how, b["out"], err, want)
		}
	}
	l.wait(`msg="noted 1 null null true"`)
	l.wait("Error: of no interest")
	l.wait(`msg="back: ConnectionLost"`)
}

// A call that asks for a protocol switch says what it needs, and ends with its
// timeout or signal, and its connection with it.
func TestCallSwitchEnds(t *testing.T) {
	p, l := run(t, "asks", `import * as amp from "amphost";
const Switch = new amp.ProtocolSwitchCommand("Switch");
amp.protocol("client", () => {});
const forms = { missing: {}, unknown: { protocol: "nope" }, timeout: { protocol: "client", timeout: 20 }, signal: { protocol: "client", get signal() { return AbortSignal.timeout(20); } }, aborted: { protocol: "client", signal: AbortSignal.abort("before") } };
new amp.Command("Go", { arguments: { how: amp.Unicode() }, requiresAnswer: false }).responder(({ how }, peer) => {
  peer.callRemote(Switch, {}, forms[how]).then(() => console.log(how, "switched"), (e) => console.log(how, e?.name ?? e, e?.message));
});`, nil)
	for _, c := range []struct {
		how, want string
		ends      bool
	}{
		{"missing", "missing TypeError callRemote: a ProtocolSwitchCommand needs { protocol: NAME }", false},
		{"unknown", `unknown TypeError callRemote: { protocol } must name an amp.protocol of this plugin, and \"nope\" is none`, false},
		{"aborted", "aborted before", false},
		{"timeout", "timeout TimeoutError Switch was not answered within 20ms", true},
		{"signal", "signal TimeoutError", true},
	} {
		a, b := net.Pipe()
		server := amp.NewConn(b, p, nil)
		client := amp.NewConn(a, amp.HandlerFunc(func(r *amp.Request) { r.Pause() }), nil) // and never answers
		if err := client.Send(t.Context(), "Go", box("how", c.how)); err != nil {
			t.Fatal(err)
		}
		l.wait(c.want)
		if c.ends {
			select {
			case <-server.Done():
			case <-time.After(5 * time.Second):
				t.Errorf("%s: the connection stays", c.how)
			}
		} else if _, err := callOver(t, client, "Nope", nil); codeOf(err) != "UNHANDLED" {
			t.Errorf("%s: AMP does not go on: %v", c.how, err)
		}
		client.Close()
		server.Close()
	}
	eventually(t, "no call is left", func() bool { return p.Running() == 0 })
}

// Who is connected to may call the commands of the plugin that connected, and
// those of nobody else.
func TestOtherSideCallsThisPluginOnly(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan *amp.Conn, 1)
	server := &amp.Server{OnConnect: func(c *amp.Conn) { came <- c }}
	go server.Serve(l)
	defer server.Close()
	dir := t.TempDir()
	write(t, dir, "mine.js", fmt.Sprintf(`import * as amp from "amphost";
let other;
amp.onLoad(async () => { other = await amp.connect(%q); other.state.n = 1; });
new amp.Command("Mine", { response: { out: amp.Unicode() } }).responder((_, peer) => ({ out: [peer === other, peer.state.n, peer.remoteAddress === %[1]q, peer.listener, amp.peers().length].join() }));`, l.Addr().String()),
		"theirs.js", `import * as amp from "amphost"; new amp.Command("Theirs").responder(() => {});`)
	d, _ := openDir(t, dir, &Options{Net: allowAll})
	c := <-came
	if b, err := callOver(t, c, "Mine", nil); err != nil || string(b["out"]) != "true,1,true,,0" {
		t.Errorf("Mine = %q, %v", b["out"], err)
	}
	if _, err := callOver(t, c, "Theirs", nil); codeOf(err) != "UNHANDLED" {
		t.Errorf("Theirs: %v, want UNHANDLED", err)
	}
	if _, err := ask(t, d, "Theirs", nil); err != nil {
		t.Error(err)
	}
}

// Every handler is optional, and a transport says whose it is and stops reading
// when it is told.
func TestTransport(t *testing.T) {
	p, l := run(t, "raw", `import * as amp from "amphost";
amp.protocol("nothing", () => {});
amp.protocol("gone", (transport) => ({
  dataReceived() { transport.write(5).catch((e) => { console.log("bad write:", e.name, e.message); transport.loseConnection(); }); },
  connectionLost() {
    setTimeout(() => {
      transport.write("nobody waits for this");
      transport.write("x").catch((e) => console.log("late write:", e.name));
      transport.pause(); transport.resume(); transport.loseConnection();
    }, 1);
  },
}));
amp.protocol("pauses", (transport) => {
  console.log("from", transport.remoteAddress, "to", transport.localAddress);
  transport.pause();
  setTimeout(() => { console.log("resumes"); transport.resume(); }, 100);
  return { dataReceived(data) { console.log("data", Buffer.isBuffer(data), String(data)); transport.loseConnection(); } };
});
for (const bad of [() => amp.protocol(""), () => amp.protocol("x"), () => amp.boxReceiver("x", 1), () => amp.protocol("pauses", () => {})]) {
  try { bad(); console.log("taken"); } catch (e) { console.log("refused", e.name); }
}`, nil)
	if n := strings.Count(l.String(), `"refused TypeError"`); n != 4 {
		t.Errorf("%d declarations were refused:\n%s", n, l)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, name := range []string{"nothing", "gone", "pauses"} {
		a, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		b, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if !p.ServeRaw(name, b) {
			t.Fatal("no such protocol")
		}
		if _, err := io.WriteString(a, "hello"); err != nil {
			t.Fatal(err)
		}
		switch name {
		case "nothing":
			continue
		case "gone":
			l.wait(`msg="bad write: TypeError write: 5 is not a Buffer`)
			l.wait(`msg="late write: ConnectionLost"`)
			continue
		}
		l.wait(fmt.Sprintf("from %s to %s", a.LocalAddr(), ln.Addr()))
		if _, err := bufio.NewReader(a).ReadByte(); err != io.EOF {
			t.Errorf("after loseConnection: %v", err)
		}
	}
	text := l.String()
	if strings.Contains(text, "level=ERROR") {
		t.Errorf("a write that nobody waits for was reported:\n%s", text)
	}
	if paused, data := strings.Index(text, "msg=resumes"), strings.Index(text, `msg="data true hello"`); paused < 0 || data < paused {
		t.Errorf("the transport was read while it paused:\n%s", text)
	}
}

// amp.peers, and what a peer knows of itself.
func TestPeers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.js", `import * as amp from "amphost";
const seen = new Map();
amp.onConnect((peer) => { seen.set(peer.id, peer); });
amp.onDisconnect((peer) => { console.log("left", seen.get(peer.id) === peer, amp.peers().includes(peer)); });
new amp.Command("Who", { response: { out: amp.Unicode() } }).responder((_, me) => ({ out: [
  amp.peers().length, new Set(amp.peers()).size, amp.peers().every((p) => seen.get(p.id) === p), amp.peers().includes(me),
  me.remoteAddress, me.localAddress, me.listener, me.tls, me.identity, Object.keys(me).join(),
  (() => { try { me.id = 7; } catch (e) { return e.name; } })(),
].join(" ") }));
const Ping = new amp.Command("Ping");
new amp.Command("Others", { response: { n: amp.Integer() } }).responder(async (_, me) => {
  const others = amp.peers().filter((p) => p !== me);
  await Promise.all(others.map((p) => p.callRemote(Ping)));
  for (const p of others) p.loseConnection();
  return { n: others.length };
});`)
	d, l := openDir(t, dir, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &amp.Server{Handler: d, OnConnect: func(c *amp.Conn) { d.ConnectedVia(c, "front") }, OnDisconnect: d.Disconnected}
	go server.Serve(ln)
	defer server.Close()
	var conns []*amp.Conn
	for range 3 {
		c, err := amp.Dial(t.Context(), "tcp", ln.Addr().String(), amp.HandlerFunc(func(r *amp.Request) { r.Answer(nil) }), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := callOver(t, c, "Who", nil); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	b, err := callOver(t, conns[0], "Who", nil)
	if want := fmt.Sprintf("3 3 true true %s %s front   id,remoteAddress,localAddress,listener TypeError", conns[0].LocalAddr(), ln.Addr()); err != nil || string(b["out"]) != want {
		t.Errorf("Who = %q, %v, want %q", b["out"], err, want)
	}
	if b, err := callOver(t, conns[0], "Others", nil); err != nil || string(b["n"]) != "2" {
		t.Errorf("Others = %q, %v", b["n"], err)
	}
	for _, c := range conns[1:] {
		select {
		case <-c.Done():
		case <-time.After(5 * time.Second):
			t.Error("a connection stays")
		}
	}
	eventually(t, "two have left", func() bool { return strings.Count(l.String(), `msg="left true false"`) == 2 })
	if b, err := callOver(t, conns[0], "Who", nil); err != nil || !strings.HasPrefix(string(b["out"]), "1 1 true true ") {
		t.Errorf("Who = %q, %v", b["out"], err)
	}
}

// A hundred plugins of the size of plugins/math.js are no burden.
func TestHundredPlugins(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		write(t, dir, fmt.Sprintf("p%d.js", i), strings.Replace(sumSource, `"Sum"`, fmt.Sprintf(`"Sum%d"`, i), 1))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	d, err := OpenDir(t.Context(), dir, &Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Stop(t.Context()) }()
	took := time.Since(start)
	eventually(t, "a hundred plugins hold less than 100 MiB", func() bool { // once what was used to start them is gone
		runtime.GC()
		runtime.ReadMemStats(&after)
		return int64(after.HeapAlloc)-int64(before.HeapAlloc) < 100<<20
	})
	for i := range 100 {
		if b, err := ask(t, d, fmt.Sprintf("Sum%d", i), box("a", "1", "b", fmt.Sprint(i))); err != nil || string(b["total"]) != fmt.Sprint(1+i) {
			t.Fatalf("Sum%d = %q, %v", i, b, err)
		}
	}
	t.Logf("they started within %v", took) // BenchmarkOpenDir measures it
}
