package contraflow

import (
	"errors"
	"fmt"
	"slices"
)

// Check looks for mistakes in the wiring: everything noted while building, ports that nothing reads, and forks whose
// legs cannot hold what the other leg keeps in flight. Each message begins with the user's file and line.
func (g *Graph) Check() error {
	g.mu.Lock()
	errs := slices.Clone(g.mistakes)
	g.mu.Unlock()
	if len(g.nodes) == 0 {
		errs = append(errs, fmt.Errorf("graph %s is empty: begin with Source", g.name))
	}
	for _, e := range g.edges {
		if e.to == nil {
			errs = append(errs, fmt.Errorf("%s: nothing reads stage %q: end the stream with Each or To", e.site, e.from.name))
		}
	}
	for _, l := range g.loops {
		errs = append(errs, g.checkLoop(l)...)
	}
	if len(errs) == 0 {
		for _, n := range g.nodes {
			if n.kind == "fork" {
				errs = append(errs, n.checkDiamonds()...)
			}
		}
	}
	return errors.Join(errs...)
}

// checkLoop wants the ends of a feedback edge, when they are declared, to be stages, the receiver before the sender.
func (g *Graph) checkLoop(l *loop) (errs []error) {
	if l.start == "" && l.end == "" {
		return nil
	}
	from, to := g.find(l.start), g.find(l.end)
	for name, n := range map[string]*node{l.start: from, l.end: to} {
		if n == nil {
			errs = append(errs, fmt.Errorf("%s: loop %q goes between stages %q and %q: there is no stage %q", l.site, l.name, l.start, l.end, name))
		}
	}
	if len(errs) == 0 && !to.reaches(from) {
		errs = append(errs, fmt.Errorf("%s: loop %q leads from %q to %q, which does not come before it: only feedback needs a loop", l.site, l.name, l.start, l.end))
	}
	return errs
}

// find is the stage with a name, or nil.
func (g *Graph) find(name string) *node {
	for _, n := range g.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// reaches says whether what n sends gets to other.
func (n *node) reaches(other *node) bool {
	if n == other {
		return true
	}
	for _, e := range n.outs {
		if e.to != nil && e.to.reaches(other) {
			return true
		}
	}
	return false
}

// leg is one way from a fork to a zip.
type leg struct {
	holds   int   // items it keeps before the first comes out
	room    int   // items it takes without anything coming out
	unknown *node // a foreign flow that does not say what it holds, or a filter
}

// checkDiamonds refuses a fork and a zip between which one leg keeps more items than the other has room for: the fork
// would wait for the full leg and never feed the one that waits.
func (n *node) checkDiamonds() (errs []error) {
	first, second := map[*node]leg{}, map[*node]leg{}
	n.outs[0].walk(leg{}, first)
	n.outs[1].walk(leg{}, second)
	for _, zip := range n.g.nodes {
		a, inA := first[zip]
		b, inB := second[zip]
		if !inA || !inB {
			continue
		}
		for i, pair := range [2][2]leg{{a, b}, {b, a}} {
			long, short := pair[0], pair[1]
			if long.unknown != nil && long.unknown.kind == "filter" {
				errs = append(errs, fmt.Errorf("%s: filter %q leaves items out between fork %q and zip %q: the zip would pair the wrong ones",
					long.unknown.site, long.unknown.name, n.name, zip.name))
			} else if long.unknown != nil {
				errs = append(errs, fmt.Errorf("%s: stage %q is between fork %q and zip %q: say with Holds how many items it keeps, or the graph could deadlock",
					long.unknown.site, long.unknown.name, n.name, zip.name))
			} else if long.holds > short.room {
				errs = append(errs, fmt.Errorf("%s: fork %q would deadlock: one leg to zip %q keeps %d items, the other (leg %d) has room for %d: raise its Depth",
					n.site, n.name, zip.name, long.holds, 2-i, short.room))
			}
		}
	}
	return errs
}

// walk follows an edge to every zip it reaches and notes the worst leg there.
func (e *edge) walk(l leg, zips map[*node]leg) {
	l.room += cap(e.ch)
	n := e.to
	if n.kind == "zip" {
		if old, seen := zips[n]; seen {
			l.holds, l.room = max(l.holds, old.holds), min(l.room, old.room)
			if l.unknown == nil {
				l.unknown = old.unknown
			}
		}
		zips[n] = l
	}
	switch {
	case n.kind == "through" && n.holds < 0, n.kind == "filter":
		l.unknown = n
	case n.kind == "through":
		l.holds += n.holds
		l.room += n.holds
	case e.inline == nil: // a chained step holds what its sender does
		l.room++
	}
	for _, out := range n.outs {
		out.walk(l, zips)
	}
}
