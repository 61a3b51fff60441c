package amp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// twistedPython returns a Python that has Twisted. Without one it skips the
// test, and fails it where CI is set: there it has to be installed.
func twistedPython(t testing.TB) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import twisted.protocols.amp").Run() == nil {
			return python
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no Python with Twisted: apt-get install python3-twisted")
	}
	t.Skip("NOT COMPARED WITH TWISTED: no Python with Twisted, apt-get install python3-twisted")
	return ""
}

func TestGoldenFileIsWhatTwistedSays(t *testing.T) {
	now, err := exec.Command(twistedPython(t), "testdata/golden.py").Output()
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := os.ReadFile("testdata/golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(now, recorded) {
		t.Error("testdata/golden.jsonl is not what testdata/golden.py prints; record it again, and see what changed")
	}
}

// TestDecodesLikeTwisted has Twisted and this package read thousands of texts
// that are nearly right, and compares what they take and what they write
// again.
func TestDecodesLikeTwisted(t *testing.T) {
	python := twistedPython(t)
	perType := 2500
	if testing.Short() || raceEnabled {
		perType = 800
	}
	seeds := make(map[string][]string)
	for _, c := range goldenCases(t) {
		if len(c.Text) < 200 {
			seeds[c.Type] = append(seeds[c.Type], c.Text)
		}
	}
	// Relative paths depend on the directory, which golden.jsonl does not know.
	seeds["Path"] = append(seeds["Path"], "", ".", "..", "../x", "a/b", "a//b", "./..//x/", "\u00e9/../e\u0301")

	rng := rand.New(rand.NewPCG(3, 22)) // the same texts in each run
	type question struct{ kind, text string }
	var questions []question
	var input strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(twistedTypes)) {
		for range perType {
			text := mutate(rng, kind, seeds[kind])
			if kind == "Path" && (strings.Contains(text, "\x00") || strings.HasPrefix(text, "//")) {
				continue // Python 3.11 cuts paths at NUL; POSIX lets it keep two slashes in front
			}
			questions = append(questions, question{kind, text})
			fmt.Fprintf(&input, "%s %s\n", kind, hex.EncodeToString([]byte(text)))
		}
	}
	cmd := exec.Command(python, "testdata/golden.py", "serve")
	cmd.Stdin = strings.NewReader(input.String())
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
	if len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(answers), len(questions))
	}
	taken := make(map[string]int)
	for i, q := range questions {
		var want verdict
		switch canonical, ok := strings.CutPrefix(answers[i], "="); {
		case ok:
			text, err := hex.DecodeString(canonical)
			if err != nil {
				t.Fatal(err)
			}
			want.canonical = string(text)
			taken[q.kind]++
		case answers[i] == "refused":
			want.refused = true
		default:
			want.unencodable = true
		}
		if got, err := judge(t, twistedTypes[q.kind], q.text); got != want {
			t.Errorf("%s %.200q: got %.200v, %v; Twisted: %.200v", q.kind, q.text, got, err, want)
		}
	}
	for kind := range twistedTypes {
		// A comparison of refusals alone would prove little.
		if taken[kind] < perType/50 {
			t.Errorf("%s: Twisted took only %d of %d texts", kind, taken[kind], perType)
		}
	}
}

// mutate returns a seed with some bytes changed, or none.
func mutate(rng *rand.Rand, kind string, seeds []string) string {
	alphabet := "0123456789+-_. \t\n\x0b\x0c\r\x1c\x1f\x00eE,xXinfatysNAINTFrueals:/TZ\x80\x85\xa0\xc2\xe2\xff"
	text := []byte(seeds[rng.IntN(len(seeds))])
	for range rng.IntN(4) {
		c := alphabet[rng.IntN(len(alphabet))]
		if strings.Contains(kind, "List") {
			c = []byte{0, 0, 0, 1, 2, 3, 5, '1', '2', 'x', 'y', ' ', c}[rng.IntN(13)]
		}
		switch i := rng.IntN(len(text) + 1); rng.IntN(5) {
		case 0:
			text = slices.Insert(text, i, c)
		case 1:
			text = slices.Delete(text, i, min(i+1, len(text)))
		case 2:
			text = text[:i]
		case 3:
			other := seeds[rng.IntN(len(seeds))]
			text = append(text[:i], other[rng.IntN(len(other)+1):]...)
		default:
			if i < len(text) {
				text[i] = c
			}
		}
	}
	return string(text)
}
