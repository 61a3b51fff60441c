package scripting

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A save by a real editor, in each of the ways it has of doing so, makes one new
// version, and nothing else is told of: neither what it leaves lying about, nor
// what is there for a moment only.
func TestEditors(t *testing.T) {
	vim := func(settings ...string) []string {
		args := []string{"vim", "-Nu", "NONE", "-i", "NONE", "-es"}
		for _, s := range settings {
			args = append(args, "-c", "set "+s)
		}
		return append(args, "-c", "%s/OLD/NEW/", "-c", "wq", "FILE")
	}
	emacs := func(settings string) []string {
		return []string{"emacs", "-Q", "--batch", "--eval", `(progn ` + settings + ` (find-file "FILE") (search-forward "OLD") (replace-match "NEW") (save-buffer))`}
	}
	// nano needs a terminal, and script gives it one. A pause is a moment in
	// which nano reads its keys.
	nano := func(flags string) []string {
		return []string{"sh", "-c", `{ sleep 1; printf '\034OLD\r'; sleep 0.3; printf 'NEW\r'; sleep 0.3; printf 'a'; sleep 0.3; printf '\017'; sleep 0.3; printf '\r'; sleep 0.3; printf '\030'; sleep 1; } | TERM=xterm script -qec 'nano -I ` + flags + ` FILE' /dev/null >/dev/null`}
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"vim", vim()},
		{"vim, a copy", vim("backupcopy=yes", "backup", "swapfile")},
		{"vim, a rename", vim("backupcopy=no", "writebackup", "swapfile")},
		{"vim, a rename with a backup", vim("backupcopy=no", "backup")},
		{"vim, no backup", vim("nobackup", "nowritebackup", "noswapfile")},
		{"vim, an undo file", vim("undofile")},
		{"emacs", emacs(``)},
		{"emacs, by copying", emacs(`(setq backup-by-copying t)`)},
		{"emacs, no backup", emacs(`(setq make-backup-files nil)`)},
		{"emacs, precious", emacs(`(setq file-precious-flag t)`)},
		{"emacs, numbered backups", emacs(`(setq version-control t)`)},
		{"nano", nano("")},
		{"nano, a backup", nano("-B")},
		{"sed -i", []string{"sed", "-i", "s/OLD/NEW/", "FILE"}},
		{"sed -i with a backup", []string{"sed", "-i.bak", "s/OLD/NEW/", "FILE"}},
		{"a shell", []string{"sh", "-c", `text=$(sed s/OLD/NEW/ FILE); printf '%s\n' "$text" >FILE`}},
		{"cp", []string{"sh", "-c", `sed s/OLD/NEW/ FILE >/tmp/amphost-$$; cp /tmp/amphost-$$ FILE; rm /tmp/amphost-$$`}},
		{"mv", []string{"sh", "-c", `sed s/OLD/NEW/ FILE >FILE.$$; mv FILE.$$ FILE`}},
		{"install", []string{"sh", "-c", `sed s/OLD/NEW/ FILE >/tmp/amphost-$$; install -m 644 /tmp/amphost-$$ FILE; rm /tmp/amphost-$$`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			program := c.args[0]
			if strings.HasPrefix(c.name, "nano") {
				program = "nano"
			}
			if _, err := exec.LookPath(program); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatalf("%s is missing: apt-get install it", program)
				}
				t.Skipf("NOT TESTED, for %s is missing: apt-get install it", program)
			}
			dir := t.TempDir()
			path := filepath.Join(dir, "a.js")
			write(t, dir, "a.js", "// OLD\n"+answer("A", 1)+strings.Repeat("// a longer file takes an editor longer to write\n", 200))
			d, l := openDir(t, dir, nil)
			l.reset()
			watchOnly(t, d, true)
			args := make([]string, len(c.args))
			for i, a := range c.args {
				args[i] = strings.ReplaceAll(a, "FILE", path)
			}
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if text, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(text), "// NEW\n") {
				t.Fatalf("the editor has left %.20q, %v", text, err)
			}
			eventually(t, "the save is noticed", func() bool { return generations(d) == "a@2" })
			// What comes later is noticed, so what came before has been.
			write(t, dir, "z.js", answer("Z", 1))
			becomes(t, d, "Z", "1")
			if got := generations(d); got != "a@2 z@1" {
				t.Errorf("there is %s\n%s", got, l)
			}
			if number(t, d, "A") != "1" {
				t.Error("A is not answered")
			}
			for line := range strings.Lines(l.String()) {
				if !strings.Contains(line, "plugin reloaded") && !strings.Contains(line, "plugin loaded") {
					t.Errorf("the log says %s", line)
				}
			}
		})
	}
}
