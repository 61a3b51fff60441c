package scripting

import (
	"path/filepath"
	"slices"
	"strings"
)

// note keeps what Status tells of the plugins of a batch, and what Watch cares
// for because of them. It costs what the batch is, not what there is beside it.
// The caller holds turn.
func (d *Dir) note(batch []*candidate) {
	changed := false
	for _, c := range batch {
		e := c.entry
		var cares []string
		if d.entries[e.name] == e {
			cares = slices.Concat(e.files, keysOf(e.missing))
			if e.err != nil && e.plugin != nil {
				// What was there may come back.
				cares = append(cares, keysOf(e.plugin.prog.stamps)...)
			}
			slices.Sort(cares)
		}
		changed = changed || !slices.Equal(cares, e.cares)
		e.cares = cares
	}
	if changed {
		d.noteInterest()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range batch {
		e := c.entry
		i, there := slices.BinarySearchFunc(d.status, e.name, func(s Status, name string) int { return strings.Compare(s.Name, name) })
		switch {
		case there && d.entries[e.name] != e:
			d.status = slices.Delete(d.status, i, i+1)
		case there:
			d.status[i] = e.status()
		case d.entries[e.name] == e:
			d.status = slices.Insert(d.status, i, e.status())
		}
	}
}

// status is what Status tells of a plugin, but for what is counted.
func (e *entry) status() Status {
	s := Status{Name: e.name, Path: e.path, Generation: e.generation, Since: e.since, Took: e.took, Err: e.err, RolledBack: e.history.Refused != "", tally: &e.tally}
	if e.plugin == nil {
		s.Generation = 0
		return s
	}
	s.Commands, s.Hash = e.plugin.Commands(), e.plugin.prog.Hash
	for _, named := range slices.Sorted(slices.Values(e.plugin.named)) {
		if name, ok := strings.CutPrefix(named, "protocol "); ok {
			s.Protocols = append(s.Protocols, name)
		} else {
			s.Receivers = append(s.Receivers, strings.TrimPrefix(named, "boxReceiver "))
		}
	}
	return s
}

// noteInterest keeps what Watch cares for. The caller holds turn, or is alone.
func (d *Dir) noteInterest() {
	in := interest{files: make(map[string]bool), dirs: make(map[string]bool)}
	in.dirs[d.path] = true
	for _, dir := range d.folders {
		in.dirs[dir] = true
	}
	for _, e := range d.entries {
		for _, path := range e.cares {
			in.files[path] = true
			in.dirs[filepath.Dir(path)] = true
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	in.version = d.watched.version + 1
	d.watched = in
}
