package scripting

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestEnv(t *testing.T) {
	t.Setenv("AMPHOST_TEST_A", "a=1")
	t.Setenv("AMPHOST_TEST_SECRET", "s")
	source := `import * as amp from "amphost";
const all = [];
const look = (fn) => { try { const v = fn(); all.push(typeof v === "string" ? v : String(JSON.stringify(v))); } catch (e) { all.push(e.name + ": " + e.message); } };
look(() => amp.env.AMPHOST_TEST_A);
look(() => amp.env.AMPHOST_TEST_UNSET);
look(() => amp.env.AMPHOST_TEST_SECRET);
look(() => Object.keys(amp.env));
look(() => ({ ...amp.env }));
look(() => ["AMPHOST_TEST_A" in amp.env, "AMPHOST_TEST_SECRET" in amp.env]);
look(() => JSON.stringify(amp.env));
look(() => { amp.env.AMPHOST_TEST_A = "b"; });
look(() => console.inspect(amp.env));
look(() => String(amp.env));
new amp.Command("Look", { response: { out: amp.Unicode() } }).responder(() => ({ out: all.join("\n") }));`
	p, _ := run(t, "env", source, &Options{Env: func(plugin, name string) error {
		if plugin == "env" && (name == "AMPHOST_TEST_A" || name == "AMPHOST_TEST_UNSET") {
			return nil
		}
		return fmt.Errorf("say --allow-env %s=%s", plugin, name)
	}})
	b, err := ask(t, p, "Look", nil)
	want := `a=1
undefined
TypeError: env may not read the environment variable AMPHOST_TEST_SECRET: say --allow-env env=AMPHOST_TEST_SECRET
["AMPHOST_TEST_A"]
{"AMPHOST_TEST_A":"a=1"}
[true,false]
{"AMPHOST_TEST_A":"a=1"}
TypeError: amp.env.AMPHOST_TEST_A: the environment can't be changed
{}
[object Object]`
	if got := string(b["out"]); err != nil || got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	// Without a permission there is none.
	p, _ = run(t, "env", source, nil)
	if b, err := ask(t, p, "Look", nil); err != nil || len(b["out"]) == 0 || string(b["out"])[:len("TypeError: env may not read")] != "TypeError: env may not read" {
		t.Errorf("without a permission: %s, %v", b["out"], err)
	}
}

// What an address turns out to be is checked for amp.connect, amp.dial and fetch
// alike. A connection that comes back by itself waits, and the log says for what.
func TestResolvedAddressIsChecked(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	_, port, _ := net.SplitHostPort(o.address)
	p, l := run(t, "net", strings.ReplaceAll(`import * as amp from "amphost";
const Hold = new amp.Command("Hold");
const ways = {
  connect: () => amp.connect("tcp://localhost:PORT"),
  dial: () => amp.dial("localhost:PORT"),
  tls: () => amp.dial("tls://localhost:PORT"),
  fetch: () => fetch("http://localhost:PORT/"),
  again: async () => (await amp.connect("localhost:PORT", { reconnect: true })).callRemote(Hold, {}, { timeout: 50 }),
};
new amp.Command("Try", { arguments: { way: amp.Unicode() }, response: { out: amp.Unicode() } }).responder(async ({ way }) => {
  try { await ways[way](); return { out: "connected" }; } catch (e) { return { out: e.name + ": " + e.message }; }
});`, "PORT", port), &Options{Net: func(_, address string, resolved netip.Addr) error {
		if resolved.IsValid() {
			return fmt.Errorf("no: it is %s", resolved)
		}
		return nil
	}})
	const refused = "net may not connect to localhost:"
	for way, want := range map[string]string{
		"connect": "TypeError: " + refused, "dial": "TypeError: " + refused, "tls": "TypeError: " + refused,
		"fetch": "TypeError: fetch GET http://localhost:" + port + "/: " + refused, "again": "TimeoutError: ",
	} {
		b, err := ask(t, p, "Try", box("way", way))
		if err != nil || !strings.HasPrefix(string(b["out"]), want) {
			t.Errorf("%s: %s, %v, want %s", way, b["out"], err, want)
		}
	}
	l.wait("amp.connect is refused, and calls wait")
	if n := o.came.Load(); n != 0 {
		t.Errorf("%d connections came", n)
	}
}
