package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// A logFormat is how log records are written: the value of --log-format.
type logFormat string

const (
	logText logFormat = "text"
	logJSON logFormat = "json"
)

// String implements pflag.Value.
func (f *logFormat) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *logFormat) Type() string { return "format" }

// choices are the values there are, for the configuration's schema.
func (f *logFormat) choices() []string { return []string{string(logText), string(logJSON)} }

// Set implements pflag.Value.
func (f *logFormat) Set(text string) error {
	switch v := logFormat(text); v {
	case logText, logJSON:
		*f = v
		return nil
	}
	return errors.New("there is text and json")
}

// A logLevel is the least level that is written: the value of --log-level.
type logLevel slog.Level

// String implements pflag.Value.
func (l *logLevel) String() string { return strings.ToLower(slog.Level(*l).String()) }

// Type implements pflag.Value.
func (l *logLevel) Type() string { return "level" }

// choices are the values there are, for the configuration's schema.
func (l *logLevel) choices() []string { return []string{"debug", "info", "warn", "error"} }

// Set implements pflag.Value.
func (l *logLevel) Set(text string) error {
	if slices.Contains(l.choices(), text) {
		return (*slog.Level)(l).UnmarshalText([]byte(text))
	}
	return errors.New("there is debug, info, warn and error")
}

// newLogger returns a logger for people, in colour where w is a terminal that
// wants it, or one for programs.
func newLogger(w io.Writer, format logFormat, level slog.Leveler) *slog.Logger {
	if format == logJSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: wholeStory}))
	}
	opts := &tint.Options{Level: level, TimeFormat: "2006-01-02 15:04:05.000", NoColor: true}
	if isTerminal(w) {
		opts.TimeFormat = "15:04:05.000"
		opts.NoColor = os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"
	}
	return slog.New(newReadable(w, opts))
}

// A formatter is an error that has more to tell than one line: where in a
// script it came from, with a piece of the source.
type formatter interface {
	error
	Format(color bool) string
}

// wholeStory has a formatter tell all it has, in a JSON log.
func wholeStory(_ []string, a slog.Attr) slog.Attr {
	if f, ok := a.Value.Any().(formatter); ok {
		a.Value = slog.StringValue(f.Format(false))
	}
	return a
}

// isTerminal reports whether somebody may be reading w as it is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// readable is a handler that writes attributes of several lines, such as a
// piece of source with a mark in it, below the line of their record. Text from
// a peer can neither begin a line that looks like a record nor reach the
// terminal as a control sequence.
type readable struct {
	slog.Handler // writes to line
	w            io.Writer
	color        bool
	mu           *sync.Mutex   // guards line, also of those With made
	line         *bytes.Buffer // the record being written
}

func newReadable(w io.Writer, opts *tint.Options) *readable {
	line := new(bytes.Buffer)
	return &readable{Handler: tint.NewTextHandler(line, opts), w: w, color: !opts.NoColor, mu: new(sync.Mutex), line: line}
}

// Handle implements slog.Handler.
func (h *readable) Handle(ctx context.Context, r slog.Record) error {
	message, more, _ := strings.Cut(r.Message, "\n")
	if more != "" && strings.Trim(message, " {[(") == "" {
		message, more = "", r.Message // an object that was logged: keep it in one piece
	}
	first := slog.NewRecord(r.Time, r.Level, printable(message), r.PC)
	var below bytes.Buffer
	h.indent(&below, more)
	r.Attrs(func(a slog.Attr) bool {
		if text := h.textOf(a.Value.Resolve()); strings.Contains(text, "\n") {
			h.indent(&below, text)
		} else {
			first.AddAttrs(a)
		}
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line.Reset()
	if err := h.Handler.Handle(ctx, first); err != nil {
		return err
	}
	h.line.Write(below.Bytes())
	_, err := h.w.Write(h.line.Bytes()) // at once: another process may write there too
	return err
}

// WithAttrs implements slog.Handler.
func (h *readable) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(h.Handler.WithAttrs(attrs))
}

// WithGroup implements slog.Handler.
func (h *readable) WithGroup(name string) slog.Handler {
	return h.with(h.Handler.WithGroup(name))
}

func (h *readable) with(handler slog.Handler) *readable {
	derived := *h
	derived.Handler = handler
	return &derived
}

// textOf returns the text of a string or an error, and "" for anything else.
func (h *readable) textOf(v slog.Value) string {
	if v.Kind() == slog.KindString {
		return v.String()
	}
	switch err := v.Any().(type) {
	case formatter:
		return err.Format(h.color)
	case error:
		return err.Error()
	}
	return ""
}

// colour is a change of the colour of text, the one control sequence that is
// let through, and only to a terminal that has colours.
var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

// indent writes each line of text with space before it.
func (h *readable) indent(w *bytes.Buffer, text string) {
	for line := range strings.Lines(strings.Trim(text, "\n")) {
		if line = strings.TrimRight(line, " \r\n"); line != "" {
			w.WriteString("    ")
		}
		for h.color {
			at := colour.FindStringIndex(line)
			if at == nil {
				break
			}
			w.WriteString(printable(line[:at[0]]) + line[at[0]:at[1]])
			line = line[at[1]:]
		}
		w.WriteString(printable(line) + "\n")
	}
}

// printable shows control characters as escapes, except for tabs.
func printable(text string) string {
	clean := func(r rune) bool { return r != '\t' && unicode.IsControl(r) }
	if !strings.ContainsFunc(text, clean) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if clean(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
