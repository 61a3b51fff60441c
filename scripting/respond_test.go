package scripting

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// codeOf returns the code of an error that crossed the wire.
func codeOf(err error) string {
	if e, ok := errors.AsType[*amp.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

const errorsSource = `import * as amp from "amphost";
class A extends Error {}
class B extends A {}
class F extends Error {}
class Never extends Error {}
const Throw = new amp.Command("Throw", {
  arguments: { how: amp.Unicode() },
  response: { n: amp.Integer() },
  errors: { CODE_A: A, CODE_B: B, NEVER: Never },
  fatalErrors: { FATAL: F },
});
function deep(how) {
  switch (how) {
    case "a": throw new A("it is a");
    case "b": throw new B("it is b");
    case "fatal": throw new F("bye");
    case "remote": throw new amp.RemoteAmpError("MY_CODE", "my text");
    case "plain": throw new TypeError("oh no");
    case "string": throw "just text";
    case "null": throw null;
    case "cause": throw new Error("outer", { cause: new RangeError("inner") });
    case "missing": return {};
    case "wrong": return { n: "7" };
    case "fraction": return { n: 1.5 };
    case "nothing": return;
    case "number": return 7;
    case "getter": return { get n() { throw new A("from a getter"); } };
    case "surplus": return { n: 1, m: 2 };
    case "thenable": return { then(ok) { ok({ n: 2 }); } };
    case "class": return new (class { get n() { return 3; } })();
    case "bigint": return { n: 12345678901234567890n };
    case "quit": return new amp.QuitBox({ n: 4 });
  }
}
Throw.responder(({ how }) => {
  if (how.startsWith("async ")) return (async () => { await null; return deep(how.slice(6)); })();
  if (how.startsWith("timer ")) return new Promise((ok, no) => setTimeout(() => { try { ok(deep(how.slice(6))); } catch (e) { no(e); } }, 1));
  return deep(how);
});
new amp.Command("Nothing").responder(() => {});
`

func TestThrow(t *testing.T) {
	p, l := run(t, "errs", errorsSource, nil)
	for _, c := range []struct{ how, want, log string }{
		{"a", "CODE_A: it is a", ""},
		{"b", "CODE_A: it is b", ""}, // a subclass: the first that fits, as declared
		{"fatal", "FATAL: bye", ""},
		{"remote", "MY_CODE: my text", ""},
		{"plain", "UNKNOWN: Unknown Error", "TypeError: oh no"},
		{"string", "UNKNOWN: Unknown Error", "just text"},
		{"null", "UNKNOWN: Unknown Error", "null"},
		{"cause", "UNKNOWN: Unknown Error", "caused by: RangeError: inner"},
		{"missing", "UNKNOWN: Unknown Error", `\"n\": missing`},
		{"wrong", "UNKNOWN: Unknown Error", `is not a number or a bigint`},
		{"fraction", "UNKNOWN: Unknown Error", `1.5 is not a whole number`},
		{"nothing", "UNKNOWN: Unknown Error", "undefined is not an object"},
		{"number", "UNKNOWN: Unknown Error", "7 is not an object"},
		{"getter", "CODE_A: from a getter", ""},
		{"surplus", "n=1", ""},
		{"thenable", "n=2", ""},
		{"class", "n=3", ""},
		{"bigint", "n=12345678901234567890", ""},
		{"quit", "n=4", ""},
	} {
		for _, prefix := range []string{"", "async ", "timer "} {
			l.reset()
			b, err := ask(t, p, "Throw", box("how", prefix+c.how))
			got := fmt.Sprint(err)
			if err == nil {
				got = "n=" + string(b["n"])
			}
			if got != c.want {
				t.Errorf("%s%s: %s, want %s", prefix, c.how, got, c.want)
			}
			if c.log != "" {
				l.wait(c.log)
			} else if s := l.String(); s != "" {
				t.Errorf("%s%s logged %s", prefix, c.how, s)
			}
		}
	}
	if b, err := ask(t, p, "Nothing", nil); err != nil || len(b) != 0 {
		t.Errorf("Nothing: %v, %v", b, err)
	}
}

// The log has the whole story, once: where, a frame, the stack, the call.
func TestStory(t *testing.T) {
	p, l := run(t, "errs.ts", `import * as amp from "amphost";
type Text = string; // a line that does not run
const Boom = new amp.Command("Boom");
function inner(what: Text): never {
	throw new TypeError(`+"`häh: ${what}`"+`);
}
async function outer() {
  await null;
  const é = "ü"; if (é) inner("x");
}
Boom.responder(async () => { await outer(); });
`, nil)
	_, err := ask(t, p, "Boom", nil)
	if codeOf(err) != "UNKNOWN" {
		t.Fatal(err)
	}
	l.wait("responder failed")
	s := l.String()
	for _, want := range []string{
		"plugin=errs", "generation=1", "command=Boom", "TypeError: häh: x",
		"errs.ts:5:8", `> 5 | \tthrow new TypeError`, `| \t      ^`,
		"at inner (/errs.ts:5:8)", "at outer (/errs.ts:9:25)", "/errs.ts:11:36",
	} {
		if !strings.Contains(s, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if n := strings.Count(s, "TypeError"); n != 2 { // the message and the frame
		t.Errorf("told %d times", n)
	}
	if t.Failed() {
		t.Log(s)
	}
}

// Whatever nobody catches is logged, never lost.
func TestUncaught(t *testing.T) {
	p, l := run(t, "loose", `import * as amp from "amphost";
const Do = new amp.Command("Do", { arguments: { what: amp.Unicode() } });
Do.responder(({ what }) => {
  switch (what) {
    case "rejection": Promise.reject(new Error("nobody caught me")); break;
    case "late": { const p = Promise.reject(new Error("caught late")); setTimeout(() => p.catch(() => {}), 5); break; }
    case "handled": { const p = Promise.reject(new Error("caught in time")); p.catch(() => {}); break; }
    case "timer": setTimeout(() => { throw new Error("in a timer"); }, 1); break;
    case "microtask": queueMicrotask(() => { throw new Error("in a microtask"); }); break;
    case "listener": { const c = new AbortController(); c.signal.onabort = () => { throw new Error("in a listener"); }; c.abort(); break; }
  }
});
`, nil)
	for _, c := range []struct{ what, want string }{
		{"rejection", "unhandled rejection"}, {"late", "Error: caught late"}, {"timer", "Error: in a timer"}, {"microtask", "Error: in a microtask"}, {"listener", "Error: in a listener"},
	} {
		if _, err := ask(t, p, "Do", box("what", c.what)); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		l.wait(c.want)
	}
	l.wait("command=Do")
	l.wait("loose.js:5:")
	if _, err := ask(t, p, "Do", box("what", "handled")); err != nil {
		t.Error(err)
	}
	if strings.Contains(l.String(), "Error: caught in time") {
		t.Error("a rejection that was handled in the same turn was logged")
	}
}

const spinSource = `import * as amp from "amphost";
const Spin = new amp.Command("Spin", { arguments: { how: amp.Unicode() } });
const forms = {
  loop() { for (;;) ; },
  caught() { for (;;) { try { for (;;) ; } catch {} finally { continue; } } },
  microtasks() { const again = () => Promise.resolve().then(again); return again(); },
  async async() { for (;;) await null; },
  generator() { function* g() { for (;;) yield 1; } for (const x of g()) ; },
  sort() { const a = Array.from({ length: 1000 }, (_, i) => i); for (;;) a.sort(() => Math.random() - 0.5); },
  recursion() { const f = () => f() + 1; return f(); },
  getter() { const o = { get x() { return this.x; } }; return o.x; },
};
let n = 0;
Spin.responder(({ how }) => forms[how]());
new amp.Command("Count", { response: { n: amp.Integer() } }).responder(() => ({ n: ++n }));
new amp.Command("Wait").responder(() => { console.log("waiting"); return new Promise(() => {}); });
`

// A turn that overruns, or recurses without end, costs its runtime: the calls
// in it fail with RESTARTED, a fresh one goes on.
func TestOverrun(t *testing.T) {
	p, l := run(t, "spin", spinSource, &Options{TurnTimeout: 60 * time.Millisecond})
	for _, how := range []string{"loop", "caught", "microtasks", "async", "generator", "sort", "recursion", "getter"} {
		if b, err := ask(t, p, "Count", nil); err != nil || string(b["n"]) != "1" {
			t.Fatalf("before %s: Count = %q, %v\n%s", how, b, err, l)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := ask(t, p, "Wait", nil); !errors.Is(err, ErrRestarted) {
				t.Errorf("%s: the call that waits: %v\n%s", how, err, l)
			}
		})
		l.wait("waiting")
		l.reset()
		if _, err := ask(t, p, "Spin", box("how", how)); !errors.Is(err, ErrRestarted) {
			t.Errorf("%s: %v", how, err)
		}
		wg.Wait()
		l.wait("plugin restarted")
		if how != "microtasks" && how != "async" { // there it may be between two functions
			l.wait("spin.js")
			l.wait("command=Spin")
		}
		if p.Running() != 0 {
			t.Errorf("%s: %d calls are left", how, p.Running())
		}
		// A growing pause: it keeps happening. Do not wait for it here.
		p.health.reset()
	}
}

// An interrupt that comes late hits no innocent turn.
func TestWatchdogHitsNoInnocentTurn(t *testing.T) {
	p, l := run(t, "busy", `import * as amp from "amphost";
const Busy = new amp.Command("Busy", { arguments: { ms: amp.Integer() } });
Busy.responder(({ ms }) => { const end = performance.now() + ms; while (performance.now() < end) ; });
`, &Options{TurnTimeout: 250 * time.Millisecond})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := ask(t, p, "Busy", box("ms", "30")); err != nil {
				t.Errorf("a turn within its time: %v", err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.Log(l)
	}
}

func TestCallTimeout(t *testing.T) {
	p, l := run(t, "slow", `import * as amp from "amphost";
new amp.Command("Never").responder(() => new Promise(() => {}));
new amp.Command("Later", { arguments: { ms: amp.Integer() } }).responder(async ({ ms }) => { await new Promise((ok) => setTimeout(ok, ms)); });
export const plugin = { callTimeout: "50ms" };
`, nil)
	var wg sync.WaitGroup
	for _, c := range []struct {
		command string
		args    amp.Box
		want    string
	}{{"Never", nil, "TIMEOUT"}, {"Later", box("ms", "5"), "<nil>"}, {"Later", box("ms", "100"), "TIMEOUT"}, {"Never", nil, "TIMEOUT"}} {
		wg.Go(func() {
			if _, err := ask(t, p, c.command, c.args); codeOf(err) != c.want {
				t.Errorf("%s: %v, want %s", c.command, err, c.want)
			}
		})
	}
	wg.Wait()
	l.wait("call not answered in time")
}

// The log says what a call waited for that was not answered in time.
func TestTimeoutTellsWhatItWaitedFor(t *testing.T) {
	t.Parallel()
	p, l := run(t, "slow", `import * as amp from "amphost";
const Never = new amp.Command("Never");
Never.responder(() => new Promise(() => {}));
new amp.Command("Asks").responder(async () => { await amp.call(Never); });
new amp.Command("Sleeps").responder(() => new Promise((ok) => setTimeout(ok, 5000)));
new amp.Command("Other").responder(async () => { setTimeout(() => {}, 5000); });
export const plugin = { callTimeout: "50ms" };
`, nil)
	if _, err := ask(t, p, "Other", nil); err != nil { // whose timer is not theirs
		t.Error(err)
	}
	for command, waits := range map[string]string{
		"Never": "waits=\"a promise that is not settled", "Asks": "waits=\"the answer to its call of Never, for ", "Sleeps": "waits=\"a timer that is due in 4.",
	} {
		l.reset()
		if _, err := ask(t, p, command, nil); !errors.Is(err, ErrTimeout) {
			t.Errorf("%s: %v", command, err)
		}
		l.wait("command=" + command)
		eventually(t, command+" is told of", func() bool {
			for line := range strings.Lines(l.String()) {
				if strings.Contains(line, "command="+command+" ") && strings.Contains(line, waits) && strings.Contains(line, "responder=/slow.js:") {
					return true
				}
			}
			return false
		})
	}
}

func TestOverload(t *testing.T) {
	p, _ := run(t, "full", `import * as amp from "amphost";
let go = () => {};
const gate = new Promise((ok) => { go = ok; });
new amp.Command("Wait").responder(() => gate);
new amp.Command("Go").responder(() => go());
export const plugin = { maxInFlight: 3 };
`, nil)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := ask(t, p, "Wait", nil); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "two wait", func() bool { return p.Running() == 2 })
	done := make(chan error, 1)
	r := amp.NewRequest(t.Context(), "Wait", nil, func(_ amp.Box, err error) { done <- err })
	p.ServeAMP(r)
	if _, err := ask(t, p, "Wait", nil); !errors.Is(err, amp.ErrOverloaded) {
		t.Errorf("the fourth: %v", err)
	}
	p.settings.maxInFlight = 0 // the test's own way in
	if _, err := ask(t, p, "Go", nil); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// console.* goes to the log with the call it came from, across awaits.
func TestConsole(t *testing.T) {
	p, l := run(t, "talk", `import * as amp from "amphost";
new amp.Command("Talk", { arguments: { id: amp.Integer() } }).responder(async ({ id }) => {
  console.log("before", id);
  await new Promise((ok) => setTimeout(ok, 3));
  console.warn("after %d", id, { id, list: [1, 2, 3], map: new Map([["k", new Set([1])]]) });
});
new amp.Command("Other").responder(() => { console.debug("other", Buffer.from("hi"), [undefined, null, -0, 10n], Symbol("s"), class A {}, function f() {}); });
console.info("loading");
`, nil)
	var wg sync.WaitGroup
	for _, c := range []struct {
		command string
		args    amp.Box
	}{{"Talk", box("id", "1")}, {"Other", nil}, {"Talk", box("id", "2")}} {
		wg.Go(func() {
			if _, err := ask(t, p, c.command, c.args); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, want := range []string{
		`level=INFO msg=loading plugin=talk generation=1`,
		`level=INFO msg="before 1" plugin=talk generation=1 command=Talk`,
		`level=WARN msg="after 2 { id: 2, list: [ 1, 2, 3 ], map: Map(1) { 'k' => Set(1) { 1 } } }" plugin=talk generation=1 command=Talk`,
		`level=DEBUG msg="other <Buffer 68 69> [ undefined, null, -0, 10n ] Symbol(s) [class A] [Function: f]" plugin=talk generation=1 command=Other`,
	} {
		if !strings.Contains(l.String(), want) {
			t.Errorf("the log lacks %s\n%s", want, l)
		}
	}
	quiet := &logs{t: t}
	p, _ = run(t, "quiet", `import * as amp from "amphost";
new amp.Command("Talk").responder(() => { console.log({ get x() { throw new Error("formatted in vain"); }, toString() { throw 1; } }); });`,
		&Options{Logger: quiet.logger(slog.LevelWarn)})
	if _, err := ask(t, p, "Talk", nil); err != nil {
		t.Error(err)
	}
}

// With amp.Options.Strict a plugin's failures close the connection, as
// Twisted's do (amp-wire items E4.1 and E4.4); what it says itself does not.
func TestStrict(t *testing.T) {
	p, l := run(t, "strict", `import * as amp from "amphost";
class Gone extends Error {}
new amp.Command("Do", { arguments: { a: amp.Integer() }, errors: { GONE: Gone } }).responder(({ a }) => {
  if (a === 1) throw new TypeError("oh no");
  if (a === 2) throw new Gone("it has");
  if (a === 3) throw new amp.RemoteAmpError("SAID", "so");
});`, nil)
	for _, c := range []struct {
		a, loose, strict string
		closes           bool // with Strict
	}{
		{"x", `BAD_ARGUMENTS: argument "a": Integer "x": not a whole number`, "UNKNOWN: Unknown Error", true},
		{"1", "UNKNOWN: Unknown Error", "UNKNOWN: Unknown Error", true},
		{"2", "GONE: it has", "GONE: it has", false},
		{"3", "SAID: so", "SAID: so", false},
	} {
		for _, strict := range []bool{false, true} {
			a, b := net.Pipe()
			peer := amp.NewConn(a, nil, nil)
			conn := amp.NewConn(b, p, &amp.Options{Strict: strict, Logger: l.logger(slog.LevelInfo)})
			want := c.loose
			if strict {
				want = c.strict
			}
			if _, err := callOver(t, peer, "Do", box("a", c.a)); err == nil || err.Error() != want {
				t.Errorf("Do(%s), strict %v: %v, want %s", c.a, strict, err, want)
			}
			if strict && c.closes {
				select {
				case <-conn.Done():
				case <-time.After(5 * time.Second):
					t.Errorf("Do(%s): the connection stays", c.a)
				}
			} else if _, err := callOver(t, peer, "Do", box("a", "7")); err != nil {
				t.Errorf("after Do(%s), strict %v: %v", c.a, strict, err)
			}
			peer.Close()
			conn.Close()
		}
	}
	if n := strings.Count(l.String(), "TypeError: oh no"); n != 2 {
		t.Errorf("the error was logged %d times, want once a call\n%s", n, l)
	}
}

// A getter of one response may settle another call, which is then answered in
// the middle of it.
func TestAnswerWithinAnAnswer(t *testing.T) {
	p, _ := run(t, "nested", `import * as amp from "amphost";
let ok;
new amp.Command("Wait", { response: { a: amp.Integer(), b: amp.Unicode() } }).responder(() => new Promise((resolve) => { ok = resolve; }));
new amp.Command("Settle", { response: { a: amp.Integer(), constructor: amp.Integer() } }).responder(() => ({
  a: 7,
  get constructor() { ok({ a: 1, b: "x".repeat(40) }); return 8; },
}));`, nil)
	waited := make(chan amp.Box, 1)
	p.ServeAMP(amp.NewRequest(t.Context(), "Wait", nil, func(b amp.Box, _ error) { waited <- b }))
	b, err := ask(t, p, "Settle", nil)
	if err != nil || string(b["a"]) != "7" || string(b["constructor"]) != "8" || len(b) != 2 {
		t.Errorf("Settle = %q, %v", b, err)
	}
	if b := <-waited; string(b["a"]) != "1" || len(b["b"]) != 40 || len(b) != 2 {
		t.Errorf("Wait = %q", b)
	}
}
