package scripting

import (
	"runtime"
	"sync"
	"time"
)

// occupied is the processors that turns keep occupied which go on and on. Go
// takes a processor from a goroutine after ten milliseconds, and gives it back
// when nobody else is ready; so as long as one is left everybody else is served
// at once. When such turns have them all, each wake-up of anybody else, of which
// a call takes several, waits for those ten milliseconds. So there is always one
// more than they have: the kernel shares out the cores then, in shorter slices
// and to whoever has just become ready.
var occupied = &processors{procs: runtime.GOMAXPROCS, reset: runtime.SetDefaultGOMAXPROCS}

// processors are those of Go's scheduler, GOMAXPROCS, with one always left for
// others than the turns that go on and on.
type processors struct {
	procs func(int) int // runtime.GOMAXPROCS
	reset func()        // runtime.SetDefaultGOMAXPROCS

	mu    sync.Mutex // guards the fields below
	turns int        // that go on, or were given up and have not come back

	setting sync.Mutex // held while what follows is used; to set it may take as long as a collection
	usual   int        // how many there are when there are none more, or 0: there are none more
}

// enoughAfter is how long there are more than necessary: to change that stops all
// goroutines for a moment.
const enoughAfter = time.Second

// occupy says that a turn goes on and on, vacate that it has come to its end.
// They do not block.
func (p *processors) occupy() {
	p.mu.Lock()
	p.turns++
	p.mu.Unlock()
	go p.adjust() // ends by itself
}

func (p *processors) vacate() {
	p.mu.Lock()
	p.turns--
	p.mu.Unlock()
	time.AfterFunc(enoughAfter, p.adjust)
}

// adjust has there be as many processors as are needed: at most twice the usual
// number and two, for the collector of garbage has its share of all.
func (p *processors) adjust() {
	p.setting.Lock()
	defer p.setting.Unlock()
	p.mu.Lock()
	need := p.turns + 1
	p.mu.Unlock()
	now := p.procs(0)
	usual := p.usual
	if usual == 0 {
		usual = now
	}
	switch need = min(max(need, usual), 2*usual+2); {
	case need == now:
	case need == usual:
		p.usual = 0
		p.reset() // so that Go heeds changes of the machine again, which it does not after procs
		if p.procs(0) != usual {
			p.procs(usual) // somebody had set it, as GOMAXPROCS does in the environment
		}
	default:
		p.usual = usual
		p.procs(need)
	}
}
