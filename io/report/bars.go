package report

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Bars is a chart of curves with error bars over whole numbers, as an SVG file of its own: it carries its colours, its legend
// and its size.
type Bars struct {
	Title, XLabel, YLabel string
	Series                []BarSeries
}

// BarSeries is one named curve.
type BarSeries struct {
	Name   string
	Points []BarPoint
}

// BarPoint is a value and its spread.
type BarPoint struct{ X, Y, Low, High float64 }

// SVG draws the chart.
func (c Bars) SVG() string {
	const h, l, t, b = 380, 64, 40, 52
	r := 130 // the legend's room
	for _, s := range c.Series {
		r = max(r, 44+int(textWidth(s.Name)*13/11)) // it is written larger than what textWidth measures
	}
	w := 510 + r
	x0, x1, y0, y1 := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range c.Series {
		for _, p := range s.Points {
			x0, x1, y0, y1 = min(x0, p.X), max(x1, p.X), min(y0, p.Low), max(y1, p.High)
		}
	}
	if x0 > x1 {
		x0, x1, y0, y1 = 0, 1, 0, 1
	}
	x0, x1 = x0-0.25, x1+0.25
	pad := max((y1-y0)*0.06, 1e-6)
	y0, y1 = y0-pad, y1+pad
	px := func(x float64) float64 { return l + (x-x0)/(x1-x0)*float64(w-l-r) }
	py := func(y float64) float64 { return h - b - (y-y0)/(y1-y0)*(h-t-b) }
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui,sans-serif" font-size="13" fill="#333">`, w, h, w, h)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#fff"/><text x="%d" y="24" font-size="15" font-weight="600">%s</text>`, w, h, l, html.EscapeString(c.Title))
	for _, t := range ticks(y0, y1, 0) {
		fmt.Fprintf(&out, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`, l, w-r, py(t.at), py(t.at), l-8, py(t.at)+4, t.label)
	}
	for v := math.Ceil(x0); v <= x1; v++ {
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, px(v), h-b+20, label(v, 1))
	}
	fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="middle">%s</text>`, (l+w-r)/2, h-12, html.EscapeString(c.XLabel))
	fmt.Fprintf(&out, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`, (t+h-b)/2, html.EscapeString(c.YLabel))
	for i, s := range c.Series {
		colour := palette[i%len(palette)]
		shift := 0.03 * (float64(i) - float64(len(c.Series)-1)/2) // bars of several curves stand side by side
		path := ""
		for j, p := range s.Points {
			x, op := px(p.X+shift), "L"
			if j == 0 {
				op = "M"
			}
			path += fmt.Sprintf("%s%.1f %.1f", op, x, py(p.Y))
			fmt.Fprintf(&out, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s" stroke-width="1.4"/><circle cx="%.1f" cy="%.1f" r="3.6" fill="%s"/>`,
				x, x, py(p.Low), py(p.High), colour, x, py(p.Y), colour)
		}
		fmt.Fprintf(&out, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`, path, colour)
		y := t + 10 + 22*i
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="14" height="14" rx="3" fill="%s"/><text x="%d" y="%d">%s</text>`, w-r+18, y, colour, w-r+38, y+12, html.EscapeString(s.Name))
	}
	out.WriteString("</svg>\n")
	return out.String()
}
