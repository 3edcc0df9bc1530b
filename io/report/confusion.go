package report

import (
	"fmt"
	"html/template"
	"strings"
	"unicode"
)

// Confusion is a confusion matrix: Counts[i][j] images of class i were taken for class j; most of many classes are not there, which is 0.
type Confusion struct {
	Note    string
	Classes []string
	Counts  []map[int]int
}

// Most keeps the n classes with the most mistakes, in their order, and says so in the note.
func (c Confusion) Most(n int) Confusion {
	if len(c.Classes) <= n {
		return c
	}
	wrong := make([]int, len(c.Classes))
	for i, row := range c.Counts {
		for j, v := range row {
			if i != j {
				wrong[i] += v
				wrong[j] += v
			}
		}
	}
	keep := map[int]bool{}
	for len(keep) < n {
		best := -1
		for i, w := range wrong {
			if !keep[i] && (best < 0 || w > wrong[best]) {
				best = i
			}
		}
		keep[best] = true
	}
	out := Confusion{Note: fmt.Sprintf("%s The %d of %d classes with the most mistakes.", c.Note, n, len(c.Classes))}
	for i, name := range c.Classes {
		if !keep[i] {
			continue
		}
		row := map[int]int{}
		at := 0
		for j := range c.Classes {
			if keep[j] {
				row[at] = c.Counts[i][j]
				at++
			}
		}
		out.Classes, out.Counts = append(out.Classes, name), append(out.Counts, row)
	}
	return out
}

// SVG draws the matrix; the shade of a cell is its share of its row.
func (c Confusion) SVG() template.HTML {
	n := len(c.Classes)
	margin := 14 + 6.6*4.0
	for _, name := range c.Classes {
		margin = max(margin, 14+textWidth(shorten(name, 16)))
	}
	cell := min(44, max(15, (720-margin)/float64(max(n, 1))))
	size := margin + cell*float64(n) + 6
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %.0f %.0f" style="max-width:%.0fpx" role="img" aria-label="confusion matrix">`, size, size, size)
	for i, row := range c.Counts {
		total := 0
		for _, v := range row {
			total += v
		}
		y := margin + cell*float64(i)
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="end">%s</text>`, margin-6, y+cell/2+4, template.HTMLEscapeString(shorten(c.Classes[i], 16)))
		fmt.Fprintf(&b, `<text transform="translate(%.1f %.1f) rotate(-90)">%s</text>`, margin+cell*float64(i)+cell/2+4, margin-6, template.HTMLEscapeString(shorten(c.Classes[i], 16)))
		for j := range n {
			v := row[j]
			share := float64(v) / float64(max(total, 1))
			x := margin + cell*float64(j)
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" style="fill:rgba(var(--heat),%.3f)"><title>%s taken for %s: %d of %d</title></rect>`,
				x, y, cell-1, cell-1, 0.04+0.8*share, template.HTMLEscapeString(c.Classes[i]), template.HTMLEscapeString(c.Classes[j]), v, total)
			if v > 0 && cell >= 20 {
				fmt.Fprintf(&b, `<text class="strong" x="%.1f" y="%.1f" text-anchor="middle">%d</text>`, x+cell/2-0.5, y+cell/2+3.5, v)
			}
		}
	}
	b.WriteString(`</svg><p class="legend">rows: the class; columns: what it was taken for</p>`) // a small matrix is narrower than this
	return template.HTML(b.String())
}

// textWidth is about how wide a label is in pixels, at the size of the page's drawings.
func textWidth(s string) (w float64) {
	for _, r := range s {
		switch {
		case r >= 0x1100 || strings.ContainsRune("mwMW", r): // from here on the scripts of East Asia, and …
			w += 11
		case unicode.IsUpper(r):
			w += 8
		default:
			w += 6.6
		}
	}
	return w
}

// shorten cuts a label.
func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
