// Reference writes docs/reference.md: what amphost.d.ts says, for reading.
package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/amphost/amphost/scripting"
)

func main() {
	fmt.Print(page(scripting.Types()))
}

const head = `# Reference

Everything that a plugin or a script can use, as ` + "`amphost.d.ts`" + ` declares it; ` + "`amphost types`" + ` writes that file beside your
plugins, and editors go by it. This page is made from it by ` + "`make reference`" + `. [plugins.md](plugins.md) shows the same by example.
`

var (
	section     = regexp.MustCompile(`^ *// ---- (.*?) -+$`)
	declaration = regexp.MustCompile(`^(?:declare )?(?:function|const|class|interface|type|var|module) ("[^"]*"|\w+)`)
)

// An item is one declaration, with what its comment says.
type item struct {
	name string
	doc  string
	code []string
}

// page returns the page for a file of declarations.
func page(types string) string {
	var b strings.Builder
	b.WriteString(head)
	var items []item
	flush := func() {
		items = writeItems(&b, items)
	}
	var doc []string
	amphost := false // within its module
	lines := strings.Split(types, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if amphost && line == "}" {
			amphost = false
			flush()
			b.WriteString("\n## Files that may be imported\n")
			continue
		}
		if amphost {
			line = strings.TrimPrefix(line, "  ")
		}
		switch m := section.FindStringSubmatch(line); {
		case m != nil:
			flush()
			fmt.Fprintf(&b, "\n## %s\n", m[1])
			doc = nil
		case line == `declare module "amphost" {`:
			amphost = true
		case strings.HasPrefix(line, "/**"):
			doc = nil
			for ; ; i++ {
				text, last := strings.CutSuffix(strings.TrimSpace(lines[i]), "*/")
				doc = append(doc, strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(text, "/**"), "*")))
				if last {
					break
				}
			}
		case declaration.MatchString(line):
			it := item{name: declaration.FindStringSubmatch(line)[1], doc: strings.TrimSpace(strings.Join(doc, "\n"))}
			doc = nil
			// It ends with the first line that is not deeper, and is no bracket.
			for indent := len(lines[i]) - len(strings.TrimLeft(lines[i], " ")); ; i++ {
				text := lines[i]
				if amphost {
					text = strings.TrimPrefix(text, "  ")
				}
				it.code = append(it.code, text)
				if i+1 == len(lines) || !continues(lines[i+1], indent) {
					break
				}
			}
			items = append(items, it)
		}
	}
	flush()
	return b.String()
}

// continues reports whether a line belongs to the declaration before it, which
// is indented by so much: it is deeper, or closes what was opened.
func continues(line string, indent int) bool {
	trimmed := strings.TrimLeft(line, " ")
	depth := len(line) - len(trimmed)
	return trimmed != "" && (depth > indent || depth == indent && strings.ContainsAny(trimmed[:1], "})>"))
}

// writeItems writes declarations, those of one name together, and returns nil.
// Types that only help others, and are not explained, are left out.
func writeItems(b *strings.Builder, items []item) []item {
	for i := 0; i < len(items); {
		it := items[i]
		for i++; i < len(items) && items[i].name == it.name; i++ {
			it.doc = strings.TrimSpace(it.doc + "\n\n" + items[i].doc)
			it.code = append(it.code, items[i].code...)
		}
		if it.doc == "" && strings.HasPrefix(strings.TrimPrefix(it.code[0], "declare "), "type ") {
			continue
		}
		fmt.Fprintf(b, "\n### `%s`\n", strings.Trim(it.name, `"`))
		if it.doc != "" {
			fmt.Fprintf(b, "\n%s\n", it.doc)
		}
		fmt.Fprintf(b, "\n```ts\n%s\n```\n", strings.Join(it.code, "\n"))
	}
	return nil
}
