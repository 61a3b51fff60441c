package scripting

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amphost/amphost/amp"
)

// runProgram runs a script to its end, and returns what it logged too.
func runProgram(t *testing.T, source string, args ...string) (status int, l *logs, err error) {
	t.Helper()
	prog, err := BuildSource("script.ts", source)
	if err != nil {
		t.Fatal(err)
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l = &logs{t: t}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	status, err = Run(ctx, prog, args, &Options{
		Logger: l.logger(0), Net: allowAll, CallTimeout: 15 * time.Second,
	})
	return status, l, err
}

func TestRunEndsWhenNothingIsLeft(t *testing.T) {
	for _, tt := range []struct {
		name, source string
		want         string // that it logs last
	}{
		{"a module", `console.log("end")`, "end"},
		{"microtasks", `Promise.resolve().then(() => {}).then(() => console.log("end"))`, "end"},
		{"timers", `setTimeout(() => setTimeout(() => console.log("end"), 5), 5)`, "end"},
		{"intervals", `let n = 0; const i = setInterval(() => { if (++n == 3) { clearInterval(i); console.log("end"); } }, 2)`, "end"},
		{"commits", `amp.store.update((tx) => tx.counter("n").next()).then((n) => amp.store.update((tx) => console.log("end", n)))`, "end 1"},
		{"onLoad", `amp.onLoad(async () => { await new Promise((ok) => setTimeout(ok, 10)); console.log("end"); })`, "end"},
		{"onUnload", `amp.onUnload(async () => { await amp.store.update(() => {}); console.log("end"); }); console.log("begin")`, "end"},
		{"onUnload that waits for nothing", `amp.onUnload(async () => { console.log("end"); await new Promise(() => {}); })`, "end"},
		{"a promise that is never kept", `(async () => { console.log("end"); await new Promise(() => {}); console.log("more"); })()`, "end"},
		{"a signal's timer", `AbortSignal.timeout(60000); console.log("end")`, "end"},
		{"calls of its own", `const C = new amp.Command("C", { response: { n: amp.Integer() } });
C.responder(() => new Promise((ok) => setTimeout(() => ok({ n: 5 }), 10)));
amp.call(C).then(({ n }) => amp.call("C")).then(({ n }) => console.log("end", n))`, "end 5"},
		{"connections", `const C = new amp.Command("C", { response: { n: amp.Integer() } });
C.responder((_, peer) => { console.log("called by", peer.remoteAddress !== ""); return { n: 7 }; });
amp.onDisconnect(() => console.log("gone"));
(async () => {
  const l = await amp.listen("tcp://127.0.0.1:0");
  const peer = await amp.connect(l.address);
  console.log((await peer.callRemote(C)).n);
  const again = await amp.connect(l.address, { reconnect: true });
  console.log((await again.callRemote(C)).n);
  again.loseConnection();
  peer.loseConnection();
  await l.close();
  console.log("end");
})()`, "end"},
		{"calls while onLoad waits", `const C = new amp.Command("C", { response: { n: amp.Integer() } });
const Back = new amp.Command("Back", { response: { n: amp.Integer() } });
C.responder(async (_, peer) => ({ n: 1 + (await peer.callRemote(Back)).n }));
Back.responder(() => ({ n: 4 }));
amp.onLoad(async () => {
  const l = await amp.listen("tcp://127.0.0.1:0");
  const peer = await amp.connect(l.address);
  const { n } = await peer.callRemote(C);
  peer.loseConnection();
  await l.close();
  console.log("end", n);
})`, "end 5"},
		{"raw connections", `const S = new amp.ProtocolSwitchCommand("S");
amp.protocol("loud", (t) => ({ dataReceived(d) { t.write(d.toString().toUpperCase()); t.loseConnection(); } }));
S.responder(() => "loud");
let heard = "";
amp.protocol("quiet", (t) => { t.write("hello"); return { dataReceived(d) { heard += d; }, connectionLost() { console.log("end", heard); } }; });
(async () => {
  const l = await amp.listen("tcp://127.0.0.1:0");
  const peer = await amp.connect(l.address);
  await peer.callRemote(S, {}, { protocol: "quiet" });
  await l.close();
})()`, "end HELLO"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, l, err := runProgram(t, `import * as amp from "amphost";`+tt.source)
			if status != 0 || err != nil {
				t.Fatalf("Run = %d, %v\n%s", status, err, l)
			}
			if text := strings.TrimSpace(l.String()); !strings.Contains(text[strings.LastIndex(text, "\n")+1:], tt.want) {
				t.Errorf("the log does not end with %q:\n%s", tt.want, text)
			}
		})
	}
}

func TestRunStaysWhileSomethingMayCome(t *testing.T) {
	elsewhere := listenAndServe(t)
	for name, source := range map[string]string{
		"a listener":                      `amp.listen("tcp://127.0.0.1:0").then(ready)`,
		"a connection to another program": `amp.connect("tcp://` + elsewhere + `").then(ready)`,
		"a raw connection to it":          `amp.dial("tcp://` + elsewhere + `").then(ready)`,
		"a connection":                    `amp.listen("tcp://127.0.0.1:0").then((l) => amp.connect(l.address)).then(ready)`,
		"one that reconnects":             `amp.connect("tcp://127.0.0.1:1", { reconnect: true }).then(ready)`,
		"an interval":                     `setInterval(() => {}, 1000); ready()`,
		"a watch":                         `amp.store.watch("", () => {}); ready()`,
		"a turn":                          `setTimeout(() => { ready(); for (;;); }, 1)`,
	} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			prog, err := BuildSource("script", `import * as amp from "amphost"; const ready = () => console.log("ready");`+source)
			if err != nil {
				t.Fatal(err)
			}
			l := &logs{t: t}
			enough := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			done := make(chan error, 1)
			go func() { // ends with Run; received below
				_, err := Run(ctx, prog, nil, &Options{Logger: l.logger(0), Net: allowAll})
				done <- err
			}()
			l.wait("ready")
			select {
			case err := <-done:
				t.Fatalf("it has ended: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			cancel(enough)
			if err := <-done; !errors.Is(err, enough) {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

// listenAndServe serves AMP, without a command, until the test ends.
func listenAndServe(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := new(amp.Server)
	done := make(chan struct{})
	go func() { // ends with the server; the cleanup waits
		_ = server.Serve(l)
		close(done)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return l.Addr().String()
}

// A program whose peer hangs up has nothing left to do.
func TestRunEndsWithItsLastConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	prog, err := BuildSource("script", `import * as amp from "amphost";
amp.connect("tcp://`+listener.Addr().String()+`").then(() => setTimeout(() => console.log("ready"), 1))`)
	if err != nil {
		t.Fatal(err)
	}
	l := &logs{t: t}
	done := make(chan error, 1)
	go func() { // ends with Run; received below
		_, err := Run(t.Context(), prog, nil, &Options{Logger: l.logger(0), Net: allowAll})
		done <- err
	}()
	nc, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l.wait("ready")
	_ = nc.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the program goes on without its connection")
	}
}

func TestRunStatus(t *testing.T) {
	for _, tt := range []struct {
		name, source string
		status       int
		err          string // of the error
	}{
		{"exit", `amp.exit(3); console.log("never")`, 3, ""},
		{"exit without a status", `try { amp.exit(); } finally { console.log("never"); }`, 0, ""},
		{"exit in a timer", `setTimeout(amp.exit, 1, 4); setInterval(() => {}, 1000)`, 4, ""},
		{"exit in a promise", `setInterval(() => {}, 1000); (async () => { await null; try { amp.exit(5); } catch { console.log("never"); } })()`, 5, ""},
		{"exit in onLoad", `amp.onLoad(async () => { await null; amp.exit(6); })`, 6, ""},
		{"exit in a transaction", `amp.store.update(() => amp.exit(7))`, 7, ""},
		{"exit with a connection", `amp.listen("tcp://127.0.0.1:0").then(async (l) => { await amp.connect(l.address); amp.exit(8); })`, 8, ""},
		{"exit with nonsense", `amp.exit("9")`, 1, "script.ts:1:37: TypeError: amp.exit takes a status from 0 to 255, not \"9\""},
		{"an exception", `throw new RangeError("no good")`, 1, "script.ts:1:39: RangeError: no good"},
		{"a rejection", `(async () => { await null; throw new Error("no good"); })(); setInterval(() => {}, 1000)`, 1, "script.ts:1:66: Error: no good"},
		{"a rejection in onLoad", `amp.onLoad(async () => { await null; throw new Error("no good"); })`, 1, "script.ts:1:76: Error: no good"},
		{"an exception in a timer", `setInterval(() => { throw new Error("no good"); }, 1)`, 1, "script.ts:1:59: Error: no good"},
		{"an exception in a microtask", `queueMicrotask(() => { throw new Error("no good"); }); setInterval(() => {}, 1000)`, 1, "Error: no good"},
		{"an exception in a handler", `amp.onConnect(() => { throw new Error("no good"); }); amp.listen("tcp://127.0.0.1:0").then((l) => amp.connect(l.address))`, 1, "Error: no good"},
		{"recursion", `const f = () => 1 + f(); setTimeout(f, 1)`, 1, "the call stack is deeper"},
		{"a port in use", `amp.listen("tcp://127.0.0.1:0").then((l) => amp.listen(l.address))`, 1, "address already in use"},
		{"no address", `amp.listen("here")`, 1, "is no address"},
		{"onLoad that waits for nothing", `amp.onLoad(() => new Promise(() => {}))`, 1, "onLoad has not settled"},
		{"an exception in onUnload", `amp.onUnload(() => { throw new Error("no good"); })`, 1, "Error: no good"},
		{"an error of a peer", `const C = new amp.Command("C");
amp.onLoad(async () => {
  const l = await amp.listen("tcp://127.0.0.1:0");
  const peer = await amp.connect(l.address);
  await peer.callRemote(C);
});`, 1, "script.ts:5:14: UnhandledCommand [UNHANDLED]: Unhandled Command"},
		{"a connection that is refused", `amp.onLoad(async () => {
  await amp.connect("tcp://127.0.0.1:1");
});`, 1, "script.ts:2:13: ConnectionLost: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"a call that takes too long", `const C = new amp.Command("C");
C.responder(() => new Promise(() => {}));
amp.call(C, {}, { timeout: 1 });`, 1, "script.ts:3:5: TimeoutError [TIMEOUT]: C was not answered within 1ms"},
		{"a responder's", `const C = new amp.Command("C"); C.responder(() => { throw new Error("no good"); }); amp.call(C).catch((e) => amp.exit(e.code === "UNKNOWN" ? 9 : 1))`, 9, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, l, err := runProgram(t, `import * as amp from "amphost"; `+tt.source)
			if status != tt.status || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Run = %d, %v, want %d, %q\n%s", status, err, tt.status, tt.err, l)
			}
			if strings.Contains(l.String(), "never") {
				t.Errorf("it went on:\n%s", l)
			}
		})
	}
}

func TestRunArgs(t *testing.T) {
	status, l, err := runProgram(t, `import { args } from "amphost"; console.log(args.length, args.join("|")); export const plugin = { workers: 3 }`, "a b", "", "--c")
	if status != 0 || err != nil || strings.Count(l.String(), "3 a b||--c") != 1 {
		t.Errorf("Run = %d, %v\n%s", status, err, l)
	}
}

// A plugin has none of it, and says why.
func TestPluginIsNoProgram(t *testing.T) {
	p, _ := run(t, "plugin", `import * as amp from "amphost";
new amp.Command("Try", { response: { out: amp.Unicode() } }).responder(async () => {
  const out = [String(amp.args)];
  try { amp.exit(1); } catch (e) { out.push(e.message); }
  await amp.listen("tcp://127.0.0.1:0").catch((e) => out.push(e.message));
  return { out: out.join("; ") };
});`, nil)
	b, err := ask(t, p, "Try", nil)
	want := "undefined; amp.exit is for scripts under amphost run: a plugin does not have it; amp.listen is for scripts under amphost run: a plugin does not have it"
	if err != nil || string(b["out"]) != want {
		t.Errorf("%q, %v", b["out"], err)
	}
}

func TestBuildScriptNames(t *testing.T) {
	dir := t.TempDir()
	for file, want := range map[string]string{
		"sum.js": "sum", "My Client.ts": "my-client", "_x.mjs": "x", "1.poem.cjs": "1-poem", "Ärger.js": "rger", "--.js": "script",
	} {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte("#!/usr/bin/env -S amphost run\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		prog, err := BuildScript(path)
		if err != nil || prog.Name != want || !ValidName(prog.Name) {
			t.Errorf("%s: %+v, %v, want the name %s", file, prog, err, want)
		}
	}
	if _, err := BuildScript(filepath.Join(dir, "x.py")); err == nil || !strings.Contains(err.Error(), "is not a script") {
		t.Errorf("x.py: %v", err)
	}
}

// A command is called by its name with the types of the plugin that answers it.
func TestCallByName(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "answers.js", `import * as amp from "amphost";
class Gone extends Error {}
new amp.Command("Echo", {
  arguments: { n: amp.Integer({ bigint: true }), t: amp.DateTime({ optional: true }), l: amp.AmpList({ x: amp.String() }) },
  response: { n: amp.Integer({ bigint: true }), t: amp.DateTime({ optional: true }), l: amp.AmpList({ x: amp.String() }) },
  errors: { GONE: Gone },
}).responder((a) => { if (a.n === 0n) throw new Gone("no more"); return a; });`)
	write(t, dir, "calls.js", `import * as amp from "amphost";
new amp.Command("Try", { response: { out: amp.Unicode() } }).responder(async () => {
  const a = await amp.call("Echo", { n: 2n ** 70n, l: [{ x: "hi" }] });
  const out = [typeof a.n, a.n === 2n ** 70n, String(a.t), a.l[0].x.toString()];
  for (const args of [{ n: 0, l: [] }, { l: [] }]) await amp.call("Echo", args).catch((e) => out.push(e.name, e.message));
  await amp.call("Ehco", {}).catch((e) => out.push(e.name, e.message));
  return { out: out.join("; ") };
});`)
	d, l := openDir(t, dir, nil)
	b, err := ask(t, d, "Try", nil)
	want := `bigint; true; undefined; hi; RemoteAmpError; GONE: no more; TypeError; Echo: argument "n": missing; ` +
		`TypeError; amp.call: no plugin here answers "Ehco", so its types are not known: declare it with new amp.Command, and call that`
	if err != nil || string(b["out"]) != want {
		t.Errorf("%q, %v, want %q\n%s", b["out"], err, want, l)
	}
	if _, err := ask(t, d, "Echo", amp.Box{}); codeOf(err) != "BAD_ARGUMENTS" {
		t.Errorf("Echo: %v", err)
	}
}
