package scripting

import (
	"strings"
	"testing"
	"time"

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
	first, second := make(chan string, 1), make(chan string, 1)
	go func() { first <- get("first") }() // received below
	eventually(t, "the first runs", func() bool { return p.Running() == 1 })
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
