//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda/driver"
)

// params are the tensors of a graph in one buffer of floats: weights of convolutions and linear layers, then the other
// trainable tensors, then running statistics. A tensor's channels are padded to multiples of eight; padding is zero and
// stays so, since its gradients are zero.
type params struct {
	d       *Device
	specs   []ops.ParamSpec
	byName  map[string]int
	tensors []tensor
	weights int64 // floats of weights
	trained int64 // floats that have gradients
	total   int64

	value, grad, velocity cu.DevicePtr
	work                  cu.DevicePtr // what convolutions read: value itself, or its copy in bfloat16
	fresh                 cu.DevicePtr // act, gradients of weights of one backward
	squares               squares
	stale                 bool // gradients are to be forgotten
}

// squares are partial sums of the gradients' squares, on their way to the host since the last backward: who asks for the norm
// waits for the device once, whatever the number of networks.
type squares struct {
	sums    cu.DevicePtr
	host    *pinned
	arrived cu.Event
	current bool         // of the gradients as they are
	ok      cu.DevicePtr // int: whether a step may be taken
}

// tensor is the place of one tensor.
type tensor struct {
	at, size  int64         // floats
	place     func(int) int // from the index in the reference's order to that in the device's
	batches   float32       // num_batches_tracked lives here
	trainable bool
}

// NewParams makes the tensors of g: γ and running variances one, everything else zero.
func (d *Device) NewParams(g *ops.Graph) (ops.Params, error) {
	if err := g.Err(); err != nil {
		return nil, err
	}
	p := &params{d: d, specs: g.Params, byName: map[string]int{}, tensors: make([]tensor, len(g.Params))}
	for i, s := range g.Params {
		if _, twice := p.byName[s.Name]; twice {
			return nil, fmt.Errorf("ops: parameter %q is declared twice", s.Name)
		}
		p.byName[s.Name] = i
		p.tensors[i] = newTensor(s, g)
	}
	place := func(which func(ops.Role) bool) int64 {
		for i, s := range p.specs {
			if which(s.Role) {
				p.tensors[i].at = p.total
				p.total += roundUp(p.tensors[i].size, 128) // cuBLASLt's engines may want 256 bytes, of bfloat16 too
			}
		}
		return p.total
	}
	p.weights = place(func(r ops.Role) bool { return r == ops.Weight })
	p.trained = place(func(r ops.Role) bool { return r != ops.Weight && r.Trainable() })
	place(func(r ops.Role) bool { return !r.Trainable() && r != ops.Batches })
	ones := make([]float32, p.total)
	for i, s := range p.specs {
		if s.Role == ops.Gamma || s.Role == ops.RunningVar {
			for j := range s.Len() {
				ones[p.tensors[i].at+int64(j)] = 1
			}
		}
	}
	return p, d.do(func() (err error) {
		own := newEstate(d, p)
		get := func(at *cu.DevicePtr, n int64, what string) {
			if err == nil {
				*at, err = own.alloc(n, fmt.Sprintf("%s of %.1f million parameters", what, float64(p.trained)/1e6), "choose a smaller --model")
			}
			if err == nil {
				err = cu.MemsetD8Async(*at, 0, max(n, 1), d.compute)
			}
		}
		get(&p.value, 4*p.total, "the tensors")
		get(&p.grad, 4*p.trained, "gradients")
		get(&p.velocity, 4*p.trained, "velocities")
		p.work = p.value
		if d.o.BF16 {
			get(&p.work, 2*p.trained, "bfloat16 copies")
		}
		get(&p.fresh, int64(d.actSize())*p.weights, "gradients of weights")
		get(&p.squares.sums, 8*squareBlocks, "sums of squares")
		get(&p.squares.ok, 4, "what a step depends on")
		if err == nil {
			p.squares.host, err = own.pin(8 * squareBlocks)
		}
		if err == nil {
			p.squares.arrived, err = own.event()
		}
		if err == nil && p.total > 0 {
			err = p.upload(p.value, ones)
		}
		if err == nil {
			err = p.narrow(0, p.trained)
		}
		return err
	})
}

// actSize is the bytes of an activation.
func (d *Device) actSize() int {
	if d.o.BF16 {
		return 2
	}
	return 4
}

// newTensor lays a tensor out: weights [out][kh·kw][in], out and in padded, a grouped convolution's as a dense one's with
// zeros between the blocks, a first convolution's in blocks of pixels; everything else as it is, padded.
func newTensor(s ops.ParamSpec, g *ops.Graph) tensor {
	n := g.Nodes[s.Node]
	t := tensor{trainable: s.Role.Trainable(), place: func(i int) int { return i }}
	switch {
	case s.Role == ops.Batches:
	case s.Role != ops.Weight:
		t.size = int64(roundUp(s.Len(), 8))
	default:
		out, in, taps, groups := s.Shape[0], s.Shape[1], 1, max(n.Groups, 1)
		if len(s.Shape) == 4 {
			taps = s.Shape[2] * s.Shape[3]
		}
		p := roundUp(in*groups, 8)
		t.size = int64(roundUp(out, 8) * taps * p)
		t.place = func(i int) int {
			o, c, tap := i/(in*taps), i/taps%in, i%taps
			return (o*taps+tap)*p + o/(out/groups)*in + c
		}
		if b, ok := blocksOf(g.Nodes[n.In[0]].Out, n); ok {
			t.size = int64(b.size(roundUp(out, 8)))
			t.place = func(i int) int {
				tap := i % taps
				return b.place(i/(in*taps), i/taps%in, tap/n.Kernel, tap%n.Kernel)
			}
		}
	}
	return t
}

// upload copies floats to the device and waits, until they are there.
func (p *params) upload(dst cu.DevicePtr, src []float32) error { return p.d.put(dst, src) }

// put copies floats to the device and waits, until they are there.
func (d *Device) put(dst cu.DevicePtr, src []float32) error {
	if err := d.compute.Synchronize(); err != nil {
		return err
	}
	if err := cu.MemcpyHtoD(dst, unsafe.Pointer(&src[0]), int64(4*len(src))); err != nil {
		return err
	}
	return cu.Synchronize() // a copy from pageable memory may still be under way
}

// narrow renews the bfloat16 copy of values [from,to).
func (p *params) narrow(from, to int64) error {
	if !p.d.o.BF16 || from == to {
		return nil
	}
	n8 := (to - from) / 8
	return p.d.each("narrow", n8, 1, p.d.args().Ptr(at(p.value, 4*from)).Ptr(at(p.work, 2*from)).Long(n8))
}

func (p *params) Specs() []ops.ParamSpec { return p.specs }

// find returns a tensor's index after checking the length of what is copied.
func (p *params) find(name string, n int) (int, error) {
	i, ok := p.byName[name]
	if !ok {
		return 0, fmt.Errorf("ops: no parameter %q among %d", name, len(p.specs))
	}
	if want := p.specs[i].Len(); n != want {
		return 0, fmt.Errorf("ops: parameter %q has shape %v, %d values: got %d", name, p.specs[i].Shape, want, n)
	}
	return i, nil
}

// read copies one tensor of a buffer out.
func (p *params) read(i int, from cu.DevicePtr, dst []float32) error {
	t := &p.tensors[i]
	raw := make([]float32, t.size)
	err := p.d.do(func() error {
		if err := p.d.compute.Synchronize(); err != nil {
			return err
		}
		return cu.MemcpyDtoH(unsafe.Pointer(&raw[0]), at(from, 4*t.at), 4*t.size)
	})
	for j := range dst {
		dst[j] = raw[t.place(j)]
	}
	return err
}

// write copies one tensor of a buffer in.
func (p *params) write(i int, to cu.DevicePtr, src []float32) error {
	t := &p.tensors[i]
	raw := make([]float32, t.size)
	for j, v := range src {
		raw[t.place(j)] = v
	}
	return p.d.do(func() error {
		if err := p.upload(at(to, 4*t.at), raw); err != nil {
			return err
		}
		if to != p.value || !t.trainable {
			return nil
		}
		return p.narrow(t.at, t.at+t.size)
	})
}

func (p *params) Read(name string, dst []float32) error {
	i, err := p.find(name, len(dst))
	if err != nil {
		return err
	}
	if p.specs[i].Role == ops.Batches {
		dst[0] = p.tensors[i].batches
		return nil
	}
	return p.read(i, p.value, dst)
}

func (p *params) Write(name string, src []float32) error {
	i, err := p.find(name, len(src))
	if err != nil {
		return err
	}
	if p.specs[i].Role == ops.Batches {
		p.tensors[i].batches = src[0]
		return nil
	}
	return p.write(i, p.value, src)
}

func (p *params) ReadGrad(name string, dst []float32) error {
	i, err := p.state(name, len(dst), "gradient")
	if err != nil {
		return err
	}
	if err := p.d.do(p.forget); err != nil {
		return err
	}
	return p.read(i, p.grad, dst)
}

func (p *params) ReadVelocity(name string, dst []float32) error {
	i, err := p.state(name, len(dst), "velocity")
	if err != nil {
		return err
	}
	return p.read(i, p.velocity, dst)
}

func (p *params) WriteVelocity(name string, src []float32) error {
	i, err := p.state(name, len(src), "velocity")
	if err != nil {
		return err
	}
	return p.write(i, p.velocity, src)
}

func (p *params) state(name string, n int, what string) (int, error) {
	i, err := p.find(name, n)
	if err == nil && !p.tensors[i].trainable {
		err = fmt.Errorf("ops: buffer %q has no %s", name, what)
	}
	return i, err
}

// ZeroGrad takes effect before the next use of the gradients.
func (p *params) ZeroGrad() {
	p.d.post(func() error { p.stale, p.squares.current = true, false; return nil })
}

// forget does what ZeroGrad promised.
func (p *params) forget() error {
	if !p.stale {
		return nil
	}
	p.stale = false
	defer p.d.span("zero gradients")()
	return cu.MemsetD8Async(p.grad, 0, max(4*p.trained, 1), p.d.compute)
}

// copied is the bfloat16 copy, null when there is none.
func (p *params) copied() cu.DevicePtr {
	if p.d.o.BF16 {
		return p.work
	}
	return 0
}

func (p *params) SGD(lr, momentum, decay float64) {
	p.d.post(func() error { return p.sgd(lr, momentum, decay, 0) })
}

// sgd steps unless ok, if it is not null, says on the device that gradients are not finite.
func (p *params) sgd(lr, momentum, decay float64, ok cu.DevicePtr) error {
	if err := p.forget(); err != nil {
		return err
	}
	defer p.d.span("sgd")()
	return p.d.each("sgd", p.trained/8, 1, p.d.args().Ptr(p.value).Ptr(p.grad).Ptr(p.velocity).Ptr(p.copied()).Long(p.trained/8).
		Float(float32(lr)).Float(float32(momentum)).Float(float32(decay)).Ptr(ok))
}

var _ ops.Joint = (*params)(nil)

// StepAll implements ops.Joint. The device itself decides about the step, so that it waits for nobody between gradients and the next
// batch: the norms are on their way meanwhile.
func (p *params) StepAll(sets []ops.Params, lr, momentum, decay float64) []float64 {
	norms := make([]float64, len(sets))
	p.d.later(func() error {
		for i, s := range sets {
			q := s.(*params)
			if err := q.squared(); err != nil {
				return err
			}
			if err := p.d.launch("all_finite", driver.Dim{1, 1, 1}, driver.Dim{squareBlocks, 1, 1}, p.d.args().Ptr(q.squares.sums).
				Ptr(p.squares.ok).Int(flag(i == 0))); err != nil {
				return err
			}
		}
		for _, s := range sets {
			if err := s.(*params).sgd(lr, momentum, decay, p.squares.ok); err != nil {
				return err
			}
		}
		for i, s := range sets {
			var err error
			if norms[i], err = s.(*params).norm(); err != nil {
				return err
			}
		}
		return nil
	})
	return norms
}

func (p *params) Average(from ops.Params, keep float64) error {
	q, ok := from.(*params)
	if !ok || len(q.tensors) != len(p.tensors) || q.d != p.d {
		return fmt.Errorf("ops: averaging parameters of different devices or graphs")
	}
	for i, s := range p.specs {
		if q.specs[i].Name != s.Name || q.specs[i].Len() != s.Len() {
			return fmt.Errorf("ops: averaging parameter %q %v with %q %v", s.Name, s.Shape, q.specs[i].Name, q.specs[i].Shape)
		}
	}
	p.d.post(func() error {
		defer p.d.span("average")()
		return p.d.each("average", p.trained/8, 1, p.d.args().Ptr(p.value).Ptr(q.value).Ptr(p.copied()).Long(p.trained/8).
			Float(float32(keep)).Float(float32(1-keep)))
	})
	return nil
}

// squareBlocks is how many partial sums there are.
const squareBlocks = 256

// square puts the sums of squares on the stream, and their way to the host.
func (p *params) square() error {
	if err := p.forget(); err != nil {
		return err
	}
	defer p.d.span("norm of gradients")()
	q := &p.squares
	if err := p.d.launch("square_sums", driver.Dim{squareBlocks, 1, 1}, driver.Dim{256, 1, 1}, p.d.args().Ptr(p.grad).Ptr(q.sums).Long(p.trained)); err != nil {
		return err
	}
	if err := cu.MemcpyDtoHAsync(q.host.p, q.sums, 8*squareBlocks, p.d.compute); err != nil {
		return err
	}
	q.current = true
	return q.arrived.Record(p.d.compute)
}

// squared is square unless the sums are those of the gradients already.
func (p *params) squared() error {
	if p.squares.current {
		return nil
	}
	return p.square()
}

func (p *params) GradNorm() (norm float64) {
	p.d.later(func() (err error) { norm, err = p.norm(); return err })
	return norm
}

// norm waits for the sums of squares.
func (p *params) norm() (float64, error) {
	if err := p.squared(); err != nil {
		return 0, err
	}
	if err := p.squares.arrived.Synchronize(); err != nil {
		return 0, err
	}
	var sum float64
	for _, s := range unsafe.Slice((*float64)(p.squares.host.p), squareBlocks) {
		sum += s
	}
	return math.Sqrt(sum), nil
}
