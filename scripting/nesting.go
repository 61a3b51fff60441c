package scripting

// Limits that keep the recursive parsers of esbuild and goja far from the end
// of the goroutine's stack, which ends the process and cannot be recovered:
// both survive a hundred thousand levels.
const (
	maxNesting = 1000  // brackets open at once
	maxStretch = 20000 // operators and keywords in a row without a bracket, comma or semicolon that closes something
)

// tooDeep scans a source text and returns ok, or the line where it nests
// deeper than a person would write. It errs on the side of letting pass: it
// knows strings and comments but neither regular expressions nor what
// templates nest.
func tooDeep(src []byte) (line int, ok bool) {
	line = 1
	depth, stretch := 0, 0
	for i := 0; i < len(src); i++ {
		switch c := src[i]; c {
		case '\n':
			line++
		case '(', '[', '{':
			if depth++; depth > maxNesting {
				return line, false
			}
		case ')', ']', '}':
			if depth > 0 {
				depth--
			}
			stretch = 0
		case ',', ';':
			stretch = 0
		case '!', '~', '+', '-', '=', '?', '*', '&', '|', '<':
			if stretch++; stretch > maxStretch {
				return line, false
			}
		case ' ', '\t':
			// A word ends here; "new new new …" and "else if" nest by words.
			if stretch++; i > 0 && (src[i-1] == ' ' || src[i-1] == '\t' || src[i-1] == '\n') {
				stretch--
			}
			if stretch > maxStretch {
				return line, false
			}
		case '/':
			if i+1 < len(src) && (src[i+1] == '/' || src[i+1] == '*') {
				i, line = skipComment(src, i, line)
			}
		case '"', '\'':
			i = skipString(src, i)
		}
	}
	return line, true
}

// skipComment returns the index of the last byte of the comment at i.
func skipComment(src []byte, i, line int) (int, int) {
	if src[i+1] == '/' {
		for i+1 < len(src) && src[i+1] != '\n' {
			i++
		}
		return i, line
	}
	for i += 2; i < len(src); i++ {
		if src[i] == '\n' {
			line++
		}
		if src[i] == '*' && i+1 < len(src) && src[i+1] == '/' {
			return i + 1, line
		}
	}
	return i, line
}

// skipString returns the index of the last byte of the string at i, or of its
// line: a quote in a regular expression or a template is no string.
func skipString(src []byte, i int) int {
	for j := i + 1; j < len(src); j++ {
		switch src[j] {
		case '\\':
			j++
		case '\n':
			return i
		case src[i]:
			return j
		}
	}
	return i
}
