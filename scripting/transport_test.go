package scripting

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amphost/amphost/amp"
)

const rawSource = `import * as amp from "amphost";
amp.protocol("upper", (transport) => {
  console.log("open", typeof transport.remoteAddress);
  return {
    dataReceived(data) {
      const text = data.toString();
      if (text.includes("boom")) throw new Error("no good");
      if (text.includes("quit")) { transport.write("bye\n"); transport.loseConnection(); transport.write("never").catch((e) => console.log("after:", e.name)); return; }
      if (text.includes("many")) { let n = 0; const next = () => n++ < 5 ? transport.write(n + "\n").then(next) : undefined; next(); return; }
      transport.write(VERSION + text.toUpperCase());
    },
    connectionLost(reason) { console.log("lost", reason.name, reason.message); },
  };
});
class No extends Error {}
const Switch = new amp.ProtocolSwitchCommand("Switch", { arguments: { to: amp.Unicode() }, errors: { NO: No } });
Switch.responder(({ to }) => { if (to === "no") throw new No("not now"); return to; });
new amp.Command("Ping").responder(() => {});
`

// line writes a line and reads one.
func line(t *testing.T, nc net.Conn, r *bufio.Reader, text string) string {
	t.Helper()
	if err := nc.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	got, err := r.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return got
}

// A raw connection stays with its version.
func TestProtocol(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "raw.js", strings.ReplaceAll(rawSource, "VERSION", `"1:"`))
	d, l := openDir(t, dir, nil)
	open := func() (net.Conn, *bufio.Reader) {
		a, b := net.Pipe()
		if !d.ServeRaw("upper", b) {
			t.Fatal("no such protocol")
		}
		t.Cleanup(func() { a.Close() })
		return a, bufio.NewReader(a)
	}
	old, oldReader := open()
	if got := line(t, old, oldReader, "hello\n"); got != "1:HELLO\n" {
		t.Errorf("got %q", got)
	}
	write(t, dir, "raw.js", strings.ReplaceAll(rawSource, "VERSION", `"2:"`))
	if err := d.Reload(t.Context(), "raw"); err != nil {
		t.Fatal(err)
	}
	nc, r := open()
	if a, b := line(t, old, oldReader, "a\n"), line(t, nc, r, "b\n"); a != "1:A\n" || b != "2:B\n" {
		t.Errorf("after a reload: %q, %q", a, b)
	}
	line(t, nc, r, "many\n")
	for i := 2; i <= 5; i++ {
		if _, err := r.ReadString('\n'); err != nil {
			t.Errorf("line %d: %v", i, err)
		}
	}
	if got := line(t, nc, r, "quit\n"); got != "bye\n" {
		t.Errorf("got %q", got)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after loseConnection: %v", err)
	}
	l.wait("after: ConnectionLost")
	l.wait("lost ConnectionLost")
	if got := line(t, old, oldReader, "boom\n"); got != "EOF" {
		t.Errorf("after a handler has thrown: %q", got)
	}
	l.wait("Error: no good")
	a, b := net.Pipe()
	defer a.Close()
	if d.ServeRaw("nope", b) {
		t.Error("a protocol that nobody has")
	}
}

func TestProtocolSwitch(t *testing.T) {
	p, _ := run(t, "raw", strings.ReplaceAll(rawSource, "VERSION", `""`), nil)
	a, b := net.Pipe()
	server := amp.NewConn(b, p, nil)
	defer server.Close()
	c := amp.NewConn(a, nil, nil)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for to, want := range map[string]string{"no": "NO", "unknown": "UNKNOWN"} {
		if _, err := c.Switch(ctx, "Switch", box("to", to)); codeOf(err) != want {
			t.Errorf("Switch(%s): %v", to, err)
		}
	}
	if _, err := c.Call(ctx, "Ping", nil); err != nil {
		t.Errorf("AMP goes on: %v", err)
	}
	nc, err := c.Switch(ctx, "Switch", box("to", "upper"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := line(t, nc, bufio.NewReader(nc), "hi\n"); got != "HI\n" {
		t.Errorf("got %q", got)
	}
}

// The plugin is the one that asks for the switch.
func TestCallSwitch(t *testing.T) {
	p, l := run(t, "asks", `import * as amp from "amphost";
const Switch = new amp.ProtocolSwitchCommand("Switch");
amp.protocol("client", (transport) => { transport.write("hello\n"); return { dataReceived(d) { console.log("got", d.toString().trim()); } }; });
const Go = new amp.Command("Go", { requiresAnswer: false });
Go.responder((_, peer) => { peer.callRemote(Switch, {}, { protocol: "client" }).then(() => console.log("switched")); });
`, nil)
	a, b := net.Pipe()
	server := amp.NewConn(b, p, nil)
	defer server.Close()
	lines := make(chan string, 1)
	c := amp.NewConn(a, amp.HandlerFunc(func(r *amp.Request) {
		r.Pause()
		r.Switch(func(nc net.Conn) {
			s, _ := bufio.NewReader(nc).ReadString('\n')
			_, _ = io.WriteString(nc, "welcome\n")
			lines <- s
			nc.Close()
		})
	}), nil)
	defer c.Close()
	if err := c.Send(t.Context(), "Go", nil); err != nil {
		t.Fatal(err)
	}
	if got := <-lines; got != "hello\n" {
		t.Errorf("got %q", got)
	}
	l.wait("got welcome")
	l.wait("switched")
}

// A box receiver's connections move to the new version between two boxes.
func TestBoxReceiver(t *testing.T) {
	source := `import * as amp from "amphost";
amp.boxReceiver("reflect", (sender) => {
  console.log("start", sender.peer.listener);
  return {
    ampBoxReceived(box) { if (box.long) { for (const bad of [{ k: Buffer.alloc(65536) }, { ["k".repeat(256)]: "" }, { "": "" }, { k: 5 }, { "☃": "" }, null]) try { sender.sendBox(bad); console.log("sent"); } catch (e) { console.log("refused", e.name, e.message); } } if (box.stop) return sender.loseConnection(); sender.sendBox(Object.keys(box).length ? { ...box, v: "VERSION" } : box); },
    stopReceivingBoxes(reason) { console.log("stop", reason.name); },
  };
});`
	dir := t.TempDir()
	write(t, dir, "r.js", strings.ReplaceAll(source, "VERSION", "1"))
	d, l := openDir(t, dir, nil)
	a, b := net.Pipe()
	defer a.Close()
	conn := amp.NewBoxConn(b, d.Receiver("reflect"), nil)
	defer conn.Close()
	r := bufio.NewReader(a)
	send := func(in amp.Box) amp.Box {
		t.Helper()
		data, err := in.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write(data); err != nil {
			t.Fatal(err)
		}
		out, err := amp.ReadBox(r)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := send(box("_command", "x", "\xff", "\x00")); string(got["v"]) != "1" || string(got["_command"]) != "x" || string(got["\xff"]) != "\x00" {
		t.Errorf("got %q", got)
	}
	if got := send(box("long", "")); string(got["v"]) != "1" {
		t.Errorf("got %q", got)
	}
	for _, why := range []string{`\"k\": 65536 bytes long`, "1 to 255 characters", `\"\"`, `\"k\": 5 is not a Buffer`, `\"☃\"`, "sendBox takes an object"} {
		l.wait("refused TypeError")
		l.wait(why)
	}
	if strings.Contains(l.String(), "msg=sent") {
		t.Errorf("a box was sent that can't be:\n%s", l)
	}
	if got := send(amp.Box{}); len(got) != 0 {
		t.Errorf("the empty box came back as %q", got)
	}
	write(t, dir, "r.js", strings.ReplaceAll(source, "VERSION", "2"))
	if err := d.Reload(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	if got := send(box("k", "v")); string(got["v"]) != "2" {
		t.Errorf("after a reload: %q", got)
	}
	l.wait("start reflect")
	data, _ := box("stop", "now").Append(nil)
	if _, err := a.Write(data); err != nil {
		t.Fatal(err)
	}
	if _, err := amp.ReadBox(r); err != io.EOF {
		t.Errorf("after loseConnection: %v", err)
	}
	l.wait("stop ConnectionLost")
	if d.Receiver("nope") != nil {
		t.Error("a box receiver that nobody has")
	}
}

// Who sends boxes and takes none is not read any further, so that what waits
// for it stays within bounds; and another one notices nothing.
func TestBoxReceiverIsHeldBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "r.js", `import * as amp from "amphost";
amp.boxReceiver("reflect", (sender) => ({ ampBoxReceived(box) { sender.sendBox(box); } }));
new amp.Command("Fine").responder(() => {});`)
	d, _ := openDir(t, dir, nil)
	a, b := net.Pipe()
	defer a.Close()
	conn := amp.NewBoxConn(b, d.Receiver("reflect"), &amp.Options{MaxUnwritten: 100_000})
	defer conn.Close()
	data, err := amp.Box{"k": make([]byte, 10_000)}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for ; sent < 1000; sent++ {
		if err := a.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write(data); err != nil {
			break
		}
	}
	if sent == 0 || sent > 300 {
		t.Errorf("%d boxes were taken of a peer that takes none", sent)
	}
	if _, err := ask(t, d, "Fine", nil); err != nil {
		t.Error(err)
	}
	r := bufio.NewReader(a)
	for i := range sent {
		if _, err := amp.ReadBox(r); err != nil {
			t.Fatalf("box %d of %d: %v", i, sent, err)
		}
	}
}

// A plugin that is stopped closes raw connections over which nothing passes,
// also those of a version that was replaced, and gives others time.
func TestStopWaitsForRawConnections(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "raw.js", strings.ReplaceAll(rawSource, "VERSION", `"1:"`))
	d, l := openDir(t, dir, nil)
	open := func() (net.Conn, *bufio.Reader) {
		a, b := net.Pipe()
		if !d.ServeRaw("upper", b) {
			t.Fatal("no such protocol")
		}
		t.Cleanup(func() { a.Close() })
		return a, bufio.NewReader(a)
	}
	old, oldReader := open()
	line(t, old, oldReader, "a\n")
	write(t, dir, "raw.js", strings.ReplaceAll(rawSource, "VERSION", `"2:"`))
	if err := d.Reload(t.Context(), "raw"); err != nil {
		t.Fatal(err)
	}
	idle, idleReader := open()
	line(t, idle, idleReader, "a\n")
	busy, busyReader := open()
	line(t, busy, busyReader, "a\n")
	start := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- d.Stop(t.Context()) }()
	for time.Since(start) < 2*lull {
		if got := line(t, busy, busyReader, "still here\n"); got != "2:STILL HERE\n" {
			t.Fatalf("a busy connection got %q after %v\n%s", got, time.Since(start), l)
		}
		time.Sleep(lull / 50) // not to wait: to be busy and no more
	}
	for _, r := range []*bufio.Reader{oldReader, idleReader, busyReader} {
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("an idle connection: %v", err)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Who makes a script send and takes nothing is not read any further.
func TestRawConnectionIsHeldBack(t *testing.T) {
	t.Parallel()
	p, _ := run(t, "echo", `import * as amp from "amphost";
amp.protocol("echo", (transport) => ({ dataReceived(data) { transport.write(data); } }));
new amp.Command("Fine").responder(() => {});`, nil)
	a, b := net.Pipe()
	defer a.Close()
	if !p.ServeRaw("echo", b) {
		t.Fatal("no such protocol")
	}
	data, sent := make([]byte, 32<<10), 0
	for ; sent < 1000; sent++ {
		if err := a.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write(data); err != nil {
			break
		}
	}
	if sent == 0 || sent > 50 {
		t.Errorf("%d pieces were taken of a peer that takes none", sent)
	}
	if _, err := ask(t, p, "Fine", nil); err != nil {
		t.Error(err)
	}
	if _, err := io.CopyN(io.Discard, a, int64(sent*len(data))); err != nil {
		t.Error(err)
	}
}

// A halfClosed is a connection whose other end sends nothing more, and takes
// nothing either.
type halfClosed struct{ net.Conn }

func (halfClosed) Read([]byte) (int, error) { return 0, io.EOF }

// A peer that closes its half of a raw connection and takes nothing does not
// keep the plugin for ever.
func TestHalfClosedRawConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := run(t, "half", `import * as amp from "amphost";
amp.protocol("hello", (transport) => { transport.write("hello"); return {}; });`, nil)
		a, b := net.Pipe()
		defer a.Close()
		if !p.ServeRaw("hello", halfClosed{b}) {
			t.Fatal("no such protocol")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		if err := p.Stop(ctx); err != nil || time.Since(start) > 2*lastWrite {
			t.Errorf("stopped after %v: %v", time.Since(start), err)
		}
	})
}
