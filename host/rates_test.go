package host_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

// pipeline makes so many calls at once, and returns how many were answered and
// how many refused with OVERLOADED.
func pipeline(t *testing.T, c *amp.Conn, command string, n int) (answered, overloaded int) {
	t.Helper()
	done := make(chan error, n)
	for range n {
		c.Go(command, nil, func(_ amp.Box, err error) { done <- err })
	}
	for range n {
		switch err := <-done; {
		case err == nil:
			answered++
		case errors.Is(err, amp.ErrOverloaded):
			overloaded++
		default:
			t.Fatal(err)
		}
	}
	return answered, overloaded
}

// Who calls too often over one connection is read no faster than that, and
// everything is answered.
func TestRatePerConnectionIsBackPressure(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "a.js", word("A", "hello"))
	h, _ := newHost(t, host.Config{Plugins: dir, MaxCallsPerConn: 100})
	addr := serve(t, h)
	start := time.Now()
	answered, overloaded := pipeline(t, dial(t, addr), "A", 150)
	if took := time.Since(start); took < 450*time.Millisecond {
		t.Errorf("150 calls took %v: 100 at once and 100 a second are allowed", took)
	}
	if st := h.Stats(); answered != 150 || overloaded != 0 || st.HeldBack == 0 || st.Limited != 0 {
		t.Errorf("%d answered, %d overloaded, %+v", answered, overloaded, st)
	}
	// Another connection has not lost anything by it.
	if answered, _ := pipeline(t, dial(t, addr), "A", 50); answered != 50 {
		t.Errorf("%d answered", answered)
	}
}

// Connections from one address share its rate, those that call one command that
// of the command; what can't be held back any more is refused, and counted.
func TestRatesThatConnectionsShare(t *testing.T) {
	for what, cfg := range map[string]host.Config{"address": {MaxCallsPerAddr: 5}, "command": {MaxCallsPerCommand: 5}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cfg.Plugins = t.TempDir()
			writePlugin(t, cfg.Plugins, "a.js", word("A", "hello")+word("B", "hello")[len(`import * as amp from "amphost";`):])
			h, _ := newHost(t, cfg)
			addr := serve(t, h)
			answered, overloaded := 0, 0
			begin := time.Now()
			const conns = 30
			type result struct{ answered, overloaded int }
			results := make(chan result, conns)
			for range conns {
				c := dial(t, addr)
				go func() { // ends with its call
					a, o := pipeline(t, c, "A", 1)
					results <- result{a, o}
				}()
			}
			for range conns {
				r := <-results
				answered, overloaded = answered+r.answered, overloaded+r.overloaded
			}
			most := 5 + 5 + 5*int(time.Since(begin)/time.Second+1)
			if st := h.Stats(); answered < 5 || answered > most || overloaded == 0 || int(st.Limited) != overloaded || int(st.Failed["OVERLOADED"]) != overloaded || int(st.Answered) != answered {
				t.Errorf("%d of %d calls were answered, %d refused; %+v", answered, conns, overloaded, st)
			}
			b, _ := pipeline(t, dial(t, addr), "B", 1)
			if want := map[string]int{"address": 0, "command": 1}[what]; b != want && time.Since(begin) < time.Second {
				t.Errorf("B: %d answered, want %d", b, want)
			}
		})
	}
}

const configured = `import * as amp from "amphost";
new amp.Command("Greeting", { response: { text: amp.Unicode() } }).responder(() => ({ text: amp.plugin.config.greeting }));
new amp.Command("Home", { response: { text: amp.Unicode() } }).responder(() => {
  try { return { text: "it is " + typeof amp.env.HOME }; } catch { return { text: "no" }; }
});`

// What can change while a host serves does, and connections stay.
func TestReconfigure(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "a.js", configured)
	writePlugin(t, dir, "b.js", word("B", "hello"))
	cfg := host.Config{Plugins: dir}
	tell := func(greeting any) {
		cfg.Script.Config = map[string]map[string]any{"a": {"greeting": greeting}}
	}
	tell("hi")
	h, log := newHost(t, cfg)
	addr := serve(t, h)
	c := dial(t, addr)
	says := func(command, want string) {
		t.Helper()
		box, err := c.Call(t.Context(), command, nil)
		if err != nil || string(box["text"]) != want {
			t.Errorf("%s = %q, %v, want %q", command, box["text"], err, want)
		}
	}
	says("Greeting", "hi")
	says("Home", "no")

	tell("good day")
	cfg.AllowEnv = map[string][]string{"a": {"HOME"}}
	cfg.MaxConns = 1
	cfg.MaxCallsPerConn = 1_000_000
	if err := h.Reconfigure(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	says("Greeting", "good day")
	says("Home", "it is string")
	log.await(t, `changed="its configuration"`)
	for _, p := range h.Plugins() {
		if want := map[string]int{"a": 2, "b": 1}[p.Name]; p.Generation != want {
			t.Errorf("%s is at generation %d, want %d", p.Name, p.Generation, want)
		}
	}
	if _, err := dial(t, addr).Call(t.Context(), "B", nil); err == nil {
		t.Error("a second connection was accepted")
	}
	if st := h.Stats(); st.Refused != 1 {
		t.Errorf("%+v", st)
	}

	// The same once more changes nothing.
	if err := h.Reconfigure(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	// What makes no sense changes nothing either.
	cfg.AllowNet = map[string][]string{"a": {"nonsense"}}
	tell("never")
	if err := h.Reconfigure(t.Context(), cfg); err == nil {
		t.Error("nonsense is taken")
	}
	says("Greeting", "good day")
	if g := h.Plugins()[0].Generation; g != 2 {
		t.Errorf("generation %d", g)
	}

	// A plugin that does not load with its new table goes on with the old one.
	cfg.AllowNet = nil
	tell("not with a colon:")
	writePlugin(t, dir, "a.js", configured+`
amp.onLoad(() => { if (amp.plugin.config.greeting.includes(":")) throw new Error("no colons"); });`)
	if err := h.Reconfigure(t.Context(), cfg); err == nil {
		t.Error("a plugin that does not load is no error")
	}
	says("Greeting", "good day")
	tell("again")
	if err := h.Reconfigure(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	says("Greeting", "again")
}

// Rules change for the connections that are there.
func TestSetListener(t *testing.T) {
	h := threePlugins(t)
	l, addr := listenFor(t, h, host.Listener{Rules: host.Rules{Refuse: []string{"A"}}})
	c := dial(t, addr)
	if got := codes(t, c); got != "FORBIDDEN ok ok ok" {
		t.Error(got)
	}
	if err := h.SetListener(l, host.Listener{Rules: host.Rules{Refuse: []string{"B"}}, Plugins: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	if got := codes(t, c); got != "ok FORBIDDEN UNHANDLED UNHANDLED" {
		t.Error(got)
	}
	for _, bad := range []host.Listener{{Name: "x"}, {Rules: host.Rules{Allow: []string{"["}}}} {
		if err := h.SetListener(l, bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if got := codes(t, c); got != "ok FORBIDDEN UNHANDLED UNHANDLED" {
		t.Error(got)
	}
	if st := h.Stats(); st.Failed["FORBIDDEN"] != 3 || st.Failed["UNHANDLED"] != 4 {
		t.Errorf("%+v", st)
	}
}

// A client that begins no TLS handshake holds up neither others nor the end.
func TestRawConnectionsOverTLS(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "p.js", `import * as amp from "amphost"; amp.protocol("echo", (t) => ({ dataReceived(d) { t.write(d); } }));`)
	h, _ := newHost(t, host.Config{Plugins: dir, Conn: amp.Options{HandshakeTimeout: time.Hour}})
	a := newAuthority(t)
	addr := serveListener(t, h, a.serverConfig(t), host.Listener{Name: "echo"})
	silent, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	nc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: a.pool, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.Write([]byte("one\n"))
	if line, err := bufio.NewReader(nc).ReadString('\n'); line != "one\n" {
		t.Error(line, err)
	}
}

// Connections of a raw protocol count until they are closed.
func TestRawConnectionsCount(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "p.js", `import * as amp from "amphost"; amp.protocol("echo", (t) => ({ dataReceived(d) { t.write(d); } }));`)
	h, _ := newHost(t, host.Config{Plugins: dir, MaxConns: 1})
	addr := serveNamed(t, h, "tcp", "127.0.0.1:0", "echo")
	first, r := connect(t, addr)
	first.Write([]byte("one\n"))
	if line, err := r.ReadString('\n'); line != "one\n" {
		t.Fatal(line, err)
	}
	second, r := connect(t, addr)
	second.Write([]byte("two\n"))
	if line, err := r.ReadString('\n'); err == nil {
		t.Errorf("a second one gets %q", line)
	}
	first.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for h.Stats().Conns > 0 {
		if ctx.Err() != nil {
			t.Fatalf("it still counts: %+v", h.Stats())
		}
		time.Sleep(time.Millisecond)
	}
	third, r := connect(t, addr)
	third.Write([]byte("three\n"))
	if line, err := r.ReadString('\n'); line != "three\n" {
		t.Error(line, err)
	}
}
