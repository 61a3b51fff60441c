package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/scripting"
)

// nodeModules returns a node_modules with the compilers of testdata/npm, which
// it keeps in the user's cache. It needs npm, and the registry once. Without
// npm the test is skipped; where CI is set that is a failure.
func nodeModules(t *testing.T) string {
	t.Helper()
	dir, err := installTypeScript()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skipf("TYPES ARE NOT CHECKED: %v", err)
	}
	return dir
}

// installTypeScript is what nodeModules does, once.
var installTypeScript = sync.OnceValues(func() (string, error) {
	list, err := os.ReadFile("testdata/npm/package.json")
	if err != nil {
		return "", err
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%w: apt-get install nodejs npm", err)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "amphost-test", fmt.Sprintf("tsc-%x", sha256.Sum256(list))[:20])
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(dir); err == nil {
		return modules, nil
	}
	// Made beside it and renamed, so that what is there is whole.
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := os.WriteFile(filepath.Join(fresh, "package.json"), list, 0o666); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")
	npm.Dir = fresh
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm install: %w\n%s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, there := os.Stat(dir); there != nil { // else another run was faster
			return "", err
		}
	}
	return modules, nil
})

// compilers are the versions of TypeScript that the types are for: the path of
// each one's tsc in node_modules.
var compilers = map[string]string{"7": "typescript/bin/tsc", "5": "typescript5/bin/tsc"}

// compile returns the problems that a compiler has with a directory of plugins.
func compile(t *testing.T, version, dir string) []problem {
	t.Helper()
	cmd := exec.Command("node", filepath.Join(nodeModules(t), compilers[version]), "--pretty", "false", "--project", "tsconfig.json")
	cmd.Dir = dir
	out, err := cmd.Output()
	problems := parseTSC(out)
	if err != nil && len(problems) == 0 {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return problems
}

// project returns a directory of plugins that init made, without a plugin.
func project(t *testing.T, ts bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "plugins")
	var stdout, stderr bytes.Buffer
	if err := initPlugins(t.Context(), dir, ts, false, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	for _, name := range []string{"sum.js", "sum.ts", "amphost.commands.d.ts"} {
		os.Remove(filepath.Join(dir, name))
	}
	return dir
}

// wellTyped fails the test for each problem in the directory.
func wellTyped(t *testing.T, version, dir string) {
	t.Helper()
	for _, p := range compile(t, version, dir) {
		p.Frame = frameOf(filepath.Join(dir, p.File), p.Line, p.Column)
		t.Errorf("%s", p)
	}
}

func readFile(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const typesData = "../../scripting/types/testdata"

func TestTypesOfWhatMustCompile(t *testing.T) {
	t.Parallel()
	for version := range compilers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			dir := project(t, true)
			for _, name := range []string{"good.ts", "bad.ts", "commands.d.ts"} {
				write(t, readFile(t, typesData, name), dir, name)
			}
			wellTyped(t, version, dir)
			if version != "7" {
				return // once is enough of the rest
			}

			// The types stand on their own: they need no more than ES2023, and
			// nobody has to skip looking at them.
			config := strings.Replace(readFile(t, dir, "tsconfig.json"), `"skipLibCheck": true`, `"skipLibCheck": false`, 1)
			config = regexp.MustCompile(`"lib": .*`).ReplaceAllString(config, `"lib": ["ES2023"],`)
			write(t, config, dir, "tsconfig.json")
			good, _, _ := strings.Cut(readFile(t, typesData, "good.ts"), "// What ES2023 has not.")
			write(t, good, dir, "good.ts")
			wellTyped(t, version, dir)
		})
	}
}

// TestTypesOfWhatMustNotCompile holds that each mistake is found, for the
// reason that is written above it.
func TestTypesOfWhatMustNotCompile(t *testing.T) {
	t.Parallel()
	// "… @ts-expect-error TS1|TS2: why, 'part of the message' 'another'"
	expectation := regexp.MustCompile(`// @ts-expect-error (\S+):(.*)`)
	part := regexp.MustCompile(`(?:^|[^\w])'([^']+)'`)
	for version := range compilers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			dir := project(t, true)
			source := readFile(t, typesData, "bad.ts")
			write(t, strings.ReplaceAll(source, "@ts-expect-error", "@expect"), dir, "bad.ts")
			write(t, readFile(t, typesData, "commands.d.ts"), dir, "commands.d.ts")
			found := make(map[int][]problem)
			for _, p := range compile(t, version, dir) {
				found[p.Line] = append(found[p.Line], p)
			}
			expected := 0
			for i, line := range strings.Split(source, "\n") {
				m := expectation.FindStringSubmatch(line)
				if m == nil {
					continue
				}
				expected++
				list := found[i+2]
				delete(found, i+2)
				if len(list) != 1 || !slices.Contains(strings.Split(m[1], "|"), list[0].Code) {
					t.Errorf("line %d: %s\n%v", i+2, line, list)
					continue
				}
				said := list[0].Message + "\n" + strings.Join(list[0].Notes, "\n")
				for _, p := range part.FindAllStringSubmatch(m[2], -1) {
					if !strings.Contains(said, p[1]) {
						t.Errorf("line %d: %s\nis not the reason: %s", i+2, line, said)
					}
				}
			}
			if len(found) > 0 || expected < 50 {
				t.Errorf("%d mistakes were expected, and these besides: %v", expected, found)
			}
		})
	}
}

// TestTypesOfPlugins has the strictest settings look at everything that is
// offered as a plugin or a script.
// The modules of a program that embeds amphost are typed, with its own types or
// with what can be told of them.
func TestTypesOfModules(t *testing.T) {
	t.Parallel()
	dir := project(t, true)
	write(t, scripting.Types(
		scripting.Module{Name: "myapp/users", Types: "export function lookup(name: string): Promise<{ admin: boolean }>;\nexport default lookup;"},
		scripting.Module{Name: "myapp/x", Exports: map[string]any{
			"f": func([]any) (any, error) { return nil, nil }, "limit": 3, "key": []byte{1}, "delete": map[string]any{"odd-name": true},
		}},
	), dir, "amphost.d.ts")
	write(t, `import lookup, { lookup as same } from "myapp/users";
import x, { f, limit, key, delete as gone } from "myapp/x";
const n: number = limit + x.limit + (f("anything", 1) as number);
const b: boolean = gone["odd-name"] && key.equals(x.key);
const admin: Promise<boolean> = lookup("ada").then((u) => u.admin && same === lookup);
// @ts-expect-error: a name is a string
lookup(n, b, admin);
`, dir, "uses.ts")
	wellTyped(t, "7", dir)
}

func TestTypesOfPlugins(t *testing.T) {
	t.Parallel()
	dir := project(t, true)
	files := 0
	for _, root := range []string{"../../plugins", "../../examples", "templates"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case e.IsDir() && e.Name() == "node_modules":
				return fs.SkipDir
			}
			switch filepath.Ext(path) {
			case ".js", ".ts", ".mjs", ".cjs", ".mts", ".cts":
				write(t, readFile(t, path), dir, strings.TrimLeft(filepath.ToSlash(path), "./"))
				files++
			}
			return nil
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if files < 8 {
		t.Errorf("%d files were found", files)
	}
	wellTyped(t, "7", dir)
}

// TestTypesOfDocs type-checks every block of JavaScript and TypeScript in the
// docs. One without an import is given that of amphost.
func TestTypesOfDocs(t *testing.T) {
	t.Parallel()
	dirs := map[string]string{"js": project(t, false), "ts": project(t, true)}
	pages := []string{"../../README.md", "../../CONTRIBUTING.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../examples/*/*.md", "../../plugins/*.md"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, more...)
	}
	block := regexp.MustCompile("(?ms)^[ ]*```(js|ts|javascript|typescript)\\b([^\n]*)\n(.*?)^[ ]*```")
	count := 0
	for _, page := range pages {
		if filepath.Base(page) == "reference.md" {
			continue // it is amphost.d.ts, as docs/reference tests
		}
		text := readFile(t, page)
		for _, at := range block.FindAllStringSubmatchIndex(text, -1) {
			language, source := text[at[2]:at[2]+1]+"s", text[at[6]:at[7]]
			line := 1 + strings.Count(text[:at[6]], "\n")
			if strings.Contains(text[at[4]:at[5]], "wrong") {
				continue // the page shows a mistake, and what comes of it
			}
			if !strings.Contains(source, `"amphost"`) {
				source = `import * as amp from "amphost"; ` + source
			}
			name := strings.Trim(strings.NewReplacer("/", "_", ".md", "", ".", "").Replace(page), "_")
			// Lines are numbered as in the page.
			write(t, strings.Repeat("\n", line-1)+source, dirs[language], name+"_"+strconv.Itoa(line)+"."+language)
			count++
		}
	}
	if count == 0 {
		t.Error("no block was found")
	}
	for _, dir := range dirs {
		// Which commands there are is up to a page's story.
		write(t, "declare module \"amphost\" { interface Commands { [name: string]: { arguments: any; response: any } } }", dir, "commands.d.ts")
		wellTyped(t, "7", dir)
	}
}

// completions is a program for node: it prints what is completed at the | of each line.
const completions = `const ts = require(process.argv[1]);
const path = require("node:path");
const dir = process.argv[2];
const config = ts.getParsedCommandLineOfConfigFile(path.join(dir, "tsconfig.json"), {}, { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (d) => { throw new Error(d.messageText); } });
const texts = new Map();
const host = {
  getCompilationSettings: () => config.options, getScriptFileNames: () => [...config.fileNames, ...texts.keys()], getScriptVersion: () => "1",
  getScriptSnapshot: (f) => { const text = texts.get(f) ?? ts.sys.readFile(f); return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text); },
  getCurrentDirectory: () => dir, getDefaultLibFileName: ts.getDefaultLibFilePath, fileExists: (f) => texts.has(f) || ts.sys.fileExists(f),
  readFile: ts.sys.readFile, readDirectory: ts.sys.readDirectory, directoryExists: ts.sys.directoryExists, getDirectories: ts.sys.getDirectories,
};
const service = ts.createLanguageService(host);
for (const [i, line] of JSON.parse(process.argv[3]).entries()) {
  const file = path.join(dir, "asked" + i + ".js");
  const [before, after] = ('import * as amp from "amphost"; ' + line).split("|");
  texts.set(file, before + after);
  const list = service.getCompletionsAtPosition(file, before.length, {});
  console.log(JSON.stringify((list?.entries ?? []).map((e) => e.name)));
}
`

// TestEditorCompletes asks what an editor asks, in a directory that init and
// types have made.
func TestEditorCompletes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "plugins")
	var stdout, stderr bytes.Buffer
	if err := initPlugins(t.Context(), dir, false, false, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	questions := []struct{ line, want string }{
		{`amp.|`, "onConnect"},
		{`amp.call("|", {})`, "Sum"},
		{`amp.call("Sum", { | })`, "b"},
		{`amp.call("Sum", { a: 1, b: 2 }).then((r) => r.|)`, "total"},
		{`new amp.Command("X", { | })`, "requiresAnswer"},
		{`new amp.Command("X", { arguments: { key: amp.Unicode() } }).responder((args) => args.|)`, "key"},
		{`new amp.Command("X").responder((_, peer) => peer.|)`, "callRemote"},
		{`amp.store.update((tx) => tx.|)`, "counter"},
		{`Buffer.|`, "concat"},
		{"\n/** @type {amp.PluginSettings} */\nexport const plugin = { | };", "workers"},
	}
	lines := make([]string, len(questions))
	for i, q := range questions {
		lines[i] = strconv.Quote(q.line)
	}
	ts := filepath.Join(nodeModules(t), "typescript5", "lib", "typescript.js")
	out, err := exec.Command("node", "-e", completions, ts, dir, "["+strings.Join(lines, ",")+"]").CombinedOutput()
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(answers) != len(questions) {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, q := range questions {
		if !strings.Contains(answers[i], strconv.Quote(q.want)) {
			t.Errorf("%s is not completed with %s, but with %.300s", q.line, q.want, answers[i])
		}
	}
}
