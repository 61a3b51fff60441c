package scripting

import (
	"sync"
	"time"
)

// A turnover is the time from the publishing of a generation until the one
// before it has started all that it was given. The new one holds what it is
// given meanwhile, so that the calls of a connection start in order, however
// many there are before them.
type turnover struct {
	old, next *Plugin

	mu    sync.Mutex // guards the fields below
	busy  []bool     // which of old's workers have not started all of it
	turns []uint64   // at which turn they were at the last look
	look  *time.Timer
	over  bool
}

// holdFor has p hold what it is given, and returns what lets go of it once old
// has started all. It is called before p is published; the function it returns,
// after old refuses.
func (p *Plugin) holdFor(old *Plugin) (open func()) {
	for _, w := range p.workers {
		w.loop.post(w.hold)
	}
	t := &turnover{old: old, next: p, busy: make([]bool, len(old.workers)), turns: make([]uint64, len(old.workers))}
	return t.begin
}

// begin has each of old's workers say when it has come to what was posted last.
func (t *turnover) begin() {
	t.mu.Lock()
	for i, w := range t.old.workers {
		t.busy[i] = true
		t.turns[i], _ = w.loop.dog.hangs(0)
	}
	t.look = time.AfterFunc(t.patience(), t.lookAfter)
	t.mu.Unlock()
	for i, w := range t.old.workers {
		if !w.loop.post(func() {
			if w.paused {
				w.leaveStates()
				w.handOn(t.next)
				t.started(i)
				return
			}
			w.inOrder(func(*worker) { w.leaveStates(); t.started(i) })
		}) {
			t.started(i)
		}
	}
}

// patience is how often lookAfter looks: a turn that runs at both looks is one
// that should have been interrupted.
func (t *turnover) patience() time.Duration { return t.old.turnTimeout() + 100*time.Millisecond }

// started notes that a worker of old has started all it was given.
func (t *turnover) started(worker int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy[worker] = false
	for _, busy := range t.busy {
		if busy {
			return
		}
	}
	t.endLocked()
}

// lookAfter ends the turnover if old gets nowhere: a turn of it that does not
// end must not hold up its successor, nor must a pause before it restarts.
func (t *turnover) lookAfter() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	for i, w := range t.old.workers {
		turn, hangs := w.loop.dog.hangs(t.turns[i])
		if hangs && t.busy[i] {
			t.endLocked()
			return
		}
		t.turns[i] = turn
	}
	t.look.Reset(t.patience())
}

func (t *turnover) endLocked() {
	if t.over {
		return
	}
	t.over = true
	t.look.Stop() // or it would keep the old generation for a while
	for _, w := range t.next.workers {
		w.loop.post(func() {
			if w.realm != nil {
				w.realm.takeStates()
			}
			w.release()
		})
	}
}
