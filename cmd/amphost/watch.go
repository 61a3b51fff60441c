package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/amphost/amphost/host"
)

// A watchMode is how changes of plugins are noticed: the value of --watch.
type watchMode string

const (
	watchAuto watchMode = "auto"
	watchPoll watchMode = "poll"
	watchOff  watchMode = "off"
)

// String implements pflag.Value.
func (w *watchMode) String() string { return string(*w) }

// Type implements pflag.Value.
func (w *watchMode) Type() string { return "mode" }

// choices are the values there are, for the configuration's schema.
func (w *watchMode) choices() []string {
	return []string{string(watchAuto), string(watchPoll), string(watchOff)}
}

// Set implements pflag.Value.
func (w *watchMode) Set(text string) error {
	if !slices.Contains(w.choices(), text) {
		return errors.New("there is auto, poll and off")
	}
	*w = watchMode(text)
	return nil
}

// reloadOnHangup looks at all plugins whenever the process is sent a SIGHUP,
// until ctx ends. What comes of it is in the log.
func reloadOnHangup(ctx context.Context, h *host.Host, log *slog.Logger) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			switch err := h.Reload(ctx, ""); {
			case err == nil:
				log.Info("looked at all plugins, as SIGHUP asks for")
			case ctx.Err() == nil:
				log.Warn("looked at all plugins, as SIGHUP asks for: not all are what their files are now, see amphost plugins")
			}
		}
	}
}
