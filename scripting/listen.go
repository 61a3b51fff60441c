package scripting

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How often a listener looks at the files itself, at most.
const (
	pollTime = 500 * time.Millisecond // where events do not come
	spotTime = 2 * time.Second        // where they do, to make sure of it
)

// A listener tells of paths that may have changed: from the file system's
// events, or from what it finds when it looks.
type listener struct {
	dir    *Dir
	events *fsnotify.Watcher // nil to do without
	every  time.Duration     // how often it looks itself; zero for pollTime or spotTime

	moved atomic.Bool // a directory has come or gone: rewatch
	full  atomic.Bool // the system has no more watches

	have map[string]os.FileInfo // the directories that are watched; only rewatch
	seen int                    // of which interest they are; only rewatch

	mu    sync.Mutex      // guards the field below
	leads map[string]bool // directories that are watched, or would be if they were there
}

// newListener returns a listener to events, if they are to be had.
func newListener(d *Dir) *listener {
	l := &listener{dir: d, have: make(map[string]os.FileInfo)}
	var err error
	if l.events, err = fsnotify.NewWatcher(); err != nil {
		d.opts.Logger.Warn("file events are not to be had (see fs.inotify.max_user_instances): looking at the plugins every half second instead", "error", err)
	}
	return l
}

func (l *listener) close() {
	if l.events != nil {
		_ = l.events.Close()
	}
}

// listen sends the paths that may have changed, and "" if it is not known which,
// until ctx ends.
func (l *listener) listen(ctx context.Context, changes chan<- string) {
	send := func(path string) {
		select {
		case changes <- path:
		case <-ctx.Done():
		}
	}
	var events chan fsnotify.Event
	var failures chan error
	if l.events != nil {
		events, failures = l.events.Events, l.events.Errors
	}
	blind := events == nil // events do not come
	missed := false        // the last look has found what no event had told of
	var last time.Time     // of the last event
	poll := time.NewTimer(cmp.Or(l.every, pollTime))
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.dir.again:
			send("")
		case event := <-events:
			blind, missed, last = false, false, time.Now()
			if event.Op&^fsnotify.Chmod != 0 && l.matters(event.Name) {
				send(event.Name)
			}
		case <-failures: // an overflow: anything may have changed
			send("")
		case <-poll.C:
			began := time.Now()
			stale := l.dir.stale()
			if stale {
				send("")
			}
			if missed && !blind {
				// There has been time enough for events.
				blind = true
				l.dir.opts.Logger.Info("file events do not come, as is usual for network and container mounts: looking at the plugins every half second", "path", displayPath(l.dir.path))
			}
			missed = stale && time.Since(last) > spotTime
			every := spotTime
			if blind || l.full.Load() {
				every = pollTime
			}
			if l.every > 0 {
				every = l.every
			}
			poll.Reset(max(every, 20*time.Since(began))) // a twentieth of a processor, at most
		}
	}
}

// matters reports whether an event is about something that plugins depend on.
func (l *listener) matters(path string) bool {
	l.mu.Lock()
	lead := l.leads[path]
	l.mu.Unlock()
	if lead {
		l.moved.Store(true)
		return true
	}
	l.dir.mu.Lock()
	in := l.dir.watched
	l.dir.mu.Unlock()
	return in.in(path)
}

// rewatch watches the directories that matter now, those on the way to them, and
// only these. It is true if there is a new one, in which something may have
// happened before it was watched.
func (l *listener) rewatch() (grown bool) {
	l.dir.mu.Lock()
	in := l.dir.watched
	l.dir.mu.Unlock()
	if l.events == nil || !l.moved.Swap(false) && l.seen == in.version && !l.full.Load() {
		return false
	}
	l.seen = in.version
	want, leads := make(map[string]os.FileInfo), make(map[string]bool)
	for dir := range in.dirs {
		for dir == l.dir.path || !above(dir, l.dir.path) {
			if leads[dir] {
				break
			}
			leads[dir] = true
			info, err := os.Stat(dir)
			if err == nil {
				want[dir] = info
			}
			dir = filepath.Dir(dir)
		}
	}
	// And what is nearest above the plugins, in which they may appear.
	for dir := filepath.Dir(l.dir.path); ; dir = filepath.Dir(dir) {
		leads[dir] = true
		if info, err := os.Stat(dir); err == nil {
			want[dir] = info
			break
		}
		if filepath.Dir(dir) == dir {
			break
		}
	}
	l.mu.Lock()
	l.leads = leads
	l.mu.Unlock()

	watched := make(map[string]bool)
	for _, dir := range l.events.WatchList() {
		watched[dir] = true
		if want[dir] == nil {
			_ = l.events.Remove(dir) // it may be gone already
		}
	}
	full := false
	for dir, info := range want {
		if watched[dir] && os.SameFile(info, l.have[dir]) {
			continue
		}
		if watched[dir] { // another directory of that name
			_ = l.events.Remove(dir)
		}
		switch err := l.events.Add(dir); {
		case err == nil:
			grown = true
		case errors.Is(err, fs.ErrNotExist):
			// Gone again, of which an event has told.
			delete(want, dir)
		default:
			delete(want, dir)
			full = true
			if !l.full.Load() {
				l.dir.opts.Logger.Warn("the system has no more file watches (see fs.inotify.max_user_watches): looking at the plugins every half second instead", "error", err)
			}
		}
		if full {
			break
		}
	}
	l.full.Store(full)
	l.have = want
	return grown
}

// above reports whether dir is path, or a directory above it.
func above(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
