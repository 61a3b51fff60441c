package scripting

import (
	"slices"

	"github.com/amphost/amphost/amp"
)

// A dialed is a connection that a plugin has opened with amp.connect. It
// belongs to the generation that asked for it. The next one adopts it by asking
// for the same address while both are there; the last of them to end closes it.
// It implements amp.Handler, for what the other side calls.
type dialed struct {
	hub     *hub
	key     string // who asked, and what for
	address string
	again   bool        // it comes back by itself
	id      uint64      // the peer's number in scripts; set by open
	conn    *amp.Conn   // unless it comes back; set before open
	client  *amp.Client // if it comes back; set before open
	users   []*realm    // oldest first; guarded by hub.mu
}

// clientIDs are the numbers of peers that come back by themselves; those of
// connections are below.
const clientIDs = 1 << 52

// ServeAMP gives what the other side calls to the newest generation that has
// the connection, and there to the worker that asked for it. While that one
// still loads, the generation before it answers.
func (d *dialed) ServeAMP(r *amp.Request) {
	pause := false
	if w := d.owner(r.Conn()); w != nil {
		pause = w.p.switches[r.Command]
	}
	d.hub.authority.admit(r, pause, amp.HandlerFunc(d.serve))
}

func (d *dialed) serve(r *amp.Request) {
	var last *worker
	for {
		w := d.owner(r.Conn())
		if w == nil || w == last {
			r.Fail(amp.ErrShuttingDown)
			return
		}
		if w.p.takeOn(w, r) {
			return
		}
		last = w // it was replaced, or has ended
	}
}

// owner returns the worker that answers over the connection, or nil.
func (d *dialed) owner(conn *amp.Conn) *worker {
	d.hub.mu.Lock()
	defer d.hub.mu.Unlock()
	if d.again && d.hub.returned[conn.ID()] != d {
		for id, other := range d.hub.returned {
			if other == d {
				delete(d.hub.returned, id)
			}
		}
		d.hub.returned[conn.ID()] = d
	}
	for _, r := range slices.Backward(d.users) {
		if r.w.p.live.Load() {
			return r.w
		}
	}
	if len(d.users) > 0 {
		return d.users[0].w
	}
	return nil
}

// open notes a connection that was opened.
func (h *hub) open(d *dialed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.conn != nil {
		d.id = d.conn.ID()
	} else {
		h.lastClient++
		d.id = clientIDs + h.lastClient
	}
	if len(h.dialed)%64 == 63 { // those that end are told of to nobody
		for key := range h.dialed {
			h.pruneLocked(key)
		}
	}
	h.pruneLocked(d.key)
	h.dialed[d.key] = append(h.dialed[d.key], d)
	h.links[d.id] = &link{states: make(map[string][]byte)}
}

// adopt returns a connection that an earlier generation has opened with the
// same key, and that no realm of this one has yet; nil if there is none.
func (h *hub) adopt(key string, r *realm) *dialed {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pruneLocked(key)
	for _, d := range h.dialed[key] {
		if !slices.ContainsFunc(d.users, func(u *realm) bool { return u.w.p == r.w.p }) {
			d.users = append(d.users, r)
			return d
		}
	}
	return nil
}

// pruneLocked forgets the connections of a key that have ended.
func (h *hub) pruneLocked(key string) {
	list := slices.DeleteFunc(h.dialed[key], h.overLocked)
	if len(list) == 0 {
		delete(h.dialed, key)
		return
	}
	h.dialed[key] = list
}

// overLocked reports whether a connection has ended, and then forgets its link.
func (h *hub) overLocked(d *dialed) bool {
	over := len(d.users) == 0
	if d.conn != nil {
		select {
		case <-d.conn.Done():
			over = true
		default:
		}
	}
	if over {
		h.unlinkLocked(d.id)
	}
	return over
}

// giveUp says that a realm closes a connection. It is false if a later
// generation has adopted that, and goes on with it.
func (h *hub) giveUp(d *dialed, r *realm) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(d.users); n > 0 && d.users[n-1] != r {
		d.users = slices.DeleteFunc(d.users, func(u *realm) bool { return u == r })
		return false
	}
	d.users = nil
	h.removeLocked(d)
	return true
}

func (h *hub) removeLocked(d *dialed) {
	h.pruneLocked(d.key)
	for id, other := range h.returned {
		if other == d {
			delete(h.returned, id)
		}
	}
}

// release says that a realm has ended, and returns the connections that nobody
// else has.
func (h *hub) release(r *realm) (orphans []*dialed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, list := range h.dialed {
		for _, d := range list {
			before := len(d.users)
			d.users = slices.DeleteFunc(d.users, func(u *realm) bool { return u == r })
			if len(d.users) == 0 && before > 0 {
				orphans = append(orphans, d)
			}
		}
	}
	for _, d := range orphans {
		h.removeLocked(d)
	}
	return orphans
}

// dialedBy returns the connection that comes back by itself and is this one
// now, or nil.
func (h *hub) dialedBy(conn *amp.Conn) *dialed {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.returned[conn.ID()]
}
