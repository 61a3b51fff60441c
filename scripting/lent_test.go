package scripting

import (
	"net"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// A lone request is done by the goroutine that has read it, unless it takes
// long: then that connection is read on meanwhile, and the next are left to the
// loop.
func TestLoneRequests(t *testing.T) {
	p, _ := run(t, "lone", `import * as amp from "amphost";
new amp.Command("Quick", { response: { n: amp.Integer() } }).responder(() => ({ n: 1 }));
new amp.Command("Long").responder(() => { const end = performance.now() + 400; while (performance.now() < end) ; });
new amp.Command("Later", { response: { n: amp.Integer() } }).responder(() => new Promise((ok) => setTimeout(() => ok({ n: 2 }), 5)));
`, &Options{TurnTimeout: 5 * time.Second})
	other := forgetful(func(r *amp.Request) {
		if r.Command == "Other" {
			r.Answer(nil)
			return
		}
		p.ServeAMP(r)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &amp.Server{Handler: other, OnConnect: p.Connected, OnDisconnect: p.Disconnected}
	go s.Serve(l) // ends with Close
	defer s.Close()
	c, err := amp.Dial(t.Context(), "tcp", l.Addr().String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 100 {
		if box, err := c.Call(t.Context(), "Quick", nil); err != nil || string(box["n"]) != "1" {
			t.Fatal(box, err)
		}
	}
	// A timer that such a request has set goes off.
	if box, err := c.Call(t.Context(), "Later", nil); err != nil || string(box["n"]) != "2" {
		t.Fatal(box, err)
	}
	p.slowUntil.Store(0) // whatever the machine has done meanwhile
	order := make(chan string, 2)
	c.Go("Long", nil, func(_ amp.Box, err error) { order <- "Long" })
	eventually(t, "Long runs", func() bool { return p.workers[0].loop.dog.busy() })
	c.Go("Other", nil, func(_ amp.Box, err error) { order <- "Other" })
	if first := <-order; first != "Other" {
		t.Errorf("%s was answered first: a long turn keeps its connection from being read", first)
	}
	<-order
	if p.workers[0].lends() {
		t.Error("a plugin whose turn took 400ms still has its requests done by who brings them")
	}
	if box, err := c.Call(t.Context(), "Quick", nil); err != nil || string(box["n"]) != "1" {
		t.Error(box, err)
	}
}

// forgetful is a handler that does nothing with a request once it has handed it
// on.
type forgetful func(*amp.Request)

func (f forgetful) ServeAMP(r *amp.Request) { f(r) }
func (forgetful) ForgetsRequests()          {}

// Code that an embedder has behind ServeAMP runs, however long the script takes.
func TestServeAMPReturnsToOthers(t *testing.T) {
	p, _ := run(t, "slow", `import * as amp from "amphost";
new amp.Command("Slow").responder(() => { const end = performance.now() + 100; while (performance.now() < end) ; });
`, nil)
	returned := make(chan bool, 3)
	c, s := amp.Pipe(nil, amp.HandlerFunc(func(r *amp.Request) {
		p.ServeAMP(r)
		returned <- r.Answered()
	}))
	defer c.Close()
	defer s.Close()
	for range 3 {
		if _, err := c.Call(t.Context(), "Slow", nil); err != nil {
			t.Fatal(err)
		}
		if <-returned {
			t.Error("ServeAMP has returned after the answer of a slow script: it must not block")
		}
	}
}
