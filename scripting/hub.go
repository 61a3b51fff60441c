package scripting

import (
	"maps"
	"slices"
	"sync"

	"github.com/amphost/amphost/amp"
)

// A hub is what the plugins of one host share: the connections, with what is
// known of each, and who answers amp.call. What crosses it is encoded, for a
// value of one runtime must not reach another.
type hub struct {
	handler amp.Handler // answers amp.call

	// describe tells of a command that a plugin answers, for those who call it
	// by its name. Set before the first plugin starts.
	describe func(command string) (Signature, bool)

	mu    sync.Mutex // guards the fields below
	links map[uint64]*link
}

// A link is what plugins know of one connection.
type link struct {
	conn     *amp.Conn
	listener string            // the name of the listener it came from, or ""
	identity []byte            // nil until some plugin has set it
	states   map[string][]byte // peer.state between two generations, by plugin
}

func newHub(h amp.Handler) *hub { return &hub{handler: h, links: make(map[uint64]*link)} }

// add notes a connection. One that is used without having been added is known
// until forget, too.
func (h *hub) add(conn *amp.Conn, listener string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.linkLocked(conn).listener = listener
}

func (h *hub) linkLocked(conn *amp.Conn) *link {
	l := h.links[conn.ID()]
	if l == nil {
		l = &link{conn: conn, states: make(map[string][]byte)}
		h.links[conn.ID()] = l
	}
	return l
}

func (h *hub) forget(conn *amp.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.links, conn.ID())
}

// conns returns the connections that are open, oldest first.
func (h *hub) conns() []*amp.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*amp.Conn
	for _, id := range slices.Sorted(maps.Keys(h.links)) {
		select {
		case <-h.links[id].conn.Done():
		default:
			list = append(list, h.links[id].conn)
		}
	}
	return list
}

// listener returns the name of the listener a connection came from.
func (h *hub) listener(conn *amp.Conn) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[conn.ID()]; l != nil {
		return l.listener
	}
	return ""
}

// identity returns who a connection's peer is, encoded, or nil.
func (h *hub) identity(conn *amp.Conn) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[conn.ID()]; l != nil {
		return l.identity
	}
	return nil
}

// authenticate says who a connection's peer is. It is false if that has been
// said.
func (h *hub) authenticate(conn *amp.Conn, identity []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.linkLocked(conn)
	if l.identity != nil {
		return false
	}
	l.identity = identity
	return true
}

// leave keeps a plugin's state of a connection for its next generation.
func (h *hub) leave(conn *amp.Conn, plugin string, state []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[conn.ID()]; l != nil {
		l.states[plugin] = state
	}
}

// take returns what the generation before left, once.
func (h *hub) take(conn *amp.Conn, plugin string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.links[conn.ID()]
	if l == nil {
		return nil
	}
	state := l.states[plugin]
	delete(l.states, plugin)
	return state
}
