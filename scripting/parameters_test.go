package scripting

import (
	"fmt"
	"testing"

	"github.com/amphost/amphost/amp"
)

// maySee is false only of functions that can't see the argument.
func TestMaySee(t *testing.T) {
	for _, test := range []struct {
		text string
		may  bool
	}{
		{`() => 1`, false},
		{`x => x`, false},
		{`() => ({ n: 1 }`, false},
		{`(_, peer) => ({ n: 1 }`, true},
		{`async ({ a, b }) => { await a; return { total: a + b }; }`, false},
		{`({ a }, peer) => 1`, true},
		{`(...all) => all[1]`, true},
		{`(a, ...more) => 1`, true},
		{`(a, { id } = {}) => 1`, true},
		{`function () {}`, false},
		{`function named(a = 1) { return a }`, false},
		{`async function (a) {}`, false},
		{`function* (a) {}`, false},
		{`function (a) { return arguments[1] }`, true},
		{`function (a) { return argum\u0065nts[1] }`, true},
		{`function (a) { return eval("argu" + "ments")[1] }`, true},
		{`function (a) { return (() => arguments[1])() }`, true},
		{`function () { [native code] }`, true},
		{`method(a) {}`, true},
		{`class {}`, true},
		{`a) + (b`, true},
		{``, true},
	} {
		if got := maySee(test.text, 1); got != test.may {
			t.Errorf("maySee(%s, 1) = %v", test.text, got)
		}
	}
}

// A responder sees the peer in whatever way it asks for it, and always the same
// object, also when others have been called before that don't.
func TestRespondersSeeTheirPeer(t *testing.T) {
	const code = `
import * as amp from "amphost";
const known = new WeakMap();
const seen = (peer) => { if (!known.has(peer)) known.set(peer, peer.id); return { id: peer instanceof Object ? known.get(peer) : -1 }; };
const command = (name, fn) => new amp.Command(name, { response: { id: amp.Integer() } }).responder(fn);
command("Nobody", () => ({ id: 0 }));
command("Second", (_, peer) => seen(peer));
command("Default", (_, peer = null) => seen(peer));
command("Rest", (...all) => seen(all[1]));
command("Arguments", function () { return seen(arguments[1]); });
command("Bound", ((_, peer) => seen(peer)).bind(null));
command("Proxy", new Proxy((_, peer) => seen(peer), {}));
command("Method", { method(_, peer) { return seen(peer); } }.method);
const late = function () { return seen(arguments[1]); };
late.toString = () => "() => 1";
command("Lying", late);
Function.prototype.toString = () => "() => 1";
command("LyingAll", function () { return seen(arguments[1]); });
`
	p, _ := run(t, "seeing", code, nil)
	conn, end := amp.Pipe(nil, p)
	defer conn.Close()
	defer end.Close()
	for _, name := range []string{"Nobody", "Second", "Default", "Rest", "Arguments", "Bound", "Proxy", "Method", "Lying", "LyingAll"} {
		want := fmt.Sprint(end.ID())
		if name == "Nobody" {
			want = "0"
		}
		answer, err := conn.Call(t.Context(), name, nil)
		if got := string(answer["id"]); err != nil || got != want {
			t.Errorf("%s: %v, %v; want id %s", name, answer, err, want)
		}
	}
}

// What no script of the plugin has seen of a connection costs nothing.
func TestPeersThatNobodySeesAreNotMade(t *testing.T) {
	p, _ := run(t, "blind", `
import * as amp from "amphost";
new amp.Command("Blind", { response: { n: amp.Integer() } }).responder(() => ({ n: amp.peers().length }));
`, nil)
	conn, end := amp.Pipe(nil, p)
	defer conn.Close()
	defer end.Close()
	answer, err := conn.Call(t.Context(), "Blind", nil)
	if err != nil || string(answer["n"]) != "0" { // who uses a Plugin alone has to tell it of connections
		t.Fatal(answer, err)
	}
	peers := make(chan int)
	p.workers[0].loop.post(func() { peers <- len(p.workers[0].realm.peers) })
	if n := <-peers; n != 0 {
		t.Errorf("there are %d peers, want none", n)
	}
}
