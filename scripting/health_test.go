package scripting

import (
	"strings"
	"testing"
	"time"
)

// What the log says of a restart names the limit that was hit and the setting
// that it comes from.
func TestRestartNamesLimitAndSetting(t *testing.T) {
	source := `import * as amp from "amphost";
new amp.Command("Spin").responder(() => { for (;;) ; });
new amp.Command("Recurse").responder(() => { const f = () => f() + 1; f(); });
new amp.Command("Fine").responder(() => {});
`
	for _, c := range []struct {
		name, command, settings string
		opts                    Options
		want                    string
	}{
		{"turn", "Spin", "", Options{TurnTimeout: 30 * time.Millisecond}, "event loop for 30ms: TurnTimeout, which is turn in [limits]"},
		{"deadline", "Spin", `export const plugin = { deadline: "20ms" };`, Options{}, "event loop for 20ms: deadline, of the plugin's settings"},
		{"stack", "Recurse", "", Options{MaxCallStack: 321}, "deeper than 321: MaxCallStack, which is call-stack in [limits]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, l := run(t, "dies", source+c.settings, &c.opts)
			if _, err := ask(t, p, c.command, nil); codeOf(err) != restarted {
				t.Errorf("it came to %v", err)
			}
			l.wait("plugin restarted")
			if s := l.String(); !strings.Contains(s, c.want) {
				t.Errorf("the log has no %q:\n%s", c.want, s)
			}
		})
	}
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		p, l := run(t, "greedy", source, &Options{MemoryLimit: 1 << 40})
		m := p.hub.memory
		m.mu.Lock()
		m.workers[p.workers[0]].add(1<<30, time.Now())
		m.shedLocked(nil)
		m.unlock()
		l.wait("plugin restarted")
		if s := l.String(); !strings.Contains(s, "the heap may have 1099511627776 bytes: MemoryLimit, which is memory in [limits]") {
			t.Errorf("the log:\n%s", s)
		}
		eventually(t, "the next runtime answers", func() bool { _, err := ask(t, p, "Fine", nil); return err == nil })
	})
}
