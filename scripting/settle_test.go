package scripting

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// settle looks at once, eagerly, and again when nobody writes any more; not
// eagerly where a stream of changes does not pause.
func TestSettle(t *testing.T) {
	type save struct {
		after time.Duration
		path  string
	}
	for _, c := range []struct {
		name  string
		saves []save
		good  bool // what an eager look finds
		want  string
	}{
		{"one good save", []save{{0, "a"}}, true, "10ms eager a"},
		{"saved together", []save{{0, "a"}, {3 * time.Millisecond, "b"}, {3 * time.Millisecond, "c"}}, true, "16ms eager a b c"},
		{"half written", []save{{0, "a"}}, false, "10ms eager a, 110ms quiet a"},
		{"written in pieces", []save{{0, "a"}, {60 * time.Millisecond, "a"}, {60 * time.Millisecond, "b"}}, false, "10ms eager a, 220ms quiet a b"},
		{"two saves", []save{{0, "a"}, {time.Second, "b"}}, true, "10ms eager a, 1010ms eager b"},
		{"a stream that does not pause", slices.Repeat([]save{{4 * time.Millisecond, "a"}, {4 * time.Millisecond, "b"}}, 20), true, "260ms quiet a b"},
		{"written without end", slices.Repeat([]save{{50 * time.Millisecond, "a"}}, 45), false, "60ms eager a, 2060ms quiet a, 2110ms eager a, 2350ms quiet a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				changes := make(chan string)
				start := time.Now()
				var looks []string
				done := make(chan struct{})
				go func() {
					defer close(done)
					settle(ctx, changes, func(paths map[string]bool, eager bool) bool {
						kind := "quiet"
						if eager {
							kind = "eager"
						}
						looks = append(looks, fmt.Sprintf("%dms %s %s", time.Since(start).Milliseconds(), kind, strings.Join(slices.Sorted(maps.Keys(paths)), " ")))
						return c.good || !eager
					})
				}()
				for _, s := range c.saves {
					time.Sleep(s.after)
					changes <- s.path
				}
				time.Sleep(5 * time.Second)
				cancel()
				<-done
				if got := strings.Join(looks, ", "); got != c.want {
					t.Errorf("looked %s, want %s", got, c.want)
				}
			})
		})
	}
}
