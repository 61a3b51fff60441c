package scripting

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/amphost/amphost/amp"
)

// TestPluginsPageTellsTheTruth starts every plugin of docs/plugins.md, and makes
// the calls that follow it.
func TestPluginsPageTellsTheTruth(t *testing.T) {
	text, err := os.ReadFile("../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	var plugin *Plugin
	plugins, calls := 0, 0
	for _, block := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		switch language, text := block[1], block[2]; language {
		case "js", "ts":
			plugins++
			plugin, _ = run(t, fmt.Sprintf("page%d.%s", plugins, language), text, &Options{Net: allowAll})
		case "console":
			for _, call := range regexp.MustCompile(`\$ amphost call :8750 (\w+)(.*)\n((?:[^$].*\n)+)`).FindAllStringSubmatch(text, -1) {
				calls++
				args := amp.Box{}
				for _, pair := range strings.Fields(call[2]) {
					key, value, _ := strings.Cut(pair, "=")
					args[key] = []byte(value)
				}
				answer, err := ask(t, plugin, call[1], args)
				got := fmt.Sprintf("amphost: %s: %v\n", call[1], err)
				if err == nil {
					var lines []string
					for key, value := range answer {
						lines = append(lines, fmt.Sprintf("%s: %s\n", key, value))
					}
					slices.Sort(lines)
					got = strings.Join(lines, "")
				}
				want := strings.SplitAfter(call[3], "\n")
				slices.Sort(want)
				if got != strings.Join(want, "") {
					t.Errorf("%s%s answers\n%sthe page says\n%s", call[1], call[2], got, call[3])
				}
			}
		}
	}
	if plugins < 6 || calls < 8 {
		t.Errorf("%d plugins and %d calls were found on the page", plugins, calls)
	}
}
