package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// A panel is one diagram: curves over an x axis that is logarithmic, unless
// linear is set; from zero up or, if log is set, over decades.
type panel struct {
	title  string // what y is, and its unit
	x      string // what x is
	at     []float64
	shown  func(x float64) string // the label of a value of x; nil for a short number
	curves []curve
	linear bool    // the x axis, from zero
	goal   float64 // drawn as a dashed line, unless it is 0
	log    bool
}

// A curve is one y for each x of its panel; NaN where there is none.
type curve struct {
	name string
	y    []float64
}

// Sizes of a panel in pixels, and what is around its area.
const (
	panelWidth, panelHeight = 400, 290
	left, right, top, foot  = 62, 22, 54, 46
)

// The colours are those of the reader's scheme. A picture has its own
// background, for the page's scheme may be another one.
const plotStyle = `
  text { font: 12px system-ui, sans-serif; fill: #59636e }
  .title { font-weight: 600; fill: #1f2328 }
  .back { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .goal { stroke: #bc4c00; stroke-width: 1.5; stroke-dasharray: 5 4 }
  .goal-text { fill: #bc4c00 }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round }
  .s0 { stroke: #0969da } .d0 { fill: #0969da }
  .s1 { stroke: #8250df } .d1 { fill: #8250df }
  .s2 { stroke: #1a7f37 } .d2 { fill: #1a7f37 }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 }
    .title { fill: #f0f6fc }
    .back { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #2a313c }
    .goal { stroke: #f0883e } .goal-text { fill: #f0883e }
    .s0 { stroke: #4493f8 } .d0 { fill: #4493f8 }
    .s1 { stroke: #ab7df8 } .d1 { fill: #ab7df8 }
    .s2 { stroke: #3fb950 } .d2 { fill: #3fb950 }
  }
`

// plot draws panels side by side, as SVG.
func plot(title string, panels []panel) []byte {
	var b bytes.Buffer
	width := panelWidth * len(panels)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`+"\n", width, panelHeight)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", html.EscapeString(title), plotStyle)
	fmt.Fprintf(&b, `<rect class="back" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>`+"\n", width-1, panelHeight-1)
	for i := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d 0)">`+"\n", i*panelWidth)
		panels[i].draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (p *panel) draw(b *bytes.Buffer) {
	text := func(x, y float64, class, anchor, s string) {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, html.EscapeString(s))
	}
	const bottom, end = panelHeight - foot, panelWidth - right
	along := math.Log
	if p.linear {
		along = func(v float64) float64 { return v }
	}
	first, last := along(p.at[0]), along(p.at[len(p.at)-1])
	if p.linear {
		first = 0
	}
	x := func(v float64) float64 {
		if last == first {
			return (left + end) / 2
		}
		return left + (along(v)-first)/(last-first)*(end-left)
	}
	low, high, ticks := p.scale()
	y := func(v float64) float64 {
		if p.log {
			v = math.Log10(v)
		}
		return bottom - (v-low)/(high-low)*(bottom-top)
	}

	text(left-44, 22, "title", "start", p.title)
	for _, v := range ticks {
		fmt.Fprintf(b, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1[2]f"/>`+"\n", left, y(v), end)
		text(left-8, y(v)+4, "tick", "end", shortNumber(v))
	}
	for _, v := range p.at {
		shown := shortNumber
		if p.shown != nil {
			shown = p.shown
		}
		text(x(v), bottom+18, "tick", "middle", shown(v))
	}
	text((left+end)/2, panelHeight-10, "axis", "middle", p.x)
	if p.goal > 0 {
		fmt.Fprintf(b, `<line class="goal" x1="%d" y1="%.1f" x2="%d" y2="%.1[2]f"/>`+"\n", left, y(p.goal), end)
		text(end, y(p.goal)-5, "goal-text", "end", "goal "+shortNumber(p.goal))
	}
	for i, l := range p.curves {
		var points []string
		for j, v := range l.y {
			if !math.IsNaN(v) {
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(p.at[j]), y(v)))
			}
		}
		fmt.Fprintf(b, `<polyline class="line s%d" points="%s"/>`+"\n", i, strings.Join(points, " "))
		for _, point := range points {
			cx, cy, _ := strings.Cut(point, ",")
			fmt.Fprintf(b, `<circle class="d%d" cx="%s" cy="%s" r="3"/>`+"\n", i, cx, cy)
		}
	}
	if len(p.curves) < 2 {
		return
	}
	at := float64(left)
	for i, l := range p.curves { // the legend
		fmt.Fprintf(b, `<circle class="d%d" cx="%.1f" cy="%d" r="4"/>`+"\n", i, at, 34)
		text(at+8, 38, "legend", "start", l.name)
		at += 28 + 6.5*float64(len([]rune(l.name)))
	}
}

// scale returns the ends of the y axis, as exponents of ten if it is
// logarithmic, and the values that have a line.
func (p *panel) scale() (low, high float64, ticks []float64) {
	least, most := math.Inf(1), p.goal
	if p.goal > 0 {
		least = p.goal
	}
	for _, l := range p.curves {
		for _, v := range l.y {
			if !math.IsNaN(v) {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	if p.log && least > 0 && most > 0 {
		low, high = math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
		if low == high {
			high++
		}
		for e := low; e <= high; e++ {
			ticks = append(ticks, math.Pow(10, e))
		}
		return low, high, ticks
	}
	p.log = false
	step := niceStep(most / 4)
	for v := 0.0; ; v += step {
		ticks = append(ticks, v)
		if v >= most && v > 0 {
			return 0, v, ticks
		}
	}
}

// niceStep is the next of 1, 2, 2.5, 5 and 10 times a power of ten.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if v <= m*unit*(1+1e-9) {
			return m * unit
		}
	}
	return 10 * unit
}

// shortNumber writes 12500 as 12.5k.
func shortNumber(v float64) string {
	suffix := ""
	switch {
	case math.Abs(v) >= 1e6:
		v, suffix = v/1e6, "M"
	case math.Abs(v) >= 1e3:
		v, suffix = v/1e3, "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + suffix
}
