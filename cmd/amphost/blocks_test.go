package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// played are the pages whose console and text blocks, and programs, tests play,
// and what is left to this file.
var played = map[string][]string{
	"README.md":             {"console", "text", "go", "python"}, // readme_test.go
	"docs/tools.md":         {"console"},                         // pages_test.go, as the next ones
	"docs/tutorial.md":      {"console", "text"},
	"docs/durability.md":    {"console"},
	"docs/twisted.md":       {"console", "python"},
	"docs/embedding.md":     {"go"},
	"docs/store.md":         {"console"},         // storedoc_test.go
	"docs/plugins.md":       {"console", "text"}, // scripting/docs_test.go, and here
	"docs/reload.md":        {"console", "text"}, // reloaddoc_test.go; its Go here
	"docs/configuration.md": {"text"},            // here
	"docs/architecture.md":  {""},                // drawings
	"docs/reference.md":     {"ts"},              // docs/reference
	"plugins/README.md":     {"console"},         // examples/examples_test.go, as all of examples
}

// Every block of code in the docs has a test that runs it or checks its types:
// those of JavaScript and TypeScript TestTypesOfDocs, those of TOML and JSON
// this one.
func TestEveryBlockOfTheDocsIsTested(t *testing.T) {
	t.Parallel()
	blocks := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "plugins/*.md", "examples/*/*.md"} {
		pages, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range pages {
			page, _ := filepath.Rel("../..", path)
			text := readFile(t, path)
			for _, at := range regexp.MustCompile("(?ms)^```(\\w*)[^\n]*\n(.*?)^```").FindAllStringSubmatchIndex(text, -1) {
				blocks++
				language, block := text[at[2]:at[3]], text[at[4]:at[5]]
				switch language {
				case "js", "ts":
				case "toml":
					checkConfig(t, page, block)
				case "json":
					checkReport(t, page, block)
				case "go":
					if strings.Contains(block, "package main\n") && slices.Contains(played[filepath.ToSlash(page)], "go") {
						continue
					}
					checkStatements(t, page, block)
				default:
					if !slices.Contains(played[filepath.ToSlash(page)], language) && !(strings.HasPrefix(page, "examples") && language == "console") {
						t.Errorf("%s:%d: no test looks at this block of %q", page, 1+strings.Count(text[:at[0]], "\n"), language)
					}
				}
			}
		}
	}
	if blocks < 100 {
		t.Errorf("%d blocks were found", blocks)
	}
}

// checkConfig checks that a block is a good configuration.
func checkConfig(t *testing.T, page, block string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "amphost.toml")
	write(t, block, path)
	for _, p := range configuration(path).problems {
		t.Errorf("%s: %s\n%s", page, p, block)
	}
}

// checkStatements compiles statements of Go, in a program that has what they need.
func checkStatements(t *testing.T, page, block string) {
	t.Helper()
	program := `package main

import (
	"log"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

func main() {
	h, server := new(host.Host), new(amp.Server)
	_, _, _ = h, server, log.Println
` + block + "}\n"
	path := filepath.Join(t.TempDir(), "main.go")
	write(t, program, path)
	if out, err := exec.Command("go", "vet", path).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s\n%s", page, err, out, program)
	}
}

// checkReport checks that a block is what check --json prints: it has no key
// that is not there, and all that are always there.
func checkReport(t *testing.T, page, block string) {
	t.Helper()
	var report checked
	d := json.NewDecoder(strings.NewReader(block))
	d.DisallowUnknownFields()
	if err := d.Decode(&report); err != nil {
		t.Errorf("%s: %v", page, err)
	}
	again, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(block)); err != nil {
		t.Fatal(err)
	}
	if compact.String() != string(again) {
		t.Errorf("%s: the page says\n%s\nand check would say\n%s", page, &compact, again)
	}
}

// TestMistakesOnTheConfigurationPage makes the mistake that the page shows.
func TestMistakesOnTheConfigurationPage(t *testing.T) {
	t.Parallel()
	_, shown, _ := strings.Cut(readFile(t, "../../docs/configuration.md"), "## Mistakes\n")
	_, shown, _ = strings.Cut(shown, "```text\n")
	shown, _, _ = strings.Cut(shown, "```")
	dir := t.TempDir()
	var file strings.Builder
	for _, line := range regexp.MustCompile(`(?m)^ +>? *\d+ \| (.*)$`).FindAllStringSubmatch(shown, -1) {
		file.WriteString(line[1] + "\n")
	}
	write(t, file.String(), dir, "amphost.toml")
	_, stderr, code := amphost(t, dir, "serve")
	if code == 0 || !strings.Contains(stderr, strings.TrimSpace(shown)) {
		t.Errorf("exit status %d, and\n%s\nThe page says\n%s", code, stderr, shown)
	}
}

// TestMistakesOnThePluginsPage makes the mistake that the page shows, in the
// lines that it shows of it; and starts amphost as the page does.
func TestMistakesOnThePluginsPage(t *testing.T) {
	t.Parallel()
	page := readFile(t, "../../docs/plugins.md")
	_, shown, _ := strings.Cut(page, "```text\n")
	shown, _, _ = strings.Cut(shown, "```")
	lines := []string{`import * as amp from "amphost";`, "", "type User = object;", ""}
	for _, line := range regexp.MustCompile(`(?m)^ +[ >] \d+ \| (.*)$`).FindAllStringSubmatch(shown, -1) {
		lines = append(lines, line[1])
	}
	lines = append(lines, "}", "", `const Boom = new amp.Command("Boom");`, "Boom.responder(async () => {", "  // here", "                  await load({});", "});", "")
	dir := t.TempDir()
	write(t, strings.Join(lines, "\n"), dir, "plugins", "a.ts")
	flags := regexp.MustCompile(`(?m)^\$ amphost serve (--allow-net .*)$`).FindStringSubmatch(page)
	if flags == nil {
		t.Fatal("the page starts no server")
	}
	s := serveIn(t, dir, strings.Fields(flags[1])...)
	amphost(t, dir, "call", s.addr, "Boom")
	s.stderr.await(t, `responder failed(.*\n)+? +at plugins.*\n`)
	s.stop()
	varies := regexp.MustCompile(`(?m)^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d{3} |127\.0\.0\.1:\d+|conn=\d+`)
	if got, want := varies.ReplaceAllString(s.stderr.text(), ""), varies.ReplaceAllString(shown, ""); !strings.Contains(got, want) {
		t.Errorf("the log is\n%s\nthe page says\n%s", got, want)
	}
}
