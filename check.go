package contraflow

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Check looks for mistakes in the wiring: everything noted while building, ports that nothing reads, forks whose legs cannot hold what
// the other leg keeps in flight, and feedback that comes later than its staleness allows. Each message begins with the user's file and
// line.
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
	if len(errs) > 0 || from == to {
		return errs
	}
	way, ok := g.ways(to.outs...)[from]
	switch {
	case !ok:
		return []error{fmt.Errorf("%s: loop %q leads from %q to %q, which does not come before it: only feedback needs a loop", l.site, l.name, l.start, l.end)}
	case way.unknown != nil:
		return []error{fmt.Errorf("%s: stage %q is between the ends of loop %q: say with Holds how many items it keeps, or the graph could deadlock",
			way.unknown.site, way.unknown.name, l.name)}
	case way.keeps >= l.capacity:
		return []error{fmt.Errorf("%s: loop %q would deadlock: the flows between %q and %q take %d items before they give one, and its staleness is %d: "+
			"raise it, and let %q send as many before it waits", l.site, l.name, l.end, l.start, way.keeps+1, l.capacity, l.end)}
	}
	return nil
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

// way is the worst of the ways to a stage.
type way struct {
	keeps   int   // items that foreign flows have in them when they give nothing
	room    int   // items it takes without anything coming out
	unknown *node // a foreign flow that does not say what it holds
	filter  *node
}

// ways are those from edges to all stages that what they carry gets to.
func (g *Graph) ways(edges ...*edge) map[*node]way {
	ways := map[*node]way{}
	arrive := func(e *edge, w way) {
		w.room += cap(e.ch)
		if old, ok := ways[e.to]; ok {
			w.keeps, w.room = max(w.keeps, old.keeps), min(w.room, old.room)
			w.unknown, w.filter = cmp.Or(old.unknown, w.unknown), cmp.Or(old.filter, w.filter)
		}
		ways[e.to] = w
	}
	for _, e := range edges {
		arrive(e, way{})
	}
	for _, n := range g.nodes { // none reads what one after it sends
		w, ok := ways[n]
		if !ok {
			continue
		}
		switch {
		case n.kind == "filter":
			w.filter = cmp.Or(w.filter, n)
		case n.kind == "through" && n.holds < 0:
			w.unknown = cmp.Or(w.unknown, n)
		case n.kind == "through":
			w.keeps += n.holds - 1
			w.room += n.holds
		case n.ins[0].inline == nil: // a chained step holds what its sender does
			w.room++
		}
		for _, e := range n.outs {
			arrive(e, w)
		}
	}
	return ways
}

// checkDiamonds refuses a fork and a zip between which one leg keeps more items than the other has room for: the fork
// would wait for the full leg and never feed the one that waits.
func (n *node) checkDiamonds() (errs []error) {
	first, second := n.g.ways(n.outs[0]), n.g.ways(n.outs[1])
	for _, zip := range n.g.nodes {
		a, inA := first[zip]
		b, inB := second[zip]
		if zip.kind != "zip" || !inA || !inB {
			continue
		}
		for i, pair := range [2][2]way{{a, b}, {b, a}} {
			long, short := pair[0], pair[1]
			switch {
			case long.filter != nil:
				errs = append(errs, fmt.Errorf("%s: filter %q leaves items out between fork %q and zip %q: the zip would pair the wrong ones",
					long.filter.site, long.filter.name, n.name, zip.name))
			case long.unknown != nil:
				errs = append(errs, fmt.Errorf("%s: stage %q is between fork %q and zip %q: say with Holds how many items it keeps, or the graph could deadlock",
					long.unknown.site, long.unknown.name, n.name, zip.name))
			case long.keeps >= short.room:
				errs = append(errs, fmt.Errorf("%s: fork %q would deadlock: one leg to zip %q keeps %d items, the other (leg %d) has room for %d: raise its Depth",
					n.site, n.name, zip.name, long.keeps+1, 2-i, short.room))
			}
		}
	}
	return errs
}
