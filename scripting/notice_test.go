package scripting

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// watchOnly watches a directory until the test's end, by events alone or by
// looking alone.
func watchOnly(t testing.TB, d *Dir, events bool) *listener {
	t.Helper()
	l := &listener{dir: d, every: 50 * time.Millisecond}
	if events {
		l = newListener(d)
		l.every = time.Hour
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.watch(ctx, l) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return l
}

// must0 fails the test if one of the errors is one.
func must0(t testing.TB, list ...error) {
	t.Helper()
	for _, err := range list {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A site is a directory of plugins that a test changes.
type site struct {
	t    *testing.T
	root string // what plugins is in
	dir  string // plugins
}

func (s site) write(files ...string) { s.t.Helper(); write(s.t, s.dir, files...) }

func (s site) path(name string) string { return filepath.Join(s.dir, name) }

func (s site) rename(from, to string) { s.t.Helper(); must0(s.t, os.Rename(s.path(from), s.path(to))) }

func (s site) remove(name string) { s.t.Helper(); must0(s.t, os.RemoveAll(s.path(name))) }

// link makes a symbolic link, or puts it in the place of another, at once.
func (s site) link(to, name string) {
	s.t.Helper()
	must0(s.t, os.Symlink(to, s.path(name)+".new"), os.Rename(s.path(name)+".new", s.path(name)))
}

// importing is a plugin that answers A with what it imports.
func importing(from string) string {
	return fmt.Sprintf("import * as amp from \"amphost\"; import { n } from %q;\nnew amp.Command(\"A\", { response: { n: amp.Integer() } }).responder(() => ({ n }));\n", from)
}

func module(n int) string { return fmt.Sprintf("export const n = %d;\n", n) }

func data(n int) string { return fmt.Sprintf(`{"n": %d}`, n) }

// What changes a plugin is noticed, by events, and by looking where there are
// none. Each way has A answer 1 at first, then 2, and then 3.
func TestNoticed(t *testing.T) {
	for _, way := range []struct {
		name  string
		start func(s site)
		steps []func(s site)
	}{
		{"a write", func(s site) { s.write("a.js", answer("A", 1)) }, []func(site){
			func(s site) { s.write("a.js", answer("A", 2)) },
			func(s site) { s.write("a.js", answer("A", 3)) },
		}},
		{"a write in pieces", func(s site) { s.write("a.js", answer("A", 1)) }, []func(site){
			func(s site) { inPieces(s.t, s.path("a.js"), answer("A", 2)) },
			func(s site) { inPieces(s.t, s.path("a.js"), answer("A", 3)) },
		}},
		{"a rename over it", func(s site) { s.write("a.js", answer("A", 1)) }, []func(site){
			func(s site) { s.write(".a.js.swp", answer("A", 2)); s.rename(".a.js.swp", "a.js") },
			func(s site) { s.write("a.js.tmp", answer("A", 3)); s.rename("a.js.tmp", "a.js") },
		}},
		{"a rename away, and a new one", func(s site) { s.write("a.js", answer("A", 1)) }, []func(site){
			func(s site) { s.rename("a.js", "a.js~"); s.write("a.js", answer("A", 2)); s.remove("a.js~") },
			func(s site) { s.rename("a.js", "a.js~"); s.write("a.js", answer("A", 3)) },
		}},
		{"JetBrains' safe write", func(s site) { s.write("a.js", answer("A", 1)) }, []func(site){
			func(s site) { jetBrains(s, "a.js", answer("A", 2)) },
			func(s site) { jetBrains(s, "a.js", answer("A", 3)) },
		}},
		{"a delete, and it is back", func(s site) { s.write("a.js", answer("A", 1), "b.js", answer("B", 1)) }, []func(site){
			func(s site) { s.remove("b.js"); s.write("a.js", answer("A", 2)) },
			func(s site) { s.write("b.js", answer("B", 2), "a.js", answer("A", 3)) },
		}},
		{"a move in, and out", func(s site) {
			s.write("a.js", answer("A", 1))
			write(s.t, s.root, "elsewhere/a.ts", answer("A", 2), "elsewhere/c.js", answer("A", 3))
		}, []func(site){
			func(s site) { s.rename("a.js", "../a.js"); s.rename("../elsewhere/a.ts", "a.ts") },
			func(s site) { s.rename("a.ts", "../a.ts"); s.rename("../elsewhere/c.js", "c.js") },
		}},
		{"a file that becomes a folder", func(s site) { s.write("a.js", answer("A", 1)) }, []func(site){
			func(s site) { s.remove("a.js"); s.write("a/index.ts", importing("./n"), "a/n.ts", module(2)) },
			func(s site) { s.write("a/n.ts", module(3)) },
		}},
		{"a folder whose package.json names another main", func(s site) {
			s.write("a/package.json", `{"main":"one.js"}`, "a/one.js", answer("A", 1), "a/two.js", answer("A", 2), "a/index.js", answer("A", 3))
		}, []func(site){
			func(s site) { s.write("a/package.json", `{"main":"two.js"}`) },
			func(s site) { s.remove("a/package.json") },
		}},
		{"the directory removed and made again", func(s site) { s.write("a.js", answer("A", 1)) }, []func(site){
			func(s site) { must0(s.t, os.RemoveAll(s.dir)); s.write("a.js", answer("A", 2)) },
			func(s site) { must0(s.t, os.RemoveAll(s.dir)); s.write("a.js", answer("A", 3)) },
		}},
		{"another directory in its place", func(s site) {
			s.write("a.js", answer("A", 1))
			write(s.t, s.root, "v2/a.js", answer("A", 2), "v3/a.js", answer("A", 3))
		}, []func(site){
			func(s site) { s.rename("", "../v1"); s.rename("../v2", "") },
			func(s site) { s.rename("", "../v2"); s.rename("../v3", "") },
		}},
		{"the directory is a link that is swapped", func(s site) {
			must0(s.t, os.RemoveAll(s.dir))
			write(s.t, s.root, "v1/a.js", answer("A", 1), "v2/a.js", answer("A", 2), "v3/a.js", answer("A", 3))
			s.link("v1", "")
		}, []func(site){
			func(s site) { s.link("v2", "") },
			func(s site) { s.link("v3", "") },
		}},
		{"..data is swapped, as Kubernetes does", func(s site) {
			s.write("..v1/a.js", importing("./n.js"), "..v1/n.js", module(1), "..v2/a.js", importing("./n.js"), "..v2/n.js", module(2), "..v3/a.js", importing("./n.js"), "..v3/n.js", module(3))
			s.link("..v1", "..data")
			s.link("..data/a.js", "a.js")
			s.link("..data/n.js", "n.js")
		}, []func(site){
			func(s site) { s.link("..v2", "..data"); s.remove("..v1") },
			func(s site) { s.link("..v3", "..data") }, // the old ones may stay for a while
		}},
		{"a shared module", func(s site) {
			s.write("a.js", importing("./shared/deep/n"), "shared/deep/n.ts", module(1))
		}, []func(site){
			func(s site) { s.write("shared/deep/n.ts", module(2)) },
			func(s site) { s.write("shared/deep/n.ts", module(3)) },
		}},
		{"a shared module's directory is moved", func(s site) {
			s.write("a.js", importing("./shared/deep/n"), "shared/deep/n.ts", module(1), "shared/next/n.ts", module(2))
		}, []func(site){
			func(s site) { s.rename("shared/deep", "shared/last"); s.rename("shared/next", "shared/deep") },
			func(s site) { s.write("shared/deep/n.ts", module(3)) },
		}},
		{"a shared module behind a link", func(s site) {
			s.write("a.js", importing("./shared/n"))
			write(s.t, s.root, "v1/n.ts", module(1), "v2/n.ts", module(2), "v3/n.ts", module(3))
			s.link("../v1", "shared")
		}, []func(site){
			func(s site) { s.link("../v2", "shared") },
			func(s site) { s.link("../v3", "shared") },
		}},
		{"a module outside of the directory", func(s site) {
			s.write("a.js", importing("../lib/n"))
			write(s.t, s.root, "lib/n.js", module(1))
		}, []func(site){
			func(s site) { write(s.t, s.root, "lib/n.js", module(2)) },
			func(s site) { must0(s.t, os.RemoveAll(s.path("../lib"))); write(s.t, s.root, "lib/n.js", module(3)) },
		}},
		{"JSON", func(s site) { s.write("a.js", importing("./data.json"), "data.json", data(1)) }, []func(site){
			func(s site) { s.write("data.json", data(2)) },
			func(s site) { s.write("data.json", data(3)) },
		}},
		{"after a build that failed", func(s site) { s.write("a.js", importing("./n"), "n.js", module(1), "n.test.js", "") }, []func(site){
			func(s site) { s.write("n.js", "export const ;"); awaitError(s); s.write("n.js", module(2)) },
			func(s site) { s.remove("n.js"); awaitError(s); s.write("n.ts", module(3)) },
		}},
		{"a package that is installed again", func(s site) {
			s.write("a.js", importing("pkg"), "node_modules/pkg/package.json", `{"main":"lib/one.js"}`, "node_modules/pkg/lib/one.js", module(1), "node_modules/pkg/lib/two.js", module(2))
		}, []func(site){
			func(s site) { s.write("node_modules/pkg/package.json", `{"main":"lib/two.js"}`) },
			func(s site) {
				s.remove("node_modules")
				awaitError(s)
				s.write("node_modules/pkg/package.json", `{"main":"lib/one.js"}`, "node_modules/pkg/lib/one.js", module(3))
			},
		}},
		{"a package whose main comes later", func(s site) {
			s.write("a.js", answer("A", 1), "node_modules/pkg/package.json", `{"main":"lib/one.js"}`)
		}, []func(site){
			func(s site) {
				s.write("a.js", importing("pkg"))
				awaitError(s)
				s.write("node_modules/pkg/lib/one.js", module(2))
			},
			func(s site) {
				s.remove("node_modules/pkg/lib/one.js")
				awaitError(s)
				s.write("node_modules/pkg/lib/one.js", module(3))
			},
		}},
		{"a package above the directory, by a link", func(s site) {
			s.write("a.js", importing("@scope/pkg/n.js"))
			for n := range 4 {
				write(s.t, s.root, fmt.Sprintf("node_modules/.store/pkg@%d/package.json", n), `{"name":"pkg"}`, fmt.Sprintf("node_modules/.store/pkg@%d/n.js", n), module(n))
			}
			must0(s.t, os.MkdirAll(s.path("../node_modules/@scope"), 0o755))
			s.link("../.store/pkg@1", "../node_modules/@scope/pkg")
		}, []func(site){
			func(s site) { s.link("../.store/pkg@2", "../node_modules/@scope/pkg") },
			func(s site) { s.link("../.store/pkg@3", "../node_modules/@scope/pkg") },
		}},
		{"a package that was missing", func(s site) {
			s.write("a.js", answer("A", 1))
		}, []func(site){
			func(s site) {
				s.write("a.js", importing("pkg"))
				awaitError(s)
				s.write("node_modules/pkg/index.js", module(2))
			},
			func(s site) { s.write("node_modules/pkg/index.js", module(3)) },
		}},
		{"a directory made and filled at once", func(s site) { s.write("a.js", answer("A", 1)) }, []func(site){
			func(s site) { s.remove("a.js"); s.write("b/lib/n.js", module(2), "b/index.js", importing("./lib/n")) },
			func(s site) { s.remove("b"); s.write("c/index.js", importing("./lib/n"), "c/lib/n.js", module(3)) },
		}},
		{"a directory that is filled later", func(s site) { s.write("a.js", answer("A", 1)); must0(s.t, os.Mkdir(s.path("b"), 0o755)) }, []func(site){
			func(s site) { s.remove("a.js"); s.write("b/index.js", answer("A", 2)) },
			func(s site) { s.write("b/index.js", answer("A", 3)) },
		}},
	} {
		for _, how := range []string{"events", "looking"} {
			t.Run(way.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				s := site{t: t, root: root, dir: filepath.Join(root, "plugins")}
				must0(t, os.Mkdir(s.dir, 0o755))
				way.start(s)
				d, l := openDir(t, s.dir, nil)
				awaits.Store(s.dir, d)
				watchOnly(t, d, how == "events")
				becomes(t, d, "A", "1")
				for i, step := range way.steps {
					step(s)
					want := fmt.Sprint(i + 2)
					deadline := time.Now().Add(10 * time.Second)
					for number(t, d, "A") != want {
						if time.Now().After(deadline) {
							t.Fatalf("step %d is not noticed: A is %s\n%s", i+1, number(t, d, "A"), l)
						}
						time.Sleep(2 * time.Millisecond)
					}
				}
			})
		}
	}
}

// awaits has the Dir of each site.
var awaits sync.Map

// awaitError waits until a plugin's newest version has failed.
func awaitError(s site) {
	s.t.Helper()
	d, _ := awaits.Load(s.dir)
	eventually(s.t, "the plugin does not build", func() bool {
		for _, p := range d.(*Dir).Status() {
			if p.Err != nil {
				return true
			}
		}
		return false
	})
}

// inPieces writes a file as a slow program does.
func inPieces(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []byte(text) {
		if _, err := f.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
	}
}

func jetBrains(s site, name, text string) {
	s.write(name+"___jb_tmp___", text)
	s.rename(name, name+"___jb_old___")
	s.rename(name+"___jb_tmp___", name)
	s.remove(name + "___jb_old___")
}

// What does not change a plugin is not noticed: nothing is built, started or
// told of.
func TestNotNoticed(t *testing.T) {
	for _, way := range []struct {
		name string
		do   func(s site)
	}{
		{"chmod", func(s site) { must0(s.t, os.Chmod(s.path("a.js"), 0o600), os.Chmod(s.path("a.js"), 0o755)) }},
		{"a touch", func(s site) { now := time.Now(); must0(s.t, os.Chtimes(s.path("a.js"), now, now)) }},
		{"the same once more", func(s site) { s.write("a.js", importing("./shared/n")) }},
		{"the same in a new file", func(s site) { s.write("a.tmp", importing("./shared/n")); s.rename("a.tmp", "a.js") }},
		{"the same in a new directory", func(s site) {
			s.write("../next/a.js", importing("./shared/n"), "../next/shared/n.js", module(1))
			s.rename("", "../last")
			s.rename("../next", "")
		}},
		{"vim's litter", func(s site) {
			s.write(".a.js.swp", "x", ".a.js.swx", "x", "4913", "", "a.js~", "syntax error (")
			s.remove("4913")
			s.remove(".a.js.swp")
		}},
		{"Emacs' litter", func(s site) {
			s.write("#a.js#", "x (", "a.js~", "x (", "a.js.~1~", "x (")
			must0(s.t, os.Symlink("me@here.1234:5678", s.path(".#a.js")))
		}},
		{"other litter", func(s site) {
			s.write(".DS_Store", "x", "a.js.tmp", "x", "a.js.bak", "x (", "a.js.orig", "x (", "README.md", "x", ".git/index", "x", "_private.js", "x (", "a.test.js", "x (", "a.d.ts", "x (")
		}},
		{"a shared folder that nobody imports", func(s site) { s.write("shared/other.js", "x (", "more/things.js", "x (") }},
		{"a package that nobody imports", func(s site) { s.write("node_modules/pkg/index.js", "x (") }},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			s := site{t: t, root: root, dir: filepath.Join(root, "plugins")}
			s.write("a.js", importing("./shared/n"), "shared/n.js", module(1))
			d, l := openDir(t, s.dir, nil)
			l.reset()
			watchOnly(t, d, true)
			way.do(s)
			// What comes later is noticed, so what came before has been.
			s.write("z.js", answer("Z", 1))
			becomes(t, d, "Z", "1")
			s.write("z.js", answer("Z", 2))
			becomes(t, d, "Z", "2")
			if got := generations(d); got != "a@1 z@2" {
				t.Errorf("there is %s", got)
			}
			for line := range strings.Lines(l.String()) {
				if !strings.Contains(line, "plugin=z") && !strings.Contains(line, "the plugin directory is gone") {
					t.Errorf("the log says %s", line)
				}
			}
			if number(t, d, "A") != "1" {
				t.Error("A is gone")
			}
		})
	}
}
