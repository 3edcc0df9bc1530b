package cpu

import (
	"math"
	"unsafe"

	"github.com/contraflow/contraflow/ops"
)

// tape is one forward pass: the map of every live value.
type tape struct {
	pr     *program
	n      int
	maps   []image
	stats  []stats
	relus  []relu
	wins   [][]int32
	masks  [][]float32
	outs   [][]float32
	active bool
}

// layout says in which slab of a tape's arena everything lies: maps, dropout masks by value, statistics and ReLU masks by norm,
// winners by pool, outputs.
type layout struct {
	slabs
	maps, masks, stats, relus, wins, outs []int
}

// planTape lays a tape out. Without a Backward values share slabs as soon as nothing reads them.
func (pr *program) planTape() {
	nodes := pr.Graph.Nodes
	l := &pr.layout
	l.maps, l.masks = make([]int, len(nodes)), make([]int, len(nodes))
	l.stats, l.relus, l.wins = make([]int, pr.norms), make([]int, pr.norms), make([]int, pr.pools)
	lastRead := make([]int, len(nodes))
	for i, s := range pr.steps {
		for _, v := range s.In {
			lastRead[v] = i
		}
	}
	for _, v := range pr.Outs {
		lastRead[v] = math.MaxInt
	}
	place := func(v ops.Value) {
		m := pr.mapOf(v)
		l.maps[v] = l.take(m.size())
	}
	place(0)
	for i, s := range pr.steps {
		place(s.Out)
		if s.norm != nil {
			l.stats[s.index] = l.own(2 * s.norm.Groups * s.norm.c)
			if s.norm.ReLU && pr.Keeps() {
				l.relus[s.index] = l.own((pr.Options.Batch*nodes[s.Out].Out.H*maskLine(nodes[s.Out].Out) + 3) / 4)
			}
		}
		if pr.Options.Train && s.Kind == ops.Dropout {
			l.masks[s.Out] = l.own(pr.Options.Batch * s.Node.Out.Len())
		}
		if pr.Keeps() {
			if s.Kind == ops.MaxPool || s.Kind == ops.AdaptiveMax {
				l.wins[s.index] = l.own(pr.Options.Batch * s.Node.Out.Len())
			}
			continue
		}
		for k, v := range s.In {
			if lastRead[v] == i && (k == 0 || v != s.In[0]) {
				l.idle = append(l.idle, l.maps[v])
			}
		}
	}
	for _, v := range pr.Outs {
		l.outs = append(l.outs, l.own(pr.Options.Batch*nodes[v].Out.Len()))
	}
	pr.bytes += l.bytes()
}

// mapOf is the map of a value, without memory.
func (pr *program) mapOf(v ops.Value) image {
	o := pr.Graph.Nodes[v].Out
	return image{n: pr.Options.Batch, h: o.H, w: o.W, c: o.C, halo: pr.halo[v]}
}

// take returns an idle tape, or makes one.
func (pr *program) take() *tape {
	if k := len(pr.free); k > 0 {
		t := pr.free[k-1]
		pr.free = pr.free[:k-1]
		return t
	}
	nodes, l := pr.Graph.Nodes, &pr.layout
	t := &tape{pr: pr, maps: make([]image, len(nodes)), stats: make([]stats, pr.norms), relus: make([]relu, pr.norms), wins: make([][]int32, pr.pools),
		masks: make([][]float32, len(nodes)), outs: make([][]float32, len(pr.Outs))}
	memory := newArena(l.sizes)
	place := func(v ops.Value) {
		t.maps[v] = pr.mapOf(v)
		t.maps[v].data = memory[l.maps[v]]
	}
	place(0)
	for _, s := range pr.steps {
		place(s.Out)
		if s.norm != nil {
			m := memory[l.stats[s.index]]
			k := len(m) / 2
			t.stats[s.index] = stats{mean: m[:k], istd: m[k:], count: make([]int, s.norm.Groups)}
			if s.norm.ReLU && pr.Keeps() {
				m := memory[l.relus[s.index]]
				t.relus[s.index] = relu{unsafe.Slice((*byte)(ptr(m, 0)), 4*len(m)), maskLine(nodes[s.Out].Out)}
			}
		}
		if pr.Options.Train && s.Kind == ops.Dropout {
			t.masks[s.Out] = memory[l.masks[s.Out]]
		}
		if pr.Keeps() && (s.Kind == ops.MaxPool || s.Kind == ops.AdaptiveMax) {
			m := memory[l.wins[s.index]]
			t.wins[s.index] = unsafe.Slice((*int32)(ptr(m, 0)), len(m))
		}
	}
	for i := range pr.Outs {
		t.outs[i] = memory[l.outs[i]]
	}
	return t
}
