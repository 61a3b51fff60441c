package examples

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// reload changes a plugin and waits until the new version is served.
func reload(t *testing.T, server *program, path string, version int) {
	t.Helper()
	text := readFile(t, path) + fmt.Sprintf("console.log(\"this is version %d\");\n", version)
	beside := filepath.Join(filepath.Dir(path), ".new")
	if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, path); err != nil {
		t.Fatal(err)
	}
	server.await(t, fmt.Sprintf(`plugin reloaded .* to=%d\b`, version))
}

func dial(t *testing.T, address string, h amp.Handler) *amp.Conn {
	t.Helper()
	conn, err := amp.Dial(t.Context(), "tcp", address, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

type join struct {
	Room string `amp:"room"`
	Name string `amp:"name"`
}

type say struct {
	Room string `amp:"room"`
	Text string `amp:"text"`
}

type heard struct {
	Room string `amp:"room"`
	Name string `amp:"name"`
	Text string `amp:"text"`
}

// What is said in a room, every other member hears once, and all hear it in one
// order, whatever is reloaded meanwhile; nobody else hears it.
func TestChatAcrossReloads(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	server, addresses := serve(t, dir, "--plugins examples/chat/plugins", "")
	const members, reloads = 4, 4
	type member struct {
		conn  *amp.Conn
		mu    sync.Mutex
		heard []string
		said  int
	}
	all := make([]*member, members)
	for i := range all {
		m := new(member)
		var mux amp.Mux
		amp.Command[heard, struct{}]{Name: "Heard"}.HandleInline(&mux, func(_ context.Context, h heard) (struct{}, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.heard = append(m.heard, h.Name+" "+h.Text)
			return struct{}{}, nil
		})
		m.conn = dial(t, addresses[0], &mux)
		if _, err := (amp.Command[join, struct{}]{Name: "Join"}).Call(t.Context(), m.conn, join{"kitchen", strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
		all[i] = m
	}
	outsider := dial(t, addresses[0], amp.HandlerFunc(func(r *amp.Request) {
		t.Errorf("somebody in another room was called: %s", r.Command)
		r.Fail(amp.ErrUnhandled)
	}))
	if _, err := outsider.Call(t.Context(), "Join", amp.Box{"room": []byte("cellar"), "name": []byte("0")}); err != nil {
		t.Fatal(err)
	}
	_, err := outsider.Call(t.Context(), "Join", amp.Box{"room": []byte("cellar"), "name": []byte("0")})
	if err != nil {
		t.Errorf("joining again under one's own name: %v", err)
	}
	_, err = outsider.Call(t.Context(), "Join", amp.Box{"room": []byte("kitchen"), "name": []byte("0")})
	if !errors.Is(err, &amp.Error{Code: "NAME_TAKEN"}) {
		t.Errorf("a name that is taken: %v", err)
	}
	_, err = outsider.Call(t.Context(), "Say", amp.Box{"room": []byte("kitchen"), "text": []byte("hello")})
	if !errors.Is(err, &amp.Error{Code: "NOT_A_MEMBER"}) {
		t.Errorf("saying something elsewhere: %v", err)
	}

	var reloaded atomic.Bool
	var talk sync.WaitGroup
	for _, m := range all {
		talk.Go(func() {
			for !reloaded.Load() || m.said < 20 {
				if _, err := (amp.Command[say, struct{}]{Name: "Say"}).Call(t.Context(), m.conn, say{"kitchen", strconv.Itoa(m.said)}); err != nil {
					t.Errorf("Say: %v", err)
					return
				}
				m.said++
			}
		})
	}
	for version := range reloads {
		reload(t, server, dir+"/examples/chat/plugins/chat.ts", version+2)
	}
	reloaded.Store(true)
	talk.Wait()

	for i, m := range all {
		want := 0
		for j, other := range all {
			if j != i {
				want += other.said
			}
		}
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			m.mu.Lock()
			n := len(m.heard)
			m.mu.Unlock()
			if n >= want || time.Now().After(deadline) {
				break
			}
		}
		// What its connection answers now comes after all that it heard.
		if _, err := m.conn.Call(t.Context(), "Leave", amp.Box{"room": []byte("kitchen")}); err != nil {
			t.Errorf("Leave: %v", err)
		}
	}
	for i, m := range all {
		next := make(map[int]int)
		for _, line := range m.heard {
			var who, n int
			fmt.Sscan(line, &who, &n)
			if n != next[who] || who == i {
				t.Fatalf("%d hears %d of %d, want %d", i, n, who, next[who])
			}
			next[who]++
		}
		for j, other := range all {
			if j != i && next[j] != other.said {
				t.Errorf("%d heard %d of %d's %d messages", i, next[j], j, other.said)
			}
		}
		// Two others have heard the rest in the same order.
		for j := range i {
			rest := func(heard []string) []string {
				return slices.DeleteFunc(slices.Clone(heard), func(line string) bool {
					return line[0] == byte('0'+i) || line[0] == byte('0'+j)
				})
			}
			if !slices.Equal(rest(m.heard), rest(all[j].heard)) {
				t.Errorf("%d and %d have heard the others in different orders", i, j)
			}
		}
	}
}

type cas struct {
	Key     string `amp:"key"`
	Version int    `amp:"version"`
	Value   []byte `amp:"value"`
}

type entry struct {
	Value   []byte `amp:"value,optional"`
	Version int    `amp:"version"`
}

type changed struct {
	Key     string `amp:"key"`
	Value   []byte `amp:"value"`
	Version int    `amp:"version"`
}

// Several add to one number, each by CompareAndSet of what it has read, and no
// addition is lost; one watches, and hears of each once and in order, across
// reloads.
func TestKVAcrossReloads(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	server, addresses := serve(t, dir, "--plugins examples/kv/plugins", "")
	var mu sync.Mutex
	var told []changed
	var mux amp.Mux
	amp.Command[changed, struct{}]{Name: "Changed"}.HandleInline(&mux, func(_ context.Context, c changed) (struct{}, error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, c)
		return struct{}{}, nil
	})
	watcher := dial(t, addresses[0], &mux)
	if _, err := watcher.Call(t.Context(), "Watch", amp.Box{"prefix": []byte("n")}); err != nil {
		t.Fatal(err)
	}

	var reloaded atomic.Bool
	var sum atomic.Int64
	var adding sync.WaitGroup
	for range 3 {
		conn := dial(t, addresses[0], nil)
		adding.Go(func() {
			for added := 0; added < 10 || !reloaded.Load(); {
				now, err := amp.Command[struct {
					Key string `amp:"key"`
				}, entry]{Name: "Get"}.Call(t.Context(), conn, struct {
					Key string `amp:"key"`
				}{"n"})
				if err != nil {
					t.Errorf("Get: %v", err)
					return
				}
				n, _ := strconv.Atoi(string(now.Value))
				_, err = amp.Command[cas, entry]{Name: "CompareAndSet"}.Call(t.Context(), conn, cas{"n", now.Version, []byte(strconv.Itoa(n + 1))})
				switch {
				case err == nil:
					added++
					sum.Add(1)
				case !errors.Is(err, &amp.Error{Code: "CONFLICT"}):
					t.Errorf("CompareAndSet: %v", err)
					return
				}
			}
		})
	}
	for version := range 3 {
		reload(t, server, dir+"/examples/kv/plugins/kv.ts", version+2)
	}
	reloaded.Store(true)
	adding.Wait()
	if _, err := watcher.Call(t.Context(), "Put", amp.Box{"key": []byte("n"), "value": []byte("end")}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		mu.Lock()
		done := len(told) > 0 && string(told[len(told)-1].Value) == "end"
		mu.Unlock()
		if done || time.Now().After(deadline) {
			break
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) != int(sum.Load())+1 {
		t.Errorf("the watcher was told %d times of %d changes", len(told), sum.Load()+1)
	}
	for i, c := range told[:len(told)-1] {
		if c.Version != i+1 || string(c.Value) != strconv.Itoa(i+1) {
			t.Fatalf("change %d is %s, version %d", i+1, c.Value, c.Version)
		}
	}
}

type job struct {
	ID      int    `amp:"id"`
	Attempt int    `amp:"attempt"`
	Payload string `amp:"payload"`
}

type holding struct {
	ID      int `amp:"id"`
	Attempt int `amp:"attempt"`
}

type lease struct {
	Lease float64 `amp:"lease"`
}

// The queue is killed in the middle of its work, time and again. Every job that
// was acknowledged is done, and none is held by two at once.
func TestJobsSurviveKill(t *testing.T) {
	t.Parallel()
	dir, address := workDir(t), "127.0.0.1:"+freePort(t)
	line := "amphost serve --plugins examples/jobs/plugins --listen " + address
	up := func() *program {
		p := start(t, dir, line)
		p.await(t, `(?m)^  store .*\n`)
		return p
	}
	server := up()

	const jobs, kills = 60, 3
	const leased = 3 * time.Second
	var mu sync.Mutex
	acknowledged := make(map[int]string)
	taken := make(map[int]string) // what those were that somebody got
	heldUntil := make(map[int]time.Time)
	doneOnce := make(map[int]bool)
	finished := 0
	connect := func() *amp.Client {
		c := amp.NewClient(func(ctx context.Context) (*amp.Conn, error) { return amp.Dial(ctx, "tcp", address, nil, nil) }, &amp.ClientOptions{MaxPause: 20 * time.Millisecond})
		t.Cleanup(func() { c.Close() })
		return c
	}
	var submitting, working sync.WaitGroup
	submitting.Go(func() {
		c := connect()
		for n := 0; n < jobs; {
			payload := fmt.Sprintf("job %d", n)
			res, err := amp.Command[struct {
				Payload string `amp:"payload"`
			}, struct {
				ID int `amp:"id"`
			}]{Name: "Submit"}.Call(t.Context(), c, struct {
				Payload string `amp:"payload"`
			}{payload})
			if err != nil {
				continue // nobody knows whether it was taken: so once more
			}
			mu.Lock()
			acknowledged[res.ID] = payload
			mu.Unlock()
			n++
		}
	})
	stop := make(chan struct{})
	for range 3 {
		working.Go(func() {
			c := connect()
			for {
				asked := time.Now()
				j, err := amp.Command[lease, job]{Name: "Take"}.Call(t.Context(), c, lease{leased.Seconds()})
				if errors.Is(err, &amp.Error{Code: "EMPTY"}) {
					select {
					case <-stop:
						return
					case <-time.After(5 * time.Millisecond):
					}
				}
				if err != nil {
					continue
				}
				mu.Lock()
				if until := heldUntil[j.ID]; time.Now().Before(until) {
					t.Errorf("job %d is held by two: attempt %d was given out %v too early", j.ID, j.Attempt, time.Until(until))
				}
				if doneOnce[j.ID] {
					t.Errorf("job %d is given out after it was done", j.ID)
				}
				heldUntil[j.ID] = asked.Add(leased) // it was taken after that
				taken[j.ID] = j.Payload
				mu.Unlock()
				for {
					_, err := amp.Command[holding, struct{}]{Name: "Done"}.Call(t.Context(), c, holding{j.ID, j.Attempt})
					if err == nil {
						mu.Lock()
						doneOnce[j.ID] = true
						finished++
						mu.Unlock()
					}
					if err == nil || errors.Is(err, &amp.Error{Code: "NOT_HELD"}) { // or done by a call whose answer was lost
						break
					}
				}
			}
		})
	}
	for k := range kills {
		for {
			mu.Lock()
			enough := finished >= (k+1)*jobs/(kills+1)
			mu.Unlock()
			if enough {
				break
			}
			time.Sleep(time.Millisecond)
		}
		server.kill()
		server = up()
	}
	submitting.Wait()
	time.Sleep(leased) // jobs whose Take was never answered come back
	close(stop)
	working.Wait()

	for id, payload := range acknowledged {
		if taken[id] != payload {
			t.Errorf("job %d was acknowledged as %q, and taken as %q", id, payload, taken[id])
		}
	}
	if len(acknowledged) != jobs {
		t.Errorf("%d jobs were acknowledged, want %d", len(acknowledged), jobs)
	}
	server.interrupt()
	left := start(t, dir, "amphost store ls jobs").wait()
	if left != "" {
		t.Errorf("something is left in the queue:\n%s\n%v were done", left, slices.Sorted(maps.Keys(doneOnce)))
	}
}

// Who gives a job back loses it, and whoever comes too late is told.
func TestJobsRetryAndLeases(t *testing.T) {
	t.Parallel()
	_, addresses := serve(t, workDir(t), "--plugins examples/jobs/plugins", "")
	conn := dial(t, addresses[0], nil)
	call := func(command string, args amp.Box) (amp.Box, error) { return conn.Call(t.Context(), command, args) }
	box := func(pairs ...string) amp.Box {
		b := amp.Box{}
		for pair := range slices.Chunk(pairs, 2) {
			b[pair[0]] = []byte(pair[1])
		}
		return b
	}
	refused := func(err error, code string) {
		t.Helper()
		if !errors.Is(err, &amp.Error{Code: code}) {
			t.Errorf("%v, want %s", err, code)
		}
	}
	_, err := call("Take", box("lease", "60"))
	refused(err, "EMPTY")
	if _, err = call("Submit", box("payload", "p")); err != nil {
		t.Fatal(err)
	}
	got, err := call("Take", box("lease", "60"))
	if err != nil || string(got["attempt"]) != "1" || string(got["payload"]) != "p" {
		t.Errorf("Take: %q, %v", got, err)
	}
	_, err = call("Take", box("lease", "60"))
	refused(err, "EMPTY")
	if _, err = call("Retry", box("id", "1", "attempt", "1")); err != nil {
		t.Error(err)
	}
	_, err = call("Done", box("id", "1", "attempt", "1")) // it was given back
	refused(err, "NOT_HELD")
	if got, err = call("Take", box("lease", "0")); err != nil || string(got["attempt"]) != "2" {
		t.Errorf("Take: %q, %v", got, err)
	}
	if got, err = call("Take", box("lease", "60")); err != nil || string(got["attempt"]) != "3" { // the lease has run out
		t.Errorf("Take: %q, %v", got, err)
	}
	_, err = call("Done", box("id", "1", "attempt", "2"))
	refused(err, "NOT_HELD")
	if _, err = call("Retry", box("id", "1", "attempt", "3", "delay", "3600")); err != nil {
		t.Error(err)
	}
	_, err = call("Take", box("lease", "60"))
	refused(err, "EMPTY")
}
