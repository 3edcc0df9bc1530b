package contraflow

import (
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// StageStat is what a stage has done so far. Times add up over its workers.
type StageStat struct {
	Name    string
	Kind    string
	Workers int
	Scales  bool // made for several workers: Workers or MaxWorkers was given
	Items   int64
	Busy    time.Duration // inside the stage's function, without Waited
	Starved time.Duration // waiting for input
	Blocked time.Duration // waiting for room in the output
	Waited  time.Duration // waiting on a feedback edge
	P50     time.Duration // of one call
	P90     time.Duration
	P99     time.Duration
	Max     time.Duration

	counts [buckets]int64
}

// EdgeStat is what an edge has carried so far.
type EdgeStat struct {
	From, To  string
	Depth     int
	Items     int64
	Occupancy float64 // mean items waiting when one was sent, in [0, Depth]
	Full      float64 // share of sends that found the edge full
	Empty     float64 // share of sends that found it empty
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
}

// meter counts for one node. Everything is atomic: it is read while the graph runs.
type meter struct {
	items, busy, starved, blocked, waited, first atomic.Int64
	latency                                      histogram
}

type meterKey struct{}

// buckets are quarter powers of two from 1 ns to about 18 minutes.
const buckets = 160

type histogram struct {
	counts [buckets]atomic.Int64
	max    atomic.Int64
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)].Add(1)
	for old := h.max.Load(); int64(d) > old && !h.max.CompareAndSwap(old, int64(d)); old = h.max.Load() {
	}
}

// bucket is 4·log2(d), the fraction from the two bits after the leading one.
func bucket(d time.Duration) int {
	if d < 4 {
		return 0
	}
	top := bits.Len64(uint64(d)) - 1
	return min(4*top+int(uint64(d)>>(top-2)&3), buckets-1)
}

// upper is the largest duration in a bucket.
func upper(b int) time.Duration {
	return time.Duration(math.Ldexp(1+float64(b%4+1)/4, b/4))
}

func percentile(counts *[buckets]int64, q float64, most time.Duration) time.Duration {
	var total, seen int64
	for _, c := range counts {
		total += c
	}
	if total == 0 {
		return 0
	}
	for b, c := range counts {
		seen += c
		if float64(seen) >= q*float64(total) {
			return min(upper(b), most)
		}
	}
	return most
}

func newClocks(n int) []atomic.Int64 { return make([]atomic.Int64, n) }

// Stats reads all counters. It is safe at any time, also while the graph runs.
func (g *Graph) Stats() Stats {
	g.mu.Lock()
	begin, end := g.begin, g.end
	g.mu.Unlock()
	s := Stats{Graph: g.name}
	switch {
	case begin.IsZero():
	case end.IsZero():
		s.Elapsed = time.Since(begin)
	default:
		s.Elapsed = end.Sub(begin)
	}
	for _, n := range g.nodes {
		st := StageStat{
			Name: n.name, Kind: n.kind, Workers: int(n.allowed.Load()), Scales: n.scales, Items: n.meter.items.Load(),
			Busy: dur(&n.meter.busy), Starved: dur(&n.meter.starved), Blocked: dur(&n.meter.blocked), Waited: dur(&n.meter.waited),
			Max: dur(&n.meter.latency.max),
		}
		for b := range st.counts {
			st.counts[b] = n.meter.latency.counts[b].Load()
		}
		// A call still running counts up to now, so that a window cut through a long call adds up.
		for w := range n.clocks {
			if at := n.clocks[w].Load(); at != 0 && end.IsZero() {
				st.Busy += time.Duration(time.Now().UnixNano() - at)
			}
		}
		st.percentiles()
		s.Stages = append(s.Stages, st)
	}
	for _, e := range g.edges {
		if e.to == nil {
			continue
		}
		st := EdgeStat{From: e.from.name, To: e.to.name, Depth: cap(e.ch), Items: e.items.Load()}
		if n := float64(st.Items); n > 0 {
			st.Occupancy = float64(e.occupancy.Load()) / n
			st.Full, st.Empty = float64(e.full.Load())/n, float64(e.empty.Load())/n
		}
		s.Edges = append(s.Edges, st)
	}
	for _, l := range g.loops {
		s.Loops = append(s.Loops, LoopStat{l.name, l.start, l.end, l.capacity, l.items.Load()})
	}
	return s
}

func dur(v *atomic.Int64) time.Duration { return time.Duration(v.Load()) }

func (s *StageStat) percentiles() {
	s.P50, s.P90, s.P99 = percentile(&s.counts, 0.5, s.Max), percentile(&s.counts, 0.9, s.Max), percentile(&s.counts, 0.99, s.Max)
}

// Since is the window from an earlier reading of the same graph to this one. Edges keep their means over the whole run.
func (s Stats) Since(earlier Stats) Stats {
	out := s
	out.Elapsed -= earlier.Elapsed
	out.Stages = append([]StageStat(nil), s.Stages...)
	for i := range min(len(out.Stages), len(earlier.Stages)) {
		a, b := &out.Stages[i], &earlier.Stages[i]
		a.Items -= b.Items
		a.Busy -= b.Busy
		a.Starved -= b.Starved
		a.Blocked -= b.Blocked
		a.Waited -= b.Waited
		for k := range a.counts {
			a.counts[k] -= b.counts[k]
		}
		a.percentiles()
	}
	return out
}

// Share is the part of its workers' time that a stage was busy, in [0,1].
func (s Stats) Share(stage StageStat) float64 {
	return share(stage.Busy, s.Elapsed*time.Duration(stage.Workers))
}

func share(part, whole time.Duration) float64 {
	if whole <= 0 {
		return 0
	}
	return max(0, float64(part)/float64(whole))
}

// Bottleneck is the stage that was busy for the largest share of its time, or false when nothing has run.
func (s Stats) Bottleneck() (StageStat, bool) {
	var worst StageStat
	found := false
	for _, st := range s.Stages {
		if st.Busy > 0 && (!found || s.Share(st) > s.Share(worst)) {
			worst, found = st, true
		}
	}
	return worst, found
}

// Verdict names the bottleneck in one line and says what one more worker would do for it.
func (s Stats) Verdict() string {
	worst, ok := s.Bottleneck()
	if !ok {
		return "nothing has run yet"
	}
	first := s.Share(worst)
	text := fmt.Sprintf("%s limits: %.0f %% busy on %d %s", worst.Name, 100*first, worst.Workers, plural(worst.Workers, "worker"))
	second := 0.0
	for _, st := range s.Stages {
		if st.Name != worst.Name {
			second = max(second, s.Share(st))
		}
	}
	gain := float64(worst.Workers+1) / float64(worst.Workers)
	if second > 0 {
		gain = min(gain, first/second)
	}
	if first < 0.5 {
		return fmt.Sprintf("no stage limits: the busiest, %s, is busy %.0f %% of the time", worst.Name, 100*first)
	}
	if !worst.Scales {
		return text + ": the stages before it wait for it"
	}
	return fmt.Sprintf("%s; +1 worker would give about %.1f×", text, gain)
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// Table writes the stages as an aligned table, and the verdict under it.
func (s Stats) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "stage\tworkers\titems\titems/s\tbusy\tstarved\tblocked\twaited\tp50\tp99\t")
	for _, st := range s.Stages {
		whole := s.Elapsed
		fmt.Fprintf(t, "%s\t%d\t%d\t%.1f\t%.0f %%\t%.0f %%\t%.0f %%\t%.0f %%\t%s\t%s\t\n", st.Name, st.Workers, st.Items,
			float64(st.Items)/max(s.Elapsed.Seconds(), 1e-9), 100*s.Share(st), 100*share(st.Starved, whole),
			100*share(st.Blocked, whole), 100*share(st.Waited, whole), short(st.P50), short(st.P99))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, s.Verdict())
	return err
}

// short rounds a duration to three digits.
func short(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// SetWorkers changes how many workers a step uses, within what MaxWorkers allows. It may be called while the graph runs.
func (g *Graph) SetWorkers(stage string, workers int) error {
	for _, n := range g.nodes {
		if n.name != stage {
			continue
		}
		if workers < 1 || workers > n.most {
			return fmt.Errorf("stage %q: %d workers: it was built for 1 to %d, see MaxWorkers", stage, workers, n.most)
		}
		n.wake.L.Lock()
		n.allowed.Store(int32(workers))
		n.wake.L.Unlock()
		n.wake.Broadcast()
		return nil
	}
	return fmt.Errorf("graph %s has no stage %q", g.name, stage)
}
