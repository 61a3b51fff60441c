package scripting

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// Of lines beyond the limit no text is made, whichever way they are written, and
// each of them is counted.
func TestDroppedLinesAreNotMade(t *testing.T) {
	p, l := run(t, "loud", `
import * as amp from "amphost";
let made = 0;
const line = { [console.inspect.custom]() { made++; return "a line"; } };
const ways = [
  () => console.log(line), () => console.info("%O", line), () => console.warn(line), () => console.error(line),
  () => console.dir(line), () => console.dirxml(line), () => console.table({ row: { line } }), () => console.assert(false, line), () => console.trace(line),
];
new amp.Command("Log", { arguments: { n: amp.Integer() }, response: { made: amp.Integer() } }).responder(({ n }) => {
  const before = made;
  for (let i = 0; i < n; i++) ways[i % ways.length]();
  return { made: made - before };
});
`, &Options{MaxLogLines: 20})
	second := func(began time.Time) { // which has begun then
		p.lines.mu.Lock()
		p.lines.since = began
		p.lines.mu.Unlock()
	}
	log := func(n, made int) {
		t.Helper()
		answer, err := ask(t, p, "Log", box("n", fmt.Sprint(n)))
		if err != nil || string(answer["made"]) != fmt.Sprint(made) {
			t.Errorf("of %d lines %s were made, %v; want %d", n, answer["made"], err, made)
		}
	}
	log(0, 0)
	second(time.Now().Add(time.Hour)) // so that it does not end meanwhile
	log(500, 20)
	if n := strings.Count(l.String(), "a line"); n != 20 {
		t.Errorf("%d lines were written, want 20\n%s", n, l)
	}
	second(time.Time{})
	log(1, 1)
	l.wait("dropped=480")
}

// What nobody reads costs next to nothing, and what is dropped not much more.
func BenchmarkConsole(b *testing.B) {
	for _, most := range []int{1, -1} {
		b.Run(fmt.Sprintf("most=%d", most), func(b *testing.B) {
			p, _ := run(b, "loud", `
import * as amp from "amphost";
new amp.Command("Log", { arguments: { n: amp.Integer() } }).responder(({ n }) => {
  for (let i = 0; i < n; i++) console.log("Did a sum: %d + %d = %d", i, 1, i + 1);
});
`, &Options{MaxLogLines: most, TurnTimeout: time.Minute})
			b.ResetTimer()
			if _, err := ask(b, p, "Log", amp.Box{"n": fmt.Append(nil, b.N)}); err != nil {
				b.Fatal(err)
			}
		})
	}
}
