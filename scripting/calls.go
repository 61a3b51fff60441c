package scripting

import (
	"log/slog"
	"sync"
	"time"
)

// A callList holds the calls of a worker whose promise has not settled, in the
// order in which they expire.
//
// It has a lock, unlike what else a loop owns, so that calls can be failed when
// their runtime is abandoned.
type callList struct {
	mu     sync.Mutex // guards the fields below, and older and newer of the calls
	byID   map[uint64]*call
	oldest *call // those with a deadline, as a linked list
	newest *call
}

// add adds a call, whose deadline may be zero for none.
func (l *callList) add(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil {
		l.byID = make(map[uint64]*call)
	}
	l.byID[c.id] = c
	if c.deadline.IsZero() {
		return
	}
	// It is the newest, unless it has waited longer for its turn than others.
	older := l.newest
	for older != nil && older.deadline.After(c.deadline) {
		older = older.older
	}
	if c.older = older; older != nil {
		c.newer, older.newer = older.newer, c
	} else {
		c.newer, l.oldest = l.oldest, c
	}
	if c.newer != nil {
		c.newer.older = c
	} else {
		l.newest = c
	}
}

// remove takes a call off the list; nil if it is not there any more.
func (l *callList) remove(id uint64) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.byID[id]
	if c != nil {
		l.removeLocked(c)
	}
	return c
}

func (l *callList) removeLocked(c *call) {
	delete(l.byID, c.id)
	if c.deadline.IsZero() {
		return
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		l.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		l.newest = c.older
	}
	c.older, c.newer = nil, nil
}

// expired takes the calls off the list whose time is up. next is the deadline
// of the oldest that is left, or zero.
func (l *callList) expired(now time.Time) (list []*call, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.oldest != nil && !l.oldest.deadline.After(now) {
		list = append(list, l.oldest)
		l.removeLocked(l.oldest)
	}
	if l.oldest != nil {
		next = l.oldest.deadline
	}
	return list, next
}

// all takes every call off the list.
func (l *callList) all() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*call, 0, len(l.byID))
	for _, c := range l.byID {
		list = append(list, c)
		l.removeLocked(c)
	}
	return list
}

// forlorn reports whether nobody waits for any of the calls any more: their
// connections have ended.
func (l *callList) forlorn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.byID {
		if c.req.Context().Err() == nil {
			return false
		}
	}
	return true
}

func (l *callList) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byID)
}

// expireCalls fails the calls whose time is up. next is the deadline of the
// oldest call that is left.
func (r *realm) expireCalls() (next time.Time) {
	list, next := r.w.calls.expired(time.Now())
	for _, c := range list {
		r.w.fail(c.req, ErrTimeout)
		if r.w.p.mayLog() {
			r.log.LogAttrs(r.w.ctx, slog.LevelWarn, "call not answered in time",
				append(c.attrs(), slog.Duration("after", r.w.p.callTimeout()), slog.String("waits", r.waitsFor(c)), slog.String("responder", formatPlace(c.cmd.fnPlace)))...)
		}
	}
	return next
}
