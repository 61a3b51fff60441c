package scripting

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// A connection with a long queue does not keep another one waiting, and what
// each asks is started in order.
func TestConnectionsTakeTurns(t *testing.T) {
	t.Parallel()
	p, l := run(t, "busy", `import * as amp from "amphost";
new amp.Command("Gate").responder(() => { const end = performance.now() + 300; console.log("gate"); while (performance.now() < end) ; });
let n = 0;
const last = new Map();
new amp.Command("Work", { arguments: { n: amp.Integer() }, response: { at: amp.Integer() } }).responder(({ n: i }, peer) => {
  if (i !== (last.get(peer) ?? 0)) throw new Error("out of order: " + i);
  last.set(peer, i + 1);
  return { at: n++ };
});
`, &Options{TurnTimeout: 5 * time.Second})
	const many = 1000
	greedy, gs := amp.Pipe(nil, p)
	modest, ms := amp.Pipe(nil, p)
	for _, c := range []*amp.Conn{greedy, gs, modest, ms} {
		defer c.Close()
	}
	var wg sync.WaitGroup
	wg.Add(many + 4)
	greedy.Go("Gate", nil, func(amp.Box, error) { wg.Done() })
	l.wait("msg=gate")
	var failed atomic.Int32
	for i := range many {
		greedy.Go("Work", amp.Box{"n": fmt.Append(nil, i)}, func(_ amp.Box, err error) {
			if err != nil {
				failed.Add(1)
			}
			wg.Done()
		})
	}
	eventually(t, "they wait", func() bool { return p.Running() > many/2 })
	var at [3]int
	for i := range at {
		modest.Go("Work", amp.Box{"n": fmt.Append(nil, i)}, func(b amp.Box, err error) {
			if err != nil {
				failed.Add(1)
			}
			_, _ = fmt.Sscan(string(b["at"]), &at[i])
			wg.Done()
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d calls have failed\n%.2000s", failed.Load(), l)
	}
	if at[2] > many/2 {
		t.Errorf("the calls of a modest connection were started as number %v", at)
	}
}

// One connection leaves room for others in a plugin that has many calls in
// flight.
func TestConnectionsHaveShares(t *testing.T) {
	t.Parallel()
	p, _ := run(t, "full", `import * as amp from "amphost";
new amp.Command("Wait").responder(() => new Promise(() => {}));
new amp.Command("Fine").responder(() => {});
`, &Options{MaxInFlight: 300})
	greedy, gs := amp.Pipe(nil, p)
	modest, ms := amp.Pipe(nil, p)
	defer modest.Close()
	defer ms.Close()
	refused := make(chan error, 400)
	for range 400 {
		greedy.Go("Wait", nil, func(_ amp.Box, err error) { refused <- err })
	}
	if err := <-refused; codeOf(err) != "OVERLOADED" || !strings.Contains(err.Error(), "share") {
		t.Errorf("what is too much: %v", err)
	}
	if _, err := callOver(t, modest, "Fine", nil); err != nil {
		t.Errorf("another connection: %v", err)
	}
	greedy.Close()
	gs.Close() // nobody waits for them any more
}

func TestCallsOfAllPluginsAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.js", `import * as amp from "amphost";
let go; const gate = new Promise((ok) => { go = ok; });
new amp.Command("Wait").responder(() => gate);
amp.onConnect(() => go());`)
	write(t, dir, "b.js", `import * as amp from "amphost"; new amp.Command("Fine").responder(() => {});`)
	d, _ := openDir(t, dir, &Options{MaxInFlightTotal: 3})
	done := make(chan error, 3)
	for range 3 {
		d.ServeAMP(amp.NewRequest(t.Context(), "Wait", nil, func(_ amp.Box, err error) { done <- err }))
	}
	if _, err := ask(t, d, "Fine", nil); codeOf(err) != "OVERLOADED" {
		t.Errorf("one more: %v", err)
	}
	c, s := amp.Pipe(nil, d)
	defer c.Close()
	defer s.Close()
	d.Connected(s)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "no calls are left", func() bool { return d.hub.running.Load() == 0 })
	if _, err := ask(t, d, "Fine", nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// What a plugin may wait for, and write into the log, is bounded.
func TestPluginIsBounded(t *testing.T) {
	t.Parallel()
	p, l := run(t, "flood", `import * as amp from "amphost";
const Never = new amp.Command("Never");
let go; const gate = new Promise((ok) => { go = ok; });
Never.responder(() => gate);
const text = { response: { text: amp.Unicode() } };
new amp.Command("Calls", text).responder(async () => {
  const all = [];
  for (let i = 0; i < 100; i++) all.push(amp.call(Never));
  try { await Promise.race(all); } catch (e) { return { text: String(e) }; } finally { go(); await Promise.allSettled(all); }
});
new amp.Command("Updates", text).responder(async () => {
  for (let i = 0; i < 100; i++) void amp.store.update((tx) => tx.put("k", i));
});
new amp.Command("Log").responder(() => { for (let i = 0; i < 5000; i++) console.log("line", i); });
new amp.Command("Long").responder(() => { console.log("x".repeat(1e6)); });
`, &Options{MaxOutgoing: 50, MaxLogLines: 100, TurnTimeout: 9 * time.Second})
	if b, err := ask(t, p, "Calls", nil); err != nil || !strings.Contains(string(b["text"]), "waits for 50") {
		t.Errorf("calls: %v, %v", b, err)
	}
	if _, err := ask(t, p, "Updates", nil); codeOf(err) != "UNKNOWN" {
		t.Errorf("updates: %v", err)
	}
	l.wait("amp.store.update: the plugin waits for 50")
	var began time.Time
	var took time.Duration
	eventually(t, "a second has passed", func() bool { // whose lines do not count
		l.reset()
		began = time.Now()
		if _, err := ask(t, p, "Log", nil); err != nil {
			t.Error(err)
		}
		took = time.Since(began)
		return strings.Contains(l.String(), "the next are dropped")
	})
	if n := strings.Count(l.String(), "msg=\"line"); n > 100*(2+int(took.Seconds())) {
		t.Errorf("%d lines were written in %v", n, took)
	}
	eventually(t, "the next second begins", func() bool {
		if _, err := ask(t, p, "Long", nil); err != nil {
			t.Error(err)
		}
		return strings.Contains(l.String(), "bytes more")
	})
	l.wait("some were dropped")
	if len(l.String()) > 200<<10 {
		t.Errorf("%d bytes were written", len(l.String()))
	}
}
