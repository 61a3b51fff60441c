package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// noExitPause has the race detector not wait a second at the end of each
// program.
const noExitPause = "atexit_sleep_ms=0"

// TestScripts plays the scripts of testdata/script: command lines in an empty
// directory, with the real binary, and what they must print. Of their own they
// have
//
//	await FILE REGEXP [VARIABLE]
//
// which waits until a line of a file matches, and keeps the first group in a
// variable; and the condition [tsc], under which $TSC is a directory with a tsc
// for the PATH.
func TestScripts(t *testing.T) {
	t.Parallel()
	modules, noTSC := installTypeScript()
	if noTSC != nil && os.Getenv("CI") != "" {
		t.Fatal(noTSC)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(binary)+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("NO_COLOR", "1")
			env.Setenv("GORACE", noExitPause)
			env.Setenv("TSC", filepath.Join(modules, ".bin"))
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "tsc" {
				return noTSC == nil, nil
			}
			return false, os.ErrInvalid
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": await},
	})
}

// await is the command of that name.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await FILE REGEXP [VARIABLE]")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	deadline := time.Now().Add(patience)
	for {
		data, _ := os.ReadFile(ts.MkAbs(args[0])) // it may not be there yet
		if m := pattern.FindStringSubmatch(string(data)); m != nil {
			if len(args) == 3 {
				ts.Setenv(args[2], m[1])
			}
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nothing in %s matches %s:\n%s", args[0], args[1], data)
		}
		time.Sleep(10 * time.Millisecond) // a file tells nobody that it has grown
	}
}

// TestToolsPageTellsTheTruth plays docs/tools.md in an empty directory: what is
// typed is run, what is shown must come of it, and a block that begins with the
// name of a file is saved under it.
func TestToolsPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	page := readFile(t, "../../docs/tools.md")
	dir := t.TempDir()
	var s *server
	played := 0
	for _, block := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```").FindAllStringSubmatch(page, -1) {
		language, text := block[1], block[2]
		if language == "js" || language == "ts" {
			if name, ok := strings.CutPrefix(strings.SplitN(text, "\n", 2)[0], "// "); ok && filepath.IsLocal(name) && filepath.Ext(name) == "."+language {
				save(t, text, dir, name)
			}
			continue
		}
		if language != "console" {
			continue
		}
		for _, typed := range regexp.MustCompile(`(?m)^\$ (.*)\n((?:[^$].*\n|\n)*)`).FindAllStringSubmatch(text, -1) {
			line, want := typed[1], strings.TrimRight(typed[2], "\n")
			played++
			if line == "amphost serve" {
				s = serveIn(t, dir)
				s.stdout.await(t, `(?m)^  try .*\n`)
				got := strings.ReplaceAll(strings.ReplaceAll(s.stdout.text(), s.addr, "127.0.0.1:8750"), binary, "amphost")
				if strings.TrimRight(got, "\n") != want {
					t.Errorf("$ %s\nprints\n%s\nthe page says\n%s", line, got, want)
				}
				continue
			}
			if s != nil {
				line = strings.ReplaceAll(strings.ReplaceAll(line, "127.0.0.1:8750", s.addr), ":8750", s.addr)
			}
			var got string
			deadline := time.Now().Add(patience)
			for {
				p := startProcess(t, dir, "env", "GORACE="+noExitPause, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "sh", "-c", line)
				p.wait()
				got = strings.TrimRight(p.stdout.text()+p.stderr.text(), "\n")
				// A plugin that was just saved is not served at once.
				if got == want || !strings.Contains(line, "amphost call") || time.Now().After(deadline) {
					break
				}
			}
			if got != want {
				t.Errorf("$ %s\nprints\n%s\nthe page says\n%s", line, got, want)
			}
		}
	}
	if played < 10 {
		t.Errorf("%d command lines were found", played)
	}
	if s == nil {
		t.Fatal("the page does not serve")
	}
	s.stop()
	if _, err := installTypeScript(); err == nil {
		wellTyped(t, "7", filepath.Join(dir, "plugins")) // with the commands' types as they were written
	}
}
