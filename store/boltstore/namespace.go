package boltstore

import (
	"context"
	"maps"
	"sync/atomic"
)

// A namespace is what the store remembers of one namespace.
type namespace struct {
	name   string
	bucket []byte        // its name
	write  chan struct{} // holds a token while a writable transaction is open
	limit  int64         // how many bytes it may hold, or 0 for any number

	// durable is how many bytes of keys and values it holds on disk. Only
	// kept if it has a limit; written by who is busy.
	durable atomic.Int64

	// Only who holds the token touches what follows.

	// pending is what was committed and was not known to be durable when the
	// last transaction began.
	pending layer
	writer  map[string]uint64 // the number of the commit that wrote each key of pending
	commits []*commit         // whose writes are in pending, in order
	epoch   int               // Store.epoch when pending was last cleared
	used    int64             // bytes of keys and values, with pending; only kept if it has a limit
}

func newNamespace(name string) *namespace {
	return &namespace{
		name:    name,
		bucket:  []byte(name),
		write:   make(chan struct{}, 1),
		pending: make(layer),
		writer:  make(map[string]uint64),
	}
}

// lock waits for the token, or for ctx.
func (ns *namespace) lock(ctx context.Context) error {
	select {
	case ns.write <- struct{}{}:
		return nil
	default: // most are nobody else's, and ctx.Done may not come for free
	}
	select {
	case ns.write <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (ns *namespace) unlock() { <-ns.write }

// settle drops from pending what is durable, which is the commits up to the
// given number. A snapshot that is opened later holds it.
func (ns *namespace) settle(durable uint64) {
	n := 0
	for n < len(ns.commits) && ns.commits[n].number <= durable {
		c := ns.commits[n]
		for key := range c.writes {
			if ns.writer[key] == c.number { // no later commit wrote it again
				delete(ns.pending, key)
				delete(ns.writer, key)
			}
		}
		ns.commits[n] = nil
		n++
	}
	ns.commits = ns.commits[n:]
}

// forget drops all of pending: the file has what is durable of it, and what is
// not was refused.
func (ns *namespace) forget(epoch int) {
	clear(ns.pending)
	clear(ns.writer)
	ns.commits = nil
	ns.epoch = epoch
	ns.used = ns.durable.Load()
}

// add puts the writes of a queued commit over what is pending.
func (ns *namespace) add(c *commit) {
	maps.Copy(ns.pending, c.writes)
	for key := range c.writes {
		ns.writer[key] = c.number
	}
	ns.commits = append(ns.commits, c)
	ns.used = c.used
}
