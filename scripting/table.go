package scripting

import (
	"maps"
	"slices"
	"strings"

	"github.com/amphost/amphost/amp"
)

// A table says who answers what. It is immutable: a change makes a new one.
type table struct {
	commands  map[string]*Plugin
	plugins   map[string]*Plugin
	named     map[string]*Plugin // by "protocol NAME" and "boxReceiver NAME"
	unhandled *Plugin            // asked for every command that nobody answers, or nil

	authorizers []*Plugin  // asked about every call of a peer, by name
	closed      *amp.Error // why every call of a peer is refused, or nil
	lacks       string     // which plugin, of those that have to be asked
}

// A swap puts one generation of a plugin in the place of another. Either is nil
// if there is none.
type swap struct {
	entry    *entry
	old, new *Plugin
}

// after returns the table that comes after some swaps. The authorizers that have
// to be there are required.
func (t *table) after(swaps []swap, required []string) *table {
	next := &table{commands: copied(t.commands), plugins: copied(t.plugins), named: copied(t.named), unhandled: t.unhandled}
	// First what goes: another plugin may have taken it over.
	for _, s := range swaps {
		if s.old == nil {
			continue
		}
		delete(next.plugins, s.entry.name)
		for _, command := range s.old.signatures {
			delete(next.commands, command.Name)
		}
		for _, name := range s.old.named {
			delete(next.named, name)
		}
		if next.unhandled == s.old {
			next.unhandled = nil
		}
	}
	for _, s := range swaps {
		if s.new == nil {
			continue
		}
		next.plugins[s.entry.name] = s.new
		for _, command := range s.new.signatures {
			next.commands[command.Name] = s.new
		}
		for _, name := range s.new.named {
			next.named[name] = s.new
		}
		if s.new.unhandled != "" {
			next.unhandled = s.new
		}
	}
	next.appoint(required)
	return next
}

func copied(m map[string]*Plugin) map[string]*Plugin {
	if m == nil {
		return make(map[string]*Plugin)
	}
	return maps.Clone(m)
}

// appoint finds the plugins that decide what peers may call. Those that have to
// be there are required.
func (t *table) appoint(required []string) {
	for _, p := range t.plugins {
		if p.authorizes {
			t.authorizers = append(t.authorizers, p)
		}
	}
	slices.SortFunc(t.authorizers, func(a, b *Plugin) int { return strings.Compare(a.Name(), b.Name()) })
	for _, name := range required {
		if p := t.plugins[name]; p == nil || !p.authorizes {
			t.closed, t.lacks = ErrForbidden, name
			return
		}
	}
}

// claimant returns the plugin that has a claim, of those that Plugin.claims
// returns, or nil.
func (t *table) claimant(claim string) *Plugin {
	if p := t.commands[claim]; p != nil {
		return p
	}
	if claim == claimUnhandled {
		return t.unhandled
	}
	if name, ok := strings.CutPrefix(claim, "(amp."); ok {
		return t.named[strings.TrimSuffix(name, ")")]
	}
	return nil
}
