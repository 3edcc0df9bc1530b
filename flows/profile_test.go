package flows_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/flows"
)

// tiny are options of a short step, with every stage that a flow can have.
func tiny(t *testing.T, method, data string) flows.Options {
	t.Helper()
	o := small(t, method, data)
	o.Optim.BatchSize, o.Optim.Epochs = 4, 1
	o.Mix.On = true
	return o
}

// slowed runs the flow of r for a while with one stage slowed.
func slowed(t *testing.T, r *flows.Run, while time.Duration, slow string, by time.Duration) flows.Rate {
	t.Helper()
	r.GraphOptions = []contraflow.Option{contraflow.WithProbe(func(stage string, _ int64) {
		if stage == slow {
			time.Sleep(by)
		}
	})}
	rate, err := r.Flow(context.Background(), while, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rate
}

// The verdict names the stage that is slow, whichever it is. Each is slowed in turn by a sleep of several steps.
func TestVerdictFindsTheSlowStage(t *testing.T) {
	o := tiny(t, "insdis", images(t))
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plain := slowed(t, r, 400*time.Millisecond, "", 0)
	step := time.Duration(plain.Seconds / float64(max(plain.Images/o.Optim.BatchSize, 1)) * float64(time.Second))
	by := min(max(3*step, 40*time.Millisecond), 200*time.Millisecond)
	var names []string
	for _, s := range plain.Stats.Stages {
		if s.Items > 0 { // no checkpoint is due
			names = append(names, s.Name)
		}
	}
	if got := strings.Join(names, " "); got != "sampler partners decode views mixture encode contrast update health meter" {
		t.Fatalf("stages %s", got)
	}
	if testing.Short() {
		names = []string{"decode", "encode", "update"}
	}
	for _, name := range names {
		// On a machine that is taken away for a while a step may take longer than the sleep: then the sleep must grow.
		for try := 0; ; try++ {
			sleep := by << try
			rate := slowed(t, r, 6*sleep, name, sleep)
			if strings.HasPrefix(rate.Stats.Verdict(), name+" limits: ") {
				break
			}
			t.Logf("%s slowed by %v, try %d: %s", name, sleep, try, rate.Stats.Verdict())
			if try == 3 {
				var table strings.Builder
				rate.Stats.Table(&table)
				t.Errorf("%s is slowed by %v, a step took %v:\n%s", name, sleep, step, table.String())
				break
			}
		}
	}
}

// A half that ran slower alone than in the flow does not promise that the flow gets slower when the other half is faster.
func TestHeadspace(t *testing.T) {
	p := flows.Profile{Flow: flows.Rate{Images: 178, Seconds: 1}, Compute: flows.Rate{Images: 159, Seconds: 1}, Loading: flows.Rate{Images: 356, Seconds: 1}}
	if loading, compute := p.Headspace(); loading != 1 || compute != 2 {
		t.Errorf("headspace %v and %v, want 1 and 2", loading, compute)
	}
}

// A profile measures the flow and both halves, its numbers agree with each other, and its JSON has them.
func TestProfile(t *testing.T) {
	o := tiny(t, "cmc", images(t))
	trace := contraflow.NewTrace(1 << 16)
	p, err := flows.ProfileRun(context.Background(), o, flows.ProfileOptions{Seconds: 1, Trace: trace})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]flows.Rate{"flow": p.Flow, "loading": p.Loading, "compute": p.Compute} {
		if r.Images < 1 || r.Seconds <= 0 || r.PerSecond() <= 0 || r.Processor <= 0 || r.Stats.CPU <= 0 || r.Stats.CPU > 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	loading, compute := p.Headspace()
	if loading <= 0 || compute <= 1 { // the encoders take nearly all of the time
		t.Errorf("headspace %v and %v", loading, compute)
	}
	devices := map[string]bool{}
	for _, s := range trace.Spans() {
		if s.Track != "" {
			devices[s.Name] = true
		}
	}
	for _, want := range []string{"forward l", "forward ab", "backward l", "sgd ab", "layer1.0.conv1", "layer1.0.conv1 backward"} {
		if !devices[want] {
			t.Errorf("no device span %q in %d", want, len(devices))
		}
	}
	var text strings.Builder
	if err := p.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"p99", "decode → views", "limit", "headspace: compute alone"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
	j, err := json.Marshal(p.JSON())
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Verdict   string
		Flow      struct{ Graph struct{ Stages, Edges []any } }
		Headspace map[string]float64
	}
	if err := json.Unmarshal(j, &v); err != nil || v.Verdict == "" || len(v.Flow.Graph.Stages) != 11 || len(v.Flow.Graph.Edges) != 10 || len(v.Headspace) != 2 {
		t.Errorf("%v: %s", err, j)
	}
	if _, err := flows.ProfileRun(context.Background(), func() flows.Options { o.Run.Resume = "auto"; return o }(), flows.ProfileOptions{Seconds: 1}); err == nil {
		t.Error("--resume auto was taken")
	}
}

// Moving workers while training changes nothing but times.
func TestAutotuneKeepsTheBits(t *testing.T) {
	data := images(t)
	o := small(t, "cmc", data)
	o.Optim.Epochs = 4
	want := run(t, o)
	o.Run.ModelPath = t.TempDir()
	o.Data.Autotune, o.Data.CPUBudget, o.Data.Workers = true, 1, 2
	var moves atomic.Int64
	got := runWith(t, o, func(r *flows.Run) {
		r.GraphOptions = append(r.GraphOptions, contraflow.WithAutotune(2, 20*time.Millisecond, func(string, int) { moves.Add(1) }))
	})
	if got != want {
		t.Errorf("with --autotune\n%s\nwithout\n%s", got, want)
	}
	if moves.Load() == 0 {
		t.Error("no worker was moved: the test shows nothing")
	}
}

// A reader that hangs is reported with its stage, while the run waits for it.
func TestWatchdogNamesTheReader(t *testing.T) {
	o := small(t, "insdis", images(t))
	o.Run.Watchdog, o.Run.MaxSteps = 0.2, 2
	var hung atomic.Bool
	var told atomic.Value
	runWith(t, o, func(r *flows.Run) {
		r.Stuck = func(s contraflow.Stuck) {
			if hung.Load() {
				told.Store(fmt.Sprintf("%s batch %d", s.Stage, s.Item))
			}
		}
		r.GraphOptions = []contraflow.Option{contraflow.WithProbe(func(stage string, item int64) {
			if stage == "decode" && item == 1 {
				time.Sleep(time.Second) // the encoders have done with all they had
				hung.Store(true)
				time.Sleep(time.Second)
				hung.Store(false)
			}
		})}
	})
	if told.Load() != "decode batch 1" {
		t.Errorf("the watchdog told of %v", told.Load())
	}
}

// What observing costs is far below a hundredth of a step: the spans of a step at the price of one, and all stages of the graph
// at what an item costs that nobody works on.
func TestProfilerOverhead(t *testing.T) {
	o := tiny(t, "cmc", images(t))
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	trace := contraflow.NewTrace(1 << 18)
	rate, err := r.Flow(context.Background(), time.Second, trace)
	if err != nil {
		t.Fatal(err)
	}
	encode, _ := rate.Stats.Stage("encode")
	meter, _ := rate.Stats.Stage("meter")
	step := encode.Busy / time.Duration(max(encode.Items, 1))
	spans := float64(len(trace.Spans())) / float64(max(r.Stats().Stages[len(r.Stats().Stages)-2].Items, 1))

	const n = 50000
	full := contraflow.NewTrace(n)
	span := time.Hour
	for range 5 { // the least counts: a host may take 20 µs to give a page the first time, and the processor away at any
		begin := time.Now()
		for range n {
			t := time.Now()
			full.Add(contraflow.Span{Start: t, Duration: time.Since(t)})
		}
		span = min(span, time.Since(begin)/n)
	}
	item := idleGraph(t, len(rate.Stats.Stages), 20000, full)
	cost := time.Duration(spans*float64(span)) + item
	t.Logf("step %v (%d of them); %.0f spans at %v, graph %v: %.3f %% of a step", step, meter.Items, spans, span, item, 100*float64(cost)/float64(step))
	if float64(cost) > 0.01*float64(step) {
		t.Errorf("observing costs %v of a step of %v", cost, step)
	}
}

// idleGraph is what an item costs in a traced graph of so many stages, none of which does anything.
func idleGraph(t *testing.T, stages, items int, trace *contraflow.Trace) time.Duration {
	g := contraflow.New("idle", contraflow.WithTrace(trace.Add), contraflow.WithWatchdog(time.Second, func(contraflow.Stuck) {}))
	p := contraflow.Source(g, "source", func(yield func(int, error) bool) {
		for i := 0; i < items && yield(i, nil); i++ {
		}
	})
	for i := range stages - 2 {
		p = contraflow.Step(p, fmt.Sprint("step", i), func(_ context.Context, i int) (int, error) { return i, nil }, contraflow.Workers(1+i%2))
	}
	contraflow.Each(p, "sink", func(context.Context, int) error { return nil })
	begin := time.Now()
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return time.Since(begin) / time.Duration(items)
}
