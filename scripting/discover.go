package scripting

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// nameRule says what a plugin may be called. Its name is also its namespace in
// the store.
const nameRule = "small letters, digits, _ and -, with a letter or a digit first"

// ValidName reports whether name can be a plugin's.
func ValidName(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case (c == '_' || c == '-') && i > 0:
		default:
			return false
		}
	}
	return name != "" && len(name) <= 200
}

// scripts are the extensions of a plugin's entry, in order of preference.
var scripts = []string{".ts", ".js", ".mjs", ".cjs"}

// isScript reports whether a file can be an entry.
func isScript(path string) bool {
	return slices.Contains(scripts, filepath.Ext(path)) && !strings.HasSuffix(path, ".d.ts")
}

// ignored reports whether a name in a plugin directory is none of a plugin's:
// hidden, private, tests, declarations, packages.
func ignored(name string) bool {
	return name == "" || name[0] == '.' || name[0] == '_' || name == "node_modules" || name == "4913" ||
		strings.HasSuffix(name, ".d.ts") || strings.Contains(name, ".test.") ||
		strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".swp") || strings.HasSuffix(name, ".tmp")
}

// pluginAt returns the name and the entry file of the plugin at an absolute
// path. The error wraps ErrNoPlugin if there is none, fs.ErrNotExist if there
// is nothing.
func pluginAt(path string) (name, entry string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", "", err
	}
	if !info.IsDir() {
		name, err = pluginFile(path)
		return name, path, err
	}
	if entry, err = entryOf(path); err != nil {
		return "", "", err
	}
	return filepath.Base(path), entry, checkName(path, filepath.Base(path))
}

// pluginFile is pluginAt for what is known to be a file, which is its own entry.
func pluginFile(path string) (name string, err error) {
	base := filepath.Base(path)
	if !isScript(base) {
		return "", fmt.Errorf("%s: %w", displayPath(path), ErrNoPlugin)
	}
	name = strings.TrimSuffix(base, filepath.Ext(base))
	return name, checkName(path, name)
}

func checkName(path, name string) error {
	if ValidName(name) {
		return nil
	}
	return fmt.Errorf("%s: %q is not a plugin's name: %s", displayPath(path), name, nameRule)
}

// entryOf returns the entry file of a folder: its package.json's main, or its
// index script.
func entryOf(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err == nil {
		var pkg struct {
			Main string `json:"main"`
		}
		if err := json.Unmarshal(data, &pkg); err != nil {
			return "", fmt.Errorf("%s: %w", displayPath(filepath.Join(dir, "package.json")), err)
		}
		if pkg.Main != "" {
			if !filepath.IsLocal(pkg.Main) {
				return "", fmt.Errorf("%s: main %q is outside of the folder", displayPath(filepath.Join(dir, "package.json")), pkg.Main)
			}
			main := filepath.Join(dir, pkg.Main)
			if info, err := os.Stat(main); err != nil || info.IsDir() {
				return "", fmt.Errorf("%s: main %q is not a file", displayPath(filepath.Join(dir, "package.json")), pkg.Main)
			}
			if !isScript(main) {
				return "", fmt.Errorf("%s: main %q is not a script: %s", displayPath(filepath.Join(dir, "package.json")), pkg.Main, strings.Join(scripts, ", "))
			}
			return main, nil
		}
	}
	for _, ext := range scripts {
		index := filepath.Join(dir, "index"+ext)
		if info, err := os.Stat(index); err == nil && !info.IsDir() {
			return index, nil
		}
	}
	return "", fmt.Errorf("%s: %w", displayPath(dir), ErrNoPlugin)
}

// A found is one plugin of a directory, before it is built.
type found struct {
	name string
	path string // the file or the folder, absolute
	err  error  // why it can't be built; path may then be several
}

// discover lists the plugins of a directory by name, and the folders that may
// hold, or come to hold, one. It fails only if the directory can't be read.
func discover(dir string) (_ map[string]found, folders []string, _ error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	plugins := make(map[string]found)
	paths := make(map[string][]string) // by name
	for _, e := range list {
		if ignored(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			folders = append(folders, path)
		}
		var name string
		var err error
		if e.Type().IsRegular() {
			name, err = pluginFile(path)
		} else {
			name, _, err = pluginAt(path)
		}
		switch {
		case errors.Is(err, ErrNoPlugin), errors.Is(err, fs.ErrNotExist):
			continue // a shared folder, a README, or gone again
		case err != nil:
			name = strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))
		}
		paths[name] = append(paths[name], path)
		switch all := paths[name]; len(all) {
		case 1:
		case 2:
			err = fmt.Errorf("two plugins are called %q: %s and %s: rename or remove one", name, displayPath(all[0]), displayPath(all[1]))
		default:
			err = fmt.Errorf("%d plugins are called %q: %s: rename or remove all but one", len(all), name, shownPaths(all))
		}
		plugins[name] = found{name: name, path: path, err: err}
	}
	return plugins, folders, nil
}

func shownPaths(paths []string) string {
	shown := make([]string, len(paths))
	for i, path := range paths {
		shown[i] = displayPath(path)
	}
	return strings.Join(shown, ", ")
}
