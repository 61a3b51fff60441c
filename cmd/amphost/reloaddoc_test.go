package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestReloadDocTellsTheTruth plays docs/reload.md: what is typed is run, and what
// is shown must come of it, as soon as what was saved is served.
func TestReloadDocTellsTheTruth(t *testing.T) {
	t.Parallel()
	page := readFile(t, "../../docs/reload.md")
	dir := workDir(t)
	s := serveIn(t, dir)
	// So that amphost is the one that is tested.
	if err := os.Symlink(binary, filepath.Join(dir, "amphost")); err != nil {
		t.Fatal(err)
	}
	played := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(page, -1) {
		for step := range strings.SplitSeq(strings.TrimPrefix(block[1], "$ "), "\n$ ") {
			command, want, _ := strings.Cut(step, "\n")
			played++
			for deadline := time.Now().Add(patience); ; {
				sh := exec.Command("sh", "-c", strings.ReplaceAll(command, "127.0.0.1:8750", s.addr))
				sh.Dir = dir
				sh.Env = append(os.Environ(), "GORACE="+noExitPause, "PATH="+dir+":"+os.Getenv("PATH"))
				out, _ := sh.CombinedOutput()
				if timeless(string(out)) == timeless(want) {
					break
				}
				if time.Now().After(deadline) || !strings.HasPrefix(command, "amphost call") && !strings.HasPrefix(command, "amphost reload") {
					t.Errorf("%s\nprints\n%s\nthe page says\n%s", command, out, want)
					break
				}
			}
		}
	}
	if played < 10 {
		t.Errorf("%d commands were found on the page", played)
	}
	if _, line, _ := strings.Cut(s.stderr.text(), "plugin reloaded"); !strings.HasPrefix(line, " plugin=math changed=plugins/math.js from=1 to=2 ms=") || !strings.Contains(page, "plugin reloaded plugin=math changed=plugins/math.js from=1 to=2 ms=") {
		t.Errorf("the log's line is not the page's:\n%s", s.stderr.text())
	}
	s.stop()
}

// timeless leaves out how long things took, what hashes are, and how wide columns
// are.
func timeless(text string) string {
	text = regexp.MustCompile(`\d+(\.\d+)? (ms|s|min)\b`).ReplaceAllString(text, "some time")
	text = regexp.MustCompile(`\b[0-9a-f]{8}\b`).ReplaceAllString(text, "hash")
	return strings.Join(strings.Fields(text), " ")
}
