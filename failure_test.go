package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reugn/go-streams/flow"

	"github.com/contraflow/contraflow"
)

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

// A stage that ends its goroutine has failed: its stream is not a complete one, and nobody waits for it.
func TestExit(t *testing.T) {
	exit := func(_ context.Context, i int) (int, error) {
		if i == 1 {
			runtime.Goexit()
		}
		return i, nil
	}
	for _, items := range []int{2, 100} {
		for name, opts := range map[string][]contraflow.StageOption{"serial": nil, "parallel": {contraflow.Workers(2)}, "chained": {contraflow.Chained()}} {
			g := contraflow.New("exit")
			complete := false
			p := contraflow.Step(contraflow.Step(contraflow.Source(g, "numbers", count(items)), "before", double), "exits", func(ctx context.Context, i int) (int, error) { return exit(ctx, i/2) }, opts...)
			contraflow.Each(p, "sink", func(context.Context, int) error { return nil }, contraflow.Finish(func(context.Context) error { complete = true; return nil }))
			err := g.Run(context.Background())
			var stage *contraflow.StageError
			if !errors.As(err, &stage) || stage.Stage != "exits" || !strings.Contains(err.Error(), "ended its goroutine") || complete {
				t.Errorf("%s, %d items: %v, complete %v", name, items, err, complete)
			}
		}
	}
	g := contraflow.New("exit")
	contraflow.Each(contraflow.Source(g, "numbers", count(9)), "sink", func(ctx context.Context, i int) error { _, err := exit(ctx, i); return err })
	if err := g.Run(context.Background()); err == nil || !strings.Contains(err.Error(), `stage "sink": ended its goroutine`) {
		t.Errorf("sink: %v", err)
	}
}

// Run waits for the calls of a step with several workers, also when what is chained to it ends the goroutine that both share.
func TestExitBehindWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := contraflow.New("exit")
		var calls atomic.Int64
		p := contraflow.Step(contraflow.Source(g, "numbers", count(100)), "slow", func(_ context.Context, i int) (int, error) {
			calls.Add(1)
			defer calls.Add(-1)
			time.Sleep(time.Duration(1+i) * time.Second)
			return i, nil
		}, contraflow.Workers(3))
		p = contraflow.Step(p, "exits", func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil }, contraflow.Chained())
		contraflow.Each(p, "sink", func(context.Context, int) error { return nil })
		err := g.Run(context.Background())
		if n := calls.Load(); n != 0 || err == nil || !strings.Contains(err.Error(), `stage "exits": ended its goroutine`) {
			t.Errorf("%d calls go on after %v", n, err)
		}
	})
}

// Stop ends two sources at different items; what one has more than the other is dropped at their zip.
func TestStopZip(t *testing.T) {
	g := contraflow.New("stop")
	slow := contraflow.Step(contraflow.Source(g, "slow", count(1<<30)), "delay", func(_ context.Context, i int) (int, error) {
		time.Sleep(time.Millisecond)
		return i, nil
	})
	n, complete := 0, false
	contraflow.Each(contraflow.Zip2("zip", slow, contraflow.Source(g, "fast", count(1<<30), contraflow.Depth(9))), "sink", func(_ context.Context, p contraflow.Pair[int, int]) error {
		if n++; n == 5 {
			g.Stop()
		}
		if p.A != p.B {
			return fmt.Errorf("pair %v", p)
		}
		return nil
	}, contraflow.Finish(func(context.Context) error { complete = true; return nil }))
	if err := g.Run(context.Background()); err != nil || n < 5 || !complete {
		t.Fatalf("%d pairs, complete %v: %v", n, complete, err)
	}
}

// Stop ends zips one behind the other, also when the outer one feeds from what the inner one drops: a fork is before both.
func TestStopNestedZips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		g := contraflow.New("stop")
		slow := contraflow.Source(g, "slow", func(yield func(int, error) bool) {
			for i := 0; yield(i, nil); i++ {
				time.Sleep(time.Second)
			}
		})
		a, b := contraflow.Fork2(contraflow.Source(g, "fast", count(1<<30)), "fork", func(i int) (int, int) { return i, i })
		n, complete := 0, false
		contraflow.Each(contraflow.Zip2("outer", contraflow.Zip2("inner", a, slow), b), "sink", func(_ context.Context, p contraflow.Pair[contraflow.Pair[int, int], int]) error {
			if n++; n == 5 {
				g.Stop()
			}
			if p.A.A != p.B || p.A.B != p.B {
				return fmt.Errorf("pair %v", p)
			}
			return nil
		}, contraflow.Finish(func(context.Context) error { complete = true; return nil }))
		if err := g.Run(ctx); err != nil || n < 5 || !complete {
			t.Fatalf("%d pairs, complete %v: %v", n, complete, err)
		}
	})
}

// The error of a panic is one line, whatever it says.
func TestPanicLine(t *testing.T) {
	g := contraflow.New("panic")
	contraflow.Each(contraflow.Source(g, "numbers", count(1)), "sink", func(context.Context, int) error { panic("one\ntwo") })
	if err := g.Run(context.Background()); err == nil || err.Error() != `stage "sink": panic: one` {
		t.Errorf("%q", err)
	}
}

// What is added to a running graph does not run, and Run says so. It changes nothing of what runs or is being looked at.
func TestAddedLate(t *testing.T) {
	for _, when := range []string{"in a stage", "beside the run"} {
		g := contraflow.New("late", contraflow.WithWatchdog(time.Millisecond, func(contraflow.Stuck) {}))
		running, added := make(chan struct{}), make(chan struct{})
		numbers := contraflow.Source(g, "numbers", count(9))
		doubled := contraflow.Step(numbers, "double", double)
		foreign := flow.NewMap(func(i int) int { return i }, 1)
		add := func() {
			defer close(added)
			late := contraflow.Through[int, int](contraflow.Source(g, "more", count(1)), "foreign", foreign)
			contraflow.Each(contraflow.Step(late, "late", double, contraflow.Chained()), "late sink", func(context.Context, int) error { return nil })
			contraflow.Step(numbers, "second reader", double, contraflow.Chained())
			contraflow.Loop[int](g, "late loop", 1)
		}
		if when == "beside the run" {
			go func() { <-running; add() }()
		}
		sum, again := 0, error(nil)
		contraflow.Each(doubled, "sink", func(_ context.Context, i int) error {
			switch {
			case i == 4 && when == "in a stage":
				add()
			case i == 4:
				close(running)
				for range 100 {
					g.Stats()
				}
				<-added
			case i == 6:
				again = g.Run(context.Background())
			}
			sum += i
			return nil
		})
		err := g.Run(context.Background())
		if again == nil || !strings.Contains(again.Error(), "runs once") {
			t.Errorf("%s: again: %v", when, again)
		}
		for _, want := range []string{`stage "late" is added to a graph that runs already`, `loop "late loop" is added to a graph that runs already`} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", when, err, want)
			}
		}
		if st := g.Stats(); len(st.Stages) != 3 || len(st.Edges) != 2 || len(st.Loops) != 0 || sum != 72 {
			t.Errorf("%s: sum %d, %+v", when, sum, st)
		}
		for range foreign.Out() { // ends: the late stage has let go of it
		}
	}
}
