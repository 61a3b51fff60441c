package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every flag of serve has a test here or elsewhere in which the real binary is
// started with it: a flag that is new is missed.
func TestEveryFlagIsTested(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	inGo := regexp.MustCompile(`(?:serveIn|startProcess|complain)\(.*?"--([a-z-]+)`)
	flag := regexp.MustCompile(`--([a-z-]+)`)
	tested := make(map[string]bool)
	for _, path := range append(files, scripts...) {
		if path == "flags_test.go" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if inGo.MatchString(line) || strings.Contains(line, "exec") && strings.Contains(line, "amphost serve") {
				for _, m := range flag.FindAllStringSubmatch(line, -1) {
					tested[m[1]] = true
				}
			}
		}
	}
	var missing []string
	newServeFlags().VisitAll(func(f *pflag.Flag) {
		if !tested[f.Name] {
			missing = append(missing, f.Name)
		}
	})
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("no test starts amphost serve with --%s", strings.Join(missing, ", --"))
	}
}
