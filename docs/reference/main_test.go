package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/amphost/amphost/scripting"
)

func TestReferenceIsCurrent(t *testing.T) {
	data, err := os.ReadFile("../reference.md")
	if err != nil {
		t.Fatal(err)
	}
	got := page(scripting.Types())
	if string(data) != got {
		t.Error("docs/reference.md is not what amphost.d.ts says now: make reference")
	}
	// All of it is there, down to the last line of each declaration.
	for _, line := range regexp.MustCompile(`(?m)^ *(?:declare )?(?:function|class|interface|const|var) .*$`).FindAllString(scripting.Types(), -1) {
		if !strings.Contains(got, "\n"+strings.TrimSpace(line)+"\n") && !strings.Contains(got, "\n"+line+"\n") && !strings.Contains(got, "\n"+strings.TrimPrefix(line, "  ")+"\n") {
			t.Errorf("the page lacks %q", strings.TrimSpace(line))
		}
	}
	if open, closed := strings.Count(got, "{"), strings.Count(got, "}"); open != closed {
		t.Errorf("%d brackets are opened and %d closed: a declaration is cut off", open, closed)
	}
}
