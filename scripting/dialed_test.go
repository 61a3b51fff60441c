package scripting

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// An outside is a server that plugins connect to. It answers Hold when the gate
// is open, and asks back for Version with each Echo.
type outside struct {
	address string
	server  *amp.Server
	came    atomic.Int64 // connections
	gate    chan struct{}

	mu   sync.Mutex
	last *amp.Conn // that came
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &outside{address: l.Addr().String(), gate: make(chan struct{})}
	mux := new(amp.Mux)
	mux.Handle("Hold", amp.HandlerFunc(func(r *amp.Request) {
		go func() { // ends when the test opens the gate
			<-o.gate
			r.Answer(nil)
		}()
	}))
	mux.Handle("Echo", amp.HandlerFunc(func(r *amp.Request) {
		r.Conn().Go("Version", nil, func(b amp.Box, err error) {
			if err != nil {
				t.Errorf("Version: %v", err)
			}
			r.Answer(b)
		})
	}))
	o.server = &amp.Server{Handler: mux, OnConnect: func(c *amp.Conn) {
		o.came.Add(1)
		o.mu.Lock()
		o.last = c
		o.mu.Unlock()
	}}
	served := make(chan error, 1)
	go func() { served <- o.server.Serve(l) }()
	t.Cleanup(func() {
		_ = o.server.Close()
		if err := <-served; !errors.Is(err, amp.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return o
}

func (o *outside) open() int { return len(o.server.Conns()) }

func (o *outside) conn() *amp.Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// allowAll lets plugins connect everywhere.
func allowAll(string, string, netip.Addr) error { return nil }

const dialedSource = `import * as amp from "amphost";
const Echo = new amp.Command("Echo", { response: { version: amp.Unicode() } });
const Hold = new amp.Command("Hold");
const out = { response: { out: amp.Unicode() } };
let peer;
amp.onLoad(async () => {
  peer = await amp.connect("ADDRESS", { reconnect: RECONNECT });
  EXTRA
});
let other;
new amp.Command("Version", { response: { version: amp.Unicode() } }).responder((_, p) => {
  if (p !== peer) throw new Error("another peer object: " + p.id + ", not " + peer.id);
  return { version: "VERSION" };
});
new amp.Command("Ask", out).responder(async () => {
  const { version } = await peer.callRemote(Echo);
  peer.state.n = (peer.state.n ?? 0) + 1;
  return { out: [version, peer.state.n, peer.identity?.name].join(" ") };
});
new amp.Command("Held", out).responder(async () => { console.log("holding"); await peer.callRemote(Hold); return { out: "VERSION" }; });
new amp.Command("Name").responder(() => { peer.authenticate({ name: "ada" }); });
amp.onUnload(() => { console.log("unloaded VERSION"); peer.loseConnection(); });
`

// A connection of amp.connect lives on in the next version, if that asks for
// the same address: with its state and its identity, what is in flight, and
// the other side's calls.
func TestConnectionsAreAdopted(t *testing.T) {
	t.Parallel()
	for _, reconnect := range []string{"true", "false"} {
		t.Run("reconnect="+reconnect, func(t *testing.T) {
			o := newOutside(t)
			dir := t.TempDir()
			plugin := func(version int, extra string) {
				write(t, dir, "p.js", strings.NewReplacer("ADDRESS", o.address, "RECONNECT", reconnect, "VERSION", fmt.Sprint("v", version), "EXTRA", extra).Replace(dialedSource))
			}
			plugin(1, "")
			d, l := openDir(t, dir, &Options{Net: allowAll})
			wants := func(command, want string) {
				t.Helper()
				b, err := ask(t, d, command, nil)
				if err != nil || string(b["out"]) != want {
					t.Errorf("%s = %q, %v, want %q\n%s", command, b["out"], err, want, l)
				}
			}
			wants("Ask", "v1 1 ")
			if _, err := ask(t, d, "Name", nil); err != nil {
				t.Error(err)
			}
			held := make(chan string, 1)
			go func() {
				b, err := ask(t, d, "Held", nil)
				held <- fmt.Sprint(string(b["out"]), err)
			}()
			l.wait("holding")
			for version := 2; version < 6; version++ {
				extra := ""
				if version == 3 { // used before it is there
					extra = "peer.state.early = true; peer.state.n ??= 0;"
				}
				plugin(version, extra)
				if err := d.Reload(t.Context(), "p"); err != nil {
					t.Fatal(err)
				}
				wants("Ask", fmt.Sprintf("v%d %d ada", version, version))
			}
			// The first version still waits for its call.
			close(o.gate)
			if got := <-held; got != "v1<nil>" {
				t.Errorf("what was in flight: %s", got)
			}
			l.wait("unloaded v1")

			plugin(6, `throw new Error("no good")`)
			if err := d.Reload(t.Context(), "p"); err == nil {
				t.Error("a version that throws was loaded")
			}
			wants("Ask", "v5 6 ada")
			if n := o.came.Load(); n != 1 {
				t.Errorf("%d connections were made, want 1", n)
			}

			if reconnect == "true" { // it comes back, as the same peer
				before := o.conn()
				_ = before.Close()
				eventually(t, "it comes back", func() bool { return o.conn() != before })
				wants("Ask", "v5 7 ada")
			}

			// A version that does not ask for it has it no more.
			write(t, dir, "p.js", `import * as amp from "amphost"; new amp.Command("Ask");`)
			if err := d.Reload(t.Context(), "p"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the connection is closed", func() bool { return o.open() == 0 })
			eventually(t, "nothing is left of it", func() bool {
				d.hub.mu.Lock()
				defer d.hub.mu.Unlock()
				return len(d.hub.dialed)+len(d.hub.links)+len(d.hub.returned) == 0
			})
		})
	}
}

// Each worker has a connection of its own, before and after a reload.
func TestWorkersConnect(t *testing.T) {
	o := newOutside(t)
	dir := t.TempDir()
	source := func(n int) string {
		return fmt.Sprintf(`import * as amp from "amphost"; // %d
export const plugin = { workers: 3 };
amp.onLoad(async () => { (await amp.connect(%q)).state.n = 1; });`, n, o.address)
	}
	write(t, dir, "p.js", source(1))
	d, _ := openDir(t, dir, &Options{Net: allowAll})
	for n := 2; n < 5; n++ {
		write(t, dir, "p.js", source(n))
		if err := d.Reload(t.Context(), "p"); err != nil {
			t.Fatal(err)
		}
	}
	if came, open := o.came.Load(), o.open(); came != 3 || open != 3 {
		t.Errorf("%d connections were made, %d are open, want 3", came, open)
	}
}

// A call that waits for its connection ends with its time, and holds up nothing
// from then on.
func TestCallsWaitForReconnection(t *testing.T) {
	p, _ := run(t, "waits", `import * as amp from "amphost";
const Echo = new amp.Command("Echo");
let peer;
amp.onLoad(async () => { peer = await amp.connect("127.0.0.1:1", { reconnect: true }); });
new amp.Command("Try", { response: { out: amp.Unicode() } }).responder(async () => {
  const c = new AbortController();
  const results = await Promise.allSettled([
    peer.callRemote(Echo, {}, { timeout: 5 }),
    peer.callRemote(Echo, {}, { signal: c.signal }),
    new Promise((ok) => setTimeout(ok, 10)).then(() => c.abort("enough")),
  ]);
  const again = await Promise.allSettled([peer.callRemote(Echo, {}, { timeout: 5 })]);
  return { out: [...results, ...again].map((r) => r.reason?.name ?? r.reason ?? r.value).join() };
});`, &Options{Net: allowAll})
	b, err := ask(t, p, "Try", nil)
	if want := "TimeoutError,enough,,TimeoutError"; err != nil || string(b["out"]) != want {
		t.Errorf("Try = %q, %v, want %q", b["out"], err, want)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// Calls that wait for a connection may share a signal: the first that fails
// gives up the others. It once ended the runtime.
func TestWaitingCallsGiveEachOtherUp(t *testing.T) {
	p, l := run(t, "waits", `import * as amp from "amphost";
const Echo = new amp.Command("Echo");
let peer;
amp.onLoad(async () => { peer = await amp.connect("127.0.0.1:1", { reconnect: true }); });
new amp.Command("Try", { response: { out: amp.Unicode() } }).responder(async () => {
  const c = new AbortController();
  const out = [];
  const calls = [1, 2, 3].map((n) => peer.callRemote(Echo, {}, { signal: c.signal }).catch((e) => { out.push(n + e.name); c.abort(); }));
  peer.loseConnection();
  await Promise.all(calls);
  return { out: out.join() };
});`, &Options{Net: allowAll})
	b, err := ask(t, p, "Try", nil)
	if want := "1ConnectionLost,2AbortError,3AbortError"; err != nil || string(b["out"]) != want {
		t.Errorf("Try = %q, %v, want %q", b["out"], err, want)
	}
	if _, err := ask(t, p, "Try", nil); err != nil {
		t.Error(err)
	}
	if strings.Contains(l.String(), "restarted") {
		t.Errorf("the plugin was restarted:\n%s", l)
	}
}

// Connections to ever other addresses leave nothing behind once they have
// ended.
func TestEndedConnectionsAreForgotten(t *testing.T) {
	p, _ := run(t, "dials", `import * as amp from "amphost";
new amp.Command("Dial", { arguments: { to: amp.Unicode() } }).responder(async ({ to }) => { (await amp.connect(to)).loseConnection(); });
new amp.Command("Wait", { arguments: { to: amp.Unicode() } }).responder(async ({ to }) => { await amp.connect(to); });`, &Options{Net: allowAll})
	known := func() int {
		p.hub.mu.Lock()
		defer p.hub.mu.Unlock()
		return max(len(p.hub.dialed), len(p.hub.links))
	}
	for i := range 200 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if nc, err := l.Accept(); err == nil {
				_ = nc.Close()
			}
		}()
		how := "Dial" // the script closes it
		if i%2 == 0 {
			how = "Wait" // the other side does
		}
		if _, err := ask(t, p, how, box("to", l.Addr().String())); err != nil {
			t.Fatal(err)
		}
		<-ended
		_ = l.Close()
	}
	if n := known(); n > 70 {
		t.Errorf("%d of 200 connections that have ended are still known", n)
	}
}

// A version whose amp.onUnload never settles takes its connections with it.
func TestUnloadThatHangsClosesConnections(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	p, _ := run(t, "hangs", strings.ReplaceAll(`import * as amp from "amphost";
amp.onLoad(async () => { await amp.connect("ADDRESS"); await amp.connect("ADDRESS", { reconnect: true }); });
amp.onUnload(async () => { await amp.dial("ADDRESS"); await new Promise(() => {}); });`, "ADDRESS", o.address),
		&Options{Net: allowAll, LoadTimeout: 2 * time.Second})
	eventually(t, "both have connected", func() bool { return o.open() == 2 })
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "all are closed", func() bool { return o.open() == 0 })
	if came := o.came.Load(); came != 3 {
		t.Errorf("%d connections were made, want 3", came)
	}
}
