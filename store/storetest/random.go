package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/store"
)

// A pair is a store under test and a model, which must behave the same.
type pair struct {
	store, model store.Store
	rand         *rand.Rand
	dones        []<-chan error // of commits that nobody has waited for
}

// newPair returns a pair whose random numbers come from a seed that is logged,
// or from the one that the environment names.
func newPair(t *testing.T, s store.Store) *pair {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("STORETEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("run it again with STORETEST_SEED=%d", seed)
	return &pair{store: s, model: store.NewMem(), rand: rand.New(rand.NewPCG(seed, 0))}
}

var randomSpaces = []store.Space{store.Counters, store.Files, store.Keys, store.Pieces}

// key returns one of a few hundred keys, so that transactions meet.
func (p *pair) key() string {
	return strings.Repeat("\xff", p.rand.IntN(2)) + strings.Repeat("a", p.rand.IntN(3)) + fmt.Sprint(p.rand.IntN(60))
}

func (p *pair) value() []byte {
	size := p.rand.IntN(50)
	if p.rand.IntN(10) == 0 {
		size = p.rand.IntN(10_000) // so that values spill over pages
	}
	return bytes.Repeat([]byte{byte(p.rand.Int())}, size)
}

func (p *pair) scanRange() store.Range {
	var r store.Range
	pick := func(into *string, value string) {
		if p.rand.IntN(2) == 0 {
			*into = value
		}
	}
	pick(&r.Prefix, p.key()[:1])
	pick(&r.Start, p.key())
	pick(&r.End, p.key())
	r.Limit = max(0, p.rand.IntN(30)-10)
	r.Reverse = p.rand.IntN(2) == 0
	return r
}

// run runs one random transaction on both.
func (p *pair) run(t *testing.T) {
	t.Helper()
	writable := p.rand.IntN(4) > 0
	if !writable {
		p.settle(t) // a view of the model sees everything
	}
	tx := begin(t, p.store, writable)
	model := begin(t, p.model, writable)
	for range p.rand.IntN(30) {
		space := randomSpaces[p.rand.IntN(len(randomSpaces))]
		key := p.key()
		switch what := p.rand.IntN(10); {
		case what < 3 && writable:
			value := p.value()
			if err := errors.Join(tx.Put(space, key, value), model.Put(space, key, value)); err != nil {
				t.Fatal(err)
			}
		case what < 5 && writable:
			if err := errors.Join(tx.Delete(space, key), model.Delete(space, key)); err != nil {
				t.Fatal(err)
			}
		case what < 8:
			want, _ := model.Get(space, key)
			wantValue(t, tx, space, key, want)
		default:
			p.compare(t, tx, model, space, p.scanRange())
		}
	}
	if writable && p.rand.IntN(5) == 0 {
		receive(t, model.Rollback())
		p.dones = append(p.dones, tx.Rollback())
	} else {
		receive(t, model.Commit())
		p.dones = append(p.dones, tx.Commit())
	}
	if p.rand.IntN(10) == 0 {
		p.settle(t)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// settle waits until all that was committed is durable.
func (p *pair) settle(t *testing.T) {
	t.Helper()
	for _, done := range p.dones {
		if err := receive(t, done); err != nil {
			t.Fatalf("a transaction ended with %v", err)
		}
	}
	p.dones = nil
}

// compare checks that a scan yields the same in both.
func (p *pair) compare(t *testing.T, tx, model store.Tx, space store.Space, r store.Range) {
	t.Helper()
	got, want := scan(t, tx, space, r), scan(t, model, space, r)
	if !slices.EqualFunc(got, want, func(a, b store.Entry) bool {
		return a.Key == b.Key && bytes.Equal(a.Value, b.Value)
	}) {
		t.Errorf("Scan(%q, %+v) yields %.200q, want %.200q", space, r, got, want)
	}
}

// compareAll checks that both hold the same.
func (p *pair) compareAll(t *testing.T) {
	t.Helper()
	p.settle(t)
	tx, model := begin(t, p.store, false), begin(t, p.model, false)
	for _, space := range randomSpaces {
		p.compare(t, tx, model, space, store.Range{})
		p.compare(t, tx, model, space, store.Range{Reverse: true})
	}
	receive(t, tx.Rollback())
	receive(t, model.Rollback())
}

// testRandom compares random transactions with the model.
func testRandom(t *testing.T, s store.Store) {
	p := newPair(t, s)
	for range 400 {
		p.run(t)
	}
	p.compareAll(t)
}

// testReopen compares random transactions with the model, and closes the store
// between them.
func testReopen(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	dir := t.TempDir()
	p := newPair(t, nil)
	for range 5 {
		p.store = open(t, dir)
		p.compareAll(t)
		for range 60 {
			p.run(t)
		}
		if err := p.store.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	p.store = open(t, dir)
	p.compareAll(t)
	if err := p.store.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// testCloseWaits checks that Close loses nothing that was committed and not
// waited for.
func testCloseWaits(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	const n = 50
	dir := t.TempDir()
	s := open(t, dir)
	dones := make([]<-chan error, n)
	for i := range dones {
		tx := beginGathered(t, s)
		if i < n/2 {
			tx.Rollback()
			tx = begin(t, s, true)
		}
		if _, err := store.Add(tx, "n", 1); err != nil {
			t.Fatal(err)
		}
		dones[i] = tx.Commit()
	}
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for _, done := range dones {
		if err := receive(t, done); err != nil {
			t.Errorf("a commit before Close: %v", err)
		}
	}
	s = open(t, dir)
	view(t, s, func(tx store.Tx) error {
		if got, err := store.Count(tx, "n"); got != n || err != nil {
			t.Errorf("Count = %d, %v, want %d", got, err, n)
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}
