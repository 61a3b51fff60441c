package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func configCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the settings of serve, and where each is from",
		Long: `Print the settings that serve would have, given the same flags, and where each is
from. What is printed is a configuration file.

A setting is a flag of serve, a variable of the environment, a key of the file, or
has its default: whichever comes first in this order. The file is ` + configName + ` in
the working directory, or the one that --config names.`,
		Example: `  amphost config
  AMPHOST_PORT=8751 amphost config --json
  amphost config schema > amphost.schema.json`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return writeConfigJSON(cmd)
			}
			return writeConfig(cmd)
		},
	}
	addServeFlags(cmd.Flags(), new(serveFlags))
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.AddCommand(&cobra.Command{
		Use:   "schema",
		Short: "Print a JSON schema of the configuration file, for editors",
		Long: `Print a JSON schema of the configuration file. Editors that know TOML complete and
check it by this first line of the file:

  #:schema ./amphost.schema.json`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			return e.Encode(configSchema())
		},
	})
	return cmd
}

// A settled is one setting as config prints it.
type settled struct {
	Value  any    `json:"value"`
	Source string `json:"source"`
	key    string
}

// settledOf lists the settings of a command, in order of key.
func settledOf(flags *pflag.FlagSet) []settled {
	s := settingsOf(flags)
	var list []settled
	newServeFlags().VisitAll(func(known *pflag.Flag) {
		f, key := flags.Lookup(known.Name), keyOf(known.Name)
		if key == "" {
			return
		}
		value := valueOf(f)
		if texts, ok := value.([]string); ok {
			value = slices.DeleteFunc(texts, func(text string) bool { // what stands below [plugins.NAME]
				name, _, _ := strings.Cut(text, "=")
				return s.plugins[name][key] != nil
			})
		}
		list = append(list, settled{value, cmp.Or(s.sources[f.Name], "default"), key})
	})
	slices.SortFunc(list, func(a, b settled) int { return cmp.Compare(a.key, b.key) })
	return list
}

// valueOf returns the value of a flag as the file would have it.
func valueOf(f *pflag.Flag) any {
	switch list, ok := f.Value.(repeated); {
	case ok:
		return append([]string{}, list.given()...)
	case f.Value.Type() == "bool":
		return f.Value.String() == "true"
	case f.Value.Type() == "uint16":
		return json.Number(f.Value.String())
	}
	return f.Value.String()
}

// writeConfig prints the settings as a configuration file.
func writeConfig(cmd *cobra.Command) error {
	type line struct{ text, source string }
	var lines []line
	for _, v := range settledOf(cmd.Flags()) {
		text := v.key + " = " + tomlText(v.Value)
		if (v.key == "host" || v.key == "port") && listensElsewhere(cmd.Flags()) {
			text = "# " + text // in a file it would be one more to listen on
		}
		lines = append(lines, line{text, v.Source})
	}
	lines = append(lines, line{}, line{text: "[limits]"})
	for _, v := range settledLimits(cmd.Flags()) {
		lines = append(lines, line{v.key + " = " + tomlText(v.Value), v.Source})
	}
	plugins := pluginTables(cmd.Flags())
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		lines = append(lines, line{}, line{text: "[plugins." + tomlKey(name) + "]"})
		for _, key := range slices.Sorted(maps.Keys(plugins[name])) {
			v := plugins[name][key]
			lines = append(lines, line{tomlKey(key) + " = " + tomlText(v.Value), v.Source})
		}
	}
	width := 0
	for _, l := range lines {
		width = max(width, min(len(l.text), 40))
	}
	var b strings.Builder
	for _, l := range lines {
		if l.source == "" {
			fmt.Fprintln(&b, l.text)
		} else {
			fmt.Fprintf(&b, "%-*s  # %s\n", width, l.text, l.source)
		}
	}
	_, err := io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

// listensElsewhere reports whether serve listens on addresses for commands, and
// neither --host nor --port is said to be one of them.
func listensElsewhere(flags *pflag.FlagSet) bool {
	if flags.Changed("host") || flags.Changed("port") {
		return false
	}
	list, _ := flags.Lookup("listen").Value.(repeated)
	return list != nil && slices.ContainsFunc(list.given(), func(text string) bool {
		p, err := parseEndpoint(text)
		return err == nil && p.commands()
	})
}

// callAddress is where serve with these settings answers commands, as people type
// it for amphost call.
func (f *serveFlags) callAddress(flags *pflag.FlagSet) string {
	host, port := f.host, fmt.Sprint(f.port)
	if listensElsewhere(flags) {
		first := f.listen[slices.IndexFunc(f.listen, (*endpoint).commands)]
		switch {
		case first.network == "unix":
			return "unix:" + first.address
		case first.secure:
			return "tls://" + first.address
		case first.network == "tcp":
			host, port, _ = net.SplitHostPort(first.address)
		}
	}
	if ip := net.ParseIP(host); host == "localhost" || host == "127.0.0.1" || ip.IsUnspecified() {
		host = ""
	}
	return net.JoinHostPort(host, port)
}

// settledLimits lists the limits of a command, in order of name.
func settledLimits(flags *pflag.FlagSet) []settled {
	s := settingsOf(flags)
	given, _ := flags.Lookup("limit").Value.(limits)
	var list []settled
	for _, name := range slices.Sorted(maps.Keys(knownLimits)) {
		value, there := given[name]
		source := cmp.Or(s.limits[name], s.sources["limit"])
		if !there {
			value, source = knownLimits[name].fallback, "default"
		}
		list = append(list, settled{value, source, name})
	}
	return list
}

// tomlText writes a value in one line.
func tomlText(value any) string {
	switch v := value.(type) {
	case string:
		// A JSON string is a TOML string.
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v) // a string can be encoded
		return strings.TrimSuffix(b.String(), "\n")
	case []string:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return tomlText(list)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = tomlText(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, tomlKey(key)+" = "+tomlText(v[key]))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case float64:
		text := strconv.FormatFloat(v, 'g', -1, 64)
		switch {
		case math.IsInf(v, 0):
			return strings.ToLower(text)
		case math.IsNaN(v):
			return "nan"
		case !strings.ContainsAny(text, ".e"):
			return text + ".0"
		}
		return text
	}
	return fmt.Sprint(value)
}

// tomlKey writes a key, in quotes if it must be.
func tomlKey(key string) string {
	for _, c := range key {
		if c > 'z' || !strings.ContainsRune("-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", c) {
			return tomlText(key)
		}
	}
	if key == "" {
		return tomlText(key)
	}
	return key
}

// pluginTables lists what each plugin is told, with what flags allow it.
func pluginTables(flags *pflag.FlagSet) map[string]map[string]settled {
	s := settingsOf(flags)
	out := make(map[string]map[string]settled)
	table := func(name string) map[string]settled {
		if out[name] == nil {
			out[name] = make(map[string]settled)
		}
		return out[name]
	}
	for name, values := range s.plugins {
		for key, v := range values {
			table(name)[key] = settled{Value: v, Source: s.file.place("plugins", name, key)}
		}
	}
	for key, flag := range map[string]string{"net": "allow-net", "env": "allow-env"} {
		list, _ := flags.Lookup(flag).Value.(repeated)
		source := s.sources[flag]
		if list == nil || source == "" {
			continue
		}
		for _, text := range list.given() {
			name, what, _ := strings.Cut(text, "=")
			if inFile, ok := s.plugins[name][key]; ok {
				if l, err := listOf(inFile); err == nil && strings.Join(l, ",") == what {
					continue // the file's own
				}
			}
			table(name)[key] = settled{Value: strings.Split(what, ","), Source: source}
		}
	}
	return out
}

func writeConfigJSON(cmd *cobra.Command) error {
	settings := make(map[string]settled)
	for _, v := range settledOf(cmd.Flags()) {
		settings[v.key] = v
	}
	limits := make(map[string]settled)
	for _, v := range settledLimits(cmd.Flags()) {
		limits[v.key] = v
	}
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Settings map[string]settled            `json:"settings"`
		Limits   map[string]settled            `json:"limits"`
		Plugins  map[string]map[string]settled `json:"plugins"`
	}{settings, limits, pluginTables(cmd.Flags())})
}
