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
	nodes := pr.graph.Nodes
	l := &pr.layout
	l.maps, l.masks = make([]int, len(nodes)), make([]int, len(nodes))
	l.stats, l.relus, l.wins = make([]int, pr.norms), make([]int, pr.norms), make([]int, pr.pools)
	lastRead := make([]int, len(nodes))
	for i, s := range pr.steps {
		for _, v := range s.in {
			lastRead[v] = i
		}
	}
	for _, v := range pr.outs {
		lastRead[v] = math.MaxInt
	}
	place := func(v ops.Value) {
		m := pr.mapOf(v)
		l.maps[v] = l.take(m.size())
	}
	place(0)
	for i, s := range pr.steps {
		place(s.out)
		if s.norm != nil {
			l.stats[s.index] = l.own(2 * s.norm.groups * s.norm.c)
			if s.norm.relu && pr.keeps() {
				l.relus[s.index] = l.own((pr.o.Batch*nodes[s.out].Out.H*maskLine(nodes[s.out].Out) + 3) / 4)
			}
		}
		if pr.o.Train && s.kind == ops.Dropout {
			l.masks[s.out] = l.own(pr.o.Batch * s.node.Out.Len())
		}
		if pr.keeps() {
			if s.kind == ops.MaxPool || s.kind == ops.AdaptiveMax {
				l.wins[s.index] = l.own(pr.o.Batch * s.node.Out.Len())
			}
			continue
		}
		for k, v := range s.in {
			if lastRead[v] == i && (k == 0 || v != s.in[0]) {
				l.idle = append(l.idle, l.maps[v])
			}
		}
	}
	for _, v := range pr.outs {
		l.outs = append(l.outs, l.own(pr.o.Batch*nodes[v].Out.Len()))
	}
	pr.bytes += l.bytes()
}

// mapOf is the map of a value, without memory.
func (pr *program) mapOf(v ops.Value) image {
	o := pr.graph.Nodes[v].Out
	return image{n: pr.o.Batch, h: o.H, w: o.W, c: o.C, halo: pr.halo[v]}
}

// take returns an idle tape, or makes one.
func (pr *program) take() *tape {
	if k := len(pr.free); k > 0 {
		t := pr.free[k-1]
		pr.free = pr.free[:k-1]
		return t
	}
	nodes, l := pr.graph.Nodes, &pr.layout
	t := &tape{pr: pr, maps: make([]image, len(nodes)), stats: make([]stats, pr.norms), relus: make([]relu, pr.norms), wins: make([][]int32, pr.pools),
		masks: make([][]float32, len(nodes)), outs: make([][]float32, len(pr.outs))}
	memory := newArena(l.sizes)
	place := func(v ops.Value) {
		t.maps[v] = pr.mapOf(v)
		t.maps[v].data = memory[l.maps[v]]
	}
	place(0)
	for _, s := range pr.steps {
		place(s.out)
		if s.norm != nil {
			m := memory[l.stats[s.index]]
			k := len(m) / 2
			t.stats[s.index] = stats{mean: m[:k], istd: m[k:], count: make([]int, s.norm.groups)}
			if s.norm.relu && pr.keeps() {
				m := memory[l.relus[s.index]]
				t.relus[s.index] = relu{unsafe.Slice((*byte)(ptr(m, 0)), 4*len(m)), maskLine(nodes[s.out].Out)}
			}
		}
		if pr.o.Train && s.kind == ops.Dropout {
			t.masks[s.out] = memory[l.masks[s.out]]
		}
		if pr.keeps() && (s.kind == ops.MaxPool || s.kind == ops.AdaptiveMax) {
			m := memory[l.wins[s.index]]
			t.wins[s.index] = unsafe.Slice((*int32)(ptr(m, 0)), len(m))
		}
	}
	for i := range pr.outs {
		t.outs[i] = memory[l.outs[i]]
	}
	return t
}
