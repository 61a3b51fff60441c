package scripting

import (
	"bytes"
	"errors"
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
// runtime; if that is not enough, nobody gets new calls.
//
// What a runtime holds can't be measured. So what the heap grows by is put down
// to the plugins whose turns run when it is looked at, which is every few
// milliseconds while any do.
type memory struct {
	limit uint64 // bytes of heap; 0 for none
	log   *slog.Logger

	looked atomic.Int64 // when, in nanoseconds since begin
	begin  time.Time
	short  atomic.Bool            // new calls are refused
	only   atomic.Pointer[Plugin] // of this plugin only, if not nil

	mu        sync.Mutex // guards the fields below
	samples   [2]metrics.Sample
	allocated uint64              // by the process, at the last look, and what was asked for with room since
	asked     map[*worker]float64 // of the heap, lately
	freeing   bool                // a goroutine collects garbage
	freed     time.Time           // when it was done last
	shed      time.Time           // when a runtime was ended last
	later     []func()            // to do when mu is given back: see unlock
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

func newMemory(limit int64, log *slog.Logger) *memory {
	m := &memory{log: log, begin: time.Now(), asked: make(map[*worker]float64)}
	if limit > 0 {
		m.limit = uint64(limit)
	}
	m.samples[0].Name = "/memory/classes/heap/objects:bytes"
	m.samples[1].Name = "/gc/heap/allocs:bytes"
	_, m.allocated = m.readLocked() // what there was before is nobody's
	return m
}

// add has a worker looked at; remove no more.
func (m *memory) add(w *worker) {
	m.mu.Lock()
	m.asked[w] = 0
	m.mu.Unlock()
}

func (m *memory) remove(w *worker) {
	m.mu.Lock()
	delete(m.asked, w)
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
	grown := uint64(0)
	if allocated > m.allocated { // or what is known of is not allocated yet
		grown, m.allocated = allocated-m.allocated, allocated
	}
	m.attributeLocked(grown)
	switch used := float64(objects) / float64(m.limit); {
	case used < memorySoft:
		if m.short.Swap(false) {
			m.later = append(m.later, func() { m.log.Info("there is memory again, calls are taken", "heap", objects, "limit", m.limit) })
		}
	case !m.freeing && time.Since(m.freed) > 200*time.Millisecond:
		// Much of it may be garbage.
		m.freeing = true
		go m.collect() // ends by itself, soon
	case used > 1:
		m.only.Store(nil)
		m.shedLocked(objects)
	}
}

// attributeLocked puts growth down to whoever runs now.
func (m *memory) attributeLocked(grown uint64) {
	var busy []*worker
	for w := range m.asked {
		m.asked[w] *= 0.98 // of late: half of it in a third of a second
		if w.loop.dog.busy() {
			busy = append(busy, w)
		}
	}
	for _, w := range busy {
		m.asked[w] += float64(grown) / float64(len(busy))
	}
}

// collect collects the garbage, and then sheds load if that was not enough.
func (m *memory) collect() {
	runtime.GC()
	m.mu.Lock()
	defer m.unlock()
	m.freeing, m.freed = false, time.Now()
	objects, _ := m.readLocked()
	used := float64(objects) / float64(m.limit)
	if used < memorySoft {
		return
	}
	if most := m.mostLocked(); used < memoryHard && most != nil {
		m.only.Store(most.p)
		if !m.short.Swap(true) {
			m.later = append(m.later, func() {
				m.log.Error("memory runs out, new calls are refused", "plugin", most.p.prog.Name, "heap", objects, "limit", m.limit)
			})
		}
		return
	}
	if used > memoryHard {
		m.shedLocked(objects)
	}
}

// shedLocked ends the runtime that has asked for most lately.
func (m *memory) shedLocked(objects uint64) {
	if time.Since(m.shed) < 500*time.Millisecond {
		return // what that has freed is not collected yet
	}
	most := m.mostLocked()
	if most == nil {
		return
	}
	if !m.short.Swap(true) {
		m.only.Store(most.p)
	}
	m.shed = time.Now()
	m.asked[most] = 0
	m.later = append(m.later, func() {
		m.log.Error("memory runs out, a plugin is restarted", "plugin", most.p.prog.Name, "heap", objects, "limit", m.limit)
		most.kill(errMemory)
	})
}

// mostLocked returns who has asked for most lately, or nil.
func (m *memory) mostLocked() (most *worker) {
	for w, asked := range m.asked {
		if most == nil || asked > m.asked[most] {
			most = w
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
		if _, ok := m.asked[w]; ok { // of this growth it is known whose it is
			m.asked[w] += float64(n)
			m.allocated += uint64(n)
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
