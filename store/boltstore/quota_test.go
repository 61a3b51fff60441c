package boltstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/amphost/amphost/store"
)

// usage measures a namespace by looking at all of it.
func usage(t *testing.T, s *Store, namespace string) (n int64) {
	t.Helper()
	err := store.View(t.Context(), s, namespace, func(tx store.Tx) error {
		for space := range 256 {
			for e, err := range tx.Scan(store.Space(space), store.Range{}) {
				if err != nil {
					return err
				}
				n += int64(len(e.Key) + len(e.Value))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestQuota(t *testing.T) {
	s := openTemp(t, &Options{Quota: 100, Quotas: map[string]int64{"rich": 1000, "free": 0}})
	put := func(namespace, key string, size int) error {
		return store.Update(t.Context(), s, namespace, func(tx store.Tx) error {
			return tx.Put(store.Keys, key, make([]byte, size))
		})
	}
	if err := put(ns, "k", 99); err != nil {
		t.Errorf("exactly what is allowed: %v", err)
	}
	err := put(ns, "l", 1)
	if !errors.Is(err, store.ErrQuota) || !strings.Contains(err.Error(), "plugin test uses 100 of 100 bytes, and this would make it 102") {
		t.Errorf("more than is allowed: %v, want ErrQuota with the plugin, the limit and the use", err)
	}
	if got := viewed(t, s, "l"); got != "" {
		t.Error("what was refused is there")
	}
	if err := put(ns, "k", 99); err != nil {
		t.Errorf("the same again: %v", err)
	}
	err = store.Update(t.Context(), s, ns, func(tx store.Tx) error {
		return errors.Join(tx.Put(store.Keys, "l", make([]byte, 50)), tx.Delete(store.Keys, "k"))
	})
	if err != nil {
		t.Errorf("more, and less besides: %v", err)
	}
	err = store.Update(t.Context(), s, ns, func(tx store.Tx) error { return store.WriteFile(tx, "f", make([]byte, 100)) })
	if !errors.Is(err, store.ErrQuota) {
		t.Errorf("a file that is too large: %v, want ErrQuota", err)
	}
	for namespace, size := range map[string]int{"rich": 900, "free": 100_000} {
		if err := put(namespace, "k", size); err != nil {
			t.Errorf("%d bytes in %s: %v", size, namespace, err)
		}
	}
	if err := put("rich", "l", 100); !errors.Is(err, store.ErrQuota) {
		t.Errorf("more than is allowed in rich: %v, want ErrQuota", err)
	}
}

// TestQuotaSurvives checks that what is there counts when a store is opened,
// also if it is more than is allowed by now, and that one may then make it less.
func TestQuotaSurvives(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, nil)
	receive(t, put(t, s, "a", strings.Repeat("v", 200)))
	receive(t, put(t, s, "b", strings.Repeat("v", 200)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openIn(t, dir, &Options{Quota: 300})
	defer s.Close()
	if err := receive(t, put(t, s, "c", "")); !errors.Is(err, store.ErrQuota) || !strings.Contains(err.Error(), "402 of 300") {
		t.Errorf("more, of too much: %v, want ErrQuota", err)
	}
	if err := receive(t, put(t, s, "a", strings.Repeat("v", 150))); err != nil {
		t.Errorf("less, and still too much: %v", err)
	}
	if err := receive(t, put(t, s, "a", "")); err != nil {
		t.Errorf("less: %v", err)
	}
	if err := receive(t, put(t, s, "c", "1")); err != nil {
		t.Errorf("what is allowed again: %v", err)
	}
}

// TestQuotaRefusalWaits checks that a refusal, which tells of what was
// committed before, is not told before that is durable.
func TestQuotaRefusalWaits(t *testing.T) {
	s := openTemp(t, &Options{Quota: 100})
	receive(t, put(t, s, "old", ""))
	release := hold(t, s)
	first := put(t, s, "a", strings.Repeat("v", 90))
	second := put(t, s, "b", strings.Repeat("v", 90))
	wantWaiting(t, "a refusal", second)
	release()
	if err := receive(t, first); err != nil {
		t.Error(err)
	}
	if err := receive(t, second); !errors.Is(err, store.ErrQuota) {
		t.Errorf("the second: %v, want ErrQuota", err)
	}
}

// TestQuotaCounts checks with random transactions, some of them dropped, some
// without room on the disk, that what is counted is what is there.
func TestQuotaCounts(t *testing.T) {
	s := openTemp(t, &Options{NoSync: true, Quota: 1 << 40})
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		s.db.MaxSize = 0
		if random.IntN(10) == 0 {
			s.db.MaxSize = 1
		}
		var dones []<-chan error
		for range 1 + random.IntN(4) {
			tx, err := s.Begin(context.Background(), ns, true)
			if err != nil {
				t.Fatal(err)
			}
			for range random.IntN(5) {
				name := fmt.Sprint(random.IntN(20))
				switch random.IntN(4) {
				case 0:
					err = store.RemoveFile(tx, name)
				case 1:
					err = store.WriteFile(tx, name, make([]byte, random.IntN(200_000)))
				case 2:
					err = tx.Put(store.Keys, name, make([]byte, random.IntN(2000)))
				case 3:
					err = tx.Delete(store.Keys, name)
				}
				_ = err // there may be no such file
			}
			if random.IntN(5) == 0 {
				dones = append(dones, tx.Rollback())
			} else {
				dones = append(dones, tx.Commit())
			}
		}
		for _, done := range dones {
			if err := receive(t, done); err != nil && !errors.Is(err, store.ErrFull) {
				t.Fatal(err)
			}
		}
		begin(t, s).Rollback()
		if got, want := s.namespaces[ns].used, usage(t, s, ns); got != want {
			t.Fatalf("%d bytes are counted, and %d are there", got, want)
		}
	}
}
