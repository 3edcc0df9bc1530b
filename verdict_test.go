package contraflow_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/contraflow/contraflow"
)

// The stage that is slow is the one the verdict names, wherever it is.
func TestVerdict(t *testing.T) {
	for slow := range 3 {
		synctest.Test(t, func(t *testing.T) {
			g := contraflow.New("verdict")
			p := contraflow.Source(g, "sampler", count(50))
			for s, name := range []string{"decode", "views", "encode"} {
				p = contraflow.Step(p, name, func(_ context.Context, i int) (int, error) {
					time.Sleep(time.Millisecond)
					if s == slow {
						time.Sleep(9 * time.Millisecond)
					}
					return i, nil
				})
			}
			contraflow.Each(p, "sink", func(context.Context, int) error { return nil })
			if err := g.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			s := g.Stats()
			want := []string{"decode", "views", "encode"}[slow]
			if worst, ok := s.Bottleneck(); !ok || worst.Name != want || !strings.HasPrefix(s.Verdict(), want+" limits") {
				t.Errorf("slow %s: %s", want, s.Verdict())
			}
			if got := s.Stages[1+slow]; got.P50 < 8*time.Millisecond || got.P50 > 13*time.Millisecond || got.Items != 50 {
				t.Errorf("%s: p50 %v over %d items", want, got.P50, got.Items)
			}
		})
	}
}

func TestStats(t *testing.T) {
	g := contraflow.New("stats")
	if s := g.Stats(); s.Elapsed != 0 || s.Verdict() != "nothing has run yet" {
		t.Errorf("before the run: %+v", s)
	}
	var spans atomic.Int64
	trace := contraflow.NewTrace(16)
	g = contraflow.New("stats", contraflow.WithTrace(func(s contraflow.Span) { spans.Add(1); trace.Add(s) }))
	p := contraflow.Step(contraflow.Source(g, "numbers", count(30)), "double", double, contraflow.Workers(2), contraflow.MaxWorkers(4))
	var mid contraflow.Stats
	n := 0
	contraflow.Each(p, "sink", func(context.Context, int) error {
		if n++; n == 15 {
			mid = g.Stats()
		}
		time.Sleep(time.Millisecond)
		return nil
	})
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := g.Stats()
	window := s.Since(mid)
	if s.Stages[2].Items != 30 || window.Stages[2].Items != 16 || window.Elapsed >= s.Elapsed {
		t.Errorf("items %d, in the window %d", s.Stages[2].Items, window.Stages[2].Items)
	}
	if len(s.Edges) != 2 || s.Edges[0].Items != 30 || s.Edges[0].From != "numbers" || s.Edges[0].To != "double" {
		t.Errorf("edges %+v", s.Edges)
	}
	var table, json strings.Builder
	if err := s.Table(&table); err != nil || !strings.Contains(table.String(), "double") || !strings.Contains(table.String(), "limits") {
		t.Errorf("%v\n%s", err, table.String())
	}
	if err := trace.WriteJSON(&json); err != nil || !strings.Contains(json.String(), `"name":"sink"`) || spans.Load() < 90 {
		t.Errorf("%d spans, %v: %s", spans.Load(), err, json.String())
	}
	if k := len(trace.Spans()); k != 16 {
		t.Errorf("%d spans kept, want 16", k)
	}
}

// A step that may have several workers shares no goroutine with what is chained behind it, not even while it has one: one more helps.
func TestVerdictBeforeChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := contraflow.New("before")
		decode := contraflow.Step(contraflow.Source(g, "source", count(60)), "decode", func(_ context.Context, i int) (int, error) {
			time.Sleep(10 * time.Millisecond)
			return i, nil
		}, contraflow.MaxWorkers(4))
		views := contraflow.Step(decode, "views", func(_ context.Context, i int) (int, error) { time.Sleep(4 * time.Millisecond); return i, nil }, contraflow.Chained())
		contraflow.Each(views, "sink", func(context.Context, int) error { return nil })
		if err := g.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got, want := g.Stats().Verdict(), "decode limits: 99 % busy on 1 worker; +1 worker would give about 2.0×"; got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	})
}

// Chained stages share a goroutine, so they limit together; so do stages that several feedback edges make take turns, whatever else
// was declared, and one more worker would not help them.
func TestVerdictTogether(t *testing.T) {
	nap := func(ms time.Duration) func(context.Context, int) (int, error) {
		return func(_ context.Context, i int) (int, error) { time.Sleep(ms * time.Millisecond); return i, nil }
	}
	for name, c := range map[string]struct {
		opts []contraflow.StageOption
		loop bool
		want string
	}{
		"chained": {[]contraflow.StageOption{contraflow.Chained()}, false, "a limits: 53 % busy on 1 worker, 99 % in turns with b and c; the stages before it wait for it"},
		"loops":   {nil, true, "a limits: 53 % busy on 1 worker, 99 % in turns with b and c; the stages before it wait for it"},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := contraflow.New("together")
			var back *contraflow.Feedback[int]
			if c.loop { // chained stages take turns without one
				back = contraflow.Loop[int](g, "outer", 1).Between("c", "a")
				contraflow.Loop[int](g, "inner", 1).Between("c", "b")
			}
			flying := false
			a := contraflow.Step(contraflow.Source(g, "source", count(60)), "a", func(ctx context.Context, i int) (int, error) {
				if flying && c.loop {
					if _, err := back.Recv(ctx); err != nil {
						return i, err
					}
				}
				flying = true
				return nap(8)(ctx, i)
			}, contraflow.Workers(1))
			b := contraflow.Step(a, "b", nap(4), c.opts...)
			d := contraflow.Step(b, "c", func(ctx context.Context, i int) (int, error) {
				time.Sleep(3 * time.Millisecond)
				if c.loop {
					return i, back.Send(ctx, i)
				}
				return i, nil
			}, c.opts...)
			contraflow.Each(d, "sink", func(context.Context, int) error { time.Sleep(10 * time.Millisecond); return nil })
			if err := g.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			s := g.Stats()
			if got := s.Verdict(); got != c.want || s.Gain() != 1 {
				t.Errorf("%s: %s (gain %v)\nwant %s", name, got, s.Gain(), c.want)
			}
		})
	}
}
