package scripting

import (
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/amphost/amphost/amp"
)

// A hub is what the plugins of one host share: the connections, with what is
// known of each, and who answers amp.call. What crosses it is encoded, for a
// value of one runtime must not reach another.
type hub struct {
	handler   amp.Handler // answers amp.call
	authority authority   // asked about what peers call

	// describe tells of a command that a plugin answers, for those who call it
	// by its name. Set before the first plugin starts.
	describe func(command string) (Signature, bool)

	// serveRaw gives a raw connection to whatever plugin has the protocol now,
	// or is nil.
	serveRaw func(protocol string, nc net.Conn) bool

	memory  *memory
	running atomic.Int64 // requests to plugins that are not answered yet
	linked  atomic.Int64 // how many links there are

	mu         sync.Mutex       // guards the fields below
	links      map[uint64]*link // by the number of the peer
	dialed     map[string][]*dialed
	returned   map[uint64]*dialed // by the number of the connection that they are now
	lastClient uint64
}

// A link is what plugins know of one connection.
type link struct {
	conn     *amp.Conn         // nil for one that a plugin has opened
	boxes    bool              // its boxes go to a box receiver
	listener string            // the name of the listener it came from, or ""
	identity []byte            // nil until some plugin has set it
	states   map[string][]byte // peer.state between two generations, by plugin
}

func newHub(opts *Options) *hub {
	return &hub{handler: opts.Handler, memory: newMemory(opts.MemoryLimit, opts.Logger), links: make(map[uint64]*link), dialed: make(map[string][]*dialed), returned: make(map[uint64]*dialed)}
}

// add notes a connection. One that is used without having been added is known
// until forget, too.
func (h *hub) add(conn *amp.Conn, listener string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.linkLocked(conn.ID(), conn).listener = listener
}

// addBoxes notes a connection whose boxes go to a box receiver.
func (h *hub) addBoxes(conn *amp.Conn, listener string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.linkLocked(conn.ID(), conn)
	l.listener, l.boxes = listener, true
}

func (h *hub) linkLocked(id uint64, conn *amp.Conn) *link {
	l := h.links[id]
	if l == nil {
		l = &link{conn: conn, states: make(map[string][]byte)}
		h.links[id] = l
		h.linked.Store(int64(len(h.links)))
	}
	return l
}

func (h *hub) unlinkLocked(id uint64) {
	delete(h.links, id)
	h.linked.Store(int64(len(h.links)))
}

func (h *hub) forget(conn *amp.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unlinkLocked(conn.ID())
}

// conns returns the connections that are open and over which commands are
// answered, oldest first.
func (h *hub) conns() []*amp.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*amp.Conn
	for _, id := range slices.Sorted(maps.Keys(h.links)) {
		l := h.links[id]
		if l.conn == nil || l.boxes {
			continue
		}
		select {
		case <-l.conn.Done():
		default:
			list = append(list, l.conn)
		}
	}
	return list
}

// listener returns the name of the listener a connection came from, and
// whether its boxes go to a box receiver.
func (h *hub) listener(conn *amp.Conn) (name string, boxes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[conn.ID()]; l != nil {
		return l.listener, l.boxes
	}
	return "", false
}

// identity returns who a peer is, encoded, or nil.
func (h *hub) identity(peer uint64) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[peer]; l != nil && l.identity != nil {
		return l.identity
	}
	if d := h.returned[peer]; d != nil { // it is what comes back by itself now
		if l := h.links[d.id]; l != nil {
			return l.identity
		}
	}
	return nil
}

// authenticate says who a peer is. It is false if that has been said.
func (h *hub) authenticate(peer uint64, conn *amp.Conn, identity []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.linkLocked(peer, conn)
	if l.identity != nil {
		return false
	}
	l.identity = identity
	return true
}

// leave keeps a plugin's state of a peer for its next generation.
func (h *hub) leave(peer uint64, plugin string, state []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[peer]; l != nil {
		l.states[plugin] = state
	}
}

// take returns what the generation before left, once.
func (h *hub) take(peer uint64, plugin string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.links[peer]
	if l == nil {
		return nil
	}
	state := l.states[plugin]
	delete(l.states, plugin)
	return state
}
