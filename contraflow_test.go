package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reugn/go-streams"
	ext "github.com/reugn/go-streams/extension"
	"github.com/reugn/go-streams/flow"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func count(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

func double(_ context.Context, i int) (int, error) { return 2 * i, nil }

// The order of the input is kept whatever the number of workers, and every item arrives.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, workers, depth := rapid.IntRange(0, 200).Draw(t, "n"), rapid.IntRange(1, 9).Draw(t, "workers"), rapid.IntRange(1, 5).Draw(t, "depth")
		g := contraflow.New("order")
		slow := contraflow.Step(contraflow.Source(g, "numbers", count(n)), "slow", func(_ context.Context, i int) (string, error) {
			if i%7 == 0 {
				time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
			}
			return fmt.Sprint(i), nil
		}, contraflow.Workers(workers), contraflow.Depth(depth))
		next := 0
		contraflow.Each(slow, "check", func(_ context.Context, s string) error {
			if s != fmt.Sprint(next) {
				return fmt.Errorf("got %s, want %d", s, next)
			}
			next++
			return nil
		})
		if err := g.Run(context.Background()); err != nil || next != n {
			t.Fatalf("%d of %d items: %v", next, n, err)
		}
	})
}

// An error, or a panic, ends the run with the stage's name on one line, and nothing after the failure is seen.
func TestFailure(t *testing.T) {
	boom := errors.New("bad jpeg")
	for _, workers := range []int{1, 8} {
		for name, fn := range map[string]func(context.Context, int) (int, error){
			"error": func(_ context.Context, i int) (int, error) {
				if i == 57 {
					return 0, boom
				}
				return i, nil
			},
			"panic": func(_ context.Context, i int) (int, error) {
				if i == 57 {
					panic(boom)
				}
				return i, nil
			},
		} {
			g := contraflow.New("failure")
			p := contraflow.Step(contraflow.Source(g, "numbers", count(1<<30)), "decode", fn, contraflow.Workers(workers))
			last := -1
			contraflow.Each(contraflow.Step(p, "after", double), "sink", func(_ context.Context, i int) error { last = i; return nil })
			err := g.Run(context.Background())
			var stage *contraflow.StageError
			if !errors.As(err, &stage) || stage.Stage != "decode" || !errors.Is(err, boom) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s, %d workers: got %q", name, workers, err)
			}
			var p2 *contraflow.PanicError
			if name == "panic" && (!errors.As(err, &p2) || len(p2.Stack) == 0) {
				t.Errorf("%s, %d workers: no stack in %v", name, workers, err)
			}
			if last >= 114 {
				t.Errorf("%s, %d workers: item %d came after the failure", name, workers, last)
			}
		}
	}
}

// A failed stream must never look complete: the sink's clean end is reached in no failing run.
func TestFailedStreamIsNotComplete(t *testing.T) {
	for i := range 2000 {
		g := contraflow.New("commit")
		p := contraflow.Step(contraflow.Source(g, "numbers", count(20)), "fail", func(_ context.Context, v int) (int, error) {
			if v == i%20 {
				return 0, errors.New("no")
			}
			return v, nil
		}, contraflow.Workers(1+i%3))
		committed := false
		q := contraflow.Step(p, "collect", double, contraflow.Finish(func(context.Context) error { committed = true; return nil }))
		contraflow.Each(q, "sink", func(context.Context, int) error { return nil })
		if err := g.Run(context.Background()); err == nil || committed {
			t.Fatalf("run %d: error %v, committed %v", i, err, committed)
		}
	}
}

func TestSourceError(t *testing.T) {
	g := contraflow.New("source")
	p := contraflow.Source(g, "numbers", func(yield func(int, error) bool) {
		if yield(1, nil) {
			yield(0, errors.New("disk gone"))
		}
	})
	contraflow.Each(p, "sink", func(context.Context, int) error { return nil })
	if err := g.Run(context.Background()); err == nil || err.Error() != `stage "numbers": disk gone` {
		t.Fatalf("got %v", err)
	}
}

// Cancelling ends a graph whose consumer is stuck, at once and without goroutines left.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		g := contraflow.New("cancel")
		p := contraflow.Step(contraflow.Source(g, "numbers", count(1<<30)), "double", double, contraflow.Workers(4))
		contraflow.Each(p, "stuck", func(ctx context.Context, _ int) error { <-ctx.Done(); return nil })
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	})
}

// Stop drains: everything sent is worked off, end hooks run, and the run ends without error.
func TestStopDrains(t *testing.T) {
	g := contraflow.New("stop")
	sent, got, finished := 0, 0, false
	p := contraflow.Source(g, "numbers", func(yield func(int, error) bool) {
		for yield(sent, nil) {
			sent++
		}
	})
	q := contraflow.Step(p, "double", double, contraflow.Workers(3), contraflow.Finish(func(context.Context) error { finished = true; return nil }))
	contraflow.Each(q, "sink", func(context.Context, int) error {
		if got++; got == 10 {
			g.Stop()
			g.Stop()
		}
		return nil
	})
	if err := g.Run(context.Background()); err != nil || got < 10 || got < sent-1 || !finished {
		t.Fatalf("sent %d, got %d, finished %v: %v", sent, got, finished, err)
	}
}

func TestForkZip(t *testing.T) {
	g := contraflow.New("fork")
	a, b := contraflow.Fork2(contraflow.Source(g, "numbers", count(100)), "split", func(i int) (int, string) { return i, fmt.Sprint(i) })
	pairs := contraflow.Zip2("join", contraflow.Step(a, "double", double, contraflow.Workers(3)), b)
	n := 0
	contraflow.Each(pairs, "sink", func(_ context.Context, p contraflow.Pair[int, string]) error {
		if p.A != 2*n || p.B != fmt.Sprint(n) {
			return fmt.Errorf("pair %d is %v", n, p)
		}
		n++
		return nil
	})
	if err := g.Run(context.Background()); err != nil || n != 100 {
		t.Fatal(n, err)
	}
}

func TestUnevenZip(t *testing.T) {
	for _, lengths := range [][2]int{{3, 5}, {5, 3}} {
		g := contraflow.New("uneven")
		pairs := contraflow.Zip2("join", contraflow.Source(g, "a", count(lengths[0])), contraflow.Source(g, "b", count(lengths[1])))
		contraflow.Each(pairs, "sink", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		if err := g.Run(context.Background()); !errors.Is(err, contraflow.ErrUneven) || !strings.Contains(err.Error(), "after 3 pairs") {
			t.Errorf("lengths %v: got %v", lengths, err)
		}
	}
}

// A loop carries decisions back; the wait for them is not booked as busy.
func TestFeedback(t *testing.T) {
	g := contraflow.New("loop")
	back := contraflow.Loop[int](g, "weights", 1).Between("update", "encode")
	inflight := -1
	var settled []int
	settle := func(ctx context.Context) error {
		if inflight < 0 {
			return nil
		}
		v, err := back.Recv(ctx)
		settled = append(settled, v)
		return err
	}
	enc := contraflow.Step(contraflow.Source(g, "numbers", count(20)), "encode", func(ctx context.Context, i int) (int, error) {
		err := settle(ctx)
		inflight = i
		return i, err
	}, contraflow.Finish(settle))
	contraflow.Each(enc, "update", func(ctx context.Context, i int) error {
		time.Sleep(2 * time.Millisecond)
		return back.Send(ctx, i)
	})
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(settled) != fmt.Sprint([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}) {
		t.Fatalf("settled %v", settled)
	}
	s := g.Stats().Stages[1]
	if s.Waited < 20*time.Millisecond || s.Busy > s.Waited {
		t.Errorf("encode waited %v and was busy %v", s.Waited, s.Busy)
	}
	if l := g.Stats().Loops; len(l) != 1 || l[0].Items != 20 || l[0].From != "update" {
		t.Errorf("loops %+v", l)
	}
}

// A full loop waits for its receiver, and cancelling ends the wait.
func TestFeedbackCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := contraflow.New("full")
		back := contraflow.Loop[int](g, "weights", 1)
		contraflow.Each(contraflow.Source(g, "numbers", count(5)), "send", func(ctx context.Context, i int) error { return back.Send(ctx, i) })
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		g = contraflow.New("empty")
		never := contraflow.Loop[int](g, "weights", 1)
		contraflow.Each(contraflow.Source(g, "numbers", count(5)), "recv", func(ctx context.Context, _ int) error { _, err := never.Recv(ctx); return err })
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	})
}

// Mistakes in the wiring are found before anything runs and begin with the user's file and line.
func TestMistakes(t *testing.T) {
	sink := func(context.Context, int) error { return nil }
	// A go-streams flow starts its goroutines when it is made; those of graphs that never run are ended at the end.
	var foreign []streams.Flow
	identity := func() streams.Flow {
		f := flow.NewMap(func(i int) int { return i }, 1)
		foreign = append(foreign, f)
		return f
	}
	defer func() {
		for _, f := range foreign {
			close(f.In())
		}
	}()
	for name, c := range map[string]struct {
		build func(g *contraflow.Graph)
		want  string
	}{
		"empty":       {func(*contraflow.Graph) {}, "empty"},
		"unconnected": {func(g *contraflow.Graph) { contraflow.Source(g, "a", count(1)) }, `nothing reads stage "a"`},
		"twice": {func(g *contraflow.Graph) {
			p := contraflow.Source(g, "a", count(1))
			contraflow.Each(p, "b", sink)
			contraflow.Each(p, "c", sink)
		}, "use Fork2"},
		"same name": {func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Step(contraflow.Source(g, "a", count(1)), "a", double), "b", sink)
		}, `stage "a" exists already`},
		"no name":    {func(g *contraflow.Graph) { contraflow.Each(contraflow.Source(g, "", count(1)), "b", sink) }, "needs a name"},
		"nil source": {func(g *contraflow.Graph) { contraflow.Each(contraflow.Source[int](g, "a", nil), "b", sink) }, "no sequence"},
		"nil step": {func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Step[int, int](contraflow.Source(g, "a", count(1)), "s", nil), "b", sink)
		}, "no function"},
		"nil each": {func(g *contraflow.Graph) { contraflow.Each(contraflow.Source(g, "a", count(1)), "b", nil) }, "no function"},
		"zero worker": {func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Step(contraflow.Source(g, "a", count(1)), "s", double, contraflow.Workers(0)), "b", sink)
		}, "at least 1"},
		"loop": {func(g *contraflow.Graph) {
			contraflow.Loop[int](g, "l", 0)
			contraflow.Each(contraflow.Source(g, "a", count(1)), "b", sink)
		}, "staleness 0"},
		"two graphs": {func(g *contraflow.Graph) {
			other := contraflow.New("other")
			contraflow.Each(contraflow.Zip2("z", contraflow.Source(g, "a", count(1)), contraflow.Source(other, "b", count(1))), "e", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		}, "two graphs"},
		"deadlock": {func(g *contraflow.Graph) {
			a, b := contraflow.Fork2(contraflow.Source(g, "a", count(9)), "fork", func(i int) (int, int) { return i, i })
			long := contraflow.Through[int, int](a, "batch", identity(), contraflow.Holds(8))
			contraflow.Each(contraflow.Zip2("zip", long, b), "e", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		}, "would deadlock"},
		"unknown hold": {func(g *contraflow.Graph) {
			a, b := contraflow.Fork2(contraflow.Source(g, "a", count(9)), "fork", func(i int) (int, int) { return i, i })
			long := contraflow.Through[int, int](a, "foreign", identity())
			contraflow.Each(contraflow.Zip2("zip", b, long), "e", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		}, "say with Holds"},
	} {
		g := contraflow.New("mistake")
		c.build(g)
		err := g.Run(context.Background())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		} else if name != "empty" && !strings.HasPrefix(err.Error(), "contraflow_test.go:") {
			t.Errorf("%s: %q does not begin with the user's line", name, err)
		}
	}
}

// The same diamond runs when the short leg has the room.
func TestDeepDiamond(t *testing.T) {
	g := contraflow.New("deep")
	a, b := contraflow.Fork2(contraflow.Source(g, "a", count(90)), "fork", func(i int) (int, int) { return i, i }, contraflow.Depth(8))
	long := contraflow.Through[int, int](a, "foreign", flow.NewMap(func(i int) int { return i + 1 }, 1), contraflow.Holds(2))
	n := 0
	contraflow.Each(contraflow.Zip2("zip", long, b), "e", func(_ context.Context, p contraflow.Pair[int, int]) error {
		if n++; p.A != p.B+1 {
			return fmt.Errorf("pair %v", p)
		}
		return nil
	})
	if err := g.Run(context.Background()); err != nil || n != 90 {
		t.Fatal(n, err)
	}
}

func TestZeroPort(t *testing.T) {
	var p contraflow.Port[int]
	contraflow.Each(p, "sink", func(context.Context, int) error { return nil }) // must not panic
}

func TestRunsOnce(t *testing.T) {
	g := contraflow.New("once")
	contraflow.Each(contraflow.Source(g, "a", count(1)), "b", func(context.Context, int) error { return nil })
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := g.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "runs once") {
		t.Fatalf("got %v", err)
	}
	if g.Name() != "once" {
		t.Error(g.Name())
	}
}

// go-streams operators inside our graph, at its start and at its end.
func TestForeignInside(t *testing.T) {
	in, out := make(chan any), make(chan any)
	go func() {
		for i := range 100 {
			in <- i
		}
		close(in)
	}()
	g := contraflow.New("foreign")
	p := contraflow.From[int](g, "channel", ext.NewChanSource(in))
	q := contraflow.Through[int, string](p, "text", flow.NewMap(func(i int) string { return fmt.Sprint(i) }, 1))
	contraflow.To(q, "out", ext.NewChanSink(out))
	n := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for v := range out {
			if v != fmt.Sprint(n) {
				t.Errorf("item %d is %v", n, v)
			}
			n++
		}
	}()
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-done
	if n != 100 {
		t.Fatalf("%d items", n)
	}
}

func TestForeignType(t *testing.T) {
	in := make(chan any)
	go func() { in <- "text"; close(in) }()
	g := contraflow.New("type")
	contraflow.Each(contraflow.From[int](g, "channel", ext.NewChanSource(in)), "sink", func(context.Context, int) error { return nil })
	if err := g.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "got string") || !strings.Contains(err.Error(), "want int") {
		t.Fatalf("got %v", err)
	}
}

// After a failure downstream a foreign source is drained, so that it can end.
func TestForeignDrained(t *testing.T) {
	in := make(chan any)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range 1000 {
			in <- i
		}
		close(in)
	}()
	g := contraflow.New("drain")
	p := contraflow.Through[int, int](contraflow.From[int](g, "channel", ext.NewChanSource(in)), "map", flow.NewMap(func(i int) int { return i }, 1))
	contraflow.Each(p, "sink", func(_ context.Context, i int) error {
		if i == 3 {
			return errors.New("enough")
		}
		return nil
	})
	if err := g.Run(context.Background()); err == nil {
		t.Fatal("no error")
	}
	<-ended
}

// Our stage as a flow of a plain go-streams pipeline.
func TestAsFlow(t *testing.T) {
	in, out := make(chan any), make(chan any)
	go func() {
		for i := range 100 {
			in <- i
		}
		close(in)
	}()
	ours := contraflow.NewFlow("square", func(_ context.Context, i int) (int, error) { return i * i, nil }, contraflow.Workers(4))
	go ext.NewChanSource(in).Via(ours).Via(flow.NewMap(func(i int) int { return i + 1 }, 1)).To(ext.NewChanSink(out))
	n := 0
	for v := range out {
		if v.(int) != n*n+1 {
			t.Fatalf("item %d is %v", n, v)
		}
		n++
	}
	if err := ours.Err(); err != nil || n != 100 {
		t.Fatal(n, err)
	}
}

func TestAsFlowFails(t *testing.T) {
	in, out := make(chan any), make(chan any)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range 100 {
			in <- i
		}
		close(in)
	}()
	ours := contraflow.NewFlow("fail", func(_ context.Context, i int) (int, error) {
		if i == 5 {
			return 0, errors.New("five")
		}
		return i, nil
	})
	go func() {
		for range out {
		}
	}()
	ext.NewChanSource(in).Via(ours).To(ext.NewChanSink(out))
	<-ended
	if err := ours.Err(); err == nil || !strings.Contains(err.Error(), "five") {
		t.Fatalf("got %v", err)
	}
}

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

// Workers can be added and taken away while the graph runs.
func TestSetWorkers(t *testing.T) {
	g := contraflow.New("workers")
	var busy, most atomic.Int64
	p := contraflow.Step(contraflow.Source(g, "numbers", count(300)), "work", func(_ context.Context, i int) (int, error) {
		b := busy.Add(1)
		for m := most.Load(); b > m && !most.CompareAndSwap(m, b); m = most.Load() {
		}
		time.Sleep(100 * time.Microsecond)
		busy.Add(-1)
		return i, nil
	}, contraflow.MaxWorkers(6))
	n := 0
	contraflow.Each(p, "sink", func(_ context.Context, i int) error {
		if n == 100 {
			if m := most.Load(); m != 1 {
				return fmt.Errorf("%d workers before, want 1", m)
			}
			return errors.Join(g.SetWorkers("work", 5), func() error { n++; return nil }())
		}
		n++
		return nil
	})
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if m := most.Load(); m < 2 || m > 5 {
		t.Errorf("at most %d at once, want 2 to 5", m)
	}
	for _, c := range []struct {
		stage string
		n     int
	}{{"work", 7}, {"work", 0}, {"nobody", 1}} {
		if err := g.SetWorkers(c.stage, c.n); err == nil {
			t.Errorf("%d workers for %s were accepted", c.n, c.stage)
		}
	}
}

// The watchdog names a stage that is stuck in one call.
func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stuck atomic.Value
		g := contraflow.New("watch", contraflow.WithWatchdog(time.Second, func(s contraflow.Stuck) {
			stuck.Store(fmt.Sprintln(s.Stage, s.Worker, s.Item, s.For >= time.Second && s.For <= 5*time.Second))
		}))
		p := contraflow.Step(contraflow.Source(g, "numbers", count(3)), "reader", func(_ context.Context, i int) (int, error) {
			if i == 1 {
				time.Sleep(5 * time.Second)
			}
			return i, nil
		})
		contraflow.Each(p, "sink", func(context.Context, int) error { return nil })
		if err := g.Run(context.Background()); err != nil || stuck.Load() != "reader 0 1 true\n" {
			t.Fatalf("%v, stuck %v", err, stuck.Load())
		}
	})
}

func Example() {
	g := contraflow.New("squares")
	numbers := contraflow.Source(g, "numbers", count(4))
	squares := contraflow.Step(numbers, "square", func(_ context.Context, i int) (int, error) { return i * i, nil }, contraflow.Workers(2))
	contraflow.Each(squares, "print", func(_ context.Context, i int) error {
		fmt.Println(i)
		return nil
	})
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 0
	// 1
	// 4
	// 9
}

func BenchmarkGraph(b *testing.B) {
	for _, stages := range []int{1, 5} {
		for _, workers := range []int{1, 8} {
			b.Run(fmt.Sprintf("stages=%d/workers=%d", stages, workers), func(b *testing.B) {
				type item [8]int
				v := &item{}
				g := contraflow.New("bench")
				p := contraflow.Source(g, "source", func(yield func(*item, error) bool) {
					for range b.N {
						if !yield(v, nil) {
							return
						}
					}
				})
				for i := range stages {
					p = contraflow.Step(p, fmt.Sprint("stage", i), func(_ context.Context, x *item) (*item, error) { return x, nil }, contraflow.Workers(workers), contraflow.Depth(4))
				}
				contraflow.Each(p, "sink", func(context.Context, *item) error { return nil })
				b.ReportAllocs()
				if err := g.Run(context.Background()); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
