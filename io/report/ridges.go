package report

import (
	"fmt"
	"html/template"
	"strings"
)

// Ridges are pairs of histograms over time, one line of the drawing a moment: how the similarities of positives and of
// negatives move apart.
type Ridges struct {
	Note   string
	Low    float64 // left end of the first bin
	High   float64 // right end of the last
	XLabel string
	Rows   []Ridge
}

// Ridge is one moment: counts in equal bins.
type Ridge struct {
	Label              string
	Positive, Negative []int
}

// SVG draws the ridges, the earliest on top.
func (r Ridges) SVG() template.HTML {
	const w, step, peak, x0, x1, y0 = 720, 46.0, 58.0, 90, 700, 66.0
	height := int(y0 + step*float64(max(len(r.Rows)-1, 0)) + 44)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="histograms of similarities over time">`, w, height)
	px := func(v float64) float64 { return x0 + (v-r.Low)/(r.High-r.Low)*(x1-x0) }
	bottom := y0 + step*float64(max(len(r.Rows)-1, 0))
	for _, t := range ticks(r.Low, r.High, 0) {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="8" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, px(t.at), px(t.at), bottom, px(t.at), bottom+17, t.label)
	}
	for i, row := range r.Rows {
		base := y0 + step*float64(i)
		for k, bins := range [][]int{row.Negative, row.Positive} {
			colour := []string{"--c1", "--c0"}[k]
			total, most := 0, 0
			for _, n := range bins {
				total, most = total+n, max(most, n)
			}
			if total == 0 {
				continue
			}
			// One scale for both histograms of a row: the share of the fuller bin is the whole height.
			scale := peak / float64(max(most, 1))
			var path strings.Builder
			fmt.Fprintf(&path, "M%.1f %.1f", px(r.Low), base)
			width := (r.High - r.Low) / float64(len(bins))
			for j, n := range bins {
				y := base - scale*float64(n)
				fmt.Fprintf(&path, "L%.1f %.1fL%.1f %.1f", px(r.Low+width*float64(j)), y, px(r.Low+width*float64(j+1)), y)
			}
			fmt.Fprintf(&path, "L%.1f %.1fZ", px(r.High), base)
			fmt.Fprintf(&b, `<path d="%s" style="fill:var(%s);fill-opacity:.28;stroke:var(%s)"/>`, path.String(), colour, colour)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, x0-8, base, template.HTMLEscapeString(row.Label))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="middle">%s</text></svg>`, (x0+x1)/2, bottom+36, template.HTMLEscapeString(r.XLabel))
	b.WriteString(`<p class="legend"><span><i style="background:var(--c0)"></i>positives</span><span><i style="background:var(--c1)"></i>negatives</span></p>`)
	return template.HTML(b.String())
}
