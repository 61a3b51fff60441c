package scripting

import (
	"log/slog"
	"runtime"
	"testing"
	"time"
)

// What the heap grows by is put down to whoever it is known of, and what the
// process had before to nobody.
func TestGrowthIsPutDownToWhoCausedIt(t *testing.T) {
	runtime.KeepAlive(make([]byte, 64<<20))
	m := newMemory(1<<40, slog.New(slog.DiscardHandler))
	newOne := func() *worker {
		w := &worker{loop: newLoop(newWatchdog(0))}
		m.add(w)
		return w
	}
	busy, greedy := newOne(), newOne()
	m.runs(busy, false)
	m.looked.Store(-1 << 40)
	m.look()
	if asked := m.workers[busy].bytes; asked > 32<<20 {
		t.Errorf("%.0f bytes from before are put down to who runs now", asked)
	}
	if !m.room(greedy, 64<<20) {
		t.Fatal("there is no room")
	}
	wanted := make([]byte, 64<<20)
	m.runs(busy, false)
	m.looked.Store(-1 << 40)
	m.look()
	if most := m.mostLocked(); most != greedy {
		t.Errorf("%.0f are put down to who asked for them, %.0f to who runs", m.workers[greedy].bytes, m.workers[busy].bytes)
	}
	runtime.KeepAlive(wanted)
}

// What the heap grows by while a turn goes on and on is that turn's, not that of
// those who have short ones meanwhile.
func TestGrowthIsPutDownToLongTurns(t *testing.T) {
	m, busy, greedy := newMemory(1<<40, slog.New(slog.DiscardHandler)), &worker{}, &worker{}
	m.add(busy)
	m.add(greedy)
	m.runs(busy, false)
	m.runs(greedy, true)
	wanted := make([]byte, 64<<20)
	m.looked.Store(-1 << 40)
	m.look()
	if b, g := m.workers[busy].bytes, m.workers[greedy].bytes; b != 0 || g < 64<<20 {
		t.Errorf("%.0f are put down to the short turns, %.0f to the long one", b, g)
	}
	runtime.KeepAlive(wanted)
}

// When memory runs out the plugin that has asked for most loses its runtime, and
// its calls are refused. Others are left alone until what that one held is free,
// and their calls are refused only if there is more than the limit for long.
func TestOnlyWhoTookTheMemoryPays(t *testing.T) {
	m := newMemory(1, slog.New(slog.DiscardHandler)) // far too little
	newOne := func(name string, asked float64) *worker {
		w := &worker{loop: newLoop(newWatchdog(0)), p: &Plugin{prog: &Program{Name: name}}}
		m.add(w)
		m.workers[w].add(asked, time.Now())
		return w
	}
	good, greedy := newOne("good", 1<<20), newOne("greedy", 1<<30)
	ended := func(w *worker) bool { return !w.loop.isEmpty() }
	m.collect(false)
	if !ended(greedy) || ended(good) {
		t.Fatalf("ended: greedy %v, good %v", ended(greedy), ended(good))
	}
	again := func() {
		m.looked.Store(-1 << 40)
		m.look()
	}
	for range 3 {
		m.collect(m.gone)
		again()
	}
	if ended(good) || m.overloaded(good.p) || !m.overloaded(greedy.p) {
		t.Errorf("while it holds it still: good is ended %v, refused %v; greedy refused %v", ended(good), m.overloaded(good.p), m.overloaded(greedy.p))
	}
	m.beyond = m.beyond.Add(-patience)
	again()
	if ended(good) || !m.overloaded(good.p) {
		t.Errorf("when that takes long: good is ended %v, refused %v", ended(good), m.overloaded(good.p))
	}
	m.replaced(greedy)
	m.collect(m.gone)
	if !ended(good) {
		t.Error("it was not enough, and nobody else is ended")
	}
	m.limit = 1 << 40
	again()
	if m.overloaded(good.p) || m.overloaded(greedy.p) {
		t.Error("there is memory again, and calls are refused")
	}
}
