package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

//go:embed templates
var templates embed.FS

// templateText returns a file of templates.
func templateText(name string) string {
	data, err := templates.ReadFile("templates/" + name)
	if err != nil {
		panic(err) // it was built in
	}
	return string(data)
}

func initCommand() *cobra.Command {
	var ts, force bool
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a directory of plugins that works at once",
		Long: `Make a directory of plugins that works at once: a first plugin, a tsconfig.json
and types that have editors complete and check what plugins use, and a README.

DIR is plugins, or what the configuration says, unless you name another. A directory that has plugins gets what
it lacks of the rest.`,
		Example: `  amphost init
  amphost init --ts
  amphost init services/plugins`,
		Args: atMostOneDir,
		RunE: func(cmd *cobra.Command, words []string) error {
			return initPlugins(cmd.Context(), dirOf(words), ts, force, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&ts, "ts", false, "TypeScript: the first plugin is a .ts file, and types are asked for")
	cmd.Flags().BoolVar(&force, "force", false, "replace files that are there")
	return cmd
}

// atMostOneDir is for commands whose only argument is a directory of plugins.
func atMostOneDir(cmd *cobra.Command, words []string) error {
	if len(words) > 1 {
		return fmt.Errorf("%s takes one directory of plugins, and %q is a second", cmd.Name(), words[1])
	}
	return nil
}

// defaultDir is where plugins are when the command line does not say: where
// serve would look for them.
func defaultDir() string { return configuration("").dir }

// dirOf returns the directory that a command line names, or the default one.
func dirOf(words []string) string {
	if len(words) == 0 {
		return defaultDir()
	}
	return filepath.Clean(words[0])
}

// initPlugins makes a directory of plugins.
func initPlugins(ctx context.Context, dir string, ts, force bool, stdout, stderr io.Writer) error {
	there, err := loadPlugins(ctx, dir, slog.DiscardHandler, configuration(""))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var files []newFile
	if len(there) == 0 {
		files = append(files, pluginFrom("sum", "sum", dir, ts))
	}
	tsconfig := templateText("tsconfig.json")
	if !ts {
		tsconfig = strings.Replace(tsconfig, "\n    \"strict\": true,", "\n    \"strict\": true,\n    \"noImplicitAny\": false,\n    \"useUnknownInCatchVariables\": false,", 1)
	}
	files = append(files,
		newFile{path: filepath.Join(dir, "tsconfig.json"), text: tsconfig, about: "has editors complete and check plugins"},
		newFile{path: filepath.Join(dir, "README.md"), text: readmeFor(dir), about: "what to do here"},
	)
	made, err := writeFiles(files, force, typesFiles(dir, nil)...)
	if err != nil {
		return err
	}
	types, plugins, err := refreshTypes(ctx, dir, force, stderr)
	if err != nil {
		return err
	}
	if made = append(made, types...); len(made) == 0 {
		fmt.Fprintf(stdout, "  %s has all of it already\n", dir)
	}
	tell(stdout, made)
	fmt.Fprintf(stdout, "\nnext:\n  %s serve%s\n", ownName(), pluginsFlag(dir))
	if try := exampleCall(plugins); try != "" {
		fmt.Fprintf(stdout, "  %s call %s %s\n", ownName(), configuration("").address, try)
	}
	return nil
}

// readmeFor returns the README of a directory of plugins.
func readmeFor(dir string) string {
	about := struct{ Flag, Dir, Address, Try string }{Flag: pluginsFlag(dir), Dir: dirArgument(dir), Address: configuration("").address, Try: "Sum a=13 b=81"}
	var b bytes.Buffer
	if err := template.Must(template.New("README").Parse(templateText("README.md"))).Execute(&b, about); err != nil {
		panic(err) // it was built in
	}
	return b.String()
}

// pluginsFlag is what a command line needs to find the plugins of a directory.
func pluginsFlag(dir string) string {
	if dir == defaultDir() {
		return ""
	}
	return " --plugins " + shellWord(dir)
}

// dirArgument is the same for commands whose argument is the directory.
func dirArgument(dir string) string {
	if dir == defaultDir() {
		return ""
	}
	return " " + shellWord(dir)
}

// shellWord quotes what a shell would take apart.
func shellWord(word string) string {
	if word != "" && !strings.ContainsFunc(word, needsQuotes) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// A newFile is a file to be made.
type newFile struct {
	path  string
	text  string
	about string
	ours  string // files that begin like this may be replaced in any case
}

// writeFiles writes files, and the directories they are in: all of them, or
// none if one of them, or of the others, is there and not to be replaced. It
// returns those that were not there as they are now.
func writeFiles(files []newFile, force bool, others ...newFile) (made []newFile, err error) {
	var there []string
	for i, f := range slices.Concat(files, others) {
		old, err := os.ReadFile(f.path)
		switch {
		case err == nil && string(old) == f.text:
			continue
		case errors.Is(err, fs.ErrNotExist), force:
		case err != nil:
			return nil, err
		case f.ours == "" || !strings.HasPrefix(string(old), f.ours):
			there = append(there, f.path)
		}
		if i < len(files) {
			made = append(made, f)
		}
	}
	switch len(there) {
	case 0:
	case 1:
		return nil, fmt.Errorf("%s is there already, so nothing was written: --force replaces it", there[0])
	default:
		return nil, fmt.Errorf("%s are there already, so nothing was written: --force replaces them", strings.Join(there, " and "))
	}
	for _, f := range made {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o777); err != nil {
			return nil, err
		}
		if err := os.WriteFile(f.path, []byte(f.text), 0o666); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// tell lists the files that were made.
func tell(w io.Writer, files []newFile) {
	width := 0
	for _, f := range files {
		width = max(width, len(f.path))
	}
	for _, f := range files {
		fmt.Fprintf(w, "  %-*s  %s\n", width, f.path, f.about)
	}
}
