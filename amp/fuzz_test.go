package amp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A simplePair is a key and a value as the simplest reader sees them.
type simplePair struct{ key, value string }

// simpleRead reads boxes from the whole of a stream, straight from the words of
// items F1 to F9. It returns the boxes, and whether the stream is refused.
func simpleRead(data []byte) (boxes [][]simplePair, refused bool) {
	var box []simplePair
	word := func() (n int, ok bool) {
		if len(data) < 2 {
			return 0, false
		}
		n = int(data[0])<<8 + int(data[1])
		data = data[2:]
		return n, true
	}
	text := func(n int) (s string, ok bool) {
		if len(data) < n {
			return "", false
		}
		s = string(data[:n])
		data = data[n:]
		return s, true
	}
	for {
		n, ok := word()
		switch {
		case !ok:
			return boxes, false
		case n == 0:
			boxes = append(boxes, box)
			box = nil
			continue
		case n > MaxKey:
			return boxes, true
		}
		key, ok := text(n)
		if !ok {
			return boxes, false
		}
		if n, ok = word(); !ok {
			return boxes, false
		}
		value, ok := text(n)
		if !ok {
			return boxes, false
		}
		box = append(box, simplePair{key, value})
	}
}

// scanPieces has a scanner read a stream that arrives in pieces of the given
// sizes.
func scanPieces(t *testing.T, data, sizes []byte, opts *Options) (boxes [][]simplePair, refused bool) {
	var s scanner
	start, have := 0, 0
	for {
		var h, atOnce header
		pairs, n, err := s.next(data[start:have], opts, &h)
		switch {
		case err == errShort:
			if have == len(data) {
				return boxes, false
			}
			piece := 1
			if len(sizes) > 0 {
				piece += int(sizes[0])
				sizes = append(sizes[1:], sizes[0])
			}
			have = min(have+piece, len(data))
			continue
		case err != nil:
			if !errors.Is(err, ErrTooLong) {
				t.Fatalf("refused with %v", err)
			}
			return boxes, true
		}
		if _, _, err := new(scanner).next(data[start:], opts, &atOnce); err != nil || !reflect.DeepEqual(h, atOnce) {
			t.Fatalf("header %v of a box in pieces, %v at once, %v", h, atOnce, err)
		}
		start += n
		var box []simplePair
		for rest := pairs; ; {
			key, value, after, ok := nextPair(rest)
			if !ok {
				break
			}
			box = append(box, simplePair{string(key), string(value)})
			rest = after
		}
		if !checkPairs(pairs) {
			t.Fatalf("the pairs %q are not well formed", pairs)
		}
		boxes = append(boxes, box)
	}
}

// FuzzReadBox: however the bytes are split, the scanner and ReadBox read what
// the simplest reader does; and what was read is written as it came, if its
// keys are in order.
func FuzzReadBox(f *testing.F) {
	for _, seed := range [][]byte{
		{}, {0}, {0, 0}, {1, 0}, {0, 1, 'k'}, {0, 1, 'k', 0, 0, 0, 0},
		wire(ask("23", "Sum", "a", "13", "b", "81")),
		wire([]string{"_answer", "23", "total", "94"}, []string{}, []string{"k", "\x00\x00", "k", ""}),
		wire([]string{"b", "1", "a", "2"}, []string{string(make([]byte, 255)), string(make([]byte, 300))}),
		append(wire(ask("1", "X")), 0, 200, 'x'), append(wire(ask("1", "X")), "GET / HTTP/1.1"...),
	} {
		f.Add(seed, []byte{0})
		f.Add(seed, []byte{2, 0, 7})
	}
	unlimited := (&Options{MaxBox: -1, MaxPairs: -1}).withDefaults()
	f.Fuzz(func(t *testing.T, data, sizes []byte) {
		want, refused := simpleRead(data)
		same := func(a, b []simplePair) bool { return slices.Equal(a, b) }
		for _, sizes := range [][]byte{sizes, {255}, nil} {
			got, gotRefused := scanPieces(t, data, slices.Clone(sizes), unlimited)
			if !slices.EqualFunc(got, want, same) || gotRefused != refused {
				t.Fatalf("in pieces of %v: got %q, refused %v, want %q, %v", sizes, got, gotRefused, want, refused)
			}
		}
		r := bytes.NewReader(data)
		for i, pairs := range want {
			start := len(data) - r.Len()
			box, err := ReadBox(r)
			if err != nil {
				t.Fatalf("ReadBox of box %d: %v", i, err)
			}
			at := len(data) - r.Len()
			sorted := true
			wantBox := make(map[string]string)
			for j, p := range pairs {
				wantBox[p.key] = p.value
				sorted = sorted && (j == 0 || pairs[j-1].key < p.key)
			}
			if len(box) != len(wantBox) {
				t.Fatalf("box %d has %d keys, want %d", i, len(box), len(wantBox))
			}
			for key, value := range box {
				if wantBox[key] != string(value) {
					t.Fatalf("box %d: %q is %q, want %q", i, key, value, wantBox[key])
				}
			}
			out, err := box.Append(nil)
			if err != nil || sorted && !bytes.Equal(out, data[start:at]) {
				t.Fatalf("box %d is written as %q, %v, it came as %q", i, out, err, data[start:at])
			}
			again, err := ReadBox(bytes.NewReader(out))
			if err != nil || encode(again) != string(out) {
				t.Fatalf("box %d, written and read: %q, %v", i, again, err)
			}
		}
		switch _, err := ReadBox(r); {
		case refused != errors.Is(err, ErrTooLong):
			t.Fatalf("at the end: %v, refused %v", err, refused)
		case !refused && err != io.EOF && err != io.ErrUnexpectedEOF:
			t.Fatalf("at the end: %v", err)
		}
	})
}

// FuzzConn: whatever a peer sends, a connection does not panic, ends when the
// peer does, and leaves no goroutine.
func FuzzConn(f *testing.F) {
	all := wire(
		ask("1", "Sum", "a", "1", "b", "2"), ask("2", "Divide", "numerator", "1", "denominator", "0"),
		ask("", "Echo", "k", "v"), []string{"_command", "Echo"}, ask("3", "Call"), ask("4", "Nope"), ask("5", "Later"),
		[]string{"_answer", "1", "k", "v"}, []string{"_answer", "2"}, []string{"_error", "2", "_error_code", "E", "_error_description", "d"},
		ask("6", "Panic"), ask("7", "Fail"),
	)
	f.Add(all, byte(0), byte(10))
	f.Add(all, byte(1), byte(200))
	f.Add(all, byte(2), byte(1))
	f.Add(all, byte(12), byte(100))
	f.Add(append(wire(ask("1", "Lines", "name", "")), "hello\n\x00\x00"...), byte(0), byte(255))
	f.Add(append(wire(ask("1", "StartTLS")), 22, 3, 1, 0, 1, 0), byte(0), byte(30))
	f.Add(append(wire(ask("1", "StartTLS")), 22, 3, 3, 0, 1, 0), byte(16), byte(255))
	f.Add(append(wire(ask("1", "Fatal")), all...), byte(32), byte(255))
	f.Add(append(wire(ask("1", "Quit")), all...), byte(0), byte(255))
	f.Add(append(wire(ask("1", "Pause"), ask("2", "Later")), all...), byte(4), byte(255))

	f.Fuzz(func(t *testing.T, data []byte, flags, piece byte) {
		// In a bubble no time-out takes time, and no goroutine may be left.
		synctest.Test(t, func(t *testing.T) { feed(t, data, flags, piece) })
	})
}

// feed writes data to a connection in pieces, and then hangs up.
func feed(t *testing.T, data []byte, flags, piece byte) {
	opts := &Options{
		Strict: flags&1 != 0, RefuseTLS: flags&8 != 0, Initiator: flags&16 != 0, Logger: quiet,
		MaxBox: 5000, MaxPairs: 50,
	}
	if flags&4 != 0 {
		opts.MaxRunning, opts.MaxUnwritten = 2, 100
	}
	a, b := net.Pipe()
	var c *Conn
	if flags&2 != 0 {
		c = NewBoxConn(a, &reflector{times: 1, stopped: make(chan error, 1)}, opts)
	} else {
		c = NewConn(a, fuzzMux(), opts)
		c.Go("X", nil, func(Box, error) {})
		c.Go("Y", Box{"k": []byte("v")}, func(Box, error) {})
	}
	go io.Copy(io.Discard, b) // ends when b is closed
	for len(data) > 0 {
		n := min(1+int(piece), len(data))
		if _, err := b.Write(data[:n]); err != nil {
			break // it has ended
		}
		data = data[n:]
	}
	if flags&32 != 0 {
		go c.Shutdown(t.Context())
	}
	start := time.Now()
	b.Close()
	<-c.Done()
	if took := time.Since(start); took > halfCloseTime {
		t.Fatalf("the connection ends %v after its peer", took)
	}
	if c.Err() == nil {
		t.Fatal("ended without a reason")
	}
	c.handlers.wait()
}

// fuzzMux answers in every way there is.
func fuzzMux() *Mux {
	m := lineMux()
	answer := func(name string, fn func(r *Request)) { m.Handle(name, HandlerFunc(fn)) }
	answer("Echo", func(r *Request) { r.Answer(r.Args()) })
	answer("Later", func(r *Request) { r.spawn(jobFunc(func() { runtime.Gosched(); r.Answer(r.Args()) })) })
	answer("Pause", func(r *Request) { r.Pause(); r.spawn(jobFunc(func() { r.Answer(nil) })) })
	answer("Quit", func(r *Request) { r.Quit(nil) })
	answer("Fail", func(r *Request) { r.Fail(io.ErrNoProgress) })
	answer("Fatal", func(r *Request) { r.Fail(&Error{Code: "FATAL", Fatal: true}) })
	m.HandleFunc("Call", func(ctx context.Context, args Box) (Box, error) { return ConnFrom(ctx).Call(ctx, "Back", args) })
	m.HandleFunc("Panic", func(context.Context, Box) (Box, error) { panic("fuzz") })
	return m
}
