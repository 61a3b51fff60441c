package amp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// A Mux is a Handler that hands each command to the handler registered under
// its name, and fails any other with ErrUnhandled. The zero Mux is ready to
// use; it may be used by several goroutines and servers.
type Mux struct {
	mu       sync.Mutex // serialises changes
	handlers atomic.Pointer[map[string]Handler]
}

// Handle registers h for a command, by its exact name on the wire. It panics
// if the name is empty, StartTLS, which connections answer themselves, or has
// a handler already.
func (m *Mux) Handle(command string, h Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	handlers := make(map[string]Handler)
	if old := m.handlers.Load(); old != nil {
		maps.Copy(handlers, *old)
	}
	switch _, taken := handlers[command]; {
	case command == "":
		panic("amp: a handler for a command without a name")
	case command == startTLSName:
		panic("amp: a handler for StartTLS: connections answer it themselves, see Options.TLS")
	case taken:
		panic(fmt.Sprintf("amp: two handlers for command %q", command))
	}
	handlers[command] = h
	m.handlers.Store(&handlers)
}

// Handler returns the handler registered for the command, or nil.
func (m *Mux) Handler(command string) Handler {
	if handlers := m.handlers.Load(); handlers != nil {
		return (*handlers)[command]
	}
	return nil
}

// Commands returns the names that have a handler, in order.
func (m *Mux) Commands() []string {
	if handlers := m.handlers.Load(); handlers != nil {
		return slices.Sorted(maps.Keys(*handlers))
	}
	return nil
}

// ForgetsRequests implements Forgetful.
func (m *Mux) ForgetsRequests() {}

// ServeAMP implements Handler.
func (m *Mux) ServeAMP(r *Request) {
	if h := m.Handler(r.Command); h != nil {
		if _, ok := h.(Forgetful); !ok {
			r.Keep()
		}
		h.ServeAMP(r)
		return
	}
	r.Fail(ErrUnhandled)
}

// HandleFunc registers a function that gets and returns boxes, and runs in a
// goroutine of its own. An error of it is answered as Request.Fail says. ctx
// ends when the connection does; ConnFrom finds the connection in it.
func (m *Mux) HandleFunc(command string, fn func(ctx context.Context, args Box) (Box, error)) {
	m.Handle(command, HandlerFunc(func(r *Request) {
		r.spawn(jobFunc(func() {
			defer r.recoverHandler()
			r.patient = true
			box, err := fn(r.ctx, r.Args())
			if err != nil {
				r.Fail(err)
				return
			}
			r.Answer(box)
		}))
	}))
}

// spawn runs a handler function in a goroutine. With Options.Strict those of
// one connection run one after another.
func (r *Request) spawn(j job) {
	r.Defer()
	if r.conn == nil {
		go j.run() // Ask waits for its answer
		return
	}
	r.conn.handlers.do(j)
}
