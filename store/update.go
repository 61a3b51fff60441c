package store

import (
	"context"
	"errors"
	"fmt"
)

// View calls fn with a read-only transaction on a namespace and returns fn's
// error. It sees what was durable when it began, and waits for no other
// transaction.
func View(ctx context.Context, s Store, namespace string, fn func(Tx) error) error {
	tx, err := s.Begin(ctx, namespace, false)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return fn(tx)
}

// Update calls fn with a writable transaction on a namespace, commits it and
// waits until all that it wrote and read is durable. If fn fails, its writes
// are dropped and its error is returned, again once all that it read is
// durable. On ErrConflict fn is called again, so it must change nothing but
// the Tx and what it overwrites each time it runs.
//
// If ctx ends while Update waits for the disk, the error is ErrUncertain. With
// a ctx that can't end, such as context.Background, some stores are a little
// faster: they write on the caller's goroutine.
func Update(ctx context.Context, s Store, namespace string, fn func(Tx) error) error {
	for {
		tx, err := s.Begin(ctx, namespace, true)
		if err != nil {
			return err
		}
		done, bodyErr := run(tx, fn, ctx.Done() == nil)
		err = await(ctx, done, bodyErr == nil)
		switch {
		case errors.Is(err, ErrConflict):
			// Who was in between got through, so running it again at once
			// makes progress: somebody always wins.
			continue
		case err != nil && bodyErr != nil:
			// What fn saw may never have been, so its error must not be
			// told as if it were so.
			return fmt.Errorf("%w (after: %v)", err, bodyErr)
		case err != nil:
			return err
		}
		return bodyErr
	}
}

// A waiter is a Tx whose Commit can also be done by the goroutine that waits
// for it, with nothing to hand over to another and back.
type waiter interface {
	Tx
	CommitWait() error
}

// run calls fn and ends tx, also if fn panics. If stay, it may wait for the
// disk.
func run(tx Tx, fn func(Tx) error, stay bool) (done <-chan error, err error) {
	returned := false
	defer func() {
		if !returned {
			tx.Rollback()
		}
	}()
	err = fn(tx)
	returned = true
	if err != nil {
		return tx.Rollback(), err
	}
	if w, ok := tx.(waiter); ok && stay {
		outcome := make(chan error, 1)
		outcome <- w.CommitWait()
		return outcome, nil
	}
	return tx.Commit(), nil
}

// await waits for the end of a transaction, or for ctx.
func await(ctx context.Context, done <-chan error, committed bool) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // both were ready, and the outcome is the better news
		return err
	default:
	}
	if committed {
		return fmt.Errorf("%w: stopped waiting for it: %w", ErrUncertain, context.Cause(ctx))
	}
	return context.Cause(ctx)
}
