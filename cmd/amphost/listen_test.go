package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/amphost/amphost/amp"
)

const namedPlugin = `import * as amp from "amphost";
amp.boxReceiver("reflect", (sender) => ({ ampBoxReceived(box) { sender.sendBox({ ...box, listener: sender.peer.listener }); } }));
amp.protocol("upper", (transport) => ({ dataReceived(data) { transport.write(data.toString().toUpperCase()); } }));
`

func TestListenElsewhere(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	write(t, namedPlugin, dir, "plugins", "named.js")
	// A socket that a dead server has left is no obstacle.
	left, err := net.Listen("unix", filepath.Join(dir, "a.sock"))
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	s := serveIn(t, dir, "--listen", "127.0.0.1:0", "--listen", "unix:a.sock", "--listen", "reflect=127.0.0.1:0", "--listen", "upper=unix:u.sock", "--listen", "nobody=tcp://127.0.0.1:0")
	s.stdout.await(t, `try .*\n`)
	banner := s.stdout.text()
	addrs := regexp.MustCompile(`listens on (\S+), (\S+), unix:a\.sock\n`).FindStringSubmatch(banner)
	reflect := regexp.MustCompile(`\n  listen   reflect=(\S+): box receiver of named\n`).FindStringSubmatch(banner)
	nobody := regexp.MustCompile(`\n           nobody=(\S+): no plugin has amp\.boxReceiver\("nobody", …\) or amp\.protocol\("nobody", …\) yet\n`).FindStringSubmatch(banner)
	if addrs == nil || reflect == nil || nobody == nil || !strings.Contains(banner, "\n           upper=unix:u.sock: protocol of named\n") {
		t.Fatalf("the banner is\n%s", banner)
	}
	for _, addr := range []string{addrs[1], addrs[2], "unix:a.sock"} {
		if stdout, stderr, code := amphost(t, dir, "call", addr, "Sum", "a=1", "b=2"); stdout != "total: 3\n" || code != 0 {
			t.Errorf("call %s: %q, %q, exit status %d", addr, stdout, stderr, code)
		}
	}

	nc, err := net.Dial("tcp", reflect[1])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	box, _ := amp.Box{"_command": []byte("Sum")}.Append(nil)
	if _, err := nc.Write(box); err != nil {
		t.Fatal(err)
	}
	if got, err := amp.ReadBox(bufio.NewReader(nc)); err != nil || string(got["_command"]) != "Sum" || string(got["listener"]) != "reflect" {
		t.Errorf("the reflector sent %q, %v", got, err)
	}
	raw, err := net.Dial("unix", filepath.Join(dir, "u.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	io.WriteString(raw, "hello\n")
	if line, err := bufio.NewReader(raw).ReadString('\n'); line != "HELLO\n" {
		t.Errorf("the protocol sent %q, %v", line, err)
	}
	if nc, err = net.Dial("tcp", nobody[1]); err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that nobody is there for: %v", err)
	}
	s.stderr.await(t, `WRN connection closed: no plugin has amp\.boxReceiver\("nobody", …\)`)

	// What is taken is refused.
	complain(t, dir, 1, []string{"serve", "--store", "other.db", "--listen", "unix:a.sock"}, "--listen a.sock", "in use")
	complain(t, dir, 1, []string{"serve", "--store", "other.db", "--listen", addrs[1]}, "--listen "+addrs[1], "in use")
	complain(t, dir, 1, []string{"serve", "--store", "other.db", "--listen", "unix:nowhere/a.sock"}, "nowhere/a.sock", "no such directory")
	complain(t, dir, 2, []string{"serve", "--listen", "http://x"}, "http://x", "host:port")
	complain(t, dir, 2, []string{"serve", "--listen", "x=unix:"}, "unix:", "socket")
	complain(t, dir, 2, []string{"serve", "--allow-net", "x"}, "PLUGIN=PATTERN")
	complain(t, dir, 1, []string{"serve", "--port", "0", "--store", "other.db", "--allow-net", "x=example.com"}, "example.com", "HOST:PORT")
	s.stop() // idle connections do not keep it
}

// With --listen alone nothing is answered at the default port.
func TestListenInsteadOfThePort(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	p := startProcess(t, dir, binary, "serve", "--listen", "unix:a.sock", "--log-format", "json")
	p.stderr.await(t, `"msg":"listening","address":"a.sock"`)
	if stdout, stderr, code := amphost(t, dir, "call", "unix:a.sock", "Sum", "a=1", "b=2"); stdout != "total: 3\n" {
		t.Errorf("%q, %q, exit status %d", stdout, stderr, code)
	}
	if n := strings.Count(p.stderr.text(), `"msg":"listening"`); n != 1 {
		t.Errorf("it listens at %d addresses:\n%s", n, p.stderr.text())
	}
}

func TestAllowNetAndEnv(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	write(t, `import * as amp from "amphost";
new amp.Command("Dial", { arguments: { to: amp.Unicode() }, response: { out: amp.Unicode() } }).responder(async ({ to }) => {
  try {
    if (to.startsWith("$")) return { out: "it is " + amp.env[to.slice(1)] };
    (await amp.dial(to)).loseConnection();
    return { out: "connected" };
  } catch (e) { return { out: e.message }; }
});`, dir, "plugins", "proxy.js")
	s := serveIn(t, dir, "--allow-net", "proxy=example.com:443,"+l.Addr().String(), "--allow-env", "proxy=HOME,NOT_SET_ANYWHERE")
	for to, want := range map[string]string{
		l.Addr().String():   "out: connected\n",
		"127.0.0.1:1":       "out: proxy may not connect to 127.0.0.1:1: it has no permission; --allow-net proxy=127.0.0.1:1 gives it (net below [plugins.proxy] in amphost.toml, AllowNet in Go)\n",
		"$HOME":             "out: it is " + os.Getenv("HOME") + "\n",
		"$NOT_SET_ANYWHERE": "out: it is undefined\n",
		"$PATH":             "out: proxy may not read the environment variable PATH: it has no permission; --allow-env proxy=PATH gives it (env below [plugins.proxy] in amphost.toml, AllowEnv in Go)\n",
	} {
		if stdout, stderr, _ := amphost(t, dir, "call", s.addr, "Dial", "to="+to); stdout != want {
			t.Errorf("to %s: %q, %q, want %q", to, stdout, stderr, want)
		}
	}
	s.stop()
}

const brokenPlugin = `import * as amp from "amphost";
type Thing = { name?: string };

async function look(thing: Thing): Promise<number> {
  await new Promise((ok) => setTimeout(ok, 1));
  return thing.name!.length;
}
new amp.Command("Break", { arguments: { how: amp.Unicode() } }).responder(async ({ how }) => {
  switch (how) {
    case "await": await look({}); break;
    case "reject": Promise.reject(new RangeError("nobody listens")); break;
    case "timer": setTimeout(() => { throw new TypeError("in a timer"); }, 1); break;
  }
});
`

// Each mistake is told once, with where it is and whose call it was; the peer
// learns nothing of it.
func TestMistakesAreToldOnce(t *testing.T) {
	t.Parallel()
	mistakes := []struct{ how, what, where, frame string }{
		{"await", "Cannot read property 'length' of undefined", "plugins/broken.ts:6:", "> 6 |   return thing.name!.length;"},
		{"reject", "RangeError: nobody listens", "plugins/broken.ts:11:35", `> 11 |     case "reject": Promise.reject(`},
		{"timer", "TypeError: in a timer", "plugins/broken.ts:12:", `> 12 |     case "timer": setTimeout(`},
	}
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, brokenPlugin, dir, "plugins", "broken.ts")
			p := startProcess(t, dir, binary, "serve", "--port", "0", "--log-format", format)
			addr := ""
			if format == "json" {
				addr = p.stderr.await(t, `"address":"([^"]+)"`)[1]
			} else {
				addr = p.stdout.await(t, `listens on (\S+)`)[1]
			}
			for _, m := range mistakes {
				_, stderr, _ := amphost(t, dir, "call", addr, "Break", "how="+m.how)
				if strings.Contains(stderr, "broken.ts") || strings.Contains(stderr, "length") {
					t.Errorf("the peer was told %q", stderr)
				}
				p.stderr.await(t, regexp.QuoteMeta(m.what))
			}
			save(t, strings.Replace(brokenPlugin, `case "await":`, `case "await"`, 1), dir, "plugins", "broken.ts")
			p.stderr.await(t, `plugins/broken\.ts:10:`)

			log := p.stderr.text()
			if format == "json" { // the story is one field
				var stories []string
				for line := range strings.Lines(log) {
					var record struct{ Error, Plugin, Command, Tag, Peer string }
					if err := json.Unmarshal([]byte(line), &record); err != nil {
						t.Errorf("%q: %v", line, err)
					}
					if record.Error != "" {
						stories = append(stories, record.Error)
						if record.Plugin != "broken" || len(stories) < 4 && (record.Command != "Break" || record.Tag != "1" || record.Peer == "") {
							t.Errorf("the record lacks whose call it was: %s", line)
						}
					}
				}
				log = strings.Join(stories, "\n")
			} else if n := len(regexp.MustCompile(`ERR .* plugin=broken generation=1 command=Break tag=1 conn=\d+ peer=127\.0\.0\.1:\d+\n`).FindAllString(log, -1)); n != 3 {
				t.Errorf("%d records say whose call it was:\n%s", n, log)
			}
			for _, m := range mistakes {
				for _, part := range []string{m.what, m.frame} {
					if n := strings.Count(log, part); n != 1 {
						t.Errorf("%q is there %d times, want once:\n%s", part, n, log)
					}
				}
				if !strings.Contains(log, m.where) || !regexp.MustCompile(`(?m)^ +\| +\^$`).MatchString(log) {
					t.Errorf("the log lacks %s, or a caret:\n%s", m.where, log)
				}
			}
			if strings.Contains(log, "\x1b") {
				t.Error("colours where no terminal is")
			}
		})
	}
}
