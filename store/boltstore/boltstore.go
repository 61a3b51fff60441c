package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/amphost/amphost/store"
)

// Options adjust a Store. A nil *Options means the defaults.
type Options struct {
	// LockTimeout is how long Open waits for another process to let go of
	// the file. Default 100 milliseconds.
	LockTimeout time.Duration

	// NoSync leaves flushing to the operating system: faster, and what was
	// said to be durable can be lost with it. For tests.
	NoSync bool

	// NoCreate makes Open fail with fs.ErrNotExist if there is no file.
	NoCreate bool

	// Quota is how many bytes of keys and values each namespace may hold,
	// unless its name begins with "_".
	// A commit that would make it more fails with store.ErrQuota; one that
	// makes it less, or no more than it was, goes through all the same.
	// Default no limit.
	Quota int64

	// Quotas are for single namespaces what Quota is for the others.
	Quotas map[string]int64
}

// quota returns how much a namespace may hold, or 0 for any amount.
func (o *Options) quota(namespace string) int64 {
	if limit, ok := o.Quotas[namespace]; ok {
		return max(limit, 0)
	}
	if strings.HasPrefix(namespace, "_") {
		return 0 // the host's own
	}
	return max(o.Quota, 0)
}

func (o *Options) withDefaults() Options {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.LockTimeout <= 0 {
		opts.LockTimeout = 100 * time.Millisecond // bbolt's zero waits for ever
	}
	return opts
}

// A Store is a store.Store in a bbolt file. Its methods may be used by several
// goroutines.
type Store struct {
	path   string
	opts   Options
	file   *os.File // bbolt's, which closes it
	db     *bbolt.DB
	lost   int            // pages that were neither in use nor free when it was opened
	open   sync.WaitGroup // transactions that have not ended
	failed chan struct{}  // closed when the store fails
	wedged chan struct{}  // closed when bbolt can't be used, not even to close: see wedge
	ended  chan struct{}  // closed when the committer has ended
	wake   sync.Cond      // the committer waits here for work, or for stop; its lock is mu

	// What is durable, written only by who is busy: first the bbolt
	// transaction, then the number of the last commit in it.
	durableTx     atomic.Int64
	durableCommit atomic.Uint64
	undo          atomic.Pointer[undo] // of the newest bbolt transaction

	wrecked bool // bbolt panicked while it wrote; of who is busy, then of Close

	mu         sync.Mutex // guards the fields below
	namespaces map[string]*namespace
	watchers   map[string][]*watcher // by namespace; a list is never changed in place
	queue      []*commit             // commits that wait for the committer, in order
	work       []*commit             // the batch that somebody makes durable, until its outcome is known
	due        bool                  // something in queue does not wait for Flush
	queued     int                   // bytes of keys and values in queue
	room       chan struct{}         // closed when the committer takes the queue; nil if nobody waits
	last       uint64                // number of the last commit
	epoch      int                   // how many batches were refused for lack of room
	refusal    error                 // why the last of them was
	err        error                 // why the store failed
	busy       bool                  // somebody makes a batch durable
	closed     bool                  // no more transactions begin
	stop       bool                  // the committer ends once the queue is empty
}

var _ store.Gatherer = (*Store)(nil)

// Open opens the store in the file at path, or makes a new one there if there
// is no file. The file is locked: if another process holds it, the error is
// ErrLocked. If it is not a store, or its pages do not make a whole, the error
// is store.ErrDamaged. To know that, Open reads all of the file.
func Open(path string, opts *Options) (*Store, error) {
	s := &Store{
		path:       path,
		opts:       opts.withDefaults(),
		failed:     make(chan struct{}),
		wedged:     make(chan struct{}),
		ended:      make(chan struct{}),
		namespaces: make(map[string]*namespace),
	}
	s.wake.L = &s.mu
	if err := s.openFile(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	go s.commitQueued() // ends on stop; Close waits
	return s, nil
}

// Begin implements store.Store.
func (s *Store) Begin(ctx context.Context, namespace string, writable bool) (store.Tx, error) {
	if err := store.CheckNamespace(namespace); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	ns, err := s.enter(namespace)
	if err != nil {
		return nil, err
	}
	begin := s.beginView
	if writable {
		begin = s.beginUpdate
	}
	tx, err := begin(ctx, ns)
	if err != nil {
		s.open.Done()
		return nil, err
	}
	return tx, nil
}

// BeginGathered implements store.Gatherer.
func (s *Store) BeginGathered(ctx context.Context, namespace string) (store.Tx, error) {
	began, err := s.Begin(ctx, namespace, true)
	if t, ok := began.(*tx); ok {
		t.gathered = true
	}
	return began, err
}

// enter returns a namespace and counts a transaction on it as open.
func (s *Store) enter(name string) (*namespace, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		return nil, err
	}
	s.open.Add(1)
	ns := s.namespaces[name]
	if ns == nil {
		ns = newNamespace(name)
		ns.limit = s.opts.quota(name)
		s.namespaces[name] = ns
	}
	return ns, nil
}

// usableLocked returns an error if no transaction may begin. The caller holds
// mu.
func (s *Store) usableLocked() error {
	if s.err != nil {
		return s.failureLocked()
	}
	if s.closed {
		return store.ErrClosed
	}
	return nil
}

// failureLocked returns what is told to those who come after a failure. The
// caller holds mu.
func (s *Store) failureLocked() error {
	// Not %w for the cause: it is ErrUncertain, and here nothing is.
	return fmt.Errorf("%w: %v", store.ErrFailed, s.err)
}

// Failed is closed when a commit has failed so that it is not known what is on
// disk. From then on every transaction fails; Err says why. What is to be done
// is to close the store and open it again, best in a new process.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err is nil until Failed is closed. Then it is an error that is
// store.ErrUncertain and wraps the cause.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Path returns the path that the store was opened with.
func (s *Store) Path() string { return s.path }

// Namespaces returns the names of the namespaces that were ever written to, in
// order. It waits for the commits before it.
func (s *Store) Namespaces() ([]string, error) {
	snap, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	defer s.endRead(snap)
	var names []string
	err = s.guard(func() error {
		return snap.ForEach(func(name []byte, _ *bbolt.Bucket) error {
			if string(name) != metaBucket {
				names = append(names, string(name))
			}
			return nil
		})
	})
	return names, err
}

// WriteTo writes a consistent copy of the whole file to w, of all that was
// committed before, and returns its size in bytes. The store stays in use: a w
// that is slow holds nobody up, unless the file grows by more than a GiB
// meanwhile; then commits wait for WriteTo to return.
func (s *Store) WriteTo(w io.Writer) (int64, error) {
	snap, err := s.snapshot()
	if err != nil {
		return 0, err
	}
	defer s.endRead(snap)
	n, err := snap.WriteTo(w)
	if errors.Is(err, io.EOF) {
		return n, s.damaged("the file is cut off")
	}
	if err != nil {
		return n, fmt.Errorf("copy store %s: %w", s.path, err)
	}
	return n, nil
}

// Close implements store.Store. It returns nil when everything committed is
// durable, and why the store failed if it has. Later calls return the same.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		go func() { // ends with the last transaction, and the committer after it
			s.open.Wait()
			s.mu.Lock()
			s.stop = true
			s.wake.Signal()
			s.mu.Unlock()
		}()
	}
	wrecked := true
	select {
	case <-s.ended:
		wrecked = s.wrecked
	case <-s.wedged: // they may wait for ever
	}
	if !first {
		return s.Err()
	}

	err := s.Err()
	var closeErr error
	if wrecked {
		// bbolt may have left its locks held, so its own Close could wait
		// for ever.
		closeErr = closeLocked(s.file)
	} else {
		closeErr = s.db.Close()
	}
	if err == nil && closeErr != nil {
		err = fmt.Errorf("close store %s: %w", s.path, closeErr)
	}
	return err
}
