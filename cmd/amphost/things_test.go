package main

import (
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notTyped are names that are there and that nobody is to use, by thing: what
// goja or a class of ours can't hide, and what Node itself advises against.
var notTyped = map[string][]string{
	"globalThis":  {"GoError", "__amphost", "__amphost_copy", "__amphost_exports", "__amphost_left", "__amphost_power", "__amphost_right", "__amphost_spread"},
	"amp":         {"default"}, // as CommonJS has it
	"Buffer":      {"poolSize"},
	"buffer":      {"offset", "parent"},
	"console":     {"inspect"}, // util.inspect
	"Event":       {"stopped"},
	"CustomEvent": {"stopped"},
	"AbortSignal": {"fire"},
	"Integer":     {"bigint"},
	"ListOf":      {"element"},
}

// notYet are names that amphost.d.ts promises and that are not there yet.
var notYet = map[string][]string{}

// onlyTyped are names that are there under conditions of their own.
var onlyTyped = map[string][]string{
	"globalThis": {"require"},                        // the build puts a module in its place
	"Transport":  {"connectionLost", "dataReceived"}, // set by scripts
}

// believed is a program for node: it prints what TypeScript believes of each
// thing of things.ts, as things.ts does of what is there.
const believed = `const ts = require(process.argv[1]);
const path = require("node:path");
const config = ts.getParsedCommandLineOfConfigFile(path.join(process.argv[2], "tsconfig.json"), {}, { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (d) => { throw new Error(d.messageText); } });
const program = ts.createProgram(config.fileNames, config.options);
const checker = program.getTypeChecker();
const file = program.getSourceFile(path.join(process.argv[2], "things.ts"));
const namesOf = (node) => checker.getPropertiesOfType(checker.getTypeAtLocation(node)).map((p) => p.name).filter((n) => !n.startsWith("__@") && !n.startsWith("~") && n !== "prototype"); // symbols, and what is for the compiler only
const from = (symbol, end) => (symbol.declarations ?? []).some((d) => end.test(d.getSourceFile().fileName));
const out = {};
const visit = (node) => {
  if (ts.isCallExpression(node) && node.expression.getText() === "look") {
    const [name, thing, base] = node.arguments;
    const rest = base ? namesOf(base) : [];
    out[name.text] = { ours: namesOf(thing).filter((n) => !rest.includes(n)), standard: [] };
  }
  ts.forEachChild(node, visit);
};
visit(file);
const globals = checker.getSymbolsInScope(file, ts.SymbolFlags.Value).filter((s) => !s.name.startsWith('"')); // modules
out.globalThis = { ours: globals.filter((s) => from(s, /amphost\.d\.ts$/)).map((s) => s.name), standard: globals.filter((s) => !s.declarations?.length || from(s, /\/lib\.[^/]*\.d\.ts$/)).map((s) => s.name) };
console.log(JSON.stringify(out));
`

// TestTypesAreWhatIsThere compares what TypeScript believes of everything that a
// script can hold with what is there, both ways.
func TestTypesAreWhatIsThere(t *testing.T) {
	t.Parallel()
	modules := nodeModules(t)
	dir := project(t, true)
	write(t, readFile(t, typesData, "things.ts"), dir, "things.ts")
	wellTyped(t, "7", dir)

	out, err := exec.Command("node", "-e", believed, filepath.Join(modules, "typescript5", "lib", "typescript.js"), dir).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var typed map[string]struct{ Ours, Standard []string }
	if err := json.Unmarshal(out, &typed); err != nil {
		t.Fatal(err)
	}

	// Most things are there in a program, a box receiver's sender in a server.
	stdout, stderr, code := amphost(t, dir, "run", "things.ts")
	if code != 0 {
		t.Fatalf("exit status %d\n%s", code, stderr)
	}
	s := serveIn(t, filepath.Dir(dir), "--plugins", filepath.Base(dir), "--listen", "boxes=127.0.0.1:0")
	nc, err := net.Dial("tcp", s.stdout.await(t, `boxes=(\S+): box receiver of things`)[1])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	stdout += s.stderr.await(t, `look BoxSender .*? plugin=`)[0]
	s.stop()

	there := make(map[string][]string)
	for _, m := range regexp.MustCompile(`(?m)look (\S+) ?(.*?)(?: plugin=.*)?$`).FindAllStringSubmatch(stdout, -1) {
		there[m[1]] = strings.Fields(m[2])
	}
	for name, of := range typed {
		names, ok := there[name]
		if !ok {
			t.Errorf("%s was not looked at", name)
			continue
		}
		for _, n := range names {
			if !slices.Contains(of.Ours, n) && !slices.Contains(of.Standard, n) && !slices.Contains(notTyped[name], n) {
				t.Errorf("amphost.d.ts does not know %s of %s", n, name)
			}
		}
		for _, n := range of.Ours {
			if !slices.Contains(names, n) && !slices.Contains(notYet[name], n) && !slices.Contains(onlyTyped[name], n) {
				t.Errorf("amphost.d.ts declares %s of %s, which is not there", n, name)
			}
		}
	}
	if len(typed) < 40 || !slices.Contains(typed["Peer"].Ours, "callRemote") || !slices.Contains(there["Peer"], "callRemote") {
		t.Errorf("TypeScript looked at %d things, and believes of a Peer %q; there is %q", len(typed), typed["Peer"].Ours, there["Peer"])
	}
}
