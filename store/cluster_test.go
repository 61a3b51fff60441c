package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/storetest"
)

// A cluster is data that several hosts share, as a distributed backend would
// have it: nobody locks, and who commits last on what has changed meanwhile must
// run again. It shows that such a backend fits behind the contract.
type cluster struct {
	data *store.Mem

	mu        sync.Mutex     // held while a commit looks and writes
	versions  map[string]int // of namespaces: how many commits
	spaces    []store.Space  // that were ever written to
	conflicts int
}

func newCluster() *cluster {
	return &cluster{data: store.NewMem(), versions: make(map[string]int)}
}

// version returns that of a namespace, and in which spaces it may have keys.
func (c *cluster) version(namespace string) (int, []store.Space) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.versions[namespace], slices.Clone(c.spaces)
}

// commit writes changes, unless the namespace is not what it was.
func (c *cluster) commit(namespace string, version int, changes []store.Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.versions[namespace] != version {
		c.conflicts++
		return store.ErrConflict
	}
	if len(changes) == 0 {
		return nil
	}
	c.versions[namespace]++
	return store.Update(context.Background(), c.data, namespace, func(tx store.Tx) error {
		var errs []error
		for _, change := range changes {
			if !slices.Contains(c.spaces, change.Space) {
				c.spaces = append(c.spaces, change.Space)
			}
			if change.Value == nil {
				errs = append(errs, tx.Delete(change.Space, change.Key))
			} else {
				errs = append(errs, tx.Put(change.Space, change.Key, change.Value))
			}
		}
		return errors.Join(errs...)
	})
}

// A clusterHost is the store of one host.
type clusterHost struct {
	*cluster
	writing sync.Map // a token for each namespace that a transaction may write to
}

func (h *clusterHost) Watch(namespace string, fn func([]store.Change)) (func(), error) {
	return h.data.Watch(namespace, fn)
}

func (h *clusterHost) Close() error { return h.data.Close() }

func (h *clusterHost) Begin(ctx context.Context, namespace string, writable bool) (store.Tx, error) {
	if !writable {
		return h.data.Begin(ctx, namespace, false)
	}
	token, _ := h.writing.LoadOrStore(namespace, make(chan struct{}, 1))
	select {
	case token.(chan struct{}) <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	release := func() { <-token.(chan struct{}) }
	tx := &clusterTx{host: h, namespace: namespace, release: release}
	if err := tx.begin(ctx); err != nil {
		release()
		return nil, err
	}
	return tx, nil
}

// A clusterTx works on a copy of its namespace.
type clusterTx struct {
	store.Tx  // of copy
	host      *clusterHost
	namespace string
	version   int
	view      store.Tx // open as long as this is, so that Close waits
	copy      *store.Mem
	changes   []store.Change
	release   func()
	ended     bool
}

func (tx *clusterTx) begin(ctx context.Context) (err error) {
	var spaces []store.Space
	tx.version, spaces = tx.host.version(tx.namespace)
	if tx.view, err = tx.host.data.Begin(ctx, tx.namespace, false); err != nil {
		return err
	}
	tx.copy = store.NewMem()
	err = store.Update(ctx, tx.copy, tx.namespace, func(copied store.Tx) error {
		for _, space := range spaces {
			for e, err := range tx.view.Scan(space, store.Range{}) {
				if err := errors.Join(err, copied.Put(space, e.Key, e.Value)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		_, err = tx.copy.Watch(tx.namespace, func(changes []store.Change) { tx.changes = changes })
	}
	if err == nil {
		tx.Tx, err = tx.copy.Begin(ctx, tx.namespace, true)
	}
	if err != nil {
		tx.view.Rollback()
	}
	return err
}

func (tx *clusterTx) Commit() <-chan error   { return tx.end(tx.Tx.Commit()) }
func (tx *clusterTx) Rollback() <-chan error { return tx.end(tx.Tx.Rollback()) }

func (tx *clusterTx) end(done <-chan error) <-chan error {
	if tx.ended {
		return done
	}
	tx.ended = true
	outcome := make(chan error, 1)
	outcome <- errors.Join(<-done, tx.host.commit(tx.namespace, tx.version, tx.changes))
	tx.view.Rollback()
	tx.release()
	return outcome
}

func TestCluster(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return &clusterHost{cluster: newCluster()} })
}

// TestClusterHosts registers users on several hosts at once: each name is given
// once, no number twice and none left out, and a refusal tells of what is so.
func TestClusterHosts(t *testing.T) {
	const hosts, names = 4, 60
	c := newCluster()
	taken := errors.New("taken")
	var told []int64 // numbers that a watcher of all hosts' commits was told
	stop, err := (&clusterHost{cluster: c}).Watch("test", func(changes []store.Change) {
		for _, change := range changes {
			if change.Space == store.Counters {
				var n int64
				fmt.Sscan(string(change.Value), &n)
				told = append(told, n)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var mu sync.Mutex // guards registered
	registered := make(map[string]int64)
	var wg sync.WaitGroup
	var met sync.WaitGroup // every host is in its first transaction: only one of them can succeed
	met.Add(hosts)
	for range hosts {
		h := &clusterHost{cluster: c}
		meet := sync.OnceFunc(func() { met.Done(); met.Wait() })
		for worker := range 2 {
			wg.Go(func() { // ends after its names; waited for below
				if worker > 0 {
					met.Wait() // the first transaction is that of the other
				}
				for i := range names {
					name := fmt.Sprint(i)
					var uid int64
					err := store.Update(t.Context(), h, "test", func(tx store.Tx) error {
						exists, err := store.FileExists(tx, name)
						if exists || err != nil {
							return errors.Join(err, taken)
						}
						meet()
						if uid, err = store.Add(tx, "uid", 1); err != nil {
							return err
						}
						return store.CreateFile(tx, name, fmt.Append(nil, uid))
					})
					if err != nil && !errors.Is(err, taken) {
						t.Errorf("Update: %v", err)
					}
					mu.Lock()
					if _, twice := registered[name]; twice && err == nil {
						t.Errorf("%s is registered twice", name)
					}
					if err == nil {
						registered[name] = uid
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	for i, n := range told {
		if n != int64(i+1) {
			t.Fatalf("the watcher was told %d, want each number once and in order", told)
		}
	}
	if len(told) != names || len(registered) != names {
		t.Errorf("%d numbers were given to %d names, want %d", len(told), len(registered), names)
	}
	t.Logf("%d conflicts", c.conflicts)
	if c.conflicts == 0 {
		t.Error("there was no conflict, so nothing was tested")
	}
}
