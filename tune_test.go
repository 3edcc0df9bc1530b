package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/contraflow/contraflow"
)

// The tuner gives the stage that limits more workers, up to the budget; takes them back when it no longer limits; and every
// item comes out, in order.
func TestAutotune(t *testing.T) {
	for _, c := range []struct {
		name          string
		budget        int
		first, second time.Duration // of a decode, in the two halves of the run
		want          [2]int        // workers at the end of each half
	}{
		{"grows to what the sink takes", 8, 35 * time.Millisecond, 35 * time.Millisecond, [2]int{4, 4}},
		{"keeps the budget", 2, 35 * time.Millisecond, 35 * time.Millisecond, [2]int{2, 2}},
		{"gives back", 8, 35 * time.Millisecond, 2 * time.Millisecond, [2]int{4, 1}},
		{"leaves one alone", 8, 2 * time.Millisecond, 2 * time.Millisecond, [2]int{1, 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			changes := 0
			g := contraflow.New("tune", contraflow.WithAutotune(c.budget, time.Second, func(stage string, n int) {
				mu.Lock()
				defer mu.Unlock()
				if changes++; stage != "decode" || n < 1 || n > c.budget {
					t.Errorf("%s: %s was given %d workers", c.name, stage, n)
				}
			}))
			const items = 4000
			p := contraflow.Step(contraflow.Source(g, "numbers", count(items)), "decode", func(_ context.Context, i int) (int, error) {
				d := c.first
				if i >= items/2 {
					d = c.second
				}
				time.Sleep(d)
				return i, nil
			}, contraflow.MaxWorkers(8))
			next := 0
			var at [2]int
			contraflow.Each(p, "sink", func(_ context.Context, i int) error {
				time.Sleep(10 * time.Millisecond)
				if i != next {
					return fmt.Errorf("item %d came as number %d", i, next)
				}
				if next++; next == items/2-1 {
					at[0] = g.Stats().Stages[1].Workers
				}
				at[1] = g.Stats().Stages[1].Workers
				return nil
			})
			if err := g.Run(context.Background()); err != nil || next != items || at != c.want {
				t.Errorf("%s: %d items, workers %v, want %v: %v", c.name, next, at, c.want, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if changes > 10 {
				t.Errorf("%s: %d changes: it does not settle", c.name, changes)
			}
		})
	}
}

// Two stages that scale share a budget: the one that limits gets what the other can spare.
func TestAutotuneShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := contraflow.New("share", contraflow.WithAutotune(4, time.Second, nil))
		p := contraflow.Source(g, "numbers", count(3000))
		p = contraflow.Step(p, "views", func(_ context.Context, i int) (int, error) { time.Sleep(5 * time.Millisecond); return i, nil }, contraflow.Workers(3), contraflow.MaxWorkers(4))
		p = contraflow.Step(p, "decode", func(_ context.Context, i int) (int, error) { time.Sleep(30 * time.Millisecond); return i, nil }, contraflow.MaxWorkers(4))
		var last contraflow.Stats
		contraflow.Each(p, "sink", func(context.Context, int) error { last = g.Stats(); return nil })
		if err := g.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if views, decode := last.Stages[1].Workers, last.Stages[2].Workers; views != 1 || decode != 3 {
			t.Errorf("views %d, decode %d workers, want 1 and 3", views, decode)
		}
	})
}

// A worker is taken away only where the stage keeps up without it with room to spare, and first from the stage with the most.
func TestAutotuneSpares(t *testing.T) {
	for _, c := range []struct {
		name                 string
		views, crops, decode time.Duration // of an item, by two, two and one worker; the sink takes 10 ms
		want                 string        // the first change
	}{
		{"most room first", 4 * time.Millisecond, time.Millisecond, 5 * time.Millisecond, "crops 1"},
		{"in either order", time.Millisecond, 4 * time.Millisecond, 5 * time.Millisecond, "views 1"},
		{"room enough", 8 * time.Millisecond, 9200 * time.Microsecond, 5 * time.Millisecond, "views 1"},
		{"too little room", 9 * time.Millisecond, 9200 * time.Microsecond, 5 * time.Millisecond, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			first := ""
			g := contraflow.New("spare", contraflow.WithAutotune(5, time.Second, func(stage string, n int) {
				if first == "" {
					first = fmt.Sprint(stage, " ", n)
				}
			}))
			p := contraflow.Source(g, "numbers", count(1050)) // no window sees the end of the numbers
			for _, s := range []struct {
				name    string
				takes   time.Duration
				workers int
			}{{"views", c.views, 2}, {"crops", c.crops, 2}, {"decode", c.decode, 1}} {
				p = contraflow.Step(p, s.name, func(_ context.Context, i int) (int, error) { time.Sleep(s.takes); return i, nil }, contraflow.Workers(s.workers), contraflow.MaxWorkers(4))
			}
			contraflow.Each(p, "sink", func(context.Context, int) error { time.Sleep(10 * time.Millisecond); return nil })
			if err := g.Run(context.Background()); err != nil || first != c.want {
				t.Errorf("%s: the first change is %q, want %q: %v", c.name, first, c.want, err)
			}
		})
	}
}

// Workers can be added and taken away while the graph runs.
func TestSetWorkers(t *testing.T) { synctest.Test(t, setWorkers) }

func setWorkers(t *testing.T) {
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
	if m := most.Load(); m != 5 {
		t.Errorf("at most %d at once, want 5", m)
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
