package scripting

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Where the system has no watches left that is said once, with what to do about
// it, and plugins are replaced all the same. The limit is a real one: that of a
// user namespace, in which this test runs once more.
func TestNoWatchesLeft(t *testing.T) {
	const variable = "AMPHOST_TEST_WATCHES"
	if os.Getenv(variable) == "" {
		for _, c := range []struct{ file, limit string }{{"max_inotify_watches", "2"}, {"max_inotify_watches", "0"}, {"max_inotify_instances", "0"}} {
			script := fmt.Sprintf(`echo %s >/proc/sys/user/%s && echo limited && exec "$0" -test.run '^TestNoWatchesLeft$' -test.v`, c.limit, c.file)
			cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", script, os.Args[0])
			cmd.Env = append(os.Environ(), variable+"=1")
			out, err := cmd.CombinedOutput()
			if err != nil && !strings.Contains(string(out), "limited") {
				t.Skipf("NOT TESTED, for user namespaces are not to be had here: %v\n%s", err, out)
			}
			if err != nil || !strings.Contains(string(out), "--- PASS: TestNoWatchesLeft") {
				t.Errorf("with %s of %s: %v\n%s", c.file, c.limit, err, out)
			}
		}
		return
	}
	dir := t.TempDir()
	write(t, dir, "a.js", importing("./lib/n"), "lib/n.js", module(1), "b/index.js", answer("B", 1))
	d, l := openDir(t, dir, nil)
	watch(t, d)
	l.wait("looking at the plugins every half second instead")
	l.wait("see fs.inotify.max_user_")
	for n := 2; n < 4; n++ {
		write(t, dir, "lib/n.js", module(n), "b/index.js", answer("B", n))
		becomes(t, d, "A", fmt.Sprint(n))
		becomes(t, d, "B", fmt.Sprint(n))
	}
	if n := strings.Count(l.String(), "every half second instead"); n != 1 {
		t.Errorf("told %d times\n%s", n, l)
	}
}

// Ten thousand files, in one directory and in many, that nobody or somebody
// imports: a save is noticed in time, and none of them costs anything besides.
func TestManyFiles(t *testing.T) {
	const n = 2500
	dir := t.TempDir()
	for i := range n {
		write(t, dir, fmt.Sprintf("lib/m%d.ts", i), fmt.Sprintf("export const n%d = %d;\n", i, i),
			fmt.Sprintf("docs/%d.md", i), "x", fmt.Sprintf("%d.txt", i), "x", fmt.Sprintf("node_modules/p%d/index.js", i), "x (")
	}
	var imports, sum strings.Builder
	for i := range n {
		fmt.Fprintf(&imports, "import { n%d } from \"./lib/m%d\";\n", i, i)
		fmt.Fprintf(&sum, " + n%d", i)
	}
	big := imports.String() + `import * as amp from "amphost";
new amp.Command("Big", { response: { n: amp.Integer() } }).responder(() => ({ n: 0` + sum.String() + ` }));
`
	write(t, dir, "big.ts", big, "a.js", answer("A", 1))
	d, _ := openDir(t, dir, &Options{Logger: slog.New(slog.DiscardHandler), LoadTimeout: time.Minute})
	want := n * (n - 1) / 2
	becomes(t, d, "Big", fmt.Sprint(want))
	l := watchOnly(t, d, true)
	write(t, dir, "a.js", answer("A", 2))
	becomes(t, d, "A", "2")
	if got := len(l.events.WatchList()); got > 10 {
		t.Errorf("%d directories are watched", got)
	}
	write(t, dir, "lib/m7.ts", "export const n7 = 1007;\n")
	becomes(t, d, "Big", fmt.Sprint(want+1000))
	// All of them at once, while somebody saves.
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			_ = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.txt", i)), []byte("y"), 0o644)
			_ = os.WriteFile(filepath.Join(dir, "docs", fmt.Sprintf("%d.md", i)), []byte("y"), 0o644)
		}
	})
	write(t, dir, "a.js", answer("A", 3))
	becomes(t, d, "A", "3")
	wg.Wait()
	if got := generations(d); got != "a@3 big@2" {
		t.Errorf("there is %s", got)
	}
}
