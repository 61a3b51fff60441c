package scripting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// loaded makes a candidate the generation that runs, and says so.
func (d *Dir) loaded(c *candidate) {
	e, old := c.entry, c.entry.plugin
	e.path, e.err, e.told = c.found.path, nil, ""
	e.plugin, e.since, e.took = c.plugin, time.Now(), time.Since(c.began)
	from := e.generation
	e.generation = c.plugin.generation
	e.retold = false
	e.history.published(c.prog.Hash)
	d.keeper.keep(e.name, e.history, c.prog)
	ms := slog.Float64("ms", float64(e.took.Microseconds())/1000)
	d.warn(e, c.prog)
	if old == nil {
		d.log(e, slog.LevelInfo, "plugin loaded", slog.Int("generation", e.generation), ms, names("commands", c.plugin.signatures, nil))
		return
	}
	attrs := []slog.Attr{slog.String("changed", cmp.Or(difference(old.prog, c.prog), "its configuration")), slog.Int("from", from), slog.Int("to", e.generation), ms}
	for _, change := range []slog.Attr{names("added", c.plugin.signatures, old.signatures), names("gone", old.signatures, c.plugin.signatures)} {
		if change.Value.String() != "" {
			attrs = append(attrs, change)
		}
	}
	what := "plugin reloaded"
	if c.back {
		what = "plugin rolled back: its files are served once they change"
		if e.history.Refused == "" {
			what = "plugin rolled back to what its files are"
		}
		attrs[0] = slog.String("version", c.prog.Hash)
	}
	d.log(e, slog.LevelInfo, what, attrs...)
}

// difference names the files in which two programs differ.
func difference(a, b *Program) string {
	var list []string
	for path, sum := range b.sums {
		if before, ok := a.sums[path]; !ok || before != sum {
			list = append(list, displayPath(path))
		}
	}
	for path := range a.sums {
		if _, ok := b.sums[path]; !ok {
			list = append(list, displayPath(path))
		}
	}
	slices.Sort(list)
	const most = 3
	if more := len(list) - most; more > 1 {
		list = append(list[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, " ")
}

// names lists the commands that are not in other.
func names(key string, list, other []Signature) slog.Attr {
	var out []string
	for _, s := range list {
		if !has(other, s.Name) {
			out = append(out, s.Name)
		}
	}
	return slog.String(key, strings.Join(out, " "))
}

// fail tells of a failure, once for each content.
func (d *Dir) fail(e *entry, prog *Program) {
	told := e.err.Error()
	if b, ok := errors.AsType[*BuildError](e.err); ok {
		told = b.Hash + told
	}
	if told == e.told {
		return
	}
	e.told = told
	if e.plugin != nil {
		d.log(e, slog.LevelError, "plugin not reloaded, the old version goes on", slog.Int("generation", e.generation), slog.Any("error", e.err))
	} else {
		d.log(e, slog.LevelError, "plugin not loaded", slog.Any("error", e.err))
	}
	d.warn(e, prog) // which may say why
}

// warn tells what the build of a program warns of, if there is one.
func (d *Dir) warn(e *entry, prog *Program) {
	if prog == nil {
		return
	}
	for _, w := range prog.Warnings {
		d.log(e, slog.LevelWarn, "plugin warning", slog.String("warning", w.String()))
	}
}

func (d *Dir) log(e *entry, level slog.Level, msg string, attrs ...slog.Attr) {
	d.opts.Logger.LogAttrs(context.Background(), level, msg, append([]slog.Attr{slog.String("plugin", e.name)}, attrs...)...)
}
