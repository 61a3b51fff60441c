package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
	"github.com/amphost/amphost/store/boltstore"
)

// serveFlags are what serve was told.
type serveFlags struct {
	host    string
	port    uint16
	plugins string
	store   string
	noWatch bool
	grace   time.Duration
	log     logFormat
	level   logLevel

	pluginsNamed bool // --plugins was given: it must be there
}

func serveCommand() *cobra.Command {
	f := serveFlags{log: logText, level: logLevel(slog.LevelInfo)}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the plugins of a directory",
		Long: `Serve the plugins of a directory over AMP, until Ctrl-C.

Every .js and .ts file in the directory is a plugin. Saving one replaces it: new
calls go to the new version, running ones finish on the old, connections stay. A
version with a mistake in it is shown and not served; the one before it stays.`,
		Example: `  amphost serve
  amphost serve --port 8750 --plugins plugins --store amphost.db
  amphost serve --host 0.0.0.0 --log-format json`,
		Args: func(_ *cobra.Command, words []string) error {
			if len(words) > 0 {
				return fmt.Errorf("serve takes no %q: the directory of plugins is named with --plugins", words[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.pluginsNamed = cmd.Flags().Changed("plugins")
			tuneGC()
			return serve(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.host, "host", "127.0.0.1", "`address` to listen on; 0.0.0.0 is all")
	flags.Uint16VarP(&f.port, "port", "p", defaultPort, "`port` to listen on; 0 picks a free one")
	flags.StringVar(&f.plugins, "plugins", "plugins", "`directory` of the plugins")
	flags.StringVar(&f.store, "store", "amphost.db", "`file` of what plugins keep")
	flags.BoolVar(&f.noWatch, "no-watch", false, "do not replace plugins as their files change")
	flags.DurationVar(&f.grace, "grace", 10*time.Second, "how long running calls get to finish at the end")
	flags.Var(&f.log, "log-format", "how the log is written: text or json")
	flags.Var(&f.level, "log-level", "what is logged: debug, info, warn or error, and above")
	return cmd
}

// serve opens the listener, the store and the plugins, serves until a signal,
// ctx or the store says to stop, and closes them in reverse.
func serve(ctx context.Context, f serveFlags, stdout, stderr io.Writer) (err error) {
	log := newLogger(stderr, f.log, slog.Level(f.level))
	ctx, restoreSignals := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer restoreSignals()

	if err := checkPlugins(f); err != nil {
		return err
	}
	// The listener comes first: a plugin that loads may already have effects,
	// and a port in use is the likeliest reason not to start.
	l, err := listen(ctx, f.host, f.port)
	if err != nil {
		return err
	}
	defer l.Close()

	st, err := boltstore.Open(f.store, nil)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := st.Close(); err == nil {
			err = closeErr
		}
	}()

	h, err := host.New(ctx, host.Config{
		Plugins: f.plugins,
		Watch:   !f.noWatch,
		Logger:  log,
		Script:  scripting.Options{Store: st},
	})
	if err != nil {
		return err
	}
	announce(stdout, log, f, l.Addr(), h.Plugins())

	var served error // why Serve returned; read after serving.Wait
	var serving sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	serving.Go(func() { // ends with Shutdown
		served = h.Serve(l)
		stop()
	})

	var failed error
	select {
	case <-ctx.Done():
	case <-st.Failed():
		failed = fmt.Errorf("the store has failed, start again once this is mended: %w", st.Err())
	}
	// From here on a signal has its usual effect: it ends the process at once.
	// What was answered is on disk all the same.
	restoreSignals()
	log.Info(fmt.Sprintf("stopping: running calls have %v to finish, a second signal ends them now", f.grace))
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.grace)
	defer cancel()
	switch err := h.Shutdown(limit); {
	case errors.Is(err, context.DeadlineExceeded):
		failed = cmp.Or(failed, fmt.Errorf("calls that had not finished after %v were cut off; --grace gives them longer", f.grace))
	case err != nil:
		failed = cmp.Or(failed, fmt.Errorf("stop: %w", err))
	}
	serving.Wait()
	if !errors.Is(served, amp.ErrServerClosed) {
		failed = cmp.Or(failed, fmt.Errorf("accept connections: %w", served))
	}
	if failed == nil {
		log.Info("stopped")
	}
	return failed
}

// checkPlugins makes sure that a directory that was asked for is there. The
// default one may appear later.
func checkPlugins(f serveFlags) error {
	info, err := os.Stat(f.plugins)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !f.pluginsNamed:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s: make it, or name the one with your plugins with --plugins", f.plugins)
	case err != nil:
		return fmt.Errorf("plugins: %w", err)
	case !info.IsDir():
		return fmt.Errorf("%s is a file: --plugins takes the directory that the plugins are in", f.plugins)
	}
	return nil
}

// listen is net.Listen with errors that say what to do.
func listen(ctx context.Context, host string, port uint16) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %d of %s is in use by another program: stop that one, or choose another with --port", port, host)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("port %d needs rights that you do not have: choose one above 1023 with --port", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("this machine does not have the address %s: choose one that it has with --host", host)
	case err != nil:
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}
