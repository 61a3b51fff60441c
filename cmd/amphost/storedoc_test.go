package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/amphost/amphost/amp"
)

// TestStoreDocTellsTheTruth plays docs/store.md: what is typed is run, and what
// is shown must come of it.
func TestStoreDocTellsTheTruth(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/store.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := workDir(t)
	watching := regexp.MustCompile("(?s)```js\n(.*?)```").FindSubmatch(text)[1]
	write(t, string(watching), dir, "plugins", "rooms.js")
	s := serveIn(t, dir)
	s.stderr.await(t, "plugin loaded plugin=rooms")
	conn := s.dial()
	for _, name := range []string{"ada", "grace"} {
		_, err := ask(t.Context(), conn, "RegisterUser", "uid", amp.Box{"username": []byte(name), "publickey": []byte("ssh-ed25519 AA")})
		if err != nil {
			t.Fatal(err)
		}
	}
	// So that amphost is the one that is tested.
	if err := os.Symlink(binary, filepath.Join(dir, "amphost")); err != nil {
		t.Fatal(err)
	}
	transcript := regexp.MustCompile("(?s)```console\n(.*?)```").FindSubmatch(text)[1]
	played := 0
	for step := range strings.SplitSeq(strings.TrimPrefix(string(transcript), "$ "), "\n$ ") {
		command, want, _ := strings.Cut(step, "\n")
		sh := exec.Command("sh", "-c", command)
		sh.Dir = dir
		sh.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := sh.CombinedOutput()
		if tidy(string(out)) != tidy(want) || err != nil {
			t.Errorf("%s\nprints %v\n%s\nthe page says\n%s", command, err, out, want)
		}
		played++
	}
	if played < 10 {
		t.Errorf("%d commands were found on the page", played)
	}
	s.stop()
}

// tidy leaves out what depends on the size of the system's pages.
func tidy(text string) string {
	return regexp.MustCompile(`\d+\.\d KiB`).ReplaceAllString(strings.TrimSpace(text), "some KiB")
}
