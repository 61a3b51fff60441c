package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amphost/amphost/amp"
)

// A soaking is what clients do to a server, and what they have seen.
type soaking struct {
	plugins string // the directory
	address string

	written   atomic.Int64 // the last version of the plugin that was saved
	confirmed atomic.Int64 // the last that has answered
	saved     int          // how often anything was saved; only save

	calls    atomic.Int64 // that were answered as they should be
	reloads  atomic.Int64 // versions that were saved, good ones
	connects atomic.Int64
	users    atomic.Int64 // that are registered
	names    atomic.Int64 // that were tried

	mu    sync.Mutex // guards the fields below
	err   error      // the first that was wrong
	wrong int
	uids  map[string]bool
}

// How many clients there are of each kind.
const (
	soakSteady   = 4 // connections that stay
	soakInFlight = 8 // on each of them
	soakChurn    = 4
	soakRegister = 2
	saveEvery    = 50 * time.Millisecond
)

func newSoaking(dir string) (*soaking, error) {
	s := &soaking{uids: make(map[string]bool)}
	var err error
	if s.plugins, err = writePlugins(dir, 2); err != nil {
		return nil, err
	}
	source, err := os.ReadFile(filepath.Join(ownPlugins, "user-registration.ts"))
	if err != nil {
		return nil, err
	}
	return s, os.WriteFile(filepath.Join(s.plugins, "user-registration.ts"), source, 0o644)
}

// run has all clients do what they do for some time, and waits until they have
// what they asked for and have gone.
func (s *soaking) run(ctx context.Context, length time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var wg sync.WaitGroup
	loop := func(n int, do func() error) {
		for range n {
			wg.Go(func() { // ends with ctx
				for ctx.Err() == nil {
					if err := do(); err != nil {
						s.fail(err)
					}
				}
			})
		}
	}
	loop(soakSteady, func() error { return s.stay(ctx) })
	loop(soakChurn, s.comeAndGo)
	loop(soakRegister, s.register)
	loop(1, func() error {
		select {
		case <-ctx.Done():
		case <-time.After(saveEvery):
		}
		return s.save()
	})
	wg.Wait()
}

// patient bounds what answers at once.
func patient() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), 30*time.Second, errors.New("there is no answer after 30 seconds"))
}

// fail keeps what was wrong.
func (s *soaking) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong++
	if s.err == nil {
		s.err = err
	}
}

func (s *soaking) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *soaking) failures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrong
}

func (s *soaking) dial() (*amp.Conn, error) {
	ctx, cancel := patient()
	defer cancel()
	s.connects.Add(1)
	return amp.Dial(ctx, "tcp", s.address, nil, nil)
}

// sum makes a call, and checks that its answer is that of the call, and of a
// version that was there when it was made or later.
func (s *soaking) sum(conn *amp.Conn) error {
	ctx, cancel := patient()
	defer cancel()
	a, b := rand.Int64N(1<<40), rand.Int64N(1<<40)
	from := s.confirmed.Load()
	answer, err := conn.Call(ctx, commandOf(0), amp.Box{"a": strconv.AppendInt(nil, a, 10), "b": strconv.AppendInt(nil, b, 10)})
	if err != nil {
		return fmt.Errorf("a call: %w", err)
	}
	if total := string(answer["total"]); total != strconv.FormatInt(a+b, 10) {
		return fmt.Errorf("%d and %d are %d, and not %q", a, b, a+b, total)
	}
	version, err := strconv.ParseInt(string(answer["version"]), 10, 64)
	if to := s.written.Load(); err != nil || version < from || version > to {
		return fmt.Errorf("version %q answers, and not one from %d to %d", answer["version"], from, to)
	}
	for {
		known := s.confirmed.Load()
		if known >= version || s.confirmed.CompareAndSwap(known, version) {
			break
		}
	}
	s.calls.Add(1)
	return nil
}

// together makes several calls at the same time.
func (s *soaking) together(conn *amp.Conn, n int) error {
	list := make([]error, n)
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() { list[i] = s.sum(conn) })
	}
	wg.Wait()
	return errors.Join(list...)
}

// stay is a client that calls over one connection as long as it may.
func (s *soaking) stay(ctx context.Context) error {
	conn, err := s.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	for ctx.Err() == nil {
		if err := s.together(conn, soakInFlight); err != nil {
			return err
		}
	}
	return nil
}

// comeAndGo is a client that does not stay, and may leave without a word.
func (s *soaking) comeAndGo() error {
	if rand.N(4) == 0 {
		return s.babble()
	}
	conn, err := s.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := s.together(conn, 1+rand.N(8)); err != nil {
		return err
	}
	switch rand.N(3) {
	case 0: // its answers find nobody
		for range 8 {
			conn.Go(commandOf(0), sumArgs, func(amp.Box, error) {})
		}
	case 1:
		ctx, cancel := patient()
		defer cancel()
		return conn.Shutdown(ctx)
	}
	return nil
}

// babble is a client that does not get to the end of a box, or sends none.
func (s *soaking) babble() error {
	s.connects.Add(1)
	nc, err := net.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	if rand.N(2) == 0 {
		_, _ = nc.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	} else {
		_, _ = nc.Write([]byte("\x00\x04_ask\x00\x011\x00\x08_command\x00\x04Su"))
	}
	return nc.Close()
}

// register registers a user, and tries to do so once more.
func (s *soaking) register() error {
	conn, err := s.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 20 {
		ctx, cancel := patient()
		defer cancel()
		args := amp.Box{"username": []byte(userName(s.names.Add(1))), "publickey": []byte(publicKey)}
		answer, err := conn.Call(ctx, "RegisterUser", args)
		if err != nil {
			return fmt.Errorf("RegisterUser: %w", err)
		}
		uid := string(answer["uid"])
		s.mu.Lock()
		twice := s.uids[uid] || uid == ""
		s.uids[uid] = true
		s.mu.Unlock()
		if twice {
			return fmt.Errorf("two users have the uid %q", uid)
		}
		s.users.Add(1)
		_, err = conn.Call(ctx, "RegisterUser", args)
		if e, ok := errors.AsType[*amp.Error](err); !ok || e.Code != "username-unavailable" {
			return fmt.Errorf("a name that is taken: error %v, want username-unavailable", err)
		}
		s.calls.Add(2)
	}
	return nil
}

// save saves a plugin: usually a version that is good, at times one that is not,
// which must not answer, or one more plugin that comes and goes.
func (s *soaking) save() error {
	s.saved++
	path, extra := pluginFile(s.plugins, 0), pluginFile(s.plugins, 9)
	switch {
	case s.saved%10 == 0:
		return os.WriteFile(extra, sumPlugin(9, s.saved), 0o644)
	case s.saved%10 == 5:
		if err := os.Remove(extra); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	case s.saved%7 == 0:
		return os.WriteFile(path, []byte("const half = {\n"), 0o644)
	}
	version := sumPlugin(0, int(s.written.Add(1)))
	s.reloads.Add(1)
	if s.saved%2 == 0 {
		return os.WriteFile(path, version, 0o644)
	}
	beside := filepath.Join(s.plugins, ".saved")
	if err := os.WriteFile(beside, version, 0o644); err != nil {
		return err
	}
	return os.Rename(beside, path)
}
