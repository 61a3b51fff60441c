package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every flag of serve is a key and a row of the page, with its default, and the
// page's file is a good one.
func TestConfigurationPage(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	rows := make(map[string][]string) // by key
	for line := range strings.Lines(page) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `") && len(cells) == 4 {
			rows[strings.Trim(cells[0], "| `")] = cells
		}
	}
	newServeFlags().VisitAll(func(f *pflag.Flag) {
		key := keyOf(f.Name)
		if key == "" {
			if !strings.Contains(page, "--"+f.Name) {
				t.Errorf("the page says nothing of --%s", f.Name)
			}
			return
		}
		row := rows[key]
		if row == nil {
			t.Errorf("the page has no row for %q", key)
			return
		}
		delete(rows, key)
		if row[1] != "`--"+f.Name+"`" {
			t.Errorf("%s: the flag is --%s, the page says %s", key, f.Name, row[1])
		}
		if want := "`" + tomlText(valueOf(f)) + "`"; row[2] != want && !slices.Contains([]string{"none", "no limit", "the store's name and `.sock`"}, row[2]) {
			t.Errorf("%s: the default is %s, the page says %s", key, want, row[2])
		}
	})
	for key := range rows {
		t.Errorf("the page has %q, which is no key", key)
	}

	// Every key of a listener has a row, too.
	for key := range listenerKeys {
		if !strings.Contains(page, "`"+key+"`") {
			t.Errorf("the page says nothing of a listener's %q", key)
		}
	}

	_, file, _ := strings.Cut(page, "```toml\n")
	file, rest, _ := strings.Cut(file, "```")
	_, listeners, _ := strings.Cut(rest, "```toml\n")
	listeners, _, _ = strings.Cut(listeners, "```")
	file = strings.Replace(file, "[plugins.", listeners+"[plugins.", 1)
	path := filepath.Join(t.TempDir(), "amphost.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c := configuration(path)
	for _, p := range c.problems {
		t.Errorf("the page's file: %s", p)
	}
	if got := c.plugins["proxy"]["greeting"]; got != "hello" {
		t.Errorf("greeting = %v", got)
	}
	// The schema knows every key of it.
	properties := configSchema()["properties"].(map[string]any)
	parsed, err := readConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	for key := range parsed.values {
		if properties[key] == nil {
			t.Errorf("the schema has no %q", key)
		}
	}
}

func TestClosest(t *testing.T) {
	words := []string{"host", "port", "listen", "plugin-directory", "store", "store-quota"}
	for word, want := range map[string]string{
		"prot": "port", "Port": "port", "hots": "host", "plugins-directory": "plugin-directory", "stor": "store",
		"store-qouta": "store-quota", "x": "", "certificate": "",
	} {
		if got := closest(word, words); got != want {
			t.Errorf("closest(%q) = %q, want %q", word, got, want)
		}
	}
}
