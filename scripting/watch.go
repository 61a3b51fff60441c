package scripting

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"time"
)

// How changes are gathered: see settle.
const (
	gatherTime = 10 * time.Millisecond  // files saved together come closer than this
	gatherMost = 100 * time.Millisecond // a longer stream of them is no single save
	quietTime  = 100 * time.Millisecond // nobody writes any more
	quietMost  = 2 * time.Second        // but look again at last
)

// Watch replaces plugins as their files change, until ctx ends; then it
// returns nil. It listens to the file system's events. Where they do not come,
// which is usual for network and container mounts, or the system has no
// watches left, it looks at the files every half second instead.
func (d *Dir) Watch(ctx context.Context) error { return d.watch(ctx, newListener(d)) }

// Poll is Watch without the file system's events: it looks at the files every
// half second.
func (d *Dir) Poll(ctx context.Context) error { return d.watch(ctx, &listener{dir: d}) }

func (d *Dir) watch(ctx context.Context, l *listener) error {
	changes := make(chan string, 64)
	done := make(chan struct{})
	defer l.close()
	l.rewatch()
	go func() { // ends with ctx; waited for below
		defer close(done)
		l.listen(ctx, changes)
	}()
	d.lookAgain() // at what has changed before the watch
	settle(ctx, changes, func(paths map[string]bool, eager bool) (all bool) {
		all = d.look(ctx, change{paths: paths, eager: eager})
		if l.rewatch() {
			d.lookAgain() // at what has come before the watch
		}
		return all
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
		if err == errLater {
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
// something that is, the next look is when nothing has come for a while. Where
// a stream of changes does not pause there is no eager look, and where it pauses
// for moments only the next look is in one of them: between two changes that
// follow each other closely a file may be empty, or not there.
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
		paused := gather(ctx, changes, paths, gatherTime, began.Add(gatherMost))
		if paused && look(maps.Clone(paths), true) {
			continue
		}
		for again := true; again && ctx.Err() == nil; began = time.Now() {
			if !gather(ctx, changes, paths, quietTime, began.Add(quietMost)) {
				gather(ctx, changes, paths, gatherTime, began.Add(2*quietMost))
			}
			again = ctx.Err() == nil && !look(maps.Clone(paths), false)
		}
	}
}

// gather adds to paths until none has come for the time quiet, or until last,
// or ctx ends. It is true in the first case.
func gather(ctx context.Context, changes <-chan string, paths map[string]bool, quiet time.Duration, last time.Time) bool {
	pause := time.NewTimer(quiet)
	defer pause.Stop()
	end := time.NewTimer(time.Until(last))
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-end.C:
			return false
		case path := <-changes:
			paths[path] = true
			pause.Reset(quiet)
		case <-pause.C:
			return true
		}
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
	list, _, err := discover(d.path)
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.status) > 0 && !d.gone
	}
	for name, f := range list {
		e := d.entries[name]
		// What has no stamps is looked at soon anyway.
		if e == nil || e.path != f.path || f.err == nil && e.stamps != nil && e.changed(nil) {
			return true
		}
	}
	return len(d.entries) != len(list)
}

// An interest is what Watch cares for.
type interest struct {
	version int
	files   map[string]bool // that plugins were built from, or wait for
	dirs    map[string]bool // in which they are, and in which a plugin may appear
}

// in reports whether something that happened to a path may matter.
func (i interest) in(path string) bool {
	if !i.dirs[filepath.Dir(path)] {
		return false
	}
	base := filepath.Base(path)
	return !ignored(base) || i.files[path] || i.files[path[:len(path)-len(filepath.Ext(base))]] ||
		len(base) > 2 && base[:2] == ".." // Kubernetes replaces a ConfigMap's files by moving ..data
}
