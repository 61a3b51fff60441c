//go:build linux || darwin

package amp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

type catArgs struct {
	Name  string   `amp:"name"`
	File  *os.File `amp:"file"`
	Other *os.File `amp:"other,optional"`
	More  []struct {
		File *os.File `amp:"file"`
	} `amp:"more"`
}

type catResult struct {
	Text string   `amp:"text"`
	File *os.File `amp:"file,optional"`
}

// cat answers with what its files hold, and a file that holds the same.
var cat = Command[catArgs, catResult]{Name: "Cat"}

// tempFile returns an open file that holds the text.
func tempFile(t testing.TB, text string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

// contents reads a file from its start, and closes it.
func contents(f *os.File) string {
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func catMux(t testing.TB) *Mux {
	m := mathMux()
	dir := t.TempDir()
	var mu sync.Mutex
	var answers []*os.File // the sender keeps its files
	closeAnswers := func() {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range answers {
			f.Close()
		}
		answers = nil
	}
	t.Cleanup(closeAnswers)
	m.HandleFunc("Close", func(context.Context, Box) (Box, error) { closeAnswers(); return nil, nil })
	cat.Handle(m, func(_ context.Context, args catArgs) (catResult, error) {
		text := args.Name + ":" + contents(args.File)
		if args.Other != nil {
			text += "+" + contents(args.Other)
		}
		for _, more := range args.More {
			text += "/" + contents(more.File)
		}
		f, err := os.CreateTemp(dir, "")
		if err != nil {
			return catResult{}, err
		}
		mu.Lock()
		defer mu.Unlock()
		answers = append(answers, f)
		_, err = f.WriteString(text)
		return catResult{text, f}, err
	})
	return m
}

// dialUnix starts a server on a UNIX socket and returns a function that
// connects to it.
func dialUnix(t testing.TB, s *Server) func(h Handler, opts *Options) *Conn {
	t.Helper()
	path := serveUNIX(t, s)
	return func(h Handler, opts *Options) *Conn {
		t.Helper()
		c, err := Dial(t.Context(), "unix", path, h, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); <-c.Done() })
		return c
	}
}

// countFiles counts the descriptors of this process.
func countFiles(t testing.TB) int {
	t.Helper()
	dir := "/proc/self/fd"
	if runtime.GOOS == "darwin" {
		dir = "/dev/fd"
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestDescriptorsInBothDirections(t *testing.T) {
	connect := dialUnix(t, &Server{Handler: catMux(t)})
	c := connect(nil, nil)
	if _, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil { // other boxes go between them
		t.Fatal(err)
	}
	before := countFiles(t)
	for i := range 50 {
		args := catArgs{Name: fmt.Sprint(i), File: tempFile(t, "one")}
		want := fmt.Sprint(i) + ":one"
		if i%2 == 1 {
			args.Other = tempFile(t, "two")
			want += "+two"
		}
		for n := range i % 5 {
			args.More = append(args.More, struct {
				File *os.File `amp:"file"`
			}{tempFile(t, fmt.Sprint(n))})
			want += "/" + fmt.Sprint(n)
		}
		got, err := cat.Call(t.Context(), c, args)
		if err != nil || got.Text != want {
			t.Fatalf("Cat = %q, %v, want %q", got.Text, err, want)
		}
		if back := contents(got.File); back != want {
			t.Fatalf("the file that came back holds %q, want %q", back, want)
		}
		if text := contents(args.File); text != "one" { // it is still ours
			t.Fatalf("our file holds %q", text)
		}
		for _, more := range args.More {
			more.File.Close()
		}
		args.Other.Close()
		args.File.Close()
	}
	if _, err := c.Call(t.Context(), "Close", nil); err != nil {
		t.Error(err)
	}
	eventually(t, "no descriptor is left", func() bool { return countFiles(t) <= before })
}

// Many at once, among boxes without: each arrives where it belongs.
func TestDescriptorsAtTheSameTime(t *testing.T) {
	connect := dialUnix(t, &Server{Handler: catMux(t)})
	before := countFiles(t)
	c := connect(nil, &Options{MaxUnwritten: 20_000})
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			f := tempFile(t, fmt.Sprint("file ", g))
			defer f.Close()
			name := strings.Repeat("x", g*100)
			for i := range 20 {
				if i%3 == 0 {
					if got, err := sum.Call(t.Context(), c, sumArgs{g, i}); err != nil || got.Total != g+i {
						t.Errorf("Sum = %v, %v", got, err)
					}
				}
				got, err := cat.Call(t.Context(), c, catArgs{Name: name, File: f})
				if want := name + ":file " + fmt.Sprint(g); err != nil || got.Text != want || contents(got.File) != want {
					t.Errorf("Cat = %q, %v, want %q", got.Text, err, want)
				}
			}
		})
	}
	wg.Wait()
	if _, err := c.Call(t.Context(), "Close", nil); err != nil {
		t.Error(err)
	}
	c.Close()
	endOf(t, c)
	eventually(t, "no descriptor is left", func() bool { return countFiles(t) <= before })
}

// The first thing on a connection that has been silent for longer than a write
// may take.
func TestDescriptorAfterSilence(t *testing.T) {
	connect := dialUnix(t, &Server{Handler: catMux(t)})
	c := connect(nil, &Options{WriteTimeout: 10 * time.Millisecond})
	for range 3 {
		got, err := cat.Call(t.Context(), c, catArgs{File: tempFile(t, "text")})
		if err != nil || got.Text != ":text" {
			t.Fatalf("Cat = %q, %v", got.Text, err)
		}
		got.File.Close()
		<-time.After(20 * time.Millisecond)
	}
}

// Item D3, and a peer that claims what it did not send.
func TestDescriptorsThatAreNotThere(t *testing.T) {
	path := serveUNIX(t, &Server{Handler: catMux(t)})
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	uc := nc.(*net.UnixConn)
	p := &peer{t, nc, bufio.NewReader(nc)}
	f := tempFile(t, "text")
	send := func(box []string) { // the descriptor goes with the first byte
		data := wire(box)
		if _, _, err := uc.WriteMsgUnix(data[:1], syscall.UnixRights(int(f.Fd())), nil); err != nil {
			t.Fatal(err)
		}
		p.Write(data[1:])
	}
	wantError := func(tag, text string) {
		t.Helper()
		box, err := p.next()
		if err != nil || string(box["_error"]) != tag || string(box["_error_code"]) != "BAD_ARGUMENTS" || !strings.Contains(string(box["_error_description"]), text) {
			t.Errorf("got %q, %v, want %s: %s", box, err, tag, text)
		}
	}
	p.send(ask("1", "Cat", "file", "0", "more", "", "name", ""))
	wantError("1", "was not received")
	send(ask("2", "Cat", "file", "0", "other", "0", "more", "", "name", "")) // twice
	wantError("2", "taken already")
	send(ask("3", "Cat", "file", "1", "more", "", "name", "")) // and then as it should be
	box, err := p.next()
	if err != nil || string(box["text"]) != ":text" {
		t.Errorf("got %q, %v", box, err)
	}
	for i, bad := range []string{"", "-1", "x", "99999999999999999999", "1"} {
		p.send(ask(fmt.Sprint(i), "Cat", "file", bad, "more", "", "name", ""))
		wantError(fmt.Sprint(i), "Descriptor")
	}
	before := countFiles(t)
	send(ask("4", "Nope", "file", "2")) // nobody takes it: until the connection's end
	if box, err := p.next(); err != nil || string(box["_error"]) != "4" {
		t.Errorf("got %q, %v", box, err)
	}
	p.Close()
	eventually(t, "the descriptor is closed", func() bool { return countFiles(t) < before })
}

// A peer that sends descriptors and no boxes for them is cut off, and nothing
// of it is left.
func TestTooManyDescriptors(t *testing.T) {
	s := &Server{Options: &Options{Logger: quiet}}
	ended := make(chan error, 1)
	s.OnDisconnect = func(_ *Conn, err error) { ended <- err }
	path := serveUNIX(t, s)
	before := countFiles(t)
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f := tempFile(t, "")
	for range 2 * maxFiles {
		if _, _, err := nc.(*net.UnixConn).WriteMsgUnix(wire([]string{"_answer", "nobody"}), syscall.UnixRights(int(f.Fd())), nil); err != nil {
			break // it is cut off
		}
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "descriptors that no box claims") {
		t.Errorf("ended with %v", err)
	}
	nc.Close()
	f.Close()
	eventually(t, "no descriptor is left", func() bool { return countFiles(t) <= before })
}

// Where descriptors can't travel, sending one is an error of the call alone.
func TestDescriptorsElsewhere(t *testing.T) {
	m := catMux(t)
	tcp := dial(t, serve(t, &Server{Handler: m}), nil, nil)
	pipe, _ := pair(t, nil, nil, m, nil)
	for name, c := range map[string]*Conn{"TCP": tcp, "pipe": pipe} {
		if _, err := cat.Call(t.Context(), c, catArgs{File: tempFile(t, "")}); !errors.Is(err, ErrNoDescriptors) {
			t.Errorf("%s: Cat = %v", name, err)
		}
		if got, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil || got.Total != 3 {
			t.Errorf("%s: Sum after it = %v, %v", name, got, err)
		}
		if _, err := c.Call(t.Context(), "Cat", Box{"file": []byte("0"), "name": nil, "more": nil}); !errors.Is(err, ErrBadArguments) {
			t.Errorf("%s: Cat with an ordinal = %v", name, err)
		}
	}
	closed := tempFile(t, "")
	closed.Close()
	c := dialUnix(t, &Server{Handler: m, Options: &Options{Logger: quiet}})(nil, nil)
	if _, err := cat.Call(t.Context(), c, catArgs{File: closed}); err == nil {
		t.Error("a closed file can be sent")
	}
	if _, err := cat.Call(t.Context(), c, catArgs{}); err == nil {
		t.Error("no file can be sent")
	}
	got, err := cat.Call(t.Context(), c, catArgs{File: tempFile(t, "good")})
	if err != nil || got.Text != ":good" {
		t.Errorf("after that: %q, %v", got.Text, err)
	}
	got.File.Close()
}

// Calls that never go out keep no descriptor, and do not confuse the count.
func TestDescriptorsOfCallsThatFail(t *testing.T) {
	connect := dialUnix(t, &Server{Handler: catMux(t)})
	c := connect(nil, nil)
	f := tempFile(t, "text")
	if _, err := sum.Call(t.Context(), c, sumArgs{1, 2}); err != nil { // both ends are there
		t.Fatal(err)
	}
	before := countFiles(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if _, err := cat.Call(ctx, c, catArgs{File: f}); err != context.Canceled {
			t.Errorf("Cat = %v", err)
		}
		if _, err := cat.Call(t.Context(), c, catArgs{File: f, Name: strings.Repeat("x", MaxValue+1)}); !errors.Is(err, ErrTooLong) {
			t.Errorf("Cat = %v", err)
		}
		long := Command[catArgs, catResult]{Name: strings.Repeat("x", MaxValue+1)}
		if _, err := long.Call(t.Context(), c, catArgs{File: f}); !errors.Is(err, ErrTooLong) {
			t.Errorf("a command of a long name = %v", err)
		}
		got, err := cat.Call(t.Context(), c, catArgs{File: f})
		if err != nil || got.Text != ":text" {
			t.Errorf("Cat = %q, %v", got.Text, err)
		}
		got.File.Close()
	}
	if _, err := c.Call(t.Context(), "Close", nil); err != nil {
		t.Error(err)
	}
	eventually(t, "no descriptor is left", func() bool { return countFiles(t) <= before })
	c.Close()
	endOf(t, c)
	if _, err := cat.Call(t.Context(), c, catArgs{File: f}); err != ErrClosed {
		t.Errorf("Cat = %v", err)
	}
}

// Over TLS there is no way for them.
func TestDescriptorsAfterStartTLS(t *testing.T) {
	c := dialUnix(t, &Server{Handler: catMux(t), Options: &Options{Logger: quiet}})(nil, nil)
	if err := c.StartTLS(t.Context(), &tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.Call(t.Context(), c, catArgs{File: tempFile(t, "")}); !errors.Is(err, ErrNoDescriptors) {
		t.Errorf("Cat = %v", err)
	}
}

// While StartTLS is under way, what is sent is held back to be encrypted: no
// descriptor can go with it, and the connection lives on.
func TestDescriptorsWhileStartTLS(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(t.Context(), "unix", l.Addr().String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-c.Done() })
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	started := make(chan error, 1)
	go func() { started <- c.StartTLS(t.Context(), &tls.Config{InsecureSkipVerify: true}) }()
	p := &peer{t, b, bufio.NewReader(b)}
	if box, err := p.next(); err != nil || string(box["_command"]) != "StartTLS" {
		t.Fatalf("got %q, %v", box, err)
	}
	if _, err := cat.Call(t.Context(), c, catArgs{File: tempFile(t, "")}); !errors.Is(err, ErrNoDescriptors) {
		t.Errorf("Cat = %v", err)
	}
	p.send([]string{"_answer", "1"})
	cert, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { tls.Server(b, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake() })
	defer wg.Wait()
	if err := <-started; err != nil {
		t.Errorf("StartTLS = %v", err)
	}
}

// curious is a value that looks at a connection when it is encoded.
type curious struct{ c *Conn }

func (v curious) MarshalText() ([]byte, error) { return []byte(v.c.peerName()), nil }
func (v *curious) UnmarshalText([]byte) error  { return nil }

// No lock is held while values encode themselves, also beside descriptors.
func TestValuesBesideDescriptorsMayUseTheConnection(t *testing.T) {
	type args struct {
		File *os.File `amp:"file"`
		Peer curious  `amp:"peer"`
	}
	show := Command[args, args]{Name: "Show"}
	m := new(Mux)
	show.Handle(m, func(ctx context.Context, args args) (_ args, err error) {
		t.Cleanup(func() { args.File.Close() })
		args.Peer.c = ConnFrom(ctx)
		return args, nil
	})
	c := dialUnix(t, &Server{Handler: m})(nil, nil)
	got, err := show.Call(t.Context(), c, args{tempFile(t, ""), curious{c}})
	if err != nil {
		t.Fatal(err)
	}
	got.File.Close()
}

// A socket's file is a descriptor as well: hand over a connection.
func TestDescriptorOfASocket(t *testing.T) {
	m := new(Mux)
	type handed struct {
		Socket *os.File `amp:"socket"`
	}
	hand := Command[handed, struct{}]{Name: "Hand"}
	hand.Handle(m, func(_ context.Context, args handed) (struct{}, error) {
		defer args.Socket.Close()
		nc, err := net.FileConn(args.Socket)
		if err != nil {
			return struct{}{}, err
		}
		defer nc.Close()
		_, err = io.WriteString(nc, "from the other process")
		return struct{}{}, err
	})
	c := dialUnix(t, &Server{Handler: m})(nil, nil)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := far.(*net.UnixConn).File()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hand.Call(t.Context(), c, handed{f}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	far.Close()
	if got, err := io.ReadAll(near); err != nil || string(got) != "from the other process" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A descriptor that can't be sent leaves nothing behind that a shutdown would
// wait for.
func TestShutdownAfterADescriptorThatCannotBeSent(t *testing.T) {
	c := dialUnix(t, &Server{Handler: catMux(t)})(nil, nil)
	f := tempFile(t, "text")
	f.Close()
	if _, err := cat.Call(t.Context(), c, catArgs{File: f}); err == nil {
		t.Error("a closed file was sent")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}
