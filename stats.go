package contraflow

import (
	"fmt"
	"time"
)

// StageStat is what a stage has done so far. Times add up over its workers: Busy, Starved, Blocked and Waited make up Time but
// for what came after the stage's last item.
type StageStat struct {
	Name    string
	Kind    string // source, step, filter, fork, zip, each, from, through, to
	Workers int
	Scales  bool // made for several workers: Workers or MaxWorkers was given
	Items   int64
	Time    time.Duration // of all workers
	Busy    time.Duration // inside the stage's function, without Waited
	Starved time.Duration // waiting for input
	Blocked time.Duration // waiting for room in the output, or for their turn in its order
	Waited  time.Duration // waiting on a feedback edge
	P50     time.Duration // of one call, without waits on feedback edges
	P90     time.Duration
	P99     time.Duration
	Max     time.Duration

	counts   [buckets]int64
	parallel bool // calls run on goroutines of their own
}

// EdgeStat is what an edge has carried so far.
type EdgeStat struct {
	From, To  string
	Depth     int
	Items     int64
	Waiting   int     // items in it now
	Occupancy float64 // mean items waiting when one was sent, in [0, Depth]
	Full      float64 // share of sends that found the edge full
	Empty     float64 // share of sends that found it empty

	occupancy, full, empty int64
}

// LoopStat is what a feedback edge has carried so far.
type LoopStat struct {
	Name, From, To string
	Staleness      int
	Items          int64
}

// Stats are the numbers of a graph at one moment, or between two.
type Stats struct {
	Graph   string
	Elapsed time.Duration
	Stages  []StageStat // in the order they were built
	Edges   []EdgeStat
	Loops   []LoopStat

	// CPU is the share of the machine's cores that the process kept busy, in [0,1]; 0 when nobody has measured it. The
	// graph does not: what runs it may, for Verdict to know whether more workers would find a core.
	CPU float64
}

// Stats reads all counters. It is safe at any time, also while the graph runs.
func (g *Graph) Stats() Stats {
	s := Stats{Graph: g.name, Elapsed: g.elapsed()}
	for _, n := range g.nodes {
		s.Stages = append(s.Stages, n.stat(int64(s.Elapsed)))
	}
	for _, e := range g.edges {
		if e.to == nil {
			continue
		}
		st := EdgeStat{From: e.from.name, To: e.to.name, Depth: cap(e.ch), Waiting: len(e.ch), Items: e.items.Load(),
			occupancy: e.occupancy.Load(), full: e.full.Load(), empty: e.empty.Load()}
		st.means()
		s.Edges = append(s.Edges, st)
	}
	for _, l := range g.loops {
		s.Loops = append(s.Loops, LoopStat{l.name, l.start, l.end, l.capacity, l.items.Load()})
	}
	return s
}

// elapsed is how long the graph has run.
func (g *Graph) elapsed() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.begin.IsZero():
		return 0
	case g.end.IsZero():
		return time.Since(g.begin)
	}
	return g.end.Sub(g.begin)
}

func (n *node) stat(now int64) StageStat {
	spent, workers := n.ledger.read(now)
	st := StageStat{
		Name: n.name, Kind: n.kind, Workers: workers, Scales: n.scales, Items: n.items.Load(),
		Busy: spent[busy], Starved: spent[starved], Blocked: spent[blocked], Waited: spent[waited],
		Max: time.Duration(n.latency.max.Load()), parallel: n.gate != nil,
	}
	for _, d := range spent {
		st.Time += d
	}
	for b := range st.counts {
		st.counts[b] = n.latency.counts[b].Load()
	}
	st.percentiles()
	return st
}

func (s *StageStat) percentiles() {
	s.P50, s.P90, s.P99 = percentile(&s.counts, 0.5, s.Max), percentile(&s.counts, 0.9, s.Max), percentile(&s.counts, 0.99, s.Max)
}

func (e *EdgeStat) means() {
	n := float64(max(e.Items, 1))
	e.Occupancy, e.Full, e.Empty = float64(e.occupancy)/n, float64(e.full)/n, float64(e.empty)/n
}

// Since is the window from an earlier reading of the same graph to this one. Max stays that of the whole run.
func (s Stats) Since(earlier Stats) Stats {
	out := s
	out.Elapsed -= earlier.Elapsed
	out.Stages = append([]StageStat(nil), s.Stages...)
	out.Edges = append([]EdgeStat(nil), s.Edges...)
	out.Loops = append([]LoopStat(nil), s.Loops...)
	for i := range min(len(out.Stages), len(earlier.Stages)) {
		a, b := &out.Stages[i], &earlier.Stages[i]
		a.Items -= b.Items
		a.Time -= b.Time
		a.Busy -= b.Busy
		a.Starved -= b.Starved
		a.Blocked -= b.Blocked
		a.Waited -= b.Waited
		for k := range a.counts {
			a.counts[k] -= b.counts[k]
		}
		a.percentiles()
	}
	for i := range min(len(out.Edges), len(earlier.Edges)) {
		a, b := &out.Edges[i], &earlier.Edges[i]
		a.Items -= b.Items
		a.occupancy -= b.occupancy
		a.full -= b.full
		a.empty -= b.empty
		a.means()
	}
	for i := range min(len(out.Loops), len(earlier.Loops)) {
		out.Loops[i].Items -= earlier.Loops[i].Items
	}
	return out
}

// Stage is the stage with a name, or false.
func (s Stats) Stage(name string) (StageStat, bool) {
	for _, st := range s.Stages {
		if st.Name == name {
			return st, true
		}
	}
	return StageStat{}, false
}

// Share is the part of its workers' time that a stage was busy, in [0,1].
func (s Stats) Share(stage StageStat) float64 { return stage.Of(stage.Busy) }

// Of is d as a share of the time of the stage's workers, in [0,1].
func (s StageStat) Of(d time.Duration) float64 {
	if s.Time <= 0 {
		return 0
	}
	return max(0, float64(d)/float64(s.Time))
}

// Rate is items a second.
func (s Stats) Rate(items int64) float64 {
	return float64(items) / max(s.Elapsed.Seconds(), 1e-9)
}

// SetWorkers changes how many workers a step uses, within what MaxWorkers allows. It may be called while the graph runs; the
// output stays the same.
func (g *Graph) SetWorkers(stage string, workers int) error {
	n := g.find(stage)
	if n == nil {
		return fmt.Errorf("graph %s has no stage %q", g.name, stage)
	}
	if workers < 1 || workers > n.most {
		return fmt.Errorf("stage %q: %d workers: it was built for 1 to %d, see MaxWorkers", stage, workers, n.most)
	}
	if n.gate == nil {
		return nil
	}
	n.ledger.resize(int64(g.elapsed()), workers)
	n.gate.allow(workers)
	return nil
}
