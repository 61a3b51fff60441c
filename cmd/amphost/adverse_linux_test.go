package main

import (
	"errors"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// With few descriptors, and clients that take all there are, those that are served
// go on, the control socket and reloads work, and when the clients are gone
// others are served again.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, helloPlugin("there"), dir, "plugins", "hello.js")
	p := startProcess(t, dir, "sh", "-c", `ulimit -n 256; exec "$0" "$@"`, binary, "serve", "--port", "0")
	s := &server{process: p, addr: p.stdout.await(t, `listens on (\S+)`)[1]}
	conn := s.dial()
	hello := func(c *amp.Conn) error {
		_, err := c.Call(t.Context(), "Hello", nil)
		return err
	}
	if err := hello(conn); err != nil {
		t.Fatal(err)
	}
	var crowd []net.Conn
	for range 400 {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		crowd = append(crowd, nc)
	}
	p.stderr.await(t, `connection refused.*224 connections are open`)
	for range 50 {
		if err := hello(conn); err != nil {
			t.Fatalf("a connection that was there: %v", err)
		}
	}
	save(t, helloPlugin("again"), dir, "plugins", "hello.js")
	p.stderr.await(t, `plugin reloaded`)
	if stdout, stderr, code := amphost(t, dir, "reload"); code != 0 {
		t.Errorf("reload: %q, %q, exit status %d", stdout, stderr, code)
	}
	if stdout, stderr, code := amphost(t, dir, "plugins"); code != 0 || !strings.Contains(stdout, "hello") {
		t.Errorf("plugins: %q, %q, exit status %d", stdout, stderr, code)
	}
	if err := hello(conn); err != nil {
		t.Errorf("after the reload: %v", err)
	}
	for _, nc := range crowd {
		nc.Close()
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		fresh, err := amp.Dial(t.Context(), "tcp", s.addr, nil, nil)
		if err == nil {
			err = hello(fresh)
			fresh.Close()
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody is served any more: %v", err)
		}
	}
	s.stop()
}

const counting = `import * as amp from "amphost";
new amp.Command("Work", { arguments: { id: amp.Unicode() } }).responder(async ({ id }) => {
  console.log("began:" + id);
  await new Promise((ok) => setTimeout(ok, 1));
});`

// A SIGTERM under load loses no call that was begun: each is answered, and those
// that come later are told why they are not.
func TestTermUnderLoadLosesNoCall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, counting, dir, "plugins", "counting.js")
	s := serveIn(t, dir, "--limit", "log-lines=off")
	const conns, depth = 8, 16
	var mu sync.Mutex // guards the fields below
	answered := make(map[string]bool)
	refused := 0
	var wg sync.WaitGroup
	for c := range conns {
		conn := s.dial()
		for d := range depth {
			wg.Go(func() { // ends with the connection
				for n := 0; ; n++ {
					id := strconv.Itoa(c) + "." + strconv.Itoa(d) + "." + strconv.Itoa(n)
					_, err := conn.Call(t.Context(), "Work", amp.Box{"id": []byte(id)})
					mu.Lock()
					switch {
					case err == nil:
						answered[id] = true
					case errors.Is(err, amp.ErrShuttingDown):
						refused++
					}
					_, told := errors.AsType[*amp.Error](err)
					mu.Unlock()
					if err != nil && !told {
						return
					}
				}
			})
		}
	}
	poll(t, "calls are answered", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(answered) > 1000
	})
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	wg.Wait()
	began := regexp.MustCompile(`began:(\S+)`).FindAllStringSubmatch(s.stderr.text(), -1)
	lost := 0
	for _, m := range began {
		if !answered[m[1]] {
			lost++
		}
	}
	if lost > 0 || len(began) != len(answered) {
		t.Errorf("of %d calls that were begun %d were not answered; %d answers came, %d were refused", len(began), lost, len(answered), refused)
	}
	t.Logf("%d calls were begun and answered, %d refused with SHUTTING_DOWN", len(began), refused)
}
