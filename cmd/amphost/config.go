package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every flag of serve is a setting: a key of amphost.toml and a variable of the
// environment too. A flag wins over the environment, that over the file, and
// the file over the default.

// A settingsFlag is the value of --config, and what was found by way of it.
// Commands that have this flag are told the settings that they have flags for.
type settingsFlag struct {
	path    string
	given   map[string][]string       // what the command line has, by the flag's name: to be settled again
	file    *configFile               // nil if there is none
	sources map[string]string         // where each flag's value is from, by the flag's name
	limits  map[string]string         // where each limit's value is from, if that is the file
	plugins map[string]map[string]any // what is below [plugins.NAME], for amp.plugin.config
}

// String implements pflag.Value.
func (s *settingsFlag) String() string { return s.path }

// Type implements pflag.Value.
func (s *settingsFlag) Type() string { return "file" }

// Set implements pflag.Value.
func (s *settingsFlag) Set(path string) error {
	if path == "" {
		return errors.New("a file's name is missing")
	}
	s.path = path
	return nil
}

// settingsOf returns the flag --config of a command, or nil.
func settingsOf(flags *pflag.FlagSet) *settingsFlag {
	if f := flags.Lookup("config"); f != nil {
		s, _ := f.Value.(*settingsFlag)
		return s
	}
	return nil
}

// addConfigFlag makes the flags of a command settings.
func addConfigFlag(flags *pflag.FlagSet) *settingsFlag {
	s := new(settingsFlag)
	flags.Var(s, "config", "configuration `file` (default "+configName+", where there is one)")
	return s
}

// A repeated is the value of a flag that may be given more than once.
type repeated interface{ given() []string }

// keyOf returns the key of a flag in the file, or "" if the file says it
// otherwise: below [plugins.NAME], or not at all.
func keyOf(flag string) string {
	switch flag {
	case "plugins":
		return "plugin-directory" // "plugins" is a table for each plugin
	case "allow-net", "allow-env", "limit", "config", "help":
		return ""
	}
	return flag
}

// variableOf returns the variable of the environment for a flag.
func variableOf(flag string) string {
	return "AMPHOST_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// settle gives the flags that were not given the values of the environment and
// of the file. An error is a *configError if it is the file's.
func settle(flags *pflag.FlagSet) error {
	s := settingsOf(flags)
	if s == nil {
		return nil
	}
	s.sources, s.plugins = make(map[string]string), make(map[string]map[string]any)
	s.given = make(map[string][]string)
	flags.Visit(func(f *pflag.Flag) {
		s.sources[f.Name] = "--" + f.Name
		s.given[f.Name] = []string{f.Value.String()}
		if list, ok := f.Value.(repeated); ok {
			s.given[f.Name] = list.given()
		}
	})
	var wrong error
	newServeFlags().VisitAll(func(known *pflag.Flag) {
		f, name := flags.Lookup(known.Name), variableOf(known.Name)
		text := os.Getenv(name)
		if text == "" || f == nil || f.Changed || wrong != nil {
			return
		}
		list := []string{text}
		if _, ok := f.Value.(repeated); ok {
			list = strings.Fields(text)
		}
		for _, text := range list {
			if err := f.Value.Set(text); err != nil {
				wrong = fmt.Errorf("%s=%s: %w", name, text, wanted(f, err))
				return
			}
		}
		f.Changed = true
		s.sources[f.Name] = name
	})
	if wrong != nil {
		return wrong
	}
	var err error
	if s.file, err = readConfig(s.path); err != nil || s.file == nil {
		return err
	}
	if list := s.settleFile(flags); len(list) > 0 {
		return &configError{list}
	}
	return nil
}

// A configured is what the environment and a file say, for commands that
// look at plugins as serve would.
type configured struct {
	problems           []problem
	plugins            map[string]map[string]any // for amp.plugin.config
	allowNet, allowEnv map[string][]string       // by plugin
	dir                string                    // of the plugins
}

// configuration reads the file at path, or that of the working directory.
func configuration(path string) (c configured) {
	flags, f := pflag.NewFlagSet("serve", pflag.ContinueOnError), new(serveFlags)
	addServeFlags(flags, f)
	s := settingsOf(flags)
	s.path = path
	err := settle(flags)
	if e, ok := errors.AsType[*configError](err); ok {
		c.problems = e.list
	} else if err != nil {
		c.problems = []problem{{Severity: "error", Message: err.Error()}}
	}
	c.plugins, c.dir = s.plugins, filepath.Clean(f.plugins)
	c.allowNet, c.allowEnv = f.allowNet.byPlugin, f.allowEnv.byPlugin
	return c
}

// settleFile gives flags that have no value yet what the file says, and returns
// what is wrong with the file, also where another command is concerned.
func (s *settingsFlag) settleFile(flags *pflag.FlagSet) (wrong []problem) {
	known := make(map[string]*pflag.Flag)
	newServeFlags().VisitAll(func(f *pflag.Flag) {
		if key := keyOf(f.Name); key != "" {
			known[key] = f
		}
	})
	for _, key := range slices.Sorted(maps.Keys(s.file.values)) {
		switch key {
		case "listener":
			wrong = append(wrong, s.settleListeners(flags)...)
			continue
		case "limits":
			wrong = append(wrong, s.settleLimits(flags)...)
			continue
		}
		f := known[key]
		if f == nil {
			wrong = append(wrong, s.file.problem(unknownKey(key, slices.Sorted(maps.Keys(known))), key))
			continue
		}
		// What is wrong is told of whoever has the flag; and Set may add.
		list, err := textsOf(f, s.file.values[key])
		for i := 0; i < len(list) && err == nil; i++ {
			if err = f.Value.Set(list[i]); err != nil {
				err = wanted(f, err)
			}
		}
		if err != nil {
			wrong = append(wrong, s.file.problem(fmt.Sprintf("%s: %v", key, err), key))
			continue
		}
		mine := flags.Lookup(f.Name)
		if mine == nil || mine.Changed {
			continue
		}
		for _, text := range list {
			_ = mine.Value.Set(text) // as f's, above
		}
		mine.Changed = true
		s.sources[f.Name] = s.file.place(key)
	}
	for _, name := range slices.Sorted(maps.Keys(s.file.plugins)) {
		wrong = append(wrong, s.settlePlugin(flags, name)...)
	}
	slices.SortStableFunc(wrong, func(a, b problem) int { return cmp.Compare(a.Line, b.Line) })
	return wrong
}

// settleLimits does the same for the table [limits], which has what --limit is
// given.
func (s *settingsFlag) settleLimits(flags *pflag.FlagSet) (wrong []problem) {
	table, ok := s.file.values["limits"].(map[string]any)
	if !ok {
		return []problem{s.file.problem("limits: use a table: [limits], and the limits below it", "limits")}
	}
	s.limits = make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(table)) {
		list, err := textsOf(nil, table[name])
		if err == nil {
			err = make(limits).Set(name + "=" + list[0])
		}
		if err != nil {
			wrong = append(wrong, s.file.problem("limits: "+err.Error(), "limits", name))
			continue
		}
		f := flags.Lookup("limit")
		if f == nil || givenFor(f, name) {
			continue
		}
		_ = f.Value.Set(name + "=" + list[0]) // as above
		s.limits[name] = s.file.place("limits", name)
	}
	return wrong
}

// settleListeners does the same for the tables of [[listener]], which are what
// --listen is given.
func (s *settingsFlag) settleListeners(flags *pflag.FlagSet) (wrong []problem) {
	tables, ok := s.file.values["listener"].([]any)
	if !ok {
		return []problem{s.file.problem("listener: use tables, each of them [[listener]]", "listener")}
	}
	mine := flags.Lookup("listen")
	inFile := s.file.values["listen"] != nil // and both count
	if mine != nil && mine.Changed && !inFile {
		mine = nil
	}
	for i, value := range tables {
		table, ok := value.(map[string]any)
		if !ok {
			return []problem{s.file.problem("listener: use tables, each of them [[listener]]", "listener")}
		}
		text, err := listenerText(table)
		if err == nil {
			_, err = parseEndpoint(text)
		}
		if err != nil {
			wrong = append(wrong, s.file.problem("listener: "+err.Error(), "listener", fmt.Sprintf("#%d", i)))
			continue
		}
		if mine != nil && (!inFile || strings.HasPrefix(s.sources["listen"], s.file.path)) {
			_ = mine.Value.Set(text) // as above
			s.sources["listen"] = s.file.place("listener")
		}
	}
	return wrong
}

// settlePlugin does the same for a plugin's table: what it may do becomes
// flags', and all of it is the plugin's to see.
func (s *settingsFlag) settlePlugin(flags *pflag.FlagSet, name string) (wrong []problem) {
	table := s.file.plugins[name]
	s.plugins[name] = table
	for key, flag := range map[string]string{"net": "allow-net", "env": "allow-env", "store-quota": "store-quota"} {
		value, there := table[key]
		if !there {
			continue
		}
		list, err := listOf(value)
		if key == "store-quota" {
			list, err = textsOf(nil, value)
		}
		if err != nil || len(list) == 0 {
			if key != "store-quota" && err == nil {
				continue // an empty list allows nothing
			}
			wrong = append(wrong, s.file.problem(fmt.Sprintf("plugins.%s.%s: %v", name, key, err), "plugins", name, key))
			continue
		}
		f := flags.Lookup(flag)
		if f == nil || givenFor(f, name) {
			continue
		}
		if err := f.Value.Set(name + "=" + strings.Join(list, ",")); err != nil {
			wrong = append(wrong, s.file.problem(fmt.Sprintf("plugins.%s.%s: %v", name, key, err), "plugins", name, key))
		}
	}
	return wrong
}

// givenFor reports whether a flag that is for single plugins was given for one,
// so that the file's word does not count.
func givenFor(f *pflag.Flag, plugin string) bool {
	list, _ := f.Value.(repeated)
	return list != nil && slices.ContainsFunc(list.given(), func(text string) bool { return strings.HasPrefix(text, plugin+"=") })
}

func unknownKey(key string, known []string) string {
	text := fmt.Sprintf("there is no key %q", key)
	switch {
	case key == "allow-net" || key == "allow-env":
		return fmt.Sprintf("%s: write %s = […] below [plugins.NAME]", text, strings.TrimPrefix(key, "allow-"))
	case key == "config" || key == "help":
		return text
	}
	if near := closest(key, append(known, "limits", "listener")); near != "" {
		return fmt.Sprintf("%s: do you mean %q?", text, near)
	}
	return text + ": there are " + strings.Join(known, ", ") + ", and tables [[listener]], [limits] and [plugins.NAME]"
}

// textsOf returns a value of the file as f would be given it: more than one
// text if f may be repeated. f is nil for what takes a text or a number.
func textsOf(f *pflag.Flag, value any) ([]string, error) {
	kind := "string"
	if f != nil {
		kind = f.Value.Type()
		if _, ok := f.Value.(repeated); ok {
			if list, ok := value.([]any); ok {
				return listOf(list)
			}
		}
	}
	switch v := value.(type) {
	case bool:
		if kind == "bool" {
			return []string{fmt.Sprint(v)}, nil
		}
	case int64:
		if kind != "bool" && kind != "duration" {
			return []string{fmt.Sprint(v)}, nil
		}
	case string:
		if kind != "bool" && kind != "uint16" {
			return []string{v}, nil
		}
	}
	if f == nil {
		return nil, errors.New("use a number, or text in quotes")
	}
	return nil, wanted(f, errors.New("use text in quotes"))
}

// listOf returns an array of strings.
func listOf(value any) ([]string, error) {
	list, ok := value.([]any)
	out := make([]string, len(list))
	for i, v := range list {
		var isText bool
		out[i], isText = v.(string)
		ok = ok && isText
	}
	if !ok {
		return nil, errors.New(`use an array of texts, as in ["a", "b"]`)
	}
	return out, nil
}

// wanted says what a flag takes, in words of its own where those of its type
// are Go's.
func wanted(f *pflag.Flag, err error) error {
	switch f.Value.Type() {
	case "uint16":
		return errors.New("use a number from 0 to 65535")
	case "int":
		return errors.New("use a whole number")
	case "bool":
		return errors.New("use true or false")
	case "duration":
		return errors.New(`use a duration, as in "10s"`)
	}
	return err
}

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
		Args: cobra.NoArgs,
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
		Args: cobra.NoArgs,
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
		lines = append(lines, line{v.key + " = " + tomlText(v.Value), v.Source})
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

// configSchema is a JSON schema (draft 7, which TOML's language servers know)
// of the configuration file.
func configSchema() map[string]any {
	properties := make(map[string]any)
	newServeFlags().VisitAll(func(f *pflag.Flag) {
		key := keyOf(f.Name)
		if key == "" {
			return
		}
		_, usage := pflag.UnquoteUsage(f)
		p := map[string]any{"description": usage}
		switch _, list := f.Value.(repeated); {
		case list && f.Name == "store-quota":
			p["type"] = []string{"string", "integer", "array"}
			p["items"] = map[string]any{"type": "string"}
		case list:
			p["type"] = "array"
			p["items"] = map[string]any{"type": "string"}
		case f.Value.Type() == "bool":
			p["type"], p["default"] = "boolean", f.DefValue == "true"
		case f.Value.Type() == "uint16":
			p["type"], p["minimum"], p["maximum"], p["default"] = "integer", 0, 65535, json.Number(f.DefValue)
		case f.Value.Type() == "duration":
			d, _ := time.ParseDuration(f.DefValue)
			p["type"], p["pattern"], p["default"] = "string", `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, d.String()
		default:
			p["type"] = "string"
			if f.DefValue != "" {
				p["default"] = f.DefValue
			}
			if c, ok := f.Value.(interface{ choices() []string }); ok {
				p["enum"] = c.choices()
			}
		}
		properties[key] = p
	})
	texts := map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
	with := func(schema map[string]any, description string) map[string]any {
		schema = maps.Clone(schema)
		schema["description"] = description
		return schema
	}
	listener := map[string]any{"address": map[string]any{"type": "string", "description": "host:port, tls://host:port, unix:PATH or systemd:NAME"}}
	for key, what := range listenerKeys {
		switch key {
		case "plugins", "allow", "refuse":
			listener[key] = with(texts, what)
		case "strict":
			listener[key] = map[string]any{"type": "boolean", "description": what}
		default:
			listener[key] = map[string]any{"type": "string", "description": what}
		}
	}
	listener["client"] = map[string]any{
		"type":        "object",
		"description": "What clients may call whose certificate has that name.",
		"additionalProperties": map[string]any{
			"type": "object", "additionalProperties": false,
			"properties": map[string]any{"allow": texts, "refuse": texts},
		},
	}
	properties["listener"] = map[string]any{
		"type":        "array",
		"description": "Where connections are accepted, and what they are for.",
		"items":       map[string]any{"type": "object", "properties": listener, "required": []string{"address"}, "additionalProperties": false},
	}
	limitProperties := make(map[string]any)
	for name, k := range knownLimits {
		limitProperties[name] = map[string]any{"type": []string{"string", "integer"}, "description": k.about, "default": k.fallback}
	}
	properties["limits"] = map[string]any{
		"type": "object", "description": "Limits: numbers, bytes such as \"4MiB\", durations such as \"10s\", or \"off\".",
		"properties": limitProperties, "additionalProperties": false,
	}
	properties["plugins"] = map[string]any{
		"type":        "object",
		"description": "A table for each plugin, which the plugin sees as amp.plugin.config.",
		"additionalProperties": map[string]any{
			"type": "object",
			"properties": map[string]any{
				"net":         with(texts, "Where the plugin may connect to: host:port, *.host:port, *:*, 10.0.0.0/8:port or unix:path."),
				"env":         with(texts, "Which variables of the environment the plugin may read."),
				"store-quota": map[string]any{"type": []string{"string", "integer"}, "description": "How many bytes the plugin may keep, as in \"64MiB\"."},
			},
		},
	}
	return map[string]any{
		"$schema":              "http://json-schema.org/draft-07/schema#",
		"title":                "amphost.toml",
		"type":                 "object",
		"properties":           properties,
		"additionalProperties": false,
	}
}
