package scripting

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// waitsFor says what a call waits for that is not answered in time: of what its
// code began, what is not done. It is asked of calls whose time is up, so
// nothing is kept for it but whose each thing is.
func (r *realm) waitsFor(c *call) string {
	now := time.Now()
	var list []string
	for _, o := range r.outgoing {
		if o.call == c {
			list = append(list, fmt.Sprintf("the answer to its call of %s, for %v", o.cmd.name, now.Sub(o.began).Round(time.Millisecond)))
		}
	}
	for _, u := range r.updates {
		if u.by == c {
			list = append(list, "a commit")
		}
	}
	for _, t := range r.timers {
		if t.call == c && t.every == 0 {
			list = append(list, fmt.Sprintf("a timer that is due in %v", t.when.Sub(now).Round(time.Millisecond)))
		}
	}
	if len(list) == 0 {
		return "a promise that is not settled, and that no call, commit or timer of its own is left to settle"
	}
	slices.Sort(list)
	if n := len(list); n > 5 {
		list = append(list[:5], fmt.Sprintf("%d things more", n-5))
	}
	return strings.Join(list, ", ")
}
