package amp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTwistedServer has a client of this package use a Twisted server.
func TestTwistedServer(t *testing.T) {
	p := startTwisted(t)
	addr := p.listen(t, "responder", nil)
	connect := func(t *testing.T) *Conn { return dial(t, addr, newTwistedResponder(t, true), nil) }

	t.Run("values", func(t *testing.T) { echoAll(t, connect(t)) })
	t.Run("optional", func(t *testing.T) { optionalOverTwisted(t, connect(t)) })
	t.Run("errors", func(t *testing.T) { errorsFromTwisted(t, connect) })
	t.Run("undeclared errors close", func(t *testing.T) {
		for _, cmd := range []struct {
			name string
			args Box
		}{
			{"Fail", Box{"kind": []byte("surprise")}},
			{"Sum", Box{"a": []byte("one"), "b": []byte("2")}},
			{"Sum", Box{"a": []byte("1")}},
			{"BadReturn", nil},
		} {
			c := connect(t)
			_, err := c.Call(t.Context(), cmd.name, cmd.args)
			if !errors.Is(err, ErrUnknown) || err.(*Error).Description != unknownText {
				t.Errorf("%s(%s) fails with %v, want UNKNOWN", cmd.name, cmd.args, err)
			}
			endsWith(t, c, io.EOF)
		}
		c := connect(t)
		if _, err := blobCmd.Call(t.Context(), c, sizeValue{65536}); !errors.Is(err, io.EOF) {
			t.Errorf("a call whose answer is too long for Twisted fails with %v, want io.EOF", err)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		c := connect(t)
		notesCmd.Call(t.Context(), c, noValues{})
		if _, err := noteCmd.Call(t.Context(), c, textValue{"one"}); err != nil {
			t.Error(err)
		}
		if err := c.Send(t.Context(), "Note", Box{"text": []byte("two")}); err != nil {
			t.Error(err)
		}
		asked := noteCmd
		asked.NoAnswer = false
		if _, err := asked.Call(t.Context(), c, textValue{"three"}); err != nil {
			t.Error(err)
		}
		if got, err := notesCmd.Call(t.Context(), c, noValues{}); err != nil || !slices.Equal(got.Texts, []string{"one", "two", "three"}) {
			t.Errorf("Twisted noted %q, %v", got, err)
		}
		noteCmd.Call(t.Context(), c, textValue{"declared"})
		endsWith(t, c, io.EOF)
		if err := c.Send(t.Context(), "Note", nil); err != io.EOF {
			t.Errorf("Send after the end = %v, want io.EOF", err)
		}
	})
	t.Run("pipelining", func(t *testing.T) {
		c := connect(t)
		atOnce(t, 5000, func(i int) error {
			got, err := sum.Call(t.Context(), c, sumArgs{i, 1})
			if err == nil && got.Total != i+1 {
				err = fmt.Errorf("Sum(%d, 1) = %d", i, got.Total)
			}
			return err
		})
	})
	t.Run("out of order", func(t *testing.T) {
		c := connect(t)
		const calls = 100
		order := make(chan string, calls)
		for i := range calls {
			c.Go("Hold", Box{"name": fmt.Append(nil, i)}, func(b Box, err error) { order <- string(b["name"]) })
		}
		for i := calls - 1; i >= 0; i-- {
			if _, err := releaseCmd.Call(t.Context(), c, nameValue{fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
			if got := <-order; got != fmt.Sprint(i) {
				t.Fatalf("released %d, the answer is that to %s", i, got)
			}
		}
	})
	t.Run("both call", func(t *testing.T) {
		c := connect(t)
		atOnce(t, 300, func(int) error {
			got, err := callBackCmd.Call(t.Context(), c, timesValue{4})
			if err == nil && got.Total != 10 {
				err = fmt.Errorf("CallMeBack(4) = %d, want 10", got.Total)
			}
			return err
		})
	})
	t.Run("quit box", func(t *testing.T) {
		c := connect(t)
		held := make(chan error, 1)
		c.Go("Hold", Box{"name": []byte("for ever")}, func(_ Box, err error) { held <- err })
		if got, err := quitCmd.Call(t.Context(), c, noValues{}); err != nil || got.Goodbye != "everyone" {
			t.Errorf("Quit = %v, %v", got, err)
		}
		endsWith(t, c, io.EOF)
		if err := <-held; err != io.EOF {
			t.Errorf("a call that waits fails with %v, want io.EOF", err)
		}
		if _, err := sum.Call(t.Context(), c, sumArgs{}); err != io.EOF {
			t.Errorf("a call after the end fails with %v, want io.EOF", err)
		}
	})
	t.Run("lost in call", func(t *testing.T) {
		c := connect(t)
		if _, err := hangCmd.Call(t.Context(), c, noValues{}); err == nil {
			t.Error("a call succeeds whose answer never came")
		}
		end(t, c)
	})
	t.Run("large", func(t *testing.T) { largeOverTwisted(t, connect(t)) })
	t.Run("late answer", func(t *testing.T) {
		c := connect(t)
		given := make(chan error, 1)
		cancel := c.Go("Hold", Box{"name": []byte("given up")}, func(_ Box, err error) { given <- err })
		cancel()
		if err := <-given; err != context.Canceled {
			t.Fatalf("a cancelled call fails with %v", err)
		}
		if _, err := releaseCmd.Call(t.Context(), c, nameValue{"given up"}); err != nil {
			t.Error(err)
		}
		works(t, c)
	})
	t.Run("reflector", func(t *testing.T) {
		got := &boxKeeper{boxes: make(chan Box, 10)}
		nc, err := net.Dial("tcp", p.listen(t, "reflector", nil))
		if err != nil {
			t.Fatal(err)
		}
		c := NewBoxConn(nc, got, nil)
		t.Cleanup(func() { c.Close(); <-c.Done() })
		many := make(Box)
		for i := range 2000 {
			many[fmt.Sprintf("k%04d", i)] = bytes.Repeat([]byte("v"), i)
		}
		for _, box := range []Box{{"hello": []byte("world")}, {}, {"_answer": []byte("nobody"), "\x00\xff": {}}, many} {
			if err := c.SendBox(box); err != nil {
				t.Fatal(err)
			}
			if back := <-got.boxes; !equalBoxes(back, box) {
				t.Errorf("sent %.100q, got %.100q", box, back)
			}
		}
	})
	t.Run("switch", func(t *testing.T) {
		c := connect(t)
		late := make(chan error, 1)
		c.Go("Hold", Box{"name": []byte("late")}, func(_ Box, err error) { late <- err })
		nc, err := switchCmd.Call(t.Context(), c, nameValue{"shout"})
		if err != nil {
			t.Fatal(err)
		}
		shoutAt(t, nc, "\x00\x00hello;release;")
		if err := <-late; err != ErrSwitched {
			t.Errorf("a call from before the switch fails with %v, want ErrSwitched", err)
		}
	})
	t.Run("switch refused", func(t *testing.T) {
		c := connect(t)
		_, err := switchCmd.Call(t.Context(), c, nameValue{"refuse"})
		if !errors.Is(err, errOops) || err.(*Error).Description != "not today" {
			t.Errorf("Switch fails with %v, want not today", err)
		}
		works(t, c)
		if _, err := switchCmd.Call(t.Context(), c, nameValue{"undeclared"}); !errors.Is(err, ErrUnknown) {
			t.Errorf("Switch fails with %v, want UNKNOWN", err)
		}
	})
	t.Run("descriptors", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		p.listen(t, "responder", argsOf{"unix": path})
		c, err := Dial(t.Context(), "unix", path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); <-c.Done() })
		atOnce(t, 20, func(i int) error { return passFile(t, c, fmt.Sprintf("text %d", i)) })
		if _, err := quitCmd.Call(t.Context(), c, noValues{}); err != nil {
			t.Error(err)
		}
		endsWith(t, c, io.EOF)
		tcp := connect(t)
		if _, err := passFileCmd.Call(t.Context(), tcp, passFileArgs{os.Stderr, "x"}); !errors.Is(err, ErrNoDescriptors) {
			t.Errorf("PassFile over TCP fails with %v, want %v", err, ErrNoDescriptors)
		}
		works(t, tcp)
	})
	t.Run("tls", func(t *testing.T) {
		c := connect(t)
		overTLS(t, c, &tls.Config{InsecureSkipVerify: true})
		if state := c.TLS(); state.PeerCertificates[0].Subject.CommonName != "TEMPORARY CERTIFICATE" {
			t.Errorf("Twisted shows the certificate of %v", state.PeerCertificates[0].Subject)
		}
		if got, err := whoAmICmd.Call(t.Context(), c, noValues{}); err != nil || got.Name != "" {
			t.Errorf("Twisted takes us for %q, %v", got.Name, err)
		}
		if err := c.StartTLS(t.Context(), &tls.Config{InsecureSkipVerify: true}); err != ErrOnlyOneTLS {
			t.Errorf("a second StartTLS fails with %v, want ErrOnlyOneTLS", err)
		}
		works(t, c)
		nc, err := switchCmd.Call(t.Context(), c, nameValue{"shout"})
		if err != nil {
			t.Fatal(err)
		}
		shoutAt(t, nc, "secret;")
	})
	t.Run("tls verified", func(t *testing.T) {
		pki, other := newAuthority(t), newAuthority(t)
		pki.issue(t, "localhost")
		ada, eve := pki.issue(t, "ada"), other.issue(t, "eve")
		addr := p.listen(t, "responder", argsOf{"certificate": pki.file("localhost"), "authority": pki.file("authority")})

		c := dial(t, addr, newTwistedResponder(t, true), nil)
		overTLS(t, c, &tls.Config{RootCAs: pki.pool, ServerName: "localhost", Certificates: []tls.Certificate{ada}})
		if len(c.TLS().VerifiedChains) == 0 {
			t.Error("Twisted's certificate is not verified")
		}
		if got, err := whoAmICmd.Call(t.Context(), c, noValues{}); err != nil || got.Name != "ada" {
			t.Errorf("Twisted takes us for %q, %v, want ada", got.Name, err)
		}
		for name, config := range map[string]*tls.Config{
			"other authority": {RootCAs: other.pool, ServerName: "localhost", Certificates: []tls.Certificate{ada}},
			"other name":      {RootCAs: pki.pool, ServerName: "elsewhere", Certificates: []tls.Certificate{ada}},
			"no name":         {RootCAs: pki.pool},
		} {
			c := dial(t, addr, nil, nil)
			if err := c.StartTLS(t.Context(), config); err == nil || !strings.Contains(err.Error(), "TLS") {
				t.Errorf("%s: StartTLS = %v, want what is wrong with TLS", name, err)
			}
			end(t, c)
		}
		// The server learns of a bad client certificate, the client only when
		// it uses the connection: that is TLS 1.3.
		for name, certs := range map[string][]tls.Certificate{"none": nil, "other authority": {eve}} {
			c := dial(t, addr, nil, nil)
			err := c.StartTLS(t.Context(), &tls.Config{RootCAs: pki.pool, ServerName: "localhost", Certificates: certs})
			if err == nil {
				_, err = sum.Call(t.Context(), c, sumArgs{1, 2})
			}
			if err == nil {
				t.Errorf("Twisted takes a client certificate: %s", name)
			}
			end(t, c)
		}
	})
	t.Run("tls refused", func(t *testing.T) {
		for kind, want := range map[string]error{"no-tls": errTLS, "locator": ErrUnhandled} {
			c := dial(t, p.listen(t, kind, nil), nil, nil)
			if err := c.StartTLS(t.Context(), &tls.Config{InsecureSkipVerify: true}); !errors.Is(err, want) {
				t.Errorf("%s: StartTLS = %v, want %v", kind, err, want)
			}
			end(t, c)
		}
	})
	t.Run("tls asked by server", func(t *testing.T) {
		// The TLS server is the TCP server, who asks, and so needs a certificate.
		pki := newAuthority(t)
		pki.issue(t, "localhost")
		addr := p.listen(t, "responder", argsOf{"certificate": pki.file("localhost")})
		// TLS begins right behind our answer. Twisted takes it for AMP if it
		// arrives together with that, which is for the scheduler to decide.
		encrypted := func() error {
			c := dial(t, addr, nil, &Options{Logger: quiet})
			defer c.Close()
			_, err := encryptCmd.Call(t.Context(), c, noValues{})
			for err == nil && c.TLS() == nil {
				_, err = sum.Call(t.Context(), c, sumArgs{1, 1})
			}
			if err == nil {
				works(t, c)
			}
			return err
		}
		for attempt := 0; ; attempt++ {
			err := encrypted()
			if err == nil {
				break
			}
			if attempt == 100 {
				t.Fatal(err)
			}
		}
	})
}

// boxKeeper is a BoxReceiver that hands on what it gets.
type boxKeeper struct{ boxes chan Box }

func (k *boxKeeper) StartReceivingBoxes(*Conn) {}
func (k *boxKeeper) BoxReceived(b Box)         { k.boxes <- b }
func (k *boxKeeper) StopReceivingBoxes(error)  {}

func equalBoxes(a, b Box) bool {
	x, err := a.Append(nil)
	y, err2 := b.Append(nil)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// works checks that c still does.
func works(t *testing.T, c *Conn) {
	t.Helper()
	if got, err := sum.Call(t.Context(), c, sumArgs{13, 81}); err != nil || got.Total != 94 {
		t.Errorf("Sum(13, 81) = %v, %v, want 94", got, err)
	}
}

// endsWith waits for the end of c, which Twisted brings about.
func endsWith(t *testing.T, c *Conn, want error) {
	t.Helper()
	if err := end(t, c); err != want {
		t.Errorf("the connection ended with %v, want %v", err, want)
	}
}

// end waits for the end of c, and returns why it ended.
func end(t *testing.T, c *Conn) error {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(20 * time.Second):
		t.Error("the connection does not end")
	}
	return c.Err()
}

// echoed sends values there and back. They are compared as they are encoded.
func echoed[T any](t *testing.T, c *Conn, name string, values ...T) {
	t.Helper()
	cmd := Command[one[T], one[T]]{Name: name}
	for _, v := range values {
		got, err := cmd.Call(t.Context(), c, one[T]{v})
		if err != nil {
			t.Errorf("%s(%.100v): %v", name, v, err)
			continue
		}
		sent, _ := Marshal(one[T]{v})
		back, _ := Marshal(got)
		if !equalBoxes(sent, back) {
			t.Errorf("%s(%.100q) = %.100q", name, sent["v"], back["v"])
		}
	}
}

func echoAll(t *testing.T, c *Conn) {
	huge := new(big.Int).Exp(big.NewInt(10), big.NewInt(4299), nil)
	echoed(t, c, "EchoInteger", big.NewInt(0), big.NewInt(-1), big.NewInt(1<<53+1), huge, new(big.Int).Neg(huge))
	echoed(t, c, "EchoInteger", int64(0), math.MaxInt64, math.MinInt64)
	echoed(t, c, "EchoInteger", uint64(math.MaxUint64))
	echoed(t, c, "EchoString", []byte{}, []byte("\x00\xff\r\n"), bytes.Repeat([]byte("x"), MaxValue))
	echoed(t, c, "EchoUnicode", "", "h\u00e9llo", "e\u0301\ufeff\x00", "\u2603\U0010ffff")
	echoed(t, c, "EchoFloat", 0, math.Copysign(0, -1), 1, 0.1, 1e16, 1e-5, 5e-324, math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN())
	echoed(t, c, "EchoBoolean", true, false)
	for _, text := range strings.Fields("0 -0 1.10 1E+2 0E-7 -1.5E-9 Infinity NaN123 -sNaN") {
		echoed(t, c, "EchoDecimal", mustDecimal(t, text))
	}
	echoed(t, c, "EchoDateTime", time.Date(2012, 1, 23, 12, 34, 56, 54321000, fixedZone(-83*60)),
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999000, fixedZone(14*3600)))
	echoed(t, c, "EchoPath", Path("/"), Path("/tmp/h\u00e9llo"))
	echoed(t, c, "EchoIntegers", []int64{}, []int64{1, -2, math.MaxInt64})
	echoed(t, c, "EchoTexts", []string{}, []string{""}, []string{"\u2603", "", "x"})
	echoed(t, c, "EchoFloats", []float64{1, math.Inf(1), math.Copysign(0, -1)})
	echoed(t, c, "EchoDecimals", []Decimal{mustDecimal(t, "1E+2"), mustDecimal(t, "-0")})
	echoed(t, c, "EchoDateTimes", []time.Time{time.Date(2012, 1, 23, 0, 0, 0, 0, time.UTC)})
	echoed(t, c, "EchoMatrix", [][]int{}, [][]int{{}}, [][]int{{1, 2}, {}, {3}})
	hello, empty := "hello", ""
	echoed(t, c, "EchoRows", []innerBox{}, []innerBox{{big.NewInt(7), &hello}, {big.NewInt(9), nil}, {big.NewInt(1), &empty}})
	echoed(t, c, "EchoTables", []tableBox{{[]innerBox{{big.NewInt(1), nil}}, &[]bool{true, false}}, {[]innerBox{}, nil}})
}

func optionalOverTwisted(t *testing.T, c *Conn) {
	empty, half, yes, at := "", 0.5, true, time.Date(2012, 1, 23, 12, 34, 56, 0, time.UTC)
	ten := mustDecimal(t, "1E+1")
	for _, sent := range []optionalValues{
		{},
		{String: []byte{}, Unicode: &empty, Integers: &[]big.Int{}, Rows: []*innerBox{}},
		{big.NewInt(7), []byte("x"), &empty, &half, &yes, &ten, &at, "/tmp", &[]big.Int{*big.NewInt(1)}, []*innerBox{{big.NewInt(1), &empty}}},
	} {
		got, err := optionalCmd.Call(t.Context(), c, sent)
		if err != nil {
			t.Errorf("Optional(%+v): %v", sent, err)
			continue
		}
		want, _ := Marshal(sent)
		back, _ := Marshal(got)
		if !reflect.DeepEqual(back, want) {
			t.Errorf("Optional(%q) = %q", want, back)
		}
	}
	names := nameValues{"a", "b", "c", "d", "e", "f"}
	if got, err := namesCmd.Call(t.Context(), c, names); err != nil || got != names {
		t.Errorf("Names(%v) = %v, %v", names, got, err)
	}
	if _, err := emptyCmd.Call(t.Context(), c, noValues{}); err != nil {
		t.Error(err)
	}
}

// errorsFromTwisted checks every kind of error but those that Twisted closes
// the connection for although nobody said so.
func errorsFromTwisted(t *testing.T, connect func(*testing.T) *Conn) {
	c := connect(t)
	for _, test := range []struct {
		cmd        Command[failValues, noValues]
		kind, text string
		want       error
		code       string
	}{
		{failCmd, "declared", "h\u00e9", errOops, "OOPS"},
		{failCmd, "subclass", "", errOops, "OOPS"},
		{failMoreCmd, "declared", "old", errOops, "OOPS"},
		{failMoreCmd, "value", "new", errValue, "VALUE"},
		{failCmd, "remote", "x", &Error{Code: "CUSTOM"}, "CUSTOM"},
		{failCmd, "remote-unknown", "known", ErrUnknown, "UNKNOWN"},
	} {
		_, err := test.cmd.Call(t.Context(), c, failValues{test.kind, &test.text})
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, test.want) || e.Code != test.code || e.Description != test.text {
			t.Errorf("%s(%s) fails with %v, want %v with code %s and text %q", test.cmd.Name, test.kind, err, test.want, test.code, test.text)
		}
	}
	if _, err := divide.Call(t.Context(), c, divideArgs{1, 0}); !errors.Is(err, errZero) {
		t.Errorf("Divide(1, 0) fails with %v, want errZero", err)
	}
	if _, err := unknownCmd.Call(t.Context(), c, noValues{}); !errors.Is(err, errOops) || !errors.Is(err, ErrUnknown) {
		t.Errorf("OwnUnknown fails with %v, want errOops", err)
	}
	_, err := c.Call(t.Context(), "Nope", nil)
	if !errors.Is(err, ErrUnhandled) || err.(*Error).Description != "Unhandled Command: b'Nope'" {
		t.Errorf("an unknown command fails with %v", err)
	}
	// What an answer lacks, or has that does not decode, fails the call alone.
	bad := Command[sumArgs, one[int]]{Name: "Sum"}
	if _, err := bad.Call(t.Context(), c, sumArgs{1, 2}); err == nil || !strings.Contains(err.Error(), `"v"`) {
		t.Errorf("a call whose answer lacks a key fails with %v, want what lacks", err)
	}
	badType := Command[sumArgs, struct {
		Total bool `amp:"total"`
	}]{Name: "Sum"}
	if _, err := badType.Call(t.Context(), c, sumArgs{1, 2}); err == nil || !strings.Contains(err.Error(), `"total"`) {
		t.Errorf("a call whose answer has another type fails with %v, want whose value it is", err)
	}
	works(t, c)

	text := "bye"
	for kind, want := range map[string]error{"fatal": errFatality, "remote-fatal": &Error{Code: "CUSTOM"}} {
		c := connect(t)
		held := make(chan error, 1)
		c.Go("Hold", Box{"name": []byte("before")}, func(_ Box, err error) { held <- err })
		_, err := failCmd.Call(t.Context(), c, failValues{kind, &text})
		if !errors.Is(err, want) || err.(*Error).Description != text {
			t.Errorf("Fail(%s) fails with %v, want %v", kind, err, want)
		}
		endsWith(t, c, io.EOF)
		if err := <-held; err != io.EOF {
			t.Errorf("a call that waits fails with %v, want io.EOF", err)
		}
	}
	c = connect(t)
	if _, err := failBothCmd.Call(t.Context(), c, noValues{}); !errors.Is(err, &Error{Code: "FATAL_OOPS"}) || !errors.Is(err, errOops) {
		t.Errorf("FailBoth fails with %v, want FATAL_OOPS", err)
	}
	endsWith(t, c, io.EOF)
}

func largeOverTwisted(t *testing.T, c *Conn) {
	many, full := make(Box), make(Box)
	for i := range 2000 {
		many[fmt.Sprintf("k%04d", i)] = bytes.Repeat([]byte("v"), i)
	}
	for i := range 20 {
		full[fmt.Sprintf("full%d", i)] = bytes.Repeat([]byte("\x00\xff\n"), 21845)
	}
	for _, box := range []Box{many, full, {strings.Repeat("x", MaxKey): {}}, {"Mixed": {1}, "_x": {2}, "\xff\x00": {3}}} {
		got, err := c.Call(t.Context(), "Mirror", box)
		if err != nil || !equalBoxes(got, box) {
			t.Errorf("Mirror(%.100q) = %.100q, %v", box, got, err)
		}
	}
	for _, test := range []struct {
		box  Box
		want error
	}{
		{Box{strings.Repeat("k", 256): {}}, ErrTooLong},
		{Box{"k": make([]byte, 65536)}, ErrTooLong},
		{Box{"": {}}, ErrEmptyKey},
		{Box{"_ask": {}}, ErrReservedKey},
	} {
		if _, err := c.Call(t.Context(), "Mirror", test.box); !errors.Is(err, test.want) {
			t.Errorf("Mirror(%.20q) fails with %v, want %v", test.box, err, test.want)
		}
	}
	if got, err := blobCmd.Call(t.Context(), c, sizeValue{MaxValue}); err != nil || len(got.Blob) != MaxValue {
		t.Errorf("Blob(%d) = %d bytes, %v", MaxValue, len(got.Blob), err)
	}
	works(t, c)
}

// shoutAt talks to what a connection has switched to.
func shoutAt(t *testing.T, nc net.Conn, text string) {
	t.Helper()
	defer nc.Close()
	io.WriteString(nc, text)
	want := "welcome;" + strings.ToUpper(text)
	got := make([]byte, len(want))
	nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := io.ReadFull(nc, got); err != nil || string(got) != want {
		t.Errorf("after the switch came %q, %v, want %q", got[:n], err, want)
	}
}

// passFile sends a pipe to write to, and gets one to read from.
func passFile(t *testing.T, c *Conn, text string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := passFileCmd.Call(t.Context(), c, passFileArgs{w, text})
	w.Close()
	if err != nil {
		return err
	}
	defer got.File.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != text {
		return fmt.Errorf("through our pipe came %q, %v, want %q", b, err, text)
	}
	if b, err := io.ReadAll(got.File); err != nil || string(b) != strings.ToUpper(text) {
		return fmt.Errorf("through Twisted's pipe came %q, %v, want %q", b, err, strings.ToUpper(text))
	}
	return nil
}

// atOnce runs n functions at the same time, and reports some of what went
// wrong.
func atOnce(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	failed := make(chan error, n)
	for i := range n {
		wg.Go(func() {
			if err := fn(i); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	if some := len(failed); some > 0 {
		t.Errorf("%d of %d failed, one of them: %v", some, n, <-failed)
	}
}

// overTLS starts TLS while a call waits across it and others queue behind it.
func overTLS(t *testing.T, c *Conn, config *tls.Config) {
	t.Helper()
	works(t, c)
	across := make(chan error, 1)
	c.Go("Hold", Box{"name": []byte("across")}, func(_ Box, err error) { across <- err })
	started := make(chan error, 1)
	go func() { started <- c.StartTLS(t.Context(), config) }()
	atOnce(t, 100, func(i int) error {
		got, err := sum.Call(t.Context(), c, sumArgs{i, 1})
		if err == nil && got.Total != i+1 {
			err = fmt.Errorf("Sum(%d, 1) = %d", i, got.Total)
		}
		return err
	})
	if err := <-started; err != nil {
		t.Fatalf("StartTLS: %v", err)
	}
	if _, err := releaseCmd.Call(t.Context(), c, nameValue{"across"}); err != nil {
		t.Error(err)
	}
	if err := <-across; err != nil {
		t.Errorf("a call that waited across StartTLS: %v", err)
	}
	if got, err := callBackCmd.Call(t.Context(), c, timesValue{3}); err != nil || got.Total != 6 {
		t.Errorf("CallMeBack(3) over TLS = %v, %v, want 6", got, err)
	}
}
