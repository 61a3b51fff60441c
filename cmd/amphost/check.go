package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/scripting"
)

func checkCommand() *cobra.Command {
	var asJSON bool
	var configPath string
	cmd := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Say what is wrong with plugins, without serving them",
		Long: `Build, load and check every plugin of a directory as serve would, with a store in
memory and no listener, and the configuration if there is one, with the files of
certificates that it names, and print every problem with its place in the source.
The exit status is 1 if there is an error; a warning is none.

Types are checked too if the directory has a tsconfig.json and there is a tsc: in
node_modules/.bin of the directory or of one above it, or on the PATH.`,
		Example: `  amphost check
  amphost check services/plugins --json`,
		Args: atMostOneDir,
		RunE: func(cmd *cobra.Command, words []string) error {
			config := configuration(configPath)
			dir := config.dir
			if len(words) > 0 {
				dir = filepath.Clean(words[0])
			}
			report, err := check(cmd.Context(), dir, config)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				err = e.Encode(report)
			} else {
				err = report.write(cmd.OutOrStdout())
			}
			if err == nil && !report.OK {
				err = exitStatus(exitFailure)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&configPath, "config", "", "configuration `file` (default "+configName+", where there is one)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// A checked is what check has found.
type checked struct {
	OK       bool            `json:"ok"` // there is no error; warnings there may be
	Plugins  []checkedPlugin `json:"plugins"`
	Problems []problem       `json:"problems"`
	Types    checkedTypes    `json:"types"`
}

// A checkedPlugin is one plugin that was looked at.
type checkedPlugin struct {
	Name     string   `json:"name"`
	Path     string   `json:"path"`
	OK       bool     `json:"ok"`       // it loads
	Commands []string `json:"commands"` // "Sum(a Integer, b Integer) → total Integer"
}

// check looks at the plugins of a directory, and at the configuration.
func check(ctx context.Context, dir string, config configured) (*checked, error) {
	said := &collector{found: new(found)}
	plugins, err := loadPlugins(ctx, dir, said, config)
	if err != nil {
		return nil, err
	}
	c := &checked{Plugins: []checkedPlugin{}, Problems: append([]problem{}, config.problems...)}
	c.Problems = append(c.Problems, certificateProblems(config.listen)...)
	for _, p := range plugins {
		about := checkedPlugin{Name: p.Name, Path: p.Path, OK: p.Err == nil, Commands: []string{}}
		about.Commands = append(about.Commands, commandLines(p)...)
		c.Plugins = append(c.Plugins, about)
		if p.Err != nil {
			c.Problems = append(c.Problems, problemsOf(p.Name, p.Path, p.Err)...)
		}
		// A warning may say why it does not load.
		if prog, err := scripting.Build(p.Path); err == nil {
			for _, m := range prog.Warnings {
				c.Problems = append(c.Problems, warningOf(p.Name, m))
			}
		}
	}
	c.Problems = append(c.Problems, said.problems()...)
	for _, f := range typesFiles(dir, plugins) {
		// With a plugin that does not load they could not be right.
		if old, err := os.ReadFile(f.path); err == nil && string(old) != f.text && !slices.ContainsFunc(plugins, func(p scripting.Status) bool { return p.Err != nil }) {
			c.Problems = append(c.Problems, problem{
				Severity: "warning", File: f.path,
				Message: fmt.Sprintf("it is not of this amphost and these plugins: %s types%s refreshes it", ownName(), dirArgument(dir)),
			})
		}
	}
	var list []problem
	list, c.Types = checkTypes(ctx, dir)
	for _, p := range list {
		if !p.isSyntax() || !slices.ContainsFunc(c.Problems, func(q problem) bool { return q.File == p.File && q.Severity == "error" }) {
			c.Problems = append(c.Problems, p)
		}
	}
	slices.SortStableFunc(c.Problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	c.OK = !slices.ContainsFunc(c.Problems, func(p problem) bool { return p.Severity == "error" })
	return c, nil
}

// write shows people what was found.
func (c *checked) write(w io.Writer) error {
	errs, warnings, commands := 0, 0, 0
	for _, p := range c.Problems {
		if _, err := fmt.Fprintf(w, "%s\n\n", p); err != nil {
			return err
		}
		if p.Severity == "error" {
			errs++
		} else {
			warnings++
		}
	}
	for _, p := range c.Plugins {
		commands += len(p.Commands)
	}
	found := "no problems"
	switch {
	case errs > 0 && warnings > 0:
		found = count(errs, "error") + ", " + count(warnings, "warning")
	case errs > 0:
		found = count(errs, "error")
	case warnings > 0:
		found = count(warnings, "warning")
	}
	types := "types checked"
	if !c.Types.Checked {
		types = "types not checked: " + c.Types.Why
	}
	_, err := fmt.Fprintf(w, "%s with %s: %s; %s\n", count(len(c.Plugins), "plugin"), count(commands, "command"), found, types)
	return err
}

// count returns "1 plugin", "2 plugins".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// A collector is a log handler that picks out the problems of what plugins say
// as they load: errors that nobody caught.
type collector struct {
	found  *found
	plugin string
}

// found is what a collector and those made of it have picked out.
type found struct {
	mu   sync.Mutex
	list []problem // guarded by mu
}

func (c *collector) problems() []problem {
	c.found.mu.Lock()
	defer c.found.mu.Unlock()
	return c.found.list
}

// Enabled implements slog.Handler.
func (c *collector) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// WithAttrs implements slog.Handler.
func (c *collector) WithAttrs(attrs []slog.Attr) slog.Handler {
	derived := *c
	for _, a := range attrs {
		if a.Key == "plugin" {
			derived.plugin = a.Value.String()
		}
	}
	return &derived
}

// WithGroup implements slog.Handler.
func (c *collector) WithGroup(string) slog.Handler { return c }

// Handle implements slog.Handler.
func (c *collector) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "plugin not loaded" {
		return nil // its status has the error
	}
	plugin := c.plugin
	var list []problem
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "plugin":
			plugin = a.Value.String()
		case "error":
			if e, ok := a.Value.Any().(*scripting.Error); ok {
				p := problemOf("", "", e)
				p.Message = r.Message + ": " + p.Message
				list = append(list, p)
			}
		}
		return true
	})
	for i := range list {
		list[i].Plugin = plugin
	}
	c.found.mu.Lock()
	defer c.found.mu.Unlock()
	c.found.list = append(c.found.list, list...)
	return nil
}
