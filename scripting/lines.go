package scripting

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// maxLine bounds one line of the log that a plugin writes, in bytes.
const maxLine = 64 << 10

// A lineLimit bounds what a plugin writes into the log.
type lineLimit struct {
	mu      sync.Mutex // guards the fields below
	since   time.Time  // when the second began that is counted
	lines   int        // in it
	dropped int        // of those before
}

// mayLog reports whether the plugin may write one more line now.
func (p *Plugin) mayLog() bool {
	most := p.opts.MaxLogLines
	if most < 0 || p.program != nil { // a program's output is its own
		return true
	}
	l := &p.lines
	now := time.Now()
	l.mu.Lock()
	dropped := 0
	if now.Sub(l.since) >= time.Second {
		dropped, l.dropped = l.dropped, 0
		l.since, l.lines = now, 0
	}
	l.lines++
	ok := l.lines <= most
	if !ok {
		l.dropped++
	}
	first := l.dropped == 1
	l.mu.Unlock()
	if dropped > 0 {
		p.log.Warn("the plugin wrote more lines than it may, some were dropped", "dropped", dropped, "limit", fmt.Sprintf("%d/s", most))
	}
	if !ok && first {
		p.log.Warn("the plugin writes more lines than it may, the next are dropped", "limit", fmt.Sprintf("%d/s", most))
	}
	return ok
}

// shortLine cuts off a line that is too long.
func shortLine(s string) string {
	if len(s) <= maxLine {
		return s
	}
	return strings.ToValidUTF8(s[:maxLine], "") + fmt.Sprintf("… and %d bytes more", len(s)-maxLine)
}
