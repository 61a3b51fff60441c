package scripting

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amphost/amphost/store"
)

// A version that was rolled back to goes on until the file changes, also in the
// next process.
func TestRollback(t *testing.T) {
	dir, st := t.TempDir(), store.NewMem()
	opts := &Options{Store: st}
	write(t, dir, "a.js", answer("A", 1)+"\n// one", "b.js", answer("B", 1))
	d, l := openDir(t, dir, opts)
	if err := d.Rollback(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "no version of a to go back to") {
		t.Errorf("rollback of the first version: %v", err)
	}
	if err := d.Rollback(t.Context(), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rollback of nothing: %v", err)
	}
	save := func(text string) {
		t.Helper()
		write(t, dir, "a.js", text)
		_ = d.ReloadAll(t.Context()) // what is bad is tried, too
	}
	is := func(want, generations_ string) {
		t.Helper()
		if got := number(t, d, "A"); got != want {
			t.Errorf("A = %s, want %s", got, want)
		}
		if got := generations(d); got != generations_ {
			t.Errorf("there is %s, want %s", got, generations_)
		}
	}
	save(answer("A", 2))
	is("2", "a@2 b@1")
	must0(t, d.Rollback(t.Context(), "a"))
	is("1", "a@3 b@1")
	if s := d.Status()[0]; !s.RolledBack {
		t.Errorf("status: %+v", s)
	}
	l.wait("plugin rolled back")

	// Not by looking, nor by a touch, nor by name.
	must0(t, d.ReloadAll(t.Context()), d.Reload(t.Context(), "a"))
	save(answer("A", 2))
	is("1", "a@3 b@1")

	// Nor by starting again, with the program that is in the store.
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, l = openDir(t, dir, opts)
	is("1", "a@1 b@1")
	l.wait("plugin is rolled back")
	if s := d.Status()[0]; !s.RolledBack {
		t.Errorf("status after a restart: %+v", s)
	}

	// Once more: the other one.
	must0(t, d.Rollback(t.Context(), "a"))
	is("2", "a@2 b@1")
	if s := d.Status()[0]; s.RolledBack {
		t.Errorf("status when the file runs: %+v", s)
	}
	must0(t, d.Rollback(t.Context(), "a"))
	is("1", "a@3 b@1")

	// Until the file changes, though for the worse.
	save("}")
	is("1", "a@3 b@1")
	if s := d.Status()[0]; s.RolledBack || s.Err == nil {
		t.Errorf("status of a file that changed for the worse: %+v", s)
	}
	save(answer("A", 5))
	is("5", "a@4 b@1")

	// A file that is bad at the start: the last good version can be had.
	write(t, dir, "a.js", "}")
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, _ = openDir(t, dir, opts)
	is("UNHANDLED", "a@0 b@1")
	must0(t, d.Rollback(t.Context(), "a"))
	is("5", "a@1 b@1")
	if s := d.Status()[0]; !s.RolledBack || s.Err != nil {
		t.Errorf("status: %+v", s)
	}
	must0(t, d.ReloadAll(t.Context()))
	is("5", "a@1 b@1")
	must0(t, d.Rollback(t.Context(), "a"))
	is("1", "a@2 b@1")

	// Two versions of each plugin are kept.
	var files []string
	err := store.View(t.Context(), st, versionsNamespace, func(tx store.Tx) error {
		for f, err := range store.ListFiles(tx, store.Range{}) {
			if err != nil {
				return err
			}
			files = append(files, f.Name[:strings.Index(f.Name, "/")])
		}
		return nil
	})
	if got := strings.Join(files, " "); got != "a a a b b" || err != nil {
		t.Errorf("kept are %s, %v", got, err)
	}
}

// What was kept and can't be read is told of, and changes nothing.
func TestRollbackToWhatIsDamaged(t *testing.T) {
	dir, st := t.TempDir(), store.NewMem()
	write(t, dir, "a.js", answer("A", 1))
	d, _ := openDir(t, dir, &Options{Store: st})
	write(t, dir, "a.js", answer("A", 2))
	must0(t, d.ReloadAll(t.Context()))
	d.keeper.wait()
	before := d.entries["a"].history.Before
	for _, data := range []string{"", "no gzip", "\x1f\x8b\x08"} {
		must0(t, store.Update(t.Context(), st, versionsNamespace, func(tx store.Tx) error {
			return store.WriteFile(tx, "a/"+before, []byte(data))
		}))
		if err := d.Rollback(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "go back to version "+before+" of a: what was kept of it can't be read") {
			t.Errorf("rollback to %q: %v", data, err)
		}
		if got := number(t, d, "A") + " " + generations(d); got != "2 a@2" {
			t.Errorf("there is %s", got)
		}
	}
}

// An error in a version that was kept shows its source, which no file has any
// more; and what another plugin has taken meanwhile is not taken back.
func TestRollbackKeepsSources(t *testing.T) {
	dir := t.TempDir()
	const throws = `import * as amp from "amphost";
new amp.Command("A").responder(() => {
  throw new Error("of old");
});
`
	write(t, dir, "a.js", throws)
	d, l := openDir(t, dir, nil)
	write(t, dir, "a.js", answer("C", 1), "b.js", answer("B", 1))
	must0(t, d.ReloadAll(t.Context()), d.Rollback(t.Context(), "a"))
	if got := number(t, d, "A"); got != "UNKNOWN" {
		t.Errorf("A = %s", got)
	}
	l.wait(`> 3 |   throw new Error(\"of old\");`)

	write(t, dir, "a.js", answer("D", 1), "b.js", answer("A", 1))
	must0(t, d.ReloadAll(t.Context()))
	if err := d.Rollback(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "command A has a responder already: plugin b") {
		t.Errorf("rollback to what is taken: %v", err)
	}
	if a, e := number(t, d, "A"), number(t, d, "D"); a != "1" || e != "1" {
		t.Errorf("A, D = %s, %s", a, e)
	}
	must0(t, os.Remove(filepath.Join(dir, "a.js")), d.ReloadAll(t.Context()))
	if err := d.Rollback(context.Background(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rollback of what was removed: %v", err)
	}
}
