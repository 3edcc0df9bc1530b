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
	if !pr.keeps() {
		return nil, errors.New("ops: backward of a program compiled for evaluation: compile it with Train and without NoGrad")
	}
	if len(grads) != len(pr.outs) {
		return nil, fmt.Errorf("ops: %d output gradients for %d outputs", len(grads), len(pr.outs))
	}
	clear(pr.has)
	for i, g := range grads {
		v := pr.outs[i]
		if g == nil || !pr.needs[v] {
			continue
		}
		if want := n * pr.OutputShape(i).Len(); len(g) != want {
			return nil, fmt.Errorf("ops: gradient of output %d has %d values, want %d", i, len(g), want)
		}
		pr.load(pr.grads[v], g, n, pr.has[v])
		pr.has[v] = true
	}
	for i := len(pr.steps) - 1; i >= 0; i-- {
		if s := &pr.steps[i]; pr.needs[s.out] && pr.has[s.out] {
			begin := pr.d.clock()
			pr.backward(s, t, n)
			pr.d.tell(begin, s, " backward")
		}
	}
	if !pr.o.InputGrad || !pr.has[0] {
		return nil, nil
	}
	pr.result = grow32(&pr.result, n*pr.graph.Nodes[0].Out.Len())
	pr.unload(pr.result, pr.grads[0], n)
	return pr.result, nil
}

// into is the gradient map of input k of a step, nil when nobody wants it, and whether it already holds a part that must
// be added to. With zero it is cleared when it holds none.
func (pr *program) into(s *step, k, n int, zero bool) (m *image, add bool) {
	v := s.in[k]
	if !pr.needs[v] {
		return nil, false
	}
	m, add = pr.grads[v], pr.has[v]
	pr.has[v] = true
	if zero && !add {
		for b := range n {
			for h := range m.h {
				clear(m.row(b, h))
			}
		}
	}
	return m, add
}

// backward runs one step in reverse.
func (pr *program) backward(s *step, t *tape, n int) {
	d, x, y, dy := pr.d, &t.maps[s.in[0]], &t.maps[s.out], pr.grads[s.out]
	switch s.kind {
	case ops.Conv, ops.Linear:
		pr.backwardConv(s, x, dy, n)
	case ops.BatchNorm:
		pr.backwardNorm(s, t, n)
	case ops.ReLU:
		if dx, add := pr.into(s, 0, n, false); dx != nil {
			zip(d, n, dx, y, dy, func(dst, out, g []float32) {
				for i, v := range out {
					grad := float32(0)
					if v > 0 {
						grad = g[i]
					}
					if add {
						grad += dst[i]
					}
					dst[i] = grad
				}
			})
		}
	case ops.Add:
		for k := range s.in {
			if dx, add := pr.into(s, k, n, false); dx != nil {
				zip(d, n, dx, dy, nil, func(dst, g, _ []float32) {
					for i, v := range g {
						if add {
							v += dst[i]
						}
						dst[i] = v
					}
				})
			}
		}
	case ops.MaxPool, ops.AdaptiveMax:
		if dx, _ := pr.into(s, 0, n, true); dx != nil {
			d.maxPoolBack(dx, dy, n, t.wins[s.index])
		}
	case ops.AvgPool, ops.AdaptiveAvg:
		if dx, _ := pr.into(s, 0, n, true); dx != nil {
			rows, cols := s.bins(x)
			d.meanPoolBack(dx, dy, n, rows, cols)
		}
	case ops.Flatten:
		if dx, _ := pr.into(s, 0, n, true); dx != nil {
			pr.load(dx, dy.data[:n*dy.c], n, true)
		}
	case ops.Dropout:
		if dx, add := pr.into(s, 0, n, false); dx != nil {
			mask := t.masks[s.out]
			k := dx.h * dx.w * dx.c
			d.pool.run(n, func(_, b int) {
				for h := range dx.h {
					dst, g, m := dx.row(b, h), dy.row(b, h), mask[b*k+h*dx.w*dx.c:]
					for i, v := range g {
						if pr.o.RunningStats {
							m[i] = 1
						}
						v *= m[i]
						if add {
							v += dst[i]
						}
						dst[i] = v
					}
				}
			})
		}
	case ops.L2Norm:
		if dx, add := pr.into(s, 0, n, false); dx != nil {
			d.pool.run(n, func(_, b int) {
				backL2(dx.row(b, 0), x.row(b, 0), y.row(b, 0), dy.row(b, 0), add)
			})
		}
	}
}

// backL2 is (g - u(u·g))/|x| with u = x/|x|; a zero vector has gradient zero.
func backL2(dx, x, u, g []float32, add bool) {
	inv := inverseNorm(x)
	var dot float64
	for i, v := range u {
		dot += float64(v) * float64(g[i])
	}
	for i, v := range u {
		r := (g[i] - v*float32(dot)) * inv
		if add {
			r += dx[i]
		}
		dx[i] = r
	}
}

func (pr *program) backwardConv(s *step, x, dy *image, n int) {
	if s.bias >= 0 {
		t := &pr.p.tensors[s.bias]
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
}

// backWeights adds to the gradient of a convolution's weights.
func (pr *program) backWeights(s *step, x, dy *image, n int) {
	t := &pr.p.tensors[s.weight]
	dw, fresh := t.grad, t.stale
	switch {
	case s.kind == ops.Linear:
		pr.d.backWeight(dw, asPixels(x, n), asPixels(dy, n), 1, 1, 1, 0, fresh)
	case s.node.Groups > 1:
		t.settle()
		pr.d.groupedBackWeight(dw, x, dy, n, s.node)
	case s.wino != nil:
		s.wino.backWeight(pr.d, dw, x, dy, n, fresh)
	default:
		pr.d.backWeight(dw, x, dy, n, s.node.Kernel, s.node.Stride, s.node.Pad, fresh)
	}
	t.stale = false
}

// backInput writes, or adds, the gradient of a convolution's input.
func (pr *program) backInput(s *step, dy *image, n int) {
	if s.kind == ops.Conv && s.node.Groups > 1 {
		if dx, _ := pr.into(s, 0, n, true); dx != nil {
			pr.d.groupedBackData(dx, dy, n, pr.p.tensors[s.weight].value, s.node)
		}
		return
	}
	dx, add := pr.into(s, 0, n, false)
	if dx == nil {
		return
	}
	w := pr.p.tensors[s.weight].value
	if s.kind == ops.Linear {
		pr.d.linearBack(dx.data, dy.data, w, n, dx.c, dy.c, add)
		return
	}
	// The packed weights are used at once and never again before they change: one buffer serves all layers.
	packed := grow32(&pr.d.packedWeights, s.backward+slack)
	for _, p := range s.phases {
		if len(p.taps) > 0 {
			pr.d.packBackward(packed[p.at:], w, p.taps, s.node.Kernel, dx.c, dy.c)
		}
	}
	dy.clearHalo(n)
	if s.winoBack != nil {
		s.winoBack.convolve(pr.d, packed, dy, dx, n, add)
		return
	}
	pr.d.backData(dx, dy, n, packed, s.phases, s.node.Stride, add)
}

// backwardNorm gives the norm's input its gradient, and the other summand the gradient of the sum.
func (pr *program) backwardNorm(s *step, t *tape, n int) {
	x, dy, mask := &t.maps[s.in[0]], pr.grads[s.out], t.relus[s.index]
	var res *image
	var addRes bool
	if len(s.in) > 1 {
		res, addRes = pr.into(s, 1, n, false)
	}
	dx, add := pr.into(s, 0, n, false)
	if dx == nil || add { // a private map: nobody wants it, or it must be added
		o := s.node.Out
		private := &image{n: n, h: o.H, w: o.W, c: o.C}
		private.data = grow32(&pr.export, private.size())
		pr.d.back(s.norm, private, res, dy, mask, x, n, &t.stats[s.index], addRes)
		if dx != nil {
			zip(pr.d, n, dx, private, nil, func(dst, g, _ []float32) {
				for i, v := range g {
					dst[i] += v
				}
			})
		}
		return
	}
	pr.d.back(s.norm, dx, res, dy, mask, x, n, &t.stats[s.index], addRes)
}
