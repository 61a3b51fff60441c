package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/scripting"
	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/boltstore"
)

// An export is a directory:
//
//	export.json             what it is, written last
//	NAMESPACE/entries.jsonl keys and counters, a line each
//	NAMESPACE/files.jsonl   the files, a line each, with their names as they are
//	NAMESPACE/files/NAME    their contents, under names that any system takes
//
// All of it is opened by way of an os.Root, so nothing leaves the directory,
// whatever names, links or a hand-made export say.

const (
	exportFile    = "export.json"
	exportEntries = "entries.jsonl"
	exportFiles   = "files.jsonl"
	exportFormat  = 1
)

// exportHead is what export.json says.
type exportHead struct {
	Format     int      `json:"amphostExport"`
	Namespaces []string `json:"namespaces"`
}

// exportEntry is a line of entries.jsonl. One of Key, Counter and Space is
// there; a Space other than these two has its key in Name.
type exportEntry struct {
	Key     *jsonName       `json:"key,omitempty"`
	Counter *jsonName       `json:"counter,omitempty"`
	Space   *store.Space    `json:"space,omitempty"`
	Name    *jsonName       `json:"name,omitempty"`
	Value   json.RawMessage `json:"value,omitempty"`  // what a script stored, or the counter
	Stored  *[]byte         `json:"stored,omitempty"` // or the bytes as they are
}

// exportedFile is a line of files.jsonl.
type exportedFile struct {
	Name jsonName `json:"name"`
	Path string   `json:"path"` // in the namespace's directory, with slashes
	Size int      `json:"size"`
	Sum  string   `json:"sha256"`
}

func (f *storeFlags) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export DIR",
		Short: "Write all of the store into a new directory, each file as a file",
		Long: `Write all of the store into a directory, which must be empty or not there: for
each namespace its files, and its keys and counters as lines of JSON.

Names are escaped where a file system could misread them, so that nothing is
written outside of DIR; files.jsonl has them as they are. Only you can read what
is written. Files that are damaged are named and left out, and then the exit
status is 1. Import reads all of it back byte for byte.`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, words []string) error {
			return f.with(func(s *boltstore.Store) error {
				root, err := exportRoot(words[0])
				if err != nil {
					return err
				}
				defer root.Close()
				e := exporter{store: s, root: root}
				if err := e.run(cmd.Context()); err != nil {
					return fmt.Errorf("export to %s: %w", words[0], err)
				}
				for _, problem := range e.problems {
					fmt.Fprintf(cmd.ErrOrStderr(), "left out: %v\n", problem)
				}
				err = f.report(cmd, map[string]any{"directory": words[0], "namespaces": e.head.Namespaces, "entries": e.entries, "files": e.files},
					"%s: %s", words[0], amount(e.entries, e.files, len(e.head.Namespaces)))
				if err == nil && len(e.problems) > 0 {
					err = fmt.Errorf("%s: %s damaged, and left out", f.path, count(len(e.problems), "file"))
				}
				return err
			})
		},
	}
}

// exportRoot opens an empty directory, and makes it if it is not there.
func exportRoot(dir string) (*os.Root, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("export: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("export: %s is not empty: name a directory that is, or a new one", dir)
	}
	return os.OpenRoot(dir)
}

// An exporter writes an export.
type exporter struct {
	store    *boltstore.Store
	root     *os.Root
	head     exportHead
	entries  int
	files    int
	problems []error
}

func (e *exporter) run(ctx context.Context) error {
	names, err := e.store.Namespaces()
	if err != nil {
		return err
	}
	names = ofPlugins(names)
	e.head = exportHead{Format: exportFormat, Namespaces: append([]string{}, names...)}
	for _, name := range names {
		err := store.View(ctx, e.store, name, func(tx store.Tx) error {
			if err := e.root.MkdirAll(path.Join(name, "files"), 0o700); err != nil {
				return err
			}
			if err := e.writeLines(path.Join(name, exportEntries), func(add func(any) error) error { return e.namespace(tx, add) }); err != nil {
				return err
			}
			return e.writeLines(path.Join(name, exportFiles), func(add func(any) error) error { return e.filesOf(tx, name, add) })
		})
		if err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
	}
	return e.writeLines(exportFile, func(add func(any) error) error { return add(e.head) })
}

// writeLines writes a file of lines of JSON.
func (e *exporter) writeLines(name string, fill func(add func(any) error) error) error {
	file, err := e.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	if err := fill(func(v any) error { return printJSON(w, v) }); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return file.Close()
}

// namespace writes all that is not a file.
func (e *exporter) namespace(tx store.Tx, add func(any) error) error {
	for i := range 256 {
		space := store.Space(i)
		if space == store.Files || space == store.Pieces {
			continue
		}
		for entry, err := range tx.Scan(space, store.Range{}) {
			if err != nil {
				return err
			}
			e.entries++
			if err := add(entryOf(tx, space, entry)); err != nil {
				return err
			}
		}
	}
	return nil
}

// entryOf returns the line of an entry.
func entryOf(tx store.Tx, space store.Space, entry store.Entry) exportEntry {
	name := jsonName(entry.Key)
	switch space {
	case store.Keys:
		// Only what comes back byte for byte is shown as what it means.
		text, err := scripting.ValueJSON(entry.Value)
		if err == nil {
			if back, err := scripting.ParseValueJSON(text); err == nil && bytes.Equal(back, entry.Value) {
				return exportEntry{Key: &name, Value: text}
			}
		}
		return exportEntry{Key: &name, Stored: &entry.Value}
	case store.Counters:
		if n, err := store.Count(tx, entry.Key); err == nil {
			return exportEntry{Counter: &name, Value: fmt.Append(nil, n)}
		}
	}
	return exportEntry{Space: &space, Name: &name, Stored: &entry.Value}
}

// filesOf writes the files of a namespace. One that is damaged is left out.
func (e *exporter) filesOf(tx store.Tx, namespace string, add func(any) error) error {
	for entry, err := range tx.Scan(store.Files, store.Range{}) {
		if err != nil {
			return err
		}
		data, err := store.ReadFile(tx, entry.Key)
		if errors.Is(err, store.ErrDamaged) {
			e.problems = append(e.problems, fmt.Errorf("namespace %s: %w", namespace, err))
			continue
		}
		if err != nil {
			return err
		}
		where, err := e.writeFile(namespace, entry.Key, data)
		if err != nil {
			return fmt.Errorf("file %.80q: %w", entry.Key, err)
		}
		e.files++
		sum := sha256.Sum256(data)
		if err := add(exportedFile{Name: jsonName(entry.Key), Path: where, Size: len(data), Sum: hex.EncodeToString(sum[:])}); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes the contents of a file under a name like its own, and
// returns that.
func (e *exporter) writeFile(namespace, name string, data []byte) (where string, err error) {
	var file *os.File
	// On some systems names that differ in case only are the same file.
	for _, where = range []string{escapeName(name), hashedName(name)} {
		where = path.Join("files", where)
		file, err = e.root.OpenFile(path.Join(namespace, where), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	return where, errors.Join(err, file.Close())
}

// escapeName returns a name that any file system takes and that is in the same
// directory: what is not a letter, a digit, or one of "_-." is a % and two
// digits, and so is a "." at either end. A name that gets too long is hashed.
func escapeName(name string) string {
	if name == "" {
		return "%empty"
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		inner := i > 0 && i < len(name)-1
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.' && inner {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() > 200 {
		return hashedName(name)
	}
	return b.String()
}

// hashedName returns a name that no other name has, whatever its length.
func hashedName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "%" + hex.EncodeToString(sum[:])
}

func (f *storeFlags) importCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import DIR",
		Short: "Store what export has written",
		Long: `Store what export has written, into a store that is made if it is not there. The
namespaces of the export must be empty. Each is stored all at once or not at all,
and held in memory meanwhile; for large stores use backup and restore.`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, words []string) error {
			root, err := os.OpenRoot(words[0])
			if err != nil {
				return fmt.Errorf("import: %w", err)
			}
			defer root.Close()
			i := importer{root: root}
			if err := i.readHead(); err != nil {
				return fmt.Errorf("import from %s: %w", words[0], err)
			}
			s, err := boltstore.Open(f.path, nil)
			if err != nil {
				return f.explain(err)
			}
			i.store = s
			if err := errors.Join(i.run(cmd.Context()), s.Close()); err != nil {
				return fmt.Errorf("import from %s: %w", words[0], err)
			}
			return f.report(cmd, map[string]any{"file": f.path, "namespaces": i.head.Namespaces, "entries": i.entries, "files": i.files},
				"%s: %s", f.path, amount(i.entries, i.files, len(i.head.Namespaces)))
		},
	}
}

// amount says how much was copied.
func amount(entries, files, namespaces int) string {
	keys := "1 key or counter"
	if entries != 1 {
		keys = fmt.Sprintf("%d keys and counters", entries)
	}
	return fmt.Sprintf("%s and %s of %s", keys, count(files, "file"), count(namespaces, "namespace"))
}

// An importer reads an export.
type importer struct {
	store   *boltstore.Store
	root    *os.Root
	head    exportHead
	entries int
	files   int
}

// readHead reads what the directory holds, without touching a store.
func (i *importer) readHead() error {
	text, err := i.root.ReadFile(exportFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s: it is no export, or one that was interrupted", exportFile)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &i.head); err != nil {
		return fmt.Errorf("%s: %w", exportFile, err)
	}
	switch {
	case i.head.Format < 1:
		return fmt.Errorf("%s is not of an export", exportFile)
	case i.head.Format > exportFormat:
		return fmt.Errorf("%s has format %d, and this amphost reads formats up to %d: use the newer amphost that wrote it", exportFile, i.head.Format, exportFormat)
	}
	for _, name := range i.head.Namespaces {
		if err := store.CheckNamespace(name); err != nil {
			return err
		}
	}
	return nil
}

func (i *importer) run(ctx context.Context) error {
	stats, err := i.store.Stats()
	if err != nil {
		return err
	}
	for _, ns := range stats.Namespaces {
		for _, name := range i.head.Namespaces {
			if ns.Name == name && ns.Bytes > 0 {
				return fmt.Errorf("namespace %s is not empty: import into a new store, --store FILE, or remove what is in it", name)
			}
		}
	}
	for _, name := range i.head.Namespaces {
		err := store.Update(ctx, i.store, name, func(tx store.Tx) error {
			if err := i.readEntries(tx, name); err != nil {
				return fmt.Errorf("%s: %w", exportEntries, err)
			}
			if err := i.readFiles(tx, name); err != nil {
				return fmt.Errorf("%s: %w", exportFiles, err)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
	}
	return nil
}

// lines calls f with a decoder for each line of a file.
func (i *importer) lines(name string, f func(*json.Decoder) error) error {
	file, err := i.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	d := json.NewDecoder(bufio.NewReader(file))
	d.DisallowUnknownFields()
	for n := 1; ; n++ {
		if err := f(d); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
}

func (i *importer) readEntries(tx store.Tx, namespace string) error {
	return i.lines(path.Join(namespace, exportEntries), func(d *json.Decoder) error {
		var e exportEntry
		if err := d.Decode(&e); err != nil {
			return err
		}
		i.entries++
		switch {
		case e.Key != nil && e.Stored != nil:
			return tx.Put(store.Keys, string(*e.Key), *e.Stored)
		case e.Key != nil:
			stored, err := scripting.ParseValueJSON(e.Value)
			if err != nil {
				return fmt.Errorf("key %.80q: %w", *e.Key, err)
			}
			return tx.Put(store.Keys, string(*e.Key), stored)
		case e.Counter != nil:
			var n int64
			if err := json.Unmarshal(e.Value, &n); err != nil {
				return fmt.Errorf("counter %.80q: %w", *e.Counter, err)
			}
			_, err := store.Add(tx, string(*e.Counter), n)
			return err
		case e.Space != nil && e.Name != nil && e.Stored != nil:
			return tx.Put(*e.Space, string(*e.Name), *e.Stored)
		}
		return errors.New("it is neither a key nor a counter")
	})
}

func (i *importer) readFiles(tx store.Tx, namespace string) error {
	return i.lines(path.Join(namespace, exportFiles), func(d *json.Decoder) error {
		var f exportedFile
		if err := d.Decode(&f); err != nil {
			return err
		}
		i.files++
		data, err := i.root.ReadFile(path.Join(namespace, f.Path))
		if err != nil {
			return fmt.Errorf("file %.80q: %w", f.Name, err)
		}
		if sum := sha256.Sum256(data); f.Size != len(data) || f.Sum != hex.EncodeToString(sum[:]) {
			return fmt.Errorf("file %.80q: %s has changed since it was exported", f.Name, path.Join(namespace, f.Path))
		}
		return store.CreateFile(tx, string(f.Name), data)
	})
}
