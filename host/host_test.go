package host_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

// Whatever a host starts has ended when Shutdown has returned.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// writePlugin writes a plugin into a directory.
func writePlugin(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// word returns a plugin that answers a command with a word.
func word(command, text string) string {
	return `import * as amp from "amphost";
new amp.Command("` + command + `", { response: { text: amp.Unicode() } }).responder(() => ({ text: "` + text + `" }));
`
}

// logged is a log that tests can read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// await waits until the log contains text.
func (l *logged) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(time.Millisecond); !strings.Contains(l.String(), text); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say %q:\n%s", text, l)
		}
	}
}

// newHost returns a host that ends with the test, and its log.
func newHost(t *testing.T, cfg host.Config) (*host.Host, *logged) {
	t.Helper()
	log := new(logged)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	h, err := host.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return h, log
}

// serve has h listen, and checks that Serve ends as it should.
func serve(t *testing.T, h *host.Host) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }() // ends with Shutdown; the cleanup waits
	t.Cleanup(func() {
		h.Shutdown(context.Background())
		if err := <-served; !errors.Is(err, amp.ErrServerClosed) {
			t.Errorf("Serve = %v, want ErrServerClosed", err)
		}
	})
	return l.Addr().String()
}

// dial connects to a host.
func dial(t *testing.T, address string) *amp.Conn {
	t.Helper()
	conn, err := amp.Dial(t.Context(), "tcp", address, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestGoCommandsBesidePlugins(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "script.js", word("Script", "from a script"))
	var commands amp.Mux
	commands.HandleFunc("Go", func(context.Context, amp.Box) (amp.Box, error) {
		return amp.Box{"text": []byte("from Go")}, nil
	})
	h, _ := newHost(t, host.Config{Plugins: dir, Commands: &commands})

	// Two listeners, and none at all: the host is a handler, too.
	a, b := dial(t, serve(t, h)), dial(t, serve(t, h))
	for name, call := range map[string]func(command string) (amp.Box, error){
		"first listener":  func(command string) (amp.Box, error) { return a.Call(t.Context(), command, nil) },
		"second listener": func(command string) (amp.Box, error) { return b.Call(t.Context(), command, nil) },
		"in process":      func(command string) (amp.Box, error) { return amp.Ask(t.Context(), h, command, nil) },
	} {
		for command, want := range map[string]string{"Go": "from Go", "Script": "from a script"} {
			if box, err := call(command); err != nil || string(box["text"]) != want {
				t.Errorf("%s: %s = %q, %v, want %q", name, command, box, err, want)
			}
		}
		if _, err := call("Neither"); !errors.Is(err, amp.ErrUnhandled) {
			t.Errorf("%s: a command that nobody answers: %v, want UNHANDLED", name, err)
		}
	}
}

func TestPluginThatTakesAGoCommandDoesNotLoad(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "thief.js", word("Go", "stolen"))
	writePlugin(t, dir, "honest.js", word("Script", "fine"))
	var commands amp.Mux
	commands.HandleFunc("Go", func(context.Context, amp.Box) (amp.Box, error) {
		return amp.Box{"text": []byte("from Go")}, nil
	})
	h, _ := newHost(t, host.Config{Plugins: dir, Commands: &commands})

	var thief error
	for _, p := range h.Plugins() {
		switch {
		case p.Name == "thief":
			thief = p.Err
		case p.Err != nil:
			t.Errorf("plugin %s: %v", p.Name, p.Err)
		}
	}
	if thief == nil || !strings.Contains(thief.Error(), "Go") {
		t.Errorf("the plugin that answers a Go command has error %v, want one that names the command", thief)
	}
	if box, err := amp.Ask(t.Context(), h, "Go", nil); err != nil || string(box["text"]) != "from Go" {
		t.Errorf("Go = %q, %v, want the answer from Go", box, err)
	}
}

func TestPluginsHearOfConnections(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "hear.js", `import * as amp from "amphost";
amp.onConnect((peer) => console.log("hello " + peer.remoteAddress));
amp.onDisconnect((peer) => console.log("goodbye " + peer.remoteAddress));
`)
	h, log := newHost(t, host.Config{Plugins: dir})
	conn := dial(t, serve(t, h))
	log.await(t, "hello "+conn.LocalAddr().String())
	conn.Close()
	log.await(t, "goodbye "+conn.LocalAddr().String())
}

func TestShutdownAnswersWhatRunsAndThenStopsPlugins(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "slow.js", `import * as amp from "amphost";
const Slow = new amp.Command("Slow", { response: { text: amp.Unicode() } });
Slow.responder(async () => {
  console.log("slow begins");
  await new Promise((resolve) => setTimeout(resolve, 200));
  return { text: "done" };
});
`)
	h, log := newHost(t, host.Config{Plugins: dir, Watch: true})
	conn := dial(t, serve(t, h))
	type answer struct {
		box amp.Box
		err error
	}
	answered := make(chan answer, 1)
	go func() { // ends with its call
		box, err := conn.Call(t.Context(), "Slow", nil)
		answered <- answer{box, err}
	}()
	log.await(t, "slow begins")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if got := <-answered; got.err != nil || string(got.box["text"]) != "done" {
		t.Errorf("the call that ran got %q, %v, want its answer", got.box, got.err)
	}
	if _, err := amp.Ask(ctx, h, "Slow", nil); err == nil {
		t.Error("a plugin answers after Shutdown")
	}
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "never.js", `import * as amp from "amphost";
new amp.Command("Never").responder(() => { console.log("never begins"); return new Promise(() => {}); });
`)
	log := new(logged)
	h, err := host.New(t.Context(), host.Config{Plugins: dir, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, serve(t, h))
	called := make(chan error, 1)
	go func() { // ends with its call
		_, err := conn.Call(t.Context(), "Never", nil)
		called <- err
	}()
	log.await(t, "never begins")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown = %v, want the context's error", err)
	}
	if err := <-called; err == nil {
		t.Error("the call that was cut off got an answer")
	}
	// Nothing is left that a second Shutdown would have to wait for.
	again, cancel := context.WithTimeout(t.Context(), patience/3)
	defer cancel()
	if err := h.Shutdown(again); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
}

func TestNewSaysWhatIsWrongWithTheDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writePlugin(t, filepath.Dir(file), "file", "")
	if _, err := host.New(t.Context(), host.Config{Plugins: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("New with a file for a directory: %v, want an error that names it", err)
	}
}

// A command is answered once: a plugin that has a responder for one that is
// answered in Go does not load, and says who has it, also when it is reloaded; the
// command goes on in Go.
func TestANameTakenByGoAndAScriptIsALoadError(t *testing.T) {
	dir := t.TempDir()
	writePlugin(t, dir, "a.js", word("A", "from the script"))
	writePlugin(t, dir, "b.js", word("B", "from the script"))
	commands := new(amp.Mux)
	commands.HandleFunc("A", func(context.Context, amp.Box) (amp.Box, error) { return amp.Box{"text": []byte("from Go")}, nil })
	h, _ := newHost(t, host.Config{Plugins: dir, Commands: commands})
	says := func(command, want string) {
		t.Helper()
		if answer, err := amp.Ask(t.Context(), h, command, nil); err != nil || string(answer["text"]) != want {
			t.Errorf("%s = %q, %v, want %q", command, answer["text"], err, want)
		}
	}
	says("A", "from Go")
	says("B", "from the script")
	const want = `the program that embeds amphost`
	for _, p := range h.Plugins() {
		if taken := p.Name == "a"; taken != (p.Err != nil) || taken && (!strings.Contains(p.Err.Error(), want) || !strings.Contains(p.Err.Error(), `A`)) {
			t.Errorf("plugin %s: %v", p.Name, p.Err)
		}
	}
	writePlugin(t, dir, "b.js", word("A", "from the other script"))
	if err := h.Reload(t.Context(), "b"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a reload that takes the name: %v", err)
	}
	says("A", "from Go")
	says("B", "from the script") // the version before goes on
}
