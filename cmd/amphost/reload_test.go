package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// mathsPlus is plugins/math.js in a version whose Sum is off by n, and takes a
// moment, so that calls are always running when it is replaced.
func mathsPlus(n int) string {
	return fmt.Sprintf(`import * as amp from "amphost";
const Sum = new amp.Command("Sum", {
  arguments: { a: amp.Integer(), b: amp.Integer() },
  response: { total: amp.Integer() },
});
Sum.responder(async ({ a, b }) => {
  await new Promise((resolve) => setTimeout(resolve, 2));
  return { total: a + b + %d };
});
`, n)
}

// A sumLoop calls Sum(1, 2) again and again over one connection, a few calls
// at a time.
type sumLoop struct {
	last    atomic.Int64 // total of the newest answer
	answers atomic.Int64
	lost    atomic.Pointer[error] // why a call was not answered
	ended   atomic.Bool           // no call begins any more
	calls   sync.WaitGroup
}

func startSumLoop(s *server) *sumLoop {
	conn := s.dial()
	l := new(sumLoop)
	s.t.Cleanup(func() { l.stop() })
	for range 8 {
		l.calls.Go(func() { // ends with stop, which waits
			for !l.ended.Load() && l.lost.Load() == nil {
				total, err := ask(context.Background(), conn, "Sum", "total", amp.Box{"a": []byte("1"), "b": []byte("2")})
				n, notNumber := strconv.Atoi(total)
				if err = cmp.Or(err, notNumber); err != nil {
					l.lost.Store(&err)
					return
				}
				l.last.Store(int64(n))
				l.answers.Add(1)
			}
		})
	}
	return l
}

// stop waits for the calls under way, and returns how many were answered and
// why one was not.
func (l *sumLoop) stop() (answers int64, err error) {
	l.ended.Store(true)
	l.calls.Wait()
	if lost := l.lost.Load(); lost != nil {
		err = *lost
	}
	return l.answers.Load(), err
}

// awaitTotal waits until the loop's answers are total, and returns how long
// that took.
func (l *sumLoop) awaitTotal(t *testing.T, total int64) time.Duration {
	t.Helper()
	begin := time.Now()
	poll(t, fmt.Sprintf("a total of %d", total), func() bool { return l.last.Load() == total || l.lost.Load() != nil })
	return time.Since(begin)
}

// poll waits until ok says so.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestSavingAPluginReplacesItAndLosesNoCall(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	s := serveIn(t, dir)
	var loops []*sumLoop
	for range 4 {
		loops = append(loops, startSumLoop(s))
	}
	await := func(total int64) (slowest time.Duration) {
		begin := time.Now()
		for _, l := range loops {
			l.awaitTotal(t, total)
		}
		return time.Since(begin)
	}
	await(3)

	fastest := patience
	for round := range 3 {
		right := (round + 1) * 1000
		save(t, mathsPlus(right), dir, "plugins", "math.js")
		fastest = min(fastest, await(int64(3+right)))

		// A mistake: shown with its place, and the version before it goes on.
		broken := strings.Replace(mathsPlus(1), "total: a + b", fmt.Sprintf("total%d: a + ;", round), 1)
		save(t, broken, dir, "plugins", "math.js")
		s.stderr.await(t, fmt.Sprintf(`math\.js:8:\d+[\s\S]*total%d`, round))
		await(int64(3 + right))
	}
	// One of three, since the machine may be busy.
	if fastest > time.Second {
		t.Errorf("the fastest of three edits took %v to change the answers, want less than a second", fastest)
	}
	for n := range 20 { // in quick succession
		save(t, mathsPlus(n), dir, "plugins", "math.js")
		await(int64(3 + n))
	}

	for i, l := range loops {
		if answers, err := l.stop(); err != nil {
			t.Errorf("loop %d lost a call after %d answers: %v", i, answers, err)
		}
	}
	s.stop()
}

func TestPluginsComeAndGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Rename(filepath.Join(workDir(t), "plugins"), filepath.Join(dir, "mine")); err != nil {
		t.Fatal(err)
	}
	s := serveIn(t, dir, "--plugins", "mine", "--host", "localhost", "--store", "kept.db")
	conn := s.dial()
	hello := func() (string, error) { return ask(t.Context(), conn, "Hello", "text", nil) }
	if _, err := hello(); remoteCode(err) != "UNHANDLED" {
		t.Fatalf("Hello before its plugin is there: %v, want UNHANDLED", err)
	}
	write(t, helloPlugin("1"), dir, "mine", "hello.ts")
	poll(t, "the new plugin to answer", func() bool { text, err := hello(); return err == nil && text == "hello 1" })
	if err := os.Remove(filepath.Join(dir, "mine", "hello.ts")); err != nil {
		t.Fatal(err)
	}
	poll(t, "the command of a removed plugin to be unhandled", func() bool { _, err := hello(); return remoteCode(err) == "UNHANDLED" })
	if _, err := ask(t.Context(), conn, "Sum", "total", amp.Box{"a": []byte("1"), "b": []byte("2")}); err != nil {
		t.Errorf("another plugin's command: %v", err)
	}
	s.stop()
}

// helloPlugin answers Hello with the word.
func helloPlugin(word string) string {
	return `import * as amp from "amphost";
const Hello = new amp.Command("Hello", { response: { text: amp.Unicode() } });
Hello.responder(() => ({ text: "hello ` + word + `" }));
`
}

func TestServeWaitsForADirectoryOfPlugins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveIn(t, dir)
	s.stdout.await(t, `no directory plugins yet[^\n]*\n.* init makes a first one`)
	conn := s.dial()
	if _, err := ask(t.Context(), conn, "Hello", "text", nil); remoteCode(err) != "UNHANDLED" {
		t.Fatalf("Hello without plugins: %v, want UNHANDLED", err)
	}
	write(t, helloPlugin("there"), dir, "plugins", "hello.js")
	poll(t, "the first plugin to answer", func() bool {
		text, err := ask(t.Context(), conn, "Hello", "text", nil)
		return err == nil && text == "hello there"
	})
	s.stop()
}

func TestNoWatchServesWhatWasThereAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, helloPlugin("1"), dir, "plugins", "hello.js")
	still := serveIn(t, dir, "--no-watch", "--store", "still.db")
	watching := serveIn(t, dir, "--store", "watching.db")
	a, b := still.dial(), watching.dial()
	save(t, helloPlugin("2"), dir, "plugins", "hello.js")
	// Once the other one has seen the change, this one would have too.
	poll(t, "the watching server to change", func() bool { text, _ := ask(t.Context(), b, "Hello", "text", nil); return text == "hello 2" })
	if text, err := ask(t.Context(), a, "Hello", "text", nil); err != nil || text != "hello 1" {
		t.Errorf("Hello with --no-watch = %q, %v, want %q", text, err, "hello 1")
	}
	still.stop()
	watching.stop()
}
