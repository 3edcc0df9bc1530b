package contraflow

import (
	"context"
	"fmt"
	"reflect"
)

// Port is the typed end of a stage that nothing is connected to yet. It is used exactly once.
type Port[T any] struct{ e *edge }

// StageOption sets up one stage.
type StageOption func(*settings)

type settings struct {
	workers, most, depth, holds int
	scales, chained             bool
	finish                      func(context.Context) error
	given                       taken
	at                          string // of the user's line, when it is not the caller's
}

// taken is a set of options: those a kind of stage takes, or those it was given.
type taken uint8

const (
	takesWorkers taken = 1 << iota
	takesDepth
	takesHolds
	takesFinish
	takesChained
)

var optionNames = map[taken]string{takesWorkers: "Workers", takesDepth: "Depth", takesHolds: "Holds", takesFinish: "Finish", takesChained: "Chained"}

// Workers lets a Step run on n items at once; its output keeps the order of its input. At most 2n items are inside
// the stage, and one waits at its door.
func Workers(n int) StageOption {
	return func(s *settings) { s.workers, s.scales, s.given = n, true, s.given|takesWorkers }
}

// MaxWorkers is how far SetWorkers may raise the number of workers later.
func MaxWorkers(n int) StageOption {
	return func(s *settings) { s.most, s.scales, s.given = n, true, s.given|takesWorkers }
}

// Depth is how many items the edge after the stage holds. The default is 2.
func Depth(n int) StageOption {
	return func(s *settings) { s.depth, s.given = n, s.given|takesDepth }
}

// Holds declares that a foreign flow gives something at the latest with the n-th item it takes, as batching does; 1 is a flow that
// keeps nothing back. A flow between a fork and a zip must say so: the other leg needs as much room. So must one between the ends of a
// feedback edge: what waits for the answer must have sent as many.
func Holds(n int) StageOption {
	return func(s *settings) { s.holds, s.given = n, s.given|takesHolds }
}

const defaultDepth = 2

// add makes a node, validating what every stage has in common.
func (g *Graph) add(kind, name, at string, opts []StageOption, takes taken) (*node, settings) {
	s := settings{workers: 1, depth: defaultDepth, holds: -1}
	for _, o := range opts {
		o(&s)
	}
	if s.at != "" {
		at = s.at
	}
	for o := takesWorkers; o <= takesChained; o <<= 1 {
		if s.given&o&^takes != 0 {
			g.mistake(at, "stage %q: %s means nothing to a %s: leave it out", name, optionNames[o], kind)
		}
	}
	if name == "" {
		g.mistake(at, "a %s needs a name", kind)
	}
	for _, other := range g.nodes {
		if other.name == name {
			g.mistake(at, "stage %q exists already (%s): names are unique", name, other.site)
		}
	}
	if s.most != 0 && s.most < s.workers {
		g.mistake(at, "stage %q: MaxWorkers(%d) is less than its %d %s", name, s.most, s.workers, plural(s.workers, "worker"))
	}
	if s.workers < 1 || s.depth < 1 {
		g.mistake(at, "stage %q: %d workers and depth %d: both must be at least 1", name, s.workers, s.depth)
		s.workers, s.depth = max(s.workers, 1), max(s.depth, 1)
	}
	if s.given&takesHolds != 0 && s.holds < 1 {
		g.mistake(at, "stage %q: Holds(%d): what it takes before it gives something is at least 1", name, s.holds)
	}
	late := g.begun()
	if late {
		g.mistake(at, "stage %q is added to a graph that runs already: build all of it before Run", name)
	}
	s.most = max(s.most, s.workers)
	n := &node{g: g, name: name, kind: kind, site: at, late: late, most: s.most, scales: s.scales, holds: s.holds}
	n.workers = make([]worker, s.most)
	for i := range n.workers {
		n.workers[i].n, n.workers[i].id = n, i
	}
	n.ledger = ledger{workers: s.workers, idle: starved}
	if s.most > 1 {
		n.gate = newGate(s.workers)
	}
	if !late {
		g.nodes = append(g.nodes, n)
	}
	return n, s
}

// out gives n a new outgoing edge.
func (n *node) out(depth int) *edge {
	e := &edge{ch: make(chan any, depth), from: n, site: n.site}
	n.outs = append(n.outs, e)
	if !n.late {
		n.g.edges = append(n.g.edges, e)
	}
	return e
}

// connect makes n the reader of p.
func connect[T any](p Port[T], n *node) *edge {
	switch {
	case p.e == nil:
		n.g.mistake(n.site, "stage %q reads from the zero Port: use one that Source or another stage returned", n.name)
		return &edge{ch: make(chan any), from: n, to: n}
	case p.e.from.g != n.g:
		other := p.e.from.g
		other.mistake(n.site, "stage %q of graph %q reads from stage %q of graph %q: build both in one", n.name, n.g.name, p.e.from.name, other.name)
	case p.e.to != nil:
		n.g.mistake(n.site, "stage %q reads from stage %q, which stage %q (%s) reads already: use Fork2 to split a stream",
			n.name, p.e.from.name, p.e.to.name, p.e.to.site)
		return &edge{ch: make(chan any), from: p.e.from, to: n} // p's may be in use
	}
	p.e.to = n
	n.ins = append(n.ins, p.e)
	return p.e
}

// as converts an element to the type its port promises. It can only differ behind a foreign flow.
func as[T any](v any, from *node) (T, error) {
	t, ok := v.(T)
	if ok {
		return t, nil
	}
	if want := reflect.TypeFor[T](); v != nil || want.Kind() != reflect.Interface { // nil is in every interface
		return t, fmt.Errorf("got %T from stage %q, want %v", v, from.name, want)
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
