package scripting

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	// A stray tsconfig changes nothing.
	write(t, dir, "tsconfig.json", `{ "compilerOptions": { "target": "ES5", "useDefineForClassFields": false, "experimentalDecorators": true, "paths": { "./lib/*": ["./nowhere/*"] } }, "extends": "./nothing.json" }`,
		"plugins/shared/data.json", `{ "n": 40 }`, "plugins/shared/text.txt", "täxt\n",
		"plugins/lib/common.cjs", "module.exports = { two: 2 };",
		"plugins/node_modules/pkg/package.json", `{ "name": "pkg", "main": "./m.js", "exports": { ".": { "amphost": "./a.js", "default": "./m.js" } } }`,
		"plugins/node_modules/pkg/a.js", `export const which = "amphost";`, "plugins/node_modules/pkg/m.js", `throw 1`,
		"plugins/all/index.ts", `import * as amp from "amphost";
import data from "../shared/data.json";
import text from "../shared/text.txt";
import { two } from "../lib/common.cjs";
import { which } from "pkg";
const amp2 = require("amphost");
interface Thing { n: number }
enum Color { Red = 1, Green }
class Base { x = 1; }
class Derived extends Base { declare y: number; static #z = 5; static z() { return this.#z; } constructor(private readonly n: number) { super(); } get() { return this.n; } }
const id = <T,>(v: T): T => v;
const n = id<number>(5);
async function* gen() { yield 1; yield 2; }
new amp.Command("All", { response: { out: amp.Unicode() } }).responder(async () => {
  let sum = 0;
  for await (const x of gen()) sum += x;
  const lazy = await import("./lazy");
  using r = { [Symbol.dispose]() { sum += 100; } };
  return { out: [data.n + two, text.trim(), which, amp2.Command === amp.Command, Color.Green, new Derived(9).get(), Derived.z(), n, sum, lazy.default, "y" in new Derived(1)].join(" ") };
});
`, "plugins/all/lazy.ts", "export default 'lazy' as string;")
	prog, err := Build(filepath.Join(dir, "plugins", "all"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), prog, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(t.Context()) }()
	b, err := ask(t, p, "All", nil)
	if want := "42 täxt amphost true 2 9 5 5 3 lazy false"; err != nil || string(b["out"]) != want {
		t.Errorf("All = %q, %v, want %q", b["out"], err, want)
	}
	var names []string
	for _, file := range prog.Files {
		names = append(names, filepath.Base(file))
	}
	slices.Sort(names)
	if got, want := strings.Join(names, " "), "a.js common.cjs data.json index.ts lazy.ts text.txt"; got != want {
		t.Errorf("files: %s, want %s", got, want)
	}
	hash := prog.Hash
	write(t, dir, "plugins/shared/data.json", `{ "n": 41 }`)
	if prog, err = Build(filepath.Join(dir, "plugins", "all")); err != nil || prog.Hash == hash {
		t.Errorf("hash %s after a change of an import, %v", prog.Hash, err)
	}
}

// A plugin may be CommonJS from its first line, which may be one for a shell,
// and import with attributes and as TypeScript spells it.
func TestBuildCommonJS(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "old.cjs", "#!/usr/bin/env node\n"+`
const amp = require("amphost");
const { ts } = require("./lib/typed.js"), text = require("./lib/text.txt"), json = require("./lib/data.json");
const All = new amp.Command("All", { response: { out: amp.Unicode() } });
sloppy = (function () { return this === globalThis; })(); // as CommonJS may be
All.responder(() => ({ out: [ts, text, json.n, sloppy, module.exports.plugin.maxInFlight].join(" ") }));
exports.plugin = { maxInFlight: 7 };
`, "lib/typed.ts", "\ufeff"+`import odd from "./odd.ext" with { type: "text" };
import list from "./list.data" with { type: "json" };
export const ts: string = odd + list.length;
`, "lib/odd.ext", "odd", "lib/list.data", "[1, 2]", "lib/text.txt", "text", "lib/data.json", `{ "n": 3 }`)
	prog, err := Build(filepath.Join(dir, "old.cjs"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), prog, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(t.Context()) }()
	b, err := ask(t, p, "All", nil)
	if want := "odd2 text 3 true 7"; err != nil || string(b["out"]) != want {
		t.Errorf("All = %q, %v, want %q", b["out"], err, want)
	}
	if p.maxInFlight() != 7 {
		t.Errorf("its setting maxInFlight is %d, want 7", p.maxInFlight())
	}
}

// A bundle of ES modules is strict code; one that needs to be sloppy is not.
func TestStrictBundles(t *testing.T) {
	for _, c := range []struct {
		imports string
		strict  bool
	}{
		{`import "./data.json"; import "./text.txt"; import "./empty.js"; import "./module.js"; import "./typed";`, true},
		{`import "./legacy.js";`, false},
		{`import "./common.cjs";`, false},
		{`require("./module.js");`, false},
		{`module.exports = {};`, false},
	} {
		dir := t.TempDir()
		write(t, dir, "p.js", c.imports+` globalThis.how = (function () { return this === undefined ? "strict" : "sloppy"; })(); throw new Error(globalThis.how);`,
			"data.json", "{}", "text.txt", "x", "empty.js", "", "module.js", "export {}; globalThis.m = 1;", "typed.ts", "globalThis.t = 1;", "legacy.js", "legacy = 1;", "common.cjs", "exports.x = 1;")
		prog, err := Build(filepath.Join(dir, "p.js"))
		if err != nil {
			t.Fatal(err)
		}
		want := "sloppy"
		if c.strict {
			want = "strict"
		}
		if _, err := Start(t.Context(), prog, nil); err == nil || !strings.HasSuffix(err.Error(), "Error: "+want) {
			t.Errorf("%s: %v, want %s", c.imports, err, want)
		}
	}
}

// Every mistake is told with its place, and in words that help.
func TestBuildErrors(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		source string
		want   []string
	}{
		{"let x = ;\nlet y = ;\n", []string{"p.ts:1:9", "let x = ;", "^"}},
		{"import fs from 'fs';\nfs.x();", []string{"p.ts:1:", `Node's module "fs" is not here`, "amp.store.update"}},
		{"import 'node:net';", []string{`Node's module "node:net" is not here`, "amp.connect"}},
		{"import { opendir } from 'node:fs/promises'; opendir();", []string{`Node's module "node:fs/promises" is not here`, "amp.store.update"}},
		{"import 'http'; import 'node:https'; import 'http2';", []string{`Node's module "http" is not here`, `Node's module "node:https" is not here`, `Node's module "http2" is not here`, "use fetch"}},
		{"import 'path/posix';", []string{`Node's module "path/posix" is not here`, "path-browserify"}},
		{"import 'timers/promises';", []string{`Node's module "timers/promises" is not here`, "without Node"}},
		{"import 'node:sqlite';", []string{`Node's module "node:sqlite" is not here`, "without Node"}},
		{"import x from 'https://example.com/x.js'; x();", []string{`p.ts:1:`, `"https://example.com/x.js" can't be imported`, "npm install"}},
		{"import x from 'npm:zod'; x();", []string{`"npm:zod" can't be imported`}},
		{"import 'left-pad';", []string{`Could not resolve "left-pad"`, "npm install left-pad"}},
		{"import '@scope/pkg/sub';", []string{"npm install @scope/pkg"}},
		{"import './nothing';", []string{`Could not resolve "./nothing"`, "p.ts:1:8"}},
		{"await 1;", []string{"amp.onLoad(async () =>", "p.ts:1:0"}},
		{"const r = /(?i:a)b/;\nexport default r.test('x');", []string{"p.ts:1:11", "SyntaxError: Invalid group", "const r = /(?i:a)b/;", "docs/language.md"}},
		{"import { Comand } from 'amphost'; new Comand();", []string{`"Comand"`, "p.ts:1:"}},
		{"import 'amphost/store';", []string{`everything is in "amphost"`}},
		{strings.Repeat("(", 3000), []string{"nests deeper than 1000"}},
		{"x = " + strings.Repeat("!", 200000) + "1", []string{"nests too deep"}},
		{strings.Repeat("// x\n", 1<<20), []string{"has at most 4194304"}},
	} {
		write(t, dir, "p.ts", c.source)
		_, err := Build(filepath.Join(dir, "p.ts"))
		var build *BuildError
		if !errors.As(err, &build) {
			t.Errorf("%.40q: %v, want a BuildError", c.source, err)
			continue
		}
		for _, want := range c.want {
			want = strings.Replace(want, "p.ts:1:0", "p.ts:1:", 1)
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%.40q: %.600s\nlacks %q", c.source, err, want)
			}
		}
		if !slices.Contains(build.Files, filepath.Join(dir, "p.ts")) {
			t.Errorf("%.40q: files %v", c.source, build.Files)
		}
	}
	write(t, dir, "p.ts", "import './x';\nimport 'fs';\n", "notes.md", "x", "Bad Name.js", "")
	var build *BuildError
	if _, err := Build(filepath.Join(dir, "p.ts")); !errors.As(err, &build) || len(build.Messages) != 2 {
		t.Errorf("two mistakes: %v", err)
	}
	if _, err := Build(filepath.Join(dir, "notes.md")); !errors.Is(err, ErrNoPlugin) {
		t.Errorf("notes.md: %v", err)
	}
	if _, err := Build(filepath.Join(dir, "Bad Name.js")); err == nil || !strings.Contains(err.Error(), nameRule) {
		t.Errorf("Bad Name.js: %v", err)
	}
	if _, err := Build(filepath.Join(dir, "gone.js")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("gone.js: %v", err)
	}
}

// goja's parser panics on the last code point there is.
func TestLastRune(t *testing.T) {
	p, _ := run(t, "last", `import * as amp from "amphost";
new amp.Command("Try", { response: { out: amp.Unicode() } }).responder(() => ({
  out: ["a\u{10ffff}".length, "\\u{10FFFF}", "\\\u{10FFFF}".length, /^[\u{10000}-\u{10FFFF}]$/u.test("😀"), `+"`x\\u{10FFFF}`.length"+`].join(" "),
}));`, nil)
	if b, err := ask(t, p, "Try", nil); err != nil || string(b["out"]) != `3 \u{10FFFF} 3 true 3` {
		t.Errorf("got %q, %v", b["out"], err)
	}
}

func TestDiscover(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.js", "", "b.ts", "", "b.js", "", "c/index.mjs", "", "d/package.json", `{ "main": "src/d.js" }`, "d/src/d.js", "",
		"e/package.json", `{ "main": "../a.js" }`, "f/index.js", "", "f.mjs", "", "f.cjs", "", "g/package.json", `{ "main": "data.json" }`, "g/data.json", "{}",
		"h/package.json", `{ "main": "gone.js" }`, "h/index.js", "", "i/package.json", `{ "name": "i" }`, "i/index.cjs", "", "package.json", "{}", "tsconfig.json", "{}", "Upper.js", "", "shared/x.js", "", "_private.js", "", ".hidden.js", "", "t.test.js", "", "types.d.ts", "", "README.md", "", "node_modules/x/index.js", "")
	list, _, err := discover(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range sortedKeys(list) {
		if err := list[name].err; err != nil {
			name += "!"
		}
		got = append(got, name)
	}
	if want := "Upper! a b! c d e! f! g! h! i"; strings.Join(got, " ") != want {
		t.Errorf("found %v, want %s", got, want)
	}
	for name, words := range map[string][]string{
		"b": {`two plugins are called "b"`, "b.js", "b.ts"},
		"f": {`3 plugins are called "f"`, "f, ", "f.cjs", "f.mjs"},
		"e": {"package.json", "../a.js", "outside"}, "g": {"package.json", "data.json", "not a script"}, "h": {"package.json", "gone.js", "not a file"},
		"Upper": {"Upper.js", nameRule},
	} {
		for _, word := range words {
			if err := list[name].err; err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v, want an error with %q", name, err, word)
			}
		}
	}
}

func FuzzTooDeep(f *testing.F) {
	f.Add([]byte("const a = '(((';// ((("))
	f.Add([]byte("/* ( */ `${(x)}`"))
	f.Fuzz(func(t *testing.T, src []byte) {
		_ = tooDeep(src) // does not panic, and ends
	})
}

// What would be silently wrong is told with its place.
func TestWarnings(t *testing.T) {
	prog, err := BuildSource("re", "const a = 1;\nconst b = [/\\p{Emoji}/u, /\\p{L}/u];\nconst c = /(?<y>a)|(?<y>b)/, d = /(?<y>a)(?<=x)(?<z>b)/;\nconsole.log(a, b, c, d, import.meta);\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"re.js:4:25: import.meta is empty", "/re.js:2:12: the regular expression /\\p{Emoji}/u does not match", "/re.js:3:11: the regular expression /(?<y>a)|(?<y>b)/ does not match"}
	for i, w := range prog.Warnings {
		if i >= len(want) || !strings.HasPrefix(w.String(), want[i]) {
			t.Errorf("a warning: %v", w)
		}
	}
	if len(prog.Warnings) != len(want) {
		t.Errorf("%d warnings, want %d", len(prog.Warnings), len(want))
	}
}

// Lines and columns of a code frame count from 1, as everywhere, and its caret
// is below what is meant.
func TestFramesOfBuildErrorsCountFromOne(t *testing.T) {
	t.Parallel()
	for source, meant := range map[string]string{
		"let a = 1;\n  let b = 2 @;\n":        "@;",
		`import { x } from "./none";`:         `"./none"`,
		"const x = 1;\nx = 2;\nconst y = ((;": ";",
		"#":                                   "",
	} {
		_, err := BuildSource("bad", source)
		e, ok := errors.AsType[*BuildError](err)
		if !ok {
			t.Fatalf("%q: %v", source, err)
		}
		for _, color := range []bool{false, true} {
			m, text := e.Messages[0], e.Format(color)
			if at := fmt.Sprintf("bad.js:%d:%d:\n", m.Line, m.Column); m.Column == 0 || !strings.Contains(text, at) {
				t.Errorf("%q is not at %q:\n%s", source, at, text)
			}
			line := strings.Split(source, "\n")[m.Line-1]
			if !strings.HasPrefix(line[m.Column-1:], meant) {
				t.Errorf("%q: column %d is not %q", source, m.Column, meant)
			}
			if color {
				continue
			}
			lines := strings.Split(text, "\n")
			for i, l := range lines {
				if _, shown, ok := strings.Cut(l, " │ "); ok && shown == line {
					mark := []rune(lines[i+1])
					caret := len([]rune(l)) - len([]rune(shown)) + m.Column - 1
					if caret >= len(mark) || mark[caret] != '^' && mark[caret] != '~' || mark[caret-1] != ' ' {
						t.Errorf("the caret is not below column %d:\n%s", m.Column, text)
					}
				}
			}
		}
	}
}
