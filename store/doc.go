// Package store defines the transactional key-value store that plugins use,
// and what works over any such store: counters and files.
//
// A [Store] holds namespaces, one for each plugin. A transaction, a [Tx],
// belongs to one namespace. [View] reads and [Update] reads and writes:
//
//	err := store.Update(ctx, s, "chat", func(tx store.Tx) error {
//		n, err := store.Add(tx, "messages", 1)
//		if err != nil {
//			return err
//		}
//		return tx.Put(store.Keys, fmt.Sprintf("message/%09d", n), text)
//	})
//
// # Spaces
//
// A namespace has a [Space] for each kind of key: plain [Keys], [Counters],
// [Files] and the [Pieces] of files. A name in one space never meets a name in
// another: a file called "uid" is not the counter "uid". A name is a key, any
// bytes up to [MaxKey], and never a path: "../../etc/passwd" is just a name.
//
// # What durable means
//
// Something is durable when it is still there after a crash of the program, of
// the operating system, or of the power. A store tells nobody of anything that
// is not: Update returns, and the channel of [Tx.Commit] yields nil, once all
// that the transaction wrote and all that it read is durable, and a read-only
// transaction sees durable data only. That holds for a transaction that fails
// as well: "this name is taken" is told once the taking is durable.
//
// # Two promises
//
// Whoever writes the body of a transaction promises that it
//
//   - changes nothing but its Tx, for it may be run again ([ErrConflict]);
//   - waits for nothing, and begins no other transaction, for others wait for
//     it to end.
//
// # Failure
//
// An error that is [ErrUncertain] says that the outcome is unknown: what was
// written may be found after a restart, or may not. Any other error of a
// transaction says that nothing of it was written.
//
// The package storetest has the checks that every Store must pass; boltstore
// is a Store in one file.
package store
