package scripting

import (
	"testing"

	"github.com/amphost/amphost/amp"
)

// What a responder gets is an object like any other: it can be looked through,
// changed, copied, frozen and answered with.
func TestArgumentsAreAnOrdinaryObject(t *testing.T) {
	const source = `import * as amp from "amphost";
const declared = { a: amp.Integer(), b: amp.Integer({ optional: true }), toString: amp.Unicode({ optional: true }) };
const many = Object.fromEntries("abcdefghijkl".split("").map((name) => [name, amp.Integer()]));
const fails = (f) => { try { f(); return "done"; } catch (e) { return e instanceof TypeError ? "TypeError" : String(e); } };
const tests = {
  looked: (args) => [Object.keys(args), "a" in args, "b" in args, args.b, Object.hasOwn(args, "toString"), args.hasOwnProperty("a"), { ...args }, JSON.stringify(args), Object.entries(args)],
  prototype: (args) => [Object.getPrototypeOf(args) === Object.prototype, args instanceof Object, args.constructor === Object, String(args), typeof args],
  walked: (args) => { const seen = []; for (const k in args) seen.push(k); return seen; },
  rest: ({ a, ...rest }) => [a, rest],
  changed: (args) => { args.a++; args.c = "new"; delete args.c; args.c = "again"; args.b = 9; delete args.b; return [args, Object.keys(args), args.b]; },
  copied: (args) => [structuredClone(args), Object.assign({}, args)],
  same: (args) => { const seen = new Map([[args, 1]]), weak = new WeakSet([args]); return [seen.get(args), weak.has(args), args === args, [args].includes(args)]; },
  frozen: (args) => { const back = Object.freeze(args); return [back === args, Object.isFrozen(args), Object.isSealed(args), Object.isExtensible(args), fails(() => { args.a = 2; }), fails(() => { args.z = 2; }), fails(() => { delete args.a; }), args.a]; },
  sealed: (args) => { Object.seal(args); args.a = 5; return [Object.isFrozen(args), Object.isSealed(args), fails(() => { delete args.a; }), fails(() => { args.z = 1; }), args.a]; },
  closed: (args) => { Reflect.preventExtensions(args); delete args.a; return [Reflect.isExtensible(args), fails(() => { args.z = 1; }), Object.keys(args), Object.isFrozen(args)]; },
  open: (args) => [Object.isFrozen(args), Object.isSealed(args), Object.isExtensible(args), Object.isFrozen(Object.freeze([])), fails(() => { Object.freeze({ a: 1 }).a = 2; })],
  inspected: (args) => console.inspect(args),
  proxied: (args) => new Proxy(args, {}).a,
  inherited: (args) => { Object.setPrototypeOf(args, { greet() { return this.a; } }); return args.greet(); },
};
for (const [name, f] of Object.entries(tests)) {
  new amp.Command(name, { arguments: declared, response: { is: amp.Unicode() } }).responder((args) => ({ is: JSON.stringify(f(args)) }));
}
new amp.Command("Echo", { arguments: declared, response: declared }).responder((args) => args);
new amp.Command("Many", { arguments: many, response: { is: amp.Unicode() } }).responder(({ l, a, ...rest }) => ({ is: l + " " + a + " " + Object.keys(rest).join("") }));
`
	p, _ := run(t, "args", source, nil)
	for command, want := range map[string]string{
		"looked":    `[["a"],true,false,null,false,true,{"a":1},"{\"a\":1}",[["a",1]]]`,
		"prototype": `[true,true,true,"[object Object]","object"]`,
		"walked":    `["a"]`,
		"rest":      `[1,{}]`,
		"changed":   `[{"a":2,"c":"again"},["a","c"],null]`,
		"copied":    `[{"a":1},{"a":1}]`,
		"same":      `[1,true,true,true]`,
		"frozen":    `[true,true,true,false,"TypeError","TypeError","TypeError",1]`,
		"sealed":    `[false,true,"TypeError","TypeError",5]`,
		"closed":    `[false,"TypeError",[],true]`,
		"open":      `[false,false,true,true,"TypeError"]`,
		"inspected": `"{ a: 1 }"`,
		"proxied":   `1`,
		"inherited": `1`,
	} {
		answer, err := amp.Ask(t.Context(), p, command, box("a", "1"))
		if err != nil || string(answer["is"]) != want {
			t.Errorf("%s: %s %v, want %s", command, answer["is"], err, want)
		}
	}
	if answer, err := amp.Ask(t.Context(), p, "Echo", box("a", "1", "toString", "mine")); err != nil || string(answer["a"]) != "1" || string(answer["toString"]) != "mine" || len(answer) != 2 {
		t.Errorf("Echo: %q %v", answer, err)
	}
	args := amp.Box{}
	for i := range 12 {
		args[string(rune('a'+i))] = []byte{byte('0' + i%10)}
	}
	if answer, err := amp.Ask(t.Context(), p, "Many", args); err != nil || string(answer["is"]) != "1 0 bcdefghijk" {
		t.Errorf("Many: %q %v", answer, err)
	}
}
