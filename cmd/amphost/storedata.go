package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/scripting"
	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/boltstore"
)

func (f *storeFlags) namespacesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "namespaces",
		Short: "List the namespaces, one for each plugin that has stored something",
		Args:  asUsed,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(func(s *boltstore.Store) error {
				names, err := s.Namespaces()
				if err != nil {
					return err
				}
				names = ofPlugins(names)
				if f.json {
					return printJSON(cmd.OutOrStdout(), append([]string{}, names...))
				}
				for _, name := range names {
					fmt.Fprintln(cmd.OutOrStdout(), name)
				}
				return nil
			})
		},
	}
}

// prefixOf returns the optional second word.
func prefixOf(words []string) string {
	if len(words) > 1 {
		return words[1]
	}
	return ""
}

// A listing prints entries as they come: a line each, or one JSON array.
type listing struct {
	w     io.Writer
	json  bool
	count int
}

func (l *listing) add(v any, line string) error {
	if !l.json {
		_, err := fmt.Fprintln(l.w, line)
		return err
	}
	start := "[\n"
	if l.count > 0 {
		start = ",\n"
	}
	l.count++
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.w, "%s%s", start, text)
	return err
}

// end ends a listing to which adding has ended with err.
func (l *listing) end(err error) error {
	if err == nil && l.json {
		text := "\n]"
		if l.count == 0 {
			text = "[]"
		}
		_, err = fmt.Fprintln(l.w, text)
	}
	return err
}

func (f *storeFlags) lsCommand() *cobra.Command {
	var counters bool
	var limit int
	cmd := &cobra.Command{
		Use:   "ls NAMESPACE [PREFIX]",
		Short: "List keys and their values, or counters",
		Long:  "List the keys of a namespace and their values as JSON, cut off after 200 characters unless --json is given.",
		Args:  asUsed,
		RunE: func(cmd *cobra.Command, words []string) error {
			space := store.Keys
			if counters {
				space = store.Counters
			}
			l := &listing{w: cmd.OutOrStdout(), json: f.json}
			return f.view(cmd, words[0], func(tx store.Tx) error {
				var failed error
				for e, err := range tx.Scan(space, store.Range{Prefix: prefixOf(words), Limit: limit}) {
					if err != nil {
						return err
					}
					value := valueJSON(e.Value)
					if counters {
						n, err := store.Count(tx, e.Key)
						if err != nil {
							return err
						}
						value = strconv.AppendInt(nil, n, 10)
					}
					line := readableBytes(e.Key) + "\t" + shortened(string(value), 200)
					if failed = l.add(map[string]any{"key": jsonName(e.Key), "value": value}, line); failed != nil {
						break
					}
				}
				return l.end(failed)
			})
		},
	}
	cmd.Flags().BoolVar(&counters, "counters", false, "list counters")
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most `N`; 0 for all")
	return cmd
}

// shortened cuts a text off after n characters.
func shortened(text string, n int) string {
	for i := range text {
		if n--; n < 0 {
			return text[:i] + "…"
		}
	}
	return text
}

func (f *storeFlags) filesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "files NAMESPACE [PREFIX]",
		Short: "List files and their sizes in bytes",
		Args:  asUsed,
		RunE: func(cmd *cobra.Command, words []string) error {
			l := &listing{w: cmd.OutOrStdout(), json: f.json}
			return f.view(cmd, words[0], func(tx store.Tx) error {
				var failed error
				for info, err := range store.ListFiles(tx, store.Range{Prefix: prefixOf(words)}) {
					if err != nil {
						return err
					}
					v := map[string]any{"name": jsonName(info.Name), "size": info.Size}
					if failed = l.add(v, fmt.Sprintf("%10d  %s", info.Size, readableBytes(info.Name))); failed != nil {
						break
					}
				}
				return l.end(failed)
			})
		},
	}
}

// A kind is what get, put and rm are about: a key, or by a flag a counter or a
// file.
type kind struct {
	counter, file bool
}

func (k *kind) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&k.counter, "counter", false, "a counter, not a key")
	cmd.Flags().BoolVar(&k.file, "file", false, "a file, not a key")
	cmd.MarkFlagsMutuallyExclusive("counter", "file")
}

func (k *kind) String() string {
	switch {
	case k.counter:
		return "counter"
	case k.file:
		return "file"
	}
	return "key"
}

// space returns where the names of the kind are.
func (k *kind) space() store.Space {
	switch {
	case k.counter:
		return store.Counters
	case k.file:
		return store.Files
	}
	return store.Keys
}

// missing is what is said of a name that is not there.
func (k *kind) missing(namespace, name string) error {
	return fmt.Errorf("there is no %s %q in namespace %s", k, name, namespace)
}

func (f *storeFlags) getCommand() *cobra.Command {
	k := new(kind)
	cmd := &cobra.Command{
		Use:   "get NAMESPACE NAME",
		Short: "Print the value of a key as JSON, of a counter, or the contents of a file",
		Args:  asUsed,
		RunE: func(cmd *cobra.Command, words []string) error {
			namespace, name, out := words[0], words[1], cmd.OutOrStdout()
			return f.view(cmd, namespace, func(tx store.Tx) error {
				stored, err := tx.Get(k.space(), name)
				if err != nil {
					return err
				}
				if stored == nil {
					return k.missing(namespace, name)
				}
				switch {
				case k.counter:
					n, err := store.Count(tx, name)
					if err != nil {
						return err
					}
					return printJSON(out, n)
				case k.file:
					data, err := store.ReadFile(tx, name)
					if err != nil {
						return err
					}
					if f.json {
						return printJSON(out, jsonBytes{&data})
					}
					_, err = out.Write(data)
					return err
				}
				_, err = fmt.Fprintf(out, "%s\n", valueJSON(stored))
				return err
			})
		},
	}
	k.flags(cmd)
	return cmd
}

func (f *storeFlags) putCommand() *cobra.Command {
	k := new(kind)
	cmd := &cobra.Command{
		Use:   "put NAMESPACE NAME VALUE",
		Short: "Store a value under a key, set a counter, or write a file",
		Long: `Store a value, which is JSON, under a key; or with --counter set a counter to a
whole number; or with --file write the contents of the file that VALUE names. A
VALUE of - is read from standard input. Flags come before NAMESPACE, so that VALUE
may be -1.`,
		Example: `  amphost store put settings theme '{"dark": true}'
  amphost store put --counter user-registration uid 41
  amphost store put --file user-registration ada ada.pub`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, words []string) error {
			namespace, name := words[0], words[1]
			data, err := k.input(cmd, words[2])
			if err != nil {
				return err
			}
			var write func(tx store.Tx) error
			switch {
			case k.file:
				write = func(tx store.Tx) error { return store.WriteFile(tx, name, data) }
			case k.counter:
				want, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
				if err != nil || want > store.MaxCounter || want < -store.MaxCounter {
					return fmt.Errorf("a counter is a whole number within ±%d, and not %q", int64(store.MaxCounter), data)
				}
				write = func(tx store.Tx) error {
					n, err := store.Count(tx, name)
					if err == nil {
						// In two steps, for one may be too far.
						if _, err = store.Add(tx, name, -n); err == nil {
							_, err = store.Add(tx, name, want)
						}
					}
					return err
				}
			default:
				stored, err := scripting.ParseValueJSON(data)
				if err != nil {
					return fmt.Errorf("value of key %q: %w", name, err)
				}
				write = func(tx store.Tx) error { return tx.Put(store.Keys, name, stored) }
			}
			err = f.with(func(s *boltstore.Store) error {
				return store.Update(cmd.Context(), s, namespace, write)
			})
			if err != nil || !f.json {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"namespace": namespace, k.String(): name})
		},
	}
	k.flags(cmd)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// input returns what VALUE stands for.
func (k *kind) input(cmd *cobra.Command, value string) ([]byte, error) {
	switch {
	case value == "-":
		return io.ReadAll(cmd.InOrStdin())
	case k.file:
		return os.ReadFile(value)
	}
	return []byte(value), nil
}

func (f *storeFlags) rmCommand() *cobra.Command {
	k := new(kind)
	cmd := &cobra.Command{
		Use:   "rm NAMESPACE NAME ...",
		Short: "Remove keys, counters or files, all of them or none",
		Args:  asUsed,
		RunE: func(cmd *cobra.Command, words []string) error {
			namespace := words[0]
			err := f.with(func(s *boltstore.Store) error {
				if err := f.checkNamespace(s, namespace); err != nil {
					return err
				}
				return store.Update(cmd.Context(), s, namespace, func(tx store.Tx) error {
					for _, name := range words[1:] {
						if err := k.remove(tx, name); errors.Is(err, fs.ErrNotExist) {
							return k.missing(namespace, name)
						} else if err != nil {
							return err
						}
					}
					return nil
				})
			})
			if err != nil || !f.json {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"namespace": namespace, k.String() + "s": words[1:]})
		},
	}
	k.flags(cmd)
	return cmd
}

// remove removes one, or returns an error that is fs.ErrNotExist.
func (k *kind) remove(tx store.Tx, name string) error {
	if k.file {
		return store.RemoveFile(tx, name)
	}
	stored, err := tx.Get(k.space(), name)
	if err != nil {
		return err
	}
	if stored == nil {
		return fs.ErrNotExist
	}
	return tx.Delete(k.space(), name)
}
