package scripting

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settled runs f with a directory of plugins that is watched by settle alone,
// in time that passes only when nothing is left to do: f saves files, and says
// so.
func settled(t *testing.T, files []string, f func(d *Dir, l *logs, save func(files ...string))) {
	t.Helper()
	dir := t.TempDir()
	warm, _ := openDir(t, dir, nil) // what is started once only is started outside
	ask(t, warm, "Nothing", nil)
	synctest.Test(t, func(t *testing.T) {
		write(t, dir, files...)
		d, l := openDir(t, dir, nil)
		ctx, cancel := context.WithCancel(t.Context())
		changes := make(chan string)
		done := make(chan struct{})
		go func() { // ends with ctx; waited for below
			defer close(done)
			settle(ctx, changes, func(paths map[string]bool, eager bool) bool {
				return d.look(ctx, change{paths: paths, eager: eager})
			})
		}()
		f(d, l, func(files ...string) {
			t.Helper()
			for i := 0; i < len(files); i += 2 {
				path := filepath.Join(dir, files[i])
				if files[i+1] == "" {
					if err := os.Remove(path); err != nil {
						t.Error(err)
					}
				} else {
					write(t, dir, files[i], files[i+1])
				}
				changes <- path
			}
		})
		cancel()
		<-done
		time.Sleep(time.Second) // esbuild leaves goroutines that sleep
	})
}

// generations tells which generation of each plugin runs.
func generations(d *Dir) string {
	var list []string
	for _, s := range d.Status() {
		list = append(list, fmt.Sprintf("%s@%d", s.Name, s.Generation))
	}
	return strings.Join(list, " ")
}

// What is good is published at once, what is half done when nobody has written
// for 100 ms, and what is saved together, together.
func TestBatches(t *testing.T) {
	good := func(n int) string { return answer("A", n) }
	for _, c := range []struct {
		name  string
		saves func(save func(files ...string))
		early string // after 20 ms; "" if the saves take longer
		late  string // after 200 ms more
	}{
		{"one that is good", func(save func(...string)) { save("a.js", good(2)) }, "a@2 b@1", "a@2 b@1"},
		{"one that does not build", func(save func(...string)) { save("a.js", "}") }, "a@1 b@1", "a@1 b@1"},
		{"one that is half written", func(save func(...string)) {
			save("a.js", good(2)[:40])
			time.Sleep(50 * time.Millisecond)
			save("a.js", good(2))
		}, "", "a@2 b@1"},
		{"one that is truncated, then written", func(save func(...string)) {
			save("a.js", "\n")
			time.Sleep(15 * time.Millisecond)
			save("a.js", good(2))
		}, "", "a@2 b@1"},
		{"one whose command has vanished", func(save func(...string)) { save("a.js", answer("C", 2)) }, "a@1 b@1", "a@2 b@1"},
		{"two that are good", func(save func(...string)) { save("a.js", good(2), "b.js", answer("B", 2)) }, "a@2 b@2", "a@2 b@2"},
		{"two of which one is bad", func(save func(...string)) { save("a.js", good(2), "b.js", "}") }, "a@1 b@1", "a@2 b@1"},
		{"a command that moves", func(save func(...string)) { save("a.js", answer("C", 2), "b.js", answer("B", 2)+answer2("A", 2)) }, "a@2 b@2", "a@2 b@2"},
		{"commands that change places", func(save func(...string)) { save("a.js", answer("B", 2), "b.js", answer("A", 2)) }, "a@2 b@2", "a@2 b@2"},
		{"a command that moves, slowly", func(save func(...string)) {
			save("b.js", answer("B", 2)+answer2("A", 2))
			time.Sleep(30 * time.Millisecond)
			save("a.js", answer("C", 2))
		}, "", "a@2 b@2"},
		{"a plugin that moves", func(save func(...string)) { save("a.js", "", "c.js", good(2)) }, "a@1 b@1", "b@1 c@1"},
		{"a plugin that is gone", func(save func(...string)) { save("a.js", "") }, "a@1 b@1", "b@1"},
		{"a plugin that is gone for a moment", func(save func(...string)) {
			save("a.js", "")
			time.Sleep(50 * time.Millisecond)
			save("a.js", good(2))
		}, "", "a@2 b@1"},
		{"a touch", func(save func(...string)) { save("a.js", good(1)) }, "a@1 b@1", "a@1 b@1"},
		{"a new one beside a bad one", func(save func(...string)) { save("a.js", "}", "c.js", answer("C", 1)) }, "a@1 b@1", "a@1 b@1 c@1"},
		{"a new one", func(save func(...string)) { save("c.js", answer("C", 1)) }, "a@1 b@1 c@1", "a@1 b@1 c@1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			settled(t, []string{"a.js", good(1), "b.js", answer("B", 1)}, func(d *Dir, l *logs, save func(...string)) {
				c.saves(save)
				time.Sleep(20 * time.Millisecond)
				if got := generations(d); got != c.early && c.early != "" {
					t.Errorf("after 20 ms: %s, want %s", got, c.early)
				}
				time.Sleep(200 * time.Millisecond)
				if got := generations(d); got != c.late {
					t.Errorf("at the end: %s, want %s\n%s", got, c.late, l)
				}
			})
		})
	}
}

// What is wrong and stays so holds up nobody: neither two plugins of one name, nor
// one whose command is taken, nor one that does not build.
func TestStandingMistakesDoNotHoldUp(t *testing.T) {
	settled(t, []string{"a.js", answer("A", 1), "b.js", answer("A", 2), "c.js", "", "c.ts", "", "d.js", "}"}, func(d *Dir, l *logs, save func(...string)) {
		for n := 2; n < 5; n++ {
			save("a.js", answer("A", n))
			time.Sleep(20 * time.Millisecond)
			if got, want := generations(d), fmt.Sprintf("a@%d b@0 c@0 d@0", n); got != want {
				t.Errorf("after 20 ms: %s, want %s", got, want)
			}
			time.Sleep(200 * time.Millisecond)
		}
		if n := strings.Count(l.String(), "plugin not loaded"); n != 3 {
			t.Errorf("told of %d mistakes, want 3\n%s", n, l)
		}
	})
}

// A look may come between the truncation of a file and its contents. Such a file
// is left alone; one that is meant to be empty is old soon.
func TestEmptiedFileIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name    string
		text    string
		age     time.Duration
		changed bool // since it was read
		same    bool // as what runs
		want    bool
	}{
		{name: "just emptied", want: true},
		{name: "emptied while it was read", age: time.Hour, changed: true, want: true},
		{name: "meant to be empty", age: quietMost},
		{name: "of another clock", age: -time.Hour},
		{name: "not empty", text: "x"},
		{name: "empty as before", same: true},
	} {
		path := filepath.Join(dir, "a.js")
		write(t, dir, "a.js", c.text)
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-c.age)); err != nil {
			t.Fatal(err)
		}
		_, s, err := readStamped(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.changed {
			write(t, dir, "a.js", "x")
		}
		got := (&candidate{prog: &Program{stamps: stamps{path: s}}, same: c.same}).emptied()
		if got != c.want {
			t.Errorf("%s: emptied is %v, want %v", c.name, got, c.want)
		}
	}
}

// answer2 is answer for a second command of a file.
func answer2(command string, n int) string {
	return strings.SplitN(answer(command, n), "\n", 2)[1]
}

// Where events do not come that is found out, and said once; from then on
// changes are noticed in half a second. Once they come it listens again.
func TestEventsThatDoNotCome(t *testing.T) {
	dir := t.TempDir()
	warm, _ := openDir(t, dir, nil)
	ask(t, warm, "Nothing", nil)
	synctest.Test(t, func(t *testing.T) {
		write(t, dir, "a.js", answer("A", 1))
		d, logged := openDir(t, dir, nil)
		l := &listener{dir: d, events: &fsnotify.Watcher{Events: make(chan fsnotify.Event), Errors: make(chan error)}}
		ctx, cancel := context.WithCancel(t.Context())
		changes := make(chan string)
		var wg sync.WaitGroup
		wg.Go(func() { l.listen(ctx, changes) })
		wg.Go(func() {
			settle(ctx, changes, func(paths map[string]bool, eager bool) bool {
				return d.look(ctx, change{paths: paths, eager: eager})
			})
		})
		time.Sleep(10 * time.Second)
		version := 1
		save := func() time.Duration {
			t.Helper()
			version++
			write(t, dir, "a.js", answer("A", version))
			start := time.Now()
			becomes(t, d, "A", fmt.Sprint(version))
			return time.Since(start)
		}
		if took := save(); took > spotTime+50*time.Millisecond {
			t.Errorf("the first change was noticed after %v", took)
		}
		time.Sleep(spotTime)
		for range 3 {
			if took := save(); took > pollTime+50*time.Millisecond {
				t.Errorf("a change was noticed after %v", took)
			}
		}
		if n := strings.Count(logged.String(), "file events do not come"); n != 1 {
			t.Errorf("told %d times\n%s", n, logged)
		}

		// Events that are late are no events that do not come.
		l.events.Events <- fsnotify.Event{Name: dir + "/x.js", Op: fsnotify.Write}
		time.Sleep(10 * time.Second)
		start := time.Now()
		write(t, dir, "a.js", answer("A", 100))
		time.Sleep(gatherTime)
		l.events.Events <- fsnotify.Event{Name: dir + "/a.js", Op: fsnotify.Write}
		becomes(t, d, "A", "100")
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("an event was noticed after %v", took)
		}
		time.Sleep(10 * time.Second)
		if n := strings.Count(logged.String(), "file events do not come"); n != 1 {
			t.Errorf("told %d times\n%s", n, logged)
		}
		cancel()
		wg.Wait()
		time.Sleep(time.Second) // esbuild leaves goroutines that sleep
	})
}

// A save looks at the plugins that are made of what was saved, and at all if it
// may be about something else.
func TestSaveLooksAtItsPlugins(t *testing.T) {
	dir := t.TempDir()
	with := func(command string) string { return "import \"./lib/shared.js\";\n" + answer(command, 1) }
	write(t, dir, "lib/shared.js", "export const n = 1;", "a.js", with("A"), "b.js", answer("B", 1), "c.js", with("C"), "bad.js", "}")
	d, _ := openDir(t, dir, nil)
	looks := func(eager bool, files ...string) string {
		paths := make(map[string]bool)
		for _, file := range files {
			paths[filepath.Join(dir, file)] = true
		}
		batch := d.edited(change{paths: paths, eager: eager})
		if batch == nil {
			return "all"
		}
		var names []string
		for _, c := range batch {
			names = append(names, c.entry.name)
		}
		return strings.Join(names, " ")
	}
	for _, c := range []struct {
		eager bool
		files string
		want  string
	}{
		{true, "a.js", "a"},
		{true, "b.js a.js", "a b"},
		{true, "lib/shared.js", "a c"},
		{true, "lib/shared.js b.js", "a b c"},
		{false, "a.js", "all"},        // somebody has waited for this
		{true, "a.js new.js", "all"},  // there is one more
		{true, "lib", "all"},          // a folder, and what is in it
		{true, "bad.js", "all"},       // what it had of the others is not known
		{true, "lib/other.js", "all"}, // nobody's
		{true, "a.js lib/other.js", "all"},
	} {
		if got := looks(c.eager, strings.Fields(c.files)...); got != c.want {
			t.Errorf("a save of %s, eager %v, looks at %s, want %s", c.files, c.eager, got, c.want)
		}
	}
	// One whose command is taken may get it now.
	write(t, dir, "taken.js", answer("B", 2))
	if err := d.ReloadAll(t.Context()); err == nil {
		t.Fatal("two plugins answer B")
	}
	if got := looks(true, "a.js"); got != "all" {
		t.Errorf("a save beside a plugin whose command is taken looks at %s, want all", got)
	}
}
