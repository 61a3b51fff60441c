package examples

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
	"github.com/amphost/amphost/store"
)

// loginHost serves the login example.
func loginHost(t *testing.T) *host.Host {
	t.Helper()
	t.Setenv("ADMIN_PASSWORD", "secret")
	h, err := host.New(t.Context(), host.Config{
		Plugins: "login/plugins", Authorizers: []string{"login"}, AllowEnv: map[string][]string{"login": {"ADMIN_PASSWORD"}},
		Logger: slog.New(slog.DiscardHandler), Script: scripting.Options{Store: store.NewMem()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

// peer returns a connection to a host, and a function that says what a call
// over it comes to.
func peer(t *testing.T, h *host.Host) func(command string, pairs ...string) string {
	t.Helper()
	c, s := amp.Pipe(nil, h)
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return func(command string, pairs ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		args := amp.Box{}
		for i := 0; i < len(pairs); i += 2 {
			args[pairs[i]] = []byte(pairs[i+1])
		}
		if _, err := c.Call(ctx, command, args); err != nil {
			code, _, _ := strings.Cut(err.Error(), ":")
			return code
		}
		return "ok"
	}
}

func TestLogin(t *testing.T) {
	h := loginHost(t)
	admin, ada, eve := peer(t, h), peer(t, h), peer(t, h)
	for _, step := range []struct {
		call func(string, ...string) string
		what string
		want string
	}{
		{admin, "Greet", "FORBIDDEN"},
		{admin, "AddUser user ada password first", "FORBIDDEN"},
		{admin, "Login user admin", "BAD_ARGUMENTS"},
		{admin, "Login user admin password Secret", "INVALID_LOGIN"},
		{admin, "Login user admin password secret", "ok"},
		{admin, "Greet", "ok"},
		{ada, "Login user ada password first", "INVALID_LOGIN"},
		{admin, "AddUser user ada password first", "ok"},
		{admin, "AddUser user ada password second", "TAKEN"},
		{ada, "Greet", "FORBIDDEN"},
		{ada, "Login user ada password first", "ok"},
		{ada, "Greet", "ok"},
		{ada, "AddUser user eve password x", "NOT_ALLOWED"},
		{eve, "Greet", "FORBIDDEN"},
	} {
		words := strings.Fields(step.what)
		if got := step.call(words[0], words[1:]...); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
	// Many attempts at once are counted like those one after the other, from
	// whatever connections they come.
	codes := make(chan string)
	for range 4 {
		eve := peer(t, h)
		for range 5 {
			go func() { codes <- eve("Login", "user", "ada", "password", "guess") }()
		}
	}
	count := make(map[string]int)
	for range 20 {
		count[<-codes]++
	}
	if count["INVALID_LOGIN"] != 5 || count["LOCKED"] != 15 {
		t.Errorf("of 20 attempts at once came %v, want 5 INVALID_LOGIN and 15 LOCKED", count)
	}
	if got := eve("Login", "user", "ada", "password", "first"); got != "LOCKED" {
		t.Errorf("with the right password it is %s", got)
	}
	if got := ada("Greet"); got != "ok" {
		t.Errorf("who has logged in before gets %s", got)
	}
}

// Nobody learns from the time it takes whether there is a user.
func TestLoginTakesAsLongWithoutAUser(t *testing.T) {
	h := loginHost(t)
	took := func(user string) time.Duration {
		call := peer(t, h)
		var all []time.Duration
		for range 4 {
			began := time.Now()
			if got := call("Login", "user", user, "password", "guess"); got != "INVALID_LOGIN" {
				t.Fatalf("%s: %s", user, got)
			}
			all = append(all, time.Since(began))
		}
		return slices.Min(all)
	}
	if there, none := took("admin"), took("nobody"); none < there/3 || there < none/3 {
		t.Errorf("a wrong password takes %v, a user who does not exist %v", there, none)
	}
}
