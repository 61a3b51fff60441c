package scripting

import (
	"errors"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// What crosses the border to Go is whole, or refused by name.
func TestModuleValues(t *testing.T) {
	var got []any
	m := Module{Name: "myapp/values", Exports: map[string]any{
		"take":     func(args []any) (any, error) { got = args; return nil, nil },
		"wide":     func([]any) (any, error) { return new(big.Int).Lsh(big.NewInt(1), 70), nil },
		"unsafe":   func([]any) (any, error) { return map[string]any{"n": int64(1<<53 + 1)}, nil },
		"when":     time.Date(2020, 1, 2, 3, 4, 5, 6007000, time.FixedZone("", 3600)),
		"odd-name": "odd",
		"delete":   "word",
		"default":  "the default",
	}}
	prog, err := BuildSource("values", `import * as amp from "amphost";
import it, { take, wide, unsafe, when, "odd-name" as odd, delete as word } from "myapp/values";
import * as all from "myapp/values";
const bad = { map: new Map(), set: new Set(), error: new Error("x"), class: new (class A {})(), f: () => {}, list: [1, /x/], floats: new Float64Array(1), proxy: new Proxy({}, {}), promise: (async () => {})() };
new amp.Command("Try", { response: { out: amp.ListOf(amp.Unicode()) } }).responder((_, peer) => {
  take(null, -0, 1.5, 2n ** 70n, "é\0", new Uint8Array([1, 2]).subarray(1), { ["__proto__"]: 1, constructor: [2] }, new Date(5), when);
  const out = [it, odd, word, all.default, String(wide()), when.microsecond + "@" + when.offset];
  for (const [name, value] of Object.entries({ ...bad, peer })) {
    try { take({ [name]: value }); out.push(name + " was taken"); } catch (e) { if (!e.message.startsWith("argument 0: value." + name)) out.push(e.message); }
  }
  try { unsafe(); } catch (e) { out.push(e.message); }
  return { out };
});`, m)
	if err != nil {
		t.Fatal(err)
	}
	l := &logs{t: t}
	opts := &Options{Modules: []Module{m}, Logger: l.logger(slog.LevelInfo)}
	p, err := Start(t.Context(), prog, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(t.Context()) }()
	b, err := ask(t, p, "Try", nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, l)
	}
	var out []string
	for e := range amp.Elements(b["out"]) {
		out = append(out, string(e))
	}
	if want := `the default|odd|word|the default|1180591620717411303424|7@60|"n": 9007199254740993 is beyond ±(2^53-1), which a number can't hold: give a *big.Int`; strings.Join(out, "|") != want {
		t.Errorf("got %s, want %s", strings.Join(out, "|"), want)
	}
	if o, ok := got[6].(map[string]any); len(got) != 9 || !ok || o["__proto__"] != int64(1) || o["constructor"].([]any)[0] != int64(2) {
		t.Errorf("Go was given %v", got)
	} else if n, ok := got[3].(*big.Int); !ok || n.BitLen() != 71 || got[0] != nil || got[2] != 1.5 || got[4] != "é\x00" || string(got[5].([]byte)) != "\x02" || got[7].(time.Time).UnixMilli() != 5 || !got[8].(time.Time).Equal(m.Exports["when"].(time.Time)) {
		t.Errorf("Go was given %v", got)
	}

	// A mistake of the embedding program is an error of the start, at once.
	for _, c := range []struct {
		modules []Module
		want    string
	}{
		{nil, "myapp/values was built with and is not among the modules"},
		{[]Module{{Name: "myapp/values", Exports: map[string]any{"take": map[string]any{"c": make(chan int)}}}}, `module myapp/values: "take.c": a chan int can't be given to scripts`},
	} {
		if _, err := Start(t.Context(), prog, &Options{Modules: c.modules, Logger: l.logger(slog.LevelInfo)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Start: %v, want %q", err, c.want)
		}
	}
}

func TestModuleTypes(t *testing.T) {
	types := Types(Module{Name: "myapp/users", Types: "export function lookup(name: string): Promise<string>;\nexport const limit: number;\n"},
		Module{Name: "myapp/x", Exports: map[string]any{"f": func([]any) (any, error) { return nil, nil }, "n": 3, "delete": []byte{1}, "odd-name": map[string]any{"a": []any{}, "b": true}}})
	want := Types() + `
declare module "myapp/users" {
  export function lookup(name: string): Promise<string>;
  export const limit: number;
}

declare module "myapp/x" {
  const e0: Buffer;
  export { e0 as delete };
  const e1: (...args: any[]) => any;
  export { e1 as f };
  const e2: number;
  export { e2 as n };
  const e3: { a: any[]; b: boolean };
  export { e3 as "odd-name" };
  const all: { delete: Buffer; f: (...args: any[]) => any; n: number; "odd-name": { a: any[]; b: boolean } };
  export default all;
}
`
	if types != want {
		t.Errorf("got %s", strings.TrimPrefix(types, Types()))
	}
}

// The limits are the embedding program's to set.
func TestLimits(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &amp.Server{Handler: amp.HandlerFunc(func(r *amp.Request) { r.Answer(amp.Box{"v": make([]byte, 5000)}) })}
	go server.Serve(l)
	defer server.Close()
	p, _ := run(t, "limits", `import * as amp from "amphost";
const Big = new amp.Command("Big", { response: { v: amp.String() } });
const deep = (n) => n === 0 ? 0 : 1 + deep(n - 1);
const tries = {
  timers: () => { for (let i = 0; i < 6; i++) setTimeout(() => {}, 60000); },
  deep: () => deep(100),
  dial: () => amp.connect("tls://`+silent.Addr().String()+`"),
  box: async () => (await amp.connect("`+l.Addr().String()+`")).callRemote(Big),
  deeper: () => deep(400),
};
new amp.Command("Try", { arguments: { what: amp.Unicode() }, response: { out: amp.Unicode() } }).responder(async ({ what }) => {
  try { await tries[what](); return { out: "fine" }; } catch (e) { return { out: e.name + ": " + e.message }; }
});`, &Options{MaxTimers: 5, MaxCallStack: 200, DialTimeout: 50 * time.Millisecond, Conn: amp.Options{MaxBox: 1000}, Net: allowAll})
	for _, c := range []struct{ what, want string }{
		{"timers", "more than 5 timers"}, {"deep", "fine"}, {"dial", "ConnectionLost: context deadline exceeded"}, {"box", "ConnectionLost: "},
	} {
		if b, err := ask(t, p, "Try", box("what", c.what)); err != nil || !strings.Contains(string(b["out"]), c.want) {
			t.Errorf("%s: %q, %v, want %q", c.what, b["out"], err, c.want)
		}
	}
	if _, err := ask(t, p, "Try", box("what", "deeper")); !errors.Is(err, ErrRestarted) {
		t.Errorf("deeper than MaxCallStack: %v", err)
	}
}

// A panic in a Go function is a mistake of the program's: it costs a runtime,
// if it is on the loop, but no call its answer, and the process goes on.
func TestModulePanics(t *testing.T) {
	m := Module{Name: "myapp/panics", Exports: map[string]any{
		"now":   func([]any) (any, error) { panic("now") },
		"later": func([]any) (any, error) { return func() (any, error) { panic("later") }, nil },
	}}
	prog, err := BuildSource("panics", `import * as amp from "amphost";
import { now, later } from "myapp/panics";
let settle;
new amp.Command("Wait").responder(() => new Promise((ok) => { settle = ok; }));
new amp.Command("Waits", { response: { yes: amp.Boolean() } }).responder(() => ({ yes: settle !== undefined }));
new amp.Command("Settle").responder(() => { settle({}); Promise.resolve().then(() => {}).then(() => {}).then(now); });
new amp.Command("Later", { response: { out: amp.Unicode() } }).responder(async () => { try { await later(); } catch (e) { return { out: e.message }; } });`, m)
	if err != nil {
		t.Fatal(err)
	}
	l := &logs{t: t}
	p, err := Start(t.Context(), prog, &Options{Modules: []Module{m}, Logger: l.logger(slog.LevelInfo)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(t.Context()) }()
	if b, err := ask(t, p, "Later", nil); err != nil || string(b["out"]) != "panic: later" {
		t.Errorf("Later = %q, %v", b["out"], err)
	}
	l.wait("a Go function panicked")
	waited := make(chan error, 1)
	go func() { _, err := ask(t, p, "Wait", nil); waited <- err }()
	eventually(t, "Wait has begun", func() bool { b, _ := ask(t, p, "Waits", nil); return string(b["yes"]) == "True" })
	// Its answer was lost: another call that was settled in its turn hid it.
	if _, err := ask(t, p, "Settle", nil); !errors.Is(err, ErrRestarted) {
		t.Errorf("Settle, whose turn panicked: %v", err)
	}
	if err := <-waited; err != nil {
		t.Errorf("Wait: %v", err)
	}
	eventually(t, "no call runs", func() bool { return p.Running() == 0 })
}
