package amp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A transcript is what a peer says and what comes back, as recorded by
// testdata/twisted/record.py, which describes the format.
type transcript struct {
	name   string
	steps  []wireStep
	end    string // answers, open or closed
	always bool   // of what differs from Twisted: also with Options.Strict
}

// A wireStep is segments that are sent, and all that comes back.
type wireStep struct {
	send []string
	eof  bool
	recv string
}

func readTranscripts(t testing.TB, file string) []transcript {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []transcript
	for i, line := range strings.Split(string(text), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		if word == "case" {
			all = append(all, transcript{name: rest})
			continue
		} else if word == "" || word == "#" {
			continue
		}
		tr := &all[len(all)-1]
		if n := len(tr.steps); word == ">" || word == "eof" {
			if n == 0 || tr.steps[n-1].recv != "" {
				tr.steps = append(tr.steps, wireStep{})
			}
		}
		last := func() *wireStep { return &tr.steps[len(tr.steps)-1] }
		switch data, err := strconv.Unquote(rest); {
		case word == ">" && err == nil:
			last().send = append(last().send, data)
		case word == "<" && err == nil:
			last().recv = data
		case word == "eof":
			last().eof = true
		case word == "always":
			tr.always = true
		case word == "answers" || word == "open" || word == "closed":
			tr.end = word
		default:
			t.Fatalf("%s:%d: unreadable: %v", file, i+1, err)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s: no cases", file)
	}
	return all
}

const (
	probe  = "\x00\x04_ask\x00\x05probe\x00\x08_command\x00\x03Sum\x00\x01a\x00\x0240\x00\x01b\x00\x012\x00\x00"
	probed = "\x00\x07_answer\x00\x05probe\x00\x05total\x00\x0242\x00\x00"
)

// play says to a server what a peer said, and returns what was different from
// the transcript.
func (tr transcript) play(addr string) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	for i, s := range tr.steps {
		for _, segment := range s.send {
			if _, err := io.WriteString(nc, segment); err != nil {
				return fmt.Errorf("step %d: %w", i, err)
			}
		}
		if s.eof {
			nc.(*net.TCPConn).CloseWrite()
		}
		got := make([]byte, len(s.recv))
		n, err := io.ReadFull(nc, got)
		if string(got[:n]) != s.recv {
			return fmt.Errorf("step %d: got %q, %v, want %q", i, got[:n], err, s.recv)
		}
	}
	switch tr.end {
	case "closed":
		if rest, err := io.ReadAll(nc); len(rest) > 0 || isTimeout(err) {
			return fmt.Errorf("at the end: got %q, %v, want it closed", rest, err)
		}
	case "answers":
		// Twice: what is sent at once would be answered even if it closes.
		for range 2 {
			_, err := io.WriteString(nc, probe)
			got := make([]byte, len(probed))
			if n, rerr := io.ReadFull(nc, got); string(got) != probed {
				return fmt.Errorf("at the end: got %q, %w, want an answer", got[:n], errors.Join(err, rerr))
			}
		}
	}
	return nil
}

// TestTranscripts says to a server of this package what was said to Twisted's
// server: with Strict it answers every byte as that did, and by default but
// for what testdata/twisted/differences.amp lists.
func TestTranscripts(t *testing.T) {
	differs := make(map[string]transcript)
	for _, tr := range readTranscripts(t, "testdata/twisted/differences.amp") {
		differs[tr.name] = tr
	}
	recorded := readTranscripts(t, "testdata/twisted/server.amp")
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			addr := serve(t, &Server{Handler: newTwistedResponder(t, false), Options: &Options{Strict: strict, Logger: quiet}})
			var cases []transcript
			for _, tr := range recorded {
				if own, ok := differs[tr.name]; ok && (!strict || own.always) {
					if reflect.DeepEqual(own.steps, tr.steps) && own.end == tr.end {
						t.Errorf("%s: what is listed as different is not", tr.name)
					}
					tr = own
				}
				cases = append(cases, tr)
			}
			playAll(t, addr, cases)
		})
	}
	for _, tr := range recorded {
		delete(differs, tr.name)
	}
	for name := range differs {
		t.Errorf("differences.amp has a case %q that server.amp has not", name)
	}
}

// playAll plays transcripts at the same time, and reports what was different.
func playAll(t *testing.T, addr string, all []transcript) {
	t.Helper()
	var wg sync.WaitGroup
	failed := make([]error, len(all))
	for i, tr := range all {
		wg.Go(func() { failed[i] = tr.play(addr) })
	}
	wg.Wait()
	for i, err := range failed {
		if err != nil {
			t.Errorf("%s: %v", all[i].name, err)
		}
	}
}

// TestTranscriptsAreWhatTwistedSays says it all to a Twisted server again, and
// records again what a Twisted client writes.
func TestTranscriptsAreWhatTwistedSays(t *testing.T) {
	var steady []transcript
	for _, tr := range readTranscripts(t, "testdata/twisted/server.amp") {
		if tr.name != "F17 a half close at once" { // the scheduler decides how much that is at once
			steady = append(steady, tr)
		}
	}
	playAll(t, startTwisted(t).listen(t, "responder", nil), steady)

	cmd := exec.Command(twistedPython(t), "-B", "testdata/twisted/record.py", "client")
	cmd.Stderr = os.Stderr
	now, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := os.ReadFile("testdata/twisted/client.amp")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(now, recorded) {
		t.Error("testdata/twisted/client.amp is not what record.py prints: record it again, and see what changed")
	}
}

// TestRecordedBoxes reads every box that Twisted wrote, and writes it again,
// byte for byte.
func TestRecordedBoxes(t *testing.T) {
	boxes := 0
	check := func(name, data string) {
		for r := strings.NewReader(data); r.Len() > 0; boxes++ {
			start := len(data) - r.Len()
			box, err := ReadBox(r)
			if err != nil {
				t.Errorf("%s: ReadBox: %v", name, err)
				return
			}
			want := data[start : len(data)-r.Len()]
			if again, err := box.Append(nil); err != nil || string(again) != want {
				t.Errorf("%s: %q written again is %q, %v", name, want, again, err)
			}
		}
	}
	for _, tr := range readTranscripts(t, "testdata/twisted/server.amp") {
		for _, s := range tr.steps {
			if tr.end != "open" { // then they are not boxes
				check(tr.name, s.recv)
			}
		}
	}
	for _, tr := range readTranscripts(t, "testdata/twisted/client.amp") {
		check(tr.name, tr.steps[0].send[0])
	}
	if boxes < 100 {
		t.Errorf("only %d boxes were recorded", boxes)
	}
}

// A typedCall decodes arguments, and calls the command with them.
type typedCall func(ctx context.Context, c *Conn, args Box) error

func callOf[A, R any](cmd Command[A, R]) typedCall {
	return func(ctx context.Context, c *Conn, args Box) error {
		var a A
		if err := Unmarshal(args, &a); err != nil {
			return err
		}
		_, err := cmd.Call(ctx, c, a)
		return err
	}
}

func echoCall[T any](name string) typedCall { return callOf(Command[one[T], one[T]]{Name: name}) }

// TestTwistedClientBytes makes the calls that Twisted's client made in
// testdata/twisted/client.amp: the arguments are read from its bytes, and our
// bytes must be the same.
func TestTwistedClientBytes(t *testing.T) {
	untyped := func(ctx context.Context, c *Conn, args Box) error {
		_, err := c.Call(ctx, "Mirror", args)
		return err
	}
	calls := map[string]typedCall{
		"Sum":   callOf(sum),
		"Empty": callOf(emptyCmd),
		"key too long: TooLong": func(ctx context.Context, c *Conn, _ Box) error {
			return untyped(ctx, c, Box{strings.Repeat("k", 256): []byte("x")})
		},
		"value too long: TooLong": func(ctx context.Context, c *Conn, _ Box) error {
			_, err := Command[one[[]byte], noValues]{Name: "EchoString"}.Call(ctx, c, one[[]byte]{make([]byte, 65536)})
			return err
		},
		"Note, no answer": callOf(noteCmd),
		"untyped":         untyped,
		"untyped, no answer": func(ctx context.Context, c *Conn, args Box) error {
			return c.Send(ctx, "Mirror", args)
		},
		"Names":             callOf(namesCmd),
		"Optional, nothing": callOf(optionalCmd),
		"Optional, empty":   callOf(optionalCmd),
		"Switch": func(ctx context.Context, c *Conn, args Box) error {
			_, err := c.Switch(ctx, "Switch", args)
			return err
		},
		"StartTLS": func(ctx context.Context, c *Conn, _ Box) error {
			return c.StartTLS(ctx, &tls.Config{InsecureSkipVerify: true})
		},
		"EchoInteger":   echoCall[big.Int]("EchoInteger"),
		"EchoString":    echoCall[[]byte]("EchoString"),
		"EchoUnicode":   echoCall[string]("EchoUnicode"),
		"EchoFloat":     echoCall[float64]("EchoFloat"),
		"EchoBoolean":   echoCall[bool]("EchoBoolean"),
		"EchoDecimal":   echoCall[Decimal]("EchoDecimal"),
		"EchoDateTime":  echoCall[time.Time]("EchoDateTime"),
		"EchoPath":      echoCall[Path]("EchoPath"),
		"EchoIntegers":  echoCall[[]big.Int]("EchoIntegers"),
		"EchoTexts":     echoCall[[]string]("EchoTexts"),
		"EchoFloats":    echoCall[[]float64]("EchoFloats"),
		"EchoDecimals":  echoCall[[]Decimal]("EchoDecimals"),
		"EchoDateTimes": echoCall[[]time.Time]("EchoDateTimes"),
		"EchoMatrix":    echoCall[[][]int]("EchoMatrix"),
		"EchoRows":      echoCall[[]innerBox]("EchoRows"),
		"EchoTables":    echoCall[[]tableBox]("EchoTables"),
	}
	nc, peer := net.Pipe()
	defer peer.Close()
	peer.SetDeadline(time.Now().Add(20 * time.Second))
	c := NewConn(nc, nil, &Options{Initiator: true})
	defer func() { c.Close(); <-c.Done() }()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, tr := range readTranscripts(t, "testdata/twisted/client.amp") {
		call, want := calls[tr.name], tr.steps[0].send[0]
		if call == nil {
			t.Fatalf("client.amp has a call %q that is not made here", tr.name)
		}
		if want == "" { // Twisted refused it, but its tag is gone
			if err := call(ctx, c, nil); !errors.Is(err, ErrTooLong) {
				t.Errorf("%s: the call fails with %v, want ErrTooLong", tr.name, err)
			}
			continue
		}
		box, err := ReadBox(strings.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		args := make(Box)
		for key, value := range box {
			if !reserved([]byte(key)) {
				args[key] = value
			}
		}
		failed := make(chan error, 1)
		wg.Go(func() { failed <- call(ctx, c, args) })
		got := make([]byte, len(want))
		if n, err := io.ReadFull(peer, got); string(got) != want {
			t.Fatalf("%s: wrote %q, %v, want %q", tr.name, got[:n], err, want)
		}
		if tr.name == "Switch" { // refused, or nothing could be sent behind it
			refusal, _ := Box{"_error": box["_ask"], "_error_code": nil, "_error_description": nil}.Append(nil)
			peer.Write(refusal)
			if err := <-failed; !errors.Is(err, &Error{}) {
				t.Errorf("a refused Switch fails with %v", err)
			}
		}
	}
}
