package scripting

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/amphost/amphost/amp"
)

// A request is used again once its call is over, and not while a script may still
// say something of that call.
func TestRequestsAreUsedAgain(t *testing.T) {
	t.Parallel()
	p, l := run(t, "again", `import * as amp from "amphost";
const n = { n: amp.Integer() };
new amp.Command("Plain", { arguments: n, response: n }).responder(({ n }) => ({ n }));
new amp.Command("Late", { arguments: n, response: n }).responder(({ n }) => { setTimeout(() => console.log("late %d", n), 20); return { n }; });
new amp.Command("Async", { arguments: n, response: n }).responder(async ({ n }) => { await null; return { n }; });
new amp.Command("Throw", { arguments: n }).responder(({ n }) => { setTimeout(() => console.log("late %d", n), 20); throw new Error("thrown"); });
`, &Options{MaxLogLines: -1})
	c, s := amp.Pipe(nil, forgetful(p.ServeAMP))
	defer c.Close()
	defer s.Close()
	commands := []string{"Plain", "Late", "Plain", "Async", "Plain", "Throw"}
	const calls = 3000
	var wg sync.WaitGroup
	wg.Add(calls)
	for i := range calls {
		command, want := commands[i%len(commands)], fmt.Sprint(i)
		c.Go(command, amp.Box{"n": []byte(want)}, func(b amp.Box, err error) {
			if command != "Throw" && (err != nil || string(b["n"]) != want) || command == "Throw" && codeOf(err) != "UNKNOWN" {
				t.Errorf("%s %s: %v, %v", command, want, b, err)
			}
			wg.Done()
		})
	}
	wg.Wait()
	l.wait(fmt.Sprintf("late %d", calls-1))
	for line := range strings.Lines(l.String()) {
		var n int
		if _, text, ok := strings.Cut(line, `msg="late `); ok {
			if _, err := fmt.Sscanf(text, "%d", &n); err != nil {
				t.Fatal(err)
			}
			// Tags are counted from 1, in hexadecimal.
			if want := fmt.Sprintf("command=%s tag=%x ", commands[n%len(commands)], n+1); !strings.Contains(line, want) {
				t.Fatalf("a line of call %d is said to be another's, not of %s: %s", n, want, line)
			}
		}
	}
}
