package scripting

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A table that was changed over and over is the one that would be made of what is
// there then.
func TestTableAfter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	now := new(table).after(nil, []string{"p1"})
	running := make(map[string]*Plugin)
	for step := range 500 {
		// Whatever the swaps give up may be taken over by others of them.
		var swaps []swap
		changing := make(map[string]bool)
		for range 1 + rnd.IntN(3) {
			changing[fmt.Sprintf("p%d", rnd.IntN(6))] = true
		}
		free := []string{"A", "B", "C", "D", "E", "F", "protocol x", "boxReceiver y", "unhandled"}
		for name, p := range running {
			if !changing[name] {
				free = slices.DeleteFunc(free, func(claim string) bool { return slices.Contains(claimed(p), claim) })
			}
		}
		rnd.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
		for _, name := range slices.Sorted(maps.Keys(changing)) {
			s := swap{entry: &entry{name: name}, old: running[name]}
			delete(running, name)
			if rnd.IntN(4) > 0 {
				n := rnd.IntN(len(free) + 1)
				s.new = &Plugin{prog: &Program{Name: name}, authorizes: rnd.IntN(2) == 0}
				for _, claim := range free[:n] {
					switch {
					case claim == "unhandled":
						s.new.unhandled = name + ".js:1"
					case strings.Contains(claim, " "):
						s.new.named = append(s.new.named, claim)
					default:
						s.new.signatures = append(s.new.signatures, Signature{Name: claim})
					}
				}
				free = free[n:]
				running[name] = s.new
			}
			swaps = append(swaps, s)
		}
		before := describeTable(now)
		next := now.after(swaps, []string{"p1"})
		if got := describeTable(now); got != before {
			t.Fatalf("step %d has changed the table before: %s, it was %s", step, got, before)
		}
		var all []swap
		for name, p := range running {
			all = append(all, swap{entry: &entry{name: name}, new: p})
		}
		if got, want := describeTable(next), describeTable(new(table).after(all, []string{"p1"})); got != want {
			t.Fatalf("step %d: the table is %s, want %s", step, got, want)
		}
		for _, p := range running {
			for _, s := range p.claims() {
				if next.claimant(s.Name) != p {
					t.Fatalf("step %d: %s is claimed by %v, want %s", step, s.Name, next.claimant(s.Name), p.Name())
				}
			}
		}
		if p := next.claimant("Nothing"); p != nil {
			t.Fatalf("step %d: %s claims what nobody does", step, p.Name())
		}
		now = next
	}
}

func claimed(p *Plugin) []string {
	list := slices.Clone(p.named)
	for _, s := range p.signatures {
		list = append(list, s.Name)
	}
	if p.unhandled != "" {
		list = append(list, "unhandled")
	}
	return list
}

func describeTable(t *table) string {
	var b strings.Builder
	for _, m := range []map[string]*Plugin{t.plugins, t.commands, t.named} {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, "%s=%p ", name, m[name])
		}
	}
	fmt.Fprintf(&b, "unhandled=%p lacks=%s closed=%v authorizers", t.unhandled, t.lacks, t.closed)
	for _, p := range t.authorizers {
		fmt.Fprintf(&b, " %s", p.Name())
	}
	return b.String()
}
