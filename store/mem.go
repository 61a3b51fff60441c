package store

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Mem is a store that lives in memory: for tests, for examples, and as the
// model that other stores are compared with. What is committed counts as
// durable at once. It is simple rather than fast: a scan sorts the keys of its
// range, and a commit during a view copies the namespace.
type Mem struct {
	mu         sync.Mutex // guards the fields below
	namespaces map[string]*memSpace
	closed     bool
	open       sync.WaitGroup // open transactions
}

var _ Store = (*Mem)(nil)

// A memSpace is one namespace.
type memSpace struct {
	write chan struct{} // holds a token while a writable transaction is open

	mu       sync.Mutex // guards the fields below
	data     *memData   // what is committed
	watchers []*memWatcher
}

// A memWatcher is told of the commits to a namespace.
type memWatcher struct{ fn func([]Change) }

// A memData is the keys of a namespace, each its space's byte and its name.
type memData struct {
	values  map[string][]byte
	readers int // transactions that read it; while there are any it must not change; guarded by memSpace.mu
}

// NewMem returns an empty store in memory.
func NewMem() *Mem {
	return &Mem{namespaces: make(map[string]*memSpace)}
}

// Begin implements Store.
func (m *Mem) Begin(ctx context.Context, namespace string, writable bool) (Tx, error) {
	if err := CheckNamespace(namespace); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	ns, err := m.enter(namespace)
	if err != nil {
		return nil, err
	}
	if writable {
		select {
		case ns.write <- struct{}{}:
		default:
			select {
			case ns.write <- struct{}{}:
			case <-ctx.Done():
				m.open.Done()
				return nil, context.Cause(ctx)
			}
		}
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.data.readers++
	tx := &memTx{m: m, ns: ns, data: ns.data}
	if writable {
		tx.writes = make(map[string][]byte)
	}
	return tx, nil
}

// enter returns a namespace and counts a transaction on it as open.
func (m *Mem) enter(namespace string) (*memSpace, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	m.open.Add(1)
	ns := m.namespaces[namespace]
	if ns == nil {
		ns = &memSpace{
			write: make(chan struct{}, 1),
			data:  &memData{values: make(map[string][]byte)},
		}
		m.namespaces[namespace] = ns
	}
	return ns, nil
}

// Watch implements Store.
func (m *Mem) Watch(namespace string, fn func([]Change)) (stop func(), err error) {
	if err := CheckNamespace(namespace); err != nil {
		return nil, err
	}
	ns, err := m.enter(namespace)
	if err != nil {
		return nil, err
	}
	defer m.open.Done()
	w := &memWatcher{fn}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	// Never in place: a commit may be going through the old ones.
	ns.watchers = append(slices.Clip(ns.watchers), w)
	return func() {
		ns.mu.Lock()
		defer ns.mu.Unlock()
		ns.watchers = slices.DeleteFunc(slices.Clone(ns.watchers), func(x *memWatcher) bool { return x == w })
	}, nil
}

// Close implements Store. What was stored is gone.
func (m *Mem) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.open.Wait()
	return nil
}

// A memTx is a transaction of a Mem.
type memTx struct {
	m      *Mem
	ns     *memSpace
	data   *memData
	writes map[string][]byte // nil if read-only; a nil value is a deleted key
	ended  bool
}

func (tx *memTx) Get(space Space, key string) ([]byte, error) {
	if tx.ended {
		return nil, ErrEnded
	}
	stored := memKey(space, key)
	if value, ok := tx.writes[stored]; ok {
		return slices.Clone(value), nil
	}
	return slices.Clone(tx.data.values[stored]), nil
}

func (tx *memTx) Put(space Space, key string, value []byte) error {
	if err := CheckSize(key, value); err != nil {
		return err
	}
	return tx.set(space, key, append([]byte{}, value...))
}

func (tx *memTx) Delete(space Space, key string) error {
	return tx.set(space, key, nil)
}

func (tx *memTx) set(space Space, key string, value []byte) error {
	switch {
	case tx.ended:
		return ErrEnded
	case tx.writes == nil:
		return ErrReadOnly
	}
	tx.writes[memKey(space, key)] = value
	return nil
}

func (tx *memTx) Scan(space Space, r Range) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if tx.ended {
			yield(Entry{}, ErrEnded)
			return
		}
		for _, e := range tx.entries(space, r) {
			if tx.ended {
				yield(Entry{}, ErrEnded)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// entries returns all that a scan yields.
func (tx *memTx) entries(space Space, r Range) []Entry {
	start, end := r.Bounds()
	var found []Entry
	add := func(stored string, value []byte) {
		key := stored[1:]
		if stored[0] == byte(space) && value != nil && key >= start && (end == "" || key < end) {
			found = append(found, Entry{Key: key, Value: slices.Clone(value)})
		}
	}
	for stored, value := range tx.data.values {
		if _, ok := tx.writes[stored]; !ok {
			add(stored, value)
		}
	}
	for stored, value := range tx.writes {
		add(stored, value)
	}
	slices.SortFunc(found, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	if r.Reverse {
		slices.Reverse(found)
	}
	if r.Limit > 0 && r.Limit < len(found) {
		found = found[:r.Limit]
	}
	return found
}

func (tx *memTx) Commit() <-chan error { return tx.end(true) }

func (tx *memTx) Rollback() <-chan error { return tx.end(false) }

// end ends the transaction, and keeps its writes or drops them.
func (tx *memTx) end(keep bool) <-chan error {
	done := make(chan error, 1)
	if tx.ended {
		done <- ErrEnded
		return done
	}
	tx.ended = true
	tx.ns.mu.Lock()
	tx.data.readers--
	var watchers []*memWatcher
	if keep && len(tx.writes) > 0 {
		tx.ns.apply(tx.writes)
		watchers = tx.ns.watchers
	}
	tx.ns.mu.Unlock()
	if len(watchers) > 0 {
		changes := memChanges(tx.writes)
		for _, w := range watchers { // one commit at a time: tx still holds the token
			w.fn(changes)
		}
	}
	if tx.writes != nil {
		<-tx.ns.write
	}
	tx.m.open.Done()
	done <- nil
	return done
}

// apply makes writes what is committed. The caller holds mu.
func (ns *memSpace) apply(writes map[string][]byte) {
	if ns.data.readers > 0 {
		ns.data = &memData{values: maps.Clone(ns.data.values)}
	}
	for stored, value := range writes {
		if value == nil {
			delete(ns.data.values, stored)
		} else {
			ns.data.values[stored] = value
		}
	}
}

// memChanges returns what watchers are told of writes.
func memChanges(writes map[string][]byte) []Change {
	changes := make([]Change, 0, len(writes))
	for _, stored := range slices.Sorted(maps.Keys(writes)) {
		changes = append(changes, Change{Space(stored[0]), stored[1:], writes[stored]})
	}
	return changes
}

// memKey returns the key as a memData holds it.
func memKey(space Space, key string) string {
	return string([]byte{byte(space)}) + key
}
