package amp

import (
	"os"
	"reflect"
	"testing"
)

// A descriptor in a list of boxes is taken once, also if what comes after it in its
// box was left out.
func TestNestedDescriptorIsTakenOnce(t *testing.T) {
	type inner struct {
		File *os.File `amp:"file"`
		More *int64   `amp:"more"`
	}
	type outer struct {
		List []inner `amp:"list"`
	}
	p, err := planFor(reflect.TypeFor[outer]())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var e encoder
	if err := e.encodeStruct(p, reflect.ValueOf(outer{[]inner{{File: file}}})); err != nil {
		t.Fatal(err)
	}
	times := 0
	d := decoder{file: func(int) (*os.File, error) { times++; return file, nil }}
	var got outer
	if err := d.decodeStruct(p, e.buf, reflect.ValueOf(&got)); err != nil || times != 1 || got.List[0].File != file {
		t.Errorf("%v, taken %d times", err, times)
	}
}

// wordList adds what it reads to what it has.
type wordList []string

func (l *wordList) UnmarshalText(text []byte) error {
	*l = append(*l, string(text))
	return nil
}

func (l wordList) MarshalText() ([]byte, error) { return []byte("x"), nil }

// A value that reads its own text does so once, also if an optional one was left out.
func TestTextIsReadOnce(t *testing.T) {
	type args struct {
		List wordList `amp:"list"`
		More *int64   `amp:"more"`
	}
	p, err := planFor(reflect.TypeFor[args]())
	if err != nil {
		t.Fatal(err)
	}
	pairs, _ := Box{"list": []byte("x")}.appendPairs(nil)
	var d decoder
	var got args
	if err := d.decodeStruct(p, pairs, reflect.ValueOf(&got)); err != nil || len(got.List) != 1 {
		t.Errorf("%v, %q, want one word", err, got.List)
	}
}
