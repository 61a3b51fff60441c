package scripting

import (
	"strings"
	"testing"
	"time"
)

// What stands before a built-in function changes nothing of what it does.
func TestGuardedFunctionsAreTheSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expr, want string }{
		// A list of names is written in its order, with what is inherited, and each name once.
		{`JSON.stringify({ b: 1, a: 2, c: 3 }, ["c", "a", "c", "none"])`, `{"c":3,"a":2}`},
		{`JSON.stringify({ b: 1, 1: "x" }, ["b", 1, new String("1"), new Number(2), {}, null, true])`, `{"b":1,"1":"x"}`},
		{`JSON.stringify([{ a: [{ a: 1, b: 2 }, [{ b: 3 }]], b: 4 }], ["a"])`, `[{"a":[{"a":1},[{}]]}]`},
		{`JSON.stringify({ a: new Date(0), n: new Number(1), s: new String("x"), f() {}, u: undefined, y: Symbol() }, ["a", "n", "s", "f", "u", "y"])`, `{"a":"1970-01-01T00:00:00.000Z","n":1,"s":"x"}`},
		{`JSON.stringify(Object.create({ a: 1 }), ["a"])`, `{"a":1}`},
		{`JSON.stringify({ a: { toJSON(key) { return { key, a: 1 }; } } }, ["a", "key"])`, `{"a":{"a":1,"key":"a"}}`},
		{`JSON.stringify({ a: JSON.rawJSON("1e1000") }, ["a"])`, `{"a":1e1000}`},
		{`JSON.stringify({ a: 1 }, [])`, `{}`},
		{`JSON.stringify({ a: 1, b: 2 }, new Proxy(["b"], {}), 1)`, "{\n \"b\": 2\n}"},
		{`JSON.stringify({ a: 1 }, {})`, `{"a":1}`},
		{`JSON.stringify(new Proxy({ a: [new Proxy([1, 2], {})] }, {}))`, `{"a":[[1,2]]}`},
		{`(() => { const a = { b: 1 }; a.a = a; try { return JSON.stringify(a, ["a"]); } catch (e) { return e.name; } })()`, `TypeError`},
		{`(() => { let got = 0; const s = JSON.stringify({ get b() { got++; return 1; }, get a() { return got; } }, ["b", "a"]); return s; })()`, `{"b":1,"a":1}`},

		{`[..."ab\u{1f600}"].join()`, "a,b,😀"},
		{`[...new Map([[1, 2]]), ...new Set([3]), ...new Uint8Array([4])].join()`, "1,2,3,4"},
		{`[..."a1b2".matchAll(/\d/g)].join()`, "1,2"},
		{`[...[1, 2].entries()].join("|")`, "0,1|1,2"},
		{`JSON.stringify({ ...{ a: 1 }, ...null, ..."xy", ...[7] })`, `{"0":7,"1":"y","a":1}`},
		{`(() => { const { a, ...rest } = { a: 1, b: 2 }; let x; ({ a: x, ...rest.c } = { a: 3, d: 4 }); return a + x + JSON.stringify(rest); })()`, `4{"b":2,"c":{"d":4}}`},
		{`[1, 2].flatMap(function (x, i, a) { return [x, i + a.length + this.n]; }, { n: 10 }).join()`, "1,12,2,13"},
		{`(() => { try { [].flatMap(1); } catch (e) { return e.name; } })()`, "TypeError"},

		{`[/x/ instanceof RegExp, RegExp("x").constructor === RegExp, new RegExp(/x/gi).flags, RegExp(/a/, "g").source, RegExp.name, RegExp.length].join()`, "true,true,gi,a,RegExp,2"},
		{`(() => { const r = /x/; return RegExp(r) === r; })()`, "true"},
		{`(() => { class R extends RegExp { test() { return "sub"; } } const r = new R("x", "g"); return [r.test(), r instanceof R, r.flags].join(); })()`, "sub,true,g"},
		{`["a-b".split(new RegExp("-")), "aXb".replace(RegExp("x", "i"), "_"), "ab".search("b"), "ab".match("b").index, RegExp[Symbol.species] === RegExp].join()`, "a,b,a_b,1,1,true"},
		{`RegExp.escape("a.b")`, `\x61\.b`},
	} {
		p, _ := run(t, "guarded", `import * as amp from "amphost";
new amp.Command("Is", { response: { text: amp.Unicode() } }).responder(() => ({ text: String(`+c.expr+`) }));`, nil)
		if b, err := ask(t, p, "Is", nil); err != nil || string(b["text"]) != c.want {
			t.Errorf("%s is %q, %v, want %q", c.expr, b["text"], err, c.want)
		}
	}
}

// A turn that was interrupted while a function of Go's ran, after which nothing
// of the script did, has not heeded the interrupt. The runtime is replaced all
// the same.
func TestInterruptNobodyHeeds(t *testing.T) {
	t.Parallel()
	slow := Module{Name: "slow", Exports: map[string]any{"slow": func([]any) (any, error) {
		time.Sleep(300 * time.Millisecond) // beyond the deadline, not beyond what it may be late
		return nil, ErrInvalid
	}, "quiet": func([]any) (any, error) {
		time.Sleep(300 * time.Millisecond)
		return nil, nil
	}}}
	const source = `import * as amp from "amphost";
import { quiet, slow } from "slow";
let n = 0;
new amp.Command("Throw").responder(() => slow());
new amp.Command("Quiet").responder(() => { setTimeout(quiet, 1); });
new amp.Command("Wait").responder(() => new Promise(() => {}));
new amp.Command("Late", {}).responder(() => { setTimeout(() => slow(), 1); return new Promise(() => {}); });
new amp.Command("Count", { response: { n: amp.Integer() } }).responder(() => ({ n: ++n }));`
	for command, want := range map[string]string{"Throw": restarted, "Late": restarted, "Quiet": "<nil>"} {
		p, l := run(t, "late", source, &Options{Modules: []Module{slow}, TurnTimeout: 50 * time.Millisecond})
		if b, err := ask(t, p, "Count", nil); err != nil || string(b["n"]) != "1" {
			t.Fatalf("%v, %v", b, err)
		}
		waits := make(chan error, 1)
		go func() { _, err := ask(t, p, "Wait", nil); waits <- err }()
		eventually(t, "it waits", func() bool { return p.workers[0].calls.len() == 1 })
		if _, err := ask(t, p, command, nil); codeOf(err) != want {
			t.Errorf("%s: %v", command, err)
		}
		if err := <-waits; codeOf(err) != restarted {
			t.Errorf("a call beside %s: %v", command, err)
		}
		if b, err := ask(t, p, "Count", nil); err != nil || string(b["n"]) != "1" {
			t.Errorf("the runtime goes on after %s: %v, %v", command, b, err)
		}
		if s := l.String(); !strings.Contains(s, "plugin restarted") || !strings.Contains(s, "ran too long") {
			t.Errorf("the log of %s:\n%s", command, s)
		}
	}
}
