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

// What the build warns of is told beside the failure that it may explain.
func TestWarningsOfAPluginThatDoesNotLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.js", `import * as amp from "amphost"; amp.onload(() => {});`)
	_, l := openDir(t, dir, nil)
	l.wait("plugin not loaded")
	l.wait("there is no \\\"onload\\\" in amphost, but")
}
