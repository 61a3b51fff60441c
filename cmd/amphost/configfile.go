package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// configName is the configuration file in the working directory.
const configName = "amphost.toml"

// A configFile is what amphost.toml says: a table whose keys are settings, and
// a table for each plugin.
type configFile struct {
	path    string
	data    []byte
	values  map[string]any            // by key, without "plugins"
	plugins map[string]map[string]any // by plugin
}

// readConfig reads a configuration file, whatever its keys are. Without a path
// it is the one of the working directory, and nil if there is none.
func readConfig(path string) (*configFile, error) {
	f := &configFile{path: path}
	if path == "" {
		f.path = configName
	}
	var err error
	f.data, err = os.ReadFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && path == "":
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s: --config names one that is there", path)
	case err != nil:
		return nil, err
	}
	if err := toml.Unmarshal(f.data, &f.values); err != nil {
		if d, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, column := d.Position()
			return nil, &configError{[]problem{f.problemAt(line, column, strings.TrimPrefix(d.Error(), "toml: "))}}
		}
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	f.plugins = make(map[string]map[string]any)
	tables, there := f.values["plugins"]
	delete(f.values, "plugins")
	if !there {
		return f, nil
	}
	byName, ok := tables.(map[string]any)
	if !ok {
		return nil, &configError{[]problem{f.problem(`"plugins" is a table for each plugin, as in [plugins.math]: the directory of plugins is "plugin-directory"`, "plugins")}}
	}
	var wrong []problem
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		table, ok := byName[name].(map[string]any)
		if !ok {
			wrong = append(wrong, f.problem(fmt.Sprintf("plugins.%s is a table: [plugins.%s], and what the plugin is told below it", name, name), "plugins", name))
			continue
		}
		f.plugins[name] = table
	}
	if wrong != nil {
		return nil, &configError{wrong}
	}
	return f, nil
}

// A configError is what is wrong with a configuration file.
type configError struct{ list []problem }

// Error shows all of it, with its lines.
func (e *configError) Error() string {
	lines := make([]string, len(e.list))
	for i, p := range e.list {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n\n")
}

func isConfigError(err error) bool {
	_, ok := errors.AsType[*configError](err)
	return ok
}

// problem says what is wrong with a key.
func (f *configFile) problem(message string, key ...string) problem {
	line, column := f.locate(key)
	return f.problemAt(line, column, message)
}

func (f *configFile) problemAt(line, column int, message string) problem {
	return problem{Severity: "error", File: f.path, Line: line, Column: column, Message: message, Frame: frameOf(f.path, line, column)}
}

// place is where a key is, as people are told.
func (f *configFile) place(key ...string) string {
	line, _ := f.locate(key)
	return fmt.Sprintf("%s:%d", f.path, line)
}

// locate returns where a key, or the innermost table of it that has a line of
// its own, is written: from 1, or 0 if it is not in the file. The tables of an
// array of tables are told apart by a second element, "#0" and so on.
func (f *configFile) locate(key []string) (line, column int) {
	p := new(unstable.Parser)
	p.Reset(f.data)
	var table []string
	arrays := make(map[string]int) // tables so far
	best := 0
	for p.NextExpression() {
		e := p.Expression()
		var path []string
		var first *unstable.Node
		for keys := e.Key(); keys.Next(); {
			node := keys.Node()
			if first == nil {
				first = node
			}
			path = append(path, string(node.Data))
		}
		switch e.Kind {
		case unstable.ArrayTable:
			arrays[path[0]]++
			fallthrough
		case unstable.Table:
			if n := arrays[path[0]]; n > 0 {
				path = slices.Insert(path, 1, fmt.Sprintf("#%d", n-1))
			}
			table = path
		case unstable.KeyValue:
			path = append(slices.Clip(table), path...)
		default:
			continue
		}
		if len(path) > best && len(path) <= len(key) && slices.Equal(path, key[:len(path)]) {
			best = len(path)
			at := p.Shape(first.Raw).Start
			line, column = at.Line, at.Column
		}
	}
	return line, column
}

// closest returns which of the words is meant by one that is none of them, or
// "" if none is near.
func closest(word string, words []string) string {
	best, distance := "", max(len(word)/3, 1)+1
	for _, w := range words {
		if d := editDistance(word, w); d < distance {
			best, distance = w, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or replace between two
// words, two that are swapped as one.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
		for j := 1; j <= len(b); j++ {
			if i == 0 {
				rows[i][j] = j
				continue
			}
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
