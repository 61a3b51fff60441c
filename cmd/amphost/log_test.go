package main

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/lmittmann/tint"

	"github.com/amphost/amphost/scripting"
)

func TestLogShowsSourceBelowItsLine(t *testing.T) {
	var b bytes.Buffer
	log := newLogger(&b, logText, slog.LevelInfo).With("plugin", "math")
	log.Error("math.js:3:5: no such variable\nmore", "err", errors.New("one\n    ^ here"), "n", 1)
	want := `^\S+ \S+ ERR math\.js:3:5: no such variable plugin=math n=1
    more
    one
        \^ here
$`
	if !regexp.MustCompile(want).MatchString(b.String()) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// What a peer sends may reach the log by way of a plugin.
func TestLogCannotBeForged(t *testing.T) {
	var b bytes.Buffer
	newLogger(&b, logText, slog.LevelInfo).Info("hello \x1b[2J\r\n2026-11-22 10:00:00.000 INF all is well", "name", "\x1b[31m")
	text := b.String()
	if bytes.ContainsAny(b.Bytes(), "\x1b\r") {
		t.Errorf("control characters in %q", text)
	}
	if regexp.MustCompile(`(?m)^\S+ \S+ INF all is well`).MatchString(text) {
		t.Errorf("a record that is none:\n%s", text)
	}
}

func TestLogLevel(t *testing.T) {
	for _, format := range []logFormat{logText, logJSON} {
		var b bytes.Buffer
		log := newLogger(&b, format, slog.LevelWarn)
		log.Info("quiet")
		log.Warn("loud")
		if !bytes.Contains(b.Bytes(), []byte("loud")) || bytes.Contains(b.Bytes(), []byte("quiet")) {
			t.Errorf("%s, level warn: %s", format, b.String())
		}
	}
}

// What a plugin throws is told whole, in colour only where there is colour.
func TestLogTellsTheWholeStoryOfAScriptError(t *testing.T) {
	thrown := &scripting.Error{Message: "TypeError: \x1b[2J", File: "plugins/math.js", Line: 3, Column: 5, Frame: "> 3 | throw\n      ^"}

	var b bytes.Buffer
	newLogger(&b, logText, slog.LevelInfo).Error("Sum failed", "error", thrown)
	if text := b.String(); !strings.Contains(text, "\n      plugins/math.js:3:5\n      > 3 | throw\n") || strings.Contains(text, "\x1b") {
		t.Errorf("as text without colour:\n%q", text)
	}

	b.Reset()
	newLogger(&b, logJSON, slog.LevelInfo).Error("Sum failed", "error", thrown)
	if text := b.String(); !strings.Contains(text, `plugins/math.js:3:5\n  > 3 | throw`) {
		t.Errorf("as JSON:\n%s", text)
	}

	b.Reset()
	slog.New(newReadable(&b, new(tint.Options))).Error("Sum failed", "error", thrown)
	if text := b.String(); !strings.Contains(text, "\x1b[36mplugins/math.js:3:5\x1b[0m") || strings.Contains(text, "\x1b[2J") {
		t.Errorf("in colour:\n%q", text)
	}
}
