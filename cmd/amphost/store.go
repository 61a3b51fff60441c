package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/scripting"
	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/boltstore"
)

// defaultStore is where plugins keep things when nobody says otherwise.
const defaultStore = "amphost.db"

// storeFlags are what all of the store's commands are told.
type storeFlags struct {
	path    string
	control string
	json    bool
}

func storeCommand() *cobra.Command {
	f := new(storeFlags)
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look into the store of plugins, back it up, mend it",
		Long: `Look into the file that plugins keep things in, back it up, mend it.

Each plugin has a namespace of its name, with keys, counters and files. A name is
any text, and never a path. Values are shown and taken as JSON, in which what
JSON lacks is an object with one key: {"$bigint": "123"}, {"$bytes": "aGk="},
{"$date": "2026-11-22T10:00:00.000Z"}, {"$datetime": …}, {"$number": "NaN"}.

A server has its store to itself. While one runs only backup works, through the
server's control socket; to look into it, look into a backup.`,
		Example: `  amphost store ls user-registration
  amphost store get --file user-registration ada
  amphost store backup today.db
  amphost store --store today.db check`,
		Args: aCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.path, "store", defaultStore, "`file` of what plugins keep")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	addConfigFlag(flags)
	cmd.AddCommand(
		f.namespacesCommand(), f.lsCommand(), f.getCommand(), f.putCommand(), f.rmCommand(), f.filesCommand(),
		f.exportCommand(), f.importCommand(),
		f.backupCommand(), f.restoreCommand(), f.checkCommand(), f.compactCommand(), f.statsCommand(),
	)
	return cmd
}

// open opens the store, which must be there.
func (f *storeFlags) open() (*boltstore.Store, error) {
	s, err := boltstore.Open(f.path, &boltstore.Options{NoCreate: true})
	return s, f.explain(err)
}

// explain adds to an error of boltstore what to do with these commands.
func (f *storeFlags) explain(err error) error {
	switch {
	case errors.Is(err, boltstore.ErrLocked):
		return fmt.Errorf("%w, or look into a backup: amphost store backup FILE works meanwhile", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no store %s: name it with --store", f.path)
	}
	return err
}

// with opens the store, calls fn and closes the store.
func (f *storeFlags) with(fn func(s *boltstore.Store) error) error {
	s, err := f.open()
	if err != nil {
		return err
	}
	return errors.Join(fn(s), s.Close())
}

// view is with for a read-only transaction on a namespace, which must be there.
func (f *storeFlags) view(cmd *cobra.Command, namespace string, fn func(tx store.Tx) error) error {
	return f.with(func(s *boltstore.Store) error {
		if err := f.checkNamespace(s, namespace); err != nil {
			return err
		}
		return store.View(cmd.Context(), s, namespace, fn)
	})
}

// checkNamespace returns an error if nothing was ever stored in a namespace.
func (f *storeFlags) checkNamespace(s *boltstore.Store, namespace string) error {
	names, err := s.Namespaces()
	if err != nil || slices.Contains(names, namespace) {
		return err
	}
	names = ofPlugins(names)
	return fmt.Errorf("there is no namespace %q in %s: there is %s", namespace, f.path, listed(names))
}

// ofPlugins leaves out the namespaces that are amphost's own: the versions of
// plugins, for amphost rollback.
func ofPlugins(namespaces []string) []string {
	return slices.DeleteFunc(namespaces, func(name string) bool { return strings.HasPrefix(name, "_") })
}

// listed joins names for a sentence.
func listed(names []string) string {
	text := ""
	for i, name := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			text += " and "
		default:
			text += ", "
		}
		text += name
	}
	if text == "" {
		return "none"
	}
	return text
}

// printJSON prints a line of JSON.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// A jsonName is a name in the store in JSON: a string or, if it is no UTF-8,
// {"$bytes": base64}.
type jsonName string

type jsonBytes struct {
	Bytes *[]byte `json:"$bytes"`
}

// MarshalJSON implements json.Marshaler.
func (n jsonName) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(n)) {
		return json.Marshal(string(n))
	}
	b := []byte(n)
	return json.Marshal(jsonBytes{&b})
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *jsonName) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err == nil {
		*n = jsonName(text)
		return nil
	}
	var b jsonBytes
	if err := json.Unmarshal(data, &b); err != nil || b.Bytes == nil {
		return fmt.Errorf("%s is no name", data)
	}
	*n = jsonName(*b.Bytes)
	return nil
}

// valueJSON returns a stored value as JSON: what a script stored, or bytes that
// a Go program did.
func valueJSON(stored []byte) json.RawMessage {
	if text, err := scripting.ValueJSON(stored); err == nil {
		return text
	}
	return fmt.Appendf(nil, `{"$stored":%q}`, base64.StdEncoding.EncodeToString(stored))
}
