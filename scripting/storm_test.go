package scripting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// stormSource is the plugin of the storm. It tells which generation it is.
const stormSource = `import * as amp from "amphost";
import { started } from "test/started";
import { version } from "./lib/version";
import { extra } from "./data.json";
const { generation } = amp.plugin;
const Count = new amp.Command("Count", { arguments: { client: amp.Integer(), i: amp.Integer() } });
const response = { i: amp.Integer(), generation: amp.Integer() };
const declare = (name) => new amp.Command(name, { arguments: { client: amp.Integer(), i: amp.Integer() }, response });
declare("Fast").responder(({ client, i }) => { started(client, i); return { i, generation }; });
declare("Slow").responder(async ({ i }) => { await new Promise((ok) => setTimeout(ok, 300 + i % 700)); return { i, generation }; });
declare("Store").responder(async ({ i }) => { await amp.store.update((tx) => tx.counter("calls").next()); return { i, generation }; });
declare("Back").responder(async ({ client, i }, peer) => { await peer.callRemote(Count, { client, i }); return { i, generation }; });
new amp.Command("Version", { response: { n: amp.Integer() } }).responder(() => ({ n: version + extra }));
new amp.Command("Stored", { response: { n: amp.Integer() } }).responder(() => ({ n: amp.store.view((tx) => tx.counter("calls").value) }));
amp.boxReceiver("boxes", (sender) => ({ ampBoxReceived(box) { sender.sendBox({ ...box, generation: Buffer.from(String(generation)) }); } }));
// VERSION
`

// A storm is calls without pause, while plugins are changed.
type storm struct {
	*testing.T
	site
	d        *Dir
	told     *told
	listener *listener

	version int // what p's files say

	started [64]atomic.Int64 // the last of Fast that has begun, of each client
	calls   atomic.Int64
	answers atomic.Int64
	stored  atomic.Int64

	mu       sync.Mutex                   // guards the field below
	runtimes []weak.Pointer[goja.Runtime] // of the versions of p
}

// A told counts what was logged.
type told struct {
	slog.Handler
	mu     sync.Mutex
	counts map[string]int
	errors map[string]string // the first, by what was told of
}

func (l *told) Enabled(context.Context, slog.Level) bool { return true }

func (l *told) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[r.Message]++
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "plugin" {
			l.counts[r.Message+" "+a.Value.String()]++
		}
		if a.Key == "error" {
			if l.errors[r.Message] == "" {
				l.errors[r.Message] = a.Value.String()
			}
		}
		return true
	})
	return nil
}

func (l *told) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l *told) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[message]
}

// Through any number of reloads, good and bad, made in all the ways there are,
// every call is answered once, by a version that was published when it was made
// or later; the calls of a connection begin in order; and nothing is left behind.
func TestStorm(t *testing.T) {
	steps := 100
	if os.Getenv("AMPHOST_LONG") != "" {
		steps = 1000
	}
	root := t.TempDir()
	s := &storm{T: t, told: &told{counts: make(map[string]int), errors: make(map[string]string)}, site: site{t: t, root: root, dir: filepath.Join(root, "plugins")}}
	s.lay(0)
	startedModule := Module{Name: "test/started", Exports: map[string]any{"started": func(args []any) (any, error) {
		client, i := args[0].(int64), args[1].(int64)
		// While p is away calls are refused, and those before them may be running.
		if before := s.started[client].Swap(i); before >= i || before < i-1 && s.told.count("plugin removed p") == 0 {
			t.Errorf("client %d: call %d began after call %d", client, i, before)
		}
		return nil, nil
	}}}
	s.d, _ = openDir(t, s.dir, &Options{Logger: slog.New(s.told), Modules: []Module{startedModule}, TurnTimeout: time.Minute})
	s.listener = watchOnly(t, s.d, true)
	becomes(t, s.d, "Version", "0")
	goroutines := runtime.NumGoroutine()

	// What is there once and for all is there after a few.
	s.blow(20)
	before := s.heap()
	watches := len(s.listener.events.WatchList())
	s.blow(steps - 20)
	after := s.heap()

	n := s.told.counts
	t.Logf("%d calls; published %d, not published %d, away %d times; heap %d KiB, then %d KiB", s.calls.Load(), n["plugin reloaded"], n["plugin not reloaded, the old version goes on"], n["plugin removed p"], before>>10, after>>10)
	if calls, answers := s.calls.Load(), s.answers.Load(); calls != answers || calls < int64(10*steps) {
		t.Errorf("%d calls, %d answers", calls, answers)
	}
	if got := number(t, s.d, "Stored"); got != fmt.Sprint(s.stored.Load()) {
		t.Errorf("%s are stored, and %d were told so", got, s.stored.Load())
	}
	if good := n["plugin reloaded"] + n["plugin rolled back: its files are served once they change"]; good < steps/2 || n["plugin not reloaded, the old version goes on"] < steps/8 {
		t.Errorf("too little has happened: %v", n)
	}
	for _, message := range []string{"plugin restarted", "call not answered in time", "a replaced plugin was cut off", "unhandled rejection", "responder failed"} {
		if n[message] > 0 {
			t.Errorf("%d times: %s; at first %s", n[message], message, s.told.errors[message])
		}
	}
	if after > before+before/20 {
		t.Errorf("the heap has grown from %d to %d KiB", before>>10, after>>10)
	}
	eventually(t, "no more directories are watched", func() bool { return len(s.listener.events.WatchList()) <= watches })
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > goroutines {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("there are %d goroutines, %d were:\n%s", runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(time.Millisecond)
	}
	s.dead()
}

// lay makes the directory of plugins, or makes it anew.
func (s *storm) lay(version int) {
	s.version = version
	s.write("lib/version.ts", fmt.Sprintf("export const version = %d;\n", version), "data.json", `{"extra": 0}`, "p.js", stormSource, "q.js", answer("Q", 0))
}

// blow changes plugins so many times, while everybody calls.
func (s *storm) blow(steps int) {
	s.Helper()
	ctx, stop := context.WithCancel(s.Context())
	var wg sync.WaitGroup
	for client := range s.started {
		s.started[client].Store(-1)
		wg.Go(func() { s.call(ctx, client) })
	}
	for client := range 8 {
		wg.Go(func() { s.boxes(ctx, client) })
	}
	for step := range steps {
		s.change(step)
		if s.Failed() {
			break
		}
	}
	stop()
	wg.Wait()
}

// change makes one step: p is changed, for better or worse, and what is to come
// of that has come.
func (s *storm) change(step int) {
	s.Helper()
	now := s.d.Plugin("p")
	now.workers[0].loop.post(func() {
		if r := now.workers[0].realm; r != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.runtimes = append(s.runtimes, weak.Make(r.rt))
		}
	})
	next := s.version + 1
	p := func(version int) string { return stormSource + fmt.Sprint("// ", version) }
	lib := func(version int) string { return fmt.Sprintf("export const version = %d; // %d\n", version, step) }
	goodness := true
	ways := []func(){
		func() { s.write("lib/version.ts", lib(next)) },
		func() { s.write("p.js", "syntax error ("); goodness = false },
		func() { s.write("lib/.v.swp", lib(next), "p.js", p(next)); s.rename("lib/.v.swp", "lib/version.ts") },
		func() { s.rename("lib/version.ts", "lib/version.ts~"); s.write("lib/version.ts", lib(next)) },
		func() { s.write("lib/version.ts", "export const versions = 1;"); goodness = false },
		func() { jetBrains(s.site, "lib/version.ts", lib(next)) },
		func() { inPieces(s.T, s.path("lib/version.ts"), lib(next)) },
		func() { s.write("p.js", stormSource+"throw new Error('no luck');"); goodness = false },
		func() { s.write("p.js", p(next), "data.json", `{"extra": 1}`, "lib/version.ts", lib(next-1)) },
		func() { s.write("data.json", `{"extra": 0}`, "lib/version.ts", lib(next)) },
		func() { s.remove("lib"); goodness = false },
		func() { s.write("lib/version.ts", lib(next)) },
		func() { // another directory in its place
			s.rename("", "../old")
			s.lay(next)
			must0(s.T, os.RemoveAll(filepath.Join(s.root, "old")))
		},
		func() { s.write("p.js", stormSource+answer2("Q", 1)); goodness = false }, // q has it
		func() { s.remove("p.js"); s.write("p.js", p(next), "lib/version.ts", lib(next)) },
		func() { // removed and made again, as deployments do
			must0(s.T, os.RemoveAll(s.dir))
			s.lay(next)
		},
		func() { s.rename("p.js", "../p.js"); s.write("lib/version.ts", lib(next)); s.rename("../p.js", "p.js") },
		func() { // by links, as deployments do, too
			write(s.T, s.root, fmt.Sprintf("release%d/version.ts", next), lib(next))
			s.rename("lib", "../lib.old")
			s.link(fmt.Sprintf("../release%d", next), "lib")
			must0(s.T, os.RemoveAll(filepath.Join(s.root, "lib.old")))
		},
		func() {
			write(s.T, s.root, fmt.Sprintf("release%d/version.ts", next), lib(next))
			s.link(fmt.Sprintf("../release%d", next), "lib")
		},
		func() { s.remove("lib"); s.write("lib/version.ts", lib(next)) },
		func() { // moves p's command Q's neighbour about, and makes litter
			s.write(".p.js.swp", "x", "q.js", answer("R", step), "r.js", answer("Q", step), "lib/version.ts", lib(next))
			must0(s.T, os.Chmod(s.path("p.js"), 0o600))
		},
		func() { s.remove("r.js"); s.write("q.js", answer("Q", step), "lib/version.ts", lib(next)) },
		func() { // by hand
			s.write("lib/version.ts", lib(next))
			_ = s.d.Reload(s.Context(), "p") // or the watcher was quicker
		},
		func() {
			if err := s.d.Rollback(s.Context(), "p"); err != nil {
				s.Errorf("rollback: %v", err)
			}
			s.write("lib/version.ts", lib(next))
		},
	}
	way := step % len(ways)
	ways[way]()
	if goodness {
		s.version = next
		deadline := time.Now().Add(30 * time.Second)
		for number(s.T, s.d, "Version") != strconv.Itoa(next) {
			if time.Now().After(deadline) {
				s.Fatalf("step %d, way %d: version %s goes on, want %d\n%+v\n%s", step, way, number(s.T, s.d, "Version"), next, s.d.Status(), s.told.errors)
			}
			time.Sleep(time.Millisecond)
		}
		return
	}
	eventually(s.T, fmt.Sprintf("way %d fails", way), func() bool { return s.d.Status()[0].Err != nil })
}

// call calls without pause, as one client: Fast in order, with four of them in
// flight, and beside it one of the others, which may take long.
func (s *storm) call(ctx context.Context, client int) {
	back := amp.HandlerFunc(func(r *amp.Request) { // answers Count, some time
		time.AfterFunc(time.Duration(rand.IntN(400))*time.Millisecond, func() { r.Answer(nil) })
	})
	c, server := amp.Pipe(back, s.d)
	s.d.Connected(server)
	defer func() {
		_ = c.Close()
		<-server.Done()
		s.d.Disconnected(server, errors.New("bye"))
		_ = server.Close()
	}()
	var wg sync.WaitGroup
	var oldest int64 // generation that has answered Fast
	send := func(command string, i int, done func(generation int64)) {
		published := int64(0)
		if p := s.d.Plugin("p"); p != nil {
			published = int64(p.Generation())
		}
		wg.Add(1)
		s.calls.Add(1)
		c.Go(command, box("client", strconv.Itoa(client), "i", strconv.Itoa(i)), func(b amp.Box, err error) {
			defer wg.Done()
			s.answers.Add(1)
			generation, _ := strconv.ParseInt(string(b["generation"]), 10, 64)
			switch {
			case errors.Is(err, amp.ErrUnhandled) && s.told.count("plugin removed p") > 0:
				done(published) // it was away for longer than 100 ms
				return
			case err != nil || string(b["i"]) != strconv.Itoa(i):
				s.Errorf("client %d: %s %d = %q, %v", client, command, i, b, err)
			case generation < published:
				s.Errorf("client %d: %s %d was answered by generation %d, and %d was published before", client, command, i, generation, published)
			case command == "Fast" && generation < oldest:
				s.Errorf("client %d: %s %d was answered by generation %d, after one of %d", client, command, i, generation, oldest)
			}
			if command == "Fast" {
				oldest = generation // all on the reading goroutine
			}
			done(generation)
		})
	}
	fast, slow := make(chan struct{}, 4), make(chan struct{}, 1)
	other := []string{"Slow", "Store", "Back"}[client%3]
	for i := 0; ctx.Err() == nil && !s.Failed(); i++ {
		fast <- struct{}{}
		send("Fast", i, func(int64) { <-fast })
		select {
		case slow <- struct{}{}:
			send(other, i, func(generation int64) {
				if other == "Store" && generation > 0 {
					s.stored.Add(1)
				}
				<-slow
			})
		default:
		}
	}
	wg.Wait()
}

// boxes sends boxes to the box receiver, and gets them back in order, each from a
// version that is not older than the one before it.
func (s *storm) boxes(ctx context.Context, client int) {
	a, b := net.Pipe()
	conn := amp.NewBoxConn(b, s.d.Receiver("boxes"), nil)
	defer conn.Close()
	e := &echoes{got: make(chan amp.Box, 1)}
	peer := amp.NewBoxConn(a, e, nil)
	defer peer.Close()
	oldest := int64(0)
	for i := 0; ctx.Err() == nil && !s.Failed(); i++ {
		if err := peer.SendBox(box("i", strconv.Itoa(i))); err != nil {
			return // told below
		}
		select {
		case got := <-e.got:
			generation, _ := strconv.ParseInt(string(got["generation"]), 10, 64)
			if string(got["i"]) != strconv.Itoa(i) || generation < oldest {
				s.Errorf("box %d of client %d: %q, after one of generation %d", i, client, got, oldest)
			}
			oldest = generation
		case <-peer.Done():
			if s.told.count("plugin removed p") == 0 {
				s.Errorf("box %d of client %d: the connection has ended: %v", i, client, peer.Err())
			}
			return
		case <-time.After(30 * time.Second):
			s.Errorf("box %d of client %d does not come back", i, client)
			return
		}
	}
}

// echoes receives boxes.
type echoes struct{ got chan amp.Box }

func (e *echoes) StartReceivingBoxes(*amp.Conn)   {}
func (e *echoes) BoxReceived(b amp.Box)           { e.got <- b }
func (e *echoes) StopReceivingBoxes(reason error) {}

// heap waits until the old versions have ended, and returns how much lives.
func (s *storm) heap() uint64 {
	s.Helper()
	eventually(s.T, "the old versions have ended", func() bool {
		for _, p := range s.d.Status() {
			if p.Draining > 0 || p.Running > 0 {
				return false
			}
		}
		return true
	})
	s.d.keeper.wait()
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// dead fails unless the runtimes of the versions that were replaced are gone.
func (s *storm) dead() {
	s.Helper()
	current := s.d.Plugin("p")
	rt := make(chan *goja.Runtime)
	current.workers[0].loop.post(func() { rt <- current.workers[0].realm.rt })
	live := <-rt
	runtime.GC()
	s.mu.Lock()
	defer s.mu.Unlock()
	left := 0
	for _, p := range s.runtimes {
		if r := p.Value(); r != nil && r != live {
			left++
		}
	}
	if left > 0 {
		s.Errorf("%d of %d runtimes are left", left, len(s.runtimes))
	}
}
