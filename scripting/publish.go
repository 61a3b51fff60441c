package scripting

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amphost/amphost/amp"
)

// A change is what apply is asked to look for. The zero change is whatever
// differs from the last time.
type change struct {
	name  string          // look at this plugin only, and build it in any case
	paths map[string]bool // files that were written, as far as known
	// eager means that somebody may still be writing: publish what is good, or
	// nothing if something looks half done.
	eager bool
}

// A candidate is a plugin that may get a new generation.
type candidate struct {
	entry   *entry
	found   found
	prog    *Program
	plugin  *Plugin // started, not published
	err     error
	removed bool
	same    bool // it runs already
	again   bool // nothing of it has changed, but what it failed of may have
	taken   bool // err is that another plugin has one of its names
	back    bool // prog is not what the files are now: it was rolled back to
	began   time.Time
}

// apply brings the plugins in line with the directory. Everything that is
// ready is published by one swap of the table. The result has, for each plugin
// that was looked at closely, nil or why its old generation goes on.
func (d *Dir) apply(ctx context.Context, ch change) (map[string]error, error) {
	if err := d.take(ctx); err != nil {
		return nil, err
	}
	defer func() { <-d.turn }()
	result := make(map[string]error)
	batch := d.edited(ch)
	if batch == nil {
		list, folders, err := discover(d.path)
		if err != nil {
			d.noteInterest()
			return nil, fmt.Errorf("plugin directory %s: %w", displayPath(d.path), pathError(err))
		}
		if !slices.Equal(folders, d.folders) {
			d.folders = folders
			d.noteInterest()
		}
		batch = d.candidates(ch, list, result)
	}
	d.build(batch)
	if ch.eager && slices.ContainsFunc(batch, (*candidate).unfinished) || ch.paths != nil && slices.ContainsFunc(batch, (*candidate).emptied) {
		return d.putOff(batch, result), nil
	}
	d.start(ctx, batch)
	d.refuse(batch)
	if ctx.Err() != nil {
		d.putOff(batch, result)
		return nil, context.Cause(ctx)
	}
	if ch.eager && (slices.ContainsFunc(batch, (*candidate).unfinished) || vanished(batch)) {
		return d.putOff(batch, result), nil
	}
	d.publish(batch, result)
	return result, nil
}

// take waits for turn.
func (d *Dir) take(ctx context.Context) error {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		<-d.turn
		return amp.ErrShuttingDown
	}
	return nil
}

var (
	// errLater says that a plugin was left alone for now.
	errLater = errors.New("left alone until its files are quiet")

	// errDraining says that a plugin can't have a new generation yet.
	errDraining = fmt.Errorf("%d versions of it still have calls in flight: a new one has to wait until one of them has ended", maxDraining)
)

// pathError takes the repeated path out of an error of package os.
func pathError(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// candidates picks the plugins to look at closely, in order of name. What has to
// wait until generations have drained goes into result.
func (d *Dir) candidates(ch change, list map[string]found, result map[string]error) []*candidate {
	var out, again []*candidate
	for _, name := range sortedKeys(list) {
		f := list[name]
		e := d.entries[name]
		if e == nil && (ch.name == "" || ch.name == name) {
			if e = d.past[name]; e == nil {
				e = &entry{name: name}
				d.remember(e)
			}
			delete(d.past, name)
			d.entries[name] = e
		}
		if e == nil {
			continue
		}
		same := f.err != nil && e.err != nil && f.err.Error() == e.err.Error() && ch.name != name
		look := !same && (ch.name == name || ch.name == "" && (f.err != nil || e.path != f.path || e.changed(ch.paths)))
		if !look && !same && !e.taken {
			continue
		}
		c := &candidate{entry: e, found: f, err: f.err, again: !look, began: time.Now()}
		if look {
			out = append(out, c)
		} else {
			again = append(again, c)
		}
	}
	for _, name := range sortedKeys(d.entries) {
		if _, there := list[name]; !there && (ch.name == "" || ch.name == name) {
			out = append(out, &candidate{entry: d.entries[name], removed: true, began: time.Now()})
		}
	}
	out = slices.DeleteFunc(out, func(c *candidate) bool {
		if !d.mustWait(c.entry) {
			return false
		}
		c.entry.stamps = nil // look again
		result[c.entry.name] = errDraining
		return true
	})
	again = slices.DeleteFunc(again, func(c *candidate) bool { return d.mustWait(c.entry) })
	if len(out) > 0 { // what has failed because of another may not do so any more
		out = append(out, again...)
		slices.SortStableFunc(out, func(a, b *candidate) int { return strings.Compare(a.entry.name, b.entry.name) })
	}
	return out
}

// edited are the candidates of a change that is what it usually is: files were
// saved that plugins which run are made of, and that is known of no other. Then
// the other plugins need not be looked at, which takes long where there are many;
// whatever no event has told of is found by a listener's own look. It is nil if
// the change may be something else.
func (d *Dir) edited(ch change) []*candidate {
	if !ch.eager {
		return nil
	}
	var out []*candidate
	known := make(map[string]bool) // of the paths
	for _, e := range d.entries {
		if e.taken {
			return nil // by what may be given up now
		}
		mine := false
		for _, file := range e.files {
			if ch.paths[file] {
				mine, known[file] = true, true
			}
		}
		if !mine {
			continue
		}
		if e.plugin == nil || e.err != nil {
			return nil
		}
		out = append(out, &candidate{entry: e, found: found{name: e.name, path: e.path}, began: time.Now()})
	}
	if len(known) < len(ch.paths) || slices.ContainsFunc(out, func(c *candidate) bool { return d.mustWait(c.entry) }) {
		return nil
	}
	slices.SortFunc(out, func(a, b *candidate) int { return strings.Compare(a.entry.name, b.entry.name) })
	return out
}

// changed reports whether the files of an entry's last build have changed.
func (e *entry) changed(paths map[string]bool) bool {
	for _, file := range e.files {
		if paths[file] {
			return true
		}
	}
	if e.stamps == nil || e.retold || e.stamps.changed() {
		return true
	}
	for path, was := range e.missing {
		if was != present(path) {
			return true
		}
	}
	// A folder's entry may be another file by now.
	if e.entry != "" && e.entry != e.path {
		if _, entry, err := pluginAt(e.path); err == nil && entry != e.entry {
			return true
		}
	}
	return false
}

func keysOf[K comparable, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// build builds the candidates, several at a time.
func (d *Dir) build(batch []*candidate) {
	var wg sync.WaitGroup
	limit := make(chan struct{}, 4)
	for _, c := range batch {
		if c.removed || c.err != nil {
			continue
		}
		wg.Go(func() { // ends with the build; Wait is below
			limit <- struct{}{}
			defer func() { <-limit }()
			d.buildOne(c)
		})
	}
	wg.Wait()
}

func (d *Dir) buildOne(c *candidate) {
	e := c.entry
	prog, err := Build(c.found.path, d.opts.Modules...)
	missing := missingIn(err)
	if slices.ContainsFunc(sortedKeys(missing), func(path string) bool { return missing[path] != "" }) {
		// Something is there by now. What was when it was asked for is not known, so
		// once more: what is missing then was so with what is known to be there.
		prog, err = Build(c.found.path, d.opts.Modules...)
		for path, now := range missingIn(err) {
			if _, ok := missing[path]; !ok {
				missing[path] = now
			}
		}
	}
	if b, ok := errors.AsType[*BuildError](err); ok {
		c.err = err
		e.stamps, e.missing = b.stamps, missing
		d.judge(c, b.Hash)
	} else if err != nil {
		c.err = err
		e.stamps, e.missing = stamps{c.found.path: stampOf(c.found.path)}, nil
	} else {
		e.stamps, e.missing = prog.stamps, nil
		c.prog, e.entry = prog, prog.Path
		c.same = e.plugin != nil && e.plugin.prog.Hash == prog.Hash && !e.retold
		d.judge(c, prog.Hash)
	}
	e.files = keysOf(e.stamps)
}

// missingIn is the presence of what a build asked for in vain.
func missingIn(err error) map[string]string {
	if b, ok := errors.AsType[*BuildError](err); ok {
		return presence(b.Missing)
	}
	return nil
}

// start starts the candidates one after the other, in order of name; but first
// those that take over no state, since whoever gives it is paused from then on.
func (d *Dir) start(ctx context.Context, batch []*candidate) {
	order := slices.Clone(batch)
	slices.SortStableFunc(order, func(a, b *candidate) int { return a.entry.rank() - b.entry.rank() })
	for _, c := range order {
		e := c.entry
		if c.prog == nil || c.same || ctx.Err() != nil {
			continue
		}
		p := newPlugin(c.prog, d.opts, e.generation+1, d.hub, &e.tally)
		p.config = d.config[e.name]
		p.before = e.plugin
		if c.err = p.start(ctx); c.err == nil {
			c.plugin = p
		}
	}
}

// rank is 1 for a plugin that hands over state.
func (e *entry) rank() int {
	if e.plugin != nil && e.plugin.saves {
		return 1
	}
	return 0
}

// putOff leaves a batch alone for now.
func (d *Dir) putOff(batch []*candidate, result map[string]error) map[string]error {
	for _, c := range batch {
		if c.plugin != nil {
			c.plugin.abandon()
		}
		c.entry.stamps = nil // look again
		c.entry.goOn()
		result[c.entry.name] = errLater
	}
	return result
}

// publish puts what is ready into the table, in one swap, and has the old
// generations drain.
func (d *Dir) publish(batch []*candidate, result map[string]error) {
	if len(batch) == 0 {
		return
	}
	var swaps []swap
	for _, c := range batch {
		e := c.entry
		e.taken = c.taken
		result[e.name] = c.err
		switch {
		case c.removed:
			delete(d.entries, e.name)
			d.past[e.name] = e
			if e.plugin != nil {
				swaps = append(swaps, swap{entry: e, old: e.plugin})
				d.log(e, slog.LevelInfo, "plugin removed", slog.Int("generation", e.generation), names("gone", e.plugin.signatures, nil))
			}
			e.plugin, e.err, e.told = nil, nil, ""
		case c.err != nil:
			e.goOn()
			e.path, e.err, e.retold = c.found.path, c.err, false
			d.fail(e, c.prog)
		case c.same:
			e.path, e.err, e.told = c.found.path, nil, ""
		default:
			swaps = append(swaps, swap{e, e.plugin, c.plugin})
			d.loaded(c)
		}
	}
	d.note(batch) // first: whoever is answered by a version finds it in Status
	if len(swaps) == 0 {
		return
	}
	t := d.table.Load().after(swaps, d.opts.Authorizers)
	var opens []func()
	for _, s := range swaps {
		if s.old != nil && s.new != nil {
			opens = append(opens, s.new.holdFor(s.old))
		}
	}
	// From here on new requests find the new table. A request that has loaded
	// the old one reaches the old generation, until that refuses; then it
	// looks again.
	d.table.Store(t)
	for _, s := range swaps {
		if s.new != nil {
			s.new.publish()
		}
		if s.old != nil {
			s.old.refuse()
		}
	}
	d.tellClosed()
	// Before they drain, which may be over at once: they still leave the states
	// of their peers.
	for _, open := range opens {
		open()
	}
	for _, s := range swaps {
		if s.old != nil {
			d.retire(s.entry, s.old)
		}
	}
}

// goOn has the running generation go on, if it was paused for a successor that
// did not come.
func (e *entry) goOn() {
	if e.plugin != nil {
		e.plugin.resume()
	}
}

// unfinished reports whether a candidate looks half done: somebody may still be
// writing it, or what belongs to it.
func (c *candidate) unfinished() bool {
	switch {
	case c.again || c.back || c.same && c.err == nil:
		return false
	case c.removed || c.err != nil:
		return true
	}
	for _, sum := range c.prog.sums {
		if sum == nothing {
			return true
		}
	}
	_, err := os.Stat(c.prog.Path)
	return err != nil
}

// emptied reports whether a file of a candidate was truncated not long ago, by
// somebody who is about to write it: on a busy machine that may take its time,
// and an empty file is rarely meant.
func (c *candidate) emptied() bool {
	if c.prog == nil || c.same {
		return false
	}
	for path, s := range c.prog.stamps {
		if s.info == nil || s.sum != nothing {
			continue
		}
		// Its stamp may be from before that.
		now := stampOf(path)
		if age := time.Since(now.time); !now.same(s) || age >= 0 && age < quietMost {
			return true
		}
	}
	return false
}

// nothing is the sum of an empty file.
var nothing = sha256.Sum256(nil)

// vanished reports whether a command would be gone: none of the batch answers
// it any more.
func vanished(batch []*candidate) bool {
	commands := make(map[string]bool)
	for _, c := range batch {
		if c.plugin != nil {
			for _, s := range c.plugin.signatures {
				commands[s.Name] = true
			}
		}
	}
	for _, c := range batch {
		if c.plugin == nil || c.entry.plugin == nil {
			continue
		}
		for _, s := range c.entry.plugin.signatures {
			if !commands[s.Name] {
				return true
			}
		}
	}
	return false
}

func has(list []Signature, name string) bool {
	return slices.ContainsFunc(list, func(s Signature) bool { return s.Name == name })
}

// mustWait reports whether a plugin has as many generations that drain as it
// may have. Then Watch looks again once one of them has ended.
func (d *Dir) mustWait(e *entry) bool {
	d.mu.Lock()
	wait := e.draining >= maxDraining
	tell := wait && !e.waiting
	e.waiting = wait
	d.mu.Unlock()
	if tell {
		d.log(e, slog.LevelWarn, "plugin not reloaded yet: its newest files are read once one of the versions that still have calls in flight has ended", slog.Int("generation", e.generation), slog.Int("draining", maxDraining))
	}
	return wait
}

// retire has an old generation end once it has done what it has.
func (d *Dir) retire(e *entry, p *Plugin) {
	d.mu.Lock()
	d.retired[p] = true
	e.draining++
	d.mu.Unlock()
	p.drain()
	d.draining.Go(func() { // ends with the plugin, or its deadline; Stop waits
		deadline := p.callTimeout() + p.opts.LoadTimeout
		if p.callTimeout() < 0 {
			deadline = time.Hour
		}
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := p.end(ctx); err != nil {
			p.log.Warn("a replaced plugin was cut off", "error", err)
		}
		d.mu.Lock()
		delete(d.retired, p)
		e.draining--
		again := e.waiting
		e.waiting = false
		close(d.drained)
		d.drained = make(chan struct{})
		d.mu.Unlock()
		if again {
			d.lookAgain()
		}
	})
}

// lookAgain has Watch look at all files, if there is one.
func (d *Dir) lookAgain() {
	select {
	case d.again <- struct{}{}:
	default:
	}
}
