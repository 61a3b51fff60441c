package scripting

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// Errors that calls of plugins fail with.
var (
	// ErrTimeout answers a call that a plugin has not answered in time.
	ErrTimeout = &amp.Error{Code: "TIMEOUT", Description: "the call was not answered in time"}

	// ErrRestarted answers the calls whose runtime has died.
	ErrRestarted = &amp.Error{Code: "RESTARTED", Description: "the runtime that held the call has been replaced"}
)

// ErrForbidden answers a call that amp.authorize of some plugin does not allow,
// or for which a plugin that has to be asked is not there.
var ErrForbidden = &amp.Error{Code: "FORBIDDEN", Description: "the call is not allowed"}

// ErrInvalid says that a plugin was built and yet can't serve: every error of
// Start that is not about time is one.
var ErrInvalid = errors.New("invalid plugin")

// An Error is something a script threw, with where that was.
type Error struct {
	Message string   // "TypeError: x is not a function"
	File    string   // where, as shown to people; "" if unknown
	Line    int      // from 1
	Column  int      // from 1
	Frame   string   // the source around it, a few lines with a caret; "" if unknown
	Stack   []string // "divide (plugins/math.js:22:9)", innermost first
	Cause   *Error   // its cause, or nil
	Errors  []*Error // what an AggregateError is made of
}

// Error returns the message and where it was thrown, in one line.
func (e *Error) Error() string {
	if e.File == "" {
		return e.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, firstLine(e.Message))
}

// Format returns the whole story as several lines without a newline at the
// end: message, code frame, stack, causes; in colours of a terminal if asked
// for.
func (e *Error) Format(color bool) string {
	paint := func(code, s string) string {
		if !color {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	var b strings.Builder
	b.WriteString(paint("1", e.Message))
	at := fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	if e.File != "" && e.Frame != "" {
		fmt.Fprintf(&b, "\n  %s", paint("36", at))
		for line := range strings.SplitSeq(e.Frame, "\n") {
			if strings.HasPrefix(line, ">") || strings.HasSuffix(line, "^") {
				line = paint("31", line)
			}
			b.WriteString("\n  " + line)
		}
	}
	if len(e.Stack) != 1 || e.Frame == "" || e.Stack[0] != at {
		for _, f := range e.Stack {
			b.WriteString("\n    " + paint("2", "at "+f))
		}
	}
	if e.Cause != nil {
		b.WriteString("\n  caused by: " + strings.ReplaceAll(e.Cause.Format(color), "\n", "\n  "))
	}
	for i, one := range e.Errors {
		fmt.Fprintf(&b, "\n  error %d of %d: %s", i+1, len(e.Errors), strings.ReplaceAll(one.Format(color), "\n", "\n  "))
	}
	return b.String()
}

// Unwrap makes an Error of a plugin's start an ErrInvalid.
func (e *Error) Unwrap() error { return ErrInvalid }

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// A place is a position in a plugin's files.
type place struct {
	file   string // absolute, "" if unknown
	line   int
	column int
	fn     string
}

func (p place) String() string {
	if p.file == "" {
		return "?"
	}
	return fmt.Sprintf("%s:%d", p.display(), p.line)
}

func (p place) display() string {
	if strings.HasPrefix(p.file, "/") || strings.Contains(p.file, `:\`) {
		return displayPath(p.file)
	}
	return p.file
}

// preludeName is what the prelude's frames are called. They are left out.
const preludeName = "amphost-prelude"

// stackLine is a frame as goja writes it: "\tat fn (file:line:column(pc))".
var stackLine = regexp.MustCompile(`^\s*at (?:(.*?) \()?([^()]*|.*?):(\d+):(\d+)(?:\(\d+\))?\)?$`)

// parseStack reads the frames of an Error's stack property, without those that
// are native or the prelude's.
func parseStack(stack string) []place {
	var list []place
	for line := range strings.SplitSeq(stack, "\n") {
		m := stackLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		file := cleanName(m[2])
		if file == "" {
			continue
		}
		n, _ := strconv.Atoi(m[3])
		c, _ := strconv.Atoi(m[4])
		list = append(list, place{file: file, line: n, column: c, fn: m[1]})
	}
	return list
}

// placesOf is parseStack for frames.
func placesOf(frames []goja.StackFrame) []place {
	var list []place
	for i := range frames {
		p := frames[i].Position()
		if file := cleanName(p.Filename); file != "" {
			fn := frames[i].FuncName()
			if strings.HasPrefix(fn, "<") {
				fn = ""
			}
			list = append(list, place{file: file, line: p.Line, column: p.Column, fn: fn})
		}
	}
	return list
}

// cleanName returns the path that goja's name of a file stands for, or "" if it
// is none of the plugin's.
func cleanName(name string) string {
	if name == "" || strings.Contains(name, preludeName) || strings.HasSuffix(name, "amphost.bundle.js") || strings.HasPrefix(name, virtualNamespace+":") || strings.HasPrefix(name, "<") {
		return ""
	}
	if plain, err := url.PathUnescape(name); err == nil {
		return plain
	}
	return name
}

// formatPlace is one line of a stack.
func formatPlace(p place) string {
	at := fmt.Sprintf("%s:%d:%d", p.display(), p.line, p.column)
	if p.fn == "" {
		return at
	}
	return p.fn + " (" + at + ")"
}

// frame shows the lines around a place, or "".
func (s sources) frame(p place) string {
	text, ok := s[p.file]
	if !ok || p.line < 1 {
		return ""
	}
	lines := strings.Split(text, "\n")
	if p.line > len(lines) {
		return ""
	}
	var b strings.Builder
	width := len(strconv.Itoa(p.line))
	for n := max(1, p.line-2); n <= p.line; n++ {
		mark := " "
		if n == p.line {
			mark = ">"
		}
		fmt.Fprintf(&b, "%s %*d | %s\n", mark, width, n, clip(strings.TrimRight(lines[n-1], "\r")))
	}
	// The caret's line repeats the tabs, so that it ends below the place.
	indent := clip(lines[p.line-1])
	indent = indent[:min(max(p.column-1, 0), len(indent))]
	pad := strings.Map(func(c rune) rune {
		if c == '\t' {
			return c
		}
		return ' '
	}, indent)
	fmt.Fprintf(&b, "  %*s | %s^", width, "", pad)
	return b.String()
}

// clip shortens a line of minified code.
func clip(line string) string {
	if len(line) > 200 {
		return strings.ToValidUTF8(line[:200], "") + "…"
	}
	return line
}

// errorAt makes an Error with its frame.
func (r *realm) errorAt(message string, places []place) *Error {
	e := &Error{Message: message}
	for _, p := range places {
		e.Stack = append(e.Stack, formatPlace(p))
	}
	if len(places) > 0 {
		p := places[0]
		e.File, e.Line, e.Column = p.display(), p.line, p.column
		e.Frame = r.prog.sources.frame(p)
	}
	return e
}

// errorOf tells what err is, which came from running a script: an exception
// or an interrupt. It runs in r.try, as it reads the exception's properties.
func (r *realm) errorOf(err error) *Error {
	var interrupted *goja.InterruptedError
	var overflow *goja.StackOverflowError
	var exception *goja.Exception
	switch {
	case isException(err):
		return r.errorOfValue(err.(*goja.Exception).Value(), placesOf(err.(*goja.Exception).Stack()))
	case errors.As(err, &interrupted):
		message := "interrupted"
		if cause, ok := interrupted.Value().(error); ok {
			message = cause.Error()
		}
		return r.errorAt(message, placesOf(interrupted.Stack()))
	case errors.As(err, &overflow):
		places := placesOf(overflow.Stack())
		return r.errorAt(fmt.Sprintf("RangeError: the call stack is deeper than %d: MaxCallStack, which is call-stack in [limits]", r.w.p.opts.MaxCallStack), places[:min(len(places), 10)])
	case errors.As(err, &exception):
		return r.errorOfValue(exception.Value(), placesOf(exception.Stack()))
	}
	return &Error{Message: err.Error()}
}

// errorOfValue tells what was thrown or rejected with. An Error has its own
// stack; for anything else places, if known, says where it was thrown.
func (r *realm) errorOfValue(v goja.Value, places []place) (e *Error) {
	return r.errorOfDepth(v, places, 0)
}

func (r *realm) errorOfDepth(v goja.Value, places []place, depth int) *Error {
	title := "undefined"
	if v != nil {
		if t, err := r.title(v); err == nil {
			title = t
		} else {
			title = r.brief(v)
		}
	}
	o, ok := v.(*goja.Object)
	if !ok {
		return r.errorAt(title, places)
	}
	var cause goja.Value
	var errs []goja.Value
	if err := r.try(func() {
		if stack := o.Get("stack"); stack != nil && goja.IsString(stack) {
			if own := parseStack(stack.String()); len(own) > 0 {
				places = own
			}
		}
		if c, isObject := o.Get("cause").(*goja.Object); isObject {
			cause = c
		}
		if list, isObject := o.Get("errors").(*goja.Object); isObject && list.ClassName() == "Array" {
			for i := range min(list.Get("length").ToInteger(), 10) {
				errs = append(errs, list.Get(strconv.FormatInt(i, 10)))
			}
		}
	}); err != nil {
		return r.errorAt(title, places)
	}
	e := r.errorAt(title, places)
	if cause != nil && depth < 5 {
		e.Cause = r.errorOfDepth(cause, nil, depth+1)
	}
	if o.ClassName() == "Error" && depth < 2 {
		for _, v := range errs {
			e.Errors = append(e.Errors, r.errorOfDepth(v, nil, depth+1))
		}
	}
	return e
}

// isFatal reports whether err means that the runtime is of no use any more:
// goja drops the queued promise jobs then, so calls that had nothing to do
// with it would never be answered.
func isFatal(err error) bool {
	if isException(err) {
		return false
	}
	var interrupted *goja.InterruptedError
	var overflow *goja.StackOverflowError
	return errors.As(err, &interrupted) || errors.As(err, &overflow)
}

// isException reports whether err is what a script threw. To unwrap that may
// run the script, if it is a proxy.
func isException(err error) bool {
	_, ok := err.(*goja.Exception)
	return ok
}

// asError returns err as an *Error.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Message: err.Error()}
}
