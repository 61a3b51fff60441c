package scripting

import (
	"strings"
	"testing"
	"time"
)

const configSource = `import * as amp from "amphost";
const { greeting = "hi", list = [], since, nested = {} } = amp.plugin.config;
let frozen = "";
for (const change of [() => { amp.plugin.config.greeting = "x"; }, () => { list.push(1); }, () => { nested.constructor = 2; }]) {
  try { change(); } catch (e) { frozen += e.name + " "; }
}
new amp.Command("Show", { response: { text: amp.Unicode() } }).responder(() => ({
  text: [greeting, JSON.stringify(list), since?.toISOString(), nested.constructor, frozen].join(" | "),
}));`

// amp.plugin.config is what the operator wrote for this plugin, and no other's.
func TestPluginConfig(t *testing.T) {
	config := map[string]map[string]any{"show": {
		"greeting": "hello",
		"list":     []any{int64(1), 2.5, true, "x", map[string]any{"y": nil}},
		"since":    time.UnixMilli(0),
		"nested":   map[string]any{"constructor": "c"},
	}}
	for name, want := range map[string]string{
		"show":  `hello | [1,2.5,true,"x",{"y":null}] | 1970-01-01T00:00:00.000Z | c | TypeError TypeError TypeError `,
		"other": `hi | [1] |  | 2 | TypeError `,
	} {
		p, _ := run(t, name, configSource, &Options{Config: config})
		b, err := ask(t, p, "Show", nil)
		if err != nil || string(b["text"]) != want {
			t.Errorf("%s: %s, %v, want %s", name, b["text"], err, want)
		}
	}
	prog, err := BuildSource("big", `import * as amp from "amphost"; amp.plugin.config;`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), prog, &Options{Config: map[string]map[string]any{"big": {"a": []any{int64(1) << 60}}}, Logger: (&logs{t: t}).logger(0)})
	if err == nil || !strings.Contains(err.Error(), "a[0]") || !strings.Contains(err.Error(), "in quotes") {
		t.Errorf("a number that is too large: %v", err)
	}
}
