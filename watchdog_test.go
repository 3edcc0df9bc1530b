package contraflow_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ext "github.com/reugn/go-streams/extension"
	"github.com/reugn/go-streams/flow"

	"github.com/contraflow/contraflow"
)

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

// Who waits for a foreign source, or for room behind a foreign flow, is not stuck: the one that is waited for is.
func TestWatchdogForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := map[string]bool{}
		g := contraflow.New("watch", contraflow.WithWatchdog(time.Second, func(s contraflow.Stuck) { stuck[s.Stage] = true }))
		in := make(chan any)
		go func() {
			defer close(in)
			for i := range 9 {
				in <- i
			}
			time.Sleep(5 * time.Minute)
		}()
		p := contraflow.From[int](g, "idle", ext.NewChanSource(in))
		q := contraflow.Through[int, int](p, "map", flow.NewMap(func(i int) int { return i }, 1))
		contraflow.Each(q, "slow", func(context.Context, int) error { time.Sleep(5 * time.Second); return nil })
		if err := g.Run(context.Background()); err != nil || len(stuck) != 1 || !stuck["slow"] {
			t.Errorf("%v, stuck %v", err, stuck)
		}
	})
}

// An answer that nobody sends is waited for for ever: once no stage has anything to do, the one that waits is stuck. Before that it is
// not, however short the calls of those that it waits for.
func TestWatchdogStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := map[string]time.Duration{}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		g := contraflow.New("watch", contraflow.WithWatchdog(time.Second, func(s contraflow.Stuck) {
			if stuck[fmt.Sprint(s.Stage, s.Item)] = s.For; s.For > time.Minute {
				cancel()
			}
		}))
		back := contraflow.Loop[int](g, "back", 1).Between("update", "encode")
		p := contraflow.Step(contraflow.Source(g, "numbers", count(9)), "encode", func(ctx context.Context, i int) (int, error) {
			if i == 0 {
				return i, nil
			}
			_, err := back.Recv(ctx)
			return i, err
		})
		for i := range 9 {
			p = contraflow.Step(p, fmt.Sprint("slow ", i), func(_ context.Context, i int) (int, error) { time.Sleep(900 * time.Millisecond); return i, nil }, contraflow.Workers(1+i%2))
		}
		kept := contraflow.Filter(p, "filter", func(_ context.Context, i int) (int, bool, error) { return i, i != 4, nil })
		contraflow.Each(kept, "update", func(ctx context.Context, i int) error { return back.Send(ctx, i) })
		err := g.Run(ctx)
		if d := stuck["encode5"]; err == nil || len(stuck) != 1 || d < time.Minute || d > 62*time.Second {
			t.Errorf("%v, stuck %v", err, stuck)
		}
	})
}
