package host

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/amphost/amphost/amp"
)

// rates bound how many calls a second come over one connection, from one
// address or client, and for one command. A connection whose call comes too early
// rests as long as that is early, up to longestRest; beyond it calls are refused.
type rates struct {
	on      atomic.Bool // some rate is bounded
	limited atomic.Uint64

	mu       sync.Mutex // guards the fields below
	perConn  int        // calls a second; 0 for no limit
	perAddr  int
	perCmd   int
	conns    map[*amp.Conn]*source
	addrs    map[string]*shared
	commands map[string]*rate.Limiter
}

// A source is where calls come from.
type source struct {
	own  *rate.Limiter
	addr *shared // nil where there is no address
}

// A shared limiter is that of the connections from one address.
type shared struct {
	*rate.Limiter
	conns int
}

// longestRest is how long a connection rests at most, and so how far beyond a
// rate calls are still taken.
const longestRest = time.Second

// set changes the rates; negative numbers are no limits, as 0 is.
func (s *rates) set(perConn, perAddr, perCommand int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	perConn, perAddr, perCommand = max(perConn, 0), max(perAddr, 0), max(perCommand, 0)
	if perConn == s.perConn && perAddr == s.perAddr && perCommand == s.perCmd {
		return
	}
	s.perConn, s.perAddr, s.perCmd = perConn, perAddr, perCommand
	s.commands = make(map[string]*rate.Limiter)
	for _, shared := range s.addrs {
		shared.Limiter = limiter(perAddr)
	}
	for _, from := range s.conns {
		from.own = limiter(perConn)
	}
	s.on.Store(perConn > 0 || perAddr > 0 || perCommand > 0)
}

// limiter lets so many calls a second through, as many at once, and all if that
// is 0.
func limiter(perSecond int) *rate.Limiter {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), perSecond)
}

// admit takes a peer's call into account. It is false if the call was refused.
// known says that somebody answers the command: all others count as one.
func (s *rates) admit(r *amp.Request, known func(command string) bool) bool {
	if !s.on.Load() || r.Conn() == nil {
		return true
	}
	command := r.Command
	if !known(command) {
		command = ""
	}
	wait, ok := s.reserve(r, command)
	switch {
	case !ok:
		s.limited.Add(1)
		r.Fail(amp.ErrOverloaded.Describe("too many calls a second"))
	case wait > 0:
		r.Rest(wait)
	}
	return ok
}

// reserve returns how early a call is. One that is far too early does not count.
func (s *rates) reserve(r *amp.Request, command string) (early time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.sourceLocked(r)
	limiters := [...]*rate.Limiter{from.own, nil, nil}
	if from.addr != nil {
		limiters[1] = from.addr.Limiter
	}
	if s.perCmd > 0 {
		if limiters[2] = s.commands[command]; limiters[2] == nil {
			limiters[2] = limiter(s.perCmd)
			s.commands[command] = limiters[2]
		}
	}
	now := time.Now()
	var taken [len(limiters)]*rate.Reservation
	for i, l := range limiters {
		if l != nil {
			taken[i] = l.ReserveN(now, 1)
			early = max(early, taken[i].DelayFrom(now))
		}
	}
	if early <= longestRest {
		return early, true
	}
	for _, reservation := range taken {
		if reservation != nil {
			reservation.CancelAt(now)
		}
	}
	return 0, false
}

// sourceLocked returns where a request comes from. It is forgotten when its
// connection ends.
func (s *rates) sourceLocked(r *amp.Request) *source {
	conn := r.Conn()
	if from := s.conns[conn]; from != nil {
		return from
	}
	from := &source{own: limiter(s.perConn)}
	addr := addressOf(conn)
	if addr != "" {
		if s.addrs == nil {
			s.addrs = make(map[string]*shared)
		}
		if from.addr = s.addrs[addr]; from.addr == nil {
			from.addr = &shared{Limiter: limiter(s.perAddr)}
			s.addrs[addr] = from.addr
		}
		from.addr.conns++
	}
	if s.conns == nil {
		s.conns = make(map[*amp.Conn]*source)
	}
	s.conns[conn] = from
	context.AfterFunc(r.Context(), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
		if addr == "" {
			return
		}
		if from.addr.conns--; from.addr.conns == 0 {
			delete(s.addrs, addr)
		}
	})
	return from
}

// addressOf returns whose calls are counted together: those of one client's
// certificate, wherever it comes from, or else of one IP address.
func addressOf(c *amp.Conn) string {
	if client := c.Client(); client != "" {
		return "client " + client
	}
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return ""
}
