package scripting

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// nodePage has expressions of what plugins share with Node, each with what Node
// makes of it on the line below: go test ./scripting -run TestAsInNode -update
// asks it.
const nodePage = "testdata/node.txt"

// showResult is how the value of an expression is written down, here and there.
const showResult = `const written = async (fn) => {
  try {
    const v = await fn();
    if (typeof v === "bigint") return v + "n";
    if (v instanceof ArrayBuffer) return "ArrayBuffer " + Buffer.from(v).toString("hex");
    if (v instanceof Uint8Array) return v.constructor.name + " " + Buffer.from(v).toString("hex");
    return typeof v === "string" ? JSON.stringify(v) : Object.is(v, -0) ? "-0" : typeof v === "number" || v === undefined ? String(v) : JSON.stringify(v);
  } catch (e) {
    return "throws " + (e instanceof DOMException ? "DOMException " + e.name : e instanceof Error ? e.constructor.name : typeof e + " " + String(e));
  }
};
`

func TestAsInNode(t *testing.T) {
	data, err := os.ReadFile(nodePage)
	if err != nil {
		t.Fatal(err)
	}
	var expressions, want []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if result, ok := strings.CutPrefix(line, "  = "); ok {
			want = append(want, result)
		} else if line != "" {
			expressions = append(expressions, line)
		}
	}
	if *update {
		want = askNode(t, expressions)
		var b strings.Builder
		for i, e := range expressions {
			b.WriteString(e + "\n  = " + want[i] + "\n")
		}
		if err := os.WriteFile(nodePage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if len(want) != len(expressions) || len(want) < 150 {
		t.Fatalf("%d expressions and %d results: go test ./scripting -run TestAsInNode -update", len(expressions), len(want))
	}
	var b strings.Builder
	b.WriteString(`import * as amp from "amphost";
` + showResult + `const list = [
`)
	for _, e := range expressions {
		b.WriteString("async () => (" + e + "),\n")
	}
	b.WriteString(`];
new amp.Command("Try", { arguments: { n: amp.Integer() }, response: { out: amp.Unicode() } }).responder(async ({ n }) => ({ out: await written(list[n]) }));`)
	p, _ := run(t, "try", b.String(), nil)
	for i, e := range expressions {
		n, _ := json.Marshal(i)
		answer, err := ask(t, p, "Try", box("n", string(n)))
		if got := string(answer["out"]); err != nil || got != want[i] {
			t.Errorf("%s\n= %s, %v\nNode: %s", e, got, err, want[i])
		}
	}
}

// askNode returns what Node makes of expressions.
func askNode(t *testing.T, expressions []string) []string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`"use strict";` + showResult + "(async () => {\nconst results = [], awake = setInterval(() => {}, 1000); // or it would end with AbortSignal.timeout\n")
	for _, e := range expressions {
		b.WriteString("results.push(await written(async () => (" + e + ")));\n")
	}
	b.WriteString("console.log(JSON.stringify(results));\nclearInterval(awake);\n})();")
	cmd := exec.Command("node", "-")
	cmd.Stdin, cmd.Stderr = strings.NewReader(b.String()), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var results []string
	if err := json.Unmarshal(out, &results); err != nil {
		t.Fatal(err)
	}
	return results
}
