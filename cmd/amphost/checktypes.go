package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A checkedTypes says whether types were checked.
type checkedTypes struct {
	Checked bool   `json:"checked"`
	By      string `json:"by,omitempty"`  // the tsc that did
	Why     string `json:"why,omitempty"` // why not
}

// checkTypes has tsc look at a directory of plugins, if both are ready for it.
func checkTypes(ctx context.Context, dir string) ([]problem, checkedTypes) {
	project := filepath.Join(dir, "tsconfig.json")
	if _, err := os.Stat(project); err != nil {
		return nil, checkedTypes{Why: fmt.Sprintf("there is no %s, which %s init%s makes", project, ownName(), dirArgument(dir))}
	}
	tsc := findTSC(dir)
	if tsc == "" {
		return nil, checkedTypes{Why: fmt.Sprintf("there is no tsc; npm install --prefix %s typescript brings it", shellWord(dir))}
	}
	cmd := exec.CommandContext(ctx, tsc, "--noEmit", "--pretty", "false", "--project", project)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	problems := parseTSC(out)
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		return nil, checkedTypes{Why: fmt.Sprintf("%s does not run: %v", tsc, err)}
	case err != nil && len(problems) == 0:
		said := strings.TrimSpace(stderr.String() + string(out))
		problems = []problem{{Severity: "error", Message: fmt.Sprintf("%s failed, %v: %s", tsc, err, said)}}
	}
	return problems, checkedTypes{Checked: true, By: tsc}
}

// findTSC returns the TypeScript compiler for a directory, or "": the one that
// npm has installed there or above, or else the one on the PATH.
func findTSC(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		for {
			found, err := exec.LookPath(filepath.Join(abs, "node_modules", ".bin", "tsc"))
			if err == nil {
				return found
			}
			parent := filepath.Dir(abs)
			if parent == abs {
				break
			}
			abs = parent
		}
	}
	found, err := exec.LookPath("tsc")
	if err != nil {
		return ""
	}
	return found
}

// What tsc writes of a problem, at a place or at large.
var (
	tscPlace   = regexp.MustCompile(`^(.+?)\((\d+),(\d+)\): (error|warning) (TS\d+): (.*)`)
	tscNoWhere = regexp.MustCompile(`^(error|warning) (TS\d+): (.*)`)
)

// isSyntax reports whether a problem of tsc's is one that the build has seen.
func (p problem) isSyntax() bool {
	return len(p.Code) == len("TS1005") && strings.HasPrefix(p.Code, "TS1")
}

// parseTSC reads what tsc has written.
func parseTSC(out []byte) []problem {
	var list []problem
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if m := tscPlace.FindStringSubmatch(line); m != nil {
			p := problem{Severity: m[4], File: m[1], Code: m[5], Message: m[6]}
			p.Line, _ = strconv.Atoi(m[2])
			p.Column, _ = strconv.Atoi(m[3])
			p.Frame = frameOf(p.File, p.Line, p.Column)
			list = append(list, p)
		} else if m := tscNoWhere.FindStringSubmatch(line); m != nil {
			list = append(list, problem{Severity: m[1], Code: m[2], Message: m[3]})
		} else if strings.HasPrefix(line, " ") && len(list) > 0 {
			last := &list[len(list)-1]
			last.Notes = append(last.Notes, strings.TrimPrefix(line, "  "))
		}
	}
	return list
}
