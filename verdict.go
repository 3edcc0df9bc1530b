package contraflow

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// limit is what bounds a graph's rate: a stage, or stages that take turns.
type limit struct {
	stage  StageStat // the busiest of them
	share  float64   // of the time that one of them was busy
	others []string  // that take turns with it
}

// limits are the bounds of a graph, every stage in one or more. Stages that take turns work one after the other, so what counts is
// their busy time together.
func (s Stats) limits() (out []limit) {
	takesTurns := map[string]bool{}
	for _, names := range s.turns() {
		var l limit
		for _, st := range s.Stages {
			if st.parallel || !slices.Contains(names, st.Name) {
				continue
			}
			takesTurns[st.Name] = true
			share := s.Share(st)
			l.share += share
			if l.stage.Name == "" || share > s.Share(l.stage) {
				l.stage = st
			}
		}
		for _, name := range names {
			if takesTurns[name] && name != l.stage.Name {
				l.others = append(l.others, name)
			}
		}
		out = append(out, l)
	}
	for _, st := range s.Stages {
		if !takesTurns[st.Name] {
			out = append(out, limit{stage: st, share: s.Share(st)})
		}
	}
	return out
}

// turns are the stages that take turns: those between the ends of a feedback edge on which one value fits, and those that are chained
// to another, whose goroutine they share.
func (s Stats) turns() (out [][]string) {
	for _, l := range s.Loops {
		if names := s.between(l.To, l.From); l.Staleness == 1 && len(names) > 0 {
			out = append(out, names)
		}
	}
	chains := map[string]int{}  // by its last stage so far
	for _, e := range s.Edges { // in the order of the stages before them
		if e.Depth != 0 {
			continue
		}
		i, begun := chains[e.From]
		if !begun {
			i = len(out)
			out = append(out, []string{e.From})
			chains[e.From] = i
		}
		out[i] = append(out[i], e.To)
		chains[e.To] = i
	}
	return out
}

// between lists the stages on the ways from one stage to another, both included.
func (s Stats) between(from, to string) (out []string) {
	next := map[string][]string{}
	for _, e := range s.Edges {
		next[e.From] = append(next[e.From], e.To)
	}
	leads := map[string]bool{} // to the end; false for what is being looked at
	var visit func(name string) bool
	visit = func(name string) bool {
		if found, seen := leads[name]; seen {
			return found
		}
		leads[name] = name == to
		for _, n := range next[name] {
			leads[name] = visit(n) || leads[name]
		}
		if leads[name] {
			out = append(out, name)
		}
		return leads[name]
	}
	visit(from)
	return out
}

// top are the largest bound and the share of the next.
func (s Stats) top() (first limit, second float64, ok bool) {
	for _, l := range s.limits() {
		switch {
		case l.share > first.share:
			first, second, ok = l, first.share, true
		case l.share > second:
			second = l.share
		}
	}
	return first, second, ok
}

// Bottleneck is the stage that bounds the graph's rate, the one that was busy for the largest share of its time; false when
// nothing has run. Of stages that take turns, as a chain's and a feedback edge's do, it is the busiest.
func (s Stats) Bottleneck() (StageStat, bool) {
	first, _, ok := s.top()
	return first.stage, ok
}

// Gain estimates how much faster the graph would run with one more worker for its bottleneck, until the next stage limits or
// every core is busy.
func (s Stats) Gain() float64 {
	first, second, ok := s.top()
	if !ok || !first.stage.Scales || len(first.others) > 0 {
		return 1
	}
	n := float64(first.stage.Workers)
	gain := (n + 1) / n
	if second > 0 {
		gain = min(gain, first.share/second)
	}
	if s.CPU > 0 {
		gain = min(gain, max(1, 1/s.CPU))
	}
	return gain
}

// Verdict names the bottleneck in one line and says what one more worker would do for it.
func (s Stats) Verdict() string {
	first, _, ok := s.top()
	if !ok {
		return "nothing has run yet"
	}
	st := first.stage
	busiest := fmt.Sprintf("%.0f %% busy on %d %s", 100*s.Share(st), st.Workers, plural(st.Workers, "worker"))
	if others := s.inOrder(first.others); len(others) > 0 && first.share > 1.02*s.Share(st) {
		busiest += fmt.Sprintf(", %.0f %% in turns with %s", 100*min(first.share, 1), strings.Join(others, " and "))
	}
	if first.share < 0.5 {
		return fmt.Sprintf("no stage limits: the busiest, %s, is %s", st.Name, busiest)
	}
	text := fmt.Sprintf("%s limits: %s; ", st.Name, busiest)
	switch {
	case !st.Scales || len(first.others) > 0:
		return text + "the stages before it wait for it"
	case s.CPU > 0.9:
		return fmt.Sprintf("%s+1 worker would take from the others: %.0f %% of the cores are busy", text, 100*s.CPU)
	}
	return fmt.Sprintf("%s+1 worker would give about %.1f×", text, s.Gain())
}

// inOrder sorts names as the stages were built, leaving out those that do next to nothing.
func (s Stats) inOrder(names []string) (out []string) {
	for _, st := range s.Stages {
		for _, n := range names {
			if n == st.Name && s.Share(st) >= 0.01 {
				out = append(out, n)
			}
		}
	}
	return out
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// Table writes the stages as an aligned table, the edges as another, and the verdict under them.
func (s Stats) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range s.StageRows() {
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, row := range s.EdgeRows() {
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", s.Verdict())
	return err
}

// StageRows is the table of the stages as text, the header first. Shares are of the time of a stage's workers.
func (s Stats) StageRows() [][]string {
	rows := [][]string{{"stage", "workers", "items", "items/s", "busy", "starved", "blocked", "waited", "p50", "p99"}}
	for _, st := range s.Stages {
		share := func(d time.Duration) string { return fmt.Sprintf("%.0f %%", 100*st.Of(d)) }
		rows = append(rows, []string{st.Name, fmt.Sprint(st.Workers), fmt.Sprint(st.Items), rate(s.Rate(st.Items)),
			share(st.Busy), share(st.Starved), share(st.Blocked), share(st.Waited), short(st.P50), short(st.P99)})
	}
	return rows
}

// EdgeRows is the table of the edges as text, the header first: how many items were waiting in one when another was sent, and
// the share of sends that found it full, so that the sender had to wait, or empty, so that the receiver was waiting.
func (s Stats) EdgeRows() [][]string {
	rows := [][]string{{"edge", "items/s", "occupancy", "of", "full", "empty"}}
	for _, e := range s.Edges {
		rows = append(rows, []string{e.From + " → " + e.To, rate(s.Rate(e.Items)), fmt.Sprintf("%.1f", e.Occupancy), fmt.Sprint(e.Depth),
			fmt.Sprintf("%.0f %%", 100*e.Full), fmt.Sprintf("%.0f %%", 100*e.Empty)})
	}
	return rows
}

// rate prints items a second with three digits.
func rate(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// short rounds a duration to three digits.
func short(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}
