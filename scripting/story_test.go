package scripting

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

const storiesSource = `import * as amp from "amphost";
const Do = new amp.Command("Do", { arguments: { how: amp.Unicode() }, response: { n: amp.Integer({ optional: true }) } });
const forms = {
  async string() { await null; throw "just text"; },
  async object() { await null; throw { code: 5 }; },
  any: () => Promise.any([Promise.reject(new RangeError("one")), Promise.reject(new TypeError("two"))]),
  loose() {
    Promise.reject("loose text");
    return {};
  },
  bad: () => ({ n: "seven" }),
};
Do.responder(({ how }) => forms[how]());
amp.onConnect((peer) => {
  console.log("hello");
  setTimeout(() => console.log("later"), 1);
  throw new Error("in onConnect");
});
amp.onDisconnect(async () => { await null; throw new Error("in onDisconnect"); });
amp.protocol("raw", (transport) => {
  console.log("raw");
  return {
    dataReceived: async (data) => { await null; console.log("data"); throw new Error("in dataReceived"); },
    connectionLost() { throw new Error("in connectionLost"); },
  };
});
amp.boxReceiver("boxes", (sender) => ({
  ampBoxReceived(box) { console.log("box"); throw new Error("in ampBoxReceived"); },
}));
`

// Whatever was thrown, and wherever, the log says in which line, for whose
// connection and in what, once.
func TestStories(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "s.js", storiesSource)
	d, l := openDir(t, dir, nil)
	told := func(record string, parts ...string) {
		t.Helper()
		l.wait(record)
		for line := range strings.Lines(l.String()) {
			if !strings.Contains(line, record) {
				continue
			}
			for _, part := range append(parts, "plugin=s generation=1") {
				if !strings.Contains(line, part) {
					t.Errorf("the log lacks %q in: %s", part, line)
				}
			}
		}
		if n := strings.Count(l.String(), record); n != 1 {
			t.Errorf("%s is told %d times", record, n)
		}
	}
	a, b := net.Pipe()
	c := amp.NewConn(a, nil, nil)
	s := amp.NewConn(b, d, nil)
	d.Connected(s)
	told("msg=hello", "conn=", "peer=pipe")
	told("Error: in onConnect", `msg="uncaught in amp.onConnect"`, "conn=", "peer=pipe", "s.js:17:9")
	told("msg=later", "conn=", "peer=pipe")
	for _, x := range []struct {
		how, code string
		record    string
		parts     []string
	}{
		{"string", "UNKNOWN", "'just text'", []string{"the responder of Do (", "s.js:13:4", "> 13 | Do.responder("}},
		{"object", "UNKNOWN", "{ code: 5 }", []string{"the responder of Do ("}},
		{"any", "UNKNOWN", "AggregateError", []string{"error 1 of 2: RangeError: one", "error 2 of 2: TypeError: two", "s.js:6:42"}},
		{"loose", "<nil>", "'loose text'", []string{`msg="unhandled rejection"`, "s.js:8:13", `> 8 |     Promise.reject(`}},
		{"bad", "UNKNOWN", "bad response of Do", []string{"is not a number or a bigint", "> 13 | Do.responder("}},
	} {
		if _, err := callOver(t, c, "Do", box("how", x.how)); codeOf(err) != x.code {
			t.Errorf("%s: %v, want %s", x.how, err, x.code)
		}
		told(x.record, append(x.parts, "command=Do tag=", "conn=", "peer=pipe")...)
	}
	c.Close()
	<-s.Done()
	d.Disconnected(s, io.EOF)
	told("Error: in onDisconnect", `msg="unhandled rejection"`, "conn=", "s.js:19:")

	a, b = net.Pipe()
	defer a.Close()
	if !d.ServeRaw("raw", b) {
		t.Fatal("no such protocol")
	}
	if _, err := io.WriteString(a, "x"); err != nil {
		t.Fatal(err)
	}
	told("msg=raw", "peer=pipe protocol=raw")
	told("msg=data", "peer=pipe protocol=raw")
	told("Error: in dataReceived", `msg="unhandled rejection"`, "protocol=raw")
	a.Close()
	told("Error: in connectionLost", `msg="connectionLost failed"`, "protocol=raw", "s.js:24:")

	a, b = net.Pipe()
	defer a.Close()
	conn := amp.NewBoxConn(b, d.Receiver("boxes"), nil)
	defer conn.Close()
	data, _ := box("k", "v").Append(nil)
	if _, err := a.Write(data); err != nil {
		t.Fatal(err)
	}
	told("msg=box", "conn=", "peer=pipe")
	told("Error: in ampBoxReceived", `msg="ampBoxReceived failed"`, "conn=", "s.js:28:")
	select {
	case <-conn.Done():
	case <-time.After(5 * time.Second):
		t.Error("the connection of a handler that has thrown stays")
	}
	if t.Failed() {
		t.Log(l)
	}
}

// What a plugin dies of while it loads is told by who loads it, and not twice.
func TestDeathWhileLoadingIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "deep.js", "const f = () => f() + 1;\nf();\n")
	d, l := openDir(t, dir, nil)
	l.wait("the call stack is deeper than")
	if n := strings.Count(l.String(), "the call stack is deeper than"); n != 1 {
		t.Errorf("told %d times:\n%s", n, l)
	}
	if err := d.Status()[0].Err; err == nil || !strings.Contains(err.Error(), "deep.js:1:") {
		t.Errorf("its status: %v", err)
	}
}

// A log line says whose call it belongs to also behind what takes its time
// outside of the script.
func TestConsoleKeepsTheCall(t *testing.T) {
	p, l := run(t, "keeps", `import * as amp from "amphost";
const Back = new amp.Command("Back", { arguments: { ok: amp.Boolean() } });
const In = new amp.Command("In");
In.responder(() => {});
const Go = new amp.Command("Go", { arguments: { n: amp.Integer() } });
Go.responder(async ({ n }, peer) => {
  await amp.store.update((tx) => { console.log(n, "in a transaction"); tx.counter("n").next(); });
  console.log(n, "after a transaction");
  await peer.callRemote(Back, { ok: true });
  console.log(n, "after a call");
  await peer.callRemote(Back, { ok: false }).catch(() => console.log(n, "in a catch"));
  await amp.call(In);
  console.log(n, "after a call within");
  await peer.callRemote(Back, { ok: true }, { signal: AbortSignal.abort() }).catch(() => {});
  for await (const x of (async function* () { yield n; })()) console.log(x, "in a generator");
  setImmediate(() => queueMicrotask(() => console.log(n, "in a microtask of a timer")));
});`, nil)
	a, b := net.Pipe()
	c := amp.NewConn(a, amp.HandlerFunc(func(r *amp.Request) {
		if ok, _ := r.Arg("ok"); string(ok) == "True" {
			r.Answer(nil)
		} else {
			r.Fail(amp.ErrUnhandled)
		}
	}), nil)
	defer c.Close()
	s := amp.NewConn(b, p, nil)
	defer s.Close()
	done := make(chan error, 2)
	for _, n := range []string{"1", "2"} {
		c.Go("Go", box("n", n), func(_ amp.Box, err error) { done <- err })
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, n := range []string{"1", "2"} {
		for _, where := range []string{"in a transaction", "after a transaction", "after a call", "in a catch", "after a call within", "in a generator", "in a microtask of a timer"} {
			l.wait(`msg="` + n + " " + where + `" plugin=keeps generation=1 command=Go tag=` + n + " conn=")
		}
	}
	if t.Failed() {
		t.Log(l)
	}
}
