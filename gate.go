package contraflow

import (
	"context"
	"sync"
)

// gate bounds a step with several workers: at most allowed of them are in a call, and at most twice as many items are
// inside the step, finished ones that wait for their turn included; the dispatcher has one more in hand. allowed may change at any time.
type gate struct {
	mu      sync.Mutex
	changed sync.Cond
	allowed int
	active  int
	inside  int
}

func newGate(allowed int) *gate {
	g := &gate{allowed: allowed}
	g.changed.L = &g.mu
	return g
}

// enter waits until one more item may be worked on; false when ctx ended. Somebody must call wake when it does.
func (g *gate) enter(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.active >= g.allowed || g.inside >= 2*g.allowed {
		if ctx.Err() != nil {
			return false
		}
		g.changed.Wait()
	}
	g.active++
	g.inside++
	return true
}

// finish ends a call, leave takes an item out of the step.
func (g *gate) finish() { g.change(func() { g.active-- }) }
func (g *gate) leave()  { g.change(func() { g.inside-- }) }
func (g *gate) wake()   { g.change(func() {}) }

func (g *gate) allow(n int) { g.change(func() { g.allowed = n }) }

func (g *gate) change(f func()) {
	g.mu.Lock()
	f()
	g.mu.Unlock()
	g.changed.Broadcast()
}
