package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/contraflow/contraflow"
)

// Graphs drawn at random, ended at random in one of their steps while workers come and go: none hangs, order is kept, pairs belong
// together, a failed stream is never a complete one, and the times of every stage add up.
func TestRandomGraphs(t *testing.T) { rapid.Check(t, randomGraph) }

var errRandom = errors.New("ended")

func randomGraph(t *rapid.T) {
	below := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	g := contraflow.New("random", contraflow.WithAutotune(4, time.Millisecond, nil), contraflow.WithWatchdog(time.Millisecond, func(contraflow.Stuck) {}))
	items := below(60, "items")
	end, victim, at := rapid.SampledFrom([]string{"itself", "stop", "cancel", "error", "panic"}).Draw(t, "end"), below(6, "victim"), below(items+5, "at")
	reached, stages := false, 0
	var scaled []string
	step := func(p contraflow.Port[int]) contraflow.Port[int] {
		me, name, lag := stages, fmt.Sprint("step ", stages), below(3, "lag")
		stages++
		var opts []contraflow.StageOption
		switch below(4, "kind") {
		case 0:
			opts = append(opts, contraflow.Chained())
		case 1:
			opts = append(opts, contraflow.Workers(1+below(4, "workers")), contraflow.MaxWorkers(5))
			scaled = append(scaled, name)
		}
		return contraflow.Step(p, name, func(_ context.Context, i int) (int, error) {
			if lag == 0 && i%5 == 0 {
				time.Sleep(time.Duration(i%7) * 10 * time.Microsecond)
			}
			if me == victim && i == at {
				reached = true
				switch end {
				case "stop":
					g.Stop()
				case "cancel":
					cancel(errRandom)
				case "error":
					return 0, errRandom
				case "panic":
					panic(errRandom)
				}
			}
			return i, nil
		}, opts...)
	}
	p := contraflow.Source(g, "source", count(items))
	for range below(5, "parts") {
		if below(3, "part") > 0 {
			p = step(p)
			continue
		}
		id := stages
		a, b := contraflow.Fork2(p, fmt.Sprint("fork ", id), func(i int) (int, int) { return i, i })
		for range below(3, "first leg") {
			a = step(a)
		}
		for range below(3, "second leg") {
			b = step(b)
		}
		stages++
		p = contraflow.Step(contraflow.Zip2(fmt.Sprint("zip ", id), a, b), fmt.Sprint("pair ", id), func(_ context.Context, p contraflow.Pair[int, int]) (int, error) {
			if p.A != p.B {
				return 0, fmt.Errorf("pair %v", p)
			}
			return p.A, nil
		})
	}
	next, complete := 0, false
	contraflow.Each(p, "sink", func(_ context.Context, i int) error {
		if i != next {
			return fmt.Errorf("item %d came as %d", i, next)
		}
		next++
		if len(scaled) > 0 {
			return g.SetWorkers(scaled[i%len(scaled)], 1+i%5)
		}
		return nil
	}, contraflow.Finish(func(context.Context) error { complete = true; return nil }))
	hangs := time.AfterFunc(20*time.Second, func() { panic("hangs:\n" + g.String()) })
	defer hangs.Stop()
	err := g.Run(ctx)
	fails := reached && (end == "error" || end == "panic")
	switch {
	case err != nil && !(errors.Is(err, errRandom) && reached), fails && (err == nil || complete):
		t.Fatalf("%v, complete %v", err, complete)
	case err == nil && (!complete || end != "stop" && next != items):
		t.Fatalf("%d of %d items and no error, complete %v", next, items, complete)
	}
	for _, s := range g.Stats().Stages {
		if sum := s.Busy + s.Starved + s.Blocked + s.Waited; min(s.Busy, s.Starved, s.Blocked, s.Waited) < 0 || sum > s.Time {
			t.Fatalf("times of %+v", s)
		}
	}
}

// Feedback from behind chains, filters and a zip with another source, ended at random: no graph hangs, answers keep their order, and
// only Stop before a zip leaves items without one.
func TestRandomFeedback(t *testing.T) { rapid.Check(t, randomFeedback) }

func randomFeedback(t *rapid.T) {
	below := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	g := contraflow.New("feedback", contraflow.WithWatchdog(time.Millisecond, func(contraflow.Stuck) {}))
	items, lag, zipped := below(40, "items"), 1+below(3, "lag"), rapid.Bool().Draw(t, "zipped")
	end, victim, at := rapid.SampledFrom([]string{"itself", "stop", "cancel", "error"}).Draw(t, "end"), below(4, "victim"), 1+below(40, "at")
	if end == "stop" {
		items = 1 << 30
	}
	reached, stages := false, 0
	act := func() func(i int) error { // of the next stage
		me, slow, seen := stages, rapid.Bool().Draw(t, "slow"), 0
		stages++
		return func(i int) error {
			if slow && i%5 == 0 {
				time.Sleep(time.Duration(i%7) * 10 * time.Microsecond)
			}
			if seen++; me != victim || seen != at {
				return nil
			}
			reached = true
			switch end {
			case "stop":
				g.Stop()
			case "cancel":
				cancel(errRandom)
			case "error":
				return errRandom
			}
			return nil
		}
	}
	maybeChained := func(opts ...contraflow.StageOption) []contraflow.StageOption {
		if rapid.Bool().Draw(t, "chained") {
			opts = append(opts, contraflow.Chained())
		}
		return opts
	}
	back := contraflow.Loop[int](g, "back", lag+below(2, "staleness")).Between("update", "encode")
	var flying []int
	answered, unanswered, sent, updated := 0, 0, 0, 0
	settle := func(ctx context.Context) error {
		v, err := back.Recv(ctx)
		if errors.Is(err, contraflow.ErrEnded) {
			unanswered, err = unanswered+1, nil
		} else if answered++; err == nil && (v != flying[0] || unanswered > 0) {
			err = fmt.Errorf("answer %d, want %d", v, flying[0])
		}
		flying = flying[1:]
		return err
	}
	load, encode, update, sink := act(), act(), act(), act()
	p := contraflow.Filter(contraflow.Source(g, "source", count(items)), "even", func(_ context.Context, i int) (int, bool, error) {
		return i, i%2 == 0, load(i)
	})
	p = contraflow.Step(p, "encode", func(ctx context.Context, i int) (int, error) {
		if len(flying) == lag {
			if err := settle(ctx); err != nil {
				return 0, err
			}
		}
		sent, flying = sent+1, append(flying, i)
		return i, encode(i)
	}, maybeChained(contraflow.Finish(func(ctx context.Context) error {
		for len(flying) > 0 {
			if err := settle(ctx); err != nil {
				return err
			}
		}
		return nil
	}))...)
	if zipped {
		delay := rapid.Bool().Draw(t, "delay")
		other := contraflow.Source(g, "other", func(yield func(int, error) bool) {
			for i := 0; 2*i < items && yield(2*i, nil); i++ {
				if delay && i%4 == 0 {
					time.Sleep(50 * time.Microsecond)
				}
			}
		}, contraflow.Depth(1+below(9, "depth")))
		p = contraflow.Step(contraflow.Zip2("zip", p, other), "pair", func(_ context.Context, p contraflow.Pair[int, int]) (int, error) {
			if p.A != p.B {
				return 0, fmt.Errorf("pair %v", p)
			}
			return p.A, nil
		}, maybeChained()...)
	}
	p = contraflow.Step(p, "update", func(ctx context.Context, i int) (int, error) {
		updated++
		return i, errors.Join(update(i), back.Send(ctx, i))
	}, maybeChained()...)
	complete := false
	contraflow.Each(contraflow.Filter(p, "meter", func(_ context.Context, i int) (int, bool, error) { return i, i%3 == 0, nil }), "sink",
		func(_ context.Context, i int) error { return sink(i) }, contraflow.Finish(func(context.Context) error { complete = true; return nil }))
	hangs := time.AfterFunc(20*time.Second, func() { panic("hangs:\n" + g.String()) })
	defer hangs.Stop()
	err := g.Run(ctx)
	switch {
	case err != nil && !(errors.Is(err, errRandom) && reached):
		t.Fatal(err)
	case err == nil && (!complete || reached && end == "error" || sent != answered+unanswered || answered != updated):
		t.Fatalf("complete %v: of %d sent %d were updated, %d answered, %d not", complete, sent, updated, answered, unanswered)
	case err == nil && unanswered > 0 && !(zipped && end == "stop"):
		t.Fatalf("%d without an answer", unanswered)
	}
}
