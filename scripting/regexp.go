package scripting

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/file"
)

// goja takes \p{…} in a regular expression literally: /\p{L}/u matches "p{L}".
// So the build spells it out as ranges in literals, and the constructor that
// scripts see (prelude/regexp.js) in what they make.

// expandLiterals does so in the literals of a script. It returns a warning for
// each that it can't do that for, and for others that will not match what they
// should.
func expandLiterals(prog *ast.Program) []Message {
	var warnings []Message
	seen := make(map[*ast.RegExpLiteral]bool) // a declaration is in the tree twice
	walk(reflect.ValueOf(prog.Body), func(l *ast.RegExpLiteral) {
		if seen[l] {
			return
		}
		seen[l] = true
		err := checkGroups(l.Pattern)
		if err == nil && strings.Contains(l.Flags, "u") {
			var pattern string
			if pattern, err = expandProperties(l.Pattern); err == nil {
				l.Pattern = pattern
			}
		}
		if err != nil {
			p := prog.File.Position(int(l.Idx) - prog.File.Base())
			text := fmt.Sprintf("the regular expression %s does not match what it should: %v", l.Literal, err)
			warnings = append(warnings, Message{File: displayPath(cleanName(p.Filename)), Line: p.Line, Column: p.Column, Text: text})
		}
	})
	return warnings
}

// groupName is the start of a named group.
var groupName = regexp.MustCompile(`\(\?<([\pL_$][\pL\pN_$]*)>`)

// checkGroups finds two groups of one name: goja keeps what the last one
// matched, also when that is nothing.
func checkGroups(pattern string) error {
	seen := make(map[string]bool)
	for _, m := range groupName.FindAllStringSubmatch(pattern, -1) {
		if seen[m[1]] {
			return fmt.Errorf("two groups are called %q, and only the last one counts", m[1])
		}
		seen[m[1]] = true
	}
	return nil
}

// walk calls f for the literals within a part of a syntax tree, which is made
// of structs, slices, pointers and interfaces.
func walk(v reflect.Value, f func(*ast.RegExpLiteral)) {
	switch v.Kind() {
	case reflect.Interface:
		walk(v.Elem(), f)
	case reflect.Pointer:
		if v.IsNil() || v.Type() == typeFile {
			return
		}
		if l, ok := v.Interface().(*ast.RegExpLiteral); ok {
			f(l)
			return
		}
		walk(v.Elem(), f)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				walk(v.Field(i), f)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() > reflect.Complex128 { // no bytes
			for i := range v.Len() {
				walk(v.Index(i), f)
			}
		}
	}
}

var typeFile = reflect.TypeFor[*file.File]()

// usesRegExpSets reports whether a bundle may need that constructor.
func usesRegExpSets(code string) bool {
	return strings.Contains(code, `p{`) || strings.Contains(code, `P{`) || strings.Contains(code, `"v"`)
}

// expandProperties replaces the \p{…} and \P{…} of a pattern that has the flag
// u or v by ranges.
func expandProperties(pattern string) (string, error) {
	var b strings.Builder
	inClass := false
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+2 < len(pattern) && (pattern[i+1] == 'p' || pattern[i+1] == 'P') && pattern[i+2] == '{':
			end := strings.IndexByte(pattern[i:], '}')
			if end < 0 {
				return "", fmt.Errorf("a \\%c{ without its }", pattern[i+1])
			}
			name := pattern[i+3 : i+end]
			table, err := property(name)
			if err != nil {
				return "", err
			}
			negate := pattern[i+1] == 'P'
			switch {
			case inClass:
				writeRanges(&b, table, negate)
			case negate:
				b.WriteString("[^")
				writeRanges(&b, table, false)
				b.WriteByte(']')
			default:
				b.WriteByte('[')
				writeRanges(&b, table, false)
				b.WriteByte(']')
			}
			i += end
			continue
		case c == '\\' && i+1 < len(pattern):
			b.WriteByte(c)
			i++
			b.WriteByte(pattern[i])
			continue
		case c == '[':
			inClass = true
		case c == ']':
			inClass = false
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

// categories are the long names of the general categories.
var categories = map[string]string{
	"Letter": "L", "Cased_Letter": "LC", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Titlecase_Letter": "Lt", "Modifier_Letter": "Lm", "Other_Letter": "Lo",
	"Mark": "M", "Combining_Mark": "M", "Nonspacing_Mark": "Mn", "Spacing_Mark": "Mc", "Enclosing_Mark": "Me",
	"Number": "N", "Decimal_Number": "Nd", "digit": "Nd", "Letter_Number": "Nl", "Other_Number": "No",
	"Punctuation": "P", "punct": "P", "Connector_Punctuation": "Pc", "Dash_Punctuation": "Pd", "Open_Punctuation": "Ps", "Close_Punctuation": "Pe",
	"Initial_Punctuation": "Pi", "Final_Punctuation": "Pf", "Other_Punctuation": "Po",
	"Symbol": "S", "Math_Symbol": "Sm", "Currency_Symbol": "Sc", "Modifier_Symbol": "Sk", "Other_Symbol": "So",
	"Separator": "Z", "Space_Separator": "Zs", "Line_Separator": "Zl", "Paragraph_Separator": "Zp",
	"Other": "C", "Control": "Cc", "cntrl": "Cc", "Format": "Cf", "Surrogate": "Cs", "Private_Use": "Co",
}

// property returns the characters of a \p{…}.
func property(name string) ([]*unicode.RangeTable, error) {
	key, value, both := strings.Cut(name, "=")
	if both {
		switch key {
		case "General_Category", "gc":
			return category(value)
		case "Script", "sc", "Script_Extensions", "scx":
			if t := unicode.Scripts[value]; t != nil {
				return []*unicode.RangeTable{t}, nil
			}
		}
		return nil, fmt.Errorf("unknown property %q", name)
	}
	p := unicode.Properties
	switch name {
	case "Any":
		return []*unicode.RangeTable{{R16: []unicode.Range16{{Lo: 0, Hi: 0xFFFF, Stride: 1}}, R32: []unicode.Range32{{Lo: 0x10000, Hi: 0x10FFFF, Stride: 1}}}}, nil
	case "ASCII":
		return []*unicode.RangeTable{{R16: []unicode.Range16{{Lo: 0, Hi: 0x7F, Stride: 1}}}}, nil
	case "Alphabetic", "Alpha":
		return []*unicode.RangeTable{unicode.L, unicode.Nl, p["Other_Alphabetic"]}, nil
	case "Uppercase", "Upper":
		return []*unicode.RangeTable{unicode.Lu, p["Other_Uppercase"]}, nil
	case "Lowercase", "Lower":
		return []*unicode.RangeTable{unicode.Ll, p["Other_Lowercase"]}, nil
	case "Math":
		return []*unicode.RangeTable{unicode.Sm, p["Other_Math"]}, nil
	case "White_Space", "space":
		return []*unicode.RangeTable{unicode.White_Space}, nil
	case "ID_Start", "IDS", "XID_Start", "XIDS":
		return []*unicode.RangeTable{unicode.L, unicode.Nl, p["Other_ID_Start"]}, nil
	case "ID_Continue", "IDC", "XID_Continue", "XIDC":
		return []*unicode.RangeTable{unicode.L, unicode.Nl, p["Other_ID_Start"], unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc, p["Other_ID_Continue"]}, nil
	}
	if t := p[name]; t != nil {
		return []*unicode.RangeTable{t}, nil
	}
	return category(name)
}

func category(name string) ([]*unicode.RangeTable, error) {
	if short, ok := categories[name]; ok {
		name = short
	}
	if name == "LC" {
		return []*unicode.RangeTable{unicode.Lu, unicode.Ll, unicode.Lt}, nil
	}
	if t := unicode.Categories[name]; t != nil {
		return []*unicode.RangeTable{t}, nil
	}
	return nil, fmt.Errorf("the property %q is not supported", name)
}

// writeRanges spells characters, or all others, as the inside of a class.
func writeRanges(b *strings.Builder, tables []*unicode.RangeTable, negate bool) {
	in := func(c rune) bool {
		for _, t := range tables {
			if t != nil && unicode.Is(t, c) {
				return true
			}
		}
		return false
	}
	start := rune(-1)
	for c := rune(0); c <= unicode.MaxRune+1; c++ {
		if c <= unicode.MaxRune && in(c) != negate {
			if start < 0 {
				start = c
			}
			continue
		}
		if start >= 0 {
			fmt.Fprintf(b, `\u{%x}`, start)
			if c-1 > start {
				fmt.Fprintf(b, `-\u{%x}`, c-1)
			}
			start = -1
		}
	}
}
