package scripting

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// errMemory ends a runtime when the process runs out of memory.
var errMemory = errors.New("the process runs out of memory, and this plugin has asked for the most of late")

// memory is the heap of the whole process, which scripts share: goja knows no
// limit, and the kernel kills whoever goes beyond its own. Before that, the
// plugin that has asked for most lately gets no new calls, and if that does not
// help it loses its runtime; only if that does not help for a while, either, nobody
// gets new calls. Who has lost a runtime without there being memory again is not to
// blame: then it is somebody else's turn.
//
// What a runtime holds can't be measured. So what the heap grows by is put down
// to the plugins whose turns run meanwhile, which their watchdogs tell of every
// few milliseconds: to those whose turns go on and on, or else to those that run
// just then.
//
// What lives is known when garbage has been collected. Go does that by itself as
// the heap nears its limit, GOMEMLIMIT, if it has one; it is not done once more
// for the sake of knowing, for what every other call has to wait for is that.
type memory struct {
	limit uint64 // bytes of heap; 0 for none
	log   *slog.Logger

	looked atomic.Int64 // when, in nanoseconds since begin
	begin  time.Time
	short  atomic.Bool            // new calls are refused
	only   atomic.Pointer[Plugin] // of this plugin only, if not nil

	mu        sync.Mutex // guards the fields below
	samples   [4]metrics.Sample
	read      func() heapSize        // of Go's metrics
	heap      heapSize               // when it was read last
	accounted uint64                 // heap.allocated, as of the last look
	promised  uint64                 // what was asked for with room, and may not have been allocated yet
	workers   map[*worker]*allotment // all there are
	running   []*worker              // whose turns run
	long      map[*worker]bool       // whose turns go on and on; false: did so since the last look
	collected time.Time              // when garbage was last found to have been collected
	news      bool                   // what lives has not been looked at since
	freeing   bool                   // a goroutine collects garbage
	named     *worker                // who gets no new calls, or nil
	since     time.Time              // when that began
	tried     map[*worker]bool       // who has lost a runtime since there was memory
	ended     *worker                // whose runtime was ended for its memory and is not gone yet, or nil
	shed      time.Time              // when it was ended
	dead      int                    // how many runtimes are gone since, or before, and what they held may not be free yet
	beyond    time.Duration          // for how long there has been more than the limit
	later     []func()               // to do when mu is given back: see unlock
}

// A heapSize is what is known of the heap.
type heapSize struct {
	objects   uint64 // bytes, garbage included
	allocated uint64 // since the process began
	cycles    uint64 // how often garbage was collected
	live      uint64 // what was found to live then
	at        uint64 // allocated, when that was noticed
}

// used is how many bytes are used, with the garbage since it was last collected:
// what was found then takes its time to be swept.
func (h heapSize) used() uint64 { return min(h.objects, h.live+h.allocated-h.at) }

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
	memorySoft = 0.80    // if more lives, a plugin's new calls are refused, and then its runtime is ended
	memoryHard = 0.90    // if more than this does, that is done at once
	memoryMost = 9. / 8. // and beyond this one is, whether what is used lives or not
)

// How long to wait.
const (
	patience     = 3 * time.Second  // for memory, before who gets no calls loses its runtime, or those of all are refused
	lastPatience = 30 * time.Second // before another runtime is ended, if it does not come back
)

func newMemory(limit int64, log *slog.Logger) *memory {
	m := &memory{log: log, begin: time.Now(), workers: make(map[*worker]*allotment), long: make(map[*worker]bool), tried: make(map[*worker]bool)}
	if limit > 0 {
		m.limit = uint64(limit)
	}
	for i, name := range []string{"/memory/classes/heap/objects:bytes", "/gc/heap/allocs:bytes", "/gc/cycles/total:gc-cycles", "/gc/heap/live:bytes"} {
		m.samples[i].Name = name
	}
	m.read = m.readMetrics
	m.readLocked()
	m.accounted = m.heap.allocated // what there was before is nobody's
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
	delete(m.long, w)
	delete(m.tried, w)
	m.goneLocked(w)
	m.mu.Unlock()
}

// replaced says that the runtime of a worker is no more: what it held is garbage.
func (m *memory) replaced(w *worker) {
	m.mu.Lock()
	m.goneLocked(w)
	m.mu.Unlock()
}

// goneLocked has nobody else pay for what a runtime held that is gone, whatever
// it has died of, until that is free.
func (m *memory) goneLocked(w *worker) {
	m.dead++
	if m.ended == w {
		m.ended = nil
	}
	if m.named == w {
		m.named = nil // it holds nothing any more
	}
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

// runs says that a turn of a worker runs.
func (m *memory) runs(w *worker) {
	if m.limit == 0 {
		return
	}
	m.mu.Lock()
	m.running = append(m.running, w)
	m.mu.Unlock()
}

// goes says that a turn of a worker goes on and on, or does not any more.
func (m *memory) goes(w *worker, on bool) {
	m.mu.Lock()
	if m.workers[w] != nil {
		m.long[w] = on
	}
	m.mu.Unlock()
}

// calmAfter is how long after a collection garbage is not collected for the sake
// of this.
const calmAfter = 200 * time.Millisecond

// look looks at the heap, unless somebody has just done so.
func (m *memory) look() {
	const every = 10 * time.Millisecond
	now, last := int64(time.Since(m.begin)), m.looked.Load()
	if m.limit == 0 || now-last < int64(every) || !m.looked.CompareAndSwap(last, now) {
		return
	}
	m.mu.Lock()
	defer m.unlock()
	m.readLocked()
	grown := m.heap.allocated - m.accounted
	m.accounted = m.heap.allocated
	known := min(grown, m.promised)
	m.promised = (m.promised - known) / 2 // what is asked for is made at once, if at all
	m.attributeLocked(grown - known)
	heap := m.heap.used()
	used := m.share(heap)
	if used <= 1 {
		m.beyond = 0
	} else {
		// While nobody could look nobody could do anything about it, either.
		m.beyond += min(time.Duration(now-last), 2*every)
	}
	switch {
	case used < memorySoft:
		m.named = nil
		clear(m.tried)
		if m.short.Swap(false) {
			m.later = append(m.later, func() { m.log.Info("there is memory again, calls are taken", "heap", heap, "limit", m.limit) })
		}
	case m.news && !m.freeing:
		m.judgeLocked()
	case !m.freeing && m.worthLocked(used, time.Since(m.collected)):
		m.freeLocked() // much of it may be garbage
	case used > 1:
		if used > memoryMost {
			m.shedLocked(nil)
		}
		if m.beyond > patience && (m.only.Swap(nil) != nil || !m.short.Load()) {
			m.short.Store(true)
			m.later = append(m.later, func() {
				m.log.Error("memory runs out, new calls of all plugins are refused", "heap", heap, "limit", m.limit)
			})
		}
	}
}

// worthLocked reports whether garbage is worth collecting, after so long, when so
// much is used.
func (m *memory) worthLocked(used float64, after time.Duration) bool {
	refused := m.short.Load()
	return (used > 1 || refused && m.dead > 0) && after > calmAfter || refused && after > patience
}

// share is what part of the limit so many bytes are.
func (m *memory) share(bytes uint64) float64 { return float64(bytes) / float64(m.limit) }

// attributeLocked puts growth down to whoever runs.
func (m *memory) attributeLocked(grown uint64) {
	list, now := m.running, time.Now()
	if len(m.long) > 0 {
		list = slices.Collect(maps.Keys(m.long))
	}
	for _, w := range list {
		if a := m.workers[w]; a != nil {
			a.add(float64(grown)/float64(len(list)), now)
		}
	}
	clear(m.running)
	m.running = m.running[:0]
	maps.DeleteFunc(m.long, func(_ *worker, goesOn bool) bool { return !goesOn })
}

// freeLocked has garbage collected.
func (m *memory) freeLocked() {
	if !m.freeing {
		m.freeing = true
		go m.collect() // ends by itself, soon
	}
}

// collect collects the garbage, and then sheds load if that was not enough.
func (m *memory) collect() {
	m.mu.Lock()
	dead := m.dead
	m.mu.Unlock()
	runtime.GC()
	m.mu.Lock()
	defer m.unlock()
	m.freeing = false
	m.dead -= dead
	m.readLocked()
	m.judgeLocked()
}

// judgeLocked sheds load if too much lives.
func (m *memory) judgeLocked() {
	m.news = false
	heap := m.heap.live
	switch live := m.share(heap); {
	case live < memorySoft:
	case m.dead > 0:
		m.freeLocked() // perhaps what they held is among it
	case live > memoryHard:
		m.shedLocked(nil)
	case m.ended != nil:
	case m.named == nil: // whoever asks for more meanwhile, of what is free again soon, is not to blame
		most := m.mostLocked()
		if most == nil {
			return
		}
		m.named, m.since = most, time.Now()
		m.only.Store(most.p)
		m.short.Store(true)
		m.later = append(m.later, func() {
			m.log.Error("memory runs out, new calls are refused", "plugin", most.p.prog.Name, "heap", heap, "limit", m.limit)
		})
	case time.Since(m.since) > patience:
		m.shedLocked(m.named)
	}
}

// shedLocked ends the runtime of a worker, or if that is nil the one that has asked
// for most lately, unless what another one held is not free yet.
func (m *memory) shedLocked(most *worker) {
	if m.dead > 0 || m.ended != nil && time.Since(m.shed) < lastPatience {
		return
	}
	if most == nil {
		most = m.mostLocked()
	}
	if most == nil { // all have lost one
		clear(m.tried)
		most = m.mostLocked()
	}
	if most == nil {
		return
	}
	m.only.Store(most.p)
	m.short.Store(true)
	m.ended, m.shed, m.named = most, time.Now(), nil
	m.tried[most] = true
	m.workers[most].bytes = 0
	heap := m.heap.used()
	m.later = append(m.later, func() {
		m.log.Error("memory runs out, a plugin is restarted", "plugin", most.p.prog.Name, "heap", heap, "limit", m.limit)
		most.kill(fmt.Errorf("%w: the heap may have %d bytes: MemoryLimit, which is memory in [limits]", errMemory, m.limit))
	})
}

// mostLocked returns who has asked for most lately, of those who have not lost a
// runtime since there was memory, or nil.
func (m *memory) mostLocked() (most *worker) {
	bytes, now := 0.0, time.Now()
	for w, a := range m.workers {
		if n := a.now(now); n > bytes && !m.tried[w] {
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
		m.readLocked()
		if float64(m.heap.used())+float64(n) >= memoryHard*float64(m.limit) {
			return false
		}
		if a := m.workers[w]; a != nil { // of this growth it is known whose it is
			a.add(float64(n), time.Now())
			m.promised += uint64(n)
		}
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if fits() {
		return true
	}
	if time.Since(m.collected) < calmAfter {
		return false
	}
	m.collected = time.Now()
	m.mu.Unlock()
	runtime.GC()
	m.mu.Lock()
	return fits()
}

// readLocked finds out about the heap.
func (m *memory) readLocked() {
	h := m.read()
	h.at = m.heap.at
	if h.cycles != m.heap.cycles {
		h.at = h.allocated
		m.collected, m.news = time.Now(), true
	}
	m.heap = h
}

// readMetrics is what Go tells of the heap.
func (m *memory) readMetrics() heapSize {
	metrics.Read(m.samples[:])
	n := func(i int) uint64 { return m.samples[i].Value.Uint64() }
	return heapSize{objects: n(0), allocated: n(1), cycles: n(2), live: n(3)}
}

// defaultMemoryLimit is a ninth less than what the Go runtime was told with
// GOMEMLIMIT, so that it does not collect without a pause before, or else
// three quarters of SystemMemory.
func defaultMemoryLimit() int64 {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit / 9 * 8
	}
	return SystemMemory() / 4 * 3
}

// SystemMemory returns how many bytes this process may use: what its control
// groups, or else the machine, have. It is 0 where that can't be found out.
func SystemMemory() int64 { return systemMemory("/") }

// systemMemory is SystemMemory with the system's files below root.
func systemMemory(root string) int64 {
	most := int64(math.MaxInt64)
	for _, group := range controlGroups(root) {
		if data, err := os.ReadFile(group); err == nil {
			if n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64); err == nil && n > 0 {
				most = min(most, n)
			}
		}
	}
	if data, err := os.ReadFile(filepath.Join(root, "proc/meminfo")); err == nil {
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

// controlGroups returns the files that may hold limits of this process: its own
// control group's and those of all that this is in. In a container the first there
// is is the container's.
func controlGroups(root string) (files []string) {
	own := map[string]string{"": "/", "memory": "/"} // by controller; "" is version 2
	if data, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup")); err == nil {
		for line := range strings.Lines(string(data)) { // 4:memory:/system.slice/amphost.service
			if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 {
				for _, controller := range strings.Split(parts[1], ",") {
					if _, ok := own[controller]; ok {
						own[controller] = path.Join("/", parts[2])
					}
				}
			}
		}
	}
	for _, version := range []struct{ controller, dir, file string }{
		{"", "sys/fs/cgroup", "memory.max"},
		{"memory", "sys/fs/cgroup/memory", "memory.limit_in_bytes"},
	} {
		for group := own[version.controller]; ; group = path.Dir(group) {
			files = append(files, filepath.Join(root, version.dir, group, version.file))
			if group == "/" {
				break
			}
		}
	}
	return files
}
