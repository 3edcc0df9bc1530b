package contraflow

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// String lists the stages with what they read, one a line, and the feedback edges: a picture of the wiring for logs and golden
// files. The number after a stage is what its edge holds.
func (g *Graph) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "graph %s\n", g.name)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, n := range g.nodes {
		kind := n.kind
		if n.most > 1 {
			kind = fmt.Sprintf("%s, up to %d workers", kind, n.most)
		}
		var from []string
		for _, e := range n.ins {
			from = append(from, fmt.Sprintf("%s [%d]", e.from.name, cap(e.ch)))
		}
		line := n.name + "\t" + kind
		if len(from) > 0 {
			line += "\t← " + strings.Join(from, ", ")
		}
		fmt.Fprintln(w, line)
	}
	for _, l := range g.loops {
		fmt.Fprintf(w, "%s\tloop\t%s ⇠ %s [%d]\n", l.name, or(l.end, "?"), or(l.start, "?"), l.capacity)
	}
	w.Flush()
	return b.String()
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// MarshalJSON writes rates in items a second, times in milliseconds and shares in [0,1].
func (s Stats) MarshalJSON() ([]byte, error) {
	type stage struct {
		Name    string  `json:"name"`
		Kind    string  `json:"kind"`
		Workers int     `json:"workers"`
		Scales  bool    `json:"scales"`
		Items   int64   `json:"items"`
		Rate    float64 `json:"items_per_s"`
		Busy    float64 `json:"busy"`
		Starved float64 `json:"starved"`
		Blocked float64 `json:"blocked"`
		Waited  float64 `json:"waited"`
		P50     float64 `json:"p50_ms"`
		P90     float64 `json:"p90_ms"`
		P99     float64 `json:"p99_ms"`
		Max     float64 `json:"max_ms"`
	}
	type edge struct {
		From      string  `json:"from"`
		To        string  `json:"to"`
		Depth     int     `json:"depth"`
		Items     int64   `json:"items"`
		Rate      float64 `json:"items_per_s"`
		Waiting   int     `json:"waiting"`
		Occupancy float64 `json:"occupancy"`
		Full      float64 `json:"full"`
		Empty     float64 `json:"empty"`
	}
	type feedback struct {
		Name      string `json:"name"`
		From      string `json:"from"`
		To        string `json:"to"`
		Staleness int    `json:"staleness"`
		Items     int64  `json:"items"`
	}
	out := struct {
		Graph   string     `json:"graph"`
		Seconds float64    `json:"seconds"`
		Stages  []stage    `json:"stages"`
		Edges   []edge     `json:"edges"`
		Loops   []feedback `json:"loops"`
		CPU     float64    `json:"cpu,omitempty"`
		Limits  string     `json:"limits"`
		Gain    float64    `json:"gain"` // of one more worker for it
		Verdict string     `json:"verdict"`
	}{Graph: s.Graph, Seconds: s.Elapsed.Seconds(), Stages: []stage{}, Edges: []edge{}, Loops: []feedback{}, CPU: s.CPU, Gain: s.Gain(), Verdict: s.Verdict()}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	for _, t := range s.Stages {
		out.Stages = append(out.Stages, stage{t.Name, t.Kind, t.Workers, t.Scales, t.Items, s.Rate(t.Items), t.Of(t.Busy), t.Of(t.Starved),
			t.Of(t.Blocked), t.Of(t.Waited), ms(t.P50), ms(t.P90), ms(t.P99), ms(t.Max)})
	}
	for _, e := range s.Edges {
		out.Edges = append(out.Edges, edge{e.From, e.To, e.Depth, e.Items, s.Rate(e.Items), e.Waiting, e.Occupancy, e.Full, e.Empty})
	}
	for _, l := range s.Loops {
		out.Loops = append(out.Loops, feedback(l))
	}
	if st, ok := s.Bottleneck(); ok {
		out.Limits = st.Name
	}
	return json.Marshal(out)
}
