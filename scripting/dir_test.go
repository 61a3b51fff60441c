package scripting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// answer is a plugin that answers a command with a number.
func answer(command string, n int) string {
	return fmt.Sprintf(`import * as amp from "amphost";
new amp.Command(%q, { response: { n: amp.Integer() } }).responder(() => ({ n: %d }));
`, command, n)
}

// write puts files into a directory: names and contents. A name may have
// folders.
func write(t testing.TB, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// openDir opens a directory of plugins.
func openDir(t testing.TB, path string, opts *Options) (*Dir, *logs) {
	t.Helper()
	l := &logs{t: t}
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = l.logger(slog.LevelInfo)
	}
	d, err := OpenDir(t.Context(), path, &o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("stop: %v\nlog:\n%s", err, l)
		}
	})
	return d, l
}

// watch watches a directory until the test's end.
func watch(t testing.TB, d *Dir) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.Watch(ctx); err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// number asks a plugin of answer's.
func number(t testing.TB, h amp.Handler, command string) string {
	t.Helper()
	got, err := ask(t, h, command, nil)
	if err != nil {
		return err.(*amp.Error).Code
	}
	return string(got["n"])
}

// becomes waits until a command answers so.
func becomes(t testing.TB, h amp.Handler, command, want string) {
	t.Helper()
	eventually(t, command+" is "+want, func() bool { return number(t, h, command) == want })
}

func TestDirReload(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.js", answer("A", 1), "b.ts", answer("B", 1), "README.md", "x", "_c.js", "throw 1", "shared/x.js", "export const x = 1")
	d, l := openDir(t, dir, nil)
	if a, b := number(t, d, "A"), number(t, d, "B"); a != "1" || b != "1" {
		t.Fatalf("A, B = %s, %s\n%s", a, b, l)
	}
	if n := len(d.Status()); n != 2 {
		t.Errorf("%d plugins, want 2: %v", n, d.Status())
	}

	write(t, dir, "a.js", answer("A", 2))
	if err := d.Reload(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := number(t, d, "A"); got != "2" {
		t.Errorf("A = %s after the reload", got)
	}
	if s := d.Status()[0]; s.Generation != 2 || s.Err != nil {
		t.Errorf("status = %+v", s)
	}

	// A mistake keeps the old generation, and says where it is.
	write(t, dir, "a.js", "import * as amp from 'amphost';\nlet x = ;\n")
	err := d.Reload(t.Context(), "a")
	var build *BuildError
	if !errors.As(err, &build) || build.Messages[0].Line != 2 || !strings.Contains(err.Error(), "let x = ;") {
		t.Errorf("reload of a syntax error: %v", err)
	}
	if got := number(t, d, "A"); got != "2" {
		t.Errorf("A = %s after a bad reload", got)
	}
	l.wait("the old version goes on")

	write(t, dir, "a.js", "import * as amp from 'amphost';\n\nthrow new Error('no luck');\n")
	var thrown *Error
	if err := d.Reload(t.Context(), "a"); !errors.As(err, &thrown) || thrown.Line != 3 || thrown.Message != "Error: no luck" || !strings.Contains(thrown.Frame, "> 3 | throw") {
		t.Errorf("reload of a module that throws: %+v", err)
	}
	if got := number(t, d, "A"); got != "2" {
		t.Errorf("A = %s after a bad start", got)
	}

	// Both of two that answer the same are named.
	write(t, dir, "a.js", answer("B", 3))
	if err := d.Reload(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "plugin b, at ") || !strings.Contains(err.Error(), "a.js:2") {
		t.Errorf("reload with a command that is taken: %v", err)
	}

	// A command may move when both are saved.
	write(t, dir, "a.js", answer("B", 4), "b.ts", answer("A", 4))
	if err := d.ReloadAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, b := number(t, d, "A"), number(t, d, "B"); a != "4" || b != "4" {
		t.Errorf("A, B = %s, %s after they changed places", a, b)
	}

	if err := os.Remove(filepath.Join(dir, "b.ts")); err != nil {
		t.Fatal(err)
	}
	if err := d.ReloadAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := number(t, d, "A"); got != "UNHANDLED" {
		t.Errorf("A = %s after its plugin was removed", got)
	}
}

func TestWatch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later", "plugins")
	d, l := openDir(t, dir, nil)
	watch(t, d)
	becomes(t, d, "A", "UNHANDLED")

	// A directory made and filled at once.
	write(t, dir, "a.js", answer("A", 1))
	becomes(t, d, "A", "1")

	// By writing, and by renaming.
	write(t, dir, "a.js", answer("A", 2))
	becomes(t, d, "A", "2")
	write(t, dir, ".a.js.swp", answer("A", 3))
	if err := os.Rename(filepath.Join(dir, ".a.js.swp"), filepath.Join(dir, "a.js")); err != nil {
		t.Fatal(err)
	}
	becomes(t, d, "A", "3")

	// A mistake, then right again.
	write(t, dir, "a.js", "}")
	l.wait("the old version goes on")
	if got := number(t, d, "A"); got != "3" {
		t.Errorf("A = %s after a mistake", got)
	}
	write(t, dir, "a.js", answer("A", 4))
	becomes(t, d, "A", "4")

	// A module that is missing at first, shared by two.
	write(t, dir, "b.js", `import * as amp from "amphost"; import { n } from "./lib/n";
new amp.Command("B", { response: { n: amp.Integer() } }).responder(() => ({ n }));`)
	eventually(t, "b fails", func() bool { s := d.Status(); return len(s) == 2 && s[1].Err != nil })
	write(t, dir, "lib/n.ts", "export const n: number = 5;")
	becomes(t, d, "B", "5")
	write(t, dir, "lib/n.ts", "export const n: number = 6;")
	becomes(t, d, "B", "6")

	// A folder, and one that is removed and made again.
	write(t, dir, "c/index.js", answer("C", 1))
	becomes(t, d, "C", "1")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "c/index.js", answer("C", 2))
	becomes(t, d, "C", "2")
	becomes(t, d, "A", "UNHANDLED")

	// A touch changes nothing.
	generation := d.Status()[0].Generation
	write(t, dir, "c/index.js", answer("C", 2))
	write(t, dir, "d.js", answer("D", 1))
	becomes(t, d, "D", "1")
	if s := d.Status()[0]; s.Name != "c" || s.Generation != generation {
		t.Errorf("a touch made %+v of generation %d", s, generation)
	}
}

// No request is lost, or answered twice, by any number of reloads, and those of
// one connection start in order.
func TestReloadUnderLoad(t *testing.T) {
	dir := t.TempDir()
	plugin := func(version int) string {
		return fmt.Sprintf(`import * as amp from "amphost";
const Slow = new amp.Command("Slow", { arguments: { i: amp.Integer() }, response: { i: amp.Integer(), version: amp.Integer() } });
Slow.responder(async ({ i }) => { await new Promise((ok) => setTimeout(ok, i %% 7)); return { i, version: %[1]d }; });
const Fast = new amp.Command("Fast", { arguments: { i: amp.Integer() }, response: { i: amp.Integer(), version: amp.Integer() } });
Fast.responder(({ i }) => ({ i, version: %[1]d }));
`, version)
	}
	write(t, dir, "p.js", plugin(1))
	d, l := openDir(t, dir, nil)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var calls atomic.Int64
	for range 4 {
		wg.Go(func() {
			client, server := amp.Pipe(nil, d)
			defer client.Close()
			defer server.Close()
			type got struct {
				box amp.Box
				err error
			}
			oldest := "0"
			for i := 0; ctx.Err() == nil; i++ {
				answers := make([]chan got, 8)
				for k := range answers {
					answers[k] = make(chan got, 2)
					command := "Fast"
					if k%2 == 1 {
						command = "Slow"
					}
					client.Go(command, box("i", fmt.Sprint(i+k)), func(b amp.Box, err error) { answers[k] <- got{b, err} })
				}
				for k := range answers {
					g := <-answers[k]
					if g.err != nil || string(g.box["i"]) != fmt.Sprint(i+k) {
						t.Errorf("call %d: %q, %v", k, g.box, g.err)
						return
					}
					if version := string(g.box["version"]); k%2 == 0 {
						if len(version) < len(oldest) || len(version) == len(oldest) && version < oldest {
							t.Errorf("version %s answered after version %s had begun", version, oldest)
						}
						oldest = version
					}
					calls.Add(1)
				}
			}
		})
	}
	for version := 2; version < 60; version++ {
		text := plugin(version)
		if version%5 == 0 {
			text = "broken ("
		}
		write(t, dir, "p.js", text)
		if err := d.Reload(t.Context(), "p"); (err != nil) != (version%5 == 0) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	stop()
	wg.Wait()
	if got, err := ask(t, d, "Fast", box("i", "1")); err != nil || string(got["version"]) != "59" {
		t.Errorf("at the end: %q, %v", got, err)
	}
	if calls.Load() < 100 {
		t.Errorf("%d calls only\n%s", calls.Load(), l)
	}
}
