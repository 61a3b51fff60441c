// Package boltstore keeps a store.Store in one bbolt file, with group commit.
//
// The body of a transaction runs at once, in its caller's goroutine, over its
// own writes, over what was committed before it and is not durable yet, over
// the file. A commit goes into a queue. One goroutine at a time takes all that
// is queued, writes it in one bbolt transaction, which costs one wait for the
// disk, and then signals each commit in order. While it waits, the next batch
// gathers by itself, so there is no delay to tune: one client is as fast as the
// disk, and a thousand share each wait. That goroutine is the store's own, the
// committer; or one that waits for its commit anyway, if the committer has
// nothing to do.
//
// # Failure
//
// If there is no room for a batch, it and all that is queued behind it fail
// with store.ErrFull, nothing of it is written, and the store goes on.
//
// If a batch fails in any other way, it is not known what of it is on disk: it
// and all that is queued fail with store.ErrUncertain, and the store takes
// nothing more. [Store.Failed] tells the program, which should end and say why.
package boltstore
