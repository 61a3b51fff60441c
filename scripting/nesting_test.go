package scripting

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// deepForms are texts that nest, as "before@again@middle@again@after". Without
// a check of the source each ends the process, some in esbuild, some in goja.
var deepForms = []string{
	"x=@(@1@)@", "x=@[@1@]@", "x=@{a:@1@}@", "x=@!@1@@", "x=@a=>@1@@", "x=@(a)=>@1@@", "x=@()=>(@1@)@",
	"@if(1)@1@@", "@for(;;)@1@@", "@while(1)@1@@", "if(0);@else if(0);@1@@", "@do @;@ while(0);@", "@with(x)@1@@", "@l:@1@@",
	"@if(1)\n@1@@", "@{@@}@", "@function f(){@@}@", "@class A{a=@1@}@", "@try{}finally{@@}@", "@async()=>{@@}@",
	"x=@(1)?(1):@1@@", "x=@(1)**@1@@", "x=@typeof @1@@", "x=@new @A@@", "x=`@${`@@`}@`", "let [@[@a@]@]=[1]",
	"let x;x@[0]@@@", "let x;x@.a@@@", "let x;x@.const@@@", "let x;x@()@@@", "let x;x@``@@@", "let x;x@?.a@@@", "let a;a@=(a)@@@",
	"let x=1;x=1@+(1)@@@", "let x=1;x=1@+1@@@", "let x;x=1@,(1)@@@", "x=/`/;@(@1@)@", "x=/[/\"]`/;@if(1)@1@@", "type A=@[@1@]@;", "let x: @[@1@]@;",
}

func deepText(form string, n int) string {
	p := strings.Split(form, "@")
	return p[0] + strings.Repeat(p[1], n) + p[2] + strings.Repeat(p[3], n) + p[4]
}

func TestDeepSourceIsRefused(t *testing.T) {
	for _, form := range deepForms {
		_, err := BuildSource("deep.ts", deepText(form, 300_000))
		if err == nil || !strings.Contains(err.Error(), "nests") && !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s: %.200v", form, err)
		}
	}
}

// What is just not refused neither parser dies of.
func TestDeepSourceThatIsTaken(t *testing.T) {
	for _, form := range deepForms {
		// The longest text that is taken.
		low, high := 1, maxStretch
		for low < high {
			n := (low + high + 1) / 2
			if tooDeep([]byte(deepText(form, n))) == nil {
				low = n
			} else {
				high = n - 1
			}
		}
		if strings.Contains(form, "=>") {
			low = min(low, 250) // which takes long
		}
		if low < 200 {
			t.Errorf("%s: only %d levels are taken", form, low)
		}
		if os.Getenv("AMPHOST_LONG") == "" {
			low = min(low, 1000) // the parsers take the square of some
		}
		_, _ = BuildSource("deep.ts", deepText(form, low)) // with an error, perhaps
	}
}

// What people, and their tools, write is not refused.
func TestSourceIsNotTooDeep(t *testing.T) {
	const many = 30_000
	for name, text := range map[string]string{
		"without semicolons": strings.Repeat("const a = f(b.c, 1)\nif (a) g(a)\n", many),
		"calls":              strings.Repeat("f(a);\n", many),
		"data":               "x = [" + strings.Repeat("{a: 1, b: [-1, 2], 'c': \"x\"},\n", many) + "]",
		"table":              "x = {" + strings.Repeat("key: -1, other: (a) => a + 1,\n", many) + "}",
		"numbers":            "x = [" + strings.Repeat("-1,", many) + "]",
		"variables":          "var z=1" + strings.Repeat(",a=()=>1", many) + ";",
		"prose":              "x = `" + strings.Repeat("It's so: one (or two), and - of course - \"three\". ", many) + "`",
		"comment":            "/* " + strings.Repeat("((( it's ", many) + " */",
		"strings":            "x = '" + strings.Repeat("((", many) + "'",
		"classes":            strings.Repeat("class A { m() { return this.a }\n n() {} }\n", many/4),
		"regexps":            strings.Repeat("x = /[(`'\"]+((/.test(y);\n", many),
	} {
		if err := tooDeep([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The sources of real packages are tried by TestPackages, where they can be
	// had. Those of this package are looked at here.
	files, _ := filepath.Glob("prelude/*.js")
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := tooDeep(src); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
