package main

import (
	"os"
	"path/filepath"
	"regexp"
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
