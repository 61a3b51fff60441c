package scripting

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// Requests that wait together are each answered as if they had come alone:
// promise jobs run before the next, what a thenable has left to do runs, and if
// the runtime dies of one only that fails.
func TestRequestsThatWaitTogether(t *testing.T) {
	t.Parallel()
	const source = `import * as amp from "amphost";
const out = { response: { out: amp.Unicode() } };
new amp.Command("Gate").responder(() => { console.log("gate"); const end = performance.now() + 100; while (performance.now() < end) ; });
let n = 0, job = "no", thenable = "no", first;
new amp.Command("Count", out).responder(() => ({ out: n++ + " " + job }));
new amp.Command("Job", out).responder(() => { Promise.resolve().then(() => { job = "yes"; }); return { out: job }; });
new amp.Command("Thenable", out).responder(() => { new Promise((ok) => ok({ then(done) { thenable = "yes"; done(); } })); return { out: "asked" }; });
new amp.Command("WasIt", out).responder(() => ({ out: thenable }));
new amp.Command("Late", out).responder(() => { const p = Promise.reject(new Error("late")); Promise.resolve().then(() => p.catch(() => {})); return { out: "ok" }; });
new amp.Command("Loop").responder(() => { for (;;) ; });
new amp.Command("Throw").responder(() => { throw new Error("thrown within"); });
`
	together := func(t *testing.T, commands ...string) (p *Plugin, l *logs, answers []string) {
		p, l = run(t, "together", source, &Options{TurnTimeout: time.Second})
		answers = make([]string, len(commands))
		var wg sync.WaitGroup
		ask := func(command string, done func(amp.Box, error)) {
			wg.Add(1)
			p.ServeAMP(amp.NewRequest(t.Context(), command, nil, func(b amp.Box, err error) {
				done(b, err)
				wg.Done()
			}))
		}
		ask("Gate", func(amp.Box, error) {})
		l.wait("msg=gate")
		for i, command := range commands {
			ask(command, func(b amp.Box, err error) {
				answers[i] = string(b["out"])
				if e, ok := errors.AsType[*amp.Error](err); ok {
					answers[i] = e.Code
				}
			})
		}
		wg.Wait()
		return p, l, answers
	}
	check := func(got []string, want ...string) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	_, _, got := together(t, "Count", "Count", "Count", "Job", "Count", "Count")
	check(got, "0 no", "1 no", "2 no", "no", "3 yes", "4 yes")

	p, _, got := together(t, "Count", "Count", "Thenable", "Count")
	check(got, "0 no", "1 no", "asked", "2 no")
	if answer, err := amp.Ask(t.Context(), p, "WasIt", nil); err != nil || string(answer["out"]) != "yes" {
		t.Errorf("a thenable was asked: %q %v, want yes", answer, err)
	}

	_, l, got := together(t, "Count", "Count", "Late", "Count")
	check(got, "0 no", "1 no", "ok", "2 no")
	if strings.Contains(l.String(), "unhandled rejection") {
		t.Errorf("a rejection that is handled in its turn is told of:\n%s", l)
	}

	_, l, got = together(t, "Count", "Count", "Loop", "Count", "Throw", "Count")
	check(got, "0 no", "1 no", "RESTARTED", "0 no", "UNKNOWN", "1 no")
	l.wait("thrown within")
}

// A long queue is left now and then, so that a timer is not kept waiting, nor
// what a thenable has left to do.
func TestLongQueueIsLeft(t *testing.T) {
	t.Parallel()
	p, l := run(t, "long", `import * as amp from "amphost";
let asked = false, seen = -1, fired = false, n = 0;
new amp.Command("Gate").responder(() => { setTimeout(() => { fired = true; }, 1); new Promise((ok) => ok({ then(done) { asked = true; done(); } })); console.log("gate"); const end = performance.now() + 100; while (performance.now() < end) ; });
new amp.Command("Count").responder(() => { n++; if (asked && fired && seen < 0) seen = n; });
new amp.Command("Seen", { response: { n: amp.Integer() } }).responder(() => ({ n: seen }));
`, nil)
	var wg sync.WaitGroup
	ask := func(command string) {
		wg.Add(1)
		p.ServeAMP(amp.NewRequest(t.Context(), command, nil, func(_ amp.Box, err error) {
			if err != nil {
				t.Error(err)
			}
			wg.Done()
		}))
	}
	ask("Gate")
	l.wait("msg=gate")
	for range 5000 {
		ask("Count")
	}
	wg.Wait()
	answer, err := amp.Ask(t.Context(), p, "Seen", nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscan(string(answer["n"]), &n); err != nil || n < 0 || n > 2*turnsWithin {
		t.Errorf("seen after %s calls, want at most %d", answer["n"], 2*turnsWithin)
	}
}
