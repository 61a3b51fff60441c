package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// TestPlot checks that a picture is well-formed, that every value is where its
// axis says, and that text is text.
func TestPlot(t *testing.T) {
	svg := string(plot("a < b", []panel{{
		title: "calls & more", x: "plugins", at: []float64{1, 10, 100}, goal: 5,
		curves: []curve{{"<one>", []float64{0, 10, 20}}, {"two", []float64{math.NaN(), 5, 20}}},
	}}))
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in:\n%s", err, svg)
		}
	}
	// From 0 to 20, from 1 to 100: the middle of both is in the middle.
	x0, x2, y0, y2 := float64(left), float64(panelWidth-right), float64(panelHeight-foot), float64(top)
	for _, want := range []string{
		points(x0, y0, (x0+x2)/2, (y0+y2)/2, x2, y2),
		points((x0+x2)/2, y0-(y0-y2)/4, x2, y2),
		"calls &amp; more", "&lt;one&gt;", "goal 5",
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("there is no %s in:\n%s", want, svg)
		}
	}
}

// points are pairs of coordinates as polyline has them.
func points(xy ...float64) string {
	var list []string
	for i := 0; i < len(xy); i += 2 {
		list = append(list, strings.Join([]string{figures(1)(xy[i]), figures(1)(xy[i+1])}, ","))
	}
	return `points="` + strings.Join(list, " ") + `"`
}

func TestScale(t *testing.T) {
	for _, test := range []struct {
		p     panel
		ticks []float64
	}{
		{panel{curves: []curve{{"", []float64{17, 92}}}}, []float64{0, 25, 50, 75, 100}},
		{panel{curves: []curve{{"", []float64{0, 0}}}}, []float64{0, 1}},
		{panel{curves: []curve{{"", []float64{0.3, 6}}}, goal: 10}, []float64{0, 2.5, 5, 7.5, 10}},
		{panel{curves: []curve{{"", []float64{0.3, 60}}}, log: true}, []float64{0.1, 1, 10, 100}},
		{panel{curves: []curve{{"", []float64{0, 4}}}, log: true}, []float64{0, 1, 2, 3, 4}}, // no logarithm
	} {
		if _, _, got := test.p.scale(); !slices.EqualFunc(got, test.ticks, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Errorf("the lines for %v up to %v are at %v, want %v", test.p.curves, test.p.goal, got, test.ticks)
		}
	}
	for v, want := range map[float64]string{1: "1", 0.25: "0.25", 999: "999", 1000: "1k", 12_500: "12.5k", 2e6: "2M"} {
		if got := shortNumber(v); got != want {
			t.Errorf("shortNumber(%v) = %q, want %q", v, got, want)
		}
	}
}
