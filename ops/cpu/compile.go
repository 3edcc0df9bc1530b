package cpu

import (
	"fmt"
	"math/rand/v2"

	"github.com/contraflow/contraflow/ops"
)

// step is one unit of a plan: what runs, which values it reads and which one it writes.
type step struct {
	kind   ops.Kind
	node   ops.Node
	in     []ops.Value // x, and for a fused norm with a sum the other summand
	out    ops.Value
	weight int // index of the weight tensor, -1 without
	bias   int

	norm   *norm
	index  int // of a norm's statistics, or a max pool's winners, on the tape
	phases []phase

	backward       int       // floats of the weights packed for the gradient of the input
	wino, winoBack *winograd // nil: direct
}

// program is a compiled graph.
type program struct {
	d      *Device
	p      *params
	o      ops.Options
	graph  *ops.Graph
	steps  []step
	outs   []ops.Value
	halo   []int  // of every value's map
	needs  []bool // values whose gradient is wanted
	norms  int
	pools  int
	grads  []*image // gradient maps, by value; several share one slab
	layout layout
	free   []*tape
	has    []bool
	export []float32
	result []float32 // gradient of the input
	bytes  int64     // of gradients and one tape
	flops  [2]float64
	calls  uint64
	source *rand.PCG // of dropout
	draw   *rand.Rand
}

// Compile plans a graph: fusion, halos, buffers.
func (d *Device) Compile(g *ops.Graph, p ops.Params, o ops.Options) (ops.Program, error) {
	if err := g.Err(); err != nil {
		return nil, err
	}
	own, ok := p.(*params)
	if !ok || own.d != d {
		return nil, fmt.Errorf("ops: parameters were not made by this device (%s)", d.Name())
	}
	if len(own.specs) != len(g.Params) {
		return nil, fmt.Errorf("ops: the graph has %d parameters, the set %d", len(g.Params), len(own.specs))
	}
	for i, s := range g.Params {
		if t := own.specs[i]; t.Name != s.Name || t.Len() != s.Len() {
			return nil, fmt.Errorf("ops: parameter %d is %q %v in the graph and %q %v in the set", i, s.Name, s.Shape, t.Name, t.Shape)
		}
	}
	if o.Batch < 1 || o.BNGroups < 0 || o.BNGroups > o.Batch {
		return nil, fmt.Errorf("ops: batch %d with %d batch-norm groups: both must be at least 1, groups at most the batch", o.Batch, o.BNGroups)
	}
	o.BNGroups = max(o.BNGroups, 1)
	pr := &program{d: d, p: own, o: o, graph: g, source: rand.NewPCG(0, 0)}
	pr.draw = rand.New(pr.source)
	if err := pr.outputs(); err != nil {
		return nil, err
	}
	pr.fuse()
	pr.measureHalos()
	pr.planGradients()
	pr.planTape()
	return pr, nil
}

// keeps says whether activations live until a Backward.
func (pr *program) keeps() bool { return pr.o.Train && !pr.o.NoGrad }

// outputs resolves the marks to return.
func (pr *program) outputs() error {
	if len(pr.o.Outputs) == 0 {
		pr.outs = []ops.Value{ops.Value(len(pr.graph.Nodes) - 1)}
		return nil
	}
	for _, name := range pr.o.Outputs {
		v, ok := pr.graph.Marked(name)
		if !ok {
			var names []string
			for _, m := range pr.graph.Marks() {
				names = append(names, m.Name)
			}
			return fmt.Errorf("ops: the graph has no value %q: it has %v", name, names)
		}
		pr.outs = append(pr.outs, v)
	}
	return nil
}

// fuse turns nodes into steps. A batch norm takes in a sum and a ReLU that only it feeds.
func (pr *program) fuse() {
	nodes := pr.graph.Nodes
	uses := make([]int, len(nodes))
	reader := make([]int, len(nodes))
	for i, n := range nodes {
		for _, v := range n.In {
			uses[v]++
			reader[v] = i
		}
	}
	for _, v := range pr.outs {
		uses[v] += 2 // an output keeps its own buffer
	}
	// Nothing after the last output matters.
	last := ops.Value(0)
	for _, v := range pr.outs {
		last = max(last, v)
	}
	only := func(v ops.Value, k ops.Kind) (int, bool) {
		r := reader[v]
		return r, uses[v] == 1 && ops.Value(r) <= last && nodes[r].Kind == k
	}
	swallowed := make([]bool, len(nodes)) // ReLU or Add that belongs to a norm
	at := make([]*step, len(nodes))       // the step that runs in place of a node
	for i, n := range nodes {
		if n.Kind != ops.BatchNorm || ops.Value(i) > last {
			continue
		}
		relu := false
		s := &step{kind: ops.BatchNorm, node: n, in: []ops.Value{n.In[0]}, out: ops.Value(i)}
		if r, ok := only(s.out, ops.Add); ok && !swallowed[r] {
			other := nodes[r].In[0]
			if other == s.out {
				other = nodes[r].In[1]
			}
			if other != s.out {
				swallowed[r] = true
				s.in, s.out = append(s.in, other), ops.Value(r)
			}
		}
		if r, ok := only(s.out, ops.ReLU); ok {
			swallowed[r] = true
			s.out, relu = ops.Value(r), true
		}
		s.norm = pr.newNorm(n, relu)
		s.index = pr.norms
		pr.norms++
		at[s.out] = s
	}
	for i, n := range nodes {
		if ops.Value(i) > last {
			break
		}
		s := at[i]
		if s == nil {
			if n.Kind == ops.Input || n.Kind == ops.BatchNorm || swallowed[i] {
				continue
			}
			s = &step{kind: n.Kind, node: n, in: n.In, out: ops.Value(i)}
		}
		s.weight, s.bias = -1, -1
		if n := s.node; n.Kind == ops.Conv || n.Kind == ops.Linear {
			s.weight = n.Params[0]
			if n.Bias {
				s.bias = n.Params[1]
			}
		}
		if s.kind == ops.MaxPool || s.kind == ops.AdaptiveMax {
			s.index = pr.pools
			pr.pools++
		}
		pr.steps = append(pr.steps, *s)
	}
}

func (pr *program) newNorm(n ops.Node, relu bool) *norm {
	b := &norm{
		c: n.Out.C, groups: pr.o.BNGroups, eps: n.Eps, momentum: n.Momentum, relu: relu,
		batch: !n.Track || (pr.o.Train && !pr.o.RunningStats),
	}
	t := func(i int) *tensorData { return &pr.p.tensors[n.Params[i]] }
	if n.Affine {
		b.gamma, b.beta = t(0), t(1)
	}
	if n.Track {
		k := len(n.Params) - 3
		b.runMean, b.runVar, b.batches = t(k), t(k+1), t(k+2)
	}
	if !b.batch {
		b.groups = 1
	}
	return b
}

// measureHalos gives every map the halo its readers want, and prepares convolutions.
func (pr *program) measureHalos() {
	nodes := pr.graph.Nodes
	pr.halo = make([]int, len(nodes))
	for i := range pr.steps {
		s := &pr.steps[i]
		n := s.node
		switch s.kind {
		case ops.Conv:
			in := nodes[s.in[0]].Out
			if n.Groups == 1 {
				pr.halo[s.in[0]] = max(pr.halo[s.in[0]], n.Pad)
				s.phases = phases(n.Kernel, n.Stride, n.Pad)
				if !pr.o.Direct && n.Stride == 1 && n.Kernel == 2*n.Pad+1 {
					s.wino = newWinograd(n.Kernel, pr.o.Batch, n.Out.H, n.Out.W, in.C, n.Out.C)
				}
			}
			f := 2 * float64(n.Kernel*n.Kernel*in.C/n.Groups) * float64(n.Out.Len())
			pr.flops[0] += f
			pr.flops[1] += 2 * f
		case ops.Linear:
			in := nodes[s.in[0]].Out
			pr.flops[0] += 2 * float64(in.C*n.Out.C)
			pr.flops[1] += 4 * float64(in.C*n.Out.C)
		}
	}
	pr.flops[0] *= float64(pr.o.Batch)
	pr.flops[1] *= float64(pr.o.Batch)
}

// planGradients finds which values need a gradient and gives each a map for as long as it lives: from the first step
// (backwards) that writes it to the step that made the value.
func (pr *program) planGradients() {
	if !pr.keeps() {
		return
	}
	nodes := pr.graph.Nodes
	pr.needs = make([]bool, len(nodes))
	pr.needs[0] = pr.o.InputGrad
	for _, s := range pr.steps {
		need := s.weight >= 0 || (s.norm != nil && s.norm.gamma != nil)
		for _, v := range s.in {
			need = need || pr.needs[v]
		}
		pr.needs[s.out] = need
	}
	halo := make([]int, len(nodes))
	for i := range pr.steps {
		s := &pr.steps[i]
		if s.phases == nil || !pr.needs[s.in[0]] {
			continue
		}
		in, n := nodes[s.in[0]].Out, s.node
		at := 0
		for j := range s.phases {
			s.phases[j].at = at
			at += len(s.phases[j].taps) * n.Out.C * pr.d.isa.padded(in.C)
		}
		s.backward = at
		if s.wino != nil {
			s.winoBack = s.wino.back()
		}
		halo[s.out] = max(gradHalo(s.phases, max(n.Stride, 1), in.H, n.Out.H), gradHalo(s.phases, max(n.Stride, 1), in.W, n.Out.W))
	}
	pr.grads = make([]*image, len(nodes))
	pr.has = make([]bool, len(nodes))
	var share slabs
	slab := make([]int, len(nodes))
	give := func(v ops.Value) {
		if !pr.needs[v] || pr.grads[v] != nil {
			return
		}
		o := nodes[v].Out
		pr.grads[v] = &image{n: pr.o.Batch, h: o.H, w: o.W, c: o.C, halo: halo[v]}
		slab[v] = share.take(pr.grads[v].size())
	}
	for _, v := range pr.outs {
		give(v)
	}
	for i := len(pr.steps) - 1; i >= 0; i-- {
		s := &pr.steps[i]
		if !pr.needs[s.out] {
			continue
		}
		give(s.out)
		for _, v := range s.in {
			give(v)
		}
		share.idle = append(share.idle, slab[s.out])
	}
	memory := newArena(share.sizes)
	for v, m := range pr.grads {
		if m != nil {
			m.data = memory[slab[v]]
		}
	}
	pr.bytes += share.bytes()
}

// OutputShape is the shape of one sample of output i.
func (pr *program) OutputShape(i int) ops.Shape { return pr.graph.Nodes[pr.outs[i]].Out }

// Stats are the plan's costs: buffers counted once, for one tape.
func (pr *program) Stats() ops.ProgramStats {
	return ops.ProgramStats{ForwardFLOPs: pr.flops[0], BackwardFLOPs: pr.flops[1], ArenaBytes: pr.bytes}
}
