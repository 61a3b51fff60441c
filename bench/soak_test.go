package main

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

func TestFlat(t *testing.T) {
	base := holding{Heap: 10 << 20, Goroutines: 30, Descriptors: 14}
	with := func(change func(*holding)) holding {
		h := base
		change(&h)
		return h
	}
	more := func(h *holding) { h.Heap += 2 << 20; h.Goroutines += 4; h.Descriptors++ }
	for _, test := range []struct {
		name string
		at   []holding
		want string // what is not flat
	}{
		{"nothing changes", []holding{base, base}, ""},
		{"it wavers", []holding{base, with(more), base, with(more)}, ""},
		{"one rest was too short", []holding{base, base, with(func(h *holding) { h.Goroutines = 500 })}, ""},
		{"the heap grows", []holding{base, with(more), with(func(h *holding) { h.Heap = 14 << 20 }), with(func(h *holding) { h.Heap = 15 << 20 })}, "heap"},
		{"goroutines stay", []holding{base, with(func(h *holding) { h.Goroutines = 40 }), with(func(h *holding) { h.Goroutines = 50 })}, "goroutines"},
		{"descriptors stay", []holding{base, with(func(h *holding) { h.Descriptors = 18 }), with(func(h *holding) { h.Descriptors = 19 })}, "descriptors"},
		{"two rests are enough", []holding{base, with(func(h *holding) { h.Descriptors = 18 })}, "descriptors"},
	} {
		var wrong []string
		for _, b := range flat(test.at) {
			if !b.reached {
				wrong = append(wrong, b.text)
			}
		}
		if got := strings.Join(wrong, "; "); test.want == "" && got != "" || !strings.Contains(got, test.want) || len(wrong) > 1 {
			t.Errorf("%s: not flat are %q, want %q", test.name, got, test.want)
		}
	}
}

// TestSoak is a soak that is too short to find anything, against a server that is
// as it should be.
func TestSoak(t *testing.T) {
	dir := t.TempDir()
	binary, err := build(t.Context(), "..", dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := soak(t.Context(), binary, dir, 2*time.Second, 2)
	if err != nil {
		t.Fatal(err)
	}
	if !f.bars[0].reached {
		t.Error(f.bars[0])
	}
	last := f.rows[len(f.rows)-1]
	for i, v := range last {
		if !(v > 0) {
			t.Errorf("%s: %v", f.columns[i].name, v)
		}
	}
}

// A server that answers wrongly, or with a version that was never saved, must be
// found out.
func TestSoakFindsWrongAnswers(t *testing.T) {
	s, err := newSoaking(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var more int64 // that the total is too much
	var version string
	c, server := amp.Pipe(nil, amp.HandlerFunc(func(r *amp.Request) {
		args := r.Args()
		a, _ := strconv.ParseInt(string(args["a"]), 10, 64)
		b, _ := strconv.ParseInt(string(args["b"]), 10, 64)
		if version == "" {
			r.Fail(amp.ErrUnhandled)
			return
		}
		r.Answer(amp.Box{"total": strconv.AppendInt(nil, a+b+more, 10), "version": []byte(version)})
	}))
	defer c.Close()
	defer server.Close()
	if err := s.sum(c); !errors.Is(err, amp.ErrUnhandled) {
		t.Errorf("a call that fails: error %v", err)
	}
	s.confirmed.Store(5)
	s.written.Store(7)
	for _, test := range []struct {
		version string
		more    int64
		want    string // in the error
	}{{"6", 0, ""}, {"5", 0, "version"}, {"8", 0, "version"}, {"", 0, "Unhandled"}, {"7", 1, "not"}, {"7", 0, ""}} {
		version, more = test.version, test.more
		if err := s.sum(c); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("version %q and a total that is %d too much: error %v, want %q", test.version, more, err, test.want)
		}
	}
	if s.calls.Load() != 2 || s.confirmed.Load() != 7 {
		t.Errorf("%d calls count as answered, want 2; version %d has answered, want 7", s.calls.Load(), s.confirmed.Load())
	}
	s.fail(errors.New("first"))
	s.fail(errors.New("second"))
	if s.failures() != 2 || s.failure().Error() != "first" {
		t.Errorf("%d were wrong, first %v", s.failures(), s.failure())
	}
}
