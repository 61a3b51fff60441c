package scripting

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

const benchSource = `import * as amp from "amphost";
const list = { arguments: { a: amp.Integer(), b: amp.Integer() }, response: { total: amp.Integer() } };
new amp.Command("Sync", list).responder(({ a, b }) => ({ total: a + b }));
new amp.Command("Async", list).responder(async ({ a, b }) => ({ total: a + b }));
new amp.Command("Await", list).responder(async ({ a, b }) => { await null; return { total: a + b }; });
new amp.Command("Register", { arguments: { username: amp.Unicode(), publickey: amp.String() }, response: { uid: amp.Integer() } }).responder(({ username, publickey }) => {
  if (publickey.includes("\n")) throw new Error("a key is one line");
  return amp.store.update((tx) => {
    if (tx.files.exists("somebody")) throw new Error(username);
    const uid = tx.counter("uid").next();
    tx.files.write(username, Buffer.concat([Buffer.from(uid + " "), publickey, Buffer.from("\n")]));
    return { uid };
  });
});
new amp.Command("Update", list).responder(({ a, b }) => amp.store.update((tx) => ({ total: tx.counter("n").next() })));
`

// BenchmarkRespond is one call through a plugin's loop, 64 in flight, without
// a network; bare is goja's share of the sync one: the same object built, the
// function called, the result read.
func BenchmarkRespond(b *testing.B) {
	quiet := &Options{Logger: slog.New(slog.DiscardHandler)}
	for _, command := range []string{"Sync", "Async", "Await", "Update", "Register"} {
		b.Run(strings.ToLower(command), func(b *testing.B) {
			p, _ := run(b, "bench", benchSource, quiet)
			args := box("a", "13", "b", "81", "publickey", "ssh-ed25519 AAAA", "username", "nobody")
			b.ReportAllocs()
			slots := make(chan struct{}, 64)
			reply := func(_ amp.Box, err error) {
				if err != nil {
					b.Error(err)
				}
				<-slots
			}
			for b.Loop() {
				slots <- struct{}{}
				p.ServeAMP(amp.NewRequest(b.Context(), command, args, reply))
			}
			for range cap(slots) {
				slots <- struct{}{}
			}
		})
	}
	b.Run("loop", func(b *testing.B) { // the loop alone, without a script
		p, _ := run(b, "bench", benchSource, quiet)
		slots := make(chan struct{}, 64)
		for b.Loop() {
			slots <- struct{}{}
			p.workers[0].loop.post(func() { <-slots })
		}
	})
	b.Run("bare", func(b *testing.B) {
		sum := bareSum(b)
		b.ReportAllocs()
		for b.Loop() {
			sum(1)
		}
	})
}

// bareSum returns a function that has goja do what BenchmarkRespond's sync
// needs of it, n times: the same object built, the function called, the result
// read.
func bareSum(b *testing.B) func(n int) {
	rt := goja.New()
	v, err := rt.RunString(`(({ a, b }) => ({ total: a + b }))`)
	if err != nil {
		b.Fatal(err)
	}
	fn, _ := goja.AssertFunction(v)
	return func(n int) {
		for range n {
			o := rt.NewObject()
			_ = o.Set("a", 13)
			_ = o.Set("b", 81)
			r, err := fn(goja.Undefined(), o)
			if err != nil || r.(*goja.Object).Get("total").ToInteger() != 94 {
				b.Fatal(r, err)
			}
		}
	}
}

// BenchmarkRespondRatio tells how many times as long a synchronous responder
// takes, from the request to its answer, as a bare call of the same function:
// the median of pairs, one after the other. Run it with -benchtime 1x.
func BenchmarkRespondRatio(b *testing.B) {
	const calls = 5000
	p, _ := run(b, "bench", benchSource, &Options{Logger: slog.New(slog.DiscardHandler)})
	bare := bareSum(b)
	w := p.workers[0]
	w.loop.dog.watch(nil, 0, "")
	asks := make([]byte, 0, 1<<20)
	for i := range calls {
		asks, _ = box("_ask", fmt.Sprintf("%x", i+1), "_command", "Sync", "a", "13", "b", "81").Append(asks)
	}
	reqs := make([]*amp.Request, 0, calls)
	full := make(chan struct{})
	near, far := net.Pipe()
	conn := amp.NewConn(near, amp.HandlerFunc(func(req *amp.Request) {
		if reqs = append(reqs, req); len(reqs) == calls {
			full <- struct{}{}
		}
	}), &amp.Options{MaxRunning: calls})
	defer conn.Close()
	go io.Copy(io.Discard, far) // ends with conn
	ours := func() time.Duration {
		reqs = reqs[:0]
		if _, err := far.Write(asks); err != nil {
			b.Fatal(err)
		}
		<-full
		p.running.Add(calls)
		runtime.GC()
		took := make(chan time.Duration)
		w.loop.post(func() {
			start := time.Now()
			for _, req := range reqs {
				w.realm.respond(req, 0)
			}
			took <- time.Since(start)
		})
		return <-took
	}
	var ratios []float64
	for b.Loop() {
		for range 51 {
			ours := ours()
			runtime.GC()
			start := time.Now()
			bare(calls)
			ratios = append(ratios, float64(ours)/float64(time.Since(start)))
		}
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "times")
	b.ReportMetric(1.5, "goal")
}

// sizes are plugins to build and start: a small one, and one with the whole of
// zod in it, which is about as large as they get.
func sizes(b *testing.B) map[string]string {
	b.Helper()
	dir := b.TempDir()
	if err := os.Symlink(installed(b), filepath.Join(dir, "node_modules")); err != nil {
		b.Fatal(err)
	}
	write(b, dir, "math.ts", sumSource, "schema.ts", `import { z } from "zod";
const User = z.object({ name: z.string().min(1), age: z.number().int() });
`+strings.Replace(sumSource, "({ total: a + b })", `({ total: User.parse({ name: "ada", age: a }).age + b })`, 1))
	return map[string]string{"small": filepath.Join(dir, "math.ts"), "zod": filepath.Join(dir, "schema.ts")}
}

func BenchmarkBuild(b *testing.B) {
	for name, path := range sizes(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Build(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStart starts a plugin that is built, and ends it. KiB/plugin is what
// one that runs holds of the heap, beyond the program that all of them share.
func BenchmarkStart(b *testing.B) {
	for name, path := range sizes(b) {
		b.Run(name, func(b *testing.B) {
			prog, err := Build(path)
			if err != nil {
				b.Fatal(err)
			}
			opts := &Options{Logger: slog.New(slog.DiscardHandler)}
			start := func() *Plugin {
				p, err := Start(b.Context(), prog, opts)
				if err != nil {
					b.Fatal(err)
				}
				return p
			}
			stop := func(p *Plugin) {
				if err := p.Stop(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			stop(start())
			var plugins [20]*Plugin
			before := heapInUse()
			for i := range plugins {
				plugins[i] = start()
			}
			held := float64(heapInUse()-before) / float64(len(plugins)) / 1024
			for _, p := range plugins {
				stop(p)
			}
			b.ReportAllocs()
			for b.Loop() {
				stop(start())
			}
			b.ReportMetric(held, "KiB/plugin")
		})
	}
}

// heapInUse is what is left after a collection.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkOpenDir starts a hundred plugins of the size of math.js.
func BenchmarkOpenDir(b *testing.B) {
	dir := b.TempDir()
	for i := range 100 {
		write(b, dir, fmt.Sprintf("p%d.js", i), strings.Replace(sumSource, `"Sum"`, fmt.Sprintf(`"Sum%d"`, i), 1))
	}
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.GC() // what the one before left behind
		runtime.ReadMemStats(&before)
		d, err := OpenDir(b.Context(), dir, &Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		if n := len(d.Plugin("p99").Commands()); n != 1 {
			b.Fatal(n)
		}
		for range 5 { // what was used to start them is in use for a moment more
			runtime.GC()
		}
		runtime.ReadMemStats(&after)
		if err := d.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB/100-plugins")
}
