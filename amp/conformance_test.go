package amp

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConformancePage checks docs/conformance.md: it speaks of every item and
// of every test of Twisted, and whatever shows something exists.
func TestConformancePage(t *testing.T) {
	text, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, group := range []struct {
		letter      string
		first, last int
	}{
		{"F", 1, 18}, {"K", 1, 7}, {"G", 1, 7}, {"L", 1, 12}, {"Y", 1, 13}, {"E", 0, 4}, {"E", 8, 10},
		{"R", 1, 8}, {"S", 1, 6}, {"TL", 1, 9}, {"D", 1, 4}, {"U", 1, 15}, {"P", 1, 15},
	} {
		for i := group.first; i <= group.last; i++ {
			if row := fmt.Sprintf("\n| %s%d | ", group.letter, i); strings.Count(page, row) != 1 {
				t.Errorf("%q is not a row of the page", row)
			}
		}
	}

	sources := testSources(t)
	mentioned := regexp.MustCompile("`(?:([a-z/]+)\\.)?((?:Test|Fuzz|Example)[A-Z]\\w*)(?:/([^`]+))?`").FindAllStringSubmatch(page, -1)
	for _, m := range mentioned {
		dir, test, sub := m[1], m[2], m[3]
		if dir == "" {
			dir = "amp"
		}
		source, ok := sources[dir+"."+test]
		if !ok {
			t.Errorf("there is no test %s in %s", test, dir)
		} else if sub != "" && !strings.Contains(source, fmt.Sprintf("%q", sub)) {
			t.Errorf("%s has no part %q", test, sub)
		}
	}
	if len(mentioned) < 200 {
		t.Errorf("the page mentions only %d tests", len(mentioned))
	}

	cases := readTranscripts(t, "testdata/twisted/server.amp")
	used := make(map[string]bool)
	for _, m := range regexp.MustCompile(`transcripts ([A-Z]+\d+)`).FindAllStringSubmatch(page, -1) {
		used[m[1]] = true
	}
	for _, tr := range cases {
		item, _, _ := strings.Cut(tr.name, " ")
		if _, ok := used[item]; !ok {
			t.Errorf("no row of the page mentions the transcripts of %s", item)
		}
		used[item] = false
	}
	for item, missing := range used {
		if missing {
			t.Errorf("there are no transcripts of %s", item)
		}
	}
}

// testSources returns for each test of the repository the file it is in, by
// directory and name.
func testSources(t *testing.T) map[string]string {
	t.Helper()
	sources := make(map[string]string)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel("..", filepath.Dir(path))
		for _, m := range function.FindAllStringSubmatch(string(source), -1) {
			sources[filepath.ToSlash(dir)+"."+m[1]] = string(source)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

// TestEveryTestOfTwistedIsListed compares the last table of the page with the
// tests that Twisted has.
func TestEveryTestOfTwistedIsListed(t *testing.T) {
	program := "import twisted, twisted.protocols as p, os; print(twisted.__version__); " +
		"print(open(os.path.join(os.path.dirname(p.__file__), '../test/test_amp.py')).read())"
	out, err := exec.Command(twistedPython(t), "-B", "-c", program).CombinedOutput()
	if err != nil {
		t.Skipf("this Twisted has no tests of its own: %s", out)
	}
	version, source, _ := strings.Cut(string(out), "\n")
	text, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	if !strings.Contains(page, "Twisted here is "+strings.TrimSuffix(version, ".0")) {
		t.Skipf("the page is not about Twisted %s", version)
	}
	listed := make(map[string]bool)
	row := regexp.MustCompile("(?m)^\\| (\\w+) \\| (`test_.*?) \\| ")
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		for test := range strings.SplitSeq(m[2], ", ") {
			listed[m[1]+"."+strings.Trim(test, "`")] = true
		}
	}
	class := ""
	found := 0
	for _, m := range regexp.MustCompile(`(?m)^class (\w+)|^    def (test_\w+)`).FindAllStringSubmatch(source, -1) {
		if m[1] != "" {
			class = m[1]
			continue
		}
		found++
		if name := class + "." + m[2]; !listed[name] {
			t.Errorf("%s is not listed", name)
		} else {
			delete(listed, name)
		}
	}
	for name := range listed {
		t.Errorf("Twisted has no %s", name)
	}
	if found < 100 {
		t.Errorf("found only %d tests of Twisted", found)
	}
}
