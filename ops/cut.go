package ops

// Cut drops everything that runs after v, so that a Program computes no more than is asked for. The list of parameters
// stays whole: programs of the cut graph share their Params with those of the whole one. Operations may be added after it.
func (g *Graph) Cut(v Value) {
	g.Nodes = g.Nodes[:v+1]
	var kept []Mark
	for _, m := range g.marks {
		if m.Value <= v {
			kept = append(kept, m)
		}
	}
	g.marks = kept
}
