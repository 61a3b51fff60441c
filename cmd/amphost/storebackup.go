package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store/boltstore"
)

// backupOver asks a server for a copy of its store. It writes into a file that
// the client has open: it travels over the control socket.
var backupOver = amp.Command[backupArgs, backupResult]{
	Name:   "Backup",
	Errors: amp.ErrorCodes{{Code: "BACKUP_FAILED", Err: errBackup}},
}

type backupArgs struct {
	File *os.File `amp:"file"`
}

type backupResult struct {
	Bytes int64 `amp:"bytes"`
}

var errBackup = errors.New("backup failed")

// handleBackup has a server's control socket answer backupOver.
func handleBackup(m *amp.Mux, s *boltstore.Store) {
	backupOver.Handle(m, func(ctx context.Context, args backupArgs) (backupResult, error) {
		defer args.File.Close()
		// Anything else could keep us waiting for ever.
		if info, err := args.File.Stat(); err != nil || !info.Mode().IsRegular() {
			return backupResult{}, fmt.Errorf("%w: what was handed over is not a regular file", errBackup)
		}
		n, err := s.WriteTo(&interruptible{ctx, args.File})
		if err != nil {
			return backupResult{}, fmt.Errorf("%w: %w", errBackup, err)
		}
		return backupResult{Bytes: n}, nil
	})
}

// An interruptible is a writer that fails once nobody waits for it any more.
type interruptible struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (i *interruptible) Write(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.w.Write(p)
}

func (f *storeFlags) backupCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy of the store, also while a server uses it",
		Long: `Write a consistent copy of the store, as it was at one moment not before this
command began. If a server uses the store it makes the copy, asked through its
control socket; it serves on meanwhile.

FILE is written under another name, checked, put on disk and only then named, so
that it is whole or not there. It is a store itself: --store FILE looks into it.`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, words []string) error {
			write, done, err := f.copier(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			if a, err := os.Stat(f.path); err == nil {
				if b, err := os.Stat(words[0]); err == nil && os.SameFile(a, b) {
					return fmt.Errorf("%s is the store itself: name another file", words[0])
				}
			}
			size, err := boltstore.WriteBackup(words[0], force, write)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already: name another file, or replace it with --force", words[0])
			}
			if err != nil {
				return err
			}
			return f.report(cmd, map[string]any{"file": words[0], "bytes": size}, "%s: %s", words[0], bytesText(size))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it is there")
	cmd.Flags().StringVar(&f.control, "control", "", "control `socket` of the server (default the store's name and .sock)")
	return cmd
}

// copier returns a function that writes a copy of the store into a file, by
// itself or by way of the server that has the store open.
func (f *storeFlags) copier(ctx context.Context) (write func(file *os.File) error, done func(), err error) {
	s, err := boltstore.Open(f.path, &boltstore.Options{NoCreate: true})
	if err == nil {
		return func(file *os.File) error { _, err := s.WriteTo(file); return err }, func() { s.Close() }, nil
	}
	path := controlPath(f.control, f.path)
	if !errors.Is(err, boltstore.ErrLocked) || path == "" {
		return nil, nil, f.explain(err)
	}
	conn, controlErr := dialControl(ctx, path)
	if errors.Is(controlErr, errNoServer) {
		controlErr = fmt.Errorf("%w: name that of the server with --control, or stop the server", controlErr)
	}
	if controlErr != nil {
		return nil, nil, fmt.Errorf("%w; and %w", err, controlErr)
	}
	write = func(file *os.File) error {
		result, err := backupOver.Call(ctx, conn, backupArgs{file})
		if errors.Is(err, amp.ErrUnhandled) {
			return fmt.Errorf("what listens on %s is no amphost of this version", path)
		}
		if err != nil {
			return err
		}
		if info, err := file.Stat(); err != nil || info.Size() != result.Bytes {
			return fmt.Errorf("the server wrote %d bytes, and the file has another size: is %s the control socket of another machine or container?", result.Bytes, path)
		}
		return nil
	}
	return write, func() { conn.Close() }, nil
}

// report prints what was done, for people or as JSON.
func (f *storeFlags) report(cmd *cobra.Command, v any, format string, args ...any) error {
	if f.json {
		return printJSON(cmd.OutOrStdout(), v)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
	return err
}

// bytesText is a size as people read it.
func bytesText(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 10<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 10<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return count(int(n), "byte")
}

func (f *storeFlags) restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the store, which is kept under another name",
		Long: `Put a copy of a backup in the place of the store, once it has been checked. A
store that is there, damaged or not, is kept under another name, which is
printed. No server may use it.`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, words []string) error {
			kept, err := boltstore.Restore(f.path, words[0])
			if errors.Is(err, boltstore.ErrLocked) {
				return fmt.Errorf("%w: restore needs the store to itself", err)
			}
			if err != nil {
				return err
			}
			text := ""
			if kept != "" {
				text = "; the store before is " + kept
			}
			return f.report(cmd, map[string]any{"file": f.path, "kept": kept}, "%s is restored from %s%s", f.path, words[0], text)
		},
	}
}

func (f *storeFlags) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read all of the store and print what is wrong with it",
		Long: `Read all of the store: whether its pages make a whole, and its counters and files
are what was written. What is wrong is printed, a line each, and then the exit
status is 1.`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, _ []string) error {
			problems, err := boltstore.Check(f.path)
			if err != nil {
				return f.explain(err)
			}
			if f.json {
				err := printJSON(cmd.OutOrStdout(), map[string]any{"file": f.path, "problems": append([]string{}, problems...)})
				if err != nil {
					return err
				}
			} else {
				for _, p := range problems {
					fmt.Fprintln(cmd.OutOrStdout(), p)
				}
			}
			if len(problems) > 0 {
				advice := "restore a backup"
				if s, err := f.open(); err == nil { // the pages are whole, what is in them is not
					s.Close()
					advice += ", or export what can still be read"
				}
				return fmt.Errorf("%s is damaged: %s", f.path, advice)
			}
			if !f.json {
				fmt.Fprintf(cmd.OutOrStdout(), "%s is sound\n", f.path)
			}
			return nil
		},
	}
}

func (f *storeFlags) compactCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compact",
		Short: "Rewrite the store without the room that is free in it",
		Long: `Rewrite the store without the room that is free in it, under another name that it
gets when it is whole and on disk. The file never shrinks by itself: what was
deleted leaves room for what is written next.`,
		Args: asUsed,
		RunE: func(cmd *cobra.Command, _ []string) error {
			before, after, err := boltstore.Compact(f.path)
			if err != nil {
				return f.explain(err)
			}
			return f.report(cmd, map[string]any{"file": f.path, "before": before, "after": after},
				"%s: %s, before %s", f.path, bytesText(after), bytesText(before))
		},
	}
}

func (f *storeFlags) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Tell how much is in the store",
		Args:  asUsed,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(func(s *boltstore.Store) error {
				stats, err := s.Stats()
				if err != nil {
					return err
				}
				if f.json {
					return printJSON(cmd.OutOrStdout(), statsJSON(f.path, stats))
				}
				out := cmd.OutOrStdout()
				fmt.Fprintf(out, "%s: %s, %s of it free\n", f.path, bytesText(stats.Size), bytesText(stats.Free))
				t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
				stats.Namespaces = slices.DeleteFunc(stats.Namespaces, func(ns boltstore.NamespaceStats) bool { return strings.HasPrefix(ns.Name, "_") })
				for i, ns := range stats.Namespaces {
					if i == 0 {
						fmt.Fprintln(t, "\nnamespace\tkeys\tcounters\tfiles\tsize")
					}
					fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\n", ns.Name, ns.Keys+ns.Other, ns.Counters, ns.Files, bytesText(ns.Bytes))
				}
				return t.Flush()
			})
		},
	}
}

// statsJSON is what stats prints as JSON.
func statsJSON(path string, stats boltstore.Stats) any {
	type namespace struct {
		Name     string `json:"name"`
		Keys     int    `json:"keys"`
		Counters int    `json:"counters"`
		Files    int    `json:"files"`
		Other    int    `json:"other"`
		Bytes    int64  `json:"bytes"`
	}
	list := []namespace{}
	for _, ns := range stats.Namespaces {
		list = append(list, namespace{ns.Name, ns.Keys, ns.Counters, ns.Files, ns.Other, ns.Bytes})
	}
	return map[string]any{"file": path, "size": stats.Size, "free": stats.Free, "namespaces": list}
}
