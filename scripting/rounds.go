package scripting

import (
	"runtime"

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

// rounds are the tasks of a loop that has many: one of each connection after
// the other, so that a connection with many requests does not keep the others
// waiting. What belongs to one connection stays in order.
type rounds struct {
	free   []task
	epochs []*epoch // at least one; all but the last end with a barrier
}

// An epoch is what lies between two barriers.
type epoch struct {
	queues map[uint64][]task
	turns  []uint64 // whose turn it is: the connections with tasks
	end    task
}

func newEpoch() *epoch { return &epoch{queues: make(map[uint64][]task)} }

func newRounds(list []task) *rounds {
	r := &rounds{epochs: []*epoch{newEpoch()}}
	r.add(list)
	return r
}

func (r *rounds) add(list []task) {
	for _, t := range list {
		e := r.epochs[len(r.epochs)-1]
		switch key := keyOf(t); key {
		case keyFree:
			r.free = append(r.free, t)
		case keyBarrier:
			e.end = t
			r.epochs = append(r.epochs, newEpoch())
		default:
			if len(e.queues[key]) == 0 {
				e.turns = append(e.turns, key)
			}
			e.queues[key] = append(e.queues[key], t)
		}
	}
}

// next takes the next task; none if nothing is left.
func (r *rounds) next() (t task) {
	if len(r.free) > 0 {
		t, r.free = r.free[0], r.free[1:]
		return t
	}
	e := r.epochs[0]
	if len(e.turns) == 0 {
		if len(r.epochs) > 1 {
			r.epochs = r.epochs[1:]
		}
		t, e.end = e.end, task{}
		return t
	}
	key := e.turns[0]
	e.turns = e.turns[1:]
	queue := e.queues[key]
	t, queue = queue[0], queue[1:]
	if len(queue) == 0 {
		delete(e.queues, key)
	} else {
		e.queues[key] = queue
		e.turns = append(e.turns, key)
	}
	return t
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
		t := l.rounds.next()
		if t.none() {
			l.rounds = nil
			break
		}
		if !l.turn(t) {
			return false
		}
		if l.turns++; l.turns%16 == 0 {
			l.mu.Lock()
			l.rounds.add(l.queue)
			clear(l.queue)
			l.queue = l.queue[:0]
			l.mu.Unlock()
			if !l.left() && !l.fire() {
				return false
			}
			// The loop of a plugin that always has calls waiting never blocks, and
			// what it wakes, such as those who write answers, would wait until it is
			// preempted: ten milliseconds.
			if l.turns%128 == 0 {
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
