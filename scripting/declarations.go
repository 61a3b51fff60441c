package scripting

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"time"
)

//go:embed types/amphost.d.ts
var declarations string

// Types returns amphost.d.ts: what scripts can use, in TypeScript, with the
// modules of a program that embeds them.
func Types(modules ...Module) string {
	var b strings.Builder
	b.WriteString(declarations)
	for _, m := range modules {
		name, _ := json.Marshal(m.Name) // a string always can be
		types := strings.TrimRight(m.Types, "\n")
		if types == "" {
			types = m.typesOfExports()
		}
		fmt.Fprintf(&b, "\ndeclare module %s {\n  %s\n}\n", name, strings.ReplaceAll(types, "\n", "\n  "))
	}
	return b.String()
}

// typesOfExports declares what can be told of a module's exports.
func (m Module) typesOfExports() string {
	var lines, all []string
	for i, name := range sortedKeys(m.Exports) {
		t := typeOf(m.Exports[name])
		all = append(all, propertyName(name)+": "+t)
		lines = append(lines, fmt.Sprintf("const e%d: %s;\nexport { e%d as %s };", i, t, i, propertyName(name)))
	}
	if _, ok := m.Exports["default"]; !ok {
		lines = append(lines, "const all: { "+strings.Join(all, "; ")+" };\nexport default all;")
	}
	return strings.Join(lines, "\n")
}

// typeOf is the type of a value that toScript takes.
func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "undefined"
	case bool:
		return "boolean"
	case string:
		return "string"
	case *big.Int:
		return "bigint"
	case []byte:
		return "Buffer"
	case time.Time:
		return `import("amphost").DateTimeValue`
	case []any:
		return "any[]"
	case map[string]any:
		var list []string
		for _, name := range sortedKeys(v) {
			list = append(list, propertyName(name)+": "+typeOf(v[name]))
		}
		return "{ " + strings.Join(list, "; ") + " }"
	case func([]any) (any, error):
		return "(...args: any[]) => any"
	}
	return "number"
}

// CommandTypes returns a TypeScript file that declares the commands of plugins
// by their names, so that amp.call("Sum", …) is checked and completed. It
// belongs beside what Types returns.
func CommandTypes(plugins []Status) string {
	var b strings.Builder
	b.WriteString("// The commands of the plugins here, for amp.call(\"NAME\", …). Made by `amphost\n// types`, which replaces it: changes here are lost.\n\n")
	b.WriteString("declare module \"amphost\" {\n  interface Commands {\n")
	for _, p := range plugins {
		for _, s := range p.Commands {
			about := "Answered by plugin " + p.Name + "."
			if len(s.Errors) > 0 {
				about += " Fails with " + strings.Join(s.Errors, ", ") + "."
			}
			fmt.Fprintf(&b, "    /** %s */\n", strings.ReplaceAll(about, "*/", "*\\/"))
			fmt.Fprintf(&b, "    %s: {\n      arguments: %s;\n      response: %s;\n    };\n", propertyName(s.Name), s.arguments.encoded(), s.response.decoded())
		}
	}
	b.WriteString("  }\n}\n")
	return b.String()
}

// encoded is the type of the object that becomes a box.
func (s *shape) encoded() string {
	if s.any {
		return "{ readonly [key: string]: Bytes }"
	}
	return s.object(func(f field) string {
		if f.typ.optional {
			return "?: " + f.typ.encoded() + " | undefined"
		}
		return ": " + f.typ.encoded()
	})
}

// decoded is the type of the object that a box becomes.
func (s *shape) decoded() string {
	if s.any {
		return "Box"
	}
	return s.object(func(f field) string {
		if f.typ.optional {
			return ": " + f.typ.decoded() + " | undefined"
		}
		return ": " + f.typ.decoded()
	})
}

func (s *shape) object(property func(field) string) string {
	if len(s.fields) == 0 {
		return "{}"
	}
	list := make([]string, len(s.fields))
	for i, f := range s.fields {
		list[i] = propertyName(f.name) + property(f)
	}
	return "{ " + strings.Join(list, "; ") + " }"
}

// encoded is the type of what a script may give.
func (t *argType) encoded() string {
	switch t.kind {
	case kindInteger:
		return "number | bigint"
	case kindString:
		return "Bytes"
	case kindDateTime:
		return "Date"
	case kindListOf:
		return "readonly (" + t.element.encoded() + ")[]"
	case kindAmpList:
		return "readonly " + t.fields.encoded() + "[]"
	}
	return t.decoded()
}

// decoded is the type of what a script gets.
func (t *argType) decoded() string {
	switch t.kind {
	case kindInteger:
		if t.bigint {
			return "bigint"
		}
		return "number"
	case kindFloat:
		return "number"
	case kindBoolean:
		return "boolean"
	case kindString:
		return "Buffer"
	case kindDateTime:
		return "DateTimeValue"
	case kindListOf:
		return t.element.decoded() + "[]"
	case kindAmpList:
		return t.fields.decoded() + "[]"
	}
	return "string"
}

var plainName = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// propertyName is a property's name as TypeScript wants it.
func propertyName(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	quoted, _ := json.Marshal(name) // a string always can be
	return string(quoted)
}
