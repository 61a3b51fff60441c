package scripting

import "fmt"

// Limits that keep the recursive parsers of esbuild and goja far from the end
// of the goroutine's stack, which ends the process and cannot be recovered:
// both survive a hundred thousand levels.
const (
	maxNesting = 1000  // brackets open at once
	maxStretch = 20000 // operators and the like of unfinished statements, brackets and all
	elseCosts  = 4     // of those, for an else
	arrowCosts = 25    // of those, for an arrow: goja takes the square of how many follow each other
)

// tooDeep scans a source text for what nests deeper than a person would write,
// and says where that is; nil if it does not. It knows tokens and not grammar:
// whatever has not come to an end may be nested in what follows.
func tooDeep(src []byte) error {
	s := nestingScanner{src: src, line: 1, levels: []nestingLevel{{}}}
	return s.scan()
}

type nestingScanner struct {
	src     []byte
	i       int // what is looked at
	line    int
	levels  []nestingLevel // open brackets, outermost first, after the file itself
	total   int            // stretch of all levels
	longest int            // regular expression, in bytes
	last    byte           // of the token before, 'a' for a word and '1' for a value; 0 if none
}

// A nestingLevel is an open bracket.
type nestingLevel struct {
	bracket byte // '(', '[', '{', '$' for that of a template, or 0 for the file
	stretch int  // what has not come to an end in it
	elses   int  // how often an else went on with what had
	list    bool // a comma ends something here: a property, or a variable
}

func (s *nestingScanner) top() *nestingLevel { return &s.levels[len(s.levels)-1] }

// add notes something that what follows may be nested in.
func (s *nestingScanner) add(n int) {
	s.top().stretch += n
	s.total += n
}

// finish notes that what was open at this level has come to its end.
func (s *nestingScanner) finish() {
	l := s.top()
	s.total -= l.stretch
	l.stretch, l.list = 0, false
}

func (s *nestingScanner) scan() error {
	for s.i < len(s.src) {
		s.token()
		if len(s.levels) > maxNesting+1 {
			return fmt.Errorf("line %d nests deeper than %d brackets", s.line, maxNesting)
		}
		if s.longest > maxPattern {
			return fmt.Errorf("line %d has a regular expression of more than %d bytes", s.line, maxPattern)
		}
		if s.total > maxStretch {
			return fmt.Errorf("line %d goes on for too long, or nests too deep: end some statements before, with a semicolon", s.line)
		}
	}
	return nil
}

// token takes the next token.
func (s *nestingScanner) token() {
	c := s.src[s.i]
	next := byte(0)
	if s.i+1 < len(s.src) {
		next = s.src[s.i+1]
	}
	switch {
	case c == '\n':
		s.line++
		s.i++
		return
	case c == ' ' || c == '\t' || c == '\r':
		s.i++
		return
	case c == '/' && (next == '/' || next == '*'):
		s.comment()
		return
	case isWord(c):
		s.word()
		return
	case c == '"' || c == '\'':
		s.quoted(c)
		s.last = '1'
		return
	case c == '`':
		s.add(1) // one may follow another
		s.i++
		s.template()
		return
	case c == '/' && s.regexpMayFollow():
		s.regexp()
		s.last = '1'
		return
	}
	s.i++
	switch c {
	case '(', '[', '{':
		s.levels = append(s.levels, nestingLevel{bracket: c})
	case ')', ']', '}':
		if len(s.levels) > 1 {
			closed := s.top().bracket
			s.finish()
			s.total -= s.top().elses
			s.levels = s.levels[:len(s.levels)-1]
			if closed == '$' {
				s.template()
				return
			}
			s.add(1)
		}
	case ';':
		s.finish()
	case ',':
		if l := s.top(); l.list || l.bracket == '[' {
			list := l.list && l.bracket != '{' // the next property has a colon of its own
			s.finish()
			s.top().list = list
		} else {
			s.add(1)
		}
	case ':':
		s.top().list = s.top().list || s.top().bracket == '{'
		s.add(1)
	case '=':
		if next == '>' {
			s.i++
			s.add(arrowCosts)
		} else {
			s.add(1)
		}
	default:
		s.add(1)
	}
	s.last = c
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || c == '#' || c == '\\' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c >= 0x80
}

// word takes an identifier, a keyword or a number.
func (s *nestingScanner) word() {
	start := s.i
	for s.i < len(s.src) && isWord(s.src[s.i]) {
		s.i++
	}
	property := s.last == '.'
	if s.last = '1'; property {
		return
	}
	switch string(s.src[start:s.i]) {
	case "const", "let", "var":
		s.finish() // nothing is open before a declaration, with semicolons or without
		s.top().list = true
		s.last = 'a'
	case "else":
		s.top().elses += elseCosts
		s.total += elseCosts
		s.last = 'a'
	case "function", "class", "import", "export", "throw":
		s.add(1)
		s.last = 'a'
	case "new", "typeof", "void", "delete", "await", "yield", "async", "if", "for", "while", "do", "with", "try", "catch", "finally",
		"in", "of", "instanceof", "as", "satisfies", "extends", "keyof", "readonly", "infer", "unique", "return", "case", "default":
		s.add(1)
		s.last = 'a'
	}
}

// comment takes a comment.
func (s *nestingScanner) comment() {
	if s.src[s.i+1] == '/' {
		for s.i < len(s.src) && s.src[s.i] != '\n' {
			s.i++
		}
		return
	}
	for s.i += 2; s.i < len(s.src); s.i++ {
		switch {
		case s.src[s.i] == '\n':
			s.line++
		case s.src[s.i] == '*' && s.i+1 < len(s.src) && s.src[s.i+1] == '/':
			s.i += 2
			return
		}
	}
}

// quoted takes a string, or what begins as one, up to the end of its line.
func (s *nestingScanner) quoted(quote byte) {
	for s.i++; s.i < len(s.src); s.i++ {
		switch s.src[s.i] {
		case '\\':
			s.i++
			if s.i < len(s.src) && s.src[s.i] == '\n' {
				s.line++
			}
		case '\n':
			return
		case quote:
			s.i++
			return
		}
	}
}

// template takes a template from within, up to its end or an expression in it.
func (s *nestingScanner) template() {
	for ; s.i < len(s.src); s.i++ {
		switch s.src[s.i] {
		case '\\':
			s.i++
		case '\n':
			s.line++
		case '`':
			s.i++
			s.last = '1'
			return
		case '$':
			if s.i+1 < len(s.src) && s.src[s.i+1] == '{' {
				s.i += 2
				s.levels = append(s.levels, nestingLevel{bracket: '$'})
				s.last = '{'
				return
			}
		}
	}
}

// regexpMayFollow reports whether a slash begins a regular expression here: it
// does not after a value.
func (s *nestingScanner) regexpMayFollow() bool {
	switch s.last {
	case '1', ')', ']', '}':
		return false
	}
	return true
}

// regexp takes a regular expression, up to the end of its line.
func (s *nestingScanner) regexp() {
	class := false
	start := s.i
	defer func() { s.longest = max(s.longest, s.i-start) }()
	for s.i++; s.i < len(s.src); s.i++ {
		switch c := s.src[s.i]; {
		case c == '\\':
			s.i++
		case c == '\n':
			return
		case c == '[':
			class = true
		case c == ']':
			class = false
		case c == '/' && !class:
			s.i++
			return
		}
	}
}
