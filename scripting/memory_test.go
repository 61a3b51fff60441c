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
	m.runs(busy)
	m.looked.Store(-1 << 40)
	m.look()
	if asked := m.workers[busy].bytes; asked > 32<<20 {
		t.Errorf("%.0f bytes from before are put down to who runs now", asked)
	}
	if !m.room(greedy, 64<<20) {
		t.Fatal("there is no room")
	}
	wanted := make([]byte, 64<<20)
	m.runs(busy)
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
	h := m.heap
	m.read = func() heapSize { return h }
	for _, c := range []struct {
		name       string
		runs, ends bool // greedy's turn, since somebody has looked
		want       *worker
	}{
		{"it goes on", true, false, greedy},
		{"it has ended just now", true, true, greedy},
		{"it has ended", false, false, busy},
	} {
		*m.workers[busy], *m.workers[greedy] = allotment{}, allotment{}
		m.runs(busy)
		if c.runs {
			m.goes(greedy, true)
		}
		if c.ends {
			m.goes(greedy, false)
		}
		h.allocated += 1 << 20
		m.looked.Store(-1 << 40)
		m.look()
		if b, g := m.workers[busy].bytes, m.workers[greedy].bytes; b+g != 1<<20 || m.mostLocked() != c.want {
			t.Errorf("%s: %.0f are put down to the short turns, %.0f to the long one", c.name, b, g)
		}
	}
}

// That a turn goes on, and that it has ended, is told by its watchdog.
func TestLongTurnsAreKnown(t *testing.T) {
	t.Parallel()
	began, end := make(chan struct{}), make(chan struct{})
	wait := Module{Name: "wait", Exports: map[string]any{"wait": func([]any) (any, error) {
		close(began)
		<-end
		return nil, nil
	}}}
	p, _ := run(t, "long", `import * as amp from "amphost";
import { wait } from "wait";
new amp.Command("Wait", {}).responder(() => { wait(); return {}; });
`, &Options{MemoryLimit: 1 << 40, Modules: []Module{wait}, TurnTimeout: maxTurn})
	m := p.hub.memory
	goesOn := func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.long[p.workers[0]]
	}
	done := make(chan error)
	go func() { // ends with the call
		_, err := ask(t, p, "Wait", nil)
		done <- err
	}()
	<-began
	eventually(t, "it is known", goesOn)
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
	eventually(t, "it is over", func() bool { return !goesOn() })
}

// What the collections of Go's have found to live counts, and not the garbage,
// which may fill the heap: it is not collected once more to know. What somebody
// held that is gone is nobody else's.
func TestOnlyWhatLivesCounts(t *testing.T) {
	m := newMemory(1000, slog.New(slog.DiscardHandler))
	h, held := heapSize{cycles: 1}, uint64(0)
	m.read = func() heapSize {
		h := h
		if m.dead == 0 {
			h.live -= held // by who was gone
		}
		return h
	}
	m.heap = h
	w := &worker{loop: newLoop(newWatchdog(0)), p: &Plugin{prog: &Program{Name: "busy"}}}
	m.add(w)
	m.workers[w].add(1, time.Now())
	for _, c := range []struct {
		name           string
		allocates      uint64
		collects       bool
		live           uint64
		gone           bool // is another runtime, and half of that was its
		refused, ended bool
	}{
		{name: "garbage up to the limit", allocates: 990},
		{name: "little of it lives", collects: true, live: 100},
		{name: "a little beyond it", allocates: 910},
		{name: "more than four fifths live", collects: true, live: 850, refused: true},
		{name: "less do", collects: true, live: 100},
		{name: "nearly all does, half of it is nobody's any more", collects: true, live: 950, gone: true},
		{name: "nearly all does, and nothing is gone", collects: true, live: 950, refused: true, ended: true},
	} {
		held = 0
		if c.gone {
			held = c.live / 2
			m.replaced(nil)
		}
		h.allocated += c.allocates
		h.objects += c.allocates
		if c.collects {
			h.cycles++
			h.live = c.live // what does not takes its time to be swept: objects stay as they are
		}
		m.collected = time.Now()
		m.looked.Store(-1 << 40)
		m.look()
		freeing := func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.freeing
		}
		if c.gone {
			eventually(t, "it is collected", func() bool { return !freeing() })
		} else if freeing() {
			t.Errorf("%s: it is collected once more", c.name)
		}
		if ended, refused := !w.loop.isEmpty(), m.overloaded(w.p); ended != c.ended || refused != c.refused {
			t.Errorf("%s: ended %v, refused %v", c.name, ended, refused)
		}
	}
}

// Who has filled most of the memory, and then asks for nothing more, is to blame all
// the same, however much garbage others make meanwhile. If that does not help it
// loses its runtime; and if that was not enough the next one is to blame.
func TestWhoFillsTheMemoryIsNotServedBeforeOthers(t *testing.T) {
	m := newMemory(1000, slog.New(slog.DiscardHandler))
	h := heapSize{cycles: 1}
	m.read = func() heapSize { return h }
	m.heap = h
	newOne := func(name string) *worker {
		w := &worker{loop: newLoop(newWatchdog(0)), p: &Plugin{prog: &Program{Name: name}}}
		m.add(w)
		return w
	}
	hog, busy := newOne("hog"), newOne("busy")
	ended := func(w *worker) bool { return !w.loop.isEmpty() }
	looks := func(live uint64) {
		h.cycles++
		h.objects, h.live = live, live
		m.collected = time.Now()
		m.looked.Store(-1 << 40)
		m.look()
	}
	wants := func(when string, hogRefused, busyRefused, hogEnded, busyEnded bool) {
		t.Helper()
		if m.overloaded(hog.p) != hogRefused || m.overloaded(busy.p) != busyRefused || ended(hog) != hogEnded || ended(busy) != busyEnded {
			t.Errorf("%s: refused: hog %v, busy %v; ended: hog %v, busy %v", when, m.overloaded(hog.p), m.overloaded(busy.p), ended(hog), ended(busy))
		}
	}
	m.workers[hog].add(800, time.Now())
	looks(850)
	wants("it has filled it", true, false, false, false)
	for range 5 {
		m.workers[hog].bytes = 0 // a while ago
		m.workers[busy].add(1<<20, time.Now())
		looks(850)
	}
	wants("others make garbage", true, false, false, false)
	m.since = m.since.Add(-patience - time.Second)
	looks(850)
	wants("that has not helped", true, false, true, false)
	m.replaced(hog)
	m.workers[hog].add(1<<30, time.Now())
	looks(850)
	eventually(t, "it is collected", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.dead == 0
	})
	wants("that was not enough", false, true, true, false)
	looks(100)
	wants("there is memory again", false, false, true, false)
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
	m.collect()
	if !ended(greedy) || ended(good) {
		t.Fatalf("ended: greedy %v, good %v", ended(greedy), ended(good))
	}
	again := func() {
		m.looked.Store(-1 << 40)
		m.look()
	}
	for range 3 {
		m.collect()
		again()
	}
	if ended(good) || m.overloaded(good.p) || !m.overloaded(greedy.p) {
		t.Errorf("while it holds it still: good is ended %v, refused %v; greedy refused %v", ended(good), m.overloaded(good.p), m.overloaded(greedy.p))
	}
	m.beyond += patience
	again()
	if ended(good) || !m.overloaded(good.p) {
		t.Errorf("when that takes long: good is ended %v, refused %v", ended(good), m.overloaded(good.p))
	}
	m.replaced(greedy)
	m.collect()
	if !ended(good) {
		t.Error("it was not enough, and nobody else is ended")
	}
	m.limit = 1 << 40
	again()
	if m.overloaded(good.p) || m.overloaded(greedy.p) {
		t.Error("there is memory again, and calls are refused")
	}
}

// The memory of the machine is no more than what the control groups let this
// process have: its own, or one that this is in.
func TestSystemMemory(t *testing.T) {
	const machine = "MemTotal:       24676532 kB\nMemFree: 5 kB\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing is known", nil, 0},
		{"the machine's", map[string]string{"proc/meminfo": machine}, 24676532 << 10},
		{"a container's, version 2", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n"}, 512 << 20},
		{"a container's, version 1", map[string]string{"proc/meminfo": machine, "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
			"proc/self/cgroup": "4:memory:/docker/1234\n0::/docker/1234\n"}, 512 << 20},
		{"a service's", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/system.slice/amphost.service\n",
			"sys/fs/cgroup/system.slice/amphost.service/memory.max": "268435456\n", "sys/fs/cgroup/system.slice/memory.max": "max\n"}, 256 << 20},
		{"a slice's", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/system.slice/amphost.service\n",
			"sys/fs/cgroup/system.slice/amphost.service/memory.max": "max\n", "sys/fs/cgroup/system.slice/memory.max": "1073741824\n"}, 1 << 30},
		{"a group's, version 1", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "5:cpu,memory:/a/b\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "268435456\n"}, 256 << 20},
		{"more than there is", map[string]string{"proc/meminfo": machine, "sys/fs/cgroup/memory.max": "99999999999999\n"}, 24676532 << 10},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			write(t, root, name, text)
		}
		if got := systemMemory(root); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
}
