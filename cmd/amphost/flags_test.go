package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEveryFlag has, for each flag of each command that --help shows, a test that
// starts the real binary with it and looks at what it changes. A flag without one
// is missed, and so is a test that starts nothing with its flag.
func TestEveryFlag(t *testing.T) {
	t.Parallel()
	there := make(map[string]*pflag.Flag)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && f.Name != "version" { // TestVersionAndHelp
				there[strings.TrimPrefix(c.CommandPath(), "amphost ")+" --"+f.Name] = f
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(func() {}))
	for name := range there {
		if flagTests[name] == nil {
			t.Errorf("amphost %s has no test", name)
		}
	}
	for name, test := range flagTests {
		flag := there[name]
		if flag == nil {
			t.Errorf("there is a test of amphost %s, which is no flag", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &flagTest{T: t, dir: t.TempDir()}
			write(t, mathsPlus(0), f.dir, "plugins", "math.js")
			write(t, helloPlugin("there"), f.dir, "plugins", "hello.js")
			test(f)
			command, _, _ := strings.Cut(name, " --")
			if !f.started(command, flag) && !t.Failed() {
				t.Errorf("nothing was started with it: %q", f.lines)
			}
		})
	}
}

// A flagTest is the test of one flag, in a directory with two plugins.
type flagTest struct {
	*testing.T
	dir   string
	lines [][]string // of arguments that the binary was started with
}

// started reports whether a command was started with a flag.
func (f *flagTest) started(command string, flag *pflag.Flag) bool {
	words := strings.Fields(command)
	return slices.ContainsFunc(f.lines, func(line []string) bool {
		at := -1 // flags of a parent may stand before or behind the rest
		for _, word := range words {
			i := slices.Index(line[at+1:], word)
			if i < 0 {
				return false
			}
			at += i + 1
		}
		return slices.ContainsFunc(line, func(arg string) bool {
			return arg == "--"+flag.Name || strings.HasPrefix(arg, "--"+flag.Name+"=") || flag.Shorthand != "" && arg == "-"+flag.Shorthand
		})
	})
}

// run runs a command line, of words, and returns what it prints and its exit status.
func (f *flagTest) run(line string) (stdout, stderr string, code int) {
	f.Helper()
	args := strings.Fields(line)
	f.lines = append(f.lines, args)
	return amphost(f.T, f.dir, args...)
}

// prints runs a command line that works, and returns what it prints.
func (f *flagTest) prints(line string) string {
	f.Helper()
	stdout, stderr, code := f.run(line)
	if code != 0 {
		f.Fatalf("amphost %s: exit status %d: %s%s", line, code, stdout, stderr)
	}
	return stdout
}

// fails runs a command line that doesn't work, and checks what it says.
func (f *flagTest) fails(line string, code int, want string) {
	f.Helper()
	stdout, stderr, got := f.run(line)
	if got != code || !strings.Contains(stdout+stderr, want) {
		f.Errorf("amphost %s: exit status %d, want %d and %q: %s%s", line, got, code, want, stdout, stderr)
	}
}

// contains checks that a text has a part.
func (f *flagTest) contains(text, want string) {
	f.Helper()
	if !strings.Contains(text, want) {
		f.Errorf("want %q in %q", want, text)
	}
}

// lacks checks that it has not.
func (f *flagTest) lacks(text, want string) {
	f.Helper()
	if strings.Contains(text, want) {
		f.Errorf("want no %q in %q", want, text)
	}
}

// is checks that JSON has a value at a path of keys.
func (f *flagTest) is(text string, want any, path ...string) {
	f.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		f.Fatalf("no JSON: %v: %s", err, text)
	}
	for _, key := range path {
		switch in := v.(type) {
		case map[string]any:
			v = in[key]
		case []any:
			i, _ := strconv.Atoi(key)
			v = in[i]
		}
	}
	if fmt.Sprint(v) != fmt.Sprint(want) {
		f.Errorf("%s is %v, want %v: %s", strings.Join(path, "."), v, want, text)
	}
}

// serve starts a server, on a free port, and waits until it listens.
func (f *flagTest) serve(line string) *server {
	f.Helper()
	args := append([]string{"serve"}, strings.Fields(line)...)
	f.lines = append(f.lines, args)
	if !strings.Contains(line, "--port") && !strings.Contains(line, "--config") {
		args = append(args, "--port", "0")
	}
	p := startProcess(f.T, f.dir, binary, args...)
	return &server{process: p, addr: p.stdout.await(f.T, `listens on ([^\s,]+)`)[1]}
}

// hello calls Hello of a server and returns its answer.
func (f *flagTest) hello(s *server) string {
	f.Helper()
	return strings.TrimSpace(f.prints("call " + s.addr + " Hello"))
}

// exists checks that a file is there.
func (f *flagTest) exists(path ...string) {
	f.Helper()
	if _, err := os.Lstat(filepath.Join(append([]string{f.dir}, path...)...)); err != nil {
		f.Error(err)
	}
}

// reads returns what is in a file.
func (f *flagTest) reads(path ...string) string {
	f.Helper()
	return readFile(f.T, filepath.Join(append([]string{f.dir}, path...)...))
}

// save saves a plugin.
func (f *flagTest) save(text, name string) { save(f.T, text, f.dir, "plugins", name) }

// stored makes a store with a key, a counter and a file in it.
func (f *flagTest) stored() {
	f.Helper()
	f.serve("").stop()
	write(f.T, "text", f.dir, "source")
	for _, args := range []string{"keeps k 1", "keeps l 2", "--counter keeps c 7", "--file keeps f source"} {
		if _, stderr, code := amphost(f.T, f.dir, append([]string{"store", "put"}, strings.Fields(args)...)...); code != 0 {
			f.Fatal(stderr)
		}
	}
}

// secure starts a server that speaks TLS, for localhost, and returns its address.
// It asks for a certificate if mutual.
func (f *flagTest) secure(mutual bool) string {
	f.Helper()
	certificates(f.T, f.dir)
	listen := "--listen tls://localhost:0?certificate=server.pem"
	if mutual {
		listen += "&client-ca=ca.pem"
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(f.serve(listen+" --port 0").stdout.await(f.T, `tls://(\S+)`)[1], "tls://"))
	return "tls://localhost:" + port
}

// overTLS is the test of a flag of call, or of bench, that is for TLS.
func overTLS(command, flag string) func(*flagTest) {
	more := map[string]string{"call": "", "bench": " -n 5 --assert errors==0"}[command]
	return func(f *flagTest) {
		addr := f.secure(flag == "--cert" || flag == "--key")
		ip := strings.Replace(addr, "localhost", "127.0.0.1", 1)
		call := func(addr, flags string) string { return command + " " + addr + " Hello" + more + " " + flags }
		switch flag {
		case "--ca":
			f.fails(call(addr, ""), 1, "signed by nobody that is trusted")
			f.prints(call(addr, "--ca ca.pem"))
			f.fails(call(addr, "--ca other-ca.pem"), 1, "signed by nobody that is trusted")
		case "--cert":
			_, _, code := f.run(call(addr, "--ca ca.pem"))
			if code == 0 {
				f.Error("without a certificate it works, too")
			}
			f.prints(call(addr, "--ca ca.pem --cert ada.pem"))
		case "--key":
			f.fails(call(addr, "--ca ca.pem --cert ada.crt"), 2, "--cert ada.crt with key ada.crt")
			f.prints(call(addr, "--ca ca.pem --cert ada.crt --key ada.key"))
		case "--server-name":
			f.fails(call(ip, "--ca ca.pem"), 1, "not for 127.0.0.1")
			f.prints(call(ip, "--ca ca.pem --server-name localhost"))
		case "--insecure":
			f.fails(call(ip, ""), 1, "certificate of "+ip)
			f.prints(call(ip, "--insecure"))
		}
	}
}

// byControl is the test of a flag of a command that speaks with a server by its
// control socket; want is in what it prints with --json.
func byControl(command, flag, want string) func(*flagTest) {
	return func(f *flagTest) {
		switch flag {
		case "--control":
			f.serve("--control here.sock")
			f.fails(command, 1, "control socket amphost.db.sock")
			f.prints(command + " --control here.sock")
		case "--store":
			f.serve("--store kept.db")
			f.fails(command, 1, "control socket amphost.db.sock")
			f.prints(command + " --store kept.db")
		case "--json":
			f.serve("")
			f.lacks(f.prints(command), want)
			out := f.prints(command + " --json")
			if !json.Valid([]byte(out)) {
				f.Errorf("no JSON: %s", out)
			}
			f.contains(out, want)
		}
	}
}

// twoVersions has rolling back possible.
func twoVersions(test func(*flagTest)) func(*flagTest) {
	return func(f *flagTest) {
		for _, store := range []string{"amphost.db", "kept.db"} {
			f.save(helloPlugin("1"), "hello.js")
			s := f.serve("--store " + store)
			f.save(helloPlugin("2"), "hello.js")
			poll(f.T, "the second version", func() bool { return f.hello(s) == "text: hello 2" })
			s.stop()
		}
		test(f)
	}
}

// given is the test of a flag of config, which prints a setting and where it is from.
func given(flag, value, want string) func(*flagTest) {
	return func(f *flagTest) {
		line := "config --" + flag
		if value != "" {
			line += " " + value
		}
		f.lacks(f.prints("config"), "# --")
		found := lines(f.prints(line), want)
		if len(found) != 1 || !strings.HasSuffix(found[0], "# --"+flag) {
			f.Errorf("%s: %q is not what is printed: %q", line, want, found)
		}
	}
}

// aFreePort returns a port that nobody listens on, for now.
func aFreePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// notWatching is the test of a flag with which files are not watched.
func notWatching(flags string) func(*flagTest) {
	return func(f *flagTest) {
		still, watching := f.serve(flags+" --store still.db"), f.serve("--store watching.db")
		f.save(helloPlugin("2"), "hello.js")
		poll(f.T, "the other server to see the change", func() bool { return f.hello(watching) == "text: hello 2" })
		if got := f.hello(still); got != "text: hello there" {
			f.Errorf("with %s Hello answers %s", flags, got)
		}
		f.prints("reload --store still.db")
		if got := f.hello(still); got != "text: hello 2" {
			f.Errorf("after amphost reload Hello answers %s", got)
		}
	}
}

// flagTests are the tests, by command and flag.
var flagTests = map[string]func(*flagTest){
	"serve --allow-env": func(f *flagTest) {
		f.save(`import * as amp from "amphost";
new amp.Command("Home", { response: { text: amp.Unicode() } }).responder(() => ({ text: amp.env.HOME }));`, "env.js")
		f.fails("call "+f.serve("--store other.db").addr+" Home", 1, "UNKNOWN")
		f.contains(f.prints("call "+f.serve("--allow-env env=HOME").addr+" Home"), os.Getenv("HOME"))
	},
	"serve --allow-net": func(f *flagTest) {
		s := f.serve("--store other.db")
		f.save(`import * as amp from "amphost";
new amp.Command("Dial", { response: { text: amp.Unicode() } }).responder(async () => {
  (await amp.dial("`+s.addr+`")).loseConnection();
  return { text: "connected" };
});`, "net.js")
		s.stderr.await(f.T, "plugin loaded.*plugin=net")
		f.fails("call "+s.addr+" Dial", 1, "UNKNOWN")
		f.contains(f.prints("call "+f.serve("--allow-net net="+s.addr).addr+" Dial"), "connected")
	},
	"serve --authorizers": func(f *flagTest) {
		f.fails("call "+f.serve("--authorizers guard").addr+" Hello", 1, "FORBIDDEN")
	},
	"serve --config": func(f *flagTest) {
		write(f.T, "port = 0\nplugin-directory = \"mine\"\n", f.dir, "other.toml")
		write(f.T, helloPlugin("from mine"), f.dir, "mine", "hello.js")
		f.contains(f.hello(f.serve("--config other.toml")), "from mine")
	},
	"serve --control": func(f *flagTest) {
		f.serve("--control here.sock")
		f.exists("here.sock")
		f.prints("plugins --control here.sock")
	},
	"serve --grace": func(f *flagTest) {
		f.save(slowPlugin, "slow.js")
		s := f.serve("--grace 100ms")
		if err := s.dial().Send(f.Context(), "Slow", nil); err != nil {
			f.Fatal(err)
		}
		s.stderr.await(f.T, "slow begins")
		s.signal(os.Interrupt)
		if code := s.wait(); code != 1 {
			f.Errorf("exit status %d", code)
		}
		f.contains(s.stderr.text(), "calls that had not finished after 100ms were cut off")
	},
	"serve --host": func(f *flagTest) {
		f.contains(f.serve("--host 127.0.0.2").addr, "127.0.0.2:")
	},
	"serve --limit": func(f *flagTest) {
		f.save(echoPlugin, "echo.js")
		s := f.serve("--limit box=1KiB")
		f.prints("call " + s.addr + " Echo data=" + strings.Repeat("x", 500))
		f.fails("call "+s.addr+" Echo data="+strings.Repeat("x", 2000), 1, "closed the connection")
		s.stderr.await(f.T, "the limits are 1024 bytes")
	},
	"serve --listen": func(f *flagTest) {
		s := f.serve("--listen unix:a.sock")
		f.contains(f.prints("call unix:a.sock Hello"), "hello there")
		f.hello(s) // a port was given, too
	},
	"serve --log-format": func(f *flagTest) {
		f.lines = append(f.lines, []string{"serve", "--log-format", "json"})
		p := startProcess(f.T, f.dir, binary, "serve", "--port", "0", "--log-format", "json")
		p.stderr.await(f.T, `(?m)^\{"time":.*"msg":"listening"`)
	},
	"serve --log-level": func(f *flagTest) {
		f.save(`import * as amp from "amphost";
new amp.Command("Say").responder(() => { console.info("quietly"); console.error("loudly"); return {}; });`, "says.js")
		s := f.serve("--log-level error")
		f.prints("call " + s.addr + " Say")
		s.stderr.await(f.T, "loudly")
		f.lacks(s.stderr.text(), "quietly")
		f.lacks(s.stderr.text(), "INF")
	},
	"serve --no-watch": notWatching("--no-watch"),
	"serve --plugins": func(f *flagTest) {
		write(f.T, helloPlugin("from mine"), f.dir, "mine", "hello.js")
		f.contains(f.hello(f.serve("--plugins mine")), "from mine")
	},
	"serve --port": func(f *flagTest) {
		port := aFreePort(f.T)
		if addr := f.serve("--port " + port).addr; addr != "127.0.0.1:"+port {
			f.Errorf("it listens on %s", addr)
		}
	},
	"serve --store": func(f *flagTest) {
		f.serve("--store kept.db").stop()
		f.exists("kept.db")
	},
	"serve --store-quota": func(f *flagTest) {
		f.save(`import * as amp from "amphost";
new amp.Command("Keep", { arguments: { n: amp.Integer() } }).responder(async ({ n }) => { await amp.store.update((tx) => tx.put("k", "x".repeat(n))); return {}; });`, "keeps.js")
		s := f.serve("--store-quota 10000")
		f.prints("call " + s.addr + " Keep n=100")
		f.fails("call "+s.addr+" Keep n=20000", 1, "UNKNOWN")
		s.stderr.await(f.T, "quota exceeded")
	},
	"serve --strict": func(f *flagTest) {
		f.fails("call "+f.serve("--store other.db").addr+" Sum a=1 b=x", 1, "BAD_ARGUMENTS")
		f.fails("call "+f.serve("--strict").addr+" Sum a=1 b=x", 1, "UNKNOWN")
	},
	"serve --watch": notWatching("--watch off"),

	"config --allow-env":   given("allow-env", "a=HOME", `env = ["HOME"]`),
	"config --allow-net":   given("allow-net", "a=b:1", `net = ["b:1"]`),
	"config --authorizers": given("authorizers", "guard", `authorizers = ["guard"]`),
	"config --config": func(f *flagTest) {
		write(f.T, "port = 1234\n", f.dir, "other.toml")
		f.contains(strings.Join(strings.Fields(f.prints("config --config other.toml")), " "), "port = 1234 # other.toml:1")
	},
	"config --control":     given("control", "off", `control = "off"`),
	"config --grace":       given("grace", "3s", `grace = "3s"`),
	"config --host":        given("host", "0.0.0.0", `host = "0.0.0.0"`),
	"config --json":        func(f *flagTest) { f.is(f.prints("config --json"), 8750, "settings", "port", "value") },
	"config --limit":       given("limit", "box=1MiB", `box = "1MiB"`),
	"config --listen":      given("listen", "unix:a.sock", `listen = ["unix:a.sock"]`),
	"config --log-format":  given("log-format", "json", `log-format = "json"`),
	"config --log-level":   given("log-level", "warn", `log-level = "warn"`),
	"config --no-watch":    given("no-watch", "", `no-watch = true`),
	"config --plugins":     given("plugins", "mine", `plugin-directory = "mine"`),
	"config --port":        given("port", "1234", `port = 1234`),
	"config --store":       given("store", "kept.db", `store = "kept.db"`),
	"config --store-quota": given("store-quota", "64MiB", `store-quota = [`),
	"config --strict":      given("strict", "", `strict = true`),
	"config --watch":       given("watch", "poll", `watch = "poll"`),

	"call --ca":          overTLS("call", "--ca"),
	"call --cert":        overTLS("call", "--cert"),
	"call --insecure":    overTLS("call", "--insecure"),
	"call --key":         overTLS("call", "--key"),
	"call --server-name": overTLS("call", "--server-name"),
	"call --timeout": func(f *flagTest) {
		f.save(slowPlugin, "slow.js")
		f.fails("call "+f.serve("").addr+" Slow --timeout 200ms", 1, "did not answer Slow within 200ms")
	},

	"bench --assert": func(f *flagTest) {
		s := f.serve("")
		f.prints("bench " + s.addr + " Hello -n 10 --assert errors==0")
		f.fails("bench "+s.addr+" Nothing -n 10 --assert errors==0", exitAssertion, "errors==0 does not hold: errors is 10")
	},
	"bench --ca":    overTLS("bench", "--ca"),
	"bench --calls": func(f *flagTest) { f.is(f.prints("bench "+f.serve("").addr+" Hello --json --calls 37"), 37, "calls") },
	"bench --cert":  overTLS("bench", "--cert"),
	"bench --connections": func(f *flagTest) {
		f.contains(f.prints("bench "+f.serve("").addr+" Hello -n 10 --connections 3"), "3 connections")
	},
	"bench --in-flight": func(f *flagTest) {
		f.save(slowPlugin, "slow.js")
		s := f.serve("")
		p := startProcess(f.T, f.dir, binary, "bench", s.addr, "Slow", "--in-flight", "7", "-c", "1", "-t", "1m")
		f.lines = append(f.lines, p.cmd.Args[1:])
		poll(f.T, "seven calls under way", func() bool { return strings.Contains(f.prints("plugins --json"), `"inFlight":7`) })
		p.signal(os.Interrupt)
	},
	"bench --insecure": overTLS("bench", "--insecure"),
	"bench --json":     func(f *flagTest) { f.is(f.prints("bench "+f.serve("").addr+" Hello -n 10 --json"), "Hello", "command") },
	"bench --key":      overTLS("bench", "--key"),
	"bench --rate": func(f *flagTest) {
		var r benchReport
		if err := json.Unmarshal([]byte(f.prints("bench "+f.serve("").addr+" Hello -n 40 --rate 100 --json")), &r); err != nil || r.Seconds < 0.35 || r.Calls != 40 {
			f.Errorf("%+v, %v, want 40 calls in 0.4 s", r, err)
		}
	},
	"bench --server-name": overTLS("bench", "--server-name"),
	"bench --time": func(f *flagTest) {
		begin := time.Now()
		var r benchReport
		if err := json.Unmarshal([]byte(f.prints("bench "+f.serve("").addr+" Hello --time 300ms --json")), &r); err != nil || r.Seconds < 0.3 || r.Calls == 0 {
			f.Errorf("%+v, %v", r, err)
		}
		if took := time.Since(begin); took > patience/2 {
			f.Errorf("it took %v", took)
		}
	},

	"plugins --control":  byControl("plugins", "--control", ""),
	"plugins --json":     byControl("plugins", "--json", `"generation":1`),
	"plugins --store":    byControl("plugins", "--store", ""),
	"reload --control":   byControl("reload", "--control", ""),
	"reload --json":      byControl("reload", "--json", "["),
	"reload --store":     byControl("reload", "--store", ""),
	"rollback --control": twoVersions(byControl("rollback hello", "--control", "")),
	"rollback --json":    twoVersions(byControl("rollback hello", "--json", `"hello"`)),
	"rollback --store":   twoVersions(byControl("rollback hello", "--store", "")),
	"stats --control":    byControl("stats", "--control", ""),
	"stats --json":       byControl("stats", "--json", `":`),
	"stats --store":      byControl("stats", "--store", ""),
	"stats --collect": func(f *flagTest) {
		f.serve("")
		f.prints("stats --collect --json")
	},

	"check --config": func(f *flagTest) {
		write(f.T, "prot = 1\n", f.dir, "other.toml")
		f.prints("check")
		f.fails("check --config other.toml", 1, `there is no key "prot"`)
	},
	"check --json": func(f *flagTest) {
		f.save("const x = ;", "broken.js")
		stdout, _, code := f.run("check --json")
		if code != 1 || !json.Valid([]byte(stdout)) {
			f.Errorf("exit status %d, %s", code, stdout)
		}
		f.contains(stdout, "broken.js")
	},
	"init --force": func(f *flagTest) {
		f.prints("init made")
		write(f.T, "mine", f.dir, "made", "README.md")
		f.run("init made")
		f.contains(f.reads("made", "README.md"), "mine")
		f.prints("init made --force")
		f.lacks(f.reads("made", "README.md"), "mine")
	},
	"init --ts": func(f *flagTest) {
		f.prints("init made --ts")
		if found, _ := filepath.Glob(filepath.Join(f.dir, "made", "*.ts")); len(found) < 2 {
			f.Errorf("there are %q", found)
		}
	},
	"new --force": func(f *flagTest) {
		f.prints("new one")
		write(f.T, "// mine", f.dir, "plugins", "one.js")
		f.fails("new one", 1, "one.js")
		f.prints("new one --force")
		f.lacks(f.reads("plugins", "one.js"), "// mine")
	},
	"new --plugins": func(f *flagTest) {
		write(f.T, "", f.dir, "mine", "empty.js")
		f.prints("new one --plugins mine")
		f.exists("mine", "one.js")
	},
	"new --template": func(f *flagTest) {
		f.prints("new one")
		f.prints("new two --template state")
		f.lacks(f.reads("plugins", "one.js"), "amp.store")
		f.contains(f.reads("plugins", "two.js"), "amp.store")
	},
	"new --ts": func(f *flagTest) {
		f.prints("new one --ts")
		f.exists("plugins", "one.ts")
	},
	"types --force": func(f *flagTest) {
		write(f.T, "// mine", f.dir, "plugins", "amphost.d.ts")
		f.fails("types", 1, "amphost.d.ts")
		f.prints("types --force")
		f.lacks(f.reads("plugins", "amphost.d.ts"), "// mine")
	},
	"run --store": func(f *flagTest) {
		write(f.T, `import * as amp from "amphost";
amp.onLoad(async () => console.log(await amp.store.update((tx) => tx.counter("n").next())));`, f.dir, "count.js")
		for _, want := range []string{"1\n", "2\n"} {
			if got := f.prints("run --store kept.db count.js"); got != want {
				f.Errorf("it prints %q, want %q", got, want)
			}
			if got := f.prints("run count.js"); got != "1\n" {
				f.Errorf("without it it prints %q", got)
			}
		}
	},

	"store --config": func(f *flagTest) {
		f.stored()
		if err := os.Rename(filepath.Join(f.dir, "amphost.db"), filepath.Join(f.dir, "kept.db")); err != nil {
			f.Fatal(err)
		}
		write(f.T, "store = \"kept.db\"\n", f.dir, "other.toml")
		f.fails("store namespaces", 1, "there is no store amphost.db")
		f.contains(f.prints("store namespaces --config other.toml"), "keeps")
	},
	"store --json": func(f *flagTest) {
		f.stored()
		if out := f.prints("store ls keeps"); json.Valid([]byte(out)) {
			f.Errorf("without it there is JSON: %s", out)
		}
		f.is(f.prints("store ls keeps --json"), 2, "1", "value")
	},
	"store --store": func(f *flagTest) {
		f.stored()
		f.prints("store backup kept.db")
		f.contains(f.prints("store --store kept.db namespaces"), "keeps")
		f.fails("store --store none.db namespaces", 1, "there is no store none.db")
	},
	"store backup --control": func(f *flagTest) {
		f.serve("--control here.sock")
		f.fails("store backup b.db", 1, "control socket")
		f.prints("store backup b.db --control here.sock")
		f.exists("b.db")
	},
	"store backup --force": func(f *flagTest) {
		f.stored()
		write(f.T, "mine", f.dir, "b.db")
		f.fails("store backup b.db", 1, "--force")
		f.prints("store backup b.db --force")
		f.prints("store --store b.db check")
	},
	"store get --counter": func(f *flagTest) {
		f.stored()
		f.fails("store get keeps c", 1, `there is no key "c"`)
		f.contains(f.prints("store get --counter keeps c"), "7")
	},
	"store get --file": func(f *flagTest) {
		f.stored()
		f.fails("store get keeps f", 1, `there is no key "f"`)
		f.contains(f.prints("store get --file keeps f"), "text")
	},
	"store ls --counters": func(f *flagTest) {
		f.stored()
		f.lacks(f.prints("store ls keeps"), "7")
		f.contains(f.prints("store ls --counters keeps"), "7")
	},
	"store ls --limit": func(f *flagTest) {
		f.stored()
		if n := strings.Count(f.prints("store ls keeps"), "\n"); n != 2 {
			f.Errorf("%d lines without it", n)
		}
		if n := strings.Count(f.prints("store ls --limit 1 keeps"), "\n"); n != 1 {
			f.Errorf("%d lines", n)
		}
	},
	"store put --counter": func(f *flagTest) {
		f.stored()
		f.prints("store put --counter keeps c 41")
		f.contains(f.prints("store get --counter keeps c"), "41")
	},
	"store put --file": func(f *flagTest) {
		f.stored()
		write(f.T, "other text", f.dir, "source")
		f.prints("store put --file keeps f source")
		f.contains(f.prints("store get --file keeps f"), "other text")
	},
	"store rm --counter": func(f *flagTest) {
		f.stored()
		f.prints("store rm --counter keeps c")
		f.fails("store get --counter keeps c", 1, `there is no counter "c"`)
		f.prints("store get keeps k")
	},
	"store rm --file": func(f *flagTest) {
		f.stored()
		f.prints("store rm --file keeps f")
		f.fails("store get --file keeps f", 1, `there is no file "f"`)
	},
}
