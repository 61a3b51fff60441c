package scripting

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// refuse fails the candidates whose commands are taken. It goes on until what
// is left fits together, for a candidate that fails keeps its old commands.
func (d *Dir) refuse(candidates []*candidate) {
	for again := true; again; {
		again = false
		owners := make(map[string]*candidate) // commands of candidates, first come first
		replaced := make(map[string]bool)
		for _, c := range candidates {
			replaced[c.entry.name] = c.removed || c.plugin != nil
		}
		t := d.table.Load()
		for _, c := range candidates {
			if c.plugin == nil {
				continue
			}
			for _, s := range c.plugin.claims() {
				var err error
				if d.opts.Reserved != nil {
					if where, taken := d.opts.Reserved(s.Name); taken {
						err = takenBy(s, where)
					}
				}
				if p := t.claimant(s.Name); err == nil && p != nil && !replaced[p.Name()] {
					err = takenBy(s, responderOf(p.Name(), p, s.Name))
				}
				if o := owners[s.Name]; err == nil && o != nil {
					err = takenBy(s, responderOf(o.entry.name, o.plugin, s.Name))
				}
				if err != nil {
					c.err, c.taken = err, true
					break
				}
				owners[s.Name] = c
			}
			if c.err != nil {
				c.plugin.abandon()
				c.plugin = nil
				again = true
				break
			}
		}
	}
}

// claimUnhandled is the claim of who answers what nobody else does.
const claimUnhandled = "(amp.unhandled)"

// claims are the commands of a plugin and, as if they were some, its protocols,
// box receivers and amp.unhandled: what only one plugin of a host may have.
func (p *Plugin) claims() []Signature {
	list := slices.Clone(p.signatures)
	for _, name := range p.named {
		list = append(list, Signature{Name: "(amp." + name + ")"})
	}
	if p.unhandled != "" {
		file, line, _ := strings.Cut(p.unhandled, ":")
		n, _ := strconv.Atoi(line)
		list = append(list, Signature{Name: claimUnhandled, File: file, Line: n})
	}
	return list
}

// takenBy says that a command is answered twice.
func takenBy(s Signature, where string) error {
	return &Error{Message: fmt.Sprintf("command %s has a responder already: %s", s.Name, where), File: s.File, Line: s.Line, Column: 1}
}

// responderOf says where a plugin's command has its responder.
func responderOf(name string, p *Plugin, command string) string {
	for _, s := range p.claims() {
		if s.Name == command && s.File != "" {
			return fmt.Sprintf("plugin %s, at %s:%d", name, s.File, s.Line)
		}
	}
	return "plugin " + name
}
