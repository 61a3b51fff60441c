package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/amphost/amphost/scripting"
)

// A problem is one thing that check has found.
type problem struct {
	Severity string   `json:"severity"`         // "error" or "warning"
	Plugin   string   `json:"plugin,omitempty"` // which, if it is one plugin's
	File     string   `json:"file,omitempty"`   // relative to the working directory where it is below it
	Line     int      `json:"line,omitempty"`   // from 1; 0 if it is not known
	Column   int      `json:"column,omitempty"` // from 1
	Code     string   `json:"code,omitempty"`   // TypeScript's, as "TS2322"
	Message  string   `json:"message"`
	Frame    string   `json:"frame,omitempty"` // the source around it, with a caret
	Notes    []string `json:"notes,omitempty"` // the stack, causes, hints
}

// problemsOf takes apart why a plugin does not load.
func problemsOf(plugin, path string, err error) []problem {
	if b, ok := errors.AsType[*scripting.BuildError](err); ok {
		list := make([]problem, len(b.Messages))
		for i, m := range b.Messages {
			list[i] = problem{Severity: "error", Plugin: plugin, File: cmp.Or(m.File, path), Line: m.Line, Column: m.Column, Message: m.Text, Notes: m.Notes}
			list[i].Frame = frameOf(list[i].File, m.Line, m.Column)
		}
		return list
	}
	if e, ok := errors.AsType[*scripting.Error](err); ok {
		return []problem{problemOf(plugin, path, e)}
	}
	return []problem{{Severity: "error", Plugin: plugin, File: path, Message: strings.TrimPrefix(err.Error(), path+": ")}}
}

// warningOf is the problem that a warning of the build's is.
func warningOf(plugin string, m scripting.Message) problem {
	return problem{
		Severity: "warning", Plugin: plugin, File: m.File, Line: m.Line, Column: m.Column,
		Message: m.Text, Notes: m.Notes, Frame: frameOf(m.File, m.Line, m.Column),
	}
}

// problemOf is the problem that a script's error is.
func problemOf(plugin, path string, e *scripting.Error) problem {
	p := problem{Severity: "error", Plugin: plugin, File: cmp.Or(e.File, path), Line: e.Line, Column: e.Column, Message: e.Message, Frame: e.Frame}
	if p.Frame == "" {
		p.Frame = frameOf(p.File, p.Line, p.Column)
	}
	for _, at := range e.Stack[min(1, len(e.Stack)):] { // the first is the place itself
		p.Notes = append(p.Notes, "at "+at)
	}
	for cause := e.Cause; cause != nil; cause = cause.Cause {
		p.Notes = append(p.Notes, "caused by "+cause.Error())
	}
	return p
}

// String returns the problem as editors know such lines, with its frame below.
func (p problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Severity)
	if p.Code != "" {
		b.WriteString(" " + p.Code)
	}
	b.WriteString(": " + p.Message)
	for line := range strings.Lines(p.Frame) {
		b.WriteString("\n  " + strings.TrimRight(line, "\n"))
	}
	for _, note := range p.Notes {
		b.WriteString("\n    " + strings.ReplaceAll(note, "\n", "\n    "))
	}
	return b.String()
}

// frameOf shows the lines of a file up to a place, and marks it; "" if it can't.
func frameOf(file string, line, column int) string {
	data, err := os.ReadFile(file)
	if err != nil || line < 1 {
		return ""
	}
	lines := strings.Split(string(data), "\n")
	if line > len(lines) {
		return ""
	}
	width := len(strconv.Itoa(line))
	var b strings.Builder
	for n := max(1, line-2); n <= line; n++ {
		mark := " "
		if n == line {
			mark = ">"
		}
		fmt.Fprintf(&b, "%s %*d | %s\n", mark, width, n, short(strings.TrimRight(lines[n-1], "\r")))
	}
	// Repeating the tabs puts the caret below the place.
	before := short(lines[line-1])
	before = before[:min(max(column-1, 0), len(before))]
	pad := strings.Map(func(c rune) rune {
		if c == '\t' {
			return c
		}
		return ' '
	}, before)
	fmt.Fprintf(&b, "  %*s | %s^", width, "", pad)
	return b.String()
}

// short cuts off a line of minified code.
func short(line string) string {
	const most = 200
	if len(line) > most {
		return strings.ToValidUTF8(line[:most], "") + "…"
	}
	return line
}
