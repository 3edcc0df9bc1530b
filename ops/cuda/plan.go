//go:build cuda

package cuda

import (
	"fmt"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda/cublaslt"
	"github.com/contraflow/contraflow/ops/cuda/cudnn"
)

// step is one unit of a plan: what runs, which values it reads and which one it writes.
type step struct {
	kind     ops.Kind
	node     ops.Node
	in       []ops.Value // x, and for a fused norm with a sum the other summand
	out      ops.Value
	gradient string // "gradient of conv", for spans and errors
	weight   int    // index of the weight tensor, -1 without
	bias     int
	norm     *norm
	blocks   *blocks // a first convolution runs on these
	extra    *life   // on the tape: a max pool's winners, a dropout's mask, blocks of pixels
}

// norm is batch normalisation with what is fused behind it.
type norm struct {
	groups         int
	parts, back    int  // pieces of a group, for sums forward and backward
	batch          bool // statistics of the batch, not the running ones
	relu           int  // 0 none, 1 its sign is found again from x, 2 from bits on the tape
	gamma, beta    int  // tensors, -1 without
	mean, variance int
	batches        int
	stat, mask     *life
	eps, momentum  float64
}

// program is a compiled graph.
type program struct {
	d     *Device
	own   *estate
	p     *params
	o     ops.Options
	graph *ops.Graph
	steps []step
	outs  []ops.Value
	needs []bool // values whose gradient is wanted
	has   []bool // gradients that hold something, during Backward

	values   []*life // activations on a tape, by value
	lives    []*life // everything on a tape
	tapeSize int64
	grads    []*life
	gradAt   cu.DevicePtr
	gradSize int64

	free    []*tape
	ring    [2]*slot
	turn    int
	outSize int64 // bytes of all outputs, as floats
	inGrad  *pinned
	gradIn  *slot // of output gradients
	flops   [2]float64
	calls   uint64
	reached []bool // weights, during Backward
	draws   bool   // a dropout is active
}

// Compile plans a graph: fusion, buffers, engines.
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
	pr := &program{d: d, p: own, o: o, graph: g, reached: make([]bool, len(g.Params))}
	if err := pr.outputs(); err != nil {
		return nil, err
	}
	pr.fuse()
	pr.placeTape()
	pr.placeGradients()
	return pr, d.do(func() error { pr.own = newEstate(d, pr); return pr.prepare() })
}

// keeps says that a Backward may follow, for which activations stay.
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
	uses, reader := make([]int, len(nodes)), make([]int, len(nodes))
	for i, n := range nodes {
		for _, v := range n.In {
			uses[v]++
			reader[v] = i
		}
	}
	last := ops.Value(0) // nothing after the last output matters
	for _, v := range pr.outs {
		uses[v] += 2 // an output keeps its own buffer
		last = max(last, v)
	}
	only := func(v ops.Value, k ops.Kind) (int, bool) {
		r := reader[v]
		return r, uses[v] == 1 && ops.Value(r) <= last && nodes[r].Kind == k
	}
	swallowed := make([]bool, len(nodes))
	fused := make([]*step, len(nodes)) // the norm that runs in place of a node
	for i, n := range nodes[:last+1] {
		if n.Kind != ops.BatchNorm {
			continue
		}
		s := &step{kind: ops.BatchNorm, node: n, in: []ops.Value{n.In[0]}, out: ops.Value(i), norm: pr.newNorm(n)}
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
			s.out, s.norm.relu = ops.Value(r), len(s.in)
		}
		fused[s.out] = s
	}
	for i, n := range nodes[:last+1] {
		s := fused[i]
		if s == nil {
			if n.Kind == ops.Input || n.Kind == ops.BatchNorm || swallowed[i] {
				continue
			}
			s = &step{kind: n.Kind, node: n, in: n.In, out: ops.Value(i)}
		}
		s.weight, s.bias, s.gradient = -1, -1, "gradient of "+s.kind.String()
		if n := s.node; n.Kind == ops.Conv || n.Kind == ops.Linear {
			s.weight = n.Params[0]
			if n.Bias {
				s.bias = n.Params[1]
			}
			in := nodes[s.in[0]].Out
			if b, ok := blocksOf(in, n); ok {
				s.blocks = &b
			}
			f := 2 * float64(pr.o.Batch) * float64(max(n.Kernel, 1)*max(n.Kernel, 1)*in.C/max(n.Groups, 1)) * float64(n.Out.Len())
			pr.flops[0] += f
			pr.flops[1] += 2 * f
		}
		pr.steps = append(pr.steps, *s)
	}
}

func (pr *program) newNorm(n ops.Node) *norm {
	b := &norm{groups: pr.o.BNGroups, eps: n.Eps, momentum: n.Momentum, gamma: -1, beta: -1, mean: -1, variance: -1, batches: -1,
		batch: !n.Track || (pr.o.Train && !pr.o.RunningStats)}
	if n.Affine {
		b.gamma, b.beta = n.Params[0], n.Params[1]
	}
	if k := len(n.Params) - 3; n.Track {
		b.mean, b.variance, b.batches = n.Params[k], n.Params[k+1], n.Params[k+2]
	}
	if !b.batch {
		b.groups = 1
	}
	rows, p := (pr.o.Batch+b.groups-1)/b.groups*n.Out.H*n.Out.W, padded(n.Out.C)
	b.parts, b.back = normParts(rows, p, b.groups, forwardBlocks), normParts(rows, p, b.groups, backwardBlocks)
	return b
}

// normColumns is how many blocks share the channels of a row: up to 256 channels each.
func normColumns(p int) int { return (p/8 + 31) / 32 }

// normLanes is how many rows a block of norm.cu reads side by side.
func normLanes(p int) int {
	columns := normColumns(p)
	return threads / ((p/8 + columns - 1) / columns)
}

// Blocks that run at once on 132 multiprocessors, as norm.cu provides for.
const forwardBlocks, backwardBlocks = 4 * 132, 3 * 132

// normParts is into how many pieces the rows of a group are cut, so that blocks fill the largest devices once and a thread has
// four rows at least. It depends on shapes alone, and so do the sums.
func normParts(rows, p, groups, blocks int) int {
	return max(1, min(blocks/(normColumns(p)*groups), rows/(4*normLanes(p))))
}

// padded is how many channels the device stores.
func padded(c int) int { return roundUp(c, 8) }

// elements is the number of stored values of n samples.
func elements(s ops.Shape, n int) int64 { return int64(n) * int64(s.H*s.W*padded(s.C)) }

// placeTape gives every activation a place on the tape. In evaluation, values share memory as soon as nothing reads them.
func (pr *program) placeTape() {
	nodes := pr.graph.Nodes
	end := len(pr.steps)
	pr.values = make([]*life, len(nodes))
	put := func(bytes int64, from int) *life {
		l := &life{bytes: bytes, from: from, to: end}
		pr.lives = append(pr.lives, l)
		return l
	}
	value := func(v ops.Value, from int) {
		pr.values[v] = put(int64(pr.d.actSize())*elements(nodes[v].Out, pr.o.Batch), from)
		pr.values[v].to = from
	}
	value(0, -1)
	for i := range pr.steps {
		s := &pr.steps[i]
		value(s.out, i)
		for _, v := range s.in {
			pr.values[v].to = i
		}
		out := elements(s.node.Out, pr.o.Batch)
		switch {
		case s.blocks != nil:
			s.extra = put(int64(pr.d.actSize())*elements(s.blocks.shape(), pr.o.Batch), i)
			if !pr.keeps() {
				s.extra.to = i
			}
		case s.norm != nil:
			s.norm.stat = put(int64(12*s.norm.groups*padded(s.node.Out.C)), i)
			if s.norm.relu == 2 && pr.keeps() {
				s.norm.mask = put(out/8, i)
			}
		case pr.keeps() && (s.kind == ops.MaxPool || s.kind == ops.AdaptiveMax):
			s.extra = put(2*out, i)
		case s.kind == ops.Dropout && pr.o.Train && !pr.o.RunningStats:
			s.extra = put(int64(4*pr.o.Batch*s.node.Out.Len()), i)
			pr.draws = true
		}
	}
	for _, v := range pr.outs {
		pr.values[v].to = end
		pr.outSize += roundUp(int64(4*pr.o.Batch*nodes[v].Out.Len()), 256)
	}
	if pr.keeps() {
		for _, l := range pr.values {
			if l != nil {
				l.to = end
			}
		}
	}
	pr.tapeSize = arrange(pr.lives)
}

// placeGradients finds which values need a gradient and gives each memory for as long as it lives: from the first step,
// backwards, that writes it to the step that made the value.
func (pr *program) placeGradients() {
	if !pr.keeps() {
		return
	}
	nodes := pr.graph.Nodes
	pr.needs, pr.has, pr.grads = make([]bool, len(nodes)), make([]bool, len(nodes)), make([]*life, len(nodes))
	pr.needs[0] = pr.o.InputGrad
	for _, s := range pr.steps {
		need := s.weight >= 0 || (s.norm != nil && s.norm.gamma >= 0)
		for _, v := range s.in {
			need = need || pr.needs[v]
		}
		pr.needs[s.out] = need
	}
	var lives []*life
	touch := func(v ops.Value, when int) {
		if !pr.needs[v] {
			return
		}
		if pr.grads[v] == nil {
			pr.grads[v] = &life{bytes: int64(pr.d.actSize()) * elements(nodes[v].Out, pr.o.Batch), from: when}
			lives = append(lives, pr.grads[v])
		}
		pr.grads[v].to = when
	}
	for _, v := range pr.outs {
		touch(v, -1)
	}
	for i := len(pr.steps) - 1; i >= 0; i-- {
		s, when := &pr.steps[i], len(pr.steps)-1-i
		touch(s.out, when)
		for _, v := range s.in {
			touch(v, when)
		}
	}
	touch(0, len(pr.steps))
	pr.gradSize = arrange(lives)
}

// prepare allocates what the program needs and chooses engines for its full batch.
func (pr *program) prepare() (err error) {
	d, nodes := pr.d, pr.graph.Nodes
	scratch := int64(256)
	for i := range pr.steps {
		s := &pr.steps[i]
		p := padded(s.node.Out.C)
		switch {
		case s.norm != nil:
			scratch = max(scratch, int64(s.norm.groups*p*(max(s.norm.parts, s.norm.back)*8+8)))
		case s.bias >= 0:
			scratch = max(scratch, int64(8*p*normParts(pr.o.Batch*s.node.Out.H*s.node.Out.W, p, 1, forwardBlocks)))
		}
		switch s.kind {
		case ops.Conv:
			if _, err = pr.convolution(s, pr.o.Batch, cudnn.Forward, false); err != nil {
				return err
			}
			if !pr.keeps() {
				continue
			}
			if _, err = pr.convolution(s, pr.o.Batch, cudnn.BackWeight, false); err != nil {
				return err
			}
			if pr.needs[s.in[0]] {
				if _, err = pr.convolution(s, pr.o.Batch, cudnn.BackData, false); err != nil {
					return err
				}
			}
		}
	}
	if err = d.grow(&d.scratch, scratch, "partial sums"); err != nil {
		return err
	}
	if err = d.grow(&d.space, blasWorkspace, "the workspace of products"); err != nil {
		return err
	}
	input := 4 * pr.o.Batch * nodes[0].Out.Len()
	for i := range pr.ring {
		if pr.ring[i], err = pr.own.slot(input, "the input of a batch"); err != nil {
			return err
		}
	}
	if !pr.keeps() {
		return nil
	}
	if pr.gradAt, err = pr.own.alloc(pr.gradSize, fmt.Sprintf("the gradients of a batch of %d", pr.o.Batch), lowerBatch); err != nil {
		return err
	}
	if pr.o.InputGrad {
		if pr.inGrad, err = pr.own.pin(input); err != nil {
			return err
		}
	}
	pr.gradIn, err = pr.own.slot(int(max(pr.outSize, int64(input))), "the gradients of outputs")
	return err
}

const (
	lowerBatch    = "lower --batch_size or --image_size, or use --amp"
	blasWorkspace = 32 << 20
)

// convolution is the engine for a step and n samples.
func (pr *program) convolution(s *step, n int, op cudnn.Op, add bool) (*cudnn.Plan, error) {
	in, k := pr.graph.Nodes[s.in[0]].Out, s.node
	c := cudnn.Conv{Op: op, N: n, C: padded(in.C), H: in.H, W: in.W, K: padded(k.Out.C), R: k.Kernel, S: k.Kernel, Stride: k.Stride, Pad: k.Pad, Add: add}
	if s.blocks != nil {
		c = s.blocks.convolve(c)
	}
	return pr.d.plan(c, pr.o.Direct)
}

// product is a plan for a matrix product.
func (d *Device) product(p cublaslt.Product) (*cublaslt.Plan, error) {
	p.BF16, p.TF32, p.Workspace = d.o.BF16, d.o.TF32, blasWorkspace
	if x, ok := d.products[p]; ok {
		return x, nil
	}
	x, err := d.blas.Plan(p)
	if err == nil {
		d.products[p] = x
	}
	return x, err
}

// OutputShape is the shape of one sample of output i.
func (pr *program) OutputShape(i int) ops.Shape { return pr.graph.Nodes[pr.outs[i]].Out }

// Stats are the plan's costs, with one tape.
func (pr *program) Stats() ops.ProgramStats {
	return ops.ProgramStats{ForwardFLOPs: pr.flops[0], BackwardFLOPs: pr.flops[1], ArenaBytes: pr.tapeSize + pr.gradSize + 2*pr.outSize}
}
