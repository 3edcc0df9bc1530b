//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda/cublaslt"
	"github.com/contraflow/contraflow/ops/cuda/cudnn"
	"github.com/contraflow/contraflow/ops/cuda/driver"
)

var errReleased = errors.New("ops: backward of a tape that was released: a tape is used once")

// Backward puts the plan, in reverse from the given output gradients, on the stream. It waits only when the gradient of the
// input is asked for.
func (t *tape) Backward(grads ...[]float32) ([]float32, error) {
	pr, n := t.pr, t.n
	if !t.active {
		return nil, errReleased
	}
	defer t.Release()
	if !pr.Keeps() {
		return nil, errors.New("ops: backward of a program compiled for evaluation: compile it with Train and without NoGrad")
	}
	if len(grads) != len(pr.Outs) {
		return nil, fmt.Errorf("ops: %d output gradients for %d outputs", len(grads), len(pr.Outs))
	}
	for i, g := range grads {
		if want := n * pr.OutputShape(i).Len(); g != nil && len(g) != want {
			return nil, fmt.Errorf("ops: gradient of output %d has %d values, want %d", i, len(g), want)
		}
	}
	var dx []float32
	err := pr.d.do(func() error {
		defer pr.d.span("backward")()
		clear(pr.has)
		clear(pr.reached)
		if err := pr.p.forget(); err != nil {
			return err
		}
		if err := pr.receive(grads, n); err != nil {
			return err
		}
		if err := pr.retreat(t, n); err != nil {
			return err
		}
		if err := pr.p.square(); err != nil {
			return err
		}
		if err := pr.d.dispatch(); err != nil {
			return err
		}
		if !pr.Options.InputGrad || !pr.has[0] {
			return nil
		}
		dx = pr.inGrad.floats()[:n*pr.Graph.Nodes[0].Out.Len()]
		return pr.inputGradient(n)
	})
	return dx, err
}

// retreat runs the steps in reverse and collects the gradients of weights, or a recording of that. Which steps run depends on
// which outputs have a gradient.
func (pr *program) retreat(t *tape, n int) error {
	r := t.backward
	if !slices.Equal(r.before, pr.has) {
		r.drop()
	}
	before := slices.Clone(pr.has)
	replayed, err := pr.d.record(r, n, func() error {
		for i := len(pr.steps) - 1; i >= 0; i-- {
			s := &pr.steps[i]
			if !pr.Needs[s.Out] || !pr.has[s.Out] {
				continue
			}
			done := pr.d.span(s.gradient)
			if err := pr.backward(s, t, n); err != nil {
				return fmt.Errorf("%s %s: %w", s.gradient, s.Node.Name, err)
			}
			done()
		}
		return pr.collect()
	})
	if replayed {
		copy(pr.has, r.after)
	} else {
		r.before, r.after = before, slices.Clone(pr.has)
	}
	return err
}

// receive uploads the gradients of outputs.
func (pr *program) receive(grads [][]float32, n int) error {
	done, err := pr.d.hand(pr.gradIn, int(pr.outSize), func(host []byte) {
		for i, g := range grads {
			copy(host[pr.offset(i):], asBytes(g))
		}
	})
	if err != nil {
		return err
	}
	defer pr.d.span("gradients of outputs")()
	for i, g := range grads {
		v := pr.Outs[i]
		if g == nil || !pr.Needs[v] {
			continue
		}
		if err := pr.pack(at(pr.gradIn.dev, pr.offset(i)), pr.grad(v), pr.Graph.Nodes[v].Out, n, pr.has[v]); err != nil {
			return err
		}
		pr.has[v] = true
	}
	return done()
}

// collect adds the gradients of weights that this pass made to those of the optimiser.
func (pr *program) collect() error {
	p, d := pr.p, pr.d
	if p.weights == 0 {
		return nil
	}
	defer d.span("gradients of weights")()
	for i, s := range p.specs { // what no gradient reached holds that of another pass
		if t := &p.tensors[i]; s.Role == ops.Weight && !pr.reached[i] {
			size := int64(d.actSize())
			if err := cu.MemsetD8Async(at(p.fresh, size*t.at), 0, size*t.size, d.compute); err != nil {
				return err
			}
		}
	}
	return d.each("widen_add", p.weights/8, 1, d.args().Ptr(p.fresh).Ptr(p.grad).Long(p.weights/8))
}

// inputGradient brings the gradient of the input to the host.
func (pr *program) inputGradient(n int) error {
	shape := pr.Graph.Nodes[0].Out
	if err := pr.unpack(pr.grad(0), pr.gradIn.dev, shape, n); err != nil {
		return err
	}
	if err := cu.MemcpyDtoHAsync(pr.inGrad.p, pr.gradIn.dev, int64(4*n*shape.Len()), pr.d.compute); err != nil {
		return err
	}
	if err := pr.gradIn.used.Record(pr.d.compute); err != nil {
		return err
	}
	return pr.d.compute.Synchronize()
}

// grad is the address of a value's gradient.
func (pr *program) grad(v ops.Value) cu.DevicePtr { return at(pr.gradAt, pr.grads[v].at) }

// into is where the gradient of input k of a step goes, null when nobody wants it, and whether it already holds a part that
// must be added to.
func (pr *program) into(s *step, k int) (p cu.DevicePtr, add bool) {
	v := s.In[k]
	if !pr.Needs[v] {
		return 0, false
	}
	add = pr.has[v]
	pr.has[v] = true
	return pr.grad(v), add
}

// backward runs one step in reverse.
func (pr *program) backward(s *step, t *tape, n int) error {
	d, in, out := pr.d, pr.Graph.Nodes[s.In[0]].Out, s.Node.Out
	x, dy := t.value(s.In[0]), pr.grad(s.Out)
	total := elements(out, n)
	switch s.Kind {
	case ops.Conv, ops.Linear:
		if err := pr.backBias(s, dy, n); err != nil {
			return err
		}
		pr.reached[s.Weight] = true
		if s.Kind == ops.Linear {
			return pr.backLinear(s, x, dy, n)
		}
		if s.blocks != nil {
			x = t.at(s.extra)
		}
		return pr.backConv(s, x, dy, n)
	case ops.BatchNorm:
		return pr.backNorm(s, t, n)
	}
	if s.Kind == ops.Add {
		for k := range s.In {
			dx, add := pr.into(s, k)
			var err error
			switch {
			case dx == 0:
			case add:
				err = d.each("sum", total/8, 1, d.args().Ptr(dx).Ptr(dy).Ptr(dx).Long(total/8))
			default:
				err = cu.MemcpyDtoDAsync(dx, dy, int64(d.actSize())*total, d.compute)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	dx, add := pr.into(s, 0)
	if dx == 0 {
		return nil
	}
	switch s.Kind {
	case ops.ReLU:
		return d.each("relu_back", total/8, 1, d.args().Ptr(t.value(s.Out)).Ptr(dy).Ptr(dx).Long(total/8).Int(flag(add)))
	case ops.MaxPool, ops.AdaptiveMax:
		if k := s.Node; s.Kind == ops.MaxPool && k.Kernel == 3 && k.Stride == 2 && k.Pad <= 1 {
			h, w := (in.H+2-k.Pad)/2, (in.W+2-k.Pad)/2
			return d.each("max_pool_back_3_2", int64(n*h*w*padded(in.C)/8), 1, d.args().Ptr(dy).Ptr(t.at(s.extra)).Ptr(dx).Int(n).Int(in.H).Int(in.W).
				Int(out.H).Int(out.W).Int(padded(in.C)).Int(k.Pad).Int(h).Int(w).Int(flag(add)))
		}
		return d.each("max_pool_back", elements(in, n)/8, 1, pr.pooling(s, n, d.args().Ptr(dy).Ptr(t.at(s.extra)).Ptr(dx)).Int(flag(add)))
	case ops.AvgPool, ops.AdaptiveAvg:
		return d.each("mean_pool_back", elements(in, n)/8, 1, pr.pooling(s, n, d.args().Ptr(dy).Ptr(dx)).Int(flag(add)))
	case ops.Flatten:
		return d.each("flatten_back", elements(in, n), 1, d.args().Ptr(dy).Ptr(dx).Int(n).Int(in.H*in.W).Int(in.C).Int(padded(in.C)).Int(padded(out.C)).Int(flag(add)))
	case ops.Dropout:
		if s.extra != nil {
			return d.each("scale_mask", total, 1, d.args().Ptr(dy).Ptr(t.at(s.extra)).Ptr(dx).Long(int64(n*out.H*out.W)).Int(out.C).Int(padded(out.C)).Int(flag(add)))
		}
		if add {
			return d.each("sum", total/8, 1, d.args().Ptr(dx).Ptr(dy).Ptr(dx).Long(total/8))
		}
		return cu.MemcpyDtoDAsync(dx, dy, int64(d.actSize())*total, d.compute)
	case ops.L2Norm:
		return d.launch("l2_norm_back", driver.Dim{n, 1, 1}, driver.Dim{32, 1, 1}, d.args().Ptr(x).Ptr(dy).Ptr(dx).Int(padded(out.C)).Int(flag(add)))
	}
	return fmt.Errorf("ops: cuda cannot run %v", s.Kind)
}

func (pr *program) backBias(s *step, dy cu.DevicePtr, n int) error {
	if s.Bias < 0 {
		return nil
	}
	d, out := pr.d, s.Node.Out
	p, rows := padded(out.C), n*out.H*out.W
	parts := normParts(rows, p, 1, forwardBlocks)
	if err := d.launch("bias_sums", driver.Dim{normColumns(p), parts, 1}, driver.Dim{threads, 1, 1}, d.args().Ptr(dy).Ptr(d.scratch.p).Long(int64(rows)).Int(p)); err != nil {
		return err
	}
	return d.launch("bias_add", driver.Dim{(p + 31) / 32, 1, 1}, driver.Dim{32, folders, 1}, d.args().Ptr(d.scratch.p).Ptr(pr.p.gradient(s.Bias)).Int(p).Int(parts))
}

// newGradient is where this pass leaves the gradient of a weight.
func (pr *program) newGradient(i int) cu.DevicePtr {
	return at(pr.p.fresh, int64(pr.d.actSize())*pr.p.tensors[i].at)
}

func (pr *program) backConv(s *step, x, dy cu.DevicePtr, n int) error {
	d, in, k := pr.d, pr.Graph.Nodes[s.In[0]].Out, s.Node
	plan, err := pr.convolution(s, n, cudnn.BackWeight, false)
	if err != nil {
		return err
	}
	dw := pr.newGradient(s.Weight)
	if err := plan.Run(uintptr(x), uintptr(dw), uintptr(dy), uintptr(d.space.p)); err != nil {
		return err
	}
	if s.blocks != nil {
		if err := d.trim(s.blocks, dw, padded(k.Out.C)); err != nil {
			return err
		}
	}
	if k.Groups > 1 {
		size := int64(k.Kernel*k.Kernel) * int64(padded(k.Out.C)*padded(in.C))
		if err := d.each("keep_blocks", size, 1, d.args().Ptr(dw).Int(padded(k.Out.C)).Int(k.Kernel*k.Kernel).Int(padded(in.C)).Int(k.Out.C/k.Groups).Int(in.C/k.Groups)); err != nil {
			return err
		}
	}
	dx, add := pr.into(s, 0)
	if dx == 0 {
		return nil
	}
	w := uintptr(pr.p.weight(s.Weight))
	if b := s.blocks; b != nil {
		if plan, err = pr.convolution(s, n, cudnn.BackData, false); err != nil {
			return err
		}
		if err := d.grow(&d.apart, int64(d.actSize())*elements(b.shape(), n), "the gradient of pictures"); err != nil {
			return err
		}
		if err := plan.Run(uintptr(d.apart.p), w, uintptr(dy), uintptr(d.space.p)); err != nil {
			return err
		}
		return d.spread(b, d.apart.p, dx, n, add)
	}
	plan, err = pr.convolution(s, n, cudnn.BackData, add)
	if err == nil {
		return plan.Run(uintptr(dx), w, uintptr(dy), uintptr(d.space.p))
	}
	if !add {
		return err
	}
	// No engine adds to what is there: compute apart, then add.
	if plan, err = pr.convolution(s, n, cudnn.BackData, false); err != nil {
		return err
	}
	total := elements(in, n)
	if err := d.grow(&d.apart, int64(d.actSize())*total, "a gradient that is added"); err != nil {
		return err
	}
	if err := plan.Run(uintptr(d.apart.p), w, uintptr(dy), uintptr(d.space.p)); err != nil {
		return err
	}
	return d.each("sum", total/8, 1, d.args().Ptr(dx).Ptr(d.apart.p).Ptr(dx).Long(total/8))
}

func (pr *program) backLinear(s *step, x, dy cu.DevicePtr, n int) error {
	d, in, out := pr.d, padded(pr.Graph.Nodes[s.In[0]].Out.C), padded(s.Node.Out.C)
	stream := driver.StreamHandle(d.compute)
	// dw [out,in] = dyᵀ [out,n] · x [n,in]
	plan, err := d.product(cublaslt.Product{M: out, N: in, K: n, LDA: out, LDB: in, LDD: in, TransA: true})
	if err != nil {
		return err
	}
	if err := plan.Run(uintptr(dy), uintptr(x), uintptr(pr.newGradient(s.Weight)), 0, uintptr(d.space.p), stream); err != nil {
		return err
	}
	dx, add := pr.into(s, 0)
	if dx == 0 {
		return nil
	}
	// dx [n,in] = dy [n,out] · w [out,in]
	if plan, err = d.product(cublaslt.Product{M: n, N: in, K: out, LDA: out, LDB: in, LDD: in, Add: add}); err != nil {
		return err
	}
	return plan.Run(uintptr(dy), uintptr(pr.p.weight(s.Weight)), uintptr(dx), 0, uintptr(d.space.p), stream)
}

// backNorm is the gradient through batch normalisation and what is fused behind it.
func (pr *program) backNorm(s *step, t *tape, n int) error {
	d, b, out := pr.d, s.norm, s.Node.Out
	p, area, per := padded(out.C), out.H*out.W, (n+b.Groups-1)/b.Groups
	x, dy, stat, mask, beta := t.value(s.In[0]), pr.grad(s.Out), t.at(b.stat), t.at(b.mask), pr.p.master(b.Beta)
	part := d.scratch.p
	coef := at(part, int64(8*b.Groups*b.back*p))
	var dx, dres cu.DevicePtr
	var addX, addRes bool
	if len(s.In) > 1 {
		dres, addRes = pr.into(s, 1)
	}
	dx, addX = pr.into(s, 0)
	if err := d.launch("norm_back_sums", driver.Dim{normColumns(p), b.back, b.Groups}, driver.Dim{threads, 1, 1}, d.args().Ptr(x).Ptr(dy).Ptr(mask).Ptr(stat).Ptr(beta).Ptr(part).
		Int(n).Int(per).Int(area).Int(p).Int(b.relu)); err != nil {
		return err
	}
	if err := d.launch("norm_back_stats", driver.Dim{(p + 31) / 32, 1, 1}, driver.Dim{32, folders, 1}, d.args().Ptr(part).Ptr(stat).Ptr(coef).
		Ptr(pr.p.gradient(b.Gamma)).Ptr(pr.p.gradient(b.Beta)).Int(n).Int(per).Int(area).Int(p).Int(b.back).Int(b.Groups).Int(flag(b.Batch))); err != nil {
		return err
	}
	if dx == 0 && dres == 0 {
		return nil
	}
	return d.launch("norm_back_apply", normGrid(per*area, p, b.Groups, backwardBlocks), driver.Dim{threads, 1, 1}, d.args().Ptr(x).Ptr(dy).Ptr(mask).Ptr(stat).Ptr(coef).Ptr(beta).Ptr(dx).Ptr(dres).
		Int(n).Int(per).Int(area).Int(p).Int(b.relu).Int(flag(addX)).Int(flag(addRes)))
}
