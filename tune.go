package contraflow

import (
	"context"
	"sync"
	"time"
)

// tuner moves workers between the stages that scale.
type tuner struct {
	budget int
	every  time.Duration
	told   func(stage string, workers int)
	before Stats
}

// WithAutotune lets the graph move workers while it runs: every interval the stage that limits gets one more, up to its
// MaxWorkers and budget workers over all stages that scale, and a stage that would keep up with one less gives it back.
// Outputs, and their order, stay the same. told, if not nil, hears of every change.
func WithAutotune(budget int, every time.Duration, told func(stage string, workers int)) Option {
	return func(g *Graph) { g.tuner = &tuner{budget: max(budget, 1), every: every, told: told} }
}

func (g *Graph) startTuner(ctx context.Context) *sync.WaitGroup {
	var wg sync.WaitGroup
	if g.tuner == nil || g.tuner.every <= 0 {
		return &wg
	}
	wg.Go(func() {
		tick := time.NewTicker(g.tuner.every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				g.tune()
			}
		}
	})
	return &wg
}

// spare is the share of its time that a stage may be busy with one worker less: below the one that limits, with some room, so
// that a worker taken away is not given back at once.
const spare = 0.85

// tune makes at most one change for the window since the last one.
func (g *Graph) tune() {
	t := g.tuner
	now := g.Stats()
	window := now.Since(t.before)
	first, _, ok := window.top()
	if !ok || first.stage.Items == 0 {
		return // too short a window to tell
	}
	t.before = now
	total := 0
	var idlest *StageStat // that would keep up with one worker less
	share := 0.0
	for i, st := range window.Stages {
		if !st.Scales {
			continue
		}
		total += st.Workers
		if st.Workers < 2 || st.Name == first.stage.Name {
			continue
		}
		less := window.Share(st) * float64(st.Workers) / float64(st.Workers-1)
		if less < spare*first.share && (idlest == nil || less < share) {
			idlest, share = &window.Stages[i], less
		}
	}
	grows := first.stage.Scales && first.share > 0.5 && first.stage.Workers < g.find(first.stage.Name).most
	switch {
	case grows && total < t.budget:
		g.give(first.stage, 1)
	case idlest != nil:
		g.give(*idlest, -1)
	}
}

func (g *Graph) give(st StageStat, more int) {
	if g.SetWorkers(st.Name, st.Workers+more) == nil && g.tuner.told != nil {
		g.tuner.told(st.Name, st.Workers+more)
	}
}
