package scripting

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
)

const watchSource = `import * as amp from "amphost";
const seen = [];
const show = (v) => v === undefined ? "-" : v instanceof Uint8Array ? v.toString("hex") : JSON.stringify(v);
amp.store.watch("user/", (changes) => { seen.push(changes.map(({ key, value }) => key + "=" + show(value)).join(",")); });
amp.store.watch("", (changes) => { if (changes.some((c) => c.key === "bad")) throw new Error("a watcher's mistake"); });
const Do = new amp.Command("Do", { arguments: { what: amp.Unicode() }, response: { seen: amp.Unicode() } });
Do.responder(async ({ what }) => {
  await amp.store.update((tx) => {
    for (const step of what.split(" ").filter(Boolean)) {
      const [key, value] = step.split("=");
      if (value === undefined) tx.delete(key); else tx.put(key, JSON.parse(value));
    }
    tx.counter("user/c").next();
    tx.files.write("user/f", "x");
  });
  return { seen: seen.join(" ") }; // what was told before the promise settled
});
new amp.Command("Late").responder(() => amp.store.watch("", () => {}));
`

func do(t *testing.T, h amp.Handler, what string) string {
	t.Helper()
	b, err := ask(t, h, "Do", box("what", what))
	if err != nil {
		t.Fatalf("Do(%s): %v", what, err)
	}
	return string(b["seen"])
}

func TestWatchStore(t *testing.T) {
	st := store.NewMem()
	p, l := run(t, "watches", watchSource, &Options{Store: st})
	for _, c := range []struct{ what, want string }{
		{`user/a=1 user/b={"x":[1]} other=2`, `user/a=1,user/b={"x":[1]}`},
		{`other=3`, `user/a=1,user/b={"x":[1]}`},
		{`user/b`, `user/a=1,user/b={"x":[1]} user/b=-`},
		{`bad=1 user/a=2`, `user/a=1,user/b={"x":[1]} user/b=- user/a=2`},
	} {
		if got := do(t, p, c.what); got != c.want {
			t.Errorf("after %s: %s, want %s", c.what, got, c.want)
		}
	}
	l.wait("a watcher's mistake")
	if _, err := ask(t, p, "Late", nil); err == nil {
		t.Error("amp.store.watch works in a responder")
	}
	l.wait("amp.store.watch: declare it at the top")

	// What a Go program writes is told too, in order, and nothing of other
	// namespaces.
	l.reset()
	put := func(namespace, key string, value []byte) {
		t.Helper()
		err := store.Update(t.Context(), st, namespace, func(tx store.Tx) error { return tx.Put(store.Keys, key, value) })
		if err != nil {
			t.Fatal(err)
		}
	}
	put("watches", "user/go", []byte{formVersion, tagTrue})
	put("elsewhere", "user/go", []byte{formVersion, tagFalse})
	put("watches", "user/strange", []byte("what a script can't read"))
	put("watches", "user/go", []byte{formVersion, tagNull})
	if got := do(t, p, ""); !strings.HasSuffix(got, "user/a=2 user/go=true user/go=null") {
		t.Errorf("after a Go program's writes: %s", got)
	}
	l.wait("user/strange")
}

func TestWatchStoreRefuses(t *testing.T) {
	for source, want := range map[string]string{
		`amp.store.watch("x")`:                     "takes a prefix and a function",
		`amp.store.watch(() => {})`:                "takes a prefix and a function",
		`amp.store.watch(5, () => {})`:             "5 is not a string",
		`amp.store.watch("\ud800", () => {})`:      "half of a surrogate pair",
		`setTimeout(() => amp.store.watch("", 1))`: "",
	} {
		prog, err := BuildSource("bad", `import * as amp from "amphost"; `+source)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Start(t.Context(), prog, &Options{Logger: (&logs{t: t}).logger(0)})
		if want == "" {
			if err != nil {
				t.Error(err)
			} else {
				stopPlugin(t, p)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

func stopPlugin(t *testing.T, p *Plugin) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// cacheSource is a plugin whose cache must never miss a write: it is filled
// when the plugin loads and then follows.
const cacheSource = `import * as amp from "amphost";
const version = %d;
const cache = new Map();
let last = 0;
amp.store.watch("", (changes) => {
  for (const { key, value } of changes) {
    if (value < last) throw new Error("out of order: " + value + " after " + last);
    last = value;
    cache.set(key, value);
  }
});
amp.onLoad(async () => {
  amp.store.view((tx) => { for (const [key, value] of tx.scan()) cache.set(key, value); });
  await new Promise((ready) => setTimeout(ready, 20)); // while the version before writes on
});
new amp.Command("Put", { response: { version: amp.Integer() } }).responder(async () => {
  await amp.store.update((tx) => { const n = tx.counter("n").next(); tx.put("k" + n, n); }); // never written again, so what is missed stays missed
  return { version };
});
const sum = (entries) => { let n = 0, all = 0; for (const [, value] of entries) { n++; all += value; } return { sum: n + " keys, " + all }; };
new amp.Command("Cache", { response: { sum: amp.Unicode() } }).responder(() => sum(cache));
new amp.Command("Stored", { response: { sum: amp.Unicode() } }).responder(() => amp.store.view((tx) => sum(tx.scan())));
`

// A cache that is filled when a plugin loads and follows the store afterwards
// has what the store has, however often the plugin is replaced meanwhile.
func TestWatchStoreAcrossReloads(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "cache.js", fmt.Sprintf(cacheSource, 0))
	st := &countedStore{Mem: store.NewMem()}
	d, l := openDir(t, dir, &Options{Store: st, TurnTimeout: 10 * time.Second, LoadTimeout: 30 * time.Second})
	writes := time.NewTicker(time.Millisecond)
	defer writes.Stop()
	ended := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { // ends with the reloads; waited for below
			for {
				select {
				case <-ended:
					return
				case <-writes.C:
				}
				if _, err := ask(t, d, "Put", nil); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
			}
		})
	}
	same := func() {
		t.Helper()
		// The newest generation answers after what it was told before.
		cached, err := ask(t, d, "Cache", nil)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := ask(t, d, "Stored", nil)
		if err != nil || string(cached["sum"]) != string(stored["sum"]) {
			t.Errorf("the cache has %s\nthe store has %s, %v", cached["sum"], stored["sum"], err)
		}
	}
	const reloads = 10
	for i := range reloads {
		write(t, dir, "cache.js", fmt.Sprintf(cacheSource, i+1))
		if err := d.Reload(t.Context(), "cache"); err != nil {
			t.Fatal(err)
		}
	}
	// A generation that does not start leaves no watcher behind.
	write(t, dir, "cache.js", fmt.Sprintf(cacheSource, 0)+"amp.onLoad(() => { throw new Error('no') });")
	if err := d.Reload(t.Context(), "cache"); err == nil {
		t.Error("a plugin that throws in onLoad was loaded")
	}
	close(ended)
	wg.Wait()
	same()
	if text := l.String(); strings.Contains(text, "out of order") {
		t.Errorf("%s", text)
	}
	eventually(t, "one generation watches", func() bool { return st.watching() == 1 })

	// Nor does a runtime that was replaced.
	write(t, dir, "cache.js", fmt.Sprintf(cacheSource, 99)+`export const plugin = { deadline: "300ms" };
new amp.Command("Spin").responder(() => { for (;;); });`)
	if err := d.Reload(t.Context(), "cache"); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, d, "Spin", nil); err == nil {
		t.Error("Spin ended")
	}
	eventually(t, "the new runtime watches", func() bool { b, err := ask(t, d, "Put", nil); return err == nil && string(b["version"]) == "99" })
	same()
	eventually(t, "one runtime watches", func() bool { return st.watching() == 1 })
}

// A countedStore counts its watchers.
type countedStore struct {
	*store.Mem
	mu sync.Mutex // guards n
	n  int
}

func (s *countedStore) Watch(namespace string, fn func([]store.Change)) (func(), error) {
	stop, err := s.Mem.Watch(namespace, fn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return sync.OnceFunc(func() {
		stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.n--
	}), err
}

func (s *countedStore) watching() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}
