package scripting

import (
	"container/heap"
	"time"
)

// A timer calls a function on the loop once it is due.
type timer struct {
	when    time.Time
	seq     uint64 // among equals, the first set is the first to fire
	fn      func()
	every   time.Duration // > 0: again and again
	stopped bool
	call    *call // whose code set it, or nil
	idle    bool  // a program need not wait for it
	index   int   // in the heap; -1 if it is not
	owner   *timers
}

// timers are the timers of one loop. Only its goroutine touches them.
type timers struct {
	heap timerHeap
	seq  uint64
}

// after sets a timer.
func (ts *timers) after(d time.Duration, fn func()) *timer {
	ts.seq++
	t := &timer{when: time.Now().Add(d), seq: ts.seq, fn: fn, owner: ts}
	heap.Push(&ts.heap, t)
	return t
}

// stop keeps t from firing. It may be nil, or have fired.
func (t *timer) stop() {
	if t == nil || t.stopped {
		return
	}
	t.stopped = true
	if t.index >= 0 {
		heap.Remove(&t.owner.heap, t.index)
	}
}

// fire calls the timer's function, and sets it again if it is an interval: from
// now, so that a busy loop does not owe calls.
func (t *timer) fire() {
	if t.every > 0 {
		defer func() {
			if !t.stopped {
				t.when = time.Now().Add(t.every)
				t.owner.seq++
				t.seq = t.owner.seq
				heap.Push(&t.owner.heap, t)
			}
		}()
	} else {
		t.stopped = true
	}
	t.fn()
}

// next tells when the first timer is due.
func (ts *timers) next() (time.Time, bool) {
	if len(ts.heap) == 0 {
		return time.Time{}, false
	}
	return ts.heap[0].when, true
}

// due takes the timers that are due out of the heap, in order.
func (ts *timers) due(now time.Time) []*timer {
	var list []*timer
	for len(ts.heap) > 0 && !ts.heap[0].when.After(now) {
		list = append(list, heap.Pop(&ts.heap).(*timer))
	}
	return list
}

// timerHeap implements heap.Interface.
type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if !h[i].when.Equal(h[j].when) {
		return h[i].when.Before(h[j].when)
	}
	return h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
