package contraflow

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// Span is one call of a stage's function.
type Span struct {
	Stage    string
	Worker   int
	Seq      int64 // number of the item in the stage's input, from 0
	Start    time.Time
	Duration time.Duration
}

// Trace collects spans and writes them in the Chrome trace format, which Perfetto opens: one row a stage worker.
// It is safe for concurrent use and keeps the newest spans when it is full.
type Trace struct {
	mu    sync.Mutex
	spans []Span
	next  int
	full  bool
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

// Spans are the kept spans in the order they ended.
func (t *Trace) Spans() []Span {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.full {
		return append([]Span(nil), t.spans[:t.next]...)
	}
	return append(append([]Span(nil), t.spans[t.next:]...), t.spans[:t.next]...)
}

// WriteJSON writes the trace as one JSON object.
func (t *Trace) WriteJSON(w io.Writer) error {
	type event struct {
		Name  string         `json:"name"`
		Phase string         `json:"ph"`
		TS    float64        `json:"ts,omitempty"`  // µs
		Dur   float64        `json:"dur,omitempty"` // µs
		PID   int            `json:"pid"`
		TID   int            `json:"tid"`
		Args  map[string]any `json:"args,omitempty"`
	}
	type row struct {
		stage  string
		worker int
	}
	spans := t.Spans()
	rows := map[row]int{}
	var events []event
	var zero time.Time
	for _, s := range spans {
		if zero.IsZero() || s.Start.Before(zero) {
			zero = s.Start
		}
	}
	for _, s := range spans {
		r := row{s.Stage, s.Worker}
		id, known := rows[r]
		if !known {
			id = len(rows) + 1
			rows[r] = id
			events = append(events, event{Name: "thread_name", Phase: "M", PID: 1, TID: id,
				Args: map[string]any{"name": rowName(s)}})
		}
		events = append(events, event{Name: s.Stage, Phase: "X", PID: 1, TID: id,
			TS: float64(s.Start.Sub(zero)) / 1e3, Dur: float64(s.Duration) / 1e3, Args: map[string]any{"item": s.Seq}})
	}
	return json.NewEncoder(w).Encode(map[string]any{"traceEvents": events, "displayTimeUnit": "ms"})
}

func rowName(s Span) string {
	if s.Worker == 0 {
		return s.Stage
	}
	return s.Stage + " " + string(rune('0'+s.Worker%10))
}
