package scripting

import (
	"slices"
	"strings"
	"testing"

	"github.com/dop251/goja"
)

// What a script can do with a promise that Go settles is what it can do with one
// of its own, whether goja has made it or it is a copy.
func TestDeferredIsAPromise(t *testing.T) {
	const source = `import * as amp from "amphost";
const Do = new amp.Command("Do", { arguments: { what: amp.Unicode() }, response: { out: amp.Unicode() } });
const turn = () => new Promise((ok) => setTimeout(ok, 1));
const things = {
  async class() {
    const p = give(1);
    return [p instanceof Promise, Object.prototype.toString.call(p), Object.getPrototypeOf(p) === Promise.prototype, Promise.resolve(p) === p, await p];
  },
  async properties() {
    const p = give(1), q = give(2);
    p.mine = 1;
    p[Symbol.for("s")] = 2;
    Object.freeze(q);
    const before = [Object.keys(p), Object.keys(q), Object.isFrozen(p), p[Symbol.for("s")], q[Symbol.for("s")]];
    await turn();
    return [before, await p, await q, p.mine, Object.isFrozen(q)];
  },
  async before() { const p = give(1); const got = p.then((v) => v + 1); return [await got, await p]; },
  async after() { const p = give(1); await turn(); return [await p, await p.then((v) => v + 1)]; },
  async object() { const o = { a: 1 }; const p = give(o); await turn(); return (await p) === o; },
  async order() {
    const log = [], p = give(1);
    const all = [p.then(() => log.push("a")), p.then(() => log.push("b")), Promise.resolve().then(() => log.push("first"))];
    await Promise.all(all);
    return log;
  },
  async all() { const p = give(1); await turn(); return [await Promise.all([p, give(2), 3]), await Promise.race([give(4), new Promise(() => {})]), await Promise.any([give(5)])]; },
  async thenable() {
    const a = give({ then(ok) { ok("now"); } }), b = give({ then(ok) { setTimeout(() => ok("later"), 2); } }), c = give({ then(_, no) { no("never"); } });
    await turn();
    return [await a, await b, await c.catch((e) => e)];
  },
  async thenableFirst() { return [await give({ then(ok) { ok("now"); } }), await give({ then: 5 }).then((v) => v.then)]; },
  async getter() { const p = give({ get then() { throw new Error("thrown"); } }); await turn(); return p.catch((e) => e.message); },
  async promise() { const p = give(Promise.resolve(6)), q = give(Promise.reject(7)); await turn(); return [await p, await q.catch((e) => e)]; },
  async rejected() { const p = give(new Error("refused"), true); return [await p.catch((e) => e.message), await p.then(0, (e) => e.message)]; },
  async finally() { let n = 0; const p = give(1).finally(() => n++), q = give(2); await turn(); return [await p, await q.finally(() => n++), n]; },
  async twice() { const p = give("first", false, "second"), q = give({ then(ok) { setTimeout(() => ok("later"), 1); } }, false, "second"); await turn(); return [await p, await q]; },
  async once() {
    let n = 0;
    const values = [{ get then() { n++; return (ok) => ok("followed"); } }, { get then() { n++; return 5; } }, { get then() { if (!n++) throw new Error("only once"); } }];
    const out = [];
    for (const v of values) { n = 0; const p = give(v); await turn(); await turn(); out.push(n, await p.then((v) => typeof v, (e) => e.message)); }
    const own = { name: "own", then(ok) { ok(this.name); } }, q = give(own), late = { then(ok) { setTimeout(() => { ok("late"); ok("later"); }, 1); throw new Error("ignored?"); } }, r = give(late);
    await turn();
    return [...out, await q, await r.catch((e) => e.message)];
  },
  async asksItself() { let got = "never"; const p = give({ get then() { p.then(() => { got = "told"; }); } }); await turn(); await turn(); return got; },
  async leavesJobs() { return new Promise((ok) => { give({ get then() { ok("told"); } }); }); },
  async nothing() { const p = give(); await turn(); const v = await p; return [typeof v, v === undefined]; },
  async nothingOfUpdate() { const p = amp.store.update(Reflect.get.bind(null, {}, "missing")); for (let i = 0; i < 20; i++) await turn(); const v = await p; return typeof v; },
  async unhandled() { give(new Error("nobody handles " + "it"), true); await turn(); return 1; },
};
Do.responder(async ({ what }) => ({ out: JSON.stringify(await things[what]()) }));
`
	want := map[string]string{
		"class": `[true,"[object Promise]",true,true,1]`, "properties": `[[["mine"],[],false,2,null],1,2,1,true]`,
		"before": `[2,1]`, "after": `[1,2]`, "object": `true`, "order": `["first","a","b"]`, "all": `[[1,2,3],4,5]`,
		"thenable": `["now","later","never"]`, "thenableFirst": `["now",5]`, "getter": `"thrown"`, "promise": `[6,7]`,
		"rejected": `["refused","refused"]`, "finally": `[1,2,2]`, "twice": `["first","later"]`, "unhandled": `1`,
		"once": `[1,"string",1,"object",1,"only once","own","ignored?"]`, "asksItself": `"told"`, "leavesJobs": `"told"`, "nothing": `["undefined",true]`, "nothingOfUpdate": `"undefined"`,
	}
	for _, c := range []struct {
		name   string
		copied bool
	}{{"copied", true}, {"made by goja", false}} {
		t.Run(c.name, func(t *testing.T) {
			if !promises.known {
				t.Fatal("promises of this goja are not what newDeferred knows how to copy: see promiseFields")
			}
			promises.known = c.copied
			defer func() { promises.known = true }()
			p, l := run(t, "deferred", source, nil)
			p.workers[0].loop.post(func() {
				r := p.workers[0].realm
				must(r.rt.Set("give", func(c goja.FunctionCall) goja.Value {
					d, args := r.newDeferred(), slices.Clone(c.Arguments)
					if len(args) == 0 {
						args = []goja.Value{nil} // what a function of goja's may return
					}
					reject := c.Argument(1).ToBoolean()
					r.post(func() {
						if reject {
							d.reject(args[0])
						} else {
							d.resolve(args[0])
						}
						if len(args) > 2 {
							d.resolve(args[2])
							d.reject(args[2])
						}
					})
					return d.o
				}))
			})
			for _, what := range sortedKeys(want) {
				if b, err := ask(t, p, "Do", box("what", what)); err != nil || string(b["out"]) != want[what] {
					t.Errorf("%s: %s, %v, want %s", what, b["out"], err, want[what])
				}
			}
			if text := l.String(); !strings.Contains(text, `unhandled rejection" plugin=deferred generation=1 error="Error: nobody handles it`) || strings.Contains(text, "responder failed") {
				t.Errorf("the log does not tell of the rejection that nobody handles, or of more:\n%s", text)
			}
		})
	}
}
