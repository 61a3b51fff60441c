package boltstore

import (
	"maps"
	"slices"

	"github.com/amphost/amphost/store"
)

// A watcher is told of the commits to a namespace.
type watcher struct{ fn func([]store.Change) }

// Watch implements store.Store. fn is called by the committer.
func (s *Store) Watch(namespace string, fn func([]store.Change)) (stop func(), err error) {
	if err := store.CheckNamespace(namespace); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		return nil, err
	}
	w := &watcher{fn}
	if s.watchers == nil {
		s.watchers = make(map[string][]*watcher)
	}
	s.watchers[namespace] = append(slices.Clip(s.watchers[namespace]), w)
	return func() { s.unwatch(namespace, w) }, nil
}

func (s *Store) unwatch(namespace string, w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(s.watchers[namespace]), func(x *watcher) bool { return x == w })
	if len(left) == 0 {
		delete(s.watchers, namespace)
		return
	}
	s.watchers[namespace] = left
}

// tell tells the watchers of a batch that is durable.
func (s *Store) tell(batch []*commit) {
	s.mu.Lock()
	if len(s.watchers) == 0 {
		s.mu.Unlock()
		return
	}
	watchers := maps.Clone(s.watchers) // one entry for each plugin that watches
	s.mu.Unlock()
	for _, c := range batch {
		if len(c.writes) == 0 || len(watchers[c.ns.name]) == 0 {
			continue
		}
		changes := make([]store.Change, 0, len(c.writes))
		for _, stored := range slices.Sorted(maps.Keys(c.writes)) {
			changes = append(changes, store.Change{Space: store.Space(stored[0]), Key: stored[1:], Value: c.writes[stored]})
		}
		for _, w := range watchers[c.ns.name] {
			w.fn(changes)
		}
	}
}
