package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readme returns the README, and its block of code in a language.
func readme(t *testing.T) (text string, block func(language string) string) {
	t.Helper()
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data), func(language string) string {
		t.Helper()
		found := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(data), -1)
		if len(found) != 1 {
			t.Fatalf("%d blocks of %s in the README, want 1", len(found), language)
		}
		return found[0][1]
	}
}

// TestReadmeTellsTheTruth plays the README: what is typed is run, and what is
// shown must come of it.
func TestReadmeTellsTheTruth(t *testing.T) {
	t.Parallel()
	needTwisted(t)
	text, block := readme(t)
	dir := workDir(t)
	s := serveIn(t, dir)
	s.stdout.await(t, `try .*\n`)
	banner := strings.ReplaceAll(s.stdout.text(), s.addr, "127.0.0.1:8750")
	banner = strings.ReplaceAll(banner, binary, "amphost")
	if !strings.Contains(text, "$ amphost serve\n"+strings.TrimSpace(banner)) {
		t.Errorf("the README shows another banner than\n%s", banner)
	}

	save(t, block("js"), dir, "plugins", "hello.js")
	conn := s.dial()
	poll(t, "the plugin to answer", func() bool {
		_, err := conn.Call(t.Context(), "Hello", nil)
		return remoteCode(err) == "BAD_ARGUMENTS"
	})
	played := 0
	for _, call := range regexp.MustCompile(`\$ amphost (call .*)\n((?:[^$\x60].*\n)+)`).FindAllStringSubmatch(text, -1) {
		words := strings.Replace(call[1], "127.0.0.1:8750", s.addr, 1)
		sh := exec.Command("sh", "-c", binary+" "+words)
		out, _ := sh.CombinedOutput()
		if string(out) != call[2] {
			t.Errorf("amphost %s\nprints %q\nthe README says %q", call[1], out, call[2])
		}
		played++
	}
	if played < 5 {
		t.Errorf("%d calls were found in the README", played)
	}

	save(t, strings.Replace(block("js"), "visits };", "visits ;", 1), dir, "plugins", "hello.js")
	mistake := strings.SplitAfterN(block("text"), " ", 2)[1] // without the time
	s.stderr.await(t, "not reloaded")
	if log := s.stderr.text(); !strings.Contains(log, mistake) {
		t.Errorf("the log does not show\n%s\nas the README does, but\n%s", mistake, log)
	}

	program := filepath.Join(dir, "client.py")
	write(t, strings.Replace(block("python"), "8750", s.port(), 1), program)
	out, err := exec.Command(python, program).CombinedOutput()
	if string(out) != "{'total': 94}\n" || err != nil {
		t.Errorf("the Twisted client of the README printed %q, %v", out, err)
	}
	s.stop()
}

func TestReadmeEmbeddingProgramCompiles(t *testing.T) {
	t.Parallel()
	_, block := readme(t)
	program := filepath.Join(t.TempDir(), "main.go")
	write(t, block("go"), program)
	if out, err := exec.Command("go", "vet", program).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
