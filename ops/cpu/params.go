package cpu

import (
	"fmt"
	"math"

	"github.com/contraflow/contraflow/ops"
)

// params are the tensors of a graph. Weights lie as the micro-kernel reads them, so that nothing is packed before a forward
// pass: [panel of OC][K][width of the panel] with K = KH·KW·IC, or in, and zeros beyond the last channel. Those of grouped
// convolutions lie as [K][OC].
type params struct {
	d       *Device
	specs   []ops.ParamSpec
	byName  map[string]int
	tensors []tensorData
	pieces  []piece // of all trainable tensors
	version int     // grows with every change of a weight, so that programs know when to pack again
}

// piece is what one chunk of the optimiser's work covers.
type piece struct{ tensor, from, to int }

type tensorData struct {
	value, grad, velocity []float32
	grouped               bool // a weight without panels
	stale                 bool // grad counts as zero, whatever it holds: the next gradient overwrites it
}

// settle makes a stale gradient zero.
func (t *tensorData) settle() {
	if t.stale {
		clear(t.grad)
		t.stale = false
	}
}

// NewParams makes the tensors of g: γ and running variances one, everything else zero.
func (d *Device) NewParams(g *ops.Graph) (ops.Params, error) {
	if err := g.Err(); err != nil {
		return nil, err
	}
	p := &params{d: d, specs: g.Params, byName: map[string]int{}, tensors: make([]tensorData, len(g.Params)), version: 1}
	sizes, changed := make([]int, len(g.Params)), make([]int, len(g.Params))
	for i, s := range g.Params {
		if _, twice := p.byName[s.Name]; twice {
			return nil, fmt.Errorf("ops: parameter %q is declared twice", s.Name)
		}
		p.byName[s.Name] = i
		sizes[i] = s.Len()
		if s.Role == ops.Weight {
			if p.tensors[i].grouped = g.Nodes[s.Node].Groups > 1; !p.tensors[i].grouped {
				sizes[i] = s.FanIn() * d.isa.padded(s.Shape[0])
			}
		}
		if s.Role.Trainable() {
			changed[i] = sizes[i]
			for at := 0; at < sizes[i]; at += sgdPiece {
				p.pieces = append(p.pieces, piece{i, at, min(sizes[i], at+sgdPiece)})
			}
		}
	}
	// A momentum encoder never touches the memory of its gradients.
	values, grads, velocities := newArena(sizes), newArena(changed), newArena(changed)
	for i, s := range g.Params {
		t := &p.tensors[i]
		t.value = values[i]
		if s.Role == ops.Gamma || s.Role == ops.RunningVar {
			for j := range t.value {
				t.value[j] = 1
			}
		}
		if s.Role.Trainable() {
			t.grad, t.velocity = grads[i], velocities[i]
		}
	}
	return p, nil
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

func (p *params) Read(name string, dst []float32) error {
	i, err := p.find(name, len(dst))
	if err == nil {
		p.export(dst, p.tensors[i].value, i)
	}
	return err
}

func (p *params) Write(name string, src []float32) error {
	i, err := p.find(name, len(src))
	if err == nil {
		p.adopt(p.tensors[i].value, src, i)
		p.version++
	}
	return err
}

func (p *params) ReadGrad(name string, dst []float32) error {
	return p.readState(name, dst, "gradient", func(t *tensorData) []float32 { return t.grad })
}

func (p *params) ReadVelocity(name string, dst []float32) error {
	return p.readState(name, dst, "velocity", func(t *tensorData) []float32 { return t.velocity })
}

func (p *params) readState(name string, dst []float32, what string, of func(*tensorData) []float32) error {
	i, err := p.find(name, len(dst))
	if err != nil {
		return err
	}
	p.tensors[i].settle()
	src := of(&p.tensors[i])
	if src == nil {
		return fmt.Errorf("ops: buffer %q has no %s", name, what)
	}
	p.export(dst, src, i)
	return nil
}

func (p *params) WriteVelocity(name string, src []float32) error {
	i, err := p.find(name, len(src))
	if err != nil {
		return err
	}
	if p.tensors[i].velocity == nil {
		return fmt.Errorf("ops: buffer %q has no velocity", name)
	}
	p.adopt(p.tensors[i].velocity, src, i)
	return nil
}

// export copies tensor i from the device's layout to the reference's.
func (p *params) export(dst, src []float32, i int) {
	if p.specs[i].Role != ops.Weight {
		copy(dst, src)
		return
	}
	p.walk(i, func(reference, step, device, n int) {
		for _, v := range src[device : device+n] {
			dst[reference] = v
			reference += step
		}
	})
}

// adopt is the inverse of export.
func (p *params) adopt(dst, src []float32, i int) {
	if p.specs[i].Role != ops.Weight {
		copy(dst, src)
		return
	}
	p.walk(i, func(reference, step, device, n int) {
		for k := range dst[device : device+n] {
			dst[device+k] = src[reference+k*step]
		}
	})
}

// walk pairs the offsets of the elements of weight i in the two layouts, the reference's being [OC,IC,KH,KW]: n that lie side by
// side on the device and step apart in the reference. It goes through a cache line of channels at a time: as many places of the
// reference, often a power of two apart, are what a first-level cache holds of one set.
func (p *params) walk(i int, f func(reference, step, device, n int)) {
	s, k := p.specs[i], &p.d.isa
	oc, ic, taps := s.Shape[0], s.Shape[1], 1
	if len(s.Shape) == 4 {
		taps = s.Shape[2] * s.Shape[3]
	}
	width := k.nr
	if p.tensors[i].grouped {
		width = oc
	}
	for first := 0; first < oc; first += width {
		pitch := width
		if !p.tensors[i].grouped {
			pitch = k.width(first/k.nr, oc)
		}
		for part := 0; part < width && first+part < oc; part += line {
			for c := range ic {
				for t := range taps {
					f(((first+part)*ic+c)*taps+t, ic*taps, first*taps*ic+(t*ic+c)*pitch+part, min(line, width-part, oc-first-part))
				}
			}
		}
	}
}

func (p *params) ZeroGrad() {
	for i := range p.tensors {
		p.tensors[i].stale = p.tensors[i].grad != nil
	}
}

// sgdPiece is how many values a piece has.
const sgdPiece = 1 << 16

func (p *params) SGD(lr, momentum, decay float64) {
	p.settle()
	run(p.d, &p.d.jobs.sgd, len(p.pieces), sgd{p, float32(lr), float32(momentum), float32(decay)})
	p.version++
}

// sgd is the optimiser's step of a piece.
type sgd struct {
	p                   *params
	lr, momentum, decay float32
}

func (j *sgd) do(d *Device, _ *scratch, k int) {
	c := j.p.pieces[k]
	t := &j.p.tensors[c.tensor]
	d.sgd(t.value[c.from:c.to], t.grad[c.from:c.to], t.velocity[c.from:c.to], j.lr, j.momentum, j.decay)
}

func (p *params) Average(from ops.Params, keep float64) error {
	q, ok := from.(*params)
	if !ok || len(q.tensors) != len(p.tensors) {
		return fmt.Errorf("ops: averaging parameters of different devices or graphs")
	}
	for i, s := range p.specs {
		if q.specs[i].Name != s.Name || q.specs[i].Len() != s.Len() {
			return fmt.Errorf("ops: averaging parameter %q %v with %q %v", s.Name, s.Shape, q.specs[i].Name, q.specs[i].Shape)
		}
	}
	run(p.d, &p.d.jobs.average, len(p.pieces), average{p, q, float32(keep), float32(1 - keep)})
	p.version++
	return nil
}

// average is p = keep·p + take·q of a piece.
type average struct {
	p, q       *params
	keep, take float32
}

func (j *average) do(_ *Device, _ *scratch, k int) {
	c := j.p.pieces[k]
	dst, src := j.p.tensors[c.tensor].value[c.from:c.to], j.q.tensors[c.tensor].value[c.from:c.to]
	for i := range dst {
		dst[i] = j.keep*dst[i] + j.take*src[i]
	}
}

func (p *params) settle() {
	for i := range p.tensors {
		p.tensors[i].settle()
	}
}

func (p *params) GradNorm() float64 {
	p.settle()
	sums := grow64(&p.d.sums, len(p.pieces))
	run(p.d, &p.d.jobs.squares, len(p.pieces), squares{p, sums})
	var sum float64
	for _, v := range sums {
		sum += v
	}
	return math.Sqrt(sum)
}

// squares is the sum of squares of a piece of the gradient.
type squares struct {
	p    *params
	sums []float64
}

func (j *squares) do(_ *Device, _ *scratch, k int) {
	piece := j.p.pieces[k]
	g := j.p.tensors[piece.tensor].grad[piece.from:piece.to]
	var a, b, c, d float64 // four chains: one would wait for itself
	for len(g) >= 4 {
		w, x, y, z := float64(g[0]), float64(g[1]), float64(g[2]), float64(g[3])
		a, b, c, d, g = a+w*w, b+x*x, c+y*y, d+z*z, g[4:]
	}
	for _, v := range g {
		a += float64(v) * float64(v)
	}
	j.sums[k] = (a + b) + (c + d)
}
