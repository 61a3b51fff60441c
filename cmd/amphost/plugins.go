package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
)

// listPlugins lists the plugins of a server in order of name, from the one after
// a name on, as many as one answer holds. It is answered over the control
// socket.
var listPlugins = amp.Command[pluginsArgs, pluginsResult]{Name: "Plugins"}

type pluginsArgs struct {
	After string `amp:"after"`
}

type pluginsResult struct {
	Plugins []pluginStatus `amp:"plugins"`
	More    bool           `amp:"more"`
}

// A pluginStatus is what amphost plugins tells of a plugin.
type pluginStatus struct {
	Name       string    `amp:"name" json:"name"`
	Path       string    `amp:"path" json:"path"`
	Generation int       `amp:"generation" json:"generation"` // 0 if none runs
	Hash       string    `amp:"hash" json:"hash"`
	Since      time.Time `amp:"since" json:"since"`
	Commands   []string  `amp:"commands" json:"commands"`
	Protocols  []string  `amp:"protocols" json:"protocols"`
	Receivers  []string  `amp:"receivers" json:"receivers"`
	InFlight   int       `amp:"inFlight" json:"inFlight"`
	Draining   int       `amp:"draining" json:"draining"`
	Answered   uint64    `amp:"answered" json:"answered"`
	Failed     uint64    `amp:"failed" json:"failed"`
	Dropped    uint64    `amp:"dropped" json:"dropped"`
	ReloadMS   float64   `amp:"reloadMS" json:"reloadMS"`
	RolledBack bool      `amp:"rolledBack" json:"rolledBack"`

	Restarts    int  `amp:"restarts" json:"restarts"` // of the generation that runs
	Quarantined bool `amp:"quarantined" json:"quarantined"`
	Abandoned   int  `amp:"abandoned" json:"abandoned"` // runtimes that did not come back

	LoadError string `amp:"loadError" json:"loadError"` // why the files are not what runs
	LastError string `amp:"lastError" json:"lastError"` // what was thrown last while it ran
}

// Limits of what is told, so that it fits an AMP value.
const (
	maxListed  = 24_000 // bytes of the plugins in one answer, about
	maxStory   = 4_000  // bytes of an error
	maxListing = 6_000  // bytes of the names of a plugin's commands
)

// handlePlugins has a server's control socket answer these commands.
func handlePlugins(m *amp.Mux, h *host.Host) {
	listPlugins.Handle(m, func(_ context.Context, args pluginsArgs) (pluginsResult, error) {
		result := pluginsResult{Plugins: []pluginStatus{}}
		size := 0
		for _, s := range h.Plugins() {
			if s.Name <= args.After {
				continue
			}
			if size > maxListed {
				result.More = true
				break
			}
			p := statusOf(s)
			size += 400 + len(p.Path) + len(p.LoadError) + len(p.LastError) + 2*len(strings.Join(p.Commands, "  "))
			result.Plugins = append(result.Plugins, p)
		}
		return result, nil
	})
}

func statusOf(s scripting.Status) pluginStatus {
	p := pluginStatus{
		Name: s.Name, Path: s.Path, Generation: s.Generation, Hash: s.Hash, Since: s.Since,
		Commands: []string{}, Protocols: append([]string{}, s.Protocols...), Receivers: append([]string{}, s.Receivers...),
		InFlight: s.Running, Draining: s.Draining, Answered: s.Answered, Failed: s.Failed, Dropped: s.Dropped,
		Restarts: s.Restarts, Quarantined: s.Quarantined, Abandoned: s.Abandoned,
		ReloadMS: milliseconds(s.Took), RolledBack: s.RolledBack, LoadError: story(s.Err),
	}
	if f := s.Failure; f != nil {
		p.LastError = fmt.Sprintf("%s, generation %d: %s", f.Time.Format(time.DateTime), f.Generation, story(f.Err))
	}
	size := 0
	for i, c := range s.Commands {
		if size += len(c.Name); size > maxListing {
			p.Commands = append(p.Commands, fmt.Sprintf("and %d more", len(s.Commands)-i))
			break
		}
		p.Commands = append(p.Commands, c.Name)
	}
	return p
}

// story is all that an error has to tell, or as much as fits.
func story(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if f, ok := errors.AsType[formatter](err); ok && error(f) == err {
		text = f.Format(false)
	}
	if len(text) > maxStory {
		text = strings.ToValidUTF8(text[:maxStory], "") + " …"
	}
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "�")
	}
	return text
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func pluginsCommand() *cobra.Command {
	f := new(controlFlags)
	return f.add(&cobra.Command{
		Use:   "plugins",
		Short: "Tell of the plugins of a server: which version runs, and how it does",
		Long: `Tell of the plugins of a server that runs: the generation that answers, the hash
of its files and since when, what it answers, how many calls are in flight, were
answered and have failed, how long its last reload took, and what went wrong last.`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := f.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer conn.Close()
			list := []pluginStatus{}
			for more := true; more; {
				var args pluginsArgs
				if len(list) > 0 {
					args.After = list[len(list)-1].Name
				}
				result, err := listPlugins.Call(cmd.Context(), conn, args)
				if err != nil {
					return explainControl(err)
				}
				list = append(list, result.Plugins...)
				more = result.More && len(result.Plugins) > 0
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return printPlugins(cmd.OutOrStdout(), list, time.Now())
		},
	})
}

// printPlugins prints a table, and below it what is wrong.
func printPlugins(out io.Writer, list []pluginStatus, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "there are no plugins")
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "plugin\tgeneration\thash\tsince\tin flight\tanswered\tfailed\treload\tcommands")
	for _, p := range list {
		if p.Generation == 0 {
			fmt.Fprintf(t, "%s\tnone\t-\t-\t%d\t%d\t%d\t-\t-\n", p.Name, p.InFlight, p.Answered, p.Failed)
			continue
		}
		generation := fmt.Sprint(p.Generation)
		if p.RolledBack {
			generation += ", rolled back"
		}
		if p.Quarantined {
			generation += ", quarantined"
		} else if p.Restarts > 0 {
			generation += ", restarted " + count(p.Restarts, "time")
		}
		if p.Abandoned > 0 {
			generation += fmt.Sprintf(", %d abandoned", p.Abandoned)
		}
		if p.Draining > 0 {
			generation += fmt.Sprintf(", %d draining", p.Draining)
		}
		what := p.Commands
		for _, name := range p.Protocols {
			what = append(what, "protocol "+name)
		}
		for _, name := range p.Receivers {
			what = append(what, "receiver "+name)
		}
		fmt.Fprintf(t, "%s\t%s\t%.8s\t%s\t%d\t%d\t%d\t%.0f ms\t%s\n", p.Name, generation, p.Hash, age(now.Sub(p.Since)), p.InFlight, p.Answered, p.Failed, p.ReloadMS, strings.Join(what, " "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range list {
		if p.LoadError != "" {
			served := "is not served"
			if p.Generation > 0 {
				served = fmt.Sprintf("is still generation %d", p.Generation)
			}
			fmt.Fprintf(out, "\n%s %s, for its files have a mistake:\n%s\n", p.Name, served, indented(p.LoadError))
		}
		if p.LastError != "" {
			fmt.Fprintf(out, "\n%s failed last at %s\n", p.Name, strings.TrimPrefix(indented(p.LastError), "    "))
		}
		if p.Dropped > 0 {
			fmt.Fprintf(out, "\n%s: %d callbacks of versions that had ended were dropped\n", p.Name, p.Dropped)
		}
	}
	return nil
}

// age is a duration as people read it.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// indented puts space before the lines of a text.
func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(printableLines(text), "\n"), "\n", "\n    ")
}

// printableLines is printable for a text of several lines.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}
