//go:build !race

package amp

import (
	"context"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sink is a stream that takes everything and gives nothing.
type sink struct{}

func (sink) Read([]byte) (int, error)    { return 0, io.EOF }
func (sink) Write(p []byte) (int, error) { return len(p), nil }
func (sink) Close() error                { return nil }

// The reading side of a typed command allocates nothing but the argument
// values: each text. What is measured is the way
// of a box in the input buffer to the handler function.
func TestReadingAllocatesOnlyTheArguments(t *testing.T) {
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
		{[]string{"_command", "Numbers", "a", "1", "b", "65535", "c", "1.5", "d", "True"}, 0},
		{[]string{"_command", "Texts", "a", "x", "b", strings.Repeat("y", 100)}, 2},
		{[]string{"_command", "Texts", "a", "x", "b", strings.Repeat("y", 1000)}, 2},
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
	box := wire(ask("1", "Sum", "a", "13", "b", "81"))
	opts := new(Options).withDefaults()
	var s scanner
	if n := testing.AllocsPerRun(100, func() {
		var h header
		_, _, err := s.next(box, opts, &h)
		if err != nil || h.kind != command {
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

func TestDecodingNumbersDoesNotAllocate(t *testing.T) {
	type numbers struct {
		Int    int64     `amp:"int"`
		Uint   uint64    `amp:"uint"`
		Small  int8      `amp:"small"`
		Float  float64   `amp:"float"`
		Single float32   `amp:"single"`
		Bool   bool      `amp:"bool"`
		Time   time.Time `amp:"time"`
		Maybe  *int      `amp:"maybe"`
		Opt    int       `amp:"opt,optional"`
	}
	in := numbers{
		Int: math.MinInt64, Uint: math.MaxUint64, Small: -1, Float: -math.SmallestNonzeroFloat64 * 12345678901, Single: 0.1, Bool: true,
		Time: time.Date(2012, 1, 23, 12, 34, 56, 54321000, time.UTC),
	}
	p, err := planFor(reflect.TypeFor[numbers]())
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(&in).Elem()
	buf := make([]byte, 0, 1024)
	var pairs []byte
	encode := func() {
		e := encoder{buf: buf}
		if err := e.encodeStruct(p, v); err != nil {
			t.Fatal(err)
		}
		pairs = e.buf
	}
	if n := testing.AllocsPerRun(100, encode); n != 0 {
		t.Errorf("encodeStruct of numbers: %v allocations, want 0", n)
	}
	pairs = appendPair(appendPair([]byte(nil), "_ask", "1"), "_command", "Sum")
	encode()
	var out numbers
	w := reflect.ValueOf(&out).Elem()
	decode := func() {
		var d decoder
		if err := d.decodeStruct(p, pairs, w); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, decode); n != 0 {
		t.Errorf("decodeStruct of numbers: %v allocations, want 0", n)
	}
	if out != in {
		t.Errorf("got %+v, want %+v", out, in)
	}
}

func TestDecodingAllocatesOnlyValues(t *testing.T) {
	type values struct {
		Text  string  `amp:"text"`
		Bytes []byte  `amp:"bytes"`
		Ints  []int   `amp:"ints"`
		Rows  []row   `amp:"rows"`
		Opt   *int    `amp:"opt"`
		Zero  Decimal `amp:"zero"`
	}
	in := values{Text: strings.Repeat("x", 100), Bytes: make([]byte, 100), Ints: []int{1, 2, 3}, Rows: []row{{X: 1}, {X: 2}}, Opt: new(int)}
	e := encoder{first: -1}
	p, err := planFor(reflect.TypeFor[values]())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.encodeStruct(p, reflect.ValueOf(&in)); err != nil {
		t.Fatal(err)
	}
	var out values
	w := reflect.ValueOf(&out).Elem()
	n := testing.AllocsPerRun(100, func() {
		var d decoder
		if err := d.decodeStruct(p, e.buf, w); err != nil {
			t.Fatal(err)
		}
	})
	if n != 5 {
		t.Errorf("%v allocations, want 5: one for each of text, bytes, ints, rows, opt", n)
	}
}

// The names of commands are allocated once, as many as a connection remembers; of
// others each is still its own.
func TestNamesOfCommandsAreAllocatedOnce(t *testing.T) {
	c := newConn(sink{}, nil, nil, nil)
	var names [][]byte
	for i := range maxNames + 2 {
		names = append(names, fmt.Appendf(nil, "Command%d", i))
	}
	all := func(names [][]byte) {
		for _, name := range names {
			if got := c.intern(name); got != string(name) {
				t.Fatalf("%q is taken for %q", name, got)
			}
		}
	}
	all(names)
	if n := testing.AllocsPerRun(100, func() { all(names[:maxNames]) }); n > 0 {
		t.Errorf("%v allocations for %d names", n, maxNames)
	}
	all(names)
	if len(c.names) != maxNames {
		t.Errorf("%d names are remembered, want %d", len(c.names), maxNames)
	}
}
