package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
)

// What a server does about plugins, over its control socket.
var (
	// reloadPlugins looks at the files of one plugin, or of all, and tells what
	// came of it.
	reloadPlugins = amp.Command[nameArgs, reloadResult]{Name: "Reload", Errors: amp.ErrorCodes{{Code: "RELOAD_FAILED", Err: errReload}}}

	// rollBackPlugin puts the last good version of a plugin back.
	rollBackPlugin = amp.Command[nameArgs, reloadResult]{Name: "Rollback", Errors: amp.ErrorCodes{{Code: "ROLLBACK_FAILED", Err: errReload}}}
)

type nameArgs struct {
	Name string `amp:"name"`
}

type reloadResult struct {
	Plugins []reloaded `amp:"plugins"`
}

// A reloaded is what became of a plugin.
type reloaded struct {
	Name  string  `amp:"name" json:"name"`
	From  int     `amp:"from" json:"from"` // 0 if none ran
	To    int     `amp:"to" json:"to"`     // 0 if none runs
	MS    float64 `amp:"ms" json:"ms"`
	Error string  `amp:"error" json:"error"`
	Back  bool    `amp:"rolledBack" json:"rolledBack"`
}

var errReload = errors.New("not done")

// handleReload has a server's control socket answer these commands.
func handleReload(m *amp.Mux, h *host.Host) {
	change := func(name string, f func() error) (reloadResult, error) {
		before := make(map[string]scripting.Status)
		for _, s := range h.Plugins() {
			before[s.Name] = s
		}
		err := f()
		result := reloadResult{Plugins: []reloaded{}}
		told, size := false, 0
		for _, s := range h.Plugins() {
			was := before[s.Name]
			delete(before, s.Name)
			if name == "" && was.Generation == s.Generation && s.Err == nil && was.Err == nil || name != "" && s.Name != name {
				continue
			}
			told = told || s.Err != nil
			problem := story(s.Err)
			if size += 200 + len(problem); size > maxListed && problem != "" {
				problem = "see amphost plugins, or the log"
			}
			result.Plugins = append(result.Plugins, reloaded{Name: s.Name, From: was.Generation, To: s.Generation, MS: milliseconds(s.Took), Error: problem, Back: s.RolledBack})
		}
		for _, s := range before {
			if name == "" || s.Name == name {
				result.Plugins = append(result.Plugins, reloaded{Name: s.Name, From: s.Generation})
			}
		}
		if len(result.Plugins) > 100 {
			result.Plugins = result.Plugins[:100]
		}
		if err != nil && !told {
			return result, fmt.Errorf("%w: %s", errReload, story(err))
		}
		return result, nil
	}
	reloadPlugins.Handle(m, func(ctx context.Context, args nameArgs) (reloadResult, error) {
		return change(args.Name, func() error { return h.Reload(ctx, args.Name) })
	})
	rollBackPlugin.Handle(m, func(ctx context.Context, args nameArgs) (reloadResult, error) {
		return change(args.Name, func() error { return h.Rollback(ctx, args.Name) })
	})
}

func reloadCommand() *cobra.Command {
	f := new(controlFlags)
	return f.add(&cobra.Command{
		Use:   "reload [NAME]",
		Short: "Have a server look at its plugins now, or at one of them",
		Long: `Have a server look at the files of its plugins now, or of one of them, as it does
by itself unless it was started with --watch=off. What has changed and is good is
served; what is not is shown, the version before it goes on, and the exit status
is 1. A SIGHUP does the same, and has the configuration read again.`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.change(cmd, reloadPlugins, names)
		},
	})
}

func rollbackCommand() *cobra.Command {
	f := new(controlFlags)
	return f.add(&cobra.Command{
		Use:   "rollback NAME",
		Short: "Have a server go back to the last good version of a plugin",
		Long: `Have a server go back to the last good version of a plugin: the one that was served
before the one that is or, if none is because its files have a mistake, the last
one that was. It is kept in the store, so that it goes on after a restart, too,
until the plugin's files change. Rolling back once more puts the other one back.`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.change(cmd, rollBackPlugin, names)
		},
	})
}

// change has a server change plugins, and prints what came of it.
func (f *controlFlags) change(cmd *cobra.Command, command amp.Command[nameArgs, reloadResult], names []string) error {
	conn, err := f.dial(cmd.Context())
	if err != nil {
		return err
	}
	defer conn.Close()
	var args nameArgs
	if len(names) > 0 {
		args.Name = names[0]
	}
	result, err := command.Call(cmd.Context(), conn, args)
	if err != nil {
		return explainControl(err)
	}
	failed := 0
	for _, p := range result.Plugins {
		if p.Error != "" {
			failed++
		}
	}
	if f.json {
		err = printJSON(cmd.OutOrStdout(), append([]reloaded{}, result.Plugins...))
	} else {
		printReloaded(cmd.OutOrStdout(), result.Plugins)
	}
	if err == nil && failed > 0 {
		err = exitStatus(exitFailure)
	}
	return err
}

func printReloaded(out io.Writer, list []reloaded) {
	if len(list) == 0 {
		fmt.Fprintln(out, "nothing has changed")
	}
	for _, p := range list {
		back := ""
		if p.Back {
			back = ", rolled back until its files change"
		}
		switch {
		case p.Error != "" && p.To > 0:
			fmt.Fprintf(out, "%s: still generation %d, for its files have a mistake:\n%s\n", p.Name, p.To, indented(p.Error))
		case p.Error != "":
			fmt.Fprintf(out, "%s: not served, for its files have a mistake:\n%s\n", p.Name, indented(p.Error))
		case p.To == 0:
			fmt.Fprintf(out, "%s: removed\n", p.Name)
		case p.From == p.To:
			fmt.Fprintf(out, "%s: generation %d, nothing has changed%s\n", p.Name, p.To, back)
		case p.From == 0:
			fmt.Fprintf(out, "%s: generation %d, %.1f ms%s\n", p.Name, p.To, p.MS, back)
		default:
			fmt.Fprintf(out, "%s: generation %d to %d, %.1f ms%s\n", p.Name, p.From, p.To, p.MS, back)
		}
	}
}
