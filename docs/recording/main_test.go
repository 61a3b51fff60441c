package main

import (
	"encoding/xml"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// texts returns what a picture has written on it, and fails the test if it is
// not well-formed.
func texts(t *testing.T, svg string) []string {
	t.Helper()
	var found []string
	inText := false
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			inText = token.Name.Local == "text"
		case xml.CharData:
			if inText {
				found = append(found, string(token))
			}
		case xml.EndElement:
			inText = false
		}
	}
}

func TestSVG(t *testing.T) {
	got := texts(t, svg([]line{{text: `a < b & "c"`}, {at: time.Second, until: 2 * time.Second, row: 1, text: strings.Repeat("x", 2*columns)}}, 3*time.Second))
	if len(got) != 2 || got[0] != `a < b & "c"` || got[1] != strings.Repeat("x", columns-1)+"…" {
		t.Errorf("the picture says %q", got)
	}
}

// The recording that the README shows is one of a reload under load, in which
// no call failed.
func TestTheRecordingShowsWhatTheReadmeSays(t *testing.T) {
	data, err := os.ReadFile("../reload.svg")
	if err != nil {
		t.Fatal(err)
	}
	all := texts(t, string(data))
	count := func(what string) (n int) {
		for _, text := range all {
			if strings.Contains(text, what) {
				n++
			}
		}
		return n
	}
	counts := count(" calls, ")
	if counts < 10 || count(" calls, 0 failed, ") != counts {
		t.Errorf("%d of %d counts say that no call failed", count(" calls, 0 failed, "), counts)
	}
	if count("INF plugin reloaded") != 2 || count("ERR plugin not reloaded") != 1 || count("# plugins/hello.js saved") != 3 {
		t.Errorf("the recording is not of three saves, one with a mistake: %q", all)
	}
}
