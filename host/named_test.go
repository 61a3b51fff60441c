package host_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

// serveNamed has h listen with a name, and checks that ServeNamed ends as it
// should.
func serveNamed(t *testing.T, h *host.Host, network, address, name string) net.Addr {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.ServeNamed(l, name) }() // ends with Shutdown; the cleanup waits
	t.Cleanup(func() {
		h.Shutdown(context.Background())
		if err := <-served; !errors.Is(err, amp.ErrServerClosed) {
			t.Errorf("ServeNamed = %v, want ErrServerClosed", err)
		}
	})
	return l.Addr()
}

// connect opens a raw connection.
func connect(t *testing.T, addr net.Addr) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return nc, bufio.NewReader(nc)
}

const namedPlugin = `import * as amp from "amphost";
amp.boxReceiver("reflect", (sender) => ({
  ampBoxReceived(box) { sender.sendBox({ ...box, listener: sender.peer.listener, peers: String(amp.peers().length) }); },
  stopReceivingBoxes(reason) { console.log("boxes end:", reason.name); },
}));
amp.protocol("upper", (transport) => ({
  dataReceived(data) { transport.write(data.toString().toUpperCase()); },
  connectionLost(reason) { console.log("bytes end:", reason.name); },
}));
`

func TestNamedListeners(t *testing.T) {
	dir := t.TempDir()
	h, log := newHost(t, host.Config{Plugins: dir, Watch: true})
	reflect := serveNamed(t, h, "tcp", "127.0.0.1:0", "reflect")
	upper := serveNamed(t, h, "unix", filepath.Join(t.TempDir(), "u"), "upper")

	// Nobody is there yet.
	for _, addr := range []net.Addr{reflect, upper} {
		_, r := connect(t, addr)
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("%s: %v, want the connection closed", addr, err)
		}
	}
	for _, name := range []string{"reflect", "upper"} {
		log.await(t, fmt.Sprintf(`no plugin has amp.boxReceiver(\"%s\", …) or amp.protocol(\"%s\", …)`, name, name))
	}
	if n := strings.Count(log.String(), "connection closed:"); n != 2 {
		t.Errorf("%d lines for two connections:\n%s", n, log)
	}

	writePlugin(t, dir, "named.js", namedPlugin)
	log.await(t, "plugin loaded")
	box, r := connect(t, reflect)
	data, err := amp.Box{"_command": []byte("Sum"), "k": {0xff}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := box.Write(data); err != nil {
		t.Fatal(err)
	}
	got, err := amp.ReadBox(r)
	if err != nil || string(got["_command"]) != "Sum" || string(got["k"]) != "\xff" || string(got["listener"]) != "reflect" || string(got["peers"]) != "0" {
		t.Errorf("the box receiver sent %q, %v", got, err)
	}
	raw, rawReader := connect(t, upper)
	if _, err := io.WriteString(raw, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := rawReader.ReadString('\n'); line != "HELLO\n" {
		t.Errorf("the protocol sent %q, %v", line, err)
	}

	// Both take part in the end.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for _, r := range []*bufio.Reader{r, rawReader} {
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("after Shutdown: %v", err)
		}
	}
	for _, end := range []string{"boxes end: ConnectionLost", "bytes end: ConnectionLost"} {
		log.await(t, end)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.ServeNamed(l, "reflect"); !errors.Is(err, amp.ErrServerClosed) {
		t.Errorf("ServeNamed after Shutdown: %v", err)
	}
}

// amp.call reaches what the embedding program answers, also while a plugin
// loads.
func TestScriptsCallGoCommands(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "calls.js", `import * as amp from "amphost";
const Go = new amp.Command("Go", { arguments: { n: amp.Integer() }, response: { n: amp.Integer() }, errors: { ODD: class Odd extends Error {} } });
const Local = new amp.Command("Local", { response: { n: amp.Integer() } });
let early;
amp.onLoad(async () => { early = (await amp.call(Go, { n: 20 })).n; });
Local.responder(() => ({ n: early }));
new amp.Command("Try", { response: { out: amp.Unicode() } }).responder(async () => {
  const out = [(await amp.call(Go, { n: 2 })).n, (await amp.call(Local)).n];
  await amp.call(Go, { n: 1 }).catch((e) => out.push(e.constructor.name, e.message));
  await amp.call(Missing).catch((e) => out.push(e.name));
  return { out: out.join(" ") };
});
const Missing = new amp.Command("Missing");
`)
	var commands amp.Mux
	commands.HandleFunc("Go", func(_ context.Context, args amp.Box) (amp.Box, error) {
		if string(args["n"]) == "1" {
			return nil, &amp.Error{Code: "ODD", Description: "one is odd"}
		}
		return amp.Box{"n": append(args["n"], '0')}, nil
	})
	h, log := newHost(t, host.Config{Plugins: dir, Commands: &commands})
	got, err := amp.Ask(t.Context(), h, "Try", nil)
	if want := "20 200 Odd one is odd UnhandledCommand"; err != nil || string(got["out"]) != want {
		t.Errorf("Try = %q, %v, want %q\n%s", got["out"], err, want, log)
	}
}

func TestAllowNet(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	dir := t.TempDir()
	plugin := `import * as amp from "amphost";
new amp.Command("NAME", { arguments: { to: amp.Unicode() }, response: { out: amp.Unicode() } }).responder(async ({ to }) => {
  try { (await amp.dial(to)).loseConnection(); return { out: "connected" }; } catch (e) { return { out: e.name + ": " + e.message }; }
});`
	for _, name := range []string{"one", "any", "loop", "none"} {
		writePlugin(t, dir, name+".js", strings.ReplaceAll(plugin, "NAME", name))
	}
	h, _ := newHost(t, host.Config{Plugins: dir, AllowNet: map[string][]string{
		"one":  {"*.example.com:443", "127.0.0.1:" + port, "unix:/nowhere/a"},
		"any":  {"*:*"},
		"loop": {"localhost:*", "127.0.0.0/8:" + port},
	}})
	const refused = "TypeError: "
	for _, c := range []struct{ plugin, to, want string }{
		{"one", "127.0.0.1:" + port, "connected"},
		{"one", "tcp://[::ffff:127.0.0.1]:" + port, "connected"},
		{"loop", "localhost:" + port, "connected"},
		{"loop", "127.0.0.1:" + port, "connected"},
		{"loop", "127.0.0.1:1", refused},
		// Private and loopback addresses are named, or not reached: not by any
		// pattern, and not by a name either.
		{"any", "127.0.0.1:" + port, refused + "any may not connect to 127.0.0.1:" + port + ": it has no permission; --allow-net any=127.0.0.1:" + port + " gives it"},
		{"any", "localhost:" + port, refused + "any may not connect to localhost:" + port + ": it is "},
		{"any", "169.254.169.254:80", refused},
		{"any", "[fe80::1%lo]:80", refused},
		{"one", "127.0.0.1:1", refused + "one may not connect to 127.0.0.1:1: it has no permission; --allow-net one=127.0.0.1:1 gives it"},
		{"one", "example.com:443", refused},
		{"one", "evilexample.com:443", refused},
		{"one", "x.example.com:80", refused},
		{"one", "unix:/nowhere/../nowhere/a", "ConnectionLost: dial unix /nowhere/a"},
		{"one", "unix:/nowhere/b", refused + "one may not connect to unix:/nowhere/b"},
		{"none", "127.0.0.1:" + port, refused + "none may not connect to 127.0.0.1:" + port},
		{"any", "unix:/nowhere/a", refused},
	} {
		b, err := amp.Ask(t.Context(), h, c.plugin, amp.Box{"to": []byte(c.to)})
		if err != nil || !strings.HasPrefix(string(b["out"]), c.want) {
			t.Errorf("%s connects to %s: %q, %v, want %q", c.plugin, c.to, b["out"], err, c.want)
		}
	}
	for _, pattern := range []string{"", "example.com", "a*b:1", "*.*.com:1", ":80", "x:", "unix:", "10.0.0.0/33:1", "x:http"} {
		if _, err := host.New(t.Context(), host.Config{Plugins: dir, AllowNet: map[string][]string{"one": {pattern}}}); err == nil || !strings.Contains(err.Error(), "HOST:PORT") {
			t.Errorf("AllowNet %q: %v", pattern, err)
		}
	}
}
