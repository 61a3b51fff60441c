package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/store/boltstore"
)

// serveFlags are what serve was told.
type serveFlags struct {
	host    string
	port    uint16
	listen  endpoints
	plugins string
	store   string
	quota   storeQuota
	control string
	watch   watchMode
	noWatch bool
	grace   time.Duration
	log     logFormat
	level   logLevel

	allowNet allowFlag
	allowEnv allowFlag
	limits   limits

	authorizers pluginNames

	strict bool

	settings *settingsFlag // the configuration file

	pluginsNamed bool // --plugins was given: it must be there
	portNamed    bool // --host or --port was given
}

func serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the plugins of a directory",
		Long: `Serve the plugins of a directory over AMP, until Ctrl-C.

Every .js and .ts file in the directory is a plugin. Saving one replaces it: new
calls go to the new version, running ones finish on the old, connections stay. A
version with a mistake in it is shown and not served; the one before it stays.

With --listen it accepts connections elsewhere, too: for commands, which are then
not answered at the default port, or with a name for what a plugin calls so: its
amp.boxReceiver, which takes whole boxes, or its amp.protocol, which takes bytes.`,
		Example: `  amphost serve
  amphost serve --port 8750 --plugins plugins --store amphost.db
  amphost serve --host 0.0.0.0 --log-format json
  amphost serve --listen unix:/run/amphost.sock --listen telnet=127.0.0.1:2323
  amphost serve --allow-net proxy=api.example.com:443,*.example.org:443 --allow-env proxy=API_KEY`,
		Args: func(_ *cobra.Command, words []string) error {
			if len(words) > 0 {
				return fmt.Errorf("serve takes no %q: the directory of plugins is named with --plugins", words[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.pluginsNamed = cmd.Flags().Changed("plugins")
			if f.noWatch {
				f.watch = watchOff
			}
			f.portNamed = cmd.Flags().Changed("host") || cmd.Flags().Changed("port")
			return serve(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	addServeFlags(cmd.Flags(), &f)
	return cmd
}

// addServeFlags defines the flags of serve, which has f filled.
func addServeFlags(flags *pflag.FlagSet, f *serveFlags) {
	f.limits = make(limits)
	f.log, f.level, f.watch = logText, logLevel(slog.LevelInfo), watchAuto
	f.allowNet = allowFlag{byPlugin: make(map[string][]string), what: "PATTERN", example: "proxy=api.example.com:443"}
	f.allowEnv = allowFlag{byPlugin: make(map[string][]string), what: "NAME", example: "proxy=API_KEY"}
	flags.StringVar(&f.host, "host", "127.0.0.1", "`address` to listen on; 0.0.0.0 is all")
	flags.Uint16VarP(&f.port, "port", "p", defaultPort, "`port` to listen on; 0 picks a free one")
	flags.Var(&f.listen, "listen", "accept connections at `[NAME=]ADDRESS`, too: host:port, tcp://host:port or unix:path; may be repeated")
	flags.Var(f.allowNet, "allow-net", "let a plugin connect to addresses: `PLUGIN=PATTERN,...`, a pattern being host:port, *.host:port, *:*, 10.0.0.0/8:port or unix:path; private and loopback addresses are named as such; may be repeated (default nowhere)")
	flags.Var(f.allowEnv, "allow-env", "let a plugin read variables of the environment: `PLUGIN=NAME,...`; may be repeated (default none)")
	flags.Var(&f.authorizers, "authorizers", "refuse every call that these `plugins` do not allow with amp.authorize, also while one is missing or broken: NAME,...; may be repeated")
	flags.StringVar(&f.plugins, "plugins", "plugins", "`directory` of the plugins")
	flags.StringVar(&f.store, "store", defaultStore, "`file` of what plugins keep")
	flags.Var(&f.quota, "store-quota", "how many `bytes` each plugin may keep, or NAME=BYTES for one; may be repeated (default no limit)")
	flags.StringVar(&f.control, "control", "", "control `socket`, by which amphost plugins, stats, reload, rollback and store backup reach this server, or off (default the store's name and .sock)")
	flags.Var(f.limits, "limit", "a limit, as `NAME=VALUE`, such as connections=1000; docs/configuration.md lists them; may be repeated")
	flags.BoolVar(&f.strict, "strict", false, "behave as Twisted does where amphost knows better: errors that are not declared, and bad arguments, close the connection")
	flags.Var(&f.watch, "watch", "how changes of plugins are noticed: auto by the file system's events, and by looking where these do not come; poll by looking; off not at all, but for amphost reload and SIGHUP")
	flags.BoolVar(&f.noWatch, "no-watch", false, "as --watch=off")
	flags.DurationVar(&f.grace, "grace", 10*time.Second, "how long running calls get to finish at the end")
	flags.Var(&f.log, "log-format", "how the log is written: text or json")
	flags.Var(&f.level, "log-level", "what is logged: debug, info, warn or error, and above")
	f.settings = addConfigFlag(flags)
}

// newServeFlags returns the flags of serve, to be asked about.
func newServeFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addServeFlags(flags, new(serveFlags))
	return flags
}

// serve opens the listener, the store and the plugins, serves until a signal,
// ctx or the store says to stop, and closes them in reverse.
func serve(ctx context.Context, f serveFlags, stdout, stderr io.Writer) (err error) {
	level := new(slog.LevelVar)
	level.Set(slog.Level(f.level))
	log := newLogger(stderr, f.log, level)
	ctx, restoreSignals := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer restoreSignals()
	// After the first signal another one has its usual effect: it ends the process
	// at once. What was answered is on disk all the same.
	defer context.AfterFunc(ctx, restoreSignals)()

	if err := checkPlugins(f); err != nil {
		return err
	}
	// The listeners come first: a plugin that loads may already have effects,
	// and a port in use is the likeliest reason not to start.
	ends, err := listenAll(ctx, f, log)
	if err != nil {
		return err
	}
	defer ends.close()

	st, err := boltstore.Open(f.store, &boltstore.Options{Quota: f.quota.all, Quotas: f.quota.single})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := st.Close(); err == nil {
			err = closeErr
		}
	}()
	ctl, err := openControl(controlPath(f.control, f.store), log)
	if err != nil {
		return err
	}
	defer ctl.close()
	handleBackup(&ctl.mux, st)

	config := f.hostConfig(log)
	host.TuneGC(config.Script.MemoryLimit)
	config.Script.Store = st
	h, err := host.New(ctx, config)
	if err != nil && ctx.Err() != nil {
		log.Info("stopped while plugins were loading")
		return nil
	}
	if err != nil {
		return err
	}
	handlePlugins(&ctl.mux, h)
	handleReload(&ctl.mux, h)
	handleStats(&ctl.mux, h)
	ctl.serve()
	announce(stdout, log, f, ends, h.Plugins())

	served := make([]error, len(ends)) // why Serve returned; read after serving.Wait
	var serving sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := &running{host: h, log: log, level: level, now: f}
	r.grace.Store(int64(f.grace))
	serving.Go(func() { r.reloadOnHangup(ctx) }) // ends with ctx
	for i, p := range ends {
		serving.Go(func() { // ends with Shutdown
			served[i] = p.serve(h)
			stop()
		})
	}

	var failed error
	select {
	case <-ctx.Done():
	case <-st.Failed():
		failed = fmt.Errorf("the store has failed, start again once this is mended: %w", st.Err())
	}
	restoreSignals() // also if it was the store
	grace := r.graceNow()
	log.Info(fmt.Sprintf("stopping: running calls have %v to finish, a second signal ends them now", grace))
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	switch err := h.Shutdown(limit); {
	case errors.Is(err, context.DeadlineExceeded):
		failed = cmp.Or(failed, fmt.Errorf("calls that had not finished after %v were cut off; --grace gives them longer", grace))
	case err != nil:
		failed = cmp.Or(failed, fmt.Errorf("stop: %w", err))
	}
	serving.Wait()
	for _, err := range served {
		if !errors.Is(err, amp.ErrServerClosed) {
			failed = cmp.Or(failed, fmt.Errorf("accept connections: %w", err))
		}
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
