package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReplaceSection(t *testing.T) {
	document := []byte("# Title\n\ntext\n")
	document = replaceSection(document, "a", "one\n")
	document = replaceSection(document, "b", "two\n")
	document = append(document, "\nend\n"...)
	document = replaceSection(document, "a", "three\n")
	const want = "# Title\n\ntext\n\n<!-- a -->\nthree\n<!-- end of a -->\n\n<!-- b -->\ntwo\n<!-- end of b -->\n\nend\n"
	if string(document) != want {
		t.Errorf("the document is\n%s\nwant\n%s", document, want)
	}
	if again := replaceSection(document, "a", "three\n"); string(again) != want {
		t.Errorf("written once more it is\n%s", again)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}, {[]float64{7}, 7}} {
		if got := median(test.values); got != test.want {
			t.Errorf("median(%v) = %v, want %v", test.values, got, test.want)
		}
	}
	if got := median([]float64{1, math.NaN(), 2}); !math.IsNaN(got) {
		t.Errorf("the median of what was not measured is %v", got)
	}
}

func TestResidentOf(t *testing.T) {
	got, err := residentOf("Name:\tx\nVmRSS:\t   1234 kB\nRssAnon:\t 5 kB\n")
	if err != nil || got != 1234*1024 {
		t.Errorf("residentOf = %d, %v, want %d", got, err, 1234*1024)
	}
	if got, err := residentOf("Name:\tx\n"); err == nil {
		t.Errorf("residentOf without VmRSS = %d, want an error", got)
	}
}

// TestGrowth makes every measurement, at its smallest, and checks what comes of
// it as far as it does not depend on the machine.
func TestGrowth(t *testing.T) {
	dir := t.TempDir()
	g := &growth{binary: amphostBinary(t), dir: dir, time: 50 * time.Millisecond, rounds: 1, most: 10}
	document := filepath.Join(dir, "performance.md")
	for _, each := range growths {
		f, err := each.measure(g, t.Context())
		if err != nil {
			t.Errorf("%s: %v", each.name, err)
			continue
		}
		for _, row := range f.rows {
			if len(row) != len(f.columns) {
				t.Errorf("%s: the row %v has not as many values as there are columns: %d", each.name, row, len(f.columns))
			}
			for i, v := range row[:2] {
				// Fewer connections than are worth a look may be lost in the noise.
				if !(v > 0 || each.name == "idle" && !math.IsNaN(v)) {
					t.Errorf("%s: %s is %v", each.name, f.columns[i].name, v)
				}
			}
		}
		if f.name != each.name || len(f.rows) == 0 || len(f.panels) == 0 {
			t.Errorf("%s has found nothing to show: %+v", each.name, f)
		}
		if err := f.save(document, "Measured in a test."); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "performance", each.name+".svg")); err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "(performance/"); n != len(growths) {
		t.Errorf("the document has %d pictures, want %d:\n%s", n, len(growths), text)
	}
}

// A call that fails, or an answer that is wrong, must not pass for a fast one.
func TestDriveTellsOfErrors(t *testing.T) {
	p, address, err := serve(t.Context(), amphostBinary(t), ownPlugins, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, d := shape{2, 3}, 100*time.Millisecond
	sum := call{command: "Sum", args: sumArgs, check: isSum}
	if r, err := drive(t.Context(), address, s, d, func(int64) call { return sum }); err != nil || r.Calls < 6 || r.Rate <= 0 || r.Latency["p99"] <= 0 {
		t.Errorf("drive = %+v, %v", r, err)
	}
	sum.args = map[string][]byte{"a": []byte("13"), "b": []byte("82")}
	if _, err := drive(t.Context(), address, s, d, func(int64) call { return sum }); err == nil || !strings.Contains(err.Error(), "13 and 81 are 94") {
		t.Errorf("drive with wrong answers: error %v", err)
	}
	if _, err := drive(t.Context(), address, s, d, func(int64) call { return call{command: "Nothing"} }); err == nil || !strings.Contains(err.Error(), "UNHANDLED") {
		t.Errorf("drive with calls that fail: error %v", err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}
