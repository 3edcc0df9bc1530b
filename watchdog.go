package contraflow

import (
	"context"
	"sync"
	"time"
)

// Stuck is one call of a stage's function that goes on for longer than the watchdog's limit.
type Stuck struct {
	Stage  string
	Worker int
	Item   int64         // number of the item in the stage's input, from 0
	For    time.Duration // how long the call has run, waits on feedback edges not counted
	Usual  time.Duration // median of the stage's calls, 0 when none has ended
}

// WithWatchdog calls f about once every limit for as long as one call of a stage's function has been running for
// longer than limit. A stage that waits, for input, for room or on a feedback edge, is not stuck: the one it waits for is.
func WithWatchdog(limit time.Duration, f func(Stuck)) Option {
	return func(g *Graph) { g.watch, g.limit = f, limit }
}

// startWatchdog looks at every worker until ctx ends.
func (g *Graph) startWatchdog(ctx context.Context) *sync.WaitGroup {
	var wg sync.WaitGroup
	if g.watch == nil || g.limit <= 0 {
		return &wg
	}
	wg.Go(func() {
		tick := time.NewTicker(g.limit)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				for _, s := range g.Stuck(g.limit) {
					g.watch(s)
				}
			}
		}
	})
	return &wg
}

// Stuck lists the calls that have been running for longer than limit.
func (g *Graph) Stuck(limit time.Duration) (out []Stuck) {
	s := g.Stats()
	if s.Elapsed == 0 {
		return nil
	}
	now := int64(s.Elapsed)
	for i, n := range g.nodes {
		if n.kind == "from" || n.ledger.blocking() { // waits for a foreign source, or for room behind a foreign flow
			continue
		}
		for w := range n.workers {
			began := n.workers[w].began.Load()
			if d := time.Duration(now - began + 1); began != 0 && d > limit {
				out = append(out, Stuck{n.name, w, n.workers[w].seq.Load(), d, s.Stages[i].P50})
			}
		}
	}
	return out
}
