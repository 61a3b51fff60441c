package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/amphost/amphost/amp"
)

// writePlugins writes so many plugins into a new directory in dir: p0, p1 and so
// on, which answer Sum0, Sum1 and so on.
func writePlugins(dir string, n int) (plugins string, err error) {
	plugins = filepath.Join(dir, "plugins")
	if err := os.Mkdir(plugins, 0o755); err != nil {
		return "", err
	}
	for i := range n {
		if err := os.WriteFile(pluginFile(plugins, i), sumPlugin(i, 0), 0o644); err != nil {
			return "", err
		}
	}
	return plugins, nil
}

func pluginFile(plugins string, i int) string {
	return filepath.Join(plugins, fmt.Sprintf("p%d.js", i))
}

func commandOf(i int) string { return fmt.Sprintf("Sum%d", i) }

// sumPlugin is a version of the plugin that answers commandOf(i); its answers say
// which.
func sumPlugin(i, version int) []byte {
	return fmt.Appendf(nil, `import * as amp from "amphost";

const Sum = new amp.Command("%s", {
  arguments: { a: amp.Integer(), b: amp.Integer() },
  response: { total: amp.Integer(), version: amp.Integer() },
});
Sum.responder(({ a, b }) => ({ total: a + b, version: %d }));
`, commandOf(i), version)
}

var sumArgs = amp.Box{"a": []byte("13"), "b": []byte("81")}

// isSum checks the answer to sumArgs.
func isSum(answer amp.Box) error {
	if string(answer["total"]) != "94" {
		return fmt.Errorf("13 and 81 are 94, and not %q", answer["total"])
	}
	return nil
}

// writeEcho writes a plugin whose commands answer with their argument.
func writeEcho(dir string) (plugins string, err error) {
	plugins = filepath.Join(dir, "plugins")
	if err := os.Mkdir(plugins, 0o755); err != nil {
		return "", err
	}
	return plugins, os.WriteFile(filepath.Join(plugins, "echo.js"), []byte(`import * as amp from "amphost";

for (const type of ["String", "Unicode"]) {
  const Echo = new amp.Command("Echo" + type, {
    arguments: { value: amp[type]() },
    response: { value: amp[type]() },
  });
  Echo.responder(({ value }) => ({ value }));
}
`), 0o644)
}
