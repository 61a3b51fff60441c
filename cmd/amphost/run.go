package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/scripting"
	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/boltstore"
)

func runCommand() *cobra.Command {
	var storePath string
	cmd := &cobra.Command{
		Use:   "run SCRIPT [ARGUMENT ...]",
		Short: "Run a script as a program",
		Long: `Run a script, JavaScript or TypeScript, as a program with what plugins have and
amp.args, amp.exit(status) and amp.listen(address) besides. It may connect to any
address and read the environment. console.log writes to stdout; console.warn and console.error to stderr.

The program ends when nothing is left to do: no timer, call, connection or
listener. The exit status is then 0, or what amp.exit was given; an error that
nobody caught is shown and makes it 1.

What it keeps in amp.store is gone when it ends, unless --store names a file.`,
		Example: `  amphost run client.js
  amphost run client.ts 127.0.0.1:8750 --verbose
  amphost run --store notes.db notes.js`,
		Args: func(_ *cobra.Command, words []string) error {
			if len(words) == 0 {
				return errors.New("run takes the script to run")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			return runScript(cmd.Context(), words[0], words[1:], storePath, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the script is the script's
	cmd.Flags().StringVar(&storePath, "store", "", "`file` of what the script keeps; without it, nothing is kept")
	return cmd
}

// An exitStatus is an error that was shown already: what is left of it is the
// exit status.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// runScript runs a script to its end.
func runScript(ctx context.Context, path string, args []string, storePath string, stdout, stderr io.Writer) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var waiting sync.WaitGroup
	waiting.Go(func() { // ends with ctx
		select {
		case s := <-signals:
			cancel(interrupted(s))
		case <-ctx.Done():
		}
	})
	defer waiting.Wait()
	defer cancel(nil)
	defer signal.Stop(signals)

	prog, err := scripting.BuildScript(path)
	if err != nil {
		return shown(stderr, err)
	}
	for _, w := range prog.Warnings {
		fmt.Fprintf(stderr, "amphost: warning: %s\n", w)
	}
	var st store.Store = store.NewMem()
	if storePath != "" {
		if st, err = boltstore.Open(storePath, nil); err != nil {
			return err
		}
	}
	defer func() {
		if closeErr := st.Close(); err == nil {
			err = closeErr
		}
	}()
	status, err := scripting.Run(ctx, prog, args, &scripting.Options{
		Store:  st,
		Logger: slog.New(&programLog{out: &programOutput{stdout: stdout, stderr: stderr}}),
		Net:    func(string, string, netip.Addr) error { return nil },
		Env:    func(string, string) error { return nil },
	})
	switch {
	case err != nil:
		return shown(stderr, err)
	case status != 0:
		return exitStatus(status)
	}
	return nil
}

// interrupted is how a program ends that a signal has ended, as shells have it.
func interrupted(s os.Signal) exitStatus {
	if n, ok := s.(syscall.Signal); ok {
		return exitStatus(128 + int(n))
	}
	return exitFailure
}

// shown shows a script's error with all that is known of it.
func shown(stderr io.Writer, err error) error {
	if status, ok := errors.AsType[exitStatus](err); ok {
		return status
	}
	f, ok := errors.AsType[*scripting.Error](err)
	var whole formatter = f
	if b, is := errors.AsType[*scripting.BuildError](err); is {
		whole, ok = b, true
	}
	if !ok {
		return err
	}
	fmt.Fprintln(stderr, whole.Format(wantsColor(stderr)))
	return exitStatus(exitFailure)
}

// A programLog is what a running script says: what console writes goes to
// stdout, warnings, errors and what else there is to say to stderr.
type programLog struct{ out *programOutput }

type programOutput struct {
	mu             sync.Mutex // held while one record is written: lines stay whole
	stdout, stderr io.Writer
}

// Enabled implements slog.Handler.
func (*programLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelDebug }

// WithAttrs implements slog.Handler: which script this is need not be said.
func (h *programLog) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler.
func (h *programLog) WithGroup(string) slog.Handler { return h }

// Handle implements slog.Handler.
func (h *programLog) Handle(_ context.Context, r slog.Record) error {
	w := h.out.stdout
	if r.Level >= slog.LevelWarn {
		w = h.out.stderr
	}
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "command", "tag", "conn", "peer", "protocol": // whose call it was that spoke
			return true
		}
		if f, ok := a.Value.Any().(formatter); ok {
			b.WriteString(": " + f.Format(wantsColor(w)))
		} else {
			fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		}
		return true
	})
	b.WriteByte('\n')
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := io.WriteString(w, b.String())
	return err
}

// wantsColor reports whether w is a terminal that wants colours.
func wantsColor(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
