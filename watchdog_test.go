package contraflow_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
