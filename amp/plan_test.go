package amp

import (
	"math/big"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type selfList []selfList

type selfPointer *selfPointer

type onlyWrites struct{}

func (onlyWrites) MarshalText() ([]byte, error) { return nil, nil }

type linked struct {
	Next *linked
}

type textBytes []textByte

type textByte byte

func (b textByte) MarshalText() ([]byte, error)     { return []byte{'<', byte(b), '>'}, nil }
func (b *textByte) UnmarshalText(text []byte) error { *b = textByte(text[1]); return nil }

func TestPlanErrorsNameTheField(t *testing.T) {
	type inner struct{ C chan int }
	long := strings.Repeat("k", MaxKey+1)
	tests := []struct {
		v    any
		want string
	}{
		{struct{ C chan int }{}, "amp: field C of struct { C chan int }: AMP has no type for chan int"},
		{struct{ M map[string]int }{}, "AMP has no type for map[string]int"},
		{struct{ A any }{}, "AMP has no type for interface {}"},
		{struct{ A [4]int }{}, "AMP has no type for [4]int"},
		{struct{ C complex128 }{}, "AMP has no type for complex128"},
		{struct{ F func() }{}, "AMP has no type for func()"},
		{struct{ R row }{}, "AMP has no box in a box: use []amp.row"},
		{struct{ R *row }{}, "AMP has no box in a box"},
		{struct{ R [][]row }{}, "Twisted has no ListOf of AmpList"},
		{struct{ I []inner }{}, "field C of amp.inner: AMP has no type for chan int"},
		{struct{ P **int }{}, "one pointer is enough"},
		{struct{ P **os.File }{}, "one pointer is enough"},
		{struct{ P []*int }{}, "the elements of a list cannot be left out, use []int"},
		{struct{ F []*os.File }{}, "Twisted has no ListOf of Descriptor"},
		{struct{ F os.File }{}, "AMP has no box in a box"},
		{struct{ L selfList }{}, "amp.selfList contains itself"},
		{struct{ P selfPointer }{}, "amp.selfPointer contains itself"},
		{linked{}, "field Next of amp.linked: AMP has no box in a box"},
		{struct{ W onlyWrites }{}, "amp.onlyWrites has MarshalText, but not UnmarshalText"},
		{struct {
			A int `amp:"x"`
			B int `amp:"x"`
		}{}, `fields A and B have the same key "x"`},
		{struct {
			embedded
			Inner int `amp:"inner"`
		}{}, `fields Inner and Inner have the same key "inner"`},
		{struct{ *embedded }{}, "embed the struct itself, not a pointer"},
		{struct {
			A int `amp:"_ask"`
		}{}, `field A of struct { A int "amp:\"_ask\"" }: key "_ask" belongs to the protocol`},
		{struct {
			A int `amp:"a,omitempty"`
		}{}, `unknown option "omitempty"`},
		{struct {
			a int `amp:"a"`
		}{}, "it has an amp tag but is not exported"},
		{reflect.Zero(reflect.StructOf([]reflect.StructField{
			{Name: "A", Type: reflect.TypeFor[int](), Tag: reflect.StructTag(`amp:"` + long + `"`)},
		})).Interface(), "is 256 bytes long, a key has at most 255"},
		{13, "amp: int is not a struct of keys and values"},
		{time.Time{}, "amp: time.Time is not a struct of keys and values"},
		{Decimal{}, "amp: amp.Decimal is not a struct"},
		{big.NewInt(1), "amp: big.Int is not a struct"},
		{nil, "amp: Marshal of nil: a struct is needed"},
		{(*row)(nil), "amp: Marshal of a nil *amp.row"},
		{new(*row), "amp: *amp.row is not a struct"},
	}
	for _, test := range tests {
		if _, err := Marshal(test.v); err == nil || !strings.HasPrefix(err.Error(), "amp: ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Marshal(%T): %v, want %s", test.v, err, test.want)
		}
		if test.v != nil {
			if err := Unmarshal(Box{}, test.v); err == nil {
				t.Errorf("Unmarshal into %T: no error", test.v)
			}
		}
	}
	if err := Unmarshal(Box{}, row{}); err == nil || !strings.Contains(err.Error(), "needs a pointer") {
		t.Errorf("Unmarshal into a struct: %v", err)
	}
}

func TestPlanKeys(t *testing.T) {
	type Exported struct {
		Deep int `amp:"deep"`
	}
	type Middle struct{ Exported }
	type args struct {
		Plain  int
		Dashed int `amp:"a-b"`
		Option int `amp:",optional"`
		Dash   int `amp:"-,"`
		Under  int `amp:"_ordinary"`
		_      int
		Middle
		time.Time         // a value of its own, not a struct of fields
		Exported2 Decimal `amp:"-"`
	}
	p, err := planFor(reflect.TypeFor[args]())
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, f := range p.fields {
		keys = append(keys, f.key)
	}
	if want := []string{"-", "Option", "Plain", "Time", "_ordinary", "a-b", "deep"}; !slices.Equal(keys, want) {
		t.Errorf("keys %q, want %q", keys, want)
	}
	longest := reflect.StructField{Name: "A", Type: reflect.TypeFor[int](), Tag: reflect.StructTag(`amp:"` + strings.Repeat("k", MaxKey) + `"`)}
	if _, err := planFor(reflect.StructOf([]reflect.StructField{longest})); err != nil {
		t.Errorf("a key of %d bytes: %v", MaxKey, err)
	}
	if q, err := planFor(reflect.TypeFor[*args]()); err != nil || q != p {
		t.Errorf("the plan of a pointer is %p, %v, want that of the struct, %p", q, err, p)
	}
}

func TestTextMarshalersAreStrings(t *testing.T) {
	type args struct {
		IP    net.IP    `amp:"ip"` // a []byte that has its own text
		Bytes textBytes `amp:"bytes"`
	}
	box, err := Marshal(args{net.IPv4(10, 0, 0, 1), textBytes{'a', 'b'}})
	if want := (Box{"ip": []byte("10.0.0.1"), "bytes": []byte("\x00\x03<a>\x00\x03<b>")}); err != nil || !reflect.DeepEqual(box, want) {
		t.Fatalf("Marshal = %q, %v, want %q", box, err, want)
	}
	var got args
	if err := Unmarshal(box, &got); err != nil || got.IP.String() != "10.0.0.1" || string(got.Bytes[1]) != "b" {
		t.Errorf("Unmarshal = %v, %v", got, err)
	}
}
