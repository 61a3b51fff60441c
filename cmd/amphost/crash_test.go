package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// TestKillLosesNoRegistrationThatWasAnswered kills amphost while many clients
// register users, again and again over the same store. Every name that was
// acknowledged must be taken afterwards, and no uid may be given out twice.
func TestKillLosesNoRegistrationThatWasAnswered(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	rounds := 4
	if os.Getenv("AMPHOST_LONG") != "" {
		rounds = 40
	}
	dir := workDir(t)
	owner := make(map[string]string) // of each uid that was acknowledged
	taken := make(map[string]string) // its uid, of each name that was acknowledged
	uncertain := 0                   // names asked for whose answer did not come

	for round := range rounds {
		s := serveIn(t, dir)
		checkTaken(t, s, taken)

		enough := 1 + random.IntN(400)
		acknowledged, unanswered := registerUntilKilled(t, s, round, enough)
		if len(acknowledged) < enough {
			t.Fatalf("round %d: %d registrations before the kill, want %d", round, len(acknowledged), enough)
		}
		uncertain += unanswered
		for name, uid := range acknowledged {
			if other, twice := owner[uid]; twice {
				t.Errorf("uid %s went to %s and to %s", uid, other, name)
			}
			owner[uid], taken[name] = name, uid
		}
	}

	s := serveIn(t, dir)
	checkTaken(t, s, taken)
	uid, err := register(t, s.dial(), "last")
	if err != nil {
		t.Fatal(err)
	}
	// A name that was not answered for may or may not have its uid.
	if n, _ := strconv.Atoi(uid); n <= len(taken) || n > len(taken)+uncertain+1 {
		t.Errorf("the next uid is %s after %d registrations that were answered and %d that were not", uid, len(taken), uncertain)
	}
	if other, twice := owner[uid]; twice {
		t.Errorf("uid %s went to %s before", uid, other)
	}
	t.Logf("%d registrations over %d kills, %d cut off", len(taken), rounds, uncertain)
	s.stop()
}

// restarted is answered when a plugin has run for longer than it may, which it
// does where the machine does not let it run: like no answer, it says nothing
// of whether the user is registered.
const restarted = "RESTARTED"

// register asks for a uid for a name.
func register(t *testing.T, conn *amp.Conn, name string) (uid string, err error) {
	return ask(t.Context(), conn, "RegisterUser", "uid", amp.Box{"username": []byte(name), "publickey": []byte("k")})
}

// registerUntilKilled has clients register users of their own, kills the
// server once enough are acknowledged, and returns the uids by name and how
// many calls got no answer.
func registerUntilKilled(t *testing.T, s *server, round, enough int) (acknowledged map[string]string, unanswered int) {
	t.Helper()
	const connections, inFlight = 4, 16
	acknowledged = make(map[string]string)
	reached := make(chan struct{})
	var mu sync.Mutex // guards acknowledged and unanswered
	var wg sync.WaitGroup
	for c := range connections {
		conn := s.dial()
		for f := range inFlight {
			wg.Go(func() {
				for n := 0; ; n++ {
					name := fmt.Sprintf("user-%d-%d-%d-%d", round, c, f, n)
					uid, err := register(t, conn, name)
					mu.Lock()
					if err != nil {
						unanswered++
						code := remoteCode(err)
						if code != "" && code != restarted {
							t.Errorf("RegisterUser %s: %v", name, err)
						}
						mu.Unlock()
						if code == restarted {
							continue
						}
						return
					}
					acknowledged[name] = uid
					if len(acknowledged) == enough {
						close(reached)
					}
					mu.Unlock()
				}
			})
		}
	}
	select {
	case <-reached:
	case <-time.After(patience):
		t.Error("too few registrations")
	}
	s.kill()
	wg.Wait()
	return acknowledged, unanswered
}

// checkTaken asks for every name again: each must be refused.
func checkTaken(t *testing.T, s *server, taken map[string]string) {
	t.Helper()
	conn := s.dial()
	var wg sync.WaitGroup
	room := make(chan struct{}, 64)
	for name, uid := range taken {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			again, err := register(t, conn, name)
			for remoteCode(err) == restarted {
				again, err = register(t, conn, name)
			}
			if remoteCode(err) != "username-unavailable" {
				t.Errorf("%s was registered with uid %s; after the kill the name gives %q, %v", name, uid, again, err)
			}
		})
	}
	wg.Wait()
}
