package main

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
)

// A running is a server that may be told other settings than it began with.
type running struct {
	host  *host.Host
	log   *slog.Logger
	level *slog.LevelVar
	grace atomic.Int64 // a time.Duration
	now   serveFlags   // the settings that hold; only reloadOnHangup
}

// reloadOnHangup reads the configuration again and looks at all plugins whenever
// the process is sent a SIGHUP, until ctx ends. What comes of it is in the log.
func (r *running) reloadOnHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			r.reconfigure(ctx)
		}
	}
}

// reconfigure has what can change become what the configuration says now, and
// tells what needs a restart. A mistake in it changes nothing.
func (r *running) reconfigure(ctx context.Context) {
	var config host.Config
	next, err := r.now.again()
	if err == nil {
		config = next.hostConfig(r.log)
		err = config.Check()
	}
	var failed error
	if err != nil {
		r.log.Error("the configuration has a mistake, and the one before goes on", "error", err)
		failed = r.host.Reload(ctx, "")
	} else {
		r.take(next)
		failed = r.host.Reconfigure(ctx, config)
	}
	switch {
	case failed == nil:
		r.log.Info("looked at all plugins, as SIGHUP asks for")
	case ctx.Err() == nil:
		r.log.Warn("looked at all plugins, as SIGHUP asks for: not all are what their files are now, see amphost plugins")
	}
}

// take has what the host does not hold become what next says.
func (r *running) take(next *serveFlags) {
	changed, restart := r.now.changes(next)
	r.takeListeners(next)
	r.level.Set(slog.Level(next.level))
	r.grace.Store(int64(next.grace))
	if len(changed) > 0 {
		r.log.Info("the configuration has changed", "now", strings.Join(changed, " "))
	}
	if len(restart) > 0 {
		r.log.Warn("the configuration has changed in what holds only once amphost is restarted", "settings", strings.Join(restart, " "))
	}
	// What needs a restart is told again next time, until that is done.
	r.now.level, r.now.grace, r.now.allowNet, r.now.allowEnv = next.level, next.grace, next.allowNet, next.allowEnv
	r.now.settings.plugins = next.settings.plugins
	for name, k := range knownLimits {
		if value, given := next.limits[name]; k.live && given {
			r.now.limits[name] = value
		} else if k.live {
			delete(r.now.limits, name)
		}
	}
}

// takeListeners has listeners that are there follow the rules they have now, and
// tells which of them need a restart.
func (r *running) takeListeners(next *serveFlags) {
	left := slices.Clone(next.listen)
	var gone endpoints
	for _, p := range r.now.listen {
		i := slices.IndexFunc(left, p.sameSocket)
		if i < 0 {
			gone = append(gone, p)
			continue
		}
		n := left[i]
		left = slices.Delete(left, i, i+1)
		opts := n.opts
		opts.TLS = p.opts.TLS
		if reflect.DeepEqual(p.opts, opts) {
			continue
		}
		if err := r.host.SetListener(p.listener, opts); err != nil {
			r.log.Error("the listener goes on as it was", "error", err)
			continue
		}
		p.opts = opts
		r.log.Info("the listener has changed", "address", p.text())
	}
	for _, p := range gone {
		at := slices.IndexFunc(left, func(n *endpoint) bool { return n.network == p.network && n.address == p.address })
		if at < 0 {
			r.log.Warn("a listener is not in the configuration any more: it is closed once amphost is restarted", "address", p.text())
			continue
		}
		r.log.Warn("the name, TLS, files, mode or owner of a listener have changed: that holds once amphost is restarted", "address", p.text(), "where", left[at].said("address"))
		left = slices.Delete(left, at, at+1)
	}
	for _, n := range left {
		r.log.Warn("a listener is new in the configuration: it is opened once amphost is restarted", "address", n.address, "where", n.said("address"))
	}
}

// sameSocket reports whether another endpoint differs from p in nothing but who
// may do what.
func (p *endpoint) sameSocket(o *endpoint) bool {
	return p.network == o.network && p.address == o.address && p.secure == o.secure && p.opts.Name == o.opts.Name &&
		p.mode == o.mode && p.owner == o.owner &&
		p.files.Certificate == o.files.Certificate && p.files.Key == o.files.Key && p.files.ClientCA == o.files.ClientCA
}

// again returns the settings as they are found now, with the same command line.
func (f *serveFlags) again() (*serveFlags, error) {
	next := new(serveFlags)
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addServeFlags(flags, next)
	for name, texts := range f.settings.given {
		for _, text := range texts {
			if err := flags.Set(name, text); err != nil {
				return nil, err
			}
		}
	}
	err := settle(flags)
	if next.noWatch {
		next.watch = watchOff
	}
	return next, err
}

// changes names the settings that differ in next: those that change now, and
// those that need a restart. Listeners are not among them.
func (f *serveFlags) changes(next *serveFlags) (now, restart []string) {
	before, after := f.texts(), next.texts()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if before[name] == after[name] {
			continue
		}
		switch name {
		case "listen", "config", "limit":
		case "log-level", "grace", "allow-net", "allow-env":
			now = append(now, name)
		default:
			restart = append(restart, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(knownLimits)) {
		switch k := knownLimits[name]; {
		case f.limits[name] == next.limits[name]:
		case k.live:
			now = append(now, "limits."+name)
		default:
			restart = append(restart, "limits."+name)
		}
	}
	names := slices.Sorted(maps.Keys(f.settings.plugins))
	for name := range next.settings.plugins {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if !reflect.DeepEqual(f.settings.plugins[name], next.settings.plugins[name]) {
			now = append(now, "plugins."+name)
		}
	}
	return now, restart
}

// texts are the settings as they would be given, by the flag's name.
func (f *serveFlags) texts() map[string]string {
	flags, shown := pflag.NewFlagSet("serve", pflag.ContinueOnError), new(serveFlags)
	addServeFlags(flags, shown)
	*shown = *f
	shown.settings = nil
	list := make(map[string]string)
	flags.VisitAll(func(flag *pflag.Flag) {
		if v, ok := flag.Value.(repeated); ok {
			list[flag.Name] = strings.Join(v.given(), " ")
		} else {
			list[flag.Name] = flag.Value.String()
		}
	})
	// The values of these flags are maps, and so not behind shown.
	list["allow-net"], list["allow-env"] = strings.Join(f.allowNet.given(), " "), strings.Join(f.allowEnv.given(), " ")
	return list
}

// hostConfig is the host's part of the settings that a running server may be
// given anew, or a new one begins with.
func (f *serveFlags) hostConfig(log *slog.Logger) host.Config {
	config := host.Config{
		Plugins:  f.plugins,
		Watch:    f.watch != watchOff,
		Poll:     f.watch == watchPoll,
		AllowNet: f.allowNet.byPlugin,
		AllowEnv: f.allowEnv.byPlugin,

		Authorizers: f.authorizers,

		Logger: log,
		Script: scripting.Options{Config: f.settings.plugins},
	}
	config.Conn.Strict = f.strict
	f.limits.apply(&config)
	return config
}

// graceNow is how long running calls get to finish.
func (r *running) graceNow() time.Duration { return time.Duration(r.grace.Load()) }
