package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	const pairs = 7
	times := func(base, here float64) func(round, which int) float64 {
		return func(_, which int) float64 { return [2]float64{base, here}[which] }
	}
	for _, test := range []struct {
		name   string
		time   func(round, which int) float64
		slower bool
		pairs  int
	}{
		{"the same", times(10, 10), false, pairs},
		{"a little slower", times(10, 11.9), false, pairs},
		{"faster", times(10, 5), false, pairs},
		{"slower", times(10, 12.1), true, 2 * pairs},
		{"much slower", times(10, 30), true, 2 * pairs},
		{"a machine that gets slower", func(round, which int) float64 { return 10 * float64(1+round) }, false, pairs},
		{"slower on a machine that gets slower", func(round, which int) float64 {
			return float64(1+round) * [2]float64{10, 13}[which]
		}, true, 2 * pairs},
		{"three pairs that were disturbed", func(round, which int) float64 {
			if which == 1 && round < 3 {
				return 100
			}
			return 10
		}, false, pairs},
		{"disturbed until it is measured once more", func(round, which int) float64 {
			if which == 1 && round < pairs-1 {
				return 15
			}
			return 10
		}, false, 2 * pairs},
		{"noise", func(round, which int) float64 { // a median of 1.3, but only 4 of 7 agree
			if round < 3 {
				return [2]float64{10, 9}[which]
			}
			return [2]float64{10, 13}[which]
		}, false, pairs},
	} {
		var order []int // of the sides
		results, err := compare(t.Context(), [2]side{{tree: "base"}, {tree: "here"}}, []comparison{{name: "it"}}, pairs, 0.20,
			func(_ context.Context, _ comparison, s side) (float64, error) {
				which := 0
				if s.tree == "here" {
					which = 1
				}
				order = append(order, which)
				return test.time((len(order)-1)/2, which), nil
			})
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		if r.slower(0.20) != test.slower || len(r.pairs) != test.pairs {
			t.Errorf("%s: slower is %v after %d pairs, with %.2f times the time; want %v after %d", test.name, r.slower(0.20), len(r.pairs), r.ratio(), test.slower, test.pairs)
		}
		if !slices.Equal(order[:6], []int{0, 1, 1, 0, 0, 1}) {
			t.Errorf("%s: the sides are measured in the order %v, want them to take turns", test.name, order)
		}
		if got := strings.Contains(comparisonTable(results, 0.20), "**slower**"); got != test.slower {
			t.Errorf("%s: the table says slower is %v:\n%s", test.name, got, comparisonTable(results, 0.20))
		}
	}

	broken := errors.New("broken")
	_, err := compare(t.Context(), [2]side{{tree: "base"}, {tree: "here"}}, []comparison{{name: "it"}}, pairs, 0.20,
		func(context.Context, comparison, side) (float64, error) { return 0, broken })
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "it of base") {
		t.Errorf("what can't be measured: error %v", err)
	}
	if _, err := compare(t.Context(), [2]side{}, []comparison{{name: "it"}}, pairs, 0.20,
		func(context.Context, comparison, side) (float64, error) { return 0, nil }); err == nil {
		t.Error("something took no time, and there is no error")
	}
}

// TestComparisons measures all that is compared, at its shortest, of this tree.
func TestComparisons(t *testing.T) {
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	s := side{tree: here}
	if s.binary, err = build(t.Context(), here, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if s.goServer, err = buildGoServer(t.Context(), here, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for _, c := range comparisons {
		if took, err := c.measure(t.Context(), s, s.binary, t.TempDir(), 100*time.Millisecond); err != nil || !(took > 0) {
			t.Errorf("%s: %v %s, %v", c.name, took, c.unit, err)
		}
	}
}

func TestCheckOut(t *testing.T) {
	repository := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		cmd.Dir = repository
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	file := filepath.Join(repository, "file")
	git("init", "-q")
	for _, text := range []string{"one", "two"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		git("add", ".")
		git("commit", "-qm", text)
	}
	dir := filepath.Join(t.TempDir(), "tree")
	tree, remove, err := checkOut(t.Context(), repository, "HEAD~1", dir)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(tree, "file")); string(text) != "one" {
		t.Errorf("the revision before has %q, %v, want one", text, err)
	}
	if text, err := os.ReadFile(file); string(text) != "two" {
		t.Errorf("the tree itself has %q, %v, want two", text, err)
	}
	remove()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was checked out is left behind: %v", err)
	}
	if list, err := os.ReadDir(filepath.Join(repository, ".git", "worktrees")); err == nil && len(list) > 0 {
		t.Errorf("git still knows of it: %v", list)
	}
	if _, _, err := checkOut(t.Context(), repository, "nothing", dir); err == nil || !strings.Contains(err.Error(), `no revision "nothing"`) {
		t.Errorf("a revision that is not there: error %v", err)
	}
}
