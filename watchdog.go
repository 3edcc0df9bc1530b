package contraflow

import (
	"context"
	"sync"
	"time"
)

// Stuck is one call of a stage's function that goes on, or waits for an answer that nobody is about to send, for longer than the
// watchdog's limit.
type Stuck struct {
	Stage  string
	Worker int
	Item   int64         // number of the item in the stage's input, from 0
	For    time.Duration // how long the call has run, waits on feedback edges or behind a foreign flow not counted, or how long it has waited
	Usual  time.Duration // median of the stage's calls, 0 when none has ended
}

// WithWatchdog calls f about once every limit for as long as one call of a stage's function has been running for
// longer than limit. A stage that waits, for input, for room or on a feedback edge, is not stuck: the one it waits for is. Only when no
// stage has been at work for as long, what waits on a feedback edge with declared ends is: the answer will not come, unless a foreign
// flow is behind it.
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
	var waiting []Stuck
	standing := true // nobody has been in a call for as long
	for i, n := range g.nodes {
		roomless, freed := n.ledger.blocking() // waits, or waited until then, for room behind a foreign flow
		for w := range n.workers {
			k := &n.workers[w]
			stuck := Stuck{Stage: n.name, Worker: w, Item: k.seq.Load(), Usual: s.Stages[i].P50}
			if began := k.began.Load(); began != 0 && !roomless {
				standing = false
				stuck.For = time.Duration(now - max(began, freed) + 1)
				if stuck.For > limit && n.kind != "from" { // which waits for a foreign source
					out = append(out, stuck)
				}
				continue
			}
			since, waits := k.idle()
			stuck.For = time.Duration(now - since)
			standing = standing && stuck.For > limit
			if waits {
				waiting = append(waiting, stuck)
			}
		}
	}
	if standing {
		return waiting
	}
	return out
}

// idle is since when a worker is not at work, and whether it waits for a stage on a feedback edge.
func (w *worker) idle() (since int64, waits bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waits > 0 {
		return w.since, w.on.start != ""
	}
	return w.ended, false
}
