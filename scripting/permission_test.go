package scripting

import (
	"fmt"
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
