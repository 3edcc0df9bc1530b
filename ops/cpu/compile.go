package cpu

import (
	"fmt"
	"math/rand/v2"

	"github.com/contraflow/contraflow/ops"
)

// step is one unit of a plan, with what this device adds to it.
type step struct {
	ops.Step
	norm   *norm
	index  int // of a norm's statistics, or a max pool's winners, on the tape
	phases []phase

	backward       int       // floats of the weights packed for the gradient of the input
	wino, winoBack *winograd // nil: direct
	pairs          bool      // of bfloat16, directly
}

// program is a compiled graph.
type program struct {
	*ops.Plan
	d      *Device
	p      *params
	steps  []step
	halo   []int // of every value's map
	norms  int
	pools  int
	grads  []*image // gradient maps, by value; several share one slab
	layout layout
	free   []*tape
	has    []bool
	export []float32
	result []float32 // gradient of the input
	bytes  int64     // of gradients and one tape
	calls  uint64
	source *rand.PCG // of dropout
	draw   *rand.Rand
}

// Compile plans a graph: fusion, halos, buffers.
func (d *Device) Compile(g *ops.Graph, p ops.Params, o ops.Options) (ops.Program, error) {
	own, ok := p.(*params)
	if !ok || own.d != d {
		return nil, fmt.Errorf("ops: parameters were not made by this device (%s)", d.Name())
	}
	plan, err := ops.NewPlan(g, own.specs, o)
	if err != nil {
		return nil, err
	}
	pr := &program{Plan: plan, d: d, p: own, source: rand.NewPCG(0, 0)}
	pr.draw = rand.New(pr.source)
	for _, s := range plan.Steps {
		pr.steps = append(pr.steps, pr.newStep(s))
	}
	pr.measureHalos()
	pr.planGradients()
	pr.planTape()
	return pr, nil
}

func (pr *program) newStep(of ops.Step) step {
	s := step{Step: of}
	switch of.Kind {
	case ops.BatchNorm:
		s.norm, s.index = pr.newNorm(of), pr.norms
		pr.norms++
	case ops.MaxPool, ops.AdaptiveMax:
		s.index = pr.pools
		pr.pools++
	}
	return s
}

func (pr *program) newNorm(s ops.Step) *norm {
	b := &norm{Norm: s.Norm, c: s.Node.Out.C}
	if s.Node.Affine {
		b.gamma, b.beta = &pr.p.tensors[b.Gamma], &pr.p.tensors[b.Beta]
	}
	if s.Node.Track {
		b.runMean, b.runVar, b.batches = &pr.p.tensors[b.Mean], &pr.p.tensors[b.Var], &pr.p.tensors[b.Batches]
	}
	return b
}

// measureHalos gives every map the halo its readers want, and prepares convolutions.
func (pr *program) measureHalos() {
	nodes := pr.Graph.Nodes
	pr.halo = make([]int, len(nodes))
	for i := range pr.steps {
		s := &pr.steps[i]
		n := s.Node
		if s.Kind != ops.Conv || n.Groups > 1 {
			continue
		}
		pr.halo[s.In[0]] = max(pr.halo[s.In[0]], n.Pad)
		s.phases = phases(n.Kernel, n.Stride, n.Pad)
		if !pr.Options.Direct && n.Stride == 1 && n.Kernel == 2*n.Pad+1 {
			s.wino = newWinograd(n.Kernel, pr.Options.Batch, n.Out.H, n.Out.W, nodes[s.In[0]].Out.C, n.Out.C)
		}
		s.pairs = s.wino == nil && pr.d.inPairs(nodes[s.In[0]].Out.C, n.Out.C)
	}
}

// planGradients gives every gradient a map for as long as it lives: from the first step (backwards) that writes it to the step
// that made the value.
func (pr *program) planGradients() {
	if !pr.Keeps() {
		return
	}
	nodes := pr.Graph.Nodes
	halo := make([]int, len(nodes))
	for i := range pr.steps {
		s := &pr.steps[i]
		if s.phases == nil || !pr.Needs[s.In[0]] {
			continue
		}
		in, n := nodes[s.In[0]].Out, s.Node
		at := 0
		for j := range s.phases {
			s.phases[j].at = at
			at += len(s.phases[j].taps) * n.Out.C * pr.d.isa.padded(in.C)
		}
		s.backward = at
		if s.wino != nil {
			s.winoBack = s.wino.back()
		}
		halo[s.Out] = max(gradHalo(s.phases, max(n.Stride, 1), in.H, n.Out.H), gradHalo(s.phases, max(n.Stride, 1), in.W, n.Out.W))
	}
	pr.grads = make([]*image, len(nodes))
	pr.has = make([]bool, len(nodes))
	var share slabs
	slab := make([]int, len(nodes))
	give := func(v ops.Value) {
		if !pr.Needs[v] || pr.grads[v] != nil {
			return
		}
		o := nodes[v].Out
		pr.grads[v] = &image{n: pr.Options.Batch, h: o.H, w: o.W, c: o.C, halo: halo[v]}
		slab[v] = share.take(pr.grads[v].size())
	}
	for _, v := range pr.Outs {
		give(v)
	}
	for i := len(pr.steps) - 1; i >= 0; i-- {
		s := &pr.steps[i]
		if !pr.Needs[s.Out] {
			continue
		}
		give(s.Out)
		for _, v := range s.In {
			give(v)
		}
		share.idle = append(share.idle, slab[s.Out])
	}
	memory := newArena(share.sizes)
	for v, m := range pr.grads {
		if m != nil {
			m.data = memory[slab[v]]
		}
	}
	pr.bytes += share.bytes()
}

// Stats are the plan's costs: buffers counted once, for one tape.
func (pr *program) Stats() ops.ProgramStats {
	return ops.ProgramStats{ForwardFLOPs: pr.FLOPs[0], BackwardFLOPs: pr.FLOPs[1], ArenaBytes: pr.bytes}
}
