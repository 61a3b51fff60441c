package host_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

// A plugin decides about the commands that Go answers, too, in the order in
// which they came; and nothing is answered while it is not there.
func TestAuthorizers(t *testing.T) {
	dir := t.TempDir()
	mux := new(amp.Mux)
	mux.HandleFunc("Go", func(_ context.Context, _ amp.Box) (amp.Box, error) { return amp.Box{"who": []byte("go")}, nil })
	amp.SwitchCommand[struct{}]{Name: "Switch"}.Handle(mux, nil)
	h, log := newHost(t, host.Config{Plugins: dir, Watch: true, Commands: mux, Authorizers: []string{"guard"}})
	conn := dial(t, serve(t, h))
	says := func(command string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := conn.Call(ctx, command, nil); err != nil {
			return err.(*amp.Error).Code
		}
		return "ok"
	}
	log.await(t, "every call is refused")
	for _, command := range []string{"Go", "Switch", "Word", "NoSuchCommand"} {
		if got := says(command); got != "FORBIDDEN" {
			t.Errorf("without its authorizer %s is %s", command, got)
		}
	}
	writePlugin(t, dir, "word.js", word("Word", "x"))
	writePlugin(t, dir, "guard.js", `import * as amp from "amphost";
new amp.Command("Login").responder((_, peer) => peer.authenticate("ada"));
amp.authorize((peer, command) => command === "Login" || peer.identity === "ada");`)
	log.await(t, "calls are allowed again")
	log.await(t, "plugin=word")
	for _, c := range []struct{ command, want string }{
		{"Go", "FORBIDDEN"}, {"Switch", "FORBIDDEN"}, {"Word", "FORBIDDEN"}, {"NoSuchCommand", "FORBIDDEN"},
		{"Login", "ok"}, {"Go", "ok"}, {"Word", "ok"}, {"NoSuchCommand", "UNHANDLED"},
	} {
		if got := says(c.command); got != c.want {
			t.Errorf("%s is %s, want %s", c.command, got, c.want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "guard.js")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); says("Go") != "FORBIDDEN"; {
		if time.Now().After(deadline) {
			t.Fatalf("Go is allowed after the authorizer was removed:\n%s", log)
		}
	}
	// Within there is no peer to ask about.
	if b, err := amp.Ask(t.Context(), h, "Go", nil); err != nil || string(b["who"]) != "go" {
		t.Errorf("from within: %v, %v", b, err)
	}
}
