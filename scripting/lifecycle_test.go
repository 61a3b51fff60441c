package scripting

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// TestMain checks that nothing is left behind by the tests.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // the fuzzer leaves its signal handler behind
	}
	deadline := time.Now().Add(2 * matchTimeout) // what was abandoned comes back by then
	if strings.Contains(goroutines(), "regexp2/v2.runClock") {
		before++ // ends by itself, some seconds after the last regular expression
	}
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before && code == 0 {
		fmt.Printf("%d goroutines are left of %d:\n%s\n", n, before, goroutines())
		code = 1
	}
	os.Exit(code)
}

func goroutines() string {
	stacks := make([]byte, 1<<20)
	return string(stacks[:runtime.Stack(stacks, true)])
}

func TestOnLoad(t *testing.T) {
	p, l := run(t, "life", `import * as amp from "amphost";
let ready = "no";
amp.onLoad(async () => { await new Promise((ok) => setTimeout(ok, 10)); ready = "first"; });
amp.onLoad(() => { ready += ", second"; });
amp.onUnload(async () => { await new Promise((ok) => setTimeout(ok, 5)); console.log("unloaded", amp.plugin.name, amp.plugin.generation); });
new amp.Command("Ready", { response: { ready: amp.Unicode() } }).responder(() => ({ ready }));
`, nil)
	if b, err := ask(t, p, "Ready", nil); err != nil || string(b["ready"]) != "first, second" {
		t.Errorf("Ready = %q, %v", b, err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	l.wait(`msg="unloaded life 1"`)
	if _, err := ask(t, p, "Ready", nil); !errors.Is(err, amp.ErrShuttingDown) {
		t.Errorf("after the end: %v", err)
	}
}

// A plugin that does not start says why, and leaves nothing behind.
func TestStartFails(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{`amp.onLoad(async () => { await null; throw new RangeError("no luck"); })`, "/bad.js:1:"},
		{`amp.onLoad(() => new Promise(() => {}))`, "not ready after 1s"},
		{`for (;;) ;`, "ran too long"},
		{`amp.onLoad(() => { for (;;) ; })`, "ran too long"},
		{`const f = () => f() + 1; f()`, "call stack"},
		{`throw null`, "null"},
		{`undefinedFunction()`, "undefinedFunction is not defined"},
	} {
		prog, err := BuildSource("bad", `import * as amp from "amphost"; `+c.source)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Start(t.Context(), prog, &Options{LoadTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want %q", c.source, err, c.want)
		}
	}
}

// Stop waits for what runs, and cuts it off when its time is up.
func TestStop(t *testing.T) {
	source := `import * as amp from "amphost";
setInterval(() => {}, 1);
new amp.Command("Wait", { arguments: { ms: amp.Integer() }, response: { n: amp.Integer() } }).responder(async ({ ms }) => {
  console.log("waiting");
  await new Promise((ok) => setTimeout(ok, ms));
  return await amp.store.update((tx) => ({ n: tx.counter("n").next() }));
});`
	for _, c := range []struct{ ms, want string }{{"50", "1"}, {"60000", "SHUTTING_DOWN"}} {
		p, l := run(t, "wait", source, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			b, err := ask(t, p, "Wait", box("ms", c.ms))
			got := string(b["n"])
			if err != nil {
				got = codeOf(err)
			}
			if got != c.want {
				t.Errorf("Wait(%s) = %s, want %s", c.ms, got, c.want)
			}
		})
		l.wait("waiting")
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := p.Stop(ctx)
		cancel()
		if (err != nil) != (c.want == "SHUTTING_DOWN") {
			t.Errorf("stop: %v", err)
		}
		wg.Wait()
		select {
		case <-p.Done():
		case <-time.After(5 * time.Second):
			t.Error("it has not ended")
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Errorf("stop again: %v", err)
		}
	}
}

// Workers run side by side; a connection keeps to one.
func TestWorkers(t *testing.T) {
	p, _ := run(t, "many", `import * as amp from "amphost";
const me = Math.random();
let n = 0;
new amp.Command("Who", { response: { me: amp.Float(), n: amp.Integer() } }).responder(() => ({ me, n: ++n }));
export const plugin = { workers: 3 };
`, nil)
	seen := make(map[string]int)
	for range 6 {
		c, s := amp.Pipe(nil, p)
		who := ""
		for range 5 {
			b, err := callOver(t, c, "Who", nil)
			if err != nil {
				t.Fatal(err)
			}
			if who != "" && who != string(b["me"]) {
				t.Error("the connection changed its worker")
			}
			who = string(b["me"])
			seen[who]++
		}
		c.Close()
		s.Close()
	}
	if len(seen) != 3 {
		t.Errorf("%d workers answered, want 3", len(seen))
	}
}

// An embedding program adds a module of its own.
func TestModule(t *testing.T) {
	users := Module{Name: "myapp/users", Exports: map[string]any{
		"limit": 3,
		"lookup": func(args []any) (any, error) {
			if len(args) != 1 || args[0] != "ada" {
				return nil, &amp.Error{Code: "NO_USER", Description: fmt.Sprint(args...)}
			}
			return map[string]any{"name": "ada", "tags": []any{"a", int64(1), nil, true}, "key": []byte{1, 2}}, nil
		},
		"slow": func(args []any) (any, error) {
			return func() (any, error) { return args[0], nil }, nil
		},
		"fails": func([]any) (any, error) { return nil, errors.New("it failed") },
	}}
	prog, err := BuildSource("uses", `import * as amp from "amphost";
import { lookup, limit, slow, fails } from "myapp/users";
import users from "myapp/users";
new amp.Command("Try", { response: { out: amp.Unicode() } }).responder(async () => {
  let code, message;
  try { lookup("bob"); } catch (e) { code = e.code; }
  try { fails(); } catch (e) { message = e.message; }
  const u = lookup("ada");
  return { out: [limit, JSON.stringify(u.tags), Buffer.isBuffer(u.key), code, message, await slow({ a: [1.5] }).then((v) => v.a[0]), users.lookup === lookup].join(" ") };
});
`, users)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), prog, &Options{Modules: []Module{users}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(t.Context()) }()
	b, err := ask(t, p, "Try", nil)
	if want := `3 ["a",1,null,true] true NO_USER it failed 1.5 true`; err != nil || string(b["out"]) != want {
		t.Errorf("Try = %q, %v, want %q", b["out"], err, want)
	}
	if _, err := BuildSource("bad", `import { nope } from "myapp/users"; nope();`, users); err == nil || !strings.Contains(err.Error(), `"nope"`) {
		t.Errorf("an import that is not there: %v", err)
	}
}

// A mistake in a binding ends neither the process nor the plugin.
func TestPanic(t *testing.T) {
	boom := Module{Name: "boom", Exports: map[string]any{"boom": func([]any) (any, error) { panic("in Go") }}}
	prog, err := BuildSource("panics", `import * as amp from "amphost";
import { boom } from "boom";
new amp.Command("Boom").responder(() => { try { boom(); } catch {} });
new amp.Command("Later").responder(async () => { await new Promise((ok) => setTimeout(ok, 1)); boom(); });
new amp.Command("Fine").responder(() => {});
`, boom)
	if err != nil {
		t.Fatal(err)
	}
	l := &logs{t: t}
	p, err := Start(t.Context(), prog, &Options{Modules: []Module{boom}, Logger: l.logger(slog.LevelInfo)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(t.Context()) }()
	for _, command := range []string{"Boom", "Later"} {
		if _, err := ask(t, p, command, nil); !errors.Is(err, ErrRestarted) {
			t.Errorf("%s: %v", command, err)
		}
		l.wait("panic: in Go")
		if _, err := ask(t, p, "Fine", nil); err != nil {
			t.Errorf("after %s: %v", command, err)
		}
	}
	eventually(t, "no call is left", func() bool { return p.Running() == 0 })
}
