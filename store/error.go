package store

import "errors"

// Errors that a Store returns, by themselves or wrapped.
var (
	// ErrConflict says that nothing was written because another host wrote
	// what the transaction read. Update then runs it again.
	ErrConflict = errors.New("store: conflict with another transaction")

	// ErrUncertain says that the outcome of a commit is unknown, not undone:
	// it may be there after a restart, or not.
	ErrUncertain = errors.New("store: outcome unknown, it may be stored or not")

	// ErrFailed says that the store has failed and that nothing was written:
	// it takes no transactions until it is opened again.
	ErrFailed = errors.New("store: failed and takes no more transactions")

	// ErrFull says that nothing was written because there is no room. The
	// store goes on, and works again once there is.
	ErrFull = errors.New("store: no room, nothing was written")

	// ErrQuota says that nothing was written because the namespace would hold
	// more than it may.
	ErrQuota = errors.New("store: quota exceeded, nothing was written")

	// ErrDamaged says that what is stored can't be what was written.
	ErrDamaged = errors.New("store: damaged")

	// ErrClosed says that the store is closed, and that nothing was written.
	ErrClosed = errors.New("store: closed")

	// ErrEnded says that a transaction was used after its end.
	ErrEnded = errors.New("store: transaction has ended")

	// ErrReadOnly says that a read-only transaction can't write.
	ErrReadOnly = errors.New("store: read-only transaction")

	// ErrTooLarge says that a key is longer than MaxKey, or a value larger
	// than MaxValue.
	ErrTooLarge = errors.New("store: too large")

	// ErrOverflow says that a counter would leave ±MaxCounter.
	ErrOverflow = errors.New("store: counter out of range")
)
