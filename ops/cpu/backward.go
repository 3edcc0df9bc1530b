package cpu

import (
	"errors"
	"fmt"

	"github.com/contraflow/contraflow/ops"
)

// Output is output i of the pass.
func (t *tape) Output(i int) []float32 {
	return t.outs[i][:t.n*t.pr.OutputShape(i).Len()]
}

// Release gives the tape back.
func (t *tape) Release() {
	if t.active {
		t.active = false
		t.pr.free = append(t.pr.free, t)
	}
}

var errReleased = errors.New("ops: backward of a tape that was released: a tape is used once")

// Backward runs the plan in reverse from the given output gradients.
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
	clear(pr.has)
	for i, g := range grads {
		v := pr.Outs[i]
		if g == nil || !pr.Needs[v] {
			continue
		}
		if want := n * pr.OutputShape(i).Len(); len(g) != want {
			return nil, fmt.Errorf("ops: gradient of output %d has %d values, want %d", i, len(g), want)
		}
		run(pr.d, &pr.d.jobs.load, n, load{*pr.grads[v], g, pr.has[v]})
		pr.has[v] = true
	}
	for i := len(pr.steps) - 1; i >= 0; i-- {
		if s := &pr.steps[i]; pr.Needs[s.Out] && pr.has[s.Out] {
			begin := pr.d.clock()
			pr.backward(s, t, n)
			pr.d.tell(begin, s, " backward")
		}
	}
	if !pr.Options.InputGrad || !pr.has[0] {
		return nil, nil
	}
	pr.result = grow32(&pr.result, n*pr.Graph.Nodes[0].Out.Len())
	run(pr.d, &pr.d.jobs.unload, n, unload{pr.result, *pr.grads[0]})
	return pr.result, nil
}

// into is the gradient map of input k of a step, nil when nobody wants it, and whether it already holds a part that must
// be added to. With zero it is cleared when it holds none.
func (pr *program) into(s *step, k, n int, zero bool) (m *image, add bool) {
	v := s.In[k]
	if !pr.Needs[v] {
		return nil, false
	}
	m, add = pr.grads[v], pr.has[v]
	pr.has[v] = true
	if zero && !add {
		run(pr.d, &pr.d.jobs.blank, n, blank{*m})
	}
	return m, add
}

// blank zeroes the pixels of a map.
type blank struct{ m image }

func (j *blank) do(_ *Device, _ *scratch, b int) {
	for h := range j.m.h {
		clear(j.m.row(b, h))
	}
}

// backward runs one step in reverse.
func (pr *program) backward(s *step, t *tape, n int) {
	d, x, y, dy := pr.d, &t.maps[s.In[0]], &t.maps[s.Out], pr.grads[s.Out]
	switch s.Kind {
	case ops.Conv, ops.Linear:
		pr.backwardConv(s, x, dy, n)
	case ops.BatchNorm:
		pr.backwardNorm(s, t, n)
	case ops.ReLU:
		if dx, add := pr.into(s, 0, n, false); dx != nil {
			d.zip(n, dx, y, dy, add, passPositive)
		}
	case ops.Add:
		for k := range s.In {
			if dx, add := pr.into(s, k, n, false); dx != nil {
				d.zip(n, dx, dy, nil, add, pass)
			}
		}
	case ops.MaxPool, ops.AdaptiveMax:
		if dx, add := pr.into(s, 0, n, false); dx != nil {
			rows, cols := s.bins(x)
			run(d, &d.jobs.maxPoolBack, n, maxPoolBack{*dx, *dy, rows, cols, t.wins[s.index], !add})
		}
	case ops.AvgPool, ops.AdaptiveAvg:
		if dx, _ := pr.into(s, 0, n, true); dx != nil {
			rows, cols := s.bins(x)
			run(d, &d.jobs.meanPoolBack, n, meanPoolBack{*dx, *dy, rows, cols})
		}
	case ops.Flatten:
		if dx, _ := pr.into(s, 0, n, true); dx != nil {
			run(d, &d.jobs.load, n, load{*dx, dy.data[:n*dy.c], true})
		}
	case ops.Dropout:
		if dx, add := pr.into(s, 0, n, false); dx != nil {
			run(d, &d.jobs.backDropout, n, backDropout{*dx, *dy, t.masks[s.Out], add, pr.Options.RunningStats})
		}
	case ops.L2Norm:
		if dx, add := pr.into(s, 0, n, false); dx != nil {
			run(d, &d.jobs.backL2, n, backL2{*dx, *x, *y, *dy, add})
		}
	}
}

// backDropout hands gradients on as the mask says, or, with off, all of them.
type backDropout struct {
	dx, dy   image
	mask     []float32
	add, off bool
}

func (j *backDropout) do(_ *Device, _ *scratch, b int) {
	k := j.dx.h * j.dx.w * j.dx.c
	for h := range j.dx.h {
		dst, g, m := j.dx.row(b, h), j.dy.row(b, h), j.mask[b*k+h*j.dx.w*j.dx.c:]
		for i, v := range g {
			if j.off {
				m[i] = 1
			}
			v *= m[i]
			if j.add {
				v += dst[i]
			}
			dst[i] = v
		}
	}
}

// backL2 is (g - u(u·g))/|x| with u = x/|x|; a zero vector has gradient zero.
type backL2 struct {
	dx, x, u, g image
	add         bool
}

func (j *backL2) do(_ *Device, _ *scratch, b int) {
	dx, x, u, g := j.dx.row(b, 0), j.x.row(b, 0), j.u.row(b, 0), j.g.row(b, 0)
	inv := inverseNorm(x)
	var dot float64
	for i, v := range u {
		dot += float64(v) * float64(g[i])
	}
	for i, v := range u {
		r := (g[i] - v*float32(dot)) * inv
		if j.add {
			r += dx[i]
		}
		dx[i] = r
	}
}

func (pr *program) backwardConv(s *step, x, dy *image, n int) {
	if s.Bias >= 0 {
		t := &pr.p.tensors[s.Bias]
		t.settle()
		db := t.grad
		for b := range n {
			for h := range dy.h {
				for i, v := range dy.row(b, h) {
					db[i%dy.c] += v
				}
			}
		}
	}
	pr.backWeights(s, x, dy, n)
	pr.backInput(s, dy, n)
	pr.d.sumUp()
}

// backWeights adds to the gradient of a convolution's weights, which is complete after sumUp.
func (pr *program) backWeights(s *step, x, dy *image, n int) {
	t := &pr.p.tensors[s.Weight]
	dw, fresh := t.grad, t.stale
	switch {
	case s.Kind == ops.Linear:
		pr.d.backWeight(dw, asPixels(x, n), asPixels(dy, n), 1, 1, 1, 0, fresh, false)
	case s.Node.Groups > 1:
		t.settle()
		pr.d.groupedBackWeight(dw, x, dy, n, s.Node)
	case s.wino != nil:
		s.wino.backWeight(pr.d, dw, x, dy, n, fresh)
	default:
		pr.d.backWeight(dw, x, dy, n, s.Node.Kernel, s.Node.Stride, s.Node.Pad, fresh, s.pairs)
	}
	t.stale = false
}

// backInput writes, or adds, the gradient of a convolution's input.
func (pr *program) backInput(s *step, dy *image, n int) {
	if s.Kind == ops.Conv && s.Node.Groups > 1 {
		if dx, _ := pr.into(s, 0, n, true); dx != nil {
			run(pr.d, &pr.d.jobs.groupedBack, n, groupedBack{*dx, *dy, pr.p.tensors[s.Weight].value, s.Node})
		}
		return
	}
	dx, add := pr.into(s, 0, n, false)
	if dx == nil {
		return
	}
	w := pr.p.tensors[s.Weight].value
	if s.Kind == ops.Linear {
		pr.d.linearBack(dx.data, dy.data, w, n, dx.c, dy.c, add)
		return
	}
	dy.clearHalo(n)
	if s.winoBack != nil {
		s.winoBack.convolve(pr.d, turn{w: w, kernel: s.Node.Kernel, taps: s.phases[0].taps}, dy, dx, n, add)
		return
	}
	// The packed weights are used at once and never again before they change: one buffer serves all layers.
	packed := grow32(&pr.d.packedWeights, s.backward+slack)
	pr.d.backData(dx, dy, n, w, packed, s.Node.Kernel, s.phases, s.Node.Stride, add, s.pairs)
}

// backwardNorm gives the norm's input its gradient, and the other summand the gradient of the sum.
func (pr *program) backwardNorm(s *step, t *tape, n int) {
	x, dy, mask := &t.maps[s.In[0]], pr.grads[s.Out], t.relus[s.index]
	var res *image
	var addRes bool
	if len(s.In) > 1 {
		res, addRes = pr.into(s, 1, n, false)
	}
	dx, add := pr.into(s, 0, n, false)
	if dx == nil || add { // a private map: nobody wants it, or it must be added
		o := s.Node.Out
		private := &image{n: n, h: o.H, w: o.W, c: o.C}
		private.data = grow32(&pr.export, private.size())
		pr.d.back(s.norm, private, res, dy, mask, x, n, &t.stats[s.index], addRes)
		if dx != nil {
			pr.d.zip(n, dx, private, nil, true, pass)
		}
		return
	}
	pr.d.back(s.norm, dx, res, dy, mask, x, n, &t.stats[s.index], addRes)
}
