package contraflow_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contraflow/contraflow"
)

// traceFile is what WriteJSON writes, with what the Chrome trace format asks of every phase.
type traceFile struct {
	TraceEvents []struct {
		Name *string        `json:"name"`
		Ph   string         `json:"ph"`
		TS   *float64       `json:"ts"`
		Dur  *float64       `json:"dur"`
		PID  *int           `json:"pid"`
		TID  *int           `json:"tid"`
		Args map[string]any `json:"args"`
	} `json:"traceEvents"`
	Unit string `json:"displayTimeUnit"`
}

// A trace has a named row for every worker of every stage and for every track, spans on a row do not overlap, and spans marked
// inside a call lie in it.
func TestTraceFormat(t *testing.T) {
	trace := contraflow.NewTrace(1000)
	g := contraflow.New("trace", contraflow.WithTrace(trace.Add))
	var all sync.WaitGroup // the workers, of which each has one of the first items: none is left out
	all.Add(12)
	p := contraflow.Step(contraflow.Source(g, "numbers", count(24)), "decode", func(ctx context.Context, i int) (int, error) {
		if i < 12 {
			all.Done()
			all.Wait()
		}
		return i, nil
	}, contraflow.Workers(12))
	q := contraflow.Step(p, "encode", func(ctx context.Context, i int) (int, error) {
		if !contraflow.Traced(ctx) {
			t.Error("nobody traces")
		}
		trace.Sample(g.Stats())
		end := contraflow.Mark(ctx, "device cpu", "forward")
		time.Sleep(100 * time.Microsecond)
		end()
		return i, nil
	})
	contraflow.Each(q, "sink", func(context.Context, int) error { return nil })
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := trace.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var f traceFile
	d := json.NewDecoder(strings.NewReader(text.String()))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	type row struct{ pid, tid int }
	names, ends, counts, counters := map[row]string{}, map[row]float64{}, map[string]int{}, 0
	encodes := map[float64][2]float64{}
	for i, e := range f.TraceEvents {
		if e.Name == nil || e.PID == nil || e.TID == nil || e.TS == nil || (e.Ph == "X") != (e.Dur != nil) {
			t.Fatalf("event %d lacks a field: %+v", i, e)
		}
		r := row{*e.PID, *e.TID}
		switch e.Ph {
		case "M":
			if *e.Name == "thread_name" {
				names[r] = e.Args["name"].(string)
			}
		case "C":
			counters++
		case "X":
			if names[r] == "" {
				t.Errorf("span %s on a row without a name", *e.Name)
			}
			if *e.TS < ends[r]-0.002 {
				t.Errorf("row %s: a span begins at %v, before the last one's end at %v", names[r], *e.TS, ends[r])
			}
			ends[r] = *e.TS + *e.Dur
			counts[*e.Name]++
			item := e.Args["item"].(float64)
			if *e.Name == "encode" {
				encodes[item] = [2]float64{*e.TS, ends[r]}
			} else if in := encodes[item]; *e.Name == "forward" && (*e.TS < in[0] || ends[r] > in[1]+1) {
				t.Errorf("forward of item %v at %v to %v is outside of its call, %v", item, *e.TS, ends[r], in)
			}
		default:
			t.Errorf("phase %q", e.Ph)
		}
	}
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			t.Errorf("two rows are named %s", n)
		}
		seen[n] = true
	}
	for _, n := range []string{"numbers", "decode", "decode 2", "encode", "sink", "device cpu"} {
		if !seen[n] {
			t.Errorf("no row %s in %v", n, names)
		}
	}
	if counts["decode"] != 24 || counts["forward"] != 24 || counters != 3*24 || f.Unit != "ms" {
		t.Errorf("spans %v, %d counters", counts, counters)
	}
}

// Outside of a graph, and without a trace, marks cost nothing and do nothing.
func TestMarkOutside(t *testing.T) {
	contraflow.Mark(context.Background(), "", "x")()
	contraflow.Record(context.Background(), contraflow.Span{})
	g := contraflow.New("plain")
	contraflow.Each(contraflow.Source(g, "numbers", count(3)), "sink", func(ctx context.Context, _ int) error {
		contraflow.Mark(ctx, "", "x")()
		if contraflow.Traced(ctx) {
			t.Error("traced")
		}
		return nil
	})
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := contraflow.NewTrace(4).WriteJSON(&text); err != nil || !strings.Contains(text.String(), "traceEvents") {
		t.Errorf("an empty trace: %v %s", err, text.String())
	}
}

// A full trace has the newest samples of the edges beside the newest spans.
func TestTraceKeepsNewest(t *testing.T) {
	trace := contraflow.NewTrace(4)
	begin := time.Now()
	for i := range 10 {
		trace.Add(contraflow.Span{Stage: "s", Seq: int64(i), Start: begin.Add(time.Duration(i) * time.Nanosecond)})
		trace.Sample(contraflow.Stats{Edges: []contraflow.EdgeStat{{From: "a", To: "b", Waiting: i}}})
	}
	var b strings.Builder
	if err := trace.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var f traceFile
	if err := json.Unmarshal([]byte(b.String()), &f); err != nil {
		t.Fatal(err)
	}
	seen := map[float64]bool{}
	for _, e := range f.TraceEvents {
		if e.Ph == "C" {
			seen[e.Args["waiting"].(float64)] = true
		}
	}
	if len(seen) != 4 || !seen[6] || !seen[9] {
		t.Errorf("samples %v, want the last four of ten", seen)
	}
}
