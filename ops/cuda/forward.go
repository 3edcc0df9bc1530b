//go:build cuda

package cuda

import (
	"fmt"
	"math/rand/v2"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda/cublaslt"
	"github.com/contraflow/contraflow/ops/cuda/cudnn"
	"github.com/contraflow/contraflow/ops/cuda/driver"
)

// Forward puts n samples [n,C,H,W] and their way through the network on the streams. x may be changed when it returns.
func (pr *program) Forward(x []float32, n int) (ops.Tape, error) {
	in := pr.Graph.Nodes[0].Out
	if n < 1 || n > pr.Options.Batch || len(x) != n*in.Len() {
		return nil, fmt.Errorf("ops: forward of %d samples with %d values: the program takes 1 to %d samples of %v", n, len(x), pr.Options.Batch, in)
	}
	return pr.start(n, func(t *tape) error {
		s := pr.ring[pr.turn]
		pr.turn ^= 1
		if err := pr.d.fit(s, pr.inputSize(), inputOfBatch); err != nil {
			return err
		}
		done, err := pr.d.send(s, 4*len(x), func(host []byte) { copy(host, asBytes(x)) })
		if err != nil {
			return err
		}
		packed := pr.d.span("input")
		if err := pr.pack(s.dev, t.value(0), in, n, false); err != nil {
			return err
		}
		packed()
		return done()
	})
}

// Hold keeps a batch on the device and returns a Forward of it that uploads nothing: for measuring steps.
func (pr *program) Hold(x []float32, n int) (forward func() (ops.Tape, error), err error) {
	in := pr.Graph.Nodes[0].Out
	if n < 1 || n > pr.Options.Batch || len(x) != n*in.Len() {
		return nil, fmt.Errorf("ops: hold %d samples with %d values: the program takes 1 to %d samples of %v", n, len(x), pr.Options.Batch, in)
	}
	var held cu.DevicePtr
	size := int64(pr.d.actSize()) * elements(in, n)
	err = pr.d.do(func() (err error) {
		if held, err = pr.own.alloc(size, "a batch that stays on the device", lowerBatch); err != nil {
			return err
		}
		if err := pr.d.fit(pr.ring[0], pr.inputSize(), inputOfBatch); err != nil {
			return err
		}
		done, err := pr.d.send(pr.ring[0], 4*len(x), func(host []byte) { copy(host, asBytes(x)) })
		if err != nil {
			return err
		}
		if err := pr.pack(pr.ring[0].dev, held, in, n, false); err != nil {
			return err
		}
		return done()
	})
	return func() (ops.Tape, error) {
		return pr.start(n, func(t *tape) error { return cu.MemcpyDtoDAsync(t.value(0), held, size, pr.d.compute) })
	}, err
}

// start takes a tape, lets load fill its input, and runs the steps.
func (pr *program) start(n int, load func(t *tape) error) (ops.Tape, error) {
	var t *tape
	err := pr.d.do(func() (err error) {
		if t, err = pr.take(); err != nil {
			return err
		}
		t.n, t.active, t.arrived = n, true, false
		pr.calls++
		defer pr.d.span("forward")()
		if err := load(t); err != nil {
			return err
		}
		if err := pr.advance(t, n); err != nil {
			return err
		}
		if err := pr.fetch(t, n); err != nil {
			return err
		}
		return pr.d.dispatch()
	})
	if err != nil {
		if t != nil {
			t.Release()
		}
		return nil, err
	}
	return t, nil
}

// advance runs the steps, or a recording of them. Dropout draws its mask on the host, anew for every pass: no recording holds it.
func (pr *program) advance(t *tape, n int) error {
	work := func() error {
		for i := range pr.steps {
			s := &pr.steps[i]
			done := pr.d.span(s.Kind.String())
			if err := pr.forward(s, t, n); err != nil {
				return fmt.Errorf("%v %s: %w", s.Kind, s.Node.Name, err)
			}
			done()
		}
		return nil
	}
	if pr.draws {
		return work()
	}
	replayed, err := pr.d.record(t.forward, n, work)
	if err == nil && replayed {
		for i := range pr.steps {
			if b := pr.steps[i].norm; b != nil && b.Batch && b.Batches >= 0 {
				pr.p.tensors[b.Batches].batches++
			}
		}
	}
	return err
}

// fetch sends the outputs to the host.
func (pr *program) fetch(t *tape, n int) error {
	defer pr.d.span("outputs")()
	for i, v := range pr.Outs {
		shape := pr.Graph.Nodes[v].Out
		dst := at(t.outs, pr.offset(i))
		if err := pr.unpack(t.value(v), dst, shape, n); err != nil {
			return err
		}
		if err := cu.MemcpyDtoHAsync(unsafe.Add(t.host.p, pr.offset(i)), dst, int64(4*n*shape.Len()), pr.d.compute); err != nil {
			return err
		}
	}
	return t.done.Record(pr.d.compute)
}

// pack brings float [n,C,H,W] into the device's layout, or adds it.
func (pr *program) pack(src, dst cu.DevicePtr, s ops.Shape, n int, add bool) error {
	return pr.d.each("pack", int64(n*s.H*s.W), padded(s.C)/8, pr.d.args().Ptr(src).Ptr(dst).Int(n).Int(s.H*s.W).Int(s.C).Int(padded(s.C)).Int(flag(add)))
}

func (pr *program) unpack(src, dst cu.DevicePtr, s ops.Shape, n int) error {
	return pr.d.each("unpack", int64(n*s.H*s.W), padded(s.C)/8, pr.d.args().Ptr(src).Ptr(dst).Int(n).Int(s.H*s.W).Int(s.C).Int(padded(s.C)))
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// weight is where convolutions and products read tensor i.
func (p *params) weight(i int) cu.DevicePtr { return at(p.work, int64(p.d.actSize())*p.tensors[i].at) }

// master is the float tensor i, null for -1.
func (p *params) master(i int) cu.DevicePtr {
	if i < 0 {
		return 0
	}
	return at(p.value, 4*p.tensors[i].at)
}

// gradient is where tensor i collects its gradient, null for -1.
func (p *params) gradient(i int) cu.DevicePtr {
	if i < 0 {
		return 0
	}
	return at(p.grad, 4*p.tensors[i].at)
}

// forward runs one step.
func (pr *program) forward(s *step, t *tape, n int) error {
	d, in, out := pr.d, pr.Graph.Nodes[s.In[0]].Out, s.Node.Out
	x, y := t.value(s.In[0]), t.value(s.Out)
	total := elements(out, n)
	switch s.Kind {
	case ops.Conv:
		plan, err := pr.convolution(s, n, cudnn.Forward, false)
		if err != nil {
			return err
		}
		if s.blocks != nil {
			if err := d.gather(s.blocks, x, t.at(s.extra), n); err != nil {
				return err
			}
			x = t.at(s.extra)
		}
		if err := plan.Run(uintptr(x), uintptr(pr.p.weight(s.Weight)), uintptr(y), uintptr(d.space.p)); err != nil || s.Bias < 0 {
			return err
		}
		return d.each("add_bias", total/8, 1, d.args().Ptr(y).Ptr(pr.p.master(s.Bias)).Long(total/8).Int(padded(out.C)))
	case ops.Linear:
		k, m := padded(in.C), padded(out.C)
		plan, err := d.product(cublaslt.Product{M: n, N: m, K: k, LDA: k, LDB: k, LDD: m, TransB: true, Bias: s.Bias >= 0})
		if err != nil {
			return err
		}
		bias := uintptr(0)
		if s.Bias >= 0 {
			bias = uintptr(pr.p.weight(s.Bias))
		}
		return plan.Run(uintptr(x), uintptr(pr.p.weight(s.Weight)), uintptr(y), bias, uintptr(d.space.p), driver.StreamHandle(d.compute))
	case ops.BatchNorm:
		return pr.normalise(s, t, n)
	case ops.ReLU:
		return d.each("relu", total/8, 1, d.args().Ptr(x).Ptr(y).Long(total/8))
	case ops.Add:
		return d.each("sum", total/8, 1, d.args().Ptr(x).Ptr(t.value(s.In[1])).Ptr(y).Long(total/8))
	case ops.MaxPool, ops.AdaptiveMax:
		return d.each("max_pool", total/8, 1, pr.pooling(s, n, d.args().Ptr(x).Ptr(y).Ptr(t.at(s.extra))))
	case ops.AvgPool, ops.AdaptiveAvg:
		return d.each("mean_pool", total/8, 1, pr.pooling(s, n, d.args().Ptr(x).Ptr(y)))
	case ops.Flatten:
		return d.each("flatten", total, 1, d.args().Ptr(x).Ptr(y).Int(n).Int(in.H*in.W).Int(in.C).Int(padded(in.C)).Int(padded(out.C)))
	case ops.Dropout:
		return pr.dropout(s, t, n)
	case ops.L2Norm:
		return d.launch("l2_norm", driver.Dim{n, 1, 1}, driver.Dim{32, 1, 1}, d.args().Ptr(x).Ptr(y).Int(padded(out.C)))
	}
	return fmt.Errorf("ops: cuda cannot run %v", s.Kind)
}

// pooling adds the sizes of a pool to a kernel's arguments.
func (pr *program) pooling(s *step, n int, a *driver.Args) *driver.Args {
	in, k := pr.Graph.Nodes[s.In[0]].Out, s.Node
	return a.Int(n).Int(in.H).Int(in.W).Int(k.Out.H).Int(k.Out.W).Int(padded(in.C)).Int(k.Kernel).Int(k.Stride).Int(k.Pad).Int(k.Bins)
}

// normalise is batch normalisation with what is fused behind it: sums, statistics, values.
func (pr *program) normalise(s *step, t *tape, n int) error {
	d, b, out := pr.d, s.norm, s.Node.Out
	p, area, per := padded(out.C), out.H*out.W, (n+b.Groups-1)/b.Groups
	x, stat := t.value(s.In[0]), t.at(b.stat)
	if b.Batch {
		if err := d.launch("norm_sums", driver.Dim{normColumns(p), b.parts, b.Groups}, driver.Dim{threads, 1, 1}, d.args().Ptr(x).Ptr(d.scratch.p).Int(n).Int(per).Int(area).Int(p)); err != nil {
			return err
		}
		if err := d.launch("norm_stats", driver.Dim{(p + 31) / 32, b.Groups, 1}, driver.Dim{32, folders, 1}, d.args().Ptr(x).Ptr(d.scratch.p).Ptr(stat).
			Ptr(pr.p.master(b.Gamma)).Ptr(pr.p.master(b.Mean)).Ptr(pr.p.master(b.Var)).Int(n).Int(per).Int(area).Int(p).Int(b.parts).Double(b.Eps).Double(b.Momentum)); err != nil {
			return err
		}
		if b.Batches >= 0 {
			pr.p.tensors[b.Batches].batches++
		}
	} else if err := d.each("norm_running", int64(p), 1, d.args().Ptr(pr.p.master(b.Mean)).Ptr(pr.p.master(b.Var)).Ptr(pr.p.master(b.Gamma)).Ptr(stat).Int(p).Double(b.Eps)); err != nil {
		return err
	}
	res := cu.DevicePtr(0)
	if len(s.In) > 1 {
		res = t.value(s.In[1])
	}
	return d.launch("norm_apply", normGrid(per*area, p, b.Groups, forwardBlocks), driver.Dim{threads, 1, 1}, d.args().Ptr(x).Ptr(res).Ptr(stat).Ptr(pr.p.master(b.Beta)).Ptr(t.value(s.Out)).
		Ptr(t.at(b.mask)).Int(n).Int(per).Int(area).Int(p).Int(b.relu))
}

// folders is how many threads add the partial sums of a channel, as in norm.cu.
const folders = 16

// normGrid covers rows of p channels in every group.
func normGrid(rows, p, groups, blocks int) driver.Dim {
	return driver.Dim{normColumns(p), normParts(rows, p, groups, blocks), groups}
}

// dropout draws the mask on the host, so that every device drops the same values.
func (pr *program) dropout(s *step, t *tape, n int) error {
	d, out := pr.d, s.Node.Out
	if s.extra == nil {
		return cu.MemcpyDtoDAsync(t.value(s.Out), t.value(s.In[0]), int64(d.actSize())*elements(out, n), d.compute)
	}
	keep := 1 - s.Node.Rate
	scale := float32(1 / keep)
	r := rand.New(rand.NewPCG(pr.Options.Seed^0xD1B54A32D192ED03, pr.calls<<20|uint64(s.Out)))
	mask := make([]float32, n*out.Len())
	for i := range mask {
		if r.Float64() < keep {
			mask[i] = scale
		}
	}
	if err := pr.p.upload(t.at(s.extra), mask); err != nil {
		return err
	}
	return d.each("scale_mask", elements(out, n), 1, d.args().Ptr(t.value(s.In[0])).Ptr(t.at(s.extra)).Ptr(t.value(s.Out)).
		Long(int64(n*out.H*out.W)).Int(out.C).Int(padded(out.C)).Int(0))
}
