package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/amphost/amphost/host"
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
	keys, _, _ := strings.Cut(page, "## Listeners")
	for line := range strings.Lines(keys) {
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

	// Every limit has one, with its default.
	for name, k := range knownLimits {
		if want := "| `" + name + "` | `" + k.fallback + "` | " + k.about + " | " + k.counter + " |"; !strings.Contains(page, want) {
			t.Errorf("the page has no row %s", want)
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

// What a limit is set to reaches the host, and the defaults that are told are
// those that hold.
func TestLimitsReachTheHost(t *testing.T) {
	for name, k := range knownLimits {
		given := make(limits)
		text := map[string]string{"count": "7", "bytes": "7KiB", "duration": "7s", "memory": "7%"}[k.kind]
		if err := given.Set(name + "=" + text); err != nil {
			t.Fatal(err)
		}
		var c host.Config
		given.apply(&c)
		want, _ := k.parse(text)
		if got := fieldOf(k, &c); got != want {
			t.Errorf("%s=%s: the host has %d, want %d", name, text, got, want)
		}
		if err := given.Set(name + "=off"); (err != nil) != k.needed {
			t.Errorf("%s=off: %v", name, err)
		}
		for _, bad := range []string{"", "0", "-1", "x", "1.5.5", "101%", "0%", "%"} {
			if err := given.Set(name + "=" + bad); err == nil {
				t.Errorf("%s=%s is taken", name, bad)
			}
		}

		// What is not given is what the page says.
		fallback, err := k.parse(k.fallback)
		if err != nil {
			t.Errorf("%s: the default is no value: %v", name, err)
		}
		c = host.Config{}
		make(limits).apply(&c)
		if got := fieldOf(k, &c); got != fallback && name != "connections" { // there may be fewer descriptors
			t.Errorf("%s: the default is %d, told is %s", name, got, k.fallback)
		}
	}
}

func fieldOf(k limit, c *host.Config) int64 {
	switch field := k.field(c).(type) {
	case *int:
		return int64(*field)
	case *int64:
		return *field
	case *time.Duration:
		return int64(*field)
	}
	return 0
}

// Connections leave descriptors to the rest.
func TestDescriptorLimit(t *testing.T) {
	most, known := maxDescriptors()
	if !known {
		t.Skip("descriptors have no limit here that is known")
	}
	for _, c := range []struct{ in, want int }{{0, min(10_000, most-32)}, {-1, most - 32}, {5, 5}, {most + 1, most - 32}} {
		if got := descriptorLimit(c.in); got != c.want {
			t.Errorf("descriptorLimit(%d) = %d, want %d", c.in, got, c.want)
		}
	}
}
