package scripting

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promised are the names that amphost.d.ts declares and that are not there yet.
var promised = []string{}

// declaredIn returns what the first group of a pattern matches in a text.
func declaredIn(text, pattern string) []string {
	var list []string
	for _, m := range regexp.MustCompile("(?m)"+pattern).FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// TestTypesDeclareTheModule compares what "amphost" exports with what
// amphost.d.ts says of it. Where there is a TypeScript compiler, cmd/amphost
// compares the rest.
func TestTypesDeclareTheModule(t *testing.T) {
	module, _, _ := strings.Cut(Types(), "\n}\n")
	declared := declaredIn(module, `^  (?:function|class|const) (\w+)`)
	for _, name := range moduleExports {
		if !slices.Contains(declared, name) {
			t.Errorf("amphost.d.ts does not declare amp.%s", name)
		}
	}
	for _, name := range declared {
		if !slices.Contains(moduleExports, name) && !slices.Contains(promised, name) {
			t.Errorf("amphost.d.ts declares amp.%s, which is not there", name)
		}
	}
}

func TestCommandTypes(t *testing.T) {
	p, _ := run(t, "typed", `import * as amp from "amphost";
class Gone extends Error {}
new amp.Command("All", {
  arguments: {
    i: amp.Integer(), big: amp.Integer({ bigint: true }), f: amp.Float({ optional: true }), b: amp.Boolean(), u: amp.Unicode(),
    s: amp.String(), d: amp.Decimal(), t: amp.DateTime(), p: amp.Path(), l: amp.ListOf(amp.ListOf(amp.Integer())),
    "odd name": amp.AmpList({ x: amp.String({ optional: true }) }, { optional: true }),
  },
  response: {
    i: amp.Integer(), big: amp.Integer({ bigint: true }), f: amp.Float({ optional: true }), s: amp.String(), t: amp.DateTime(),
    l: amp.ListOf(amp.ListOf(amp.Integer())), m: amp.AmpList({ x: amp.String({ optional: true }) }),
  },
  errors: { GONE: Gone, "*/": Gone },
}).responder(() => { throw new Gone(); });
new amp.Command("Boxes", { arguments: amp.Box, response: amp.Box }).responder((b) => b);
new amp.Command("no thing").responder(() => {});`, nil)
	got := CommandTypes([]Status{{Name: "typed", Commands: p.Commands()}, {Name: "none"}})
	want := `// The commands of the plugins here, for amp.call("NAME", …). Made by ` + "`amphost" + `
// types` + "`" + `, which replaces it: changes here are lost.

declare module "amphost" {
  interface Commands {
    /** Answered by plugin typed. Fails with GONE, *\/. */
    All: {
      arguments: { i: number | bigint; big: number | bigint; f?: number | undefined; b: boolean; u: string; s: Bytes; d: string; t: Date; p: string; l: readonly (readonly (number | bigint)[])[]; "odd name"?: readonly { x?: Bytes | undefined }[] | undefined };
      response: { i: number; big: bigint; f: number | undefined; s: Buffer; t: DateTimeValue; l: number[][]; m: { x: Buffer | undefined }[] };
    };
    /** Answered by plugin typed. */
    Boxes: {
      arguments: { readonly [key: string]: Bytes };
      response: Box;
    };
    /** Answered by plugin typed. */
    "no thing": {
      arguments: {};
      response: {};
    };
  }
}
`
	if got != want {
		t.Errorf("CommandTypes = %s", got)
	}
}
