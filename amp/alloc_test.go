package amp

import (
	"context"
	"io"
	"strings"
	"testing"
)

// sink is a stream that takes everything and gives nothing.
type sink struct{}

func (sink) Read([]byte) (int, error)    { return 0, io.EOF }
func (sink) Write(p []byte) (int, error) { return len(p), nil }
func (sink) Close() error                { return nil }

// The reading side of a typed command allocates nothing but the argument
// values: the struct they are in, and each text. What is measured is the way
// of a box in the input buffer to the handler function.
func TestReadingAllocatesOnlyTheArguments(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	type numbers struct {
		A int     `amp:"a"`
		B uint16  `amp:"b"`
		C float64 `amp:"c"`
		D bool    `amp:"d"`
		E int     `amp:"e,optional"`
	}
	type texts struct {
		A string `amp:"a"`
		B []byte `amp:"b"`
	}
	m := new(Mux)
	ran := 0
	Command[numbers, struct{}]{Name: "Numbers"}.HandleInline(m, func(_ context.Context, args numbers) (struct{}, error) {
		ran += args.A
		return struct{}{}, nil
	})
	Command[texts, struct{}]{Name: "Texts"}.HandleInline(m, func(_ context.Context, args texts) (struct{}, error) {
		ran += len(args.A)
		return struct{}{}, nil
	})
	for _, test := range []struct {
		box  []string
		most float64
	}{
		{[]string{"_command", "Numbers", "a", "1", "b", "65535", "c", "1.5", "d", "True"}, 1},
		{[]string{"_command", "Texts", "a", "x", "b", strings.Repeat("y", 100)}, 3},
		{[]string{"_command", "Texts", "a", "x", "b", strings.Repeat("y", 1000)}, 3},
	} {
		c := newConn(sink{}, m, nil, nil)
		box := wire(test.box)
		copy(c.in.buf, box)
		if len(box) > len(c.in.buf) {
			c.in.borrow()
			copy(c.in.buf, box)
		}
		ran = 0
		allocs := testing.AllocsPerRun(1000, func() {
			c.in.r, c.in.w = 0, len(box)
			if err := c.dispatchAll(); err != nil {
				t.Fatal(err)
			}
		})
		if ran != 1001 {
			t.Errorf("%s ran %d times", test.box[1], ran)
		}
		if allocs > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.box[1], allocs, test.most)
		}
		c.end(ErrClosed)
	}
}

// A scanned box, and one that is appended, allocate nothing.
func TestBoxesDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	box := wire(ask("1", "Sum", "a", "13", "b", "81"))
	opts := new(Options).withDefaults()
	var s scanner
	if n := testing.AllocsPerRun(100, func() {
		pairs, _, err := s.next(box, opts)
		if h := headerOf(pairs); err != nil || h.kind != command {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("reading a box: %v allocations", n)
	}
	b := Box{"a": []byte("13"), "b": []byte("81")}
	var buf []byte
	if n := testing.AllocsPerRun(100, func() { buf, _ = b.Append(buf[:0]) }); n != 0 {
		t.Errorf("appending a box: %v allocations", n)
	}
}
