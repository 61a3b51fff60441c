package scripting

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// errMemory ends a runtime when the process runs out of memory.
var errMemory = errors.New("the process runs out of memory, and this plugin has asked for the most of late")

// memory is the heap of the whole process, which scripts share: goja knows no
// limit, and the kernel kills whoever goes beyond its own. Before that, the
// plugin that has asked for most lately gets no new calls, and then it loses its
// runtime; only if that does not help for a while nobody gets new calls.
//
// What a runtime holds can't be measured. So what the heap grows by is put down
// to the plugins whose turns run meanwhile, which their watchdogs tell of every
// few milliseconds: to those whose turn has run since the last time, or else to
// those that run just then.
type memory struct {
	limit uint64 // bytes of heap; 0 for none
	log   *slog.Logger

	looked atomic.Int64 // when, in nanoseconds since begin
	begin  time.Time
	short  atomic.Bool            // new calls are refused
	only   atomic.Pointer[Plugin] // of this plugin only, if not nil

	mu        sync.Mutex // guards the fields below
	samples   [2]metrics.Sample
	allocated uint64                 // by the process, at the last look
	promised  uint64                 // what was asked for with room, and may not have been allocated yet
	workers   map[*worker]*allotment // all there are
	running   []*worker              // whose turns run
	long      []*worker              // and have done so before
	freeing   bool                   // a goroutine collects garbage
	freed     time.Time              // when it was done last
	ended     *worker                // whose runtime was ended for its memory, which is not free yet, or nil
	gone      bool                   // but that runtime is gone by now
	shed      time.Time              // when it was ended
	beyond    time.Time              // since when there is more than the limit, or zero
	later     []func()               // to do when mu is given back: see unlock
}

// An allotment is how much of the heap a worker has asked for lately: half of it
// is forgotten in a third of a second.
type allotment struct {
	bytes float64
	as    time.Time // of when
}

func (a *allotment) now(t time.Time) float64 {
	return a.bytes * math.Exp2(-t.Sub(a.as).Seconds()*3)
}

func (a *allotment) add(bytes float64, t time.Time) {
	a.bytes, a.as = a.now(t)+bytes, t
}

// unlock gives mu back, and then does what must not be done with it: readers of
// connections ask for it, too.
func (m *memory) unlock() {
	list := m.later
	m.later = nil
	m.mu.Unlock()
	for _, do := range list {
		do()
	}
}

// Parts of the limit.
const (
	memorySoft = 0.80 // beyond it, after a collection, a plugin's new calls are refused
	memoryHard = 0.90 // and beyond it a runtime is ended
)

// How long to wait for what a runtime held that was ended.
const (
	patience     = 3 * time.Second  // before calls of others are refused
	lastPatience = 30 * time.Second // before another runtime is ended, if it does not come back
)

func newMemory(limit int64, log *slog.Logger) *memory {
	m := &memory{log: log, begin: time.Now(), workers: make(map[*worker]*allotment)}
	if limit > 0 {
		m.limit = uint64(limit)
	}
	m.samples[0].Name = "/memory/classes/heap/objects:bytes"
	m.samples[1].Name = "/gc/heap/allocs:bytes"
	_, m.allocated = m.readLocked() // what there was before is nobody's
	return m
}

// add notes a worker; remove no more.
func (m *memory) add(w *worker) {
	m.mu.Lock()
	m.workers[w] = new(allotment)
	m.mu.Unlock()
}

func (m *memory) remove(w *worker) {
	m.mu.Lock()
	delete(m.workers, w)
	if m.ended == w {
		m.gone = true
	}
	m.mu.Unlock()
}

// replaced says that the runtime of a worker is no more: what it held is garbage.
func (m *memory) replaced(w *worker) {
	m.mu.Lock()
	if m.ended == w {
		m.gone = true
	}
	m.mu.Unlock()
}

// overloaded reports whether new calls of a plugin are to be refused.
func (m *memory) overloaded(p *Plugin) bool {
	if !m.short.Load() {
		return false
	}
	m.look() // nobody else does if no turn runs
	only := m.only.Load()
	return m.short.Load() && (only == nil || only == p)
}

// runs says that a turn of a worker runs, and whether it is the one that ran the
// last time.
func (m *memory) runs(w *worker, long bool) {
	if m.limit == 0 {
		return
	}
	m.mu.Lock()
	if long {
		m.long = append(m.long, w)
	} else {
		m.running = append(m.running, w)
	}
	m.mu.Unlock()
}

// look looks at the heap, unless somebody has just done so.
func (m *memory) look() {
	const every = 10 * time.Millisecond
	now, last := int64(time.Since(m.begin)), m.looked.Load()
	if m.limit == 0 || now-last < int64(every) || !m.looked.CompareAndSwap(last, now) {
		return
	}
	m.mu.Lock()
	defer m.unlock()
	objects, allocated := m.readLocked()
	grown := allocated - m.allocated
	m.allocated = allocated
	known := min(grown, m.promised)
	m.promised = (m.promised - known) / 2 // what is asked for is made at once, if at all
	m.attributeLocked(grown - known)
	used := float64(objects) / float64(m.limit)
	switch {
	case used <= 1:
		m.beyond = time.Time{}
	case m.beyond.IsZero():
		m.beyond = time.Now()
	}
	switch {
	case used < memorySoft:
		if m.short.Swap(false) {
			m.later = append(m.later, func() { m.log.Info("there is memory again, calls are taken", "heap", objects, "limit", m.limit) })
		}
	case !m.freeing && time.Since(m.freed) > 200*time.Millisecond:
		// Much of it may be garbage.
		m.freeing = true
		go m.collect(m.gone) // ends by itself, soon
	case used > 1:
		m.shedLocked(objects)
		if time.Since(m.beyond) > patience && (m.only.Swap(nil) != nil || !m.short.Load()) {
			m.short.Store(true)
			m.later = append(m.later, func() {
				m.log.Error("memory runs out, new calls of all plugins are refused", "heap", objects, "limit", m.limit)
			})
		}
	}
}

// attributeLocked puts growth down to whoever runs.
func (m *memory) attributeLocked(grown uint64) {
	list, now := m.long, time.Now()
	if len(list) == 0 {
		list = m.running
	}
	for _, w := range list {
		if a := m.workers[w]; a != nil {
			a.add(float64(grown)/float64(len(list)), now)
		}
	}
	clear(m.running)
	clear(m.long)
	m.running, m.long = m.running[:0], m.long[:0]
}

// collect collects the garbage, and then sheds load if that was not enough.
// gone says that a runtime which was ended is among it.
func (m *memory) collect(gone bool) {
	runtime.GC()
	m.mu.Lock()
	defer m.unlock()
	m.freeing, m.freed = false, time.Now()
	if gone {
		m.ended, m.gone = nil, false
	}
	objects, _ := m.readLocked()
	switch used := float64(objects) / float64(m.limit); {
	case used < memorySoft:
	case used > memoryHard:
		m.shedLocked(objects)
	case m.ended == nil:
		most := m.mostLocked()
		if most == nil {
			return
		}
		m.only.Store(most.p)
		if !m.short.Swap(true) {
			m.later = append(m.later, func() {
				m.log.Error("memory runs out, new calls are refused", "plugin", most.p.prog.Name, "heap", objects, "limit", m.limit)
			})
		}
	}
}

// shedLocked ends the runtime that has asked for most lately, unless what another
// one held is not free yet.
func (m *memory) shedLocked(objects uint64) {
	if m.ended != nil && time.Since(m.shed) < lastPatience {
		return
	}
	most := m.mostLocked()
	if most == nil {
		return
	}
	m.only.Store(most.p)
	m.short.Store(true)
	m.ended, m.gone, m.shed = most, false, time.Now()
	m.workers[most].bytes = 0
	m.later = append(m.later, func() {
		m.log.Error("memory runs out, a plugin is restarted", "plugin", most.p.prog.Name, "heap", objects, "limit", m.limit)
		most.kill(fmt.Errorf("%w: the heap may have %d bytes: MemoryLimit, which is memory in [limits]", errMemory, m.limit))
	})
}

// mostLocked returns who has asked for most lately, or nil.
func (m *memory) mostLocked() (most *worker) {
	bytes, now := 0.0, time.Now()
	for w, a := range m.workers {
		if n := a.now(now); n > bytes {
			most, bytes = w, n
		}
	}
	return most
}

// room reports whether there is room for so many bytes, which a worker asks for.
func (m *memory) room(w *worker, n int64) bool {
	if m.limit == 0 {
		return true
	}
	fits := func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		objects, _ := m.readLocked()
		if float64(objects)+float64(n) >= memoryHard*float64(m.limit) {
			return false
		}
		if a := m.workers[w]; a != nil { // of this growth it is known whose it is
			a.add(float64(n), time.Now())
			m.promised += uint64(n)
		}
		return true
	}
	if fits() {
		return true
	}
	m.mu.Lock()
	again := time.Since(m.freed) >= 200*time.Millisecond
	if again {
		m.freed = time.Now()
	}
	m.mu.Unlock()
	if !again {
		return false
	}
	runtime.GC()
	return fits()
}

func (m *memory) readLocked() (objects, allocated uint64) {
	metrics.Read(m.samples[:])
	return m.samples[0].Value.Uint64(), m.samples[1].Value.Uint64()
}

// defaultMemoryLimit is what the Go runtime was told with GOMEMLIMIT, or else
// three quarters of SystemMemory.
func defaultMemoryLimit() int64 {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit
	}
	return SystemMemory() / 4 * 3
}

// SystemMemory returns how many bytes this process may use: what its control
// group, or else the machine, has. It is 0 where that can't be found out.
func SystemMemory() int64 {
	most := int64(math.MaxInt64)
	for _, path := range []string{
		"/sys/fs/cgroup/memory.max",                   // version 2, as seen in a container
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", // version 1
	} {
		if data, err := os.ReadFile(path); err == nil {
			if n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64); err == nil && n > 0 {
				most = min(most, n)
			}
		}
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range bytes.Lines(data) { // MemTotal:       24676532 kB
			if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == "MemTotal:" {
				if kib, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
					most = min(most, kib<<10)
				}
			}
		}
	}
	if most == math.MaxInt64 {
		return 0
	}
	return most
}
