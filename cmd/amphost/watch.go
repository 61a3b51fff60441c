package main

import (
	"errors"
	"slices"
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
