package amp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A twistedProcess is a Python that plays Twisted's part: servers for a client
// in Go and clients for a server in Go. See testdata/twisted/peer.py.
type twistedProcess struct {
	in  io.Writer
	out *bufio.Reader
	raw interface{ SetReadDeadline(time.Time) error }
}

// startTwisted starts one, which ends with the test.
func startTwisted(t *testing.T) *twistedProcess {
	t.Helper()
	cmd := exec.Command(twistedPython(t), "-B", "testdata/twisted/peer.py")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", cmd, err)
		}
	})
	return &twistedProcess{in, bufio.NewReader(out), out.(*os.File)}
}

// ask has the process do something and returns what it says.
func (p *twistedProcess) ask(t *testing.T, request map[string]any) map[string]any {
	t.Helper()
	line, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	p.raw.SetReadDeadline(time.Now().Add(40 * time.Second))
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("ask Twisted %s: %v", line, err)
	}
	line, err = p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("no answer from Twisted: %v", err)
	}
	var answer map[string]any
	if err := json.Unmarshal(line, &answer); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if why, ok := answer["error"]; ok {
		t.Fatalf("in Twisted: %s", why)
	}
	return answer
}

type argsOf = map[string]any

// run runs a scenario of client.py against a server, and returns its result.
func (p *twistedProcess) run(t *testing.T, scenario, address string, args argsOf) any {
	t.Helper()
	request := argsOf{"run": scenario, "address": address}
	for k, v := range args {
		request[k] = v
	}
	return p.ask(t, request)["result"]
}

// listen starts a server of server.py and returns its address.
func (p *twistedProcess) listen(t *testing.T, kind string, args argsOf) string {
	t.Helper()
	request := argsOf{"listen": kind}
	for k, v := range args {
		request[k] = v
	}
	return p.ask(t, request)["address"].(string)
}

// The commands of testdata/twisted/commands.py.

type noValues struct{}

type tableBox struct {
	Rows  []innerBox `amp:"rows"`
	Marks *[]bool    `amp:"marks"`
}

// optionalValues mixes the two ways of being optional.
type optionalValues struct {
	Integer  *big.Int    `amp:"integer,optional"`
	String   []byte      `amp:"string,optional"`
	Unicode  *string     `amp:"unicode"`
	Float    *float64    `amp:"float"`
	Boolean  *bool       `amp:"boolean"`
	Decimal  *Decimal    `amp:"decimal"`
	DateTime *time.Time  `amp:"datetime"`
	Path     Path        `amp:"path,optional"`
	Integers *[]big.Int  `amp:"integers"`
	Rows     []*innerBox `amp:"rows,optional"`
}

type nameValues struct {
	From    string `amp:"from"`
	Class   string `amp:"class"`
	Mixed   string `amp:"mixedCase"`
	Dash    string `amp:"dash-arg"`
	Private string `amp:"_private"`
	Zed     string
}

type (
	failValues struct {
		Kind string  `amp:"kind"`
		Text *string `amp:"text"`
	}
	textValue struct {
		Text string `amp:"text"`
	}
	textValues struct {
		Texts []string `amp:"texts"`
	}
	nameValue struct {
		Name string `amp:"name"`
	}
	countValue struct {
		N int `amp:"n"`
	}
	timesValue struct {
		Times int `amp:"times"`
	}
	totalValue struct {
		Total int `amp:"total"`
	}
	sizeValue struct {
		Size int `amp:"size"`
	}
	blobValue struct {
		Blob []byte `amp:"blob"`
	}
	goodbyeValue struct {
		Goodbye string `amp:"goodbye"`
	}
	passFileArgs struct {
		File *os.File `amp:"file"`
		Text string   `amp:"text"`
	}
	passFileResult struct {
		File *os.File `amp:"file"`
	}
)

var (
	errOops     = errors.New("oops")
	errFatality = errors.New("fatality")
	errValue    = errors.New("value")

	optionalCmd = Command[optionalValues, optionalValues]{Name: "Optional"}
	namesCmd    = Command[nameValues, nameValues]{Name: "Names"}
	emptyCmd    = Command[noValues, noValues]{Name: "Empty"}
	failCmd     = Command[failValues, noValues]{Name: "Fail", Errors: ErrorCodes{{"OOPS", errOops}}, FatalErrors: ErrorCodes{{"FATALITY", errFatality}}}
	failMoreCmd = Command[failValues, noValues]{Name: "FailMore", Errors: append(failCmd.Errors, ErrorCodes{{"VALUE", errValue}}...), FatalErrors: failCmd.FatalErrors}
	failBothCmd = Command[noValues, noValues]{Name: "FailBoth", Errors: ErrorCodes{{"OOPS", errOops}}, FatalErrors: ErrorCodes{{"FATAL_OOPS", errOops}}}
	unknownCmd  = Command[noValues, noValues]{Name: "OwnUnknown", Errors: ErrorCodes{{"UNKNOWN", errOops}}}
	badCmd      = Command[noValues, one[*big.Int]]{Name: "BadReturn"}
	blobCmd     = Command[sizeValue, blobValue]{Name: "Blob"}
	noteCmd     = Command[textValue, noValues]{Name: "Note", Errors: ErrorCodes{{"OOPS", errOops}}, NoAnswer: true}
	notesCmd    = Command[noValues, textValues]{Name: "Notes"}
	holdCmd     = Command[nameValue, nameValue]{Name: "Hold"}
	releaseCmd  = Command[nameValue, noValues]{Name: "Release"}
	countCmd    = Command[countValue, countValue]{Name: "Count"}
	callBackCmd = Command[timesValue, totalValue]{Name: "CallMeBack"}
	quitCmd     = Command[noValues, goodbyeValue]{Name: "Quit", Quit: true}
	switchCmd   = SwitchCommand[nameValue]{Name: "Switch", Errors: ErrorCodes{{"OOPS", errOops}}}
	whoAmICmd   = Command[noValues, nameValue]{Name: "WhoAmI"}
	encryptCmd  = Command[noValues, noValues]{Name: "EncryptMe"}
	passFileCmd = Command[passFileArgs, passFileResult]{Name: "PassFile"}
	hangCmd     = Command[noValues, noValues]{Name: "Hang"}
)

// oops is an error with just the text that travels.
type oops struct {
	text string
	of   error
}

func (e *oops) Error() string { return e.text }
func (e *oops) Unwrap() error { return e.of }

// A twistedResponder answers all those commands. Functions that need not wait run in
// the order in which commands come in, as they do in Twisted; with spawn each
// has a goroutine.
type twistedResponder struct {
	Mux
	spawn bool

	mu    sync.Mutex // guards the fields below
	held  map[*Conn]map[string]*Request
	notes []string
	files []*os.File
	asked sync.WaitGroup // StartTLS that EncryptMe asks for
}

// register has r answer cmd.
func register[A, R any](r *twistedResponder, cmd Command[A, R], fn func(ctx context.Context, args A) (R, error)) {
	if r.spawn {
		cmd.Handle(&r.Mux, fn)
	} else {
		cmd.HandleInline(&r.Mux, fn)
	}
}

// echoOf has r answer a command with its arguments.
func echoOf[T any](r *twistedResponder, name string) {
	register(r, Command[T, T]{Name: name}, func(_ context.Context, v T) (T, error) { return v, nil })
}

func newTwistedResponder(t testing.TB, spawn bool) *twistedResponder {
	r := &twistedResponder{spawn: spawn, held: make(map[*Conn]map[string]*Request)}
	t.Cleanup(func() {
		r.asked.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, f := range r.files {
			f.Close()
		}
	})
	r.echoes()
	r.errors()
	r.talk()
	r.transports()
	return r
}

func (r *twistedResponder) echoes() {
	echoOf[one[*big.Int]](r, "EchoInteger")
	echoOf[one[[]byte]](r, "EchoString")
	echoOf[one[string]](r, "EchoUnicode")
	echoOf[one[float64]](r, "EchoFloat")
	echoOf[one[bool]](r, "EchoBoolean")
	echoOf[one[Decimal]](r, "EchoDecimal")
	echoOf[one[time.Time]](r, "EchoDateTime")
	echoOf[one[Path]](r, "EchoPath")
	echoOf[one[[]*big.Int]](r, "EchoIntegers")
	echoOf[one[[]string]](r, "EchoTexts")
	echoOf[one[[]float64]](r, "EchoFloats")
	echoOf[one[[]Decimal]](r, "EchoDecimals")
	echoOf[one[[]time.Time]](r, "EchoDateTimes")
	echoOf[one[[][]int]](r, "EchoMatrix")
	echoOf[one[[]innerBox]](r, "EchoRows")
	echoOf[one[[]tableBox]](r, "EchoTables")
	echoOf[optionalValues](r, optionalCmd.Name)
	echoOf[nameValues](r, namesCmd.Name)
	echoOf[noValues](r, emptyCmd.Name)
	register(r, blobCmd, func(_ context.Context, args sizeValue) (blobValue, error) {
		return blobValue{[]byte(strings.Repeat("x", args.Size))}, nil
	})
	r.Handle("Mirror", HandlerFunc(func(r *Request) { r.Answer(r.Args()) }))
}

func (r *twistedResponder) errors() {
	fail := func(_ context.Context, args failValues) (noValues, error) {
		var text string
		if args.Text != nil {
			text = *args.Text
		}
		switch args.Kind {
		case "declared":
			return noValues{}, &oops{text, errOops}
		case "subclass":
			return noValues{}, &oops{text, &oops{"inside", errOops}}
		case "fatal":
			return noValues{}, &oops{text, errFatality}
		case "value":
			return noValues{}, &oops{text, errValue}
		case "remote":
			return noValues{}, &Error{Code: "CUSTOM", Description: text}
		case "remote-fatal":
			return noValues{}, &Error{Code: "CUSTOM", Description: text, Fatal: true}
		case "unhandled":
			return noValues{}, ErrUnhandled
		case "remote-unknown":
			return noValues{}, &Error{Code: "UNKNOWN", Description: text}
		}
		return noValues{}, errors.New("secret " + args.Kind)
	}
	register(r, failCmd, fail)
	register(r, failMoreCmd, fail)
	register(r, failBothCmd, func(context.Context, noValues) (noValues, error) { return noValues{}, &oops{"both", errOops} })
	register(r, unknownCmd, func(context.Context, noValues) (noValues, error) { return noValues{}, &oops{"mine", errOops} })
	register(r, badCmd, func(context.Context, noValues) (one[*big.Int], error) { return one[*big.Int]{}, nil })
	register(r, noteCmd, func(_ context.Context, args textValue) (noValues, error) {
		switch args.Text {
		case "declared":
			return noValues{}, &oops{args.Text, errOops}
		case "undeclared":
			return noValues{}, errors.New(args.Text)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notes = append(r.notes, args.Text)
		return noValues{}, nil
	})
	register(r, notesCmd, func(context.Context, noValues) (textValues, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		notes := r.notes
		r.notes = nil
		return textValues{notes}, nil
	})
	register(r, sum, func(_ context.Context, args sumArgs) (sumResult, error) { return sumResult{args.A + args.B}, nil })
	register(r, divide, func(_ context.Context, args divideArgs) (divideResult, error) {
		if args.Denominator == 0 {
			return divideResult{}, &oops{"division by zero", errZero}
		}
		return divideResult{float64(args.Numerator) / float64(args.Denominator)}, nil
	})
}

func (r *twistedResponder) talk() {
	r.Handle(holdCmd.Name, HandlerFunc(func(req *Request) {
		var args nameValue
		if err := req.Unmarshal(&args); err != nil {
			req.Fail(err)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.held[req.Conn()] == nil {
			r.held[req.Conn()] = make(map[string]*Request)
		}
		r.held[req.Conn()][args.Name] = req
	}))
	register(r, releaseCmd, func(ctx context.Context, args nameValue) (noValues, error) {
		if !r.release(ConnFrom(ctx), args.Name) {
			return noValues{}, fmt.Errorf("nothing is held as %q", args.Name)
		}
		return noValues{}, nil
	})
	register(r, countCmd, func(_ context.Context, args countValue) (countValue, error) { return countValue{args.N + 1}, nil })
	callBackCmd.Handle(&r.Mux, func(ctx context.Context, args timesValue) (totalValue, error) {
		var sum totalValue
		for i := range args.Times {
			got, err := countCmd.Call(ctx, ConnFrom(ctx), countValue{i})
			if err != nil {
				return sum, err
			}
			sum.Total += got.N
		}
		return sum, nil
	})
	register(r, quitCmd, func(context.Context, noValues) (goodbyeValue, error) { return goodbyeValue{"everyone"}, nil })
	switchCmd.Handle(&r.Mux, func(ctx context.Context, args nameValue) (func(net.Conn), error) {
		switch args.Name {
		case "refuse":
			return nil, &oops{"not today", errOops}
		case "undeclared":
			return nil, errors.New("secret")
		}
		c := ConnFrom(ctx)
		return func(nc net.Conn) { r.shout(c, nc) }, nil
	})
}

// release answers a Hold.
func (r *twistedResponder) release(c *Conn, name string) bool {
	r.mu.Lock()
	req := r.held[c][name]
	delete(r.held[c], name)
	r.mu.Unlock()
	if req != nil {
		req.Answer(Box{"name": []byte(name)})
	}
	return req != nil
}

// shout is what a connection speaks after Switch.
func (r *twistedResponder) shout(c *Conn, nc net.Conn) {
	defer nc.Close()
	io.WriteString(nc, "welcome;")
	buf := make([]byte, 1000)
	for {
		n, err := nc.Read(buf)
		if strings.Contains(string(buf[:n]), "release") {
			r.mu.Lock()
			held := r.held[c]
			r.mu.Unlock()
			for name := range held {
				r.release(c, name)
			}
		}
		if _, werr := io.WriteString(nc, strings.ToUpper(string(buf[:n]))); err != nil || werr != nil {
			return
		}
	}
}

func (r *twistedResponder) transports() {
	register(r, whoAmICmd, func(ctx context.Context, _ noValues) (nameValue, error) {
		if state := ConnFrom(ctx).TLS(); state != nil && len(state.VerifiedChains) > 0 {
			return nameValue{state.PeerCertificates[0].Subject.CommonName}, nil
		}
		return nameValue{}, nil
	})
	r.Handle(encryptCmd.Name, HandlerFunc(func(req *Request) {
		req.Answer(nil)
		r.asked.Go(func() {
			if err := req.Conn().StartTLS(req.Context(), nil); err != nil {
				req.log().Error("EncryptMe", "error", err)
			}
		})
	}))
	register(r, passFileCmd, func(_ context.Context, args passFileArgs) (passFileResult, error) {
		_, err := io.WriteString(args.File, args.Text)
		args.File.Close()
		if err != nil {
			return passFileResult{}, err
		}
		out, in, err := os.Pipe()
		if err != nil {
			return passFileResult{}, err
		}
		_, err = io.WriteString(in, strings.ToUpper(args.Text))
		in.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.files = append(r.files, out)
		return passFileResult{out}, err
	})
	r.Handle(hangCmd.Name, HandlerFunc(func(req *Request) {
		req.Conn().Close()
		req.Answer(nil)
	}))
}
