package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
	"github.com/amphost/amphost/store"
)

func typesCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "types [DIR]",
		Short: "Write what plugins can use, as TypeScript types",
		Long: `Write the types of what plugins can use into their directory, where editors and
tsc find them: amphost.d.ts, and amphost.commands.d.ts with the commands of the
plugins that are there, so that amp.call("Sum", { … }) is completed and checked.

The plugins are loaded for that, with a store in memory. Both files are replaced,
if this command made them.`,
		Example: `  amphost types
  amphost types services/plugins`,
		Args: atMostOneDir,
		RunE: func(cmd *cobra.Command, words []string) error {
			dir := dirOf(words)
			made, plugins, err := refreshTypes(cmd.Context(), dir, force, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if len(made) == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "  the types in %s are those of its %s\n", dir, count(len(plugins), "plugin"))
			}
			tell(cmd.OutOrStdout(), made)
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace files that amphost did not make")
	return cmd
}

// refreshTypes writes the types of a directory, and returns those that have
// changed, and the directory's plugins.
func refreshTypes(ctx context.Context, dir string, force bool, stderr io.Writer) (made []newFile, plugins []scripting.Status, err error) {
	plugins, err = loadPlugins(ctx, dir, slog.DiscardHandler, configuration(""))
	if err != nil {
		return nil, nil, err
	}
	for _, p := range plugins {
		if p.Err != nil {
			fmt.Fprintf(stderr, "amphost: %s does not load, so its commands have no types: %s check%s says why\n", p.Name, ownName(), dirArgument(dir))
		}
	}
	made, err = writeFiles(typesFiles(dir, plugins), force)
	return made, plugins, err
}

// typesFiles are the types of a directory with these plugins.
func typesFiles(dir string, plugins []scripting.Status) []newFile {
	firstLine := func(text string) string { line, _, _ := strings.Cut(text, "\n"); return line }
	all, commands := scripting.Types(), scripting.CommandTypes(plugins)
	return []newFile{
		{path: filepath.Join(dir, "amphost.d.ts"), text: all, ours: firstLine(all), about: "types of what plugins can use"},
		{path: filepath.Join(dir, "amphost.commands.d.ts"), text: commands, ours: firstLine(commands), about: "types of the commands that are here"},
	}
}

// loadPlugins builds and starts the plugins of a directory as serve would, with
// a store in memory and no listener, stops them, and tells what is known of
// them. log gets what they have to say, and the plugins what the configuration
// tells and allows them. The error wraps fs.ErrNotExist if there
// is no such directory.
func loadPlugins(ctx context.Context, dir string, log slog.Handler, config configured) ([]scripting.Status, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &noDirError{dir}
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file: name the directory that the plugins are in", dir)
	}
	h, err := host.New(ctx, host.Config{
		Plugins:  dir,
		AllowNet: config.allowNet,
		AllowEnv: config.allowEnv,
		Logger:   slog.New(log),
		Script:   scripting.Options{Store: store.NewMem(), Config: config.plugins},
	})
	if err != nil {
		return nil, err
	}
	plugins := h.Plugins()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return plugins, h.Shutdown(limit)
}

// A noDirError says that there is no directory of plugins.
type noDirError struct{ dir string }

func (e *noDirError) Error() string {
	return fmt.Sprintf("there is no directory %s: %s init%s makes it", e.dir, ownName(), dirArgument(e.dir))
}

// Unwrap makes it an fs.ErrNotExist.
func (e *noDirError) Unwrap() error { return fs.ErrNotExist }
