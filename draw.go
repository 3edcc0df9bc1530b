package contraflow

import (
	"bufio"
	"fmt"
	"html"
	"io"
)

// Drawing of a graph: every stage is a box, stages that are as many edges from a source stand in one column, feedback edges
// run below.
const (
	boxW, boxH = 152, 62
	gapX, gapY = 76, 26
	margin     = 18
)

// box is a stage's place.
type box struct {
	StageStat
	x, y int
}

// layout gives every stage a column, the longest way from a source, and a row in it.
func (s Stats) layout() (boxes map[string]box, width, height int) {
	column := map[string]int{}
	for range s.Stages { // as often as the longest way could need
		for _, e := range s.Edges {
			column[e.To] = max(column[e.To], column[e.From]+1)
		}
	}
	boxes, used := map[string]box{}, map[int]int{}
	for _, st := range s.Stages {
		c := column[st.Name]
		b := box{st, margin + c*(boxW+gapX), margin + 22 + used[c]*(boxH+gapY)}
		used[c]++
		boxes[st.Name] = b
		width, height = max(width, b.x+boxW+margin), max(height, b.y+boxH+margin)
	}
	return boxes, width, height
}

// WriteSVG draws the flow: busy shares in the boxes, the limiting stage marked, rates and occupancy on the edges. unit is what
// an item is called, "batches".
func (s Stats) WriteSVG(w io.Writer, unit string) error {
	boxes, width, height := s.layout()
	loops := 0
	for _, l := range s.Loops {
		if l.From != "" {
			loops++
		}
	}
	bottom := height
	height += loops*34 + 30
	worst, _ := s.Bottleneck()
	out := bufio.NewWriter(w)
	p := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	text := html.EscapeString
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui,sans-serif" font-size="12">`, width, height, width, height)
	p(`<style>.b{fill:#f6f7f9;stroke:#8a94a3}.w{fill:#fff1e6;stroke:#d9480f;stroke-width:2}.t{fill:#1d2430;font-weight:600}.s{fill:#5b6675;font-size:11px}.e{stroke:#5b6675;fill:none}.l{stroke:#7048e8;fill:none;stroke-dasharray:5 3}.lt{fill:#7048e8;font-size:11px}.fill{fill:#1b8a5a}.fill.hot{fill:#d9480f}.a{fill:#5b6675}.al{fill:#7048e8}.bg{fill:#fff}` +
		`@media (prefers-color-scheme:dark){.bg{fill:#14181e}.b{fill:#1d232b;stroke:#5b6675}.w{fill:#3a2417}.t{fill:#e6e9ee}.s{fill:#9aa5b4}}</style>`)
	p(`<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" class="a"/></marker>` +
		`<marker id="al" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" class="al"/></marker></defs>`)
	p(`<rect class="bg" width="%d" height="%d"/>`, width, height)
	p(`<text class="t" x="%d" y="%d">%s</text>`, margin, margin, text(s.Graph))
	for _, e := range s.Edges {
		a, b := boxes[e.From], boxes[e.To]
		x0, y0, x1, y1 := a.x+boxW, a.y+boxH/2, b.x, b.y+boxH/2
		p(`<path class="e" marker-end="url(#a)" d="M%d %dC%d %d %d %d %d %d"><title>%s → %s: %d items, full %.0f %%, empty %.0f %% of the time an item was sent</title></path>`,
			x0, y0, x0+gapX/2, y0, x1-gapX/2, y1, x1, y1, text(e.From), text(e.To), e.Items, 100*e.Full, 100*e.Empty)
		p(`<text class="s" text-anchor="middle" x="%d" y="%d">%s/s</text><text class="s" text-anchor="middle" x="%d" y="%d">%.1f of %d</text>`,
			(x0+x1)/2, (y0+y1)/2-6, rate(s.Rate(e.Items)), (x0+x1)/2, (y0+y1)/2+15, e.Occupancy, e.Depth)
	}
	for _, st := range s.Stages {
		b, class, hot := boxes[st.Name], "b", ""
		if st.Name == worst.Name {
			class, hot = "w", " hot"
		}
		p(`<g><title>%s: %d items; busy %.0f %%, starved %.0f %%, blocked %.0f %%, waited %.0f %%; p50 %s, p99 %s</title>`, text(st.Name), st.Items,
			100*st.Of(st.Busy), 100*st.Of(st.Starved), 100*st.Of(st.Blocked), 100*st.Of(st.Waited), short(st.P50), short(st.P99))
		p(`<rect class="%s" rx="6" x="%d" y="%d" width="%d" height="%d"/>`, class, b.x, b.y, boxW, boxH)
		name := st.Name
		if st.Workers > 1 {
			name = fmt.Sprintf("%s ×%d", name, st.Workers)
		}
		p(`<text class="t" x="%d" y="%d">%s</text>`, b.x+9, b.y+19, text(name))
		usual := "nothing yet"
		if st.Items > 0 {
			usual = fmt.Sprintf("busy %.0f %% · p50 %s", 100*st.Of(st.Busy), short(st.P50))
		}
		p(`<text class="s" x="%d" y="%d">%s</text>`, b.x+9, b.y+37, usual)
		p(`<rect class="fill%s" x="%d" y="%d" width="%.1f" height="5" rx="2"/></g>`, hot, b.x+9, b.y+46, max(0.5, float64(boxW-18)*min(1, st.Of(st.Busy))))
	}
	for i, l := range s.Loops {
		from, ok := boxes[l.From]
		to, found := boxes[l.To]
		if !ok || !found {
			continue
		}
		y := bottom + 16 + i*34
		x0, x1 := from.x+boxW/2, to.x+boxW/2
		p(`<path class="l" marker-end="url(#al)" d="M%d %dV%dH%dV%d"/>`, x0, from.y+boxH, y, x1, to.y+boxH+2)
		p(`<text class="lt" text-anchor="middle" x="%d" y="%d">%s, at most %d behind</text>`, (x0+x1)/2, y-5, text(l.Name), l.Staleness)
	}
	p(`<text class="s" x="%d" y="%d">%s</text>`, margin, height-10, text(fmt.Sprintf("%s. On the edges: %s a second, and how many were waiting.", s.Verdict(), unit)))
	p(`</svg>`)
	return out.Flush()
}

// WriteDOT writes the flow for Graphviz, with the same numbers as WriteSVG.
func (s Stats) WriteDOT(w io.Writer, unit string) error {
	worst, _ := s.Bottleneck()
	out := bufio.NewWriter(w)
	p := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	p("digraph %q {\n  rankdir=LR; label=%q;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"]; edge [fontname=\"sans-serif\", fontsize=10];", s.Graph, s.Verdict())
	for _, st := range s.Stages {
		mark := ""
		if st.Name == worst.Name {
			mark = ", color=\"#d9480f\", penwidth=2"
		}
		p("  %q [label=%q%s];", st.Name, fmt.Sprintf("%s ×%d\nbusy %.0f %%, p50 %s", st.Name, st.Workers, 100*st.Of(st.Busy), short(st.P50)), mark)
	}
	for _, e := range s.Edges {
		p("  %q -> %q [label=%q];", e.From, e.To, fmt.Sprintf("%s %s/s\n%.1f of %d", rate(s.Rate(e.Items)), unit, e.Occupancy, e.Depth))
	}
	for _, l := range s.Loops {
		if l.From != "" {
			p("  %q -> %q [label=%q, style=dashed, constraint=false];", l.From, l.To, l.Name)
		}
	}
	p("}")
	return out.Flush()
}
