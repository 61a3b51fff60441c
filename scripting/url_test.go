package scripting

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// wpt reads a file of the web platform tests for URLs, which come with the
// module that parses them.
func wpt(t *testing.T, name string, v any) {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/nlnwa/whatwg-url").Output()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

// inRuntime has a script make of data, which it gets as JSON, a list of
// complaints, and fails with each.
func inRuntime(t *testing.T, script string, data any) {
	t.Helper()
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	p, l := run(t, "look", `import * as amp from "amphost";
const data = JSON.parse(`+jsString(string(text))+`);
const complaints = [];
const check = (what, got, want) => { if (got !== want) complaints.push(what + ": " + JSON.stringify(got) + ", want " + JSON.stringify(want)); };
`+script+`
new amp.Command("Look", { response: { out: amp.Unicode() } }).responder(() => ({ out: complaints.join("\n").slice(0, 60000) }));`, nil)
	b, err := ask(t, p, "Look", nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, l)
	}
	if out := string(b["out"]); out != "" {
		t.Error(out)
	}
}

func jsString(text string) string {
	data, _ := json.Marshal(text) // a string always can be
	return string(data)
}

// TestURLPlatformTests makes the URLs of the web platform tests.
func TestURLPlatformTests(t *testing.T) {
	var all []any
	wpt(t, "urltestdata.json", &all)
	var cases []map[string]any
	for _, c := range all {
		if m, ok := c.(map[string]any); ok {
			cases = append(cases, m)
		}
	}
	if len(cases) < 800 {
		t.Fatalf("there are %d tests", len(cases))
	}
	inRuntime(t, `
for (const c of data) {
  const what = JSON.stringify(c.input) + " on " + JSON.stringify(c.base);
  let u;
  try { u = c.base === null ? new URL(c.input) : new URL(c.input, c.base); } catch (e) {
    check(what, e.constructor.name + (c.failure ? "" : ": " + e.message), "TypeError");
    if (!c.failure) check(what, "fails", "parses");
    continue;
  }
  if (c.failure) { check(what, u.href, "failure"); continue; }
  for (const key of ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash", "origin"]) {
    if (key in c) check(what + " " + key, u[key], c[key]);
  }
  if ("searchParams" in c) check(what + " searchParams", u.searchParams.toString(), c.searchParams);
  check(what + " again", new URL(u.href).href, u.href);
}`, cases)
}

func TestURLSettersPlatformTests(t *testing.T) {
	var cases map[string]any
	wpt(t, "setters_tests.json", &cases)
	delete(cases, "comment")
	inRuntime(t, `
let n = 0;
for (const [name, list] of Object.entries(data)) {
  for (const c of list) {
    const u = new URL(c.href);
    u[name] = c.new_value;
    for (const [key, want] of Object.entries(c.expected)) check("<" + c.href + ">." + name + " = " + JSON.stringify(c.new_value) + ", " + key, u[key], want);
    n++;
  }
}
if (n < 240) complaints.push("only " + n);`, cases)
}
