package amp

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"syscall"
)

// Stats are what a server has counted, together with the servers whose Limits
// it is.
type Stats struct {
	Conns    int              // connections that are open, also those that speak another protocol by now
	Accepted uint64           // all that were let in
	Refused  uint64           // those that were closed at once, for MaxConns or MaxConnsPerAddr
	Cut      map[error]uint64 // those that a limit has ended: ErrBoxTooBig, ErrBoxTimeout, ErrSlowPeer, ErrIdle, ErrHandshake

	Gone uint64 // those whose peer had gone without a word: Options.KeepAlive and UserTimeout

	Running  int               // the peers' commands that are not answered yet
	Answered uint64            // those that were answered, but not with an error
	Failed   map[string]uint64 // those answered with an error, by its code; "" for codes beyond the first hundred
	HeldBack uint64            // how often a connection was read no further for a while: its commands, its unread answers or Request.Rest
}

// A tally counts for Stats. A nil one counts nothing.
type tally struct {
	running  atomic.Int64
	answered atomic.Uint64 // also with an error
	heldBack atomic.Uint64

	mu       sync.Mutex // guards the fields below
	accepted uint64
	refused  uint64
	cut      map[error]uint64
	gone     uint64
	failed   map[string]uint64
	errors   uint64 // the sum of failed
}

// maxCodes bounds the codes that are told apart.
const maxCodes = 100

func (t *tally) begin() {
	if t != nil {
		t.running.Add(1)
	}
}

func (t *tally) end() {
	if t != nil {
		t.running.Add(-1)
		t.answered.Add(1)
	}
}

// answer counts answers to commands that were never counted by begin.
func (t *tally) answer(n int) {
	if t != nil {
		t.answered.Add(uint64(n))
	}
}

// fail counts an answer that is an error; end counts it too.
func (t *tally) fail(code string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = make(map[string]uint64)
	}
	if _, known := t.failed[code]; !known && len(t.failed) >= maxCodes {
		code = ""
	}
	t.failed[code]++
	t.errors++
}

func (t *tally) holdBack() {
	if t != nil {
		t.heldBack.Add(1)
	}
}

// over counts a connection that has ended for a reason.
func (t *tally) over(reason error) {
	for _, limit := range []error{ErrBoxTooBig, ErrBoxTimeout, ErrSlowPeer, ErrIdle, ErrHandshake} {
		if !errors.Is(reason, limit) {
			continue
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.cut == nil {
			t.cut = make(map[error]uint64)
		}
		t.cut[limit]++
		return
	}
	if isGone(reason) {
		t.mu.Lock()
		t.gone++
		t.mu.Unlock()
	}
}

// isGone reports whether the kernel has given a peer up: what it reports then is
// the last that it heard of the way there, if anything.
func isGone(reason error) bool {
	for _, number := range []error{syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(reason, number) {
			return true
		}
	}
	return false
}

// Stats returns what was counted up to now. It may be called at any time.
func (s *Server) Stats() Stats {
	s = s.limits()
	s.count.mu.Lock()
	open := s.count.open
	s.count.mu.Unlock()
	t := &s.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	stats := Stats{
		Conns: open, Accepted: t.accepted, Refused: t.refused, Cut: maps.Clone(t.cut), Gone: t.gone,
		Running: int(t.running.Load()), Failed: maps.Clone(t.failed), HeldBack: t.heldBack.Load(),
	}
	stats.Answered = t.answered.Load()
	stats.Answered -= min(t.errors, stats.Answered) // one that is just being counted
	return stats
}
