package scripting

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// A call that nobody waits for any more, and that nothing is left to settle,
// does not hold up the plugin's end.
func TestForlornCallsDoNotHoldUpTheEnd(t *testing.T) {
	p, l := run(t, "hang", `import * as amp from "amphost";
new amp.Command("Hang").responder(() => { console.log("hanging"); return new Promise(() => {}); });
new amp.Command("Later", { response: { n: amp.Integer() } }).responder(async () => {
  console.log("later");
  await new Promise((ok) => setTimeout(ok, 300));
  return await amp.store.update((tx) => ({ n: tx.counter("n").next() }));
});
amp.onUnload(() => console.log("at the end", amp.store.view((tx) => tx.counter("n").value)));
`, nil)
	c, s := amp.Pipe(nil, p)
	for command, text := range map[string]string{"Hang": "msg=hanging", "Later": "msg=later"} {
		c.Go(command, nil, func(amp.Box, error) {})
		l.wait(text)
	}
	c.Close()
	<-s.Done()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Error(err)
	}
	l.wait(`msg="at the end 1"`) // what still did something was let finish
	if p.Running() != 0 {
		t.Errorf("%d calls are left", p.Running())
	}
}

// Who a peer was, and its state, can be asked when it has gone, in onDisconnect
// and in a responder that has waited, also by a version that had not asked
// before.
func TestPeersAreKnownWhenTheyHaveGone(t *testing.T) {
	source := `import * as amp from "amphost"; // VERSION
let go;
const gone = new Promise((ok) => { go = ok; });
const said = (peer) => [peer.identity?.name, peer.state.n, peer.state === peer.state].join();
new amp.Command("Login").responder((_, peer) => { peer.authenticate({ name: "ada" }); peer.state.n = 7; });
new amp.Command("Wait").responder(async (_, peer) => { console.log("waiting"); await gone; await new Promise((ok) => setTimeout(ok, 20)); peer.state.n++; console.log("afterwards", said(peer)); });
amp.onDisconnect((peer) => { console.log("disconnected", said(peer)); go(); });
`
	dir := t.TempDir()
	write(t, dir, "p.js", source)
	d, l := openDir(t, dir, nil)
	a, b := net.Pipe()
	c := amp.NewConn(a, nil, nil)
	s := amp.NewConn(b, d, nil)
	d.Connected(s)
	if _, err := callOver(t, c, "Login", nil); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "p.js", strings.Replace(source, "VERSION", "2", 1))
	if err := d.Reload(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	c.Go("Wait", nil, func(amp.Box, error) {})
	l.wait("msg=waiting")
	s.Close()
	<-s.Done()
	c.Close()
	d.Disconnected(s, io.EOF)
	l.wait(`msg="disconnected ada,7,true"`)
	l.wait(`msg="afterwards ada,8,true"`)
	eventually(t, "nothing is left", func() bool {
		d.hub.mu.Lock()
		defer d.hub.mu.Unlock()
		return len(d.hub.links) == 0
	})
}

// With workers a connection's events and calls are one worker's.
func TestWorkersKeepToTheirConnections(t *testing.T) {
	dir := t.TempDir()
	source := `import * as amp from "amphost"; // VERSION
export const plugin = { workers: 3 };
const mine = new Set();
amp.onConnect((peer) => { mine.add(peer); peer.state.calls = 0; });
amp.onDisconnect((peer) => { console.log("gone after", peer.state.calls, VERSION === 2 || mine.delete(peer)); });
new amp.Command("Call", { response: { n: amp.Integer() } }).responder((_, peer) => {
  if (VERSION === 1 && !mine.has(peer)) throw new Error("a connection of another worker");
  return { n: ++peer.state.calls };
});
`
	write(t, dir, "p.js", strings.ReplaceAll(source, "VERSION", "1"))
	d, l := openDir(t, dir, nil)
	type end struct{ c, s *amp.Conn }
	var ends []end
	call := func(want string) {
		t.Helper()
		for _, e := range ends {
			if b, err := callOver(t, e.c, "Call", nil); err != nil || string(b["n"]) != want {
				t.Errorf("Call = %q, %v, want %s\n%s", b["n"], err, want, l)
			}
		}
	}
	for range 9 {
		a, b := net.Pipe()
		e := end{c: amp.NewConn(a, nil, nil)}
		e.s = amp.NewConn(b, d, nil)
		d.Connected(e.s)
		ends = append(ends, e)
	}
	call("1")
	call("2")
	write(t, dir, "p.js", strings.ReplaceAll(source, "VERSION", "2"))
	if err := d.Reload(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	call("3") // the state has moved with its connection
	for _, e := range ends {
		e.c.Close()
		<-e.s.Done()
		d.Disconnected(e.s, io.EOF)
	}
	eventually(t, "all are told of", func() bool { return strings.Count(l.String(), `msg="gone after 3 true"`) == 9 })
}

// A connection whose box receiver the new version does not have is closed.
func TestBoxReceiverIsGone(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "r.js", `import * as amp from "amphost"; amp.boxReceiver("reflect", (sender) => ({ ampBoxReceived(box) { sender.sendBox(box); } }));`)
	d, _ := openDir(t, dir, nil)
	a, b := net.Pipe()
	defer a.Close()
	conn := amp.NewBoxConn(b, d.Receiver("reflect"), nil)
	write(t, dir, "r.js", `import * as amp from "amphost";`)
	if err := d.Reload(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	data, _ := box("k", "v").Append(nil)
	if _, err := a.Write(data); err != nil {
		t.Fatal(err)
	}
	select {
	case <-conn.Done():
	case <-time.After(5 * time.Second):
		t.Error("the connection stays")
	}
}

// Versions that were replaced leave nothing behind: with what they had of
// connections, timers, stores, peers and calls.
func TestReloadsLeaveNothingBehind(t *testing.T) {
	rounds := 80
	if os.Getenv("AMPHOST_LONG") != "" {
		rounds = 1000
	}
	o := newOutside(t)
	dir := t.TempDir()
	source := func(n int) string {
		return fmt.Sprintf(`import * as amp from "amphost";
const Echo = new amp.Command("Echo", { response: { version: amp.Unicode() } });
const ballast = new Uint8Array(200_000).fill(%[1]d);
let kept;
amp.onLoad(async (saved) => { kept = await amp.connect(%[2]q, { reconnect: true }); await amp.connect(%[2]q); });
amp.hot.save(() => ({ n: ballast.length }));
amp.onConnect((peer) => { peer.state.hello = 1; });
amp.store.watch("", () => ballast.length);
setInterval(() => ballast.length, 1000);
setTimeout(() => ballast.length, 5);
new amp.Command("Version", { response: { version: amp.Unicode() } }).responder(() => ({ version: "%[1]d" }));
new amp.Command("Use", { response: { version: amp.Unicode() } }).responder(async (_, peer) => {
  peer.state.n = (peer.state.n ?? 0) + 1;
  await amp.store.update((tx) => tx.put("k", peer.state.n));
  new Promise((ok, no) => setTimeout(ok, 1));
  return await kept.callRemote(Echo);
});`, n, o.address)
	}
	write(t, dir, "p.js", source(0))
	d, l := openDir(t, dir, &Options{Net: allowAll})
	c, s := amp.Pipe(nil, d)
	defer s.Close()
	defer c.Close()
	d.Connected(s)
	heap := func() uint64 {
		eventually(t, "the old versions have ended", func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return len(d.retired) == 0
		})
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var before uint64
	var goroutines int
	for n := 1; n <= rounds; n++ {
		write(t, dir, "p.js", source(n))
		if err := d.Reload(t.Context(), "p"); err != nil {
			t.Fatal(err)
		}
		if b, err := callOver(t, c, "Use", nil); err != nil || string(b["version"]) != fmt.Sprint(n) {
			t.Fatalf("Use = %q, %v\n%s", b["version"], err, l)
		}
		l.reset()
		if n == 30 {
			before, goroutines = heap(), runtime.NumGoroutine()
		}
	}
	after := heap()
	t.Logf("%d versions: heap %d to %d KiB, goroutines %d to %d", rounds, before>>10, after>>10, goroutines, runtime.NumGoroutine())
	if after > before+2<<20 {
		t.Errorf("the heap has grown from %d to %d KiB in %d versions", before>>10, after>>10, rounds-30)
	}
	if n := runtime.NumGoroutine(); n > goroutines+5 {
		t.Errorf("there are %d goroutines, %d before", n, goroutines)
	}
	if n := o.came.Load(); n != 2 {
		t.Errorf("%d connections were made, want 2", n)
	}
}

// A box receiver that sends more than its peer reads costs that peer its
// connection, and not the process its memory.
func TestBoxesThatNobodyReads(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "r.js", `import * as amp from "amphost";
amp.boxReceiver("flood", (sender) => {
  const timer = setInterval(() => { for (let i = 0; i < 20; i++) sender.sendBox({ k: Buffer.alloc(60000) }); }, 1);
  return { stopReceivingBoxes() { clearInterval(timer); console.log("it has ended"); } };
});`)
	d, l := openDir(t, dir, nil)
	a, b := net.Pipe()
	defer a.Close()
	conn := amp.NewBoxConn(b, d.Receiver("flood"), &amp.Options{MaxUnwritten: 1 << 20, WriteTimeout: time.Hour, Logger: l.logger(0)})
	select {
	case <-conn.Done():
	case <-time.After(30 * time.Second):
		t.Error("the peer reads nothing, and its connection goes on")
		conn.Close()
	}
	l.wait("the peer does not read")
	l.wait("it has ended")
}
