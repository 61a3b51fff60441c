package scripting

import (
	"log/slog"
	"runtime"
	"testing"
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
	busy.loop.dog.begin(nil)
	defer busy.loop.dog.stop()
	m.looked.Store(-1 << 40)
	m.look()
	if asked := m.asked[busy]; asked > 32<<20 {
		t.Errorf("%.0f bytes from before are put down to who runs now", asked)
	}
	if !m.room(greedy, 64<<20) {
		t.Fatal("there is no room")
	}
	wanted := make([]byte, 64<<20)
	m.looked.Store(-1 << 40)
	m.look()
	if most := m.mostLocked(); most != greedy {
		t.Errorf("%.0f are put down to who asked for them, %.0f to who runs", m.asked[greedy], m.asked[busy])
	}
	runtime.KeepAlive(wanted)
}
