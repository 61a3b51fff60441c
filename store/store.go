package store

import (
	"context"
	"fmt"
	"iter"
)

// Limits that hold for every store, so that what works on one works on all.
const (
	// MaxKey is the length in bytes of the longest key.
	MaxKey = 32_767

	// MaxValue is the length in bytes of the largest value. What is larger
	// goes into a file.
	MaxValue = 1 << 20

	// MaxNamespace is the length in bytes of the longest namespace.
	MaxNamespace = 255
)

// A Space is one kind of key. The same name in two spaces is two keys. Spaces
// other than those named here are free for programs that embed a store.
type Space byte

// The spaces in use. Their values are part of what is stored: never change one.
const (
	Keys     Space = 'k' // plain keys
	Counters Space = 'c' // counters: see Add
	Files    Space = 'f' // the heads of files, with all of small ones: see WriteFile
	Pieces   Space = 'p' // the contents of the others
)

// A Store holds namespaces of keys. Its methods may be used by several
// goroutines.
type Store interface {
	// Begin starts a transaction on a namespace, which need not exist: see
	// CheckNamespace for what it may be called. A read-only transaction sees
	// what is durable. A writable one also sees what was committed before it
	// and is not durable yet; at most one is open on a namespace, so Begin
	// waits for the one before it to end. If ctx ends first, or has ended,
	// Begin fails with its cause.
	Begin(ctx context.Context, namespace string, writable bool) (Tx, error)

	// Watch has fn called with what each commit to a namespace changes, from
	// now on: once it is durable, in the order of the commits, and before the
	// commit's channel yields. A store that shares its data with other hosts
	// tells of their commits too, and of several in one call if it lost touch
	// meanwhile. stop ends it; a call that is on its way may still come.
	//
	// The store waits for fn, so fn must not block, and must not use the
	// store. The changes are shared: fn may keep them and must not change
	// them.
	Watch(namespace string, fn func([]Change)) (stop func(), err error)

	// Close waits for every commit and for open transactions, and closes the
	// store. What is used after that fails with ErrClosed.
	Close() error
}

// A Gatherer is a Store for which it costs hardly more to make many commits
// durable at once than one. It is for who does one transaction after the other
// and waits for none of them: to begin with the disk at each would keep it busy
// with a few at a time.
type Gatherer interface {
	Store

	// BeginGathered is Begin for a writable transaction. What comes of it may
	// not be told before Flush is called, or somebody ends another transaction
	// that was not begun so.
	BeginGathered(ctx context.Context, namespace string) (Tx, error)

	// Flush has the store make durable what was gathered. It does not wait
	// for that.
	Flush()
}

// A Tx is one transaction, for one goroutine at a time. It must end with
// Commit or Rollback, and soon: it must not wait for anything else. After its
// end every method fails with ErrEnded.
type Tx interface {
	// Get returns the value of key, or nil if there is none; an empty value
	// is not nil. The value is the caller's to keep.
	Get(space Space, key string) ([]byte, error)

	// Put sets the value of key, and copies it. It fails with ErrReadOnly or
	// ErrTooLarge.
	Put(space Space, key string, value []byte) error

	// Delete removes key, if it is there. It fails with ErrReadOnly.
	Delete(space Space, key string) error

	// Scan yields the keys of a range in the order of their bytes, as they
	// were when the loop began: what the loop's body puts or deletes does not
	// change what is yielded. After an error it yields nothing more.
	Scan(space Space, r Range) iter.Seq2[Entry, error]

	// Commit ends the transaction and returns at once. The channel then
	// yields exactly one value: nil when everything written here, and
	// everything this transaction read, is durable; ErrConflict if nothing
	// was written because another host got in between and the whole
	// transaction should be run again; ErrUncertain if it is not known what
	// was written; any other error if nothing was.
	Commit() <-chan error

	// Rollback ends the transaction, drops its writes and returns at once.
	// The channel then yields exactly one value: nil when everything the
	// transaction read is durable, so wait for it before telling anybody
	// what that was; else an error as from Commit. After the end of the
	// transaction Rollback does nothing, so it may be deferred.
	Rollback() <-chan error
}

// An Entry is a key with its value. Both are the receiver's to keep.
type Entry struct {
	Key   string
	Value []byte
}

// A Change is a key that a commit has written. Those of one commit are in the
// order of spaces and keys.
type Change struct {
	Space Space
	Key   string
	Value []byte // nil if the key was deleted, or was not there to delete
}

// A Range says which keys of a space to scan. The zero Range is all of them.
type Range struct {
	Prefix  string // keys that begin with it
	Start   string // from this key on, which is included
	End     string // up to this key, which is excluded; "" for no end
	Limit   int    // at most so many; 0 for no limit
	Reverse bool   // from the last key to the first
}

// Bounds returns the first key that can be in the range, and the first key
// after it that can't, or "" if there is no such key. It is for those who
// implement a Tx.
func (r Range) Bounds() (start, end string) {
	start, end = r.Start, r.End
	if r.Prefix > start {
		start = r.Prefix
	}
	if after := following(r.Prefix); after != "" && (end == "" || after < end) {
		end = after
	}
	return start, end
}

// following returns the first string after all those that begin with prefix,
// or "" if there is none.
func following(prefix string) string {
	for last := len(prefix) - 1; last >= 0; last-- {
		if prefix[last] < 0xff {
			return prefix[:last] + string([]byte{prefix[last] + 1})
		}
	}
	return ""
}

// CheckNamespace returns an error unless name can be a namespace: a letter
// from a to z or a digit, then letters, digits, "_" and "-", at most
// MaxNamespace bytes. A name that begins with "_" can be one, too: no plugin is
// called so, and what hosts themselves keep has one.
func CheckNamespace(name string) error {
	ok := name != "" && len(name) <= MaxNamespace
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || i > 0 && c == '-'
	}
	if !ok {
		return fmt.Errorf("store: %.80q is no namespace: use a to z, 0 to 9 and _, then also -, at most %d bytes", name, MaxNamespace)
	}
	return nil
}

// CheckSize returns an error that is ErrTooLarge if key or value exceeds the
// limits. It is for those who implement a Tx.
func CheckSize(key string, value []byte) error {
	if len(key) > MaxKey {
		return fmt.Errorf("%w: key %.40q… has %d bytes, and %d are allowed", ErrTooLarge, key, len(key), MaxKey)
	}
	if len(value) > MaxValue {
		return fmt.Errorf("%w: value of key %.40q has %d bytes, and %d are allowed: keep it in a file", ErrTooLarge, key, len(value), MaxValue)
	}
	return nil
}
