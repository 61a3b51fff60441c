package scripting

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// gated is a plugin whose calls of Wait end when the test says so.
func gated(version int) string {
	return fmt.Sprintf(`import * as amp from "amphost"; import { pass } from "test/gate";
new amp.Command("Wait", { response: { n: amp.Integer() } }).responder(async () => { await pass(); return { n: %[1]d }; });
new amp.Command("A", { response: { n: amp.Integer() } }).responder(() => ({ n: %[1]d }));
`, version)
}

// Eight generations of a plugin drain side by side. Then its saves wait, and
// only the newest is published once one of them has ended; other plugins do not
// wait.
func TestSavesWaitForDrains(t *testing.T) {
	gate := make(chan struct{})
	module := Module{Name: "test/gate", Exports: map[string]any{"pass": func([]any) (any, error) {
		return func() (any, error) { <-gate; return nil, nil }, nil
	}}}
	dir := t.TempDir()
	write(t, dir, "p.js", gated(0), "q.js", answer("Q", 1))
	d, l := openDir(t, dir, &Options{Modules: []Module{module}})
	watchOnly(t, d, true)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var answers []string
	ask := func() {
		wg.Add(1)
		p := d.Plugin("p")
		d.ServeAMP(amp.NewRequest(context.Background(), "Wait", nil, func(b amp.Box, err error) {
			defer wg.Done()
			if err != nil {
				t.Errorf("Wait: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, string(b["n"]))
		}))
		eventually(t, "the call has begun", func() bool { return p.Running() == 1 })
	}
	for version := 1; version <= maxDraining; version++ {
		ask()
		write(t, dir, "p.js", gated(version))
		becomes(t, d, "A", fmt.Sprint(version))
	}
	ask()
	if s := d.Status()[0]; s.Draining != maxDraining || s.Running != maxDraining+1 {
		t.Errorf("%d drain, %d calls are in flight", s.Draining, s.Running)
	}

	// A ninth has to wait; one save or many; and who reloads by hand, too.
	for version := 9; version <= 12; version++ {
		write(t, dir, "p.js", gated(version))
	}
	l.wait("plugin not reloaded yet")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := d.Reload(ctx, "p"); err == nil || !strings.Contains(err.Error(), "8 versions of it still have calls in flight") {
		t.Errorf("a reload by hand: %v", err)
	}
	reloaded := make(chan error, 1)
	go func() { reloaded <- d.Reload(context.Background(), "p") }() // received from below
	write(t, dir, "q.js", answer("Q", 2))
	becomes(t, d, "Q", "2")
	if got := number(t, d, "A"); got != "8" {
		t.Errorf("A = %s while eight drain", got)
	}

	close(gate)
	wg.Wait()
	becomes(t, d, "A", "12")
	if err := <-reloaded; err != nil {
		t.Errorf("the reload by hand that waited: %v", err)
	}
	if got := generations(d); got != "p@10 q@2" {
		t.Errorf("there is %s: saves that waited were not taken together", got)
	}
	slices.Sort(answers)
	if got := strings.Join(answers, " "); got != "0 1 2 3 4 5 6 7 8" {
		t.Errorf("Wait was answered by versions %s", got)
	}
	if n := strings.Count(l.String(), "plugin not reloaded yet"); n != 1 {
		t.Errorf("told %d times that it has to wait", n)
	}
}

// Plugins start one after the other, in order of name; those that hand over
// state last.
func TestPluginsStartInOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := Module{Name: "test/note", Exports: map[string]any{"note": func(args []any) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, args[0].(string))
		return nil, nil
	}}}
	dir := t.TempDir()
	var want []string
	save := func(version int) {
		for _, name := range []string{"delta", "alpha", "charlie", "bravo", "echo"} {
			saves := ""
			if name == "bravo" {
				saves = "amp.hot.save(() => 1);"
			}
			write(t, dir, name+".js", fmt.Sprintf(`import * as amp from "amphost"; import { note } from "test/note"; // %d
note(amp.plugin.name); %s
amp.onLoad(async () => { await new Promise((ok) => setTimeout(ok, %d)); note(amp.plugin.name + " is ready"); });`, version, saves, 5-len(name)%5))
		}
	}
	save(1)
	d, _ := openDir(t, dir, &Options{Modules: []Module{note}})
	for _, name := range []string{"alpha", "bravo", "charlie", "delta", "echo"} {
		want = append(want, name, name+" is ready")
	}
	if !slices.Equal(order, want) {
		t.Errorf("at first they start as %q", order)
	}
	order, want = nil, nil
	save(2)
	must0(t, d.ReloadAll(t.Context()))
	for _, name := range []string{"alpha", "charlie", "delta", "echo", "bravo"} {
		want = append(want, name, name+" is ready")
	}
	if !slices.Equal(order, want) {
		t.Errorf("then they start as %q", order)
	}
}

// A mistake is told of once, however often somebody looks; once more if it is
// another one, or is there again after it was mended.
func TestMistakesAreToldOfOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.js", answer("A", 1), "b.js", answer("B", 1))
	d, l := openDir(t, dir, nil)
	told := 0
	for i, c := range []struct {
		text string
		told bool
	}{
		{"syntax error (", true}, {"syntax error (", false}, {"another one (", true},
		{answer("A", 2), false}, {"syntax error (", true},
		{"throw new Error('no luck');", true}, {"throw new Error('no luck');", false}, {answer("B", 1), true}, {answer("B", 1), false},
	} {
		if c.told {
			told++
		}
		write(t, dir, "a.js", c.text)
		for range 2 {
			_ = d.ReloadAll(t.Context())
		}
		if n := strings.Count(l.String(), "plugin not reloaded, the old version goes on"); n != told {
			t.Fatalf("after %d changes, told %d times, want %d\n%s", i+1, n, told, l)
		}
	}
}

// A plugin that failed because another had its command is tried again when that
// one gives it up, though nothing of its own has changed.
func TestTakenCommandComesFree(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.js", answer("A", 1), "b.js", answer("A", 2)+answer2("B", 2))
	d, l := openDir(t, dir, nil)
	l.wait("command A has a responder already: plugin a, at ")
	if got := generations(d); got != "a@1 b@0" {
		t.Errorf("there is %s", got)
	}
	write(t, dir, "a.js", answer("C", 1))
	must0(t, d.ReloadAll(t.Context()))
	if got := generations(d) + " " + number(t, d, "A"); got != "a@2 b@1 2" {
		t.Errorf("there is %s", got)
	}
}

// Whoever embeds plugins sees which generation answers a request, and what
// became of all of them.
func TestGenerationsAreVisible(t *testing.T) {
	dir := t.TempDir()
	source := func(version int) string {
		return fmt.Sprintf(`import * as amp from "amphost"; // %d
new amp.Command("Fine").responder(() => {});
new amp.Command("Fails").responder(() => { throw new Error("no luck"); });
new amp.Command("Never").responder(() => new Promise(() => {}));
new amp.Command("Later").responder(() => { setTimeout(() => { throw new Error("too late"); }, 3_600_000); });
`, version)
	}
	write(t, dir, "p.js", source(1))
	d, l := openDir(t, dir, &Options{CallTimeout: 20 * time.Millisecond})
	by := func(command string) string {
		t.Helper()
		done := make(chan error, 1)
		r := amp.NewRequest(t.Context(), command, nil, func(_ amp.Box, err error) { done <- err })
		d.ServeAMP(r)
		a := r.Answerer()
		<-done
		if a == nil {
			return "nobody"
		}
		return fmt.Sprintf("%s@%d", a.Name, a.Generation)
	}
	for _, command := range []string{"Fine", "Fine", "Fails", "Never", "Later"} {
		if got := by(command); got != "p@1" {
			t.Errorf("%s is answered by %s", command, got)
		}
	}
	old := d.Plugin("p")
	write(t, dir, "p.js", source(2))
	must0(t, d.Reload(t.Context(), "p"))
	if got := by("Fine") + " " + by("Fails") + " " + by("Nothing"); got != "p@2 p@2 nobody" {
		t.Errorf("then they are answered by %s", got)
	}
	// The timer of an hour ends with its generation, and is counted.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = old.end(ctx)
	<-old.Done()
	s := d.Status()[0]
	if s.Answered != 4 || s.Failed != 3 || s.Running != 0 || s.Dropped != 1 {
		t.Errorf("answered %d, failed %d, running %d, dropped %d", s.Answered, s.Failed, s.Running, s.Dropped)
	}
	if s.Failure == nil || s.Failure.Generation != 2 || !strings.Contains(s.Failure.Err.Error(), "no luck") {
		t.Errorf("what failed last is %+v", s.Failure)
	}
	if s.Generation != 2 || s.Took <= 0 || time.Since(s.Since) > time.Minute || len(s.Hash) != 16 {
		t.Errorf("status: %+v", s)
	}
	if _, err := ask(t, d, "Never", nil); err == nil || !strings.HasSuffix(err.Error(), ": p, generation 2") {
		t.Errorf("a call that is not answered: %v", err)
	}
	// The log names the generation wherever it tells of a plugin.
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, "plugin=p") || !strings.Contains(line, "generation=") && !strings.Contains(line, "from=1 to=2") {
			t.Errorf("the log says %s", line)
		}
	}
}
