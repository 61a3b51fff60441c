package amp

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// everything has a field of each form.
type everything struct {
	Int     int
	Small   int8          `amp:"small"`
	Uint    uint64        `amp:"uint"`
	Big     *big.Int      `amp:"big"`
	BigVal  big.Int       `amp:"big-value"`
	Float   float64       `amp:"float"`
	Single  float32       `amp:"single"`
	Bool    bool          `amp:"bool"`
	Text    string        `amp:"text"`
	Bytes   []byte        `amp:"bytes"`
	Decimal Decimal       `amp:"decimal"`
	Time    time.Time     `amp:"time"`
	Path    Path          `amp:"path"`
	Addr    netip.Addr    `amp:"addr"`
	Named   named         `amp:"named"`
	Span    time.Duration `amp:"span"`
	Ints    []int         `amp:"ints"`
	Lists   [][]string    `amp:"lists"`
	Blobs   [][]byte      `amp:"blobs"`
	Bigs    []*big.Int    `amp:"bigs"`
	Addrs   []netip.Addr  `amp:"addrs"`
	Rows    []row         `amp:"rows"`
	Points  []*row        `amp:"points"`
	Maybe   *int          `amp:"maybe"`
	Perhaps *[]int        `amp:"perhaps"`
	Left    []byte        `amp:"left,optional"`
	Zero    int           `amp:"zero,optional"`
	Skipped chan int      `amp:"-"`
	_       chan int
	embedded
}

type named []byte

type embedded struct {
	Inner string `amp:"inner"`
}

type row struct {
	X    int
	Kids []row `amp:"kids,optional"` // boxes nest in themselves
}

func full() everything {
	five := 5
	return everything{
		Int: -3, Small: math.MinInt8, Uint: math.MaxUint64,
		Big: new(big.Int).Lsh(big.NewInt(1), 100), BigVal: *big.NewInt(-7),
		Float: 1e16, Single: 0.5, Bool: true, Text: "h\u00e9", Bytes: []byte{0, 255},
		Decimal: NewDecimal(110, -2), Time: time.Date(2012, 1, 23, 12, 34, 56, 54321000, time.FixedZone("", -4980)),
		Path: "/etc/passwd", Addr: netip.MustParseAddr("::1"), Named: named("n"), Span: time.Microsecond,
		Ints: []int{1, 20, -500}, Lists: [][]string{{"a", ""}, {}}, Blobs: [][]byte{{}, {0}},
		Bigs: []*big.Int{big.NewInt(0)}, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		Rows: []row{{X: 1, Kids: []row{{X: 2}, {X: 3, Kids: []row{}}}}}, Points: []*row{{X: 4}},
		Maybe: &five, Perhaps: &[]int{}, Left: []byte{}, Zero: 1, embedded: embedded{Inner: "in"},
	}
}

var fullBox = map[string]string{
	"Int": "-3", "small": "-128", "uint": "18446744073709551615", "big": "1267650600228229401496703205376",
	"big-value": "-7", "float": "1e+16", "single": "0.5", "bool": "True", "text": "h\u00c3\u00a9", "bytes": "\x00\u00ff",
	"decimal": "1.10", "time": "2012-01-23T12:34:56.054321-01:23", "path": "/etc/passwd", "addr": "::1", "named": "n", "span": "1000",
	"ints": "\x00\x011\x00\x0220\x00\x04-500", "lists": "\x00\x05\x00\x01a\x00\x00\x00\x00", "blobs": "\x00\x00\x00\x01\x00",
	"bigs": "\x00\x010", "addrs": "\x00\x0810.0.0.1",
	"rows": "\x00\x01X\x00\x011\x00\x04kids\x00\x18" +
		"\x00\x01X\x00\x012\x00\x00" + "\x00\x01X\x00\x013\x00\x04kids\x00\x00\x00\x00" + "\x00\x00",
	"points": "\x00\x01X\x00\x014\x00\x00",
	"maybe":  "5", "perhaps": "", "left": "", "zero": "1", "inner": "in",
}

func TestMarshalEveryForm(t *testing.T) {
	in := full()
	for _, v := range []any{in, &in} {
		box, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range fullBox {
			if got, ok := box[key]; !ok || string(got) != latin1(want) {
				t.Errorf("%s: got %q, %t, want %q", key, got, ok, latin1(want))
			}
			delete(box, key)
		}
		if len(box) > 0 {
			t.Errorf("unexpected keys: %q", box)
		}
	}
}

func TestUnmarshalEveryForm(t *testing.T) {
	box := Box{"unknown": []byte("x"), "_ask": []byte("1")}
	for key, text := range fullBox {
		box[key] = []byte(latin1(text))
	}
	var got everything
	if err := Unmarshal(box, &got); err != nil {
		t.Fatal(err)
	}
	want := full()
	if !got.Time.Equal(want.Time) {
		t.Errorf("time: got %v, want %v", got.Time, want.Time)
	}
	got.Time = want.Time // equal, in zones of two pointers
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, value := range box { // nothing may be shared with the box
		for i := range value {
			value[i] = '!'
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("after the box changed: got  %+v\nwant %+v", got, want)
	}
}

func TestEncodeStructWritesSortedPairs(t *testing.T) {
	type args struct {
		B int    `amp:"b"`
		Z string `amp:"Z"`
		A int    `amp:"a"`
	}
	v := args{1, "z", 2}
	box, err := Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	want, err := box.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	e := encoder{buf: []byte("before")}
	p, err := planFor(reflect.TypeFor[*args]())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.encodeStruct(p, reflect.ValueOf(&v)); err != nil {
		t.Fatal(err)
	}
	if got := string(e.buf) + "\x00\x00"; got != "before"+string(want) {
		t.Errorf("encodeStruct = %q, want %q", got, "before"+string(want))
	}
}

func TestOptional(t *testing.T) {
	type optional struct {
		Pointer *int       `amp:"pointer"`
		Int     int        `amp:"int,optional"`
		Text    string     `amp:"text,optional"`
		Bytes   []byte     `amp:"bytes,optional"`
		List    []int      `amp:"list,optional"`
		Rows    []row      `amp:"rows,optional"`
		Time    time.Time  `amp:"time,optional"`
		Big     *big.Int   `amp:"big,optional"`
		Addr    netip.Addr `amp:"addr,optional"`
	}
	box, err := Marshal(optional{})
	if err != nil || len(box) != 0 {
		t.Errorf("Marshal of zero values = %q, %v, want no keys", box, err)
	}

	set := optional{Pointer: new(int), Bytes: []byte{}, List: []int{}, Rows: []row{}, Big: new(big.Int)}
	box, err = Marshal(set)
	if want := (Box{"pointer": []byte("0"), "bytes": {}, "list": {}, "rows": {}, "big": []byte("0")}); err != nil || !reflect.DeepEqual(box, want) {
		t.Errorf("Marshal of empty values = %q, %v, want %q", box, err, want)
	}
	var got optional
	if err := Unmarshal(box, &got); err != nil || !reflect.DeepEqual(got, set) {
		t.Errorf("Unmarshal(%q) = %+v, %v, want %+v", box, got, err, set)
	}

	got = optional{Pointer: new(int), Int: 1, Text: "x", Bytes: []byte("x"), Time: time.Now()}
	if err := Unmarshal(Box{}, &got); err != nil || !reflect.DeepEqual(got, optional{}) {
		t.Errorf("Unmarshal of an empty box = %+v, %v, want zero values", got, err)
	}

	// An empty value is there; it is no Integer, but an empty String.
	if err := Unmarshal(Box{"int": {}}, &got); err == nil {
		t.Error("an empty value for an optional Integer was taken")
	}
	if err := Unmarshal(Box{"bytes": nil}, &got); err != nil || got.Bytes == nil {
		t.Errorf("an empty optional String is %#v, %v, want an empty slice", got.Bytes, err)
	}
}

func TestRequired(t *testing.T) {
	type required struct {
		Bytes []byte `amp:"bytes"`
		List  []int  `amp:"list"`
		Rows  []row  `amp:"rows"`
	}
	box, err := Marshal(required{})
	if want := (Box{"bytes": {}, "list": {}, "rows": {}}); err != nil || !reflect.DeepEqual(box, want) {
		t.Errorf("Marshal of nil slices = %q, %v, want %q", box, err, want)
	}
	if _, err := Marshal(one[*big.Int]{}); err == nil || err.Error() != `amp: argument "v": Integer: nil, and not optional` {
		t.Errorf("Marshal of a nil *big.Int: %v", err)
	}
}

func TestSlicesAreNewAfterUnmarshal(t *testing.T) {
	var v one[[]int]
	if err := Unmarshal(Box{"v": []byte("\x00\x011\x00\x012")}, &v); err != nil {
		t.Fatal(err)
	}
	first := v.V
	if err := Unmarshal(Box{"v": []byte("\x00\x013")}, &v); err != nil {
		t.Fatal(err)
	}
	if first[0] != 1 || v.V[0] != 3 || len(v.V) != 1 {
		t.Errorf("got %v and then %v, want [1 2] and [3]", first, v.V)
	}
}

func TestCodecErrors(t *testing.T) {
	long := strings.Repeat("x", MaxValue+1)
	bad := func(box Box, into any) error { return Unmarshal(box, into) }
	marshal := func(v any) error { _, err := Marshal(v); return err }
	text := func(s string) Box { return Box{"v": []byte(s)} }
	tests := []struct {
		err  error
		want string
	}{
		{bad(text("12x"), new(one[int])), `amp: argument "v": Integer "12x": not a whole number`},
		{bad(text("300"), new(one[uint8])), `amp: argument "v": Integer "300": does not fit uint8`},
		{bad(text("-1"), new(one[uint])), `amp: argument "v": Integer "-1": does not fit uint`},
		{bad(text("1e300"), new(one[float32])), `amp: argument "v": Float "1e300": does not fit float32`},
		{bad(Box{}, new(one[int])), `amp: argument "v": Integer: missing`},
		{bad(Box{}, new(one[[]row])), `amp: argument "v": AmpList: missing`},
		{bad(Box{}, new(one[netip.Addr])), `amp: argument "v": netip.Addr: missing`},
		{bad(text("true"), new(one[bool])), `amp: argument "v": Boolean "true": neither True nor False`},
		{bad(text("\xff"), new(one[string])), `amp: argument "v": Unicode "\xff": not UTF-8`},
		{bad(text("1,5"), new(one[float64])), `amp: argument "v": Float "1,5": not a number`},
		{bad(text("1,5"), new(one[Decimal])), `amp: argument "v": Decimal "1,5": not a decimal number`},
		{bad(text("now"), new(one[time.Time])), `amp: argument "v": DateTime "now": not a date and time like 2012-01-23T12:34:56.054321-01:23`},
		{bad(text("\xff"), new(one[Path])), `amp: argument "v": Path "\xff": not UTF-8`},
		{bad(text("x"), new(one[*int])), `amp: argument "v": Integer "x": not a whole number`},
		{bad(text("0"), new(one[*os.File])), `amp: argument "v": Descriptor "0": amp: descriptors travel over UNIX sockets on Linux and macOS only`},
		{bad(text(strings.Repeat("é", 100)), new(one[int])), `amp: argument "v": Integer "` + strings.Repeat("é", 32) + `"…: not a whole number`},
		{bad(text("\x00\x011\x00\x01x"), new(one[[]int])), `amp: argument "v[1]": Integer "x": not a whole number`},
		{bad(text("\x00\x00\x00\x05\x00\x011\x00\x00"), new(one[[][]int])), `amp: argument "v[1][1]": Integer "": not a whole number`},
		{bad(text("\x00\x01X\x00\x011\x00\x00\x00\x00"), new(one[[]row])), `amp: argument "v[1].X": Integer: missing`},
		{bad(text("\x00\x01X\x00\x011\x00\x04kids\x00\x02\x00\x00\x00\x00"), new(one[[]*row])), `amp: argument "v[0].kids[0].X": Integer: missing`},
		{bad(text("\x01\x00"), new(one[[]row])), `amp: argument "v[0]": AmpList: a key is too long`},
		{marshal(one[string]{"\xff"}), `amp: argument "v": Unicode "\xff": not UTF-8`},
		{marshal(one[[]string]{[]string{"", "\xff"}}), `amp: argument "v[1]": Unicode "\xff": not UTF-8`},
		{marshal(one[Path]{"\xff"}), `amp: argument "v": Path "\xff": not UTF-8`},
		{marshal(one[time.Time]{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}), `amp: argument "v": DateTime "10000-01-01T00:00:00Z": the year is not in 1 to 9999`},
		{marshal(one[[]*row]{[]*row{{}, nil}}), `amp: argument "v[1]": AmpList: nil, and not optional`},
		{marshal(one[*os.File]{}), `amp: argument "v": Descriptor: nil, and not optional`},
		{marshal(one[*os.File]{os.Stdin}), `amp: argument "v": Descriptor "/dev/stdin": amp: descriptors travel over UNIX sockets on Linux and macOS only`},
		{marshal(one[string]{long}), `amp: the value of "v" is 65536 bytes long, a value has at most 65535: split it over several keys or calls`},
		{marshal(one[[]byte]{[]byte(long)}), `amp: the value of "v" is 65536 bytes long, a value has at most 65535: split it over several keys or calls`},
		{marshal(one[[]string]{[]string{"", long}}), `amp: the value of "v[1]" is 65536 bytes long, a value has at most 65535: split it over several keys or calls`},
		{marshal(one[[]string]{[]string{long[:40000], long[:30000]}}), `amp: the value of "v" is 70004 bytes long, a value has at most 65535: split it over several keys or calls`},
		{marshal(one[[]one[string]]{[]one[string]{{long}}}), `amp: the value of "v[0].v" is 65536 bytes long, a value has at most 65535: split it over several keys or calls`},
	}
	for _, test := range tests {
		if test.err == nil || test.err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", test.err, test.want)
		}
	}
	if err := marshal(one[string]{long}); !errors.Is(err, ErrTooLong) {
		t.Errorf("%v is not ErrTooLong", err)
	}
	if err := bad(Box{"v": []byte("x")}, new(one[netip.Addr])); err == nil || errors.Unwrap(err) == nil || !strings.Contains(err.Error(), `netip.Addr "x": ParseAddr`) {
		t.Errorf("an error of UnmarshalText: %v", err)
	}
	if err := marshal(one[failing]{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an error of MarshalText: %v", err)
	}
}

// failing cannot be written.
type failing struct{}

func (failing) MarshalText() ([]byte, error)  { return nil, io.ErrUnexpectedEOF }
func (*failing) UnmarshalText(b []byte) error { return nil }

func TestElementsUpToTheLimit(t *testing.T) {
	longest := strings.Repeat("x", MaxValue-2)
	box, err := Marshal(one[[]string]{[]string{longest}})
	if err != nil || len(box["v"]) != MaxValue {
		t.Fatalf("Marshal of an element of %d bytes: %d bytes, %v", len(longest), len(box["v"]), err)
	}
	var got one[[]string]
	if err := Unmarshal(box, &got); err != nil || got.V[0] != longest {
		t.Errorf("Unmarshal of an element of %d bytes: %v", len(longest), err)
	}
	digits := new(big.Int).Exp(big.NewInt(10), big.NewInt(MaxDigits), nil)
	if _, err := Marshal(one[*big.Int]{digits}); err == nil {
		t.Errorf("an Integer of %d digits was written", MaxDigits+1)
	}
	digits.Neg(digits.Sub(digits, big.NewInt(1)))
	if _, err := Marshal(one[*big.Int]{digits}); err != nil {
		t.Errorf("an Integer of %d digits: %v", MaxDigits, err)
	}
	digits.Lsh(digits, 1<<22)
	if _, err := Marshal(one[*big.Int]{digits}); err == nil || len(err.Error()) > 100 {
		t.Errorf("an Integer of millions of digits: %.200v", err)
	}
}

func TestFailedEncodeStructLeavesTheEncoderAsItWas(t *testing.T) {
	type args struct {
		A *os.File `amp:"a"`
		B string   `amp:"b"`
		C string   `amp:"c"`
	}
	p, err := planFor(reflect.TypeFor[args]())
	if err != nil {
		t.Fatal(err)
	}
	e := encoder{buf: []byte("before"), files: []*os.File{os.Stdin}}
	if err := e.encodeStruct(p, reflect.ValueOf(args{os.Stdout, "b", "\xff"})); err == nil {
		t.Fatal("no error")
	}
	if string(e.buf) != "before" || len(e.files) != 1 {
		t.Errorf("after the error: buf %q, %d files", e.buf, len(e.files))
	}
	if err := e.encodeStruct(p, reflect.ValueOf((*args)(nil))); err == nil {
		t.Error("a nil pointer was encoded")
	}
}

func TestDuplicateKeysLastWins(t *testing.T) {
	// A bad value does not matter if a later one replaces it: in Twisted it
	// never leaves the dictionary.
	pairs := []byte("\x00\x01v\x00\x03bad\x00\x01w\x00\x011\x00\x01v\x00\x012\x00\x01a\x00\x00")
	p, err := planFor(reflect.TypeFor[one[int]]())
	if err != nil {
		t.Fatal(err)
	}
	var got one[int]
	var d decoder
	if err := d.decodeStruct(p, pairs, reflect.ValueOf(&got)); err != nil || got.V != 2 {
		t.Errorf("got %d, %v, want 2", got.V, err)
	}
	var pointer *one[int] // as in a Command whose arguments are a pointer
	if err := d.decodeStruct(p, pairs, reflect.ValueOf(&pointer).Elem()); err != nil || pointer.V != 2 {
		t.Errorf("into a nil pointer: %v, %v", pointer, err)
	}
}

// TestManyFields is about a struct too large for what decoding keeps on its
// stack, with keys in no order.
func TestManyFields(t *testing.T) {
	var fields []reflect.StructField
	box := make(Box)
	for i := range 3 * fewFields {
		name := fmt.Sprintf("F%d", i)
		fields = append(fields, reflect.StructField{Name: name, Type: reflect.TypeFor[int]()})
		box[name] = AppendInteger(nil, int64(i))
	}
	var pairs []byte
	for name, value := range box {
		pairs = appendPair(pairs, name, value)
	}
	typ := reflect.StructOf(fields)
	p, err := planFor(typ)
	if err != nil {
		t.Fatal(err)
	}
	fromPairs, fromBox := reflect.New(typ), reflect.New(typ)
	var d decoder
	if err := d.decodeStruct(p, pairs, fromPairs.Elem()); err != nil {
		t.Fatal(err)
	}
	if err := Unmarshal(box, fromBox.Interface()); err != nil {
		t.Fatal(err)
	}
	for i := range fields {
		if a, b := fromPairs.Elem().Field(i).Int(), fromBox.Elem().Field(i).Int(); a != int64(i) || b != int64(i) {
			t.Errorf("field %d is %d from pairs and %d from a box", i, a, b)
		}
	}
}

func TestDescriptors(t *testing.T) {
	type child struct {
		F *os.File `amp:"f"`
	}
	type args struct {
		A     *os.File `amp:"a"`
		B     *os.File `amp:"b,optional"`
		C     *os.File `amp:"c,optional"`
		Child []child  `amp:"child"`
		N     int      `amp:"n"`
	}
	p, err := planFor(reflect.TypeFor[args]())
	if err != nil {
		t.Fatal(err)
	}
	if !p.hasFiles() {
		t.Error("hasFiles is false")
	}
	if p, err := planFor(reflect.TypeFor[everything]()); err != nil || p.hasFiles() {
		t.Errorf("hasFiles is true for a struct without descriptors, or %v", err)
	}

	e := encoder{first: 7}
	in := args{A: os.Stdin, C: os.Stdout, Child: []child{{os.Stderr}}, N: 1}
	if err := e.encodeStruct(p, reflect.ValueOf(&in)); err != nil {
		t.Fatal(err)
	}
	if want := []*os.File{os.Stdin, os.Stdout, os.Stderr}; !reflect.DeepEqual(e.files, want) {
		t.Errorf("files to send: %v, want %v", e.files, want)
	}
	want := Box{"a": []byte("7"), "c": []byte("8"), "child": []byte("\x00\x01f\x00\x019\x00\x00"), "n": []byte("1")}
	if box := boxOf(e.buf, nil); !reflect.DeepEqual(box, want) {
		t.Errorf("encoded as %q, want %q", box, want)
	}

	pipe := func() *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		t.Cleanup(func() { r.Close() })
		return r
	}
	received := map[int]*os.File{7: pipe(), 8: pipe(), 9: pipe()}
	take := func(ordinal int) (*os.File, error) {
		f, ok := received[ordinal]
		if !ok {
			return nil, errors.New("never received")
		}
		delete(received, ordinal)
		return f, nil
	}
	a, c := received[7], received[8]
	var out args
	d := decoder{file: take}
	if err := d.decodeStruct(p, e.buf, reflect.ValueOf(&out)); err != nil {
		t.Fatal(err)
	}
	if out.A != a || out.B != nil || out.C != c || out.Child[0].F == nil || len(received) != 0 {
		t.Errorf("decoded %+v, %d descriptors left", out, len(received))
	}
	if d.taken != nil {
		t.Error("the decoder still holds descriptors that the struct owns")
	}
	err = d.decodeStruct(p, e.buf, reflect.ValueOf(&out))
	if err == nil || err.Error() != `amp: argument "a": Descriptor "7": never received` {
		t.Errorf("claimed twice: %v", err)
	}

	// Descriptors taken before another argument fails would leak.
	received[1] = pipe()
	lost := received[1]
	pairs := appendPair(appendPair(appendPair([]byte(nil), "a", "1"), "child", ""), "n", "bad")
	if err := d.decodeStruct(p, pairs, reflect.ValueOf(&out)); err == nil {
		t.Fatal("no error")
	}
	if _, err := lost.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a descriptor taken for a call that failed was not closed: %v", err)
	}
	for _, text := range []string{"", "x", "-1", "99999999999", "18446744073709551616", " 1_"} {
		pairs := appendPair(appendPair(appendPair([]byte(nil), "a", text), "child", ""), "n", "1")
		if err := d.decodeStruct(p, pairs, reflect.ValueOf(&out)); err == nil || !strings.Contains(err.Error(), errOrdinal.Error()) {
			t.Errorf("Descriptor %q: %v", text, err)
		}
	}
}
