package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	s.sources, s.limits, s.plugins = make(map[string]string), make(map[string]string), make(map[string]map[string]any)
	s.given = make(map[string][]string)
	flags.Visit(func(f *pflag.Flag) {
		s.sources[f.Name] = "--" + f.Name
		s.given[f.Name] = []string{f.Value.String()}
		if list, ok := f.Value.(repeated); ok {
			s.given[f.Name] = list.given()
		}
	})
	defer s.settleWatch(flags)
	var wrong error
	newServeFlags().VisitAll(func(known *pflag.Flag) {
		f, name := flags.Lookup(known.Name), variableOf(known.Name)
		text := os.Getenv(name)
		if text == "" || f == nil || wrong != nil {
			return
		}
		list := []string{text}
		if _, ok := f.Value.(repeated); ok {
			list = strings.Fields(text)
		}
		if f.Changed {
			if list = s.besides(f.Name, list); len(list) == 0 {
				return
			}
			name = s.sources[f.Name] + ", " + name
			if f.Name == "limit" { // each has a source of its own
				for _, text := range list {
					limit, _, _ := strings.Cut(text, "=")
					s.limits[limit] = variableOf(f.Name)
				}
				name = s.sources[f.Name]
			}
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
	listen             endpoints
	address            string // where serve answers commands, as amphost call has it
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
	c.listen, c.address = f.listen, f.callAddress(flags)
	return c
}

// besides returns what the environment says of a flag, text by text, that is for
// other names than those that the flag was given for, if it is one that is given
// for names: --limit, and what is for a plugin each.
func (s *settingsFlag) besides(flag string, texts []string) (list []string) {
	switch flag {
	case "limit", "allow-net", "allow-env", "store-quota":
	default:
		return nil
	}
	nameOf := func(text string) string {
		name, _, named := strings.Cut(text, "=")
		if !named {
			return "" // for all
		}
		return name
	}
	given := make(map[string]bool)
	for _, text := range s.given[flag] {
		given[nameOf(text)] = true
	}
	for _, text := range texts {
		if !given[nameOf(text)] {
			list = append(list, text)
		}
	}
	return list
}

// settleWatch has no-watch count for nothing where watch was said by who goes
// before whoever said that.
func (s *settingsFlag) settleWatch(flags *pflag.FlagSet) {
	rank := func(flag string) int {
		switch source := s.sources[flag]; {
		case source == "":
			return 0
		case strings.HasPrefix(source, "--"):
			return 3
		case strings.HasPrefix(source, "AMPHOST_"):
			return 2
		}
		return 1
	}
	if f := flags.Lookup("no-watch"); f != nil && rank("no-watch") > 0 && rank("watch") > rank("no-watch") {
		_ = f.Value.Set("false")
		delete(s.sources, "no-watch")
	}
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
			s.placeEndpoint(mine, key)
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
			key := []string{"listener", fmt.Sprintf("#%d", i), "address"}
			if option, ok := errors.AsType[*optionError](err); ok {
				key = append(key[:2], keyPath(option.key)...)
			}
			wrong = append(wrong, s.file.problem("listener: "+err.Error(), key...))
			continue
		}
		if mine != nil && (!inFile || strings.HasPrefix(s.sources["listen"], s.file.path)) {
			_ = mine.Value.Set(text) // as above
			s.placeEndpoint(mine, "listener", fmt.Sprintf("#%d", i))
			s.sources["listen"] = s.file.place("listener", fmt.Sprintf("#%d", i))
		}
	}
	return wrong
}

// placeEndpoint has the last endpoint of a flag know where the file has it.
func (s *settingsFlag) placeEndpoint(f *pflag.Flag, at ...string) {
	if list, ok := f.Value.(*endpoints); ok {
		last := (*list)[len(*list)-1]
		last.file, last.at = s.file, at
	}
}

// keyPath is where an option of an endpoint is in its table.
func keyPath(option string) []string {
	client, ok := strings.CutPrefix(option, "client.")
	if !ok {
		return []string{option}
	}
	if dot := strings.LastIndexByte(client, '.'); dot > 0 {
		return []string{"client", client[:dot], client[dot+1:]}
	}
	return []string{"client", client}
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
