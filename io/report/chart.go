package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Point is one point of a curve or a map.
type Point struct{ X, Y float64 }

// Series is one named curve. One without points keeps its colour for itself, and is neither drawn nor in the legend.
type Series struct {
	Name   string
	Points []Point
}

// Line is a horizontal line, such as a baseline.
type Line struct {
	Name string
	Y    float64
}

// Chart is a line chart.
type Chart struct {
	Title, XLabel, YLabel string
	Series                []Series
	Lines                 []Line
}

// palette has ten colours that stay apart, also for readers who see fewer, on white: for drawings that are files of their own.
var palette = []string{"#2f5fc4", "#c95f14", "#14804f", "#9c2c78", "#776500", "#0b7f92", "#b92d2d", "#5f4fc0", "#47750d", "#80552f"}

// colour is the i-th of them on a page, which has them for light and dark.
func colour(i int) string { return fmt.Sprintf("var(--c%d)", i%len(palette)) }

const (
	width, height                  = 560, 300
	left, right, top, bottomMargin = 72, 14, 14, 44
)

// SVG draws the chart.
func (c Chart) SVG() template.HTML {
	x0, x1, y0, y1 := c.bounds()
	px := func(x float64) float64 { return left + (x-x0)/(x1-x0)*(width-left-right) }
	py := func(y float64) float64 { return height - bottomMargin - (y-y0)/(y1-y0)*(height-top-bottomMargin) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(c.Title))
	for _, t := range ticks(y0, y1, 0) {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`,
			left, width-right, py(t.at), py(t.at), left-6, py(t.at)+4, t.label)
	}
	for _, t := range ticks(x0, x1, c.leastStep()) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, px(t.at), height-bottomMargin+18, t.label)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`, (left+width-right)/2, height-6, template.HTMLEscapeString(c.XLabel))
	fmt.Fprintf(&b, `<text transform="translate(13 %d) rotate(-90)" text-anchor="middle">%s</text>`, (top+height-bottomMargin)/2, template.HTMLEscapeString(c.YLabel))
	for i, l := range c.Lines {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" style="stroke:%s" stroke-dasharray="5 4"/>`,
			left, width-right, py(l.Y), py(l.Y), colour(len(c.Series)+i))
	}
	for i, s := range c.Series {
		if len(s.Points) == 0 {
			continue
		}
		var path strings.Builder
		var last Point
		drawn := 0
		for _, p := range s.Points {
			if !finite(p) {
				continue
			}
			op := "L"
			if path.Len() == 0 {
				op = "M"
			}
			last = p
			drawn++
			fmt.Fprintf(&path, "%s%.1f %.1f", op, px(p.X), py(p.Y))
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" style="stroke:%s" stroke-width="1.8"/>`, path.String(), colour(i))
		if drawn == 1 { // a path of one point shows nothing
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" style="fill:%s"/>`, px(last.X), py(last.Y), colour(i))
		}
	}
	b.WriteString("</svg>")
	b.WriteString(c.legend())
	return template.HTML(b.String())
}

func (c Chart) legend() string {
	var b strings.Builder
	b.WriteString(`<p class="legend">`)
	for i, s := range c.Series {
		if len(s.Points) == 0 {
			continue
		}
		fmt.Fprintf(&b, `<span><i style="background:%s"></i>%s</span> `, colour(i), template.HTMLEscapeString(s.Name))
	}
	for i, l := range c.Lines {
		fmt.Fprintf(&b, `<span><i class="dash" style="border-color:%s"></i>%s %s</span> `, colour(len(c.Series)+i), template.HTMLEscapeString(l.Name), strconv.FormatFloat(l.Y, 'g', 4, 64))
	}
	b.WriteString("</p>")
	return b.String()
}

func finite(p Point) bool {
	return !math.IsNaN(p.X) && !math.IsNaN(p.Y) && !math.IsInf(p.X, 0) && !math.IsInf(p.Y, 0)
}

func (c Chart) bounds() (x0, x1, y0, y1 float64) {
	x0, y0 = math.Inf(1), math.Inf(1)
	x1, y1 = math.Inf(-1), math.Inf(-1)
	for _, s := range c.Series {
		for _, p := range s.Points {
			if finite(p) {
				x0, x1, y0, y1 = min(x0, p.X), max(x1, p.X), min(y0, p.Y), max(y1, p.Y)
			}
		}
	}
	for _, l := range c.Lines {
		y0, y1 = min(y0, l.Y), max(y1, l.Y)
	}
	if x0 > x1 {
		return 0, 1, 0, 1
	}
	if x0 == x1 {
		x1 = x0 + 1
	}
	pad := (y1 - y0) * 0.06
	if y1-y0 <= 1e-9*max(math.Abs(y0), math.Abs(y1)) { // a constant: means of equal values may differ in their last bits
		if pad = math.Abs(y0) * 0.1; pad == 0 {
			pad = 0.1
		}
	}
	return x0, x1, y0 - pad, y1 + pad
}

// leastStep is the smallest distance of ticks below: 1 where every point has a whole number, such as a step.
func (c Chart) leastStep() float64 {
	for _, s := range c.Series {
		for _, p := range s.Points {
			if p.X != math.Trunc(p.X) {
				return 0
			}
		}
	}
	return 1
}

// tick is a round value on an axis.
type tick struct {
	at    float64
	label string
}

// ticks are four to eight round values in [a,b], fewer where they would be nearer than least. The two ends must differ by more
// than rounding.
func ticks(a, b, least float64) (out []tick) {
	step := math.Pow(10, math.Floor(math.Log10((b-a)/4)))
	for _, k := range []float64{1, 2, 5, 10} {
		if (b-a)/(step*k) <= 7 {
			step *= k
			break
		}
	}
	step = max(step, least)
	for n := math.Ceil(a / step); n*step <= b+step*1e-9; n++ {
		out = append(out, tick{n * step, label(n*step, step)})
	}
	return out
}

// label writes a value with the digits that tell it from its neighbours, a step away.
func label(v, step float64) string {
	v += 0 // turns -0 into 0
	digits := math.Floor(math.Log10(step) + 1e-9)
	if v != 0 && (math.Abs(v) >= 1e7 || step < 1e-5) {
		return strconv.FormatFloat(v, 'g', int(math.Floor(math.Log10(math.Abs(v))+1e-9)-digits)+1, 64)
	}
	if digits >= 0 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', int(-digits), 64), "0"), ".")
}

// Scatter is a two-dimensional map of rows coloured by class.
type Scatter struct {
	Title   string
	Note    string
	Points  []Point
	Labels  []int
	Classes []string
}

// SVG draws the map.
func (s Scatter) SVG() template.HTML {
	const size = 420
	x0, x1, y0, y1 := Chart{Series: []Series{{Points: s.Points}}}.bounds()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s"><rect class="grid" x="0.5" y="0.5" width="%d" height="%d" fill="none"/>`,
		size, size, template.HTMLEscapeString(s.Title), size-1, size-1) // the frame keeps maps beside each other apart
	for i, p := range s.Points {
		if !finite(p) {
			continue
		}
		name := ""
		if l := s.Labels[i]; l < len(s.Classes) {
			name = s.Classes[l]
		}
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.2" style="fill:%s" fill-opacity="0.75"><title>%s</title></circle>`,
			10+(p.X-x0)/(x1-x0)*(size-20), size-10-(p.Y-y0)/(y1-y0)*(size-20), colour(s.Labels[i]), template.HTMLEscapeString(name))
	}
	b.WriteString(`</svg><p class="legend">`)
	if n := len(s.Classes); n > len(palette) { // a legend would give every colour several names, of ImageNet a hundred
		fmt.Fprintf(&b, `%d classes share %d colours; a point tells its class under the pointer.</p>`, n, len(palette))
		return template.HTML(b.String())
	}
	for i, c := range s.Classes {
		fmt.Fprintf(&b, `<span><i style="background:%s"></i>%s</span> `, colour(i), template.HTMLEscapeString(c))
	}
	b.WriteString("</p>")
	return template.HTML(b.String())
}
