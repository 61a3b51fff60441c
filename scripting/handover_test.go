package scripting

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

const hotSource = `import * as amp from "amphost";
let n = 0;
let kept = new Map();
amp.onLoad(async (saved) => { await new Promise((ok) => setTimeout(ok, 5)); if (saved) ({ n, kept } = saved); kept.set("VERSION", n); });
amp.hot.save(() => SAVED);
new amp.Command("Next", { response: { n: amp.Integer(), kept: amp.Unicode() } }).responder(() => ({ n: ++n, kept: [...kept].join(" ") }));
`

// What amp.hot.save returns reaches onLoad of the next version, and nothing
// that happens meanwhile is lost: each number is given once.
func TestHotSave(t *testing.T) {
	dir := t.TempDir()
	plugin := func(version, saved string) string {
		return strings.NewReplacer("VERSION", version, "SAVED", saved).Replace(hotSource)
	}
	write(t, dir, "hot.js", plugin("1", "({ n, kept })"))
	d, l := openDir(t, dir, nil)
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	seen := make(map[string]int)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			c, s := amp.Pipe(nil, d)
			defer c.Close()
			defer s.Close()
			last := 0
			for ctx.Err() == nil {
				b, err := callOver(t, c, "Next", nil)
				if err != nil {
					t.Errorf("Next: %v", err)
					return
				}
				var n int
				if _, err := fmt.Sscan(string(b["n"]), &n); err != nil || n <= last {
					t.Errorf("%s after %d", b["n"], last)
				}
				last = n
				mu.Lock()
				seen[string(b["n"])]++
				mu.Unlock()
			}
		})
	}
	for version := 2; version < 12; version++ {
		saved := "({ n, kept })"
		switch version % 4 {
		case 1:
			// The version that runs can't save this: the next one fails.
			saved = "({ n, kept, f() {} })"
		}
		write(t, dir, "hot.js", plugin(fmt.Sprint(version), saved))
		err := d.Reload(t.Context(), "hot")
		if version%4 == 2 && version > 2 {
			if err == nil || !strings.Contains(err.Error(), "value.f: a function can't be cloned") {
				t.Errorf("version %d: %v", version, err)
			}
			// Nothing but a restart helps; here, one that forgets nothing.
			break
		} else if err != nil {
			t.Errorf("version %d: %v", version, err)
		}
	}
	stop()
	wg.Wait()
	for n, times := range seen {
		if times != 1 {
			t.Errorf("%s was given %d times", n, times)
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d calls only\n%s", len(seen), l)
	}
	b, err := ask(t, d, "Next", nil)
	if err != nil || string(b["n"]) != fmt.Sprint(len(seen)+1) || !strings.HasPrefix(string(b["kept"]), "1,0 2,") {
		t.Errorf("at the end: %q, %v, %d calls", b, err, len(seen))
	}
}

// What waited in a paused generation is told of its end if the next one has
// ended already: it may be a connection that has to be closed.
func TestHandOnToNobody(t *testing.T) {
	source := `new (require("amphost").Command)("A").responder(() => {});`
	old, _ := run(t, "a", source, nil)
	next, _ := run(t, "a", source, nil)
	if err := next.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w, told := old.workers[0], make(chan struct{})
	w.loop.post(func() {
		w.paused = true
		w.hold()
		w.inOrder(func(*worker) { close(told) })
		w.handOn(next)
	})
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Error("what was held was dropped")
	}
}
