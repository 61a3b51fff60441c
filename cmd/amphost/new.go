package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/scripting"
)

// pluginTemplates are the plugins that new can make. Each is a file of
// templates, JavaScript and TypeScript alike, for a plugin called example with
// the command Example.
var pluginTemplates = []struct {
	name  string
	about string
	try   string // behind the address, with the command as Example; "" if call can't
}{
	{"sum", "answers with the sum of two numbers", "Example a=13 b=81"},
	{"state", "counts in the store, in one transaction", "Example name=ada"},
	{"callback", "calls its caller back over the same connection", "Example from=3"},
	{"login", "knows who is on the other end", "ExampleJoin user=ada"},
	{"receiver", "takes the boxes of whole connections", ""},
}

func newCommand() *cobra.Command {
	var ts, force bool
	var from, dir string
	var about strings.Builder
	for _, t := range pluginTemplates {
		fmt.Fprintf(&about, "  %-9s %s\n", t.name, t.about)
	}
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a plugin from a template",
		Long: `Make a plugin called NAME in the directory of plugins, from a template:

` + about.String() + `
Its command is called like it, as words: add-up answers AddUp.`,
		Example: `  amphost new visit --template state
  amphost new add-up --ts`,
		Args: func(_ *cobra.Command, words []string) error {
			if len(words) != 1 {
				return errors.New("new takes the name of the plugin to make")
			}
			if !scripting.ValidName(words[0]) {
				hint := ""
				if better := strings.ToLower(words[0]); scripting.ValidName(better) {
					hint = ", as in " + better
				}
				return fmt.Errorf("%q can't be a plugin's name: small letters, digits, _ and -, with a letter or a digit first%s", words[0], hint)
			}
			if templateIndex(from) < 0 {
				return fmt.Errorf("there is no template %q: there is %s", from, templateNames())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			return newPlugin(cmd.Context(), words[0], from, filepath.Clean(cmp.Or(dir, defaultDir())), ts, force, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&from, "template", "sum", "which `template`: "+templateNames())
	cmd.Flags().StringVar(&dir, "plugins", "", "`directory` of the plugins (default that of serve)")
	cmd.Flags().BoolVar(&ts, "ts", false, "a .ts file")
	cmd.Flags().BoolVar(&force, "force", false, "replace the plugin if it is there")
	return cmd
}

func templateIndex(name string) int {
	for i, t := range pluginTemplates {
		if t.name == name {
			return i
		}
	}
	return -1
}

func templateNames() string {
	var names []string
	for _, t := range pluginTemplates {
		names = append(names, t.name)
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// newPlugin makes a plugin, and refreshes the types if there are any.
func newPlugin(ctx context.Context, name, from, dir string, ts, force bool, stdout, stderr io.Writer) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return &noDirError{dir}
	}
	file := pluginFrom(from, name, dir, ts)
	if other := pluginCalled(name, dir); other != "" && other != file.path {
		return fmt.Errorf("there is a plugin %s already, %s: remove it first, or choose another name", name, other)
	}
	if _, err := writeFiles([]newFile{file}, force); err != nil {
		return err
	}
	made := []newFile{file}
	var plugins []scripting.Status
	var err error
	if _, missing := os.Stat(typesFiles(dir, nil)[0].path); missing == nil {
		var types []newFile
		types, plugins, err = refreshTypes(ctx, dir, false, stderr)
		made = append(made, types...)
	} else {
		plugins, err = loadPlugins(ctx, dir, slog.DiscardHandler, configuration(""))
	}
	if err != nil {
		return err
	}
	tell(stdout, made)
	for _, p := range plugins {
		if p.Name == name && p.Err != nil {
			return fmt.Errorf("%s was made, and does not load here: %w", file.path, p.Err)
		}
	}
	t := pluginTemplates[templateIndex(from)]
	serve := ownName() + " serve" + pluginsFlag(dir)
	if from == "receiver" {
		serve += " --listen " + name + "=127.0.0.1:8751"
	}
	fmt.Fprintf(stdout, "\nnext:\n  %s\n", serve)
	if t.try != "" {
		fmt.Fprintf(stdout, "  %s call %s %s\n", ownName(), configuration("").address, strings.ReplaceAll(t.try, "Example", commandOf(name)))
	}
	return nil
}

// pluginFrom is the plugin that a template makes.
func pluginFrom(from, name, dir string, ts bool) newFile {
	ext := ".js"
	if ts {
		ext = ".ts"
	}
	text := strings.NewReplacer("Example", commandOf(name), "example", name).Replace(templateText(from + ".js"))
	return newFile{path: filepath.Join(dir, name+ext), text: text, about: pluginTemplates[templateIndex(from)].about}
}

// pluginCalled returns the path of a directory's plugin of a name, or "".
func pluginCalled(name, dir string) string {
	for _, path := range []string{name + ".ts", name + ".js", name + ".mjs", name + ".cjs", name} {
		path = filepath.Join(dir, path)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// globals are names that a command's variable would hide from its plugin.
var globals = []string{"Array", "Boolean", "Buffer", "Date", "Error", "Event", "Map", "Number", "Object", "Promise", "Set", "String", "Symbol", "URL"}

// commandOf is what the command of a new plugin is called: AddUp for add-up.
func commandOf(name string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(name, func(c rune) bool { return c == '-' || c == '_' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	command := b.String()
	if command[0] >= '0' && command[0] <= '9' {
		command = "Do" + command
	}
	if slices.Contains(globals, command) {
		command += "It"
	}
	return command
}
