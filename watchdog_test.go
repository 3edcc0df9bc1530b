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
