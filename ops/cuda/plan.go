//go:build cuda

package cuda

import (
	"fmt"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda/cublaslt"
	"github.com/contraflow/contraflow/ops/cuda/cudnn"
)

// step is one unit of a plan, with what this device adds to it.
type step struct {
	ops.Step
	gradient string // "gradient of conv", for spans and errors
	norm     *norm
	blocks   *blocks // a first convolution runs on these
	extra    *life   // on the tape: a max pool's winners, a dropout's mask, blocks of pixels
}

// norm is batch normalisation on the tape.
type norm struct {
	ops.Norm
	parts, back int // pieces of a group, for sums forward and backward
	relu        int // 0 none, 1 its sign is found again from x, 2 from bits on the tape
	stat, mask  *life
}

// program is a compiled graph.
type program struct {
	*ops.Plan
	d     *Device
	own   *estate
	p     *params
	steps []step
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
	calls   uint64
	reached []bool // weights, during Backward
	draws   bool   // a dropout is active
}

// Compile plans a graph: fusion, buffers, engines.
func (d *Device) Compile(g *ops.Graph, p ops.Params, o ops.Options) (ops.Program, error) {
	own, ok := p.(*params)
	if !ok || own.d != d {
		return nil, fmt.Errorf("ops: parameters were not made by this device (%s)", d.Name())
	}
	plan, err := ops.NewPlan(g, own.specs, o)
	if err != nil {
		return nil, err
	}
	pr := &program{Plan: plan, d: d, p: own, reached: make([]bool, len(g.Params))}
	for _, s := range plan.Steps {
		pr.steps = append(pr.steps, pr.newStep(s))
	}
	pr.placeTape()
	pr.placeGradients()
	return pr, d.do(func() error { pr.own = newEstate(d, pr); return pr.prepare() })
}

func (pr *program) newStep(of ops.Step) step {
	s := step{Step: of, gradient: "gradient of " + of.Kind.String()}
	switch of.Kind {
	case ops.BatchNorm:
		s.norm = newNorm(of, pr.Options.Batch)
	case ops.Conv, ops.Linear:
		if b, ok := blocksOf(pr.Graph.Nodes[of.In[0]].Out, of.Node); ok {
			s.blocks = &b
		}
	}
	return s
}

func newNorm(s ops.Step, batch int) *norm {
	b := &norm{Norm: s.Norm}
	if b.ReLU {
		b.relu = len(s.In)
	}
	out := s.Node.Out
	rows, p := (batch+b.Groups-1)/b.Groups*out.H*out.W, padded(out.C)
	b.parts, b.back = normParts(rows, p, b.Groups, forwardBlocks), normParts(rows, p, b.Groups, backwardBlocks)
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
	nodes := pr.Graph.Nodes
	end := len(pr.steps)
	pr.values = make([]*life, len(nodes))
	put := func(bytes int64, from int) *life {
		l := &life{bytes: bytes, from: from, to: end}
		pr.lives = append(pr.lives, l)
		return l
	}
	value := func(v ops.Value, from int) {
		pr.values[v] = put(int64(pr.d.actSize())*elements(nodes[v].Out, pr.Options.Batch), from)
		pr.values[v].to = from
	}
	value(0, -1)
	for i := range pr.steps {
		s := &pr.steps[i]
		value(s.Out, i)
		for _, v := range s.In {
			pr.values[v].to = i
		}
		out := elements(s.Node.Out, pr.Options.Batch)
		switch {
		case s.blocks != nil:
			s.extra = put(int64(pr.d.actSize())*elements(s.blocks.shape(), pr.Options.Batch), i)
			if !pr.Keeps() {
				s.extra.to = i
			}
		case s.norm != nil:
			s.norm.stat = put(int64(12*s.norm.Groups*padded(s.Node.Out.C)), i)
			if s.norm.relu == 2 && pr.Keeps() {
				s.norm.mask = put(out/8, i)
			}
		case pr.Keeps() && (s.Kind == ops.MaxPool || s.Kind == ops.AdaptiveMax):
			s.extra = put(2*out, i)
		case s.Kind == ops.Dropout && pr.Options.Train && !pr.Options.RunningStats:
			s.extra = put(int64(4*pr.Options.Batch*s.Node.Out.Len()), i)
			pr.draws = true
		}
	}
	for _, v := range pr.Outs {
		pr.values[v].to = end
		pr.outSize += roundUp(int64(4*pr.Options.Batch*nodes[v].Out.Len()), 256)
	}
	if pr.Keeps() {
		for _, l := range pr.values {
			if l != nil {
				l.to = end
			}
		}
	}
	pr.tapeSize = arrange(pr.lives)
}

// placeGradients gives every gradient memory for as long as it lives: from the first step, backwards, that writes it to the step
// that made the value.
func (pr *program) placeGradients() {
	if !pr.Keeps() {
		return
	}
	nodes := pr.Graph.Nodes
	pr.has, pr.grads = make([]bool, len(nodes)), make([]*life, len(nodes))
	var lives []*life
	touch := func(v ops.Value, when int) {
		if !pr.Needs[v] {
			return
		}
		if pr.grads[v] == nil {
			pr.grads[v] = &life{bytes: int64(pr.d.actSize()) * elements(nodes[v].Out, pr.Options.Batch), from: when}
			lives = append(lives, pr.grads[v])
		}
		pr.grads[v].to = when
	}
	for _, v := range pr.Outs {
		touch(v, -1)
	}
	for i := len(pr.steps) - 1; i >= 0; i-- {
		s, when := &pr.steps[i], len(pr.steps)-1-i
		touch(s.Out, when)
		for _, v := range s.In {
			touch(v, when)
		}
	}
	touch(0, len(pr.steps))
	pr.gradSize = arrange(lives)
}

// prepare allocates what the program needs and chooses engines for its full batch.
func (pr *program) prepare() (err error) {
	d := pr.d
	scratch := int64(256)
	for i := range pr.steps {
		s := &pr.steps[i]
		p := padded(s.Node.Out.C)
		switch {
		case s.norm != nil:
			scratch = max(scratch, int64(s.norm.Groups*p*(max(s.norm.parts, s.norm.back)*8+8)))
		case s.Bias >= 0:
			scratch = max(scratch, int64(8*p*normParts(pr.Options.Batch*s.Node.Out.H*s.Node.Out.W, p, 1, forwardBlocks)))
		}
		switch s.Kind {
		case ops.Conv:
			if _, err = pr.convolution(s, pr.Options.Batch, cudnn.Forward, false); err != nil {
				return err
			}
			if !pr.Keeps() {
				continue
			}
			if _, err = pr.convolution(s, pr.Options.Batch, cudnn.BackWeight, false); err != nil {
				return err
			}
			if pr.Needs[s.In[0]] {
				if _, err = pr.convolution(s, pr.Options.Batch, cudnn.BackData, false); err != nil {
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
	for i := range pr.ring { // room for what is done to pictures; floats, or pictures themselves, take more when they come: see fit
		if pr.ring[i], err = pr.own.slot(256*pr.Options.Batch, inputOfBatch); err != nil {
			return err
		}
	}
	if !pr.Keeps() {
		return nil
	}
	if pr.gradAt, err = pr.own.alloc(pr.gradSize, fmt.Sprintf("the gradients of a batch of %d", pr.Options.Batch), lowerBatch); err != nil {
		return err
	}
	size := int(pr.outSize)
	if pr.Options.InputGrad {
		if pr.inGrad, err = pr.own.pin(pr.inputSize()); err != nil {
			return err
		}
		size = max(size, pr.inputSize())
	}
	pr.gradIn, err = pr.own.slot(size, "the gradients of outputs")
	return err
}

// inputSize is how many bytes a full batch of floats has.
func (pr *program) inputSize() int { return 4 * pr.Options.Batch * pr.Graph.Nodes[0].Out.Len() }

const (
	inputOfBatch  = "the input of a batch"
	lowerBatch    = "lower --batch_size or --image_size, or use --amp"
	blasWorkspace = 32 << 20
)

// convolution is the engine for a step and n samples.
func (pr *program) convolution(s *step, n int, op cudnn.Op, add bool) (*cudnn.Plan, error) {
	in, k := pr.Graph.Nodes[s.In[0]].Out, s.Node
	c := cudnn.Conv{Op: op, N: n, C: padded(in.C), H: in.H, W: in.W, K: padded(k.Out.C), R: k.Kernel, S: k.Kernel, Stride: k.Stride, Pad: k.Pad, Add: add}
	if s.blocks != nil {
		c = s.blocks.convolve(c)
	}
	return pr.d.plan(c, pr.Options.Direct)
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

// Stats are the plan's costs, with one tape.
func (pr *program) Stats() ops.ProgramStats {
	return ops.ProgramStats{ForwardFLOPs: pr.FLOPs[0], BackwardFLOPs: pr.FLOPs[1], ArenaBytes: pr.tapeSize + pr.gradSize + 2*pr.outSize}
}
