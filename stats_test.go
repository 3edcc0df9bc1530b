package contraflow_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ext "github.com/reugn/go-streams/extension"
	"github.com/reugn/go-streams/flow"

	"github.com/contraflow/contraflow"
)

// chain is a source, a step for every duration, which sleeps so long for each item, and a sink.
func chain(g *contraflow.Graph, items int, last time.Duration, steps map[string]time.Duration, order []string, opts ...contraflow.StageOption) {
	p := contraflow.Source(g, "source", count(items))
	for _, name := range order {
		p = contraflow.Step(p, name, func(_ context.Context, i int) (int, error) { time.Sleep(steps[name]); return i, nil }, opts...)
	}
	contraflow.Each(p, "sink", func(context.Context, int) error { time.Sleep(last); return nil })
}

// Every moment of every worker is booked once: busy, starved, blocked and waited add up to the stage's time, and the time to
// workers × elapsed.
func TestTimeAddsUp(t *testing.T) {
	for _, workers := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			g := contraflow.New("sum")
			chain(g, 40, 12*time.Millisecond, map[string]time.Duration{"a": 5 * time.Millisecond, "b": 9 * time.Millisecond}, []string{"a", "b"}, contraflow.Workers(workers))
			if err := g.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			s := g.Stats()
			for _, st := range s.Stages {
				if want := s.Elapsed * time.Duration(st.Workers); st.Time != want {
					t.Errorf("%d workers, %s: %v booked, want %v", workers, st.Name, st.Time, want)
				}
				if sum := st.Busy + st.Starved + st.Blocked + st.Waited; sum > st.Time || (st.Name == "sink" && sum != st.Time) {
					t.Errorf("%d workers, %s: %v in modes of %v", workers, st.Name, sum, st.Time)
				}
			}
			sink, _ := s.Stage("sink")
			if sink.Busy != 480*time.Millisecond || s.Share(sink) < 0.95 {
				t.Errorf("the sink was busy %v of %v", sink.Busy, s.Elapsed)
			}
			if b, _ := s.Stage("b"); b.Busy != 360*time.Millisecond || b.Blocked < b.Starved {
				t.Errorf("%d workers: b before a slow sink: %+v", workers, b)
			}
			if _, ok := s.Stage("nobody"); ok {
				t.Error("a stage that is not there")
			}
		})
	}
}

// A reading in the middle of a long wait, or of a long call, sees it.
func TestStatsInMidWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := contraflow.New("mid")
		chain(g, 2, 0, map[string]time.Duration{"slow": 10 * time.Second}, []string{"slow"})
		go func() {
			time.Sleep(5 * time.Second)
			s := g.Stats()
			if slow, sink := s.Stages[1], s.Stages[2]; slow.Busy != 5*time.Second || sink.Starved != 5*time.Second {
				t.Errorf("after 5 s: slow busy %v, sink starved %v", slow.Busy, sink.Starved)
			}
			w := s.Since(s)
			if w.Elapsed != 0 || w.Stages[1].Busy != 0 {
				t.Errorf("an empty window: %+v", w)
			}
		}()
		if err := g.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// Stages that a feedback edge makes take turns limit together: the verdict names the busiest and those it takes turns with.
func TestVerdictOfTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := contraflow.New("turns")
		back := contraflow.Loop[int](g, "gradients", 1).Between("update", "encode")
		inflight := false
		settle := func(ctx context.Context) error {
			if !inflight {
				return nil
			}
			inflight = false
			_, err := back.Recv(ctx)
			return err
		}
		load := contraflow.Step(contraflow.Source(g, "source", count(40)), "load", func(_ context.Context, i int) (int, error) {
			time.Sleep(5 * time.Millisecond)
			return i, nil
		}, contraflow.Workers(1))
		enc := contraflow.Step(load, "encode", func(ctx context.Context, i int) (int, error) {
			err := settle(ctx)
			time.Sleep(4 * time.Millisecond)
			inflight = true
			return i, err
		}, contraflow.Finish(settle))
		score := contraflow.Step(enc, "contrast", func(_ context.Context, i int) (int, error) { time.Sleep(3 * time.Millisecond); return i, nil })
		contraflow.Each(score, "update", func(ctx context.Context, i int) error {
			time.Sleep(time.Millisecond)
			return back.Send(ctx, i)
		})
		if err := g.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		s := g.Stats()
		want := "encode limits: 49 % busy on 1 worker, 98 % in turns with contrast and update; the stages before it wait for it"
		if got := s.Verdict(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if enc, _ := s.Stage("encode"); enc.P50 > 5*time.Millisecond {
			t.Errorf("a call of encode takes %v: the wait for gradients counts", enc.P50)
		}
	})
}

// The gain of one more worker ends where the next stage limits, and where there is no core left.
func TestGain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := contraflow.New("gain")
		chain(g, 60, 4*time.Millisecond, map[string]time.Duration{"decode": 10 * time.Millisecond}, []string{"decode"}, contraflow.Workers(2))
		if err := g.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		s := g.Stats()
		if gain := s.Gain(); math.Abs(gain-1.25) > 0.05 {
			t.Errorf("gain %v, want 5 ms of decode over 4 ms of sink", gain)
		}
		if v := s.Verdict(); !strings.HasPrefix(v, "decode limits: 9") || !strings.HasSuffix(v, "+1 worker would give about 1.2×") {
			t.Error(v)
		}
		s.CPU = 0.88
		if gain := s.Gain(); math.Abs(gain-1/0.88) > 1e-9 {
			t.Errorf("gain %v, where 12 %% of the cores are free", gain)
		}
		s.CPU = 0.97
		if v := s.Verdict(); !strings.HasSuffix(v, "+1 worker would take from the others: 97 % of the cores are busy") {
			t.Error(v)
		}
	})
}

// Foreign flows, sources and sinks are named when they limit.
func TestVerdictOfForeign(t *testing.T) {
	for _, slow := range []string{"foreign source", "foreign flow", "foreign sink"} {
		synctest.Test(t, func(t *testing.T) {
			nap := func(stage string) {
				if stage == slow {
					time.Sleep(2 * time.Millisecond)
				}
			}
			in, out := make(chan any), make(chan any)
			var ends sync.WaitGroup
			defer ends.Wait()
			ends.Go(func() {
				defer close(in)
				for i := range 40 {
					nap("foreign source")
					in <- i
				}
			})
			ends.Go(func() {
				for range out {
					nap("foreign sink")
				}
			})
			g := contraflow.New("foreign")
			p := contraflow.Step(contraflow.From[int](g, "foreign source", ext.NewChanSource(in)), "double", double)
			q := contraflow.Through[int, int](p, "foreign flow", flow.NewMap(func(i int) int { nap("foreign flow"); return i }, 1))
			contraflow.To(contraflow.Step(q, "again", double), "foreign sink", ext.NewChanSink(out))
			if err := g.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			s := g.Stats()
			if v := s.Verdict(); !strings.HasPrefix(v, slow+" limits") {
				t.Errorf("slow %s: %s", slow, v)
			}
			for _, st := range s.Stages {
				if st.Name != slow && s.Share(st) > 0.1 {
					t.Errorf("slow %s: %s was busy for %v", slow, st.Name, st.Busy)
				}
			}
		})
	}
}

// Stop ends a foreign source too, and a port of ours feeds a go-streams pipeline.
func TestOutlet(t *testing.T) {
	in, out := make(chan any), make(chan any)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(in)
		for i := range 1000 {
			in <- i
		}
	}()
	g := contraflow.New("outlet")
	p := contraflow.From[int](g, "numbers", ext.NewChanSource(in))
	stop := contraflow.Step(p, "stop", func(_ context.Context, i int) (int, error) {
		if i == 50 {
			g.Stop()
		}
		return i, nil
	})
	go contraflow.Outlet(stop, "out").Via(flow.NewMap(func(i int) int { return i + 1 }, 1)).To(ext.NewChanSink(out))
	failed := make(chan error, 1)
	go func() { failed <- g.Run(context.Background()) }()
	n := 0
	for v := range out {
		if n++; v != n {
			t.Fatalf("item %d is %v", n, v)
		}
	}
	if err := <-failed; err != nil || n < 51 || n > 60 {
		t.Fatal(n, err)
	}
	<-ended
}

// After Stop a foreign source gives nothing more, though it has items at hand.
func TestStopForeign(t *testing.T) {
	for range 20 {
		in := make(chan any, 9)
		for i := range cap(in) {
			in <- i
		}
		close(in)
		g := contraflow.New("stop")
		contraflow.Each(contraflow.From[int](g, "numbers", ext.NewChanSource(in)), "sink", func(context.Context, int) error { return errors.New("an item came") })
		g.Stop()
		if err := g.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// A flow of ours that is built wrongly names the user's line, and lets its upstream end.
func TestFlowMistake(t *testing.T) {
	in, out := make(chan any), make(chan any)
	go func() {
		for i := range 10 {
			in <- i
		}
		close(in)
	}()
	ours := contraflow.NewFlow("none", double, contraflow.Workers(0))
	go ext.NewChanSource(in).Via(ours).To(ext.NewChanSink(out))
	for range out {
		t.Error("an item came out")
	}
	if err := ours.Err(); err == nil || !strings.HasPrefix(err.Error(), "stats_test.go:") {
		t.Errorf("got %v", err)
	}
}

// Options that mean nothing to a stage, and feedback edges whose ends are not there or the wrong way round, are refused.
func TestMoreMistakes(t *testing.T) {
	sink := func(context.Context, int) error { return nil }
	for want, build := range map[string]func(g *contraflow.Graph){
		"Workers means nothing to a each": func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Source(g, "a", count(1)), "b", sink, contraflow.Workers(2))
		},
		"Holds means nothing to a step": func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Step(contraflow.Source(g, "a", count(1)), "s", double, contraflow.Holds(2)), "b", sink)
		},
		"Holds(0): what it takes before it gives something is at least 1": func(g *contraflow.Graph) {
			one := flow.NewMap(func(i int) int { return i }, 1)
			contraflow.Each(contraflow.Through[int, int](contraflow.Source(g, "a", count(1)), "s", one, contraflow.Holds(0)), "b", sink)
		},
		"Finish means nothing to a source": func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Source(g, "a", count(1), contraflow.Finish(func(context.Context) error { return nil })), "b", sink)
		},
		`there is no stage "nobody"`: func(g *contraflow.Graph) {
			contraflow.Loop[int](g, "l", 1).Between("b", "nobody")
			contraflow.Each(contraflow.Source(g, "a", count(1)), "b", sink)
		},
		"only feedback needs a loop": func(g *contraflow.Graph) {
			contraflow.Loop[int](g, "l", 1).Between("a", "b")
			contraflow.Each(contraflow.Source(g, "a", count(1)), "b", sink)
		},
	} {
		g := contraflow.New("mistake")
		build(g)
		if err := g.Run(context.Background()); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "stats_test.go:") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Each has an end hook; after a failure it does not run.
func TestEachFinish(t *testing.T) {
	for _, fail := range []bool{false, true} {
		g := contraflow.New("end")
		committed := false
		contraflow.Each(contraflow.Source(g, "a", count(5)), "b", func(_ context.Context, i int) error {
			if fail && i == 4 {
				return errors.New("no")
			}
			return nil
		}, contraflow.Finish(func(context.Context) error { committed = true; return nil }))
		if err := g.Run(context.Background()); (err != nil) != fail || committed == fail {
			t.Errorf("fail %v: %v, committed %v", fail, err, committed)
		}
	}
}

// diamond is a graph with every kind of stage.
func diamond() *contraflow.Graph {
	g := contraflow.New("diamond <&>")
	contraflow.Loop[int](g, "feedback", 1).Between("sink", "left")
	a, b := contraflow.Fork2(contraflow.Source(g, "numbers", count(20)), "split", func(i int) (int, int) { return i, -i })
	left := contraflow.Step(a, "left", double, contraflow.Workers(2), contraflow.MaxWorkers(4))
	right := contraflow.Through[int, int](b, "right", flow.NewMap(func(i int) int { return i }, 1), contraflow.Holds(2))
	contraflow.Each(contraflow.Zip2("join", left, right, contraflow.Depth(3)), "sink", func(context.Context, contraflow.Pair[int, int]) error { return nil })
	return g
}

func TestString(t *testing.T) {
	g := diamond()
	want := `graph diamond <&>
numbers   source
split     fork                   ← numbers [2]
left      step, up to 4 workers  ← split [2]
right     through                ← split [2]
join      zip                    ← left [2], right [2]
sink      each                   ← join [3]
feedback  loop                   left ⇠ sink [1]
`
	if got := g.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Drawings are well-formed and have every stage, edge and loop.
func TestDrawings(t *testing.T) {
	g := diamond()
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := g.Stats()
	var svg, dot bytes.Buffer
	if err := errors.Join(s.WriteSVG(&svg, "batches"), s.WriteDOT(&dot, "batches")); err != nil {
		t.Fatal(err)
	}
	d, boxes, paths := xml.NewDecoder(bytes.NewReader(svg.Bytes())), 0, 0
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg.String())
		}
		if e, ok := tok.(xml.StartElement); ok {
			for _, a := range e.Attr {
				if a.Name.Local == "class" && (a.Value == "b" || a.Value == "w") {
					boxes++
				} else if a.Name.Local == "class" && (a.Value == "e" || a.Value == "l") {
					paths++
				}
			}
		}
	}
	if boxes != 6 || paths != 7 {
		t.Errorf("%d boxes and %d lines, want 6 and 7:\n%s", boxes, paths, svg.String())
	}
	if n := strings.Count(dot.String(), "->"); n != 7 {
		t.Errorf("%d edges in\n%s", n, dot.String())
	}
	if path, err := exec.LookPath("dot"); err != nil {
		t.Log("Graphviz is not here: the .dot file was not read by it")
	} else {
		c := exec.Command(path, "-Tplain")
		c.Stdin = &dot
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("dot: %v: %s", err, out)
		}
	}
}

func TestStatsJSON(t *testing.T) {
	g := diamond()
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(g.Stats())
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Stages []struct {
			Name          string
			Items         int
			Busy, Blocked float64
			P99           float64 `json:"p99_ms"`
		}
		Edges   []struct{ From, To string }
		Loops   []struct{ Name string }
		Verdict string
	}
	if err := json.Unmarshal(text, &v); err != nil || len(v.Stages) != 6 || len(v.Edges) != 6 || len(v.Loops) != 1 || v.Verdict == "" {
		t.Fatalf("%v: %s", err, text)
	}
	for _, s := range v.Stages {
		if s.Items != 20 || s.Busy < 0 || s.Busy > 1 || s.P99 <= 0 {
			t.Errorf("%+v", s)
		}
	}
	var table strings.Builder
	if err := g.Stats().Table(&table); err != nil || !strings.Contains(table.String(), "split → left") {
		t.Errorf("%v\n%s", err, table.String())
	}
	if fmt.Sprint(g.Stats().EdgeRows()[0]) != "[edge items/s occupancy of full empty]" {
		t.Error(g.Stats().EdgeRows()[0])
	}
}

// A source's end and an end hook are no items: their time counts as busy, not as that of a call.
func TestHooksAreNoItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := contraflow.New("hooks")
		p := contraflow.Source(g, "numbers", func(yield func(int, error) bool) {
			if yield(1, nil) && yield(2, nil) {
				time.Sleep(time.Second)
			}
		})
		contraflow.Each(p, "sink", func(context.Context, int) error { return nil }, contraflow.Finish(func(context.Context) error { time.Sleep(2 * time.Second); return nil }))
		if err := g.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for name, busy := range map[string]time.Duration{"numbers": time.Second, "sink": 2 * time.Second} {
			if s, _ := g.Stats().Stage(name); s.Items != 2 || s.Max != 0 || s.Busy != busy {
				t.Errorf("%s: %d items, the longest %v, busy for %v", name, s.Items, s.Max, s.Busy)
			}
		}
	})
}
