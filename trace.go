package contraflow

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Span is one call of a stage's function, or a part of one.
type Span struct {
	Stage    string
	Worker   int
	Seq      int64  // number of the item in the stage's input, from 0; negative when nobody knows
	Name     string // what was done, of spans inside a call; empty for the call
	Track    string // row of its own, such as a device; empty for the row of the stage's worker
	Start    time.Time
	Duration time.Duration
}

// Mark opens a span inside the call of a stage's function that ctx was given to; the function it returns ends it. track names
// a row of its own, such as a device's; empty is the worker's. Outside of a graph, or without a trace, it does nothing.
func Mark(ctx context.Context, track, name string) (end func()) {
	w := workerOf(ctx)
	if w == nil || w.n.g.trace == nil {
		return func() {}
	}
	t := time.Now()
	return func() { Record(ctx, Span{Name: name, Track: track, Start: t, Duration: time.Since(t)}) }
}

// Record adds a span that was measured elsewhere, as a device does, to the trace of the graph whose stage was given ctx.
func Record(ctx context.Context, s Span) {
	if w := workerOf(ctx); w != nil && w.n.g.trace != nil {
		s.Stage, s.Worker, s.Seq = w.n.name, w.id, w.seq.Load()
		w.n.g.trace(s)
	}
}

// Traced says whether anybody looks at spans, so that measuring them pays.
func Traced(ctx context.Context) bool {
	w := workerOf(ctx)
	return w != nil && w.n.g.trace != nil
}

// Trace collects spans and writes them in the Chrome trace format, which Perfetto opens: one row a stage worker and one a
// track, and the items waiting in every edge over time. It is safe for concurrent use and keeps the newest spans when it
// is full.
type Trace struct {
	mu     sync.Mutex
	spans  []Span
	next   int
	full   bool
	levels []level
	level  int // the oldest of them, when there are as many as spans
}

// level is how many items waited in an edge at a moment.
type level struct {
	edge    string
	at      time.Time
	waiting int
}

// NewTrace makes a trace of at most limit spans.
func NewTrace(limit int) *Trace { return &Trace{spans: make([]Span, max(limit, 1))} }

// Add keeps a span. It is what WithTrace wants.
func (t *Trace) Add(s Span) {
	t.mu.Lock()
	t.spans[t.next] = s
	t.next++
	if t.next == len(t.spans) {
		t.next, t.full = 0, true
	}
	t.mu.Unlock()
}

// Sample notes how many items wait in every edge now. The newest are kept, as many as spans.
func (t *Trace) Sample(s Stats) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range s.Edges {
		l := level{e.From + " → " + e.To, now, e.Waiting}
		if len(t.levels) < len(t.spans) {
			t.levels = append(t.levels, l)
			continue
		}
		t.levels[t.level] = l
		t.level = (t.level + 1) % len(t.levels)
	}
}

// Spans are the kept spans in the order they ended.
func (t *Trace) Spans() []Span {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.full {
		return append([]Span(nil), t.spans[:t.next]...)
	}
	return append(append([]Span(nil), t.spans[t.next:]...), t.spans[:t.next]...)
}

// event is one object of the Chrome trace format.
type event struct {
	Name  string         `json:"name"`
	Phase string         `json:"ph"` // X a span, C a counter, M metadata
	TS    float64        `json:"ts"` // µs
	Dur   *float64       `json:"dur,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Args  map[string]any `json:"args,omitempty"`
}

// Rows of a trace are in two groups, which the format calls processes.
const (
	stageRows = iota + 1
	trackRows
)

// WriteJSON writes the trace as one JSON object. Rows have the order in which
// their stages were first seen, which is that of the graph.
func (t *Trace) WriteJSON(w io.Writer) error {
	spans := t.Spans()
	slices.SortStableFunc(spans, func(a, b Span) int { return a.Start.Compare(b.Start) })
	var zero time.Time
	if len(spans) > 0 {
		zero = spans[0].Start
	}
	since := func(at time.Time) float64 { return float64(at.Sub(zero)) / 1e3 }
	type row struct {
		pid  int
		name string
	}
	rows, stages := map[row]int{}, map[string]int{}
	events := []event{
		{Name: "process_name", Phase: "M", PID: stageRows, Args: map[string]any{"name": "stages"}},
		{Name: "process_name", Phase: "M", PID: trackRows, Args: map[string]any{"name": "devices"}},
	}
	for _, s := range spans {
		r, name := row{stageRows, rowName(s)}, s.Name
		if s.Track != "" {
			r = row{trackRows, s.Track}
		}
		if name == "" {
			name = s.Stage
		}
		id, known := rows[r]
		if !known {
			id = len(rows) + 1
			rows[r] = id
			if stages[s.Stage] == 0 {
				stages[s.Stage] = len(stages) + 1
			}
			events = append(events, event{Name: "thread_name", Phase: "M", PID: r.pid, TID: id, Args: map[string]any{"name": r.name}},
				event{Name: "thread_sort_index", Phase: "M", PID: r.pid, TID: id, Args: map[string]any{"sort_index": 1000*stages[s.Stage] + s.Worker}})
		}
		dur := float64(s.Duration) / 1e3
		e := event{Name: name, Phase: "X", PID: r.pid, TID: id, TS: since(s.Start), Dur: &dur}
		if s.Seq >= 0 {
			e.Args = map[string]any{"item": s.Seq}
		}
		events = append(events, e)
	}
	t.mu.Lock()
	for _, l := range t.levels {
		if !l.at.Before(zero) {
			events = append(events, event{Name: l.edge, Phase: "C", PID: stageRows, TS: since(l.at), Args: map[string]any{"waiting": l.waiting}})
		}
	}
	t.mu.Unlock()
	return json.NewEncoder(w).Encode(map[string]any{"traceEvents": events, "displayTimeUnit": "ms"})
}

func rowName(s Span) string {
	if s.Worker == 0 {
		return s.Stage
	}
	return fmt.Sprintf("%s %d", s.Stage, s.Worker+1)
}
