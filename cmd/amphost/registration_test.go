package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/boltstore"
)

// TestRegistration checks RegisterUser as it comes with amphost: a name is a key
// and never a path, of those who ask for one name at once one gets it, a refusal
// costs no uid, a key keeps its bytes and can't make a second line, and all of it
// outlives a restart.
func TestRegistration(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	before := names(t, dir)
	want := make(map[string]string) // contents of files
	users := 0
	accept := func(s *server, name, key string) {
		t.Helper()
		uid, err := ask(t.Context(), s.dial(), "RegisterUser", "uid", amp.Box{"username": []byte(name), "publickey": []byte(key)})
		if users++; err != nil || uid != fmt.Sprint(users) {
			t.Fatalf("RegisterUser %.40q = %s, %v, want %d", name, uid, err, users)
		}
		want[name] = fmt.Sprintf("%d %s\n", users, key)
	}
	refuse := func(s *server, name, key, code string) {
		t.Helper()
		uid, err := ask(t.Context(), s.dial(), "RegisterUser", "uid", amp.Box{"username": []byte(name), "publickey": []byte(key)})
		if remoteCode(err) != code {
			t.Errorf("RegisterUser %.40q with key %q = %s, %v, want %s", name, key, uid, err, code)
		}
	}

	s := serveIn(t, dir)
	accept(s, "ada", "ssh-ed25519 AAAA")
	every := make([]byte, 0, 255)
	for b := range 256 {
		if b != '\n' {
			every = append(every, byte(b))
		}
	}
	for i, name := range []string{"../evil.txt", "../../etc/passwd", "/tmp/evil", ".", "..", "", "uid", "a\x00b", "a\nb", "Ada", "é", "e\u0301", strings.Repeat("x", 5000)} {
		accept(s, name, string(every[:i*20]))
		refuse(s, name, "another", "username-unavailable")
		refuse(s, name+"!", "one\n2 mallory", "invalid-publickey")
	}
	accept(s, "all bytes", string(every))
	accept(s, "large", strings.Repeat("k", 60_000))

	// Many at once, for one name and then each for its own.
	var mu sync.Mutex // guards what follows
	var won []string
	var wg sync.WaitGroup
	for range 32 {
		conn := s.dial()
		wg.Go(func() {
			uid, err := ask(t.Context(), conn, "RegisterUser", "uid", amp.Box{"username": []byte("wanted"), "publickey": []byte("k")})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, uid)
			} else if remoteCode(err) != "username-unavailable" {
				t.Errorf("RegisterUser: %v", err)
			}
		})
	}
	wg.Wait()
	users++
	want["wanted"] = fmt.Sprintf("%d k\n", users)
	if !slices.Equal(won, []string{fmt.Sprint(users)}) {
		t.Errorf("of 32 who ask for one name these got it: %q, want one with %d", won, users)
	}
	s.stop()

	s = serveIn(t, dir)
	refuse(s, "ada", "another", "username-unavailable")
	accept(s, "after", "k")
	s.stop()
	if got := names(t, dir); !slices.Equal(got, slices.Sorted(slices.Values(append(before, "amphost.db")))) {
		t.Errorf("registration left %q, and there was %q", got, before)
	}
	path := filepath.Join(dir, "amphost.db")
	if got := registered(t, path); got != int64(users) {
		t.Errorf("%d users are stored, want %d", got, users)
	}
	st, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	err = store.View(t.Context(), st, "user-registration", func(tx store.Tx) error {
		for name, contents := range want {
			data, err := store.ReadFile(tx, name)
			if err != nil || string(data) != contents {
				t.Errorf("the file of %.40q is %.80q, %v, want %.80q", name, data, err, contents)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
