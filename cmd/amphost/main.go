// Command amphost serves plugins written in JavaScript and TypeScript over
// AMP, and calls AMP servers.
//
// It is a thin client of package host: flags, signals, logging, and the file
// on disk.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// What a shell or a supervisor can tell apart.
const (
	exitFailure = 1 // what was asked for could not be done
	exitUsage   = 2 // what was asked for makes no sense
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run carries out one command line and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	understood := false
	root := newRoot(func() { understood = true })
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	status, told := errors.AsType[exitStatus](err)
	switch {
	case err == nil:
		return 0
	case told:
		return int(status)
	case isConfigError(err):
		fmt.Fprintln(stderr, err)
		return exitUsage
	case understood:
		fmt.Fprintf(stderr, "amphost: %v\n", err)
		return exitFailure
	default:
		fmt.Fprintf(stderr, "amphost: %v\nSee %s --help.\n", err, cmd.CommandPath())
		return exitUsage
	}
}

// newRoot returns the command line. It tells when a command has been understood
// and is about to be carried out.
func newRoot(understood func()) *cobra.Command {
	root := &cobra.Command{
		Use:   "amphost",
		Short: "Serve plugins over AMP",
		Long: `amphost serves plugins over AMP, Twisted's Asynchronous Messaging Protocol.

A plugin is a JavaScript or TypeScript file in a directory. Saving it replaces it
while amphost runs: no connection is closed and no call is lost.`,
		Example: `  amphost serve --port 8750
  amphost call 127.0.0.1:8750 Sum a=13 b=81`,
		Args:          aCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		// Cobra checks flags and arguments before it gets here.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := settle(cmd.Flags()); err != nil {
				return err
			}
			understood()
			return nil
		},
	}
	root.Version = version()
	root.SetVersionTemplate(versionLine() + "\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 100"))
	root.AddCommand(initCommand(), newCommand(), typesCommand(), checkCommand(), runCommand())
	root.AddCommand(serveCommand(), callCommand(), benchCommand(), pluginsCommand(), statsCommand(), reloadCommand(), rollbackCommand(), storeCommand(), configCommand(), versionCommand())
	return root
}
