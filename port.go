package contraflow

import (
	"fmt"
	"sync"
)

// Port is the typed end of a stage that nothing is connected to yet. It is used exactly once.
type Port[T any] struct{ e *edge }

// StageOption sets up one stage.
type StageOption func(*settings)

type settings struct {
	workers, most, depth, holds int
	scales                      bool
	finish                      any
}

// Workers lets a Step run on n items at once; its output keeps the order of its input. At most about 2n items are
// inside the stage.
func Workers(n int) StageOption { return func(s *settings) { s.workers, s.scales = n, true } }

// MaxWorkers is how far SetWorkers may raise the number of workers later.
func MaxWorkers(n int) StageOption { return func(s *settings) { s.most, s.scales = n, true } }

// Depth is how many items the edge after the stage holds. The default is 2.
func Depth(n int) StageOption { return func(s *settings) { s.depth = n } }

// Holds declares that a foreign flow keeps up to n items before it gives one, as batching does. A flow between a fork
// and a zip must say so: the other leg needs as much room.
func Holds(n int) StageOption { return func(s *settings) { s.holds = n } }

const defaultDepth = 2

// add makes a node, validating what every stage has in common.
func (g *Graph) add(kind, name, at string, opts []StageOption) (*node, settings) {
	s := settings{workers: 1, depth: defaultDepth, holds: -1}
	for _, o := range opts {
		o(&s)
	}
	if name == "" {
		g.mistake(at, "a %s needs a name", kind)
	}
	for _, other := range g.nodes {
		if other.name == name {
			g.mistake(at, "stage %q exists already (%s): names are unique", name, other.site)
		}
	}
	if s.workers < 1 || s.depth < 1 {
		g.mistake(at, "stage %q: %d workers and depth %d: both must be at least 1", name, s.workers, s.depth)
		s.workers, s.depth = max(s.workers, 1), max(s.depth, 1)
	}
	if g.started {
		g.mistake(at, "stage %q is added to a graph that runs already", name)
	}
	s.most = max(s.most, s.workers)
	n := &node{g: g, name: name, kind: kind, site: at, workers: s.workers, most: s.most, scales: s.scales, holds: s.holds}
	n.clocks = newClocks(s.most)
	n.allowed.Store(int32(s.workers))
	n.wake = sync.NewCond(new(sync.Mutex))
	g.nodes = append(g.nodes, n)
	return n, s
}

// out gives n a new outgoing edge.
func (n *node) out(depth int) *edge {
	e := &edge{ch: make(chan any, depth), from: n, site: n.site}
	n.outs = append(n.outs, e)
	n.g.edges = append(n.g.edges, e)
	return e
}

// connect makes n the reader of p.
func connect[T any](p Port[T], n *node) *edge {
	switch {
	case p.e == nil:
		n.g.mistake(n.site, "stage %q reads from the zero Port: use one that Source or another stage returned", n.name)
		return &edge{ch: make(chan any), from: n, to: n}
	case p.e.to != nil:
		n.g.mistake(n.site, "stage %q reads from stage %q, which stage %q (%s) reads already: use Fork2 to split a stream",
			n.name, p.e.from.name, p.e.to.name, p.e.to.site)
		return p.e
	}
	p.e.to = n
	n.ins = append(n.ins, p.e)
	return p.e
}

// as converts an element to the type its port promises. It can only differ behind a foreign flow.
func as[T any](v any, from *node) (T, error) {
	t, ok := v.(T)
	if !ok && v != nil {
		return t, fmt.Errorf("got %T from stage %q, want %T", v, from.name, *new(T))
	}
	return t, nil
}

// graphOf finds the graph a port belongs to; the zero Port belongs to an empty one that Check refuses.
func graphOf[T any](p Port[T]) *Graph {
	if p.e == nil {
		return New("unconnected")
	}
	return p.e.from.g
}
