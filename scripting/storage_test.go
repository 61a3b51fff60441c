package scripting

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
)

// Do runs a piece of script, by name, and answers what it returned as text.
const storeSource = `import * as amp from "amphost";
const { update, view } = amp.store;
const plain = (v) => console.inspect(v, { depth: 9, breakLength: Infinity, compact: 9 });
class Thing { x = 1 }
let escaped, late;
const things = {
  async roundTrip() {
    const value = { n: null, t: true, f: false, i: 1, neg: -5, z: -0, d: 1.5, big: 12345678901234567890n, small: -7n, nan: NaN, inf: -Infinity, s: "hä😀", e: "",
      date: new Date(5), bad: new Date(NaN), dt: new amp.DateTimeValue(5, { microsecond: 7, offset: -90 }), b: Buffer.from([0, 255]), u: new Uint8Array([1]),
      a: [1, [2, [null]], {}], o: { ["__proto__"]: 1, constructor: 2, nested: { deep: [] } }, gone: undefined };
    await update((tx) => tx.put("k", value));
    const got = view((tx) => tx.get("k"));
    if (Object.is(got.z, 0) || !Object.hasOwn(got.o, "__proto__") || got.o.constructor !== 2 || "gone" in got) throw new Error("lost");
    return plain(got);
  },
  missing: () => plain(view((tx) => tx.get("nothing"))),
  async scan() {
    await update((tx) => { for (let i = 0; i < 300; i++) tx.put("s/" + String(i).padStart(3, "0"), i); tx.put("r", 0); tx.put("t", 0); });
    return view((tx) => {
      const all = [...tx.scan({ prefix: "s/" })], back = [...tx.scan({ prefix: "s/", reverse: true })];
      const part = [...tx.scan({ prefix: "s/", start: "s/100", end: "s/260", limit: 150 })].map(([k]) => k);
      const [first] = tx.scan({ start: "s" });
      return [all.length, all.every(([k, v], i) => v === i), back.length, back[0][1], back[299][1], part.length, part[0], part[149], first[0], [...tx.scan({ limit: 2 })].length].join(" ");
    });
  },
  async edges() { // stretches end at the last key, at the empty one, in the middle
    const seen = [];
    for (const n of [127, 128, 129, 255, 256, 257, 512, 513]) {
      await update((tx) => { for (const [k] of [...tx.scan()]) tx.delete(k); for (const f of [...tx.files.list()]) tx.files.remove(f); });
      await update((tx) => { for (let i = 0; i < n; i++) { const name = i ? String(i).padStart(4, "0") : ""; tx.put(name, i); tx.files.write(name, "x"); } });
      seen.push(...[view, (fn) => update(fn)].map((run) => run((tx) => {
        const all = [...tx.scan()].map(([, v]) => v), back = [...tx.scan({ reverse: true })].map(([, v]) => v), files = [...tx.files.list()];
        return all.length === n && all.every((v, i) => v === i) && back.length === n && back.every((v, i) => v === n - 1 - i) && files.length === n && new Set(files).size === n && files[0] === "";
      })));
    }
    await update((tx) => { for (const [k] of [...tx.scan()]) tx.delete(k); for (const f of [...tx.files.list()]) tx.files.remove(f); });
    return (await Promise.all(seen)).join(" ");
  },
  async order() {
    await update((tx) => { for (const k of ["b", "a", "ä", "😀", "\uffff", "Z"]) tx.put("o/" + k, 1); });
    return view((tx) => [...tx.scan({ prefix: "o/" })].map(([k]) => k.slice(2)).join(""));
  },
  async counter() {
    const before = await update((tx) => { const c = tx.counter("uid"); return [c.value, c.next(), c.next(), c.add(10), c.add(-2), c.value]; });
    return before.join(" ") + " " + view((tx) => tx.counter("uid").value);
  },
  overflow: () => update((tx) => { tx.counter("max").add(Number.MAX_SAFE_INTEGER); tx.counter("max").next(); }),
  overflowed: () => String(view((tx) => tx.counter("max").value)),
  async files() {
    await update((tx) => { tx.files.create("../../etc/passwd", "evil"); tx.files.write("big", Buffer.alloc(200000, 7)); tx.files.write("", "empty name"); tx.put("uid", "plain"); tx.files.write("uid", "file"); });
    await update((tx) => tx.files.remove("big2"));
    return view((tx) => [tx.files.exists("big"), tx.files.exists("nope"), tx.files.read("big").length, tx.files.readText("../../etc/passwd"), String(tx.files.read("nope")), tx.files.readText(""),
      tx.get("uid"), tx.files.readText("uid"), [...tx.files.list("")].join(","), [...tx.files.list("b")].join(","), [...tx.scan()].length > 0].join(" "));
  },
  async parts() {
    await update((tx) => { tx.files.create("parts", "ü ", Buffer.from([0, 255]), new Uint8Array([1]).buffer, "", "\n"); tx.files.write("parts2", "a", "b"); tx.files.write("parts3", ""); });
    return view((tx) => [tx.files.read("parts").toString("hex"), tx.files.readText("parts2"), tx.files.read("parts3").length].join(" "));
  },
  wrongPart: () => update((tx) => tx.files.write("wrong", "a", 5)),
  noContents: () => update((tx) => tx.files.write("wrong")),
  exists: () => update((tx) => tx.files.create("uid", "x")),
  async existsClass() { try { await things.exists(); } catch (e) { return [e instanceof amp.FileExistsError, e.name, e.file].join(" "); } },
  async rollback() {
    try { await update((tx) => { tx.put("never", 1); tx.counter("never").next(); throw new Error("no"); }); } catch (e) { return e.message + " " + view((tx) => [tx.get("never"), tx.counter("never").value].join()); }
  },
  asyncUpdate: () => update(async (tx) => {}),
  asyncView: () => view(async (tx) => {}),
  promiseUpdate: () => update((tx) => { tx.put("promised", 1); return Promise.resolve(); }),
  promised: () => plain(view((tx) => tx.get("promised"))),
  nested: () => update((tx) => { update(() => {}); }),
  nestedView: () => update((tx) => view(() => 1)),
  async after() { await update((tx) => { escaped = tx; }); escaped.put("k", 1); },
  async afterCounter() { await update((tx) => { escaped = tx.counter("c"); }); escaped.next(); },
  async afterScan() { await update((tx) => { tx.put("x", 1); escaped = tx.scan(); }); return [...escaped].length; },
  viewPut: () => view((tx) => tx.put("k", 1)),
  fn: () => update((tx) => tx.put("k", { a: [1, () => {}] })),
  cls: () => update((tx) => tx.put("k", { a: { b: new Thing() } })),
  map: () => update((tx) => tx.put("k", new Map())),
  und: () => update((tx) => tx.put("k", undefined)),
  promise: () => update((tx) => tx.put("k", [Promise.resolve()])),
  symbol: () => update((tx) => tx.put("k", Symbol("x"))),
  cycle: () => update((tx) => { const o = {}; o.o = o; tx.put("k", o); }),
  hole: () => update((tx) => tx.put("k", [1, , 2])),
  surrogate: () => update((tx) => tx.put("k\ud800", 1)),
  surrogateValue: () => update((tx) => tx.put("k", { s: "\ud800" })),
  numberKey: () => update((tx) => tx.put(5, 1)),
  notFunction: () => update(5),
};
const Do = new amp.Command("Do", { arguments: { what: amp.Unicode() }, response: { out: amp.Unicode() }, errors: { TYPE: TypeError, OTHER: Error } });
Do.responder(async ({ what }) => ({ out: String(await things[what]()) }));
const Next = new amp.Command("Next", { response: { uid: amp.Integer() } });
Next.responder(() => amp.store.update((tx) => ({ uid: tx.counter("shared").next() })));
`

func TestStore(t *testing.T) {
	p, l := run(t, "keep", storeSource, nil)
	for _, c := range []struct{ what, want string }{
		{"roundTrip", `{ n: null, t: true, f: false, i: 1, neg: -5, z: -0, d: 1.5, big: 12345678901234567890n, small: -7n, nan: NaN, inf: -Infinity, s: 'hä😀', e: '', date: 1970-01-01T00:00:00.005Z, bad: Invalid Date, dt: DateTimeValue 1969-12-31T22:30:00.005007-01:30, b: <Buffer 00 ff>, u: <Buffer 01>, a: [ 1, [ 2, [ null ] ], {} ], o: { ['__proto__']: 1, constructor: 2, nested: { deep: [] } } }`},
		{"missing", "undefined"},
		{"parts", "c3bc2000ff010a ab 0"},
		{"scan", "300 true 300 299 0 150 s/100 s/249 s/000 2"},
		{"edges", strings.TrimSuffix(strings.Repeat("true ", 16), " ")},
		{"order", "Zabä\uffff😀"},
		{"counter", "0 1 2 12 10 10 10"},
		{"overflow", "OTHER: store: counter out of range"},
		{"overflowed", "0"},
		{"files", "true false 200000 evil undefined empty name plain file ,../../etc/passwd,big,uid big true"},
		{"wrongPart", `TYPE: file "wrong": part 2 of its contents: 5 is not a Buffer`},
		{"noContents", `TYPE: file "wrong": undefined is not a Buffer`},
		{"exists", `OTHER: a file called "uid" exists`},
		{"existsClass", "true FileExistsError uid"},
		{"rollback", "no ,0"},
		{"asyncUpdate", "TYPE: amp.store.update: the function must not be async"},
		{"asyncView", "TYPE: amp.store.view: the function must not be async"},
		{"promiseUpdate", "TYPE: amp.store.update: the function must not be async, nor return a promise"},
		{"promised", "undefined"},
		{"nested", "TYPE: amp.store.update within a transaction"},
		{"nestedView", "TYPE: amp.store.view within a transaction"},
		{"after", "TYPE: the transaction has ended"},
		{"afterCounter", "TYPE: the transaction has ended"},
		{"afterScan", "TYPE: the transaction has ended"},
		{"viewPut", "TYPE: amp.store.view only reads"},
		{"fn", `TYPE: put "k": value.a[1]: a function can't be stored`},
		{"cls", `TYPE: put "k": value.a.b: an object of class Thing can't be stored`},
		{"map", `TYPE: put "k": an object of class Map can't be stored`},
		{"und", `TYPE: put "k": undefined can't be stored`},
		{"promise", `TYPE: put "k": value[0]: a promise`},
		{"symbol", `TYPE: put "k": `},
		{"cycle", "TYPE: put \"k\": value.o.o.o"},
		{"hole", `TYPE: put "k": value[1]: a hole`},
		{"surrogate", "TYPE: a name in the store: the text has half of a surrogate pair"},
		{"surrogateValue", `TYPE: put "k": value.s: the text has half`},
		{"numberKey", "TYPE: a name in the store: 5 is not a string"},
		{"notFunction", "TYPE: amp.store.update takes a function"},
	} {
		b, err := ask(t, p, "Do", box("what", c.what))
		got := string(b["out"])
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, c.want)
		}
	}
	if t.Failed() {
		t.Log(l)
	}
}

// Updates of one plugin are atomic, and each number is given once.
func TestCounterConcurrent(t *testing.T) {
	p, _ := run(t, "keep", storeSource, nil)
	const n = 100
	seen := make([]bool, n+1)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			b, err := ask(t, p, "Next", nil)
			if err != nil {
				t.Error(err)
				return
			}
			var uid int
			if _, err := fmt.Sscan(string(b["uid"]), &uid); err != nil || uid < 1 || uid > n {
				t.Errorf("uid %q", b["uid"])
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[uid] {
				t.Errorf("uid %d twice", uid)
			}
			seen[uid] = true
		})
	}
	wg.Wait()
}

// A gate holds back what a store says is durable.
type gatedStore struct {
	store.Store
	gate      chan struct{}
	conflicts int // how many commits conflict; only the plugin's loop begins transactions
}

func (s *gatedStore) Begin(ctx context.Context, ns string, writable bool) (store.Tx, error) {
	tx, err := s.Store.Begin(ctx, ns, writable)
	if err != nil || !writable {
		return tx, err
	}
	return &gatedTx{tx, s}, nil
}

type gatedTx struct {
	store.Tx
	s *gatedStore
}

func (tx *gatedTx) Commit() <-chan error {
	if tx.s.conflicts > 0 {
		tx.s.conflicts--
		done := make(chan error, 1)
		<-tx.Tx.Rollback()
		done <- store.ErrConflict
		return done
	}
	return tx.s.hold(tx.Tx.Commit())
}

func (tx *gatedTx) Rollback() <-chan error { return tx.s.hold(tx.Tx.Rollback()) }

func (s *gatedStore) hold(in <-chan error) <-chan error {
	done := make(chan error, 1)
	go func() {
		err := <-in
		<-s.gate
		done <- err
	}()
	return done
}

// The promise of an update settles once it is durable, also that of one that
// throws; a conflict runs the function again.
func TestUpdateWaits(t *testing.T) {
	st := &gatedStore{Store: store.NewMem(), gate: make(chan struct{}), conflicts: 2}
	p, l := run(t, "gate", `import * as amp from "amphost";
class Taken extends Error {}
let runs = 0;
new amp.Command("Take", { arguments: { fail: amp.Boolean() }, response: { runs: amp.Integer() }, errors: { TAKEN: Taken } }).responder(({ fail }) => amp.store.update((tx) => {
  runs++;
  tx.put("k", runs);
  if (fail) throw new Taken("no");
  return { runs };
}));
new amp.Command("Free").responder(() => {});
`, &Options{Store: st})
	for _, c := range []struct{ fail, want string }{{"False", "3"}, {"True", "TAKEN: no"}} {
		done := make(chan string, 1)
		go func() {
			b, err := ask(t, p, "Take", box("fail", c.fail))
			if err != nil {
				done <- err.Error()
				return
			}
			done <- string(b["runs"])
		}()
		eventually(t, "it runs", func() bool { return p.Running() == 1 })
		for range 3 { // meanwhile the loop is free
			if _, err := ask(t, p, "Free", nil); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case got := <-done:
			t.Errorf("answered %s before it was durable", got)
		default:
		}
		st.gate <- struct{}{}
		if got := <-done; got != c.want {
			t.Errorf("Take(%s) = %s, want %s\n%s", c.fail, got, c.want, l)
		}
	}
	close(st.gate)
}

// A store that fails rejects, and the log says so.
func TestStoreFails(t *testing.T) {
	st := store.NewMem()
	p, l := run(t, "fails", `import * as amp from "amphost";
new amp.Command("Put").responder(() => amp.store.update((tx) => tx.put("k", 1)));
new amp.Command("Get").responder(() => { amp.store.view((tx) => tx.get("k")); });
`, &Options{Store: st})
	if _, err := ask(t, p, "Put", nil); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"Put", "Get"} {
		if _, err := ask(t, p, command, nil); !errors.Is(err, amp.ErrUnknown) {
			t.Errorf("%s on a closed store: %v", command, err)
		}
		l.wait("store: closed")
		l.reset()
	}
}
