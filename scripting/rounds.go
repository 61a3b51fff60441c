package scripting

import (
	"runtime"
	"time"

	"github.com/amphost/amphost/amp"
)

// longQueue is from how many tasks on connections take turns.
const longQueue = 128

// What a function belongs to, if not to a connection.
const (
	keyBarrier = 0              // nothing is done before it that came after it, nor the other way round
	keyFree    = ^uint64(0)     // it goes before all requests: something that was begun goes on
	keyNone    = ^uint64(0) - 1 // requests that came from no connection
)

func keyOf(t task) uint64 {
	if t.req == nil {
		return t.key
	}
	if conn := t.req.Conn(); conn != nil {
		return conn.ID()
	}
	return keyNone
}

// rounds are the tasks of a loop that has many: some of one connection and then
// some of the next, so that a connection with many requests does not keep the
// others waiting. What belongs to one connection stays in order.
type rounds struct {
	free   []task
	epochs []*epoch // at least one; all but the last end with a barrier
	last   *row     // what was added to last, or nil
	spare  []*row   // to use again

	freed int       // how many were taken of free since that was empty
	taken int       // how many were taken in this turn
	since time.Time // when it began
}

// An epoch is what lies between two barriers.
type epoch struct {
	rows  map[uint64]*row
	turns []*row // whose turn it is: those of rows
	end   task
}

// A row is what waits of one connection.
type row struct {
	key   uint64
	tasks []task
	at    int // tasks before it are done
}

// add adds a task, where others were done if that is half of the memory: a row
// may never be empty.
func (w *row) add(t task) {
	if len(w.tasks) == cap(w.tasks) && w.at >= len(w.tasks)/2 {
		n := copy(w.tasks, w.tasks[w.at:])
		clear(w.tasks[n:])
		w.tasks, w.at = w.tasks[:n], 0
	}
	w.tasks = append(w.tasks, t)
}

// manyFree is how many that go before all requests have been answered together:
// what a commit has settled is not to wait for a whole turn of requests.
const manyFree = 16

// A turn of a connection lasts for so many tasks, or so long.
const (
	mostOfTurn = 64
	turnTime   = 200 * time.Microsecond
)

func newEpoch() *epoch { return &epoch{rows: make(map[uint64]*row)} }

func newRounds(list []task) *rounds {
	r := &rounds{epochs: []*epoch{newEpoch()}}
	r.add(list)
	return r
}

func (r *rounds) add(list []task) {
	for _, t := range list {
		switch key := keyOf(t); key {
		case keyFree:
			r.free = append(r.free, t)
		case keyBarrier:
			r.epochs[len(r.epochs)-1].end = t
			r.epochs = append(r.epochs, newEpoch())
			r.last = nil
		default:
			if r.last == nil || r.last.key != key {
				r.last = r.rowOf(key)
			}
			r.last.add(t)
		}
	}
}

// rowOf returns the row of a connection.
func (r *rounds) rowOf(key uint64) *row {
	e := r.epochs[len(r.epochs)-1]
	w := e.rows[key]
	if w == nil {
		if n := len(r.spare); n > 0 {
			w, r.spare = r.spare[n-1], r.spare[:n-1]
		} else {
			w = new(row)
		}
		w.key = key
		e.rows[key] = w
		e.turns = append(e.turns, w)
	}
	return w
}

// next takes the next task; none if nothing is left. over is true if what was
// answered is not to wait any longer: it is the last of its connection's turn, or of
// many that go before all requests.
func (r *rounds) next() (t task, over bool) {
	if len(r.free) > 0 {
		t, r.free = r.free[0], r.free[1:]
		if r.freed++; len(r.free) > 0 {
			return t, false
		}
		over, r.freed = r.freed >= manyFree, 0
		return t, over
	}
	e := r.epochs[0]
	if len(e.turns) == 0 {
		if len(r.epochs) > 1 {
			r.epochs = r.epochs[1:]
		}
		t, e.end = e.end, task{}
		return t, true
	}
	w := e.turns[0]
	t, w.tasks[w.at] = w.tasks[w.at], task{}
	w.at++
	switch {
	case w.at == len(w.tasks):
		e.turns = e.turns[1:]
		delete(e.rows, w.key)
		if r.last == w {
			r.last = nil
		}
		w.tasks, w.at = w.tasks[:0], 0
		r.spare = append(r.spare, w)
	case r.isOver():
		e.turns = append(e.turns[1:], w)
	default:
		return t, false
	}
	r.taken = 0
	return t, true
}

// isOver reports whether a turn has lasted long enough, with one more task. The
// clock is looked at seldom: when there are twice as many.
func (r *rounds) isOver() bool {
	if r.taken++; r.taken >= mostOfTurn {
		return true
	}
	if r.taken&(r.taken-1) != 0 {
		return false
	}
	now := time.Now()
	if r.taken == 1 {
		r.since = now
		return false
	}
	return now.Sub(r.since) > turnTime
}

// workInRounds does the tasks of a long queue, and what comes meanwhile, until
// nothing is left. It is false if a turn was given up.
func (l *loop) workInRounds() bool {
	l.rounds = newRounds(l.batch)
	clear(l.batch)
	l.batch = l.batch[:0]
	for l.rounds != nil {
		if !l.within(longQueue, l.doRounds) {
			return false
		}
	}
	l.answers.Flush()
	return true
}

// doRounds does what is left of the rounds, or some of it. It is false if a turn
// was given up.
func (l *loop) doRounds() bool {
	for range turnsWithin {
		if !l.doFront() {
			return false
		}
		if l.left() {
			break
		}
		t, over := l.rounds.next()
		if t.none() {
			l.rounds = nil
			break
		}
		if t.req != nil {
			l.answers.Add(t.req)
		}
		if !l.turn(t) {
			return false
		}
		l.turns++
		if over || l.turns%mostOfTurn == 0 {
			l.answers.Flush()
		}
		if l.turns%16 == 0 {
			l.mu.Lock()
			l.rounds.add(l.queue)
			clear(l.queue)
			l.queue = l.queue[:0]
			l.mu.Unlock()
			if !l.left() && !l.fire() {
				return false
			}
			// The loop of a plugin that always has calls waiting never blocks, and
			// what it wakes would wait until it is preempted: ten milliseconds.
			if l.turns%1024 == 0 {
				runtime.Gosched()
			}
		}
	}
	return true
}

// mayTake reports whether a plugin that has running calls of most may take
// another one of a connection: there is always room left for others.
func mayTake(conn *amp.Conn, running, most int) bool {
	return running <= most && (conn == nil || running <= most/2 || conn.Running() <= 8*(most-running)+8)
}
