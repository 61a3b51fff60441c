package scripting

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
)

// A responder may return the promise of an update as it is, which is answered
// without a promise's reactions: all must be as with reactions.
func TestReturnedUpdate(t *testing.T) {
	st := &gatedStore{Store: store.NewMem(), gate: make(chan struct{}, 100)}
	p, l := run(t, "returned", `import * as amp from "amphost";
class Taken extends Error {}
const { update } = amp.store;
const Do = new amp.Command("Do", { arguments: { what: amp.Unicode() }, response: { out: amp.Unicode() }, errors: { TAKEN: Taken } });
let shared, log = [];
const things = {
  plain: () => update((tx) => ({ out: "plain" })),
  settled: () => update(() => { throw new Taken("no"); }),
  undeclared: () => update(() => { throw new RangeError("a bug"); }),
  nothing: () => update(() => {}),
  wrong: () => update(() => ({ out: 5 })),
  thenable: () => update(() => ({ then(ok) { ok({ out: "thenable" }); } })),
  lazy: () => update(() => ({ then(ok) { setTimeout(() => ok({ out: "lazy" }), 5); } })),
  refusing: () => update(() => ({ then(ok, no) { no(new Taken("later")); } })),
  first: () => shared = update(() => ({ out: "shared" })),
  second: () => shared,
  forget: () => { shared = undefined; return { out: "" }; },
  began: () => ({ out: String(shared !== undefined) }),
  watched: () => { const p = update(() => ({ out: "watched" })); p.then(() => log.push("then")); return p; },
  caught: () => { const p = update(() => { throw new Taken("caught"); }); p.catch(() => log.push("catch")); return p; },
  log: () => ({ out: log.join() }),
};
Do.responder(({ what }) => things[what]());
`, &Options{Store: st})
	for range 100 {
		st.gate <- struct{}{}
	}
	get := func(what string) string {
		b, err := ask(t, p, "Do", box("what", what))
		if err != nil {
			return err.Error()
		}
		return string(b["out"])
	}
	for _, c := range []struct{ what, want string }{
		{"plain", "plain"}, {"settled", "TAKEN: no"}, {"undeclared", "UNKNOWN: Unknown Error"}, {"nothing", "UNKNOWN: Unknown Error"}, {"wrong", "UNKNOWN: Unknown Error"},
		{"thenable", "thenable"}, {"lazy", "lazy"}, {"refusing", "TAKEN: later"}, {"first", "shared"}, {"second", "shared"}, {"watched", "watched"}, {"caught", "TAKEN: caught"},
		{"log", "then,catch"},
	} {
		if got := get(c.what); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
	if text := l.String(); strings.Contains(text, "unhandled") || !strings.Contains(text, "RangeError: a bug") || strings.Count(text, "responder failed") != 3 {
		t.Errorf("the log is not about the three mistakes alone:\n%s", text)
	}

	// Two calls wait for the same promise, and both are answered.
	for len(st.gate) > 0 {
		<-st.gate
	}
	get("forget")
	first, second := make(chan string, 1), make(chan string, 1)
	go func() { first <- get("first") }() // received below
	eventually(t, "the first has begun", func() bool { return get("began") == "true" })
	go func() { second <- get("second") }() // received below
	eventually(t, "the second runs", func() bool { return p.Running() == 2 })
	st.gate <- struct{}{}
	if a, b := <-first, <-second; a != "shared" || b != "shared" {
		t.Errorf("two calls that wait for one update are answered %s and %s", a, b)
	}

	close(st.gate)
}

// An update that takes too long is answered once, and then forgotten.
func TestReturnedUpdateThatTakesTooLong(t *testing.T) {
	st := &gatedStore{Store: store.NewMem(), gate: make(chan struct{}, 2)}
	p, _ := run(t, "returned", `import * as amp from "amphost";
new amp.Command("Do", { response: { out: amp.Unicode() } }).responder(() => amp.store.update(() => ({ out: "plain" })));
`, &Options{Store: st, CallTimeout: 300 * time.Millisecond})
	get := func() string {
		b, err := ask(t, p, "Do", nil)
		if err != nil {
			return err.Error()
		}
		return string(b["out"])
	}
	if got := get(); !strings.HasPrefix(got, "TIMEOUT") {
		t.Errorf("an update that does not end: %s, want TIMEOUT", got)
	}
	st.gate <- struct{}{}
	st.gate <- struct{}{}
	if got := get(); got != "plain" {
		t.Errorf("the call after it: %s", got)
	}
	close(st.gate)
}

// A lazyStore makes nothing durable before it is told to.
type lazyStore struct {
	store.Store
	mu      sync.Mutex
	waiting []chan<- struct{} // closed by Flush
	flushes int               // of something
	most    int               // how much was flushed at once
}

func (s *lazyStore) BeginGathered(ctx context.Context, ns string) (store.Tx, error) {
	tx, err := s.Begin(ctx, ns, true)
	return &lazyTx{tx, s}, err
}

func (s *lazyStore) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 {
		s.flushes++
		s.most = max(s.most, len(s.waiting))
	}
	for _, ready := range s.waiting {
		close(ready)
	}
	s.waiting = nil
}

func (s *lazyStore) flushed() (times, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flushes, s.most
}

type lazyTx struct {
	store.Tx
	s *lazyStore
}

func (tx *lazyTx) Commit() <-chan error   { return tx.s.gather(tx.Tx.Commit()) }
func (tx *lazyTx) Rollback() <-chan error { return tx.s.gather(tx.Tx.Rollback()) }

func (s *lazyStore) gather(in <-chan error) <-chan error {
	done, ready := make(chan error, 1), make(chan struct{})
	s.mu.Lock()
	s.waiting = append(s.waiting, ready)
	s.mu.Unlock()
	go func() { // ends with a Flush
		<-ready
		done <- <-in
	}()
	return done
}

// What a plugin commits goes to the disk several at a time, and never waits for
// longer than the loop works.
func TestCommitsAreGathered(t *testing.T) {
	st := &lazyStore{Store: store.NewMem()}
	p, _ := run(t, "gather", `import * as amp from "amphost";
new amp.Command("Next", { response: { n: amp.Integer() } }).responder(() => amp.store.update((tx) => ({ n: tx.counter("n").next() })));
new amp.Command("Refuse").responder(() => amp.store.update(() => { throw new Error("no"); }));
new amp.Command("Later").responder(() => { setTimeout(() => amp.store.update((tx) => tx.counter("n").next()), 1); });
new amp.Command("Spin").responder(() => { const end = performance.now() + 300; while (performance.now() < end) ; });
`, &Options{Store: st, TurnTimeout: 10 * time.Second})
	ask := func(command string, wg *sync.WaitGroup) {
		wg.Add(1)
		p.ServeAMP(amp.NewRequest(t.Context(), command, nil, func(_ amp.Box, err error) {
			if err != nil && command != "Refuse" {
				t.Errorf("%s: %v", command, err)
			}
			wg.Done()
		}))
	}
	var wg sync.WaitGroup
	for _, command := range []string{"Next", "Refuse", "Later", "Next"} {
		ask(command, &wg)
		wg.Wait()
	}
	eventually(t, "the timer's update is durable", func() bool { times, _ := st.flushed(); return times == 4 })

	var spins sync.WaitGroup
	ask("Spin", &spins)
	eventually(t, "it spins", func() bool { return p.workers[0].loop.dog.busy() })
	for range 400 { // wait together
		ask("Next", &wg)
	}
	ask("Spin", &spins)
	spins.Wait()
	wg.Wait()
	times, most := st.flushed()
	if times > 100 || most < 10 {
		t.Errorf("flushed %d times, up to %d commits of 400 at once, want a quarter of those that run", times, most)
	}

	// A turn that takes long keeps nothing from the disk.
	ask("Spin", &spins)
	eventually(t, "it spins", func() bool { return p.workers[0].loop.dog.busy() })
	ask("Next", &wg)
	for range 5 {
		ask("Spin", &spins) // so that one commit is not a quarter
	}
	eventually(t, "it is flushed", func() bool { now, _ := st.flushed(); return now > times })
	if n := p.Running(); n < 2 {
		t.Errorf("%d calls ran when it was flushed, want those that spin", n)
	}
	spins.Wait()
	wg.Wait()
}
