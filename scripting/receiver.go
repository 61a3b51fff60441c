package scripting

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// Receiver returns what takes the boxes of one connection for the box receiver
// of a name, which is looked up anew for each box: so a reload moves the
// connection to the new version between two boxes. It is nil if there is no
// such box receiver.
func (d *Dir) Receiver(name string) amp.BoxReceiver {
	if d.table.Load().named["boxReceiver "+name] == nil {
		return nil
	}
	b := &boxReceiver{dir: d, name: name, credit: make(chan struct{}, 64)}
	b.sent.L = &b.mu
	return b
}

// A boxReceiver takes the boxes of one connection. It implements
// amp.BoxReceiver.
type boxReceiver struct {
	dir    *Dir
	name   string
	conn   *amp.Conn
	credit chan struct{}  // boxes on their way to the script: back-pressure
	sends  sync.WaitGroup // boxes being sent

	mu      sync.Mutex // guards the fields below
	out     []amp.Box  // to be sent, in order; the first one is being sent
	size    int        // bytes in out
	sent    sync.Cond  // out has become shorter
	stopped bool       // nothing is sent any more
}

// maxUnsent is how many boxes of the script may wait for a peer that is slow to
// read before nothing more is read from it.
const maxUnsent = 64

// mostUnsentBytes is how much may wait in any case.
const mostUnsentBytes = 16 << 20

// StartReceivingBoxes implements amp.BoxReceiver.
func (b *boxReceiver) StartReceivingBoxes(c *amp.Conn) {
	b.conn = c
	b.dir.hub.addBoxes(c, b.name)
	b.post(func(r *realm) {
		if r != nil {
			r.boxConn(b)
		}
	})
}

// BoxReceived implements amp.BoxReceiver.
func (b *boxReceiver) BoxReceived(box amp.Box) {
	select {
	case b.credit <- struct{}{}:
	case <-b.conn.Done():
		return
	}
	if !b.post(func(r *realm) {
		<-b.credit
		if r != nil {
			r.boxReceived(b, box)
		}
	}) {
		<-b.credit
		b.conn.LoseConnection() // the plugin has no such box receiver any more
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.out) > maxUnsent { // sending fails, and so ends, with the connection
		b.sent.Wait()
	}
}

// StopReceivingBoxes implements amp.BoxReceiver.
func (b *boxReceiver) StopReceivingBoxes(reason error) {
	if !b.post(func(r *realm) {
		if r != nil {
			r.stopBoxes(b, reason)
		}
		b.dir.hub.forget(b.conn)
	}) {
		b.dir.hub.forget(b.conn)
	}
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	b.sends.Wait()
}

// post has the plugin that has the box receiver now do f, with no realm if it
// can't start any more. It is false if there is no such plugin.
func (b *boxReceiver) post(f func(*realm)) bool {
	return b.dir.serveNamed("boxReceiver "+b.name, func(p *Plugin) bool {
		w := p.workerOf(b.conn)
		return w.loop.offer(b.conn.ID(), func() {
			w.inOrder(func(w *worker) { f(w.realm) })
		})
	})
}

// send queues a box. Sending may have to wait for the peer, which the loop
// must not. A script that sends without being asked is not held up by a reader
// that pauses, so a peer that is far behind is cut off.
func (b *boxReceiver) send(box amp.Box) {
	n := sizeOf(box)
	b.mu.Lock()
	slow := len(b.out) > 0 && b.size+n > mostUnsentBytes
	if b.stopped || slow {
		tell := slow && !b.stopped
		b.stopped = true
		b.mu.Unlock()
		if tell {
			b.dir.opts.Logger.Warn("a connection is cut off: the peer does not read what a box receiver sends", "receiver", b.name, "peer", addrString(b.conn.RemoteAddr()), "bytes", mostUnsentBytes)
			b.conn.Close()
		}
		return
	}
	defer b.mu.Unlock()
	b.out = append(b.out, box)
	b.size += n
	if len(b.out) > 1 {
		return
	}
	b.sends.Go(func() { // ends when nothing is left; SendBox ends with the connection
		for {
			b.mu.Lock()
			box := b.out[0]
			b.mu.Unlock()
			_ = b.conn.SendBox(box) // fails when the connection has ended
			b.mu.Lock()
			b.out = b.out[1:]
			b.size -= sizeOf(box)
			end := len(b.out) == 0
			b.sent.Signal()
			b.mu.Unlock()
			if end {
				return
			}
		}
	})
}

func sizeOf(box amp.Box) int {
	n := 2
	for key, value := range box {
		n += 4 + len(key) + len(value)
	}
	return n
}

// A boxConn is a connection of a box receiver, in one realm.
type boxConn struct {
	conn     *boxReceiver
	about    *call // for the log
	handlers *goja.Object
}

// boxConn returns what a realm knows of a connection. The script's function is
// called when there is nothing yet.
func (r *realm) boxConn(b *boxReceiver) *boxConn {
	id := b.conn.ID()
	if c := r.boxConns[id]; c != nil {
		return c
	}
	c := &boxConn{conn: b, about: aboutConn(b.conn)}
	r.boxConns[id] = c
	o, err := r.fn.sender(nil, r.rt.ToValue(id), r.peerOf(b.conn))
	if err == nil {
		var v goja.Value
		if v, err = r.enterFor(c.about, r.receivers[b.name], o); err == nil {
			c.handlers, _ = v.(*goja.Object)
		}
	}
	if err != nil && !isFatal(err) {
		r.report(slog.LevelError, "box receiver "+b.name+" failed", r.describe(err), c.about)
		b.conn.LoseConnection()
	}
	return c
}

func (r *realm) boxReceived(b *boxReceiver, box amp.Box) {
	c := r.boxConn(b)
	if c.handlers != nil && !r.callHandler(c.about, c.handlers, "ampBoxReceived", func() (goja.Value, error) { return r.decodeBox(box) }) {
		b.conn.LoseConnection()
	}
}

func (r *realm) stopBoxes(b *boxReceiver, reason error) {
	c := r.boxConns[b.conn.ID()]
	if c == nil {
		return
	}
	if c.handlers != nil {
		r.callHandler(c.about, c.handlers, "stopReceivingBoxes", func() (goja.Value, error) { return r.connectionLost(reason) })
	}
	delete(r.boxConns, b.conn.ID())
	if p := r.peers[b.conn.ID()]; p != nil {
		r.keep(p)
		delete(r.peers, p.id)
	}
}

// encodeAnyBox is encodeBox for box senders, which may use any key.
func (r *realm) encodeAnyBox(o *goja.Object) (amp.Box, error) {
	b := make(amp.Box)
	for _, name := range o.Keys() {
		key, ok := toLatin1(name)
		if !ok || key == "" || len(key) > amp.MaxKey {
			return nil, &keyError{path: name, err: fmt.Errorf("a box's key is 1 to %d characters U+0000 to U+00FF", amp.MaxKey)}
		}
		value, err := r.encode(nil, &argType{kind: kindString}, r.get(o, &field{name: name, shadows: true}))
		if err == nil && len(value) > amp.MaxValue {
			err = fmt.Errorf("%d bytes long, a value has at most %d", len(value), amp.MaxValue)
		}
		if err != nil {
			return nil, within(name, err)
		}
		b[key] = value
	}
	return b, nil
}
