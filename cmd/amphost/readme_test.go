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

// TestReadmeEmbeddingProgramServes builds the Go program of the README, on a
// port of its own, and calls it.
func TestReadmeEmbeddingProgramServes(t *testing.T) {
	t.Parallel()
	_, block := readme(t)
	dir := workDir(t)
	const listen, serve = `"127.0.0.1:8750"`, `log.Fatal(h.Serve(l))`
	text := block("go")
	if strings.Count(text, listen) != 1 || strings.Count(text, serve) != 1 {
		t.Fatalf("the program does not listen on %s, or does not end with %s:\n%s", listen, serve, text)
	}
	text = strings.Replace(text, listen, `"127.0.0.1:0"`, 1)
	text = strings.Replace(text, serve, `println("listens on", l.Addr().String()); `+serve, 1)
	program := filepath.Join(dir, "main.go")
	write(t, text, program)
	embedding := filepath.Join(dir, "embedding")
	if out, err := exec.Command("go", "build", "-o", embedding, program).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := startProcess(t, dir, embedding)
	addr := p.stderr.await(t, `listens on (\S+)`)[1]
	stdout, stderr, code := amphost(t, dir, "call", addr, "Sum", "a=13", "b=81")
	if stdout != "total: 94\n" || code != 0 {
		t.Errorf("the program answers %q, %q, exit status %d", stdout, stderr, code)
	}
}
