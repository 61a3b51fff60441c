package scripting

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How changes are gathered: see settle.
const (
	gatherTime = 10 * time.Millisecond  // files saved together
	quietTime  = 100 * time.Millisecond // nobody writes any more
	quietMost  = 2 * time.Second        // but look again at last
	pollTime   = 2 * time.Second        // for what no event tells of
)

// Watch replaces plugins as their files change, until ctx ends; then it
// returns nil. It listens to the file system's events, and looks at the files
// every two seconds besides: events do not come from network and container
// mounts, nor once the system has no watches left.
func (d *Dir) Watch(ctx context.Context) error {
	changes := make(chan string, 64)
	done := make(chan struct{})
	go func() { // ends with ctx; Watch waits below
		defer close(done)
		d.listen(ctx, changes)
	}()
	settle(ctx, changes, func(paths map[string]bool, eager bool) (all bool) {
		return d.look(ctx, change{paths: paths, eager: eager})
	})
	<-done
	return nil
}

// look applies a change. It is false if something was left for later.
func (d *Dir) look(ctx context.Context, ch change) bool {
	result, err := d.apply(ctx, ch)
	if err != nil {
		d.lost(err)
		return true
	}
	d.mu.Lock()
	d.gone = false
	d.mu.Unlock()
	for _, err := range result {
		if errors.Is(err, errLater) {
			return false
		}
	}
	return true
}

// lost tells, once, that the directory can't be read. What runs goes on: it is
// usual to remove a directory and make it anew.
func (d *Dir) lost(err error) {
	d.mu.Lock()
	tell := len(d.status) > 0 && !d.gone && errors.Is(err, fs.ErrNotExist)
	d.gone = d.gone || tell
	d.mu.Unlock()
	if tell {
		d.opts.Logger.Warn("the plugin directory is gone: its plugins go on until it is back", "path", displayPath(d.path))
	}
}

// settle gathers the paths that come from changes, and has them looked at. The
// first look is eager, as soon as files that are saved together have come. If
// that leaves something for later, because it is half written or belongs to
// something that is, the next look is when nothing has come for a while.
func settle(ctx context.Context, changes <-chan string, look func(paths map[string]bool, eager bool) (all bool)) {
	for {
		paths := make(map[string]bool)
		select {
		case <-ctx.Done():
			return
		case path := <-changes:
			paths[path] = true
		}
		began := time.Now()
		if !gather(ctx, changes, paths, gatherTime, began.Add(gatherTime)) {
			return
		}
		if look(maps.Clone(paths), true) {
			continue
		}
		if !gather(ctx, changes, paths, quietTime, began.Add(quietMost)) {
			return
		}
		look(paths, false)
	}
}

// gather adds to paths until none has come for the time quiet, or until last.
// It is false if ctx has ended.
func gather(ctx context.Context, changes <-chan string, paths map[string]bool, quiet time.Duration, last time.Time) bool {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case path := <-changes:
			paths[path] = true
			timer.Reset(min(quiet, time.Until(last)))
		case <-timer.C:
			return true
		}
	}
}

// listen sends the paths that may have changed.
func (d *Dir) listen(ctx context.Context, changes chan<- string) {
	send := func(path string) {
		select {
		case changes <- path:
		case <-ctx.Done():
		}
	}
	var events chan fsnotify.Event
	var failures chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		d.opts.Logger.Warn("file events are not to be had: looking at the plugins every two seconds", "error", err)
	} else {
		defer watcher.Close()
		events, failures = watcher.Events, watcher.Errors
	}
	full := false // no more watches: told once
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		if watcher != nil {
			grown, err := d.rewatch(watcher)
			if err != nil && !full {
				full = true
				d.opts.Logger.Warn("the system has no more file watches (see fs.inotify.max_user_watches): looking at the plugins every two seconds", "error", err)
			}
			if grown {
				send("") // what came before the watch
			}
		}
		select {
		case <-ctx.Done():
			return
		case event := <-events:
			if event.Op&^fsnotify.Chmod != 0 {
				send(event.Name)
			}
		case <-failures: // an overflow: anything may have changed
			send("")
		case <-poll.C:
			if d.stale() {
				send("")
			}
		}
	}
}

// rewatch watches the directories that matter now, and only these. grown is
// true if there is a new one.
func (d *Dir) rewatch(w *fsnotify.Watcher) (grown bool, err error) {
	want := make(map[string]bool)
	d.mu.Lock()
	for _, dir := range d.watched {
		want[dir] = true
	}
	d.mu.Unlock()
	want[d.path] = true
	if list, err := os.ReadDir(d.path); err == nil {
		for _, e := range list {
			if e.IsDir() && !ignored(e.Name()) {
				want[filepath.Join(d.path, e.Name())] = true
			}
		}
	} else {
		want[existing(d.path)] = true
	}
	have := w.WatchList()
	for _, dir := range have {
		if !want[dir] {
			_ = w.Remove(dir) // it may be gone already
		}
	}
	for dir := range want {
		if slices.Contains(have, dir) {
			continue
		}
		switch e := w.Add(dir); {
		case e == nil:
			grown = true
		case errors.Is(e, fs.ErrNotExist):
			// Its parent is watched, or polling finds it.
		default:
			err = e
		}
	}
	return grown, err
}

// existing returns the nearest directory above a path that is there.
func existing(path string) string {
	for {
		parent := filepath.Dir(path)
		if _, err := os.Stat(parent); err == nil || parent == path {
			return parent
		}
		path = parent
	}
}

// stale reports whether a look would find something: a plugin that is new, or
// gone, or whose files differ.
func (d *Dir) stale() bool {
	select {
	case d.turn <- struct{}{}:
	default:
		return false // somebody is looking
	}
	defer func() { <-d.turn }()
	list, err := discover(d.path)
	if err != nil {
		return false
	}
	for name, f := range list {
		e := d.entries[name]
		if e == nil || e.path != f.path || e.changed(nil) {
			return true
		}
	}
	return len(d.entries) != len(list)
}
