package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
)

// A limited is a host with one limit set as --limit has it, and two plugins.
type limited struct {
	*testing.T
	host *host.Host
	addr string
	log  output

	accepted chan net.Conn // the first, where the listener is no other's
}

const limitPlugin = `import * as amp from "amphost";
const data = { data: amp.String() };
new amp.Command("Echo", { arguments: data, response: data }).responder(({ data }) => ({ data }));
new amp.Command("Never").responder(() => new Promise(() => {}));
new amp.Command("Spin", { arguments: { ms: amp.Integer() } }).responder(({ ms }) => { for (const end = Date.now() + ms; Date.now() < end;); return {}; });
new amp.Command("Deep", { arguments: { n: amp.Integer() } }).responder(({ n }) => { const f = (n) => n > 0 ? 1 + f(n - 1) : 0; f(n); return {}; });
new amp.Command("Timers", { arguments: { n: amp.Integer() } }).responder(({ n }) => { for (let i = 0; i < n; i++) setTimeout(() => {}, 1e9); return {}; });
new amp.Command("Log", { arguments: { n: amp.Integer() } }).responder(({ n }) => { for (let i = 0; i < n; i++) console.log("line", i); return {}; });
new amp.Command("Out", { arguments: { n: amp.Integer() } }).responder(async ({ n }) => {
  let last;
  for (let i = 0; i < n; i++) (last = amp.call("Never")).catch(() => {});
  await Promise.race([last, new Promise((ok) => setTimeout(ok, 50))]);
  return {};
});
new amp.Command("Fill", { arguments: { n: amp.Integer() } }).responder(({ n }) => { globalThis.kept ??= []; for (let i = 0; i < n; i++) kept.push("x".repeat(1000) + i); return {}; });
new amp.Command("Fetch", { arguments: { url: amp.Unicode() } }).responder(async ({ url }) => { await (await fetch(url)).text(); return {}; });
new amp.Command("Dial", { arguments: { to: amp.Unicode() } }).responder(async ({ to }) => { await amp.connect(to); return {}; });
`

// newLimited starts a host with a limit, such as "box=1KiB".
func newLimited(t *testing.T, limit string, listen func(net.Listener) net.Listener) *limited {
	t.Helper()
	l := &limited{T: t}
	dir := t.TempDir()
	write(t, limitPlugin, dir, "p.js")
	write(t, `import * as amp from "amphost";
export const plugin = { workers: 64 };
const id = Math.random().toString();
new amp.Command("Other", { response: { id: amp.Unicode() } }).responder(() => ({ id }));`, dir, "q.js")
	given := make(limits)
	if limit != "" {
		if err := given.Set(limit); err != nil {
			t.Fatal(err)
		}
	}
	config := host.Config{Plugins: dir, Logger: slog.New(slog.NewTextHandler(&l.log, nil)), AllowNet: map[string][]string{"p": {"127.0.0.1:*", "localhost:*", "10.0.0.0/8:*"}}}
	given.apply(&config)
	var err error
	if l.host, err = host.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.addr = nl.Addr().String()
	if listen != nil {
		nl = listen(nl)
	} else {
		l.accepted = make(chan net.Conn, 1)
		nl = tappedListener{nl, l.accepted}
	}
	served := make(chan error, 1)
	go func() { served <- l.host.Serve(nl) }() // ends with Shutdown
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond) // some calls never end
		defer cancel()
		_ = l.host.Shutdown(ctx)
		<-served
	})
	return l
}

// A tappedListener tells of the first connection.
type tappedListener struct {
	net.Listener
	accepted chan net.Conn
}

func (l tappedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	select {
	case l.accepted <- nc:
	default:
	}
	return nc, err
}

// hasSet checks what the kernel was told of a connection: an option of TCP.
func (l *limited) hasSet(option, want int) {
	l.Helper()
	l.is("", l.dial(), "Other", "", nil) // so it is served
	raw, err := (<-l.accepted).(*net.TCPConn).SyscallConn()
	if err != nil {
		l.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if got, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option); got != want || err != nil {
			l.Errorf("option %d is %d, %v, want %d", option, got, err, want)
		}
	})
}

func (l *limited) dial() *amp.Conn {
	l.Helper()
	c, err := amp.Dial(l.Context(), "tcp", l.addr, nil, &amp.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { c.Close() })
	return c
}

func (l *limited) raw() net.Conn {
	l.Helper()
	nc, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { nc.Close() })
	return nc
}

// code calls a command and returns "" for an answer, the code of an error that was
// answered, or "closed".
func (l *limited) code(c *amp.Conn, command string, args amp.Box) string {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	_, err := c.Call(ctx, command, args)
	if e, ok := errors.AsType[*amp.Error](err); ok {
		return e.Code
	} else if err != nil {
		return "closed"
	}
	return ""
}

// is calls a command and checks how that ends.
func (l *limited) is(want string, c *amp.Conn, command, key string, value any) {
	l.Helper()
	var args amp.Box
	if key != "" {
		args = amp.Box{key: fmt.Append(nil, value)}
	}
	if got := l.code(c, command, args); got != want {
		l.Errorf("%s %s=%.20v: %q, want %q; the log:\n%s", command, key, value, got, want, l.log.text())
	}
}

// counts waits until a counter has counted.
func (l *limited) counts(what string, counter func(host.Stats) bool) {
	l.Helper()
	poll(l.T, what, func() bool { return counter(l.host.Stats()) })
}

// status is what the host tells of a plugin.
func (l *limited) status(name string) scripting.Status {
	for _, s := range l.host.Plugins() {
		if s.Name == name {
			return s
		}
	}
	l.Fatalf("there is no plugin %s", name)
	return scripting.Status{}
}

// fails waits until the plugin's last failure is what ok says.
func (l *limited) fails(ok func(text string) bool) {
	l.Helper()
	poll(l.T, "the plugin to fail so", func() bool { f := l.status("p").Failure; return f != nil && ok(f.Err.Error()) })
}

func cut(why error) func(host.Stats) bool {
	return func(s host.Stats) bool { return s.Cut[why] > 0 }
}

func failed(code string) func(host.Stats) bool {
	return func(s host.Stats) bool { return s.Failed[code] > 0 }
}

// flood sends so many calls at once.
func (l *limited) flood(c *amp.Conn, command string, n int) {
	for range n {
		c.Go(command, nil, func(amp.Box, error) {})
	}
}

// TestEveryLimitHasItsEffect goes beyond each limit of the page's table, set as
// --limit sets it, and reads the counter that the table names.
func TestEveryLimitHasItsEffect(t *testing.T) {
	t.Parallel()
	for name := range knownLimits {
		if limitTests[name].test == nil {
			t.Errorf("limit %s has no test", name)
		}
	}
	for name, c := range limitTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var listen func(net.Listener) net.Listener
			if name == "handshake" {
				config := &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(t, "localhost", time.Hour)}}
				listen = func(nl net.Listener) net.Listener { return tls.NewListener(nl, config) }
			}
			c.test(newLimited(t, name+"="+c.value, listen))
		})
	}
}

var limitTests = map[string]struct {
	value string
	test  func(l *limited)
}{
	"connections": {"2", func(l *limited) {
		a, b := l.dial(), l.dial()
		l.is("", a, "Echo", "data", 1)
		l.is("", b, "Echo", "data", 1)
		l.is("closed", l.dial(), "Echo", "data", 1)
		l.counts("Refused", func(s host.Stats) bool { return s.Refused == 1 && s.Conns == 2 })
	}},
	"connections-per-address": {"1", func(l *limited) {
		l.is("", l.dial(), "Echo", "data", 1)
		l.is("closed", l.dial(), "Echo", "data", 1)
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		nc, err := d.Dial("tcp", l.addr)
		if err != nil {
			l.Fatal(err)
		}
		c := amp.NewConn(nc, nil, nil)
		defer c.Close()
		l.is("", c, "Echo", "data", 1)
		l.counts("Refused", func(s host.Stats) bool { return s.Refused == 1 && s.Conns == 2 })
	}},
	"calls-per-connection": {"3", func(l *limited) {
		c := l.dial()
		l.flood(c, "Never", 10)
		l.counts("HeldBack", func(s host.Stats) bool { return s.HeldBack > 0 && s.Running == 3+1 }) // the next is read, and waits
		l.is("", l.dial(), "Echo", "data", 1)
	}},
	"calls-per-plugin": {"3", func(l *limited) {
		l.flood(l.dial(), "Never", 10)
		l.counts("Failed", func(s host.Stats) bool { return s.Failed["OVERLOADED"] >= 7 })
		l.is("", l.dial(), "Other", "", nil)
	}},
	"calls": {"3", func(l *limited) {
		for range 5 {
			l.flood(l.dial(), "Never", 2)
		}
		l.counts("Failed", func(s host.Stats) bool { return s.Failed["OVERLOADED"] >= 7 })
		l.is("OVERLOADED", l.dial(), "Other", "", nil)
	}},
	"rate-per-connection": {"20", func(l *limited) {
		begin, c := time.Now(), l.dial()
		done := make(chan error, 30)
		for range cap(done) {
			c.Go("Other", nil, func(_ amp.Box, err error) { done <- err })
		}
		for range cap(done) {
			if err := <-done; err != nil {
				l.Error(err)
			}
		}
		if took := time.Since(begin); took < 400*time.Millisecond {
			l.Errorf("30 calls took %v", took)
		}
		l.counts("HeldBack", func(s host.Stats) bool { return s.HeldBack > 0 && s.Limited == 0 })
	}},
	"rate-per-address": {"2", func(l *limited) {
		for range 10 {
			l.flood(l.dial(), "Other", 1)
		}
		l.counts("Limited", func(s host.Stats) bool { return s.Limited > 0 && s.Failed["OVERLOADED"] > 0 })
	}},
	"rate-per-command": {"2", func(l *limited) {
		for range 10 {
			l.flood(l.dial(), "Other", 1)
		}
		l.counts("Limited", func(s host.Stats) bool { return s.Limited > 0 && s.Failed["OVERLOADED"] > 0 })
		l.is("", l.dial(), "Echo", "data", 1)
	}},
	"outgoing": {"5", func(l *limited) {
		l.is("", l.dial(), "Out", "n", 5)
		l.is("UNKNOWN", l.dial(), "Out", "n", 1)
		l.fails(func(text string) bool { return strings.Contains(text, "waits for 5 calls") })
	}},
	"call-stack": {"100", func(l *limited) {
		l.is("", l.dial(), "Deep", "n", 50)
		l.is("RESTARTED", l.dial(), "Deep", "n", 200)
		l.is("", l.dial(), "Deep", "n", 50)
		poll(l.T, "a restart", func() bool { return l.status("p").Restarts == 1 })
	}},
	"restarts": {"1", func(l *limited) {
		c := l.dial()
		poll(l.T, "the quarantine", func() bool { l.code(c, "Deep", amp.Box{"n": []byte("100000")}); return l.status("p").Quarantined })
		l.is("RESTARTED", c, "Echo", "data", 1)
		l.is("", c, "Other", "", nil)
	}},
	"log-lines": {"10", func(l *limited) {
		l.is("", l.dial(), "Log", "n", 100)
		l.log.await(l.T, "writes more lines than it may")
		if n := strings.Count(l.log.text(), `msg="line `); n != 10 {
			l.Errorf("%d lines", n)
		}
	}},
	"dial": {"200ms", func(l *limited) {
		full, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			l.Fatal(err)
		}
		defer full.Close()
		raw, _ := full.(*net.TCPListener).SyscallConn()
		_ = raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }) // nobody may wait to be accepted
		for err == nil {
			var nc net.Conn
			if nc, err = net.DialTimeout("tcp", full.Addr().String(), 50*time.Millisecond); err == nil {
				defer nc.Close()
			}
		}
		l.is("UNKNOWN", l.dial(), "Dial", "to", "tcp://"+full.Addr().String())
		l.fails(func(text string) bool { return strings.Contains(text, "imeout") })
	}},
	"fetch": {"100ms", func(l *limited) {
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			l.Fatal(err)
		}
		defer silent.Close()
		l.is("UNKNOWN", l.dial(), "Fetch", "url", "http://"+silent.Addr().String()+"/")
		l.fails(func(text string) bool { return strings.Contains(text, "imeout") || strings.Contains(text, "100ms") })
	}},
	"fetch-body": {"1KiB", func(l *limited) {
		large, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			l.Fatal(err)
		}
		defer large.Close()
		go func() { // ends with its one connection
			if nc, err := large.Accept(); err == nil {
				_, _ = nc.Read(make([]byte, 4096))
				fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s", strings.Repeat("x", 5000))
				nc.Close()
			}
		}()
		l.is("UNKNOWN", l.dial(), "Fetch", "url", "http://"+large.Addr().String()+"/")
		l.fails(func(text string) bool { return strings.Contains(text, "1024 bytes") })
	}},
	"workers": {"3", func(l *limited) { // q asks for 64; connections keep to one each
		ids := make(map[string]bool)
		for range 40 {
			id, err := ask(l.Context(), l.dial(), "Other", "id", nil)
			if err != nil {
				l.Fatal(err)
			}
			ids[id] = true
		}
		if len(ids) != 3 {
			l.Errorf("%d runtimes answer", len(ids))
		}
	}},
	"timers": {"10", func(l *limited) {
		l.is("", l.dial(), "Timers", "n", 10)
		l.is("UNKNOWN", l.dial(), "Timers", "n", 1)
		poll(l.T, "a failure", func() bool { return l.status("p").Failed == 1 })
	}},
	"box": {"1KiB", func(l *limited) {
		l.is("", l.dial(), "Echo", "data", strings.Repeat("x", 900))
		l.is("closed", l.dial(), "Echo", "data", strings.Repeat("x", 1100))
		l.counts("Cut", cut(amp.ErrBoxTooBig))
	}},
	"pairs": {"5", func(l *limited) {
		args := amp.Box{"data": []byte("x")}
		l.is("", l.dial(), "Echo", "data", "x")
		for i := range 5 {
			args[fmt.Sprint(i)] = []byte("x")
		}
		if got := l.code(l.dial(), "Echo", args); got != "closed" {
			l.Errorf("a box of 8 pairs: %s", got)
		}
		l.counts("Cut", cut(amp.ErrBoxTooBig))
	}},
	"unread": {"64KiB", func(l *limited) {
		nc := l.raw()
		ask := box(l.T, amp.Box{"_ask": []byte("1"), "_command": []byte("Echo"), "data": []byte(strings.Repeat("x", 30_000))})
		go func() { // ends with the connection
			for {
				if _, err := nc.Write(ask); err != nil {
					return
				}
			}
		}()
		l.counts("HeldBack", func(s host.Stats) bool { return s.HeldBack > 0 })
		l.is("", l.dial(), "Echo", "data", 1)
	}},
	"progress": {"100ms", func(l *limited) {
		nc := l.raw()
		ask := box(l.T, amp.Box{"_ask": []byte("1"), "_command": []byte("Echo"), "data": []byte(strings.Repeat("x", 60_000))})
		go func() { // ends with the connection
			for {
				if _, err := nc.Write(ask); err != nil {
					return
				}
			}
		}()
		l.counts("Cut", cut(amp.ErrSlowPeer))
	}},
	"finish-box": {"100ms", func(l *limited) {
		nc := l.raw()
		nc.Write([]byte{0, 4, '_'})
		closedBy(l.T, nc)
		l.counts("Cut", cut(amp.ErrBoxTimeout))
	}},
	"handshake": {"100ms", func(l *limited) {
		closedBy(l.T, l.raw())
		l.counts("Cut", cut(amp.ErrHandshake))
	}},
	"idle": {"100ms", func(l *limited) {
		closedBy(l.T, l.raw())
		l.counts("Cut", cut(amp.ErrIdle))
	}},
	"turn": {"100ms", func(l *limited) {
		l.is("RESTARTED", l.dial(), "Spin", "ms", 30_000)
		poll(l.T, "a restart", func() bool { return l.status("p").Restarts == 1 })
	}},
	"call": {"100ms", func(l *limited) {
		l.is("TIMEOUT", l.dial(), "Never", "", nil)
		l.counts("Failed", failed("TIMEOUT"))
	}},
	"memory": {"100MiB", func(l *limited) { // of this process, whose other tests need less
		c := l.dial()
		poll(l.T, "memory to run out", func() bool {
			l.code(c, "Fill", amp.Box{"n": []byte("1000")})
			return strings.Contains(l.log.text(), "memory runs out") && (l.status("p").Restarts > 0 || l.host.Stats().Failed["OVERLOADED"] > 0)
		})
	}},
	// TestHalfOpen has peers that are gone, and their counter; here is what the kernel was told.
	"keepalive":    {"7s", func(l *limited) { l.hasSet(syscall.TCP_KEEPIDLE, 7) }},
	"user-timeout": {"7s", func(l *limited) { l.hasSet(0x12, 7000) }}, // TCP_USER_TIMEOUT
	"load": {"300ms", func(l *limited) {
		dir := l.host.Plugins()[0].Path
		write(l.T, `import * as amp from "amphost"; amp.onLoad(() => new Promise((ok) => setTimeout(ok, 1e9)));`, strings.TrimSuffix(dir, "p.js"), "slow.js")
		if err := l.host.Reload(l.Context(), "slow"); err == nil || l.status("slow").Err == nil {
			l.Errorf("a plugin that takes long to load: %v", err)
		}
	}},
}
