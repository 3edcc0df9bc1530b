package cpu

import (
	"fmt"
	"math"

	"github.com/contraflow/contraflow/ops"
)

// Forward runs n samples [n,C,H,W].
func (pr *program) Forward(x []float32, n int) (ops.Tape, error) {
	in := pr.Graph.Nodes[0].Out
	if n < 1 || n > pr.Options.Batch || len(x) != n*in.Len() {
		return nil, fmt.Errorf("ops: forward of %d samples with %d values: the program takes 1 to %d samples of %v", n, len(x), pr.Options.Batch, in)
	}
	t := pr.take()
	t.n, t.active = n, true
	pr.calls++
	run(pr.d, &pr.d.jobs.load, n, load{t.maps[0], x, false})
	for i := range pr.steps {
		begin := pr.d.clock()
		pr.forward(&pr.steps[i], t, n)
		pr.d.tell(begin, &pr.steps[i], "")
	}
	for i, v := range pr.Outs {
		run(pr.d, &pr.d.jobs.unload, n, unload{t.outs[i], t.maps[v]})
	}
	return t, nil
}

// load copies [n,C,H,W] into a map, or adds it.
type load struct {
	m   image
	x   []float32
	add bool
}

func (j *load) do(_ *Device, _ *scratch, b int) {
	m := &j.m
	if !j.add {
		one := image{n: 1, h: m.h, w: m.w, c: m.c, halo: m.halo, data: m.data[m.at(b, -m.halo, -m.halo):]}
		one.clearHalo(1)
	}
	for c := range m.c {
		plane := j.x[(b*m.c+c)*m.h*m.w:][:m.h*m.w]
		for h := range m.h {
			row := m.row(b, h)[c:]
			for w, v := range plane[h*m.w:][:m.w] {
				if j.add {
					row[w*m.c] += v
				} else {
					row[w*m.c] = v
				}
			}
		}
	}
}

// unload copies a map to [n,C,H,W].
type unload struct {
	x []float32
	m image
}

func (j *unload) do(_ *Device, _ *scratch, b int) {
	m := &j.m
	for h := range m.h {
		row := m.row(b, h)
		for c := range m.c {
			out := j.x[((b*m.c+c)*m.h+h)*m.w:][:m.w]
			for w := range out {
				out[w] = row[w*m.c+c]
			}
		}
	}
}

// forward runs one step.
func (pr *program) forward(s *step, t *tape, n int) {
	d, x, y := pr.d, &t.maps[s.In[0]], &t.maps[s.Out]
	if !pr.Keeps() {
		y.clearHalo(n) // the buffer may have held a map of another shape
	}
	switch s.Kind {
	case ops.Conv:
		if s.Node.Groups > 1 {
			run(d, &d.jobs.groupedForward, n, groupedForward{*y, *x, pr.p.tensors[s.Weight].value, s.Node})
		} else {
			k, w := s.Node.Kernel, pr.p.tensors[s.Weight].value
			if s.wino != nil {
				s.wino.convolve(d, turn{w: w}, x, y, n, false)
				break
			}
			if s.pairs {
				w = d.roundWeights(w, k*k*x.c, y.c)
			}
			d.convolve(x, y, n, w, window{kh: k, kw: k, s: s.Node.Stride, h0: -s.Node.Pad, w0: -s.Node.Pad, oh: y.h, ow: y.w, ys: 1, pairs: s.pairs})
		}
		pr.addBias(s, y, n)
	case ops.Linear:
		d.linear(y.data, x.data, pr.p.tensors[s.Weight].value, n, x.c, y.c, pr.Options.Direct)
		pr.addBias(s, y, n)
	case ops.BatchNorm:
		st := &t.stats[s.index]
		if s.norm.Batch {
			d.measure(s.norm, x, n, st)
		} else {
			s.norm.running(st)
		}
		var res *image
		if len(s.In) > 1 {
			res = &t.maps[s.In[1]]
		}
		d.normalise(s.norm, y, x, res, t.relus[s.index], n, st)
	case ops.ReLU:
		d.zip(n, y, x, nil, false, positive)
	case ops.Add:
		d.zip(n, y, x, &t.maps[s.In[1]], false, sum)
	case ops.MaxPool, ops.AdaptiveMax:
		rows, cols := s.bins(x)
		var wins []int32
		if pr.Keeps() {
			wins = t.wins[s.index]
		}
		run(d, &d.jobs.maxPool, n, maxPool{*y, *x, rows, cols, wins})
	case ops.AvgPool, ops.AdaptiveAvg:
		rows, cols := s.bins(x)
		run(d, &d.jobs.meanPool, n, meanPool{*y, *x, rows, cols})
	case ops.Flatten:
		for b := range n { // C,H,W order
			out := y.data[b*y.c:]
			for h := range x.h {
				row := x.row(b, h)
				for w := range x.w {
					for c := range x.c {
						out[(c*x.h+h)*x.w+w] = row[w*x.c+c]
					}
				}
			}
		}
	case ops.Dropout:
		pr.dropout(s, t, n)
	case ops.L2Norm:
		d.zip(n, y, x, nil, false, unit)
	default:
		panic("ops: cpu cannot run " + s.Kind.String())
	}
}

// bins are the windows of a pooling step along rows and columns of x.
func (s *step) bins(x *image) (rows, cols bins) {
	n := s.Node
	if n.Kind == ops.AdaptiveMax || n.Kind == ops.AdaptiveAvg {
		return bins{size: x.h, count: n.Bins}, bins{size: x.w, count: n.Bins}
	}
	return bins{x.h, 0, n.Kernel, n.Stride, n.Pad}, bins{x.w, 0, n.Kernel, n.Stride, n.Pad}
}

func (pr *program) addBias(s *step, y *image, n int) {
	if s.Bias < 0 {
		return
	}
	bias := pr.p.tensors[s.Bias].value
	for b := range n {
		for h := range y.h {
			row := y.row(b, h)
			for i := range row {
				row[i] += bias[i%y.c]
			}
		}
	}
}

// asPixels sees n vectors as one row of n pixels.
func asPixels(m *image, n int) *image {
	return &image{n: 1, h: 1, w: n, c: m.c, data: m.data}
}

// zip runs f over the rows of up to three maps of one shape.
type zip struct {
	y, a, b image
	both    bool // there is a b
	add     bool
	f       rowFunc
}

// rowFunc makes, or with add adds to, one row of a map from those of others, b being nil without a third map.
type rowFunc func(dst, a, b []float32, add bool)

func (d *Device) zip(n int, y, a, b *image, add bool, f rowFunc) {
	j := zip{y: *y, a: *a, add: add, f: f}
	if b != nil {
		j.b, j.both = *b, true
	}
	run(d, &d.jobs.zip, n, j)
}

func (j *zip) do(_ *Device, _ *scratch, k int) {
	for h := range j.y.h {
		var side []float32
		if j.both {
			side = j.b.row(k, h)
		}
		j.f(j.y.row(k, h), j.a.row(k, h), side, j.add)
	}
}

func positive(dst, a, _ []float32, _ bool) {
	for i, v := range a {
		dst[i] = max(v, 0)
	}
}

func sum(dst, a, b []float32, _ bool) {
	for i, v := range a {
		dst[i] = v + b[i]
	}
}

func unit(dst, a, _ []float32, _ bool) {
	inv := inverseNorm(a)
	for i, v := range a {
		dst[i] = v * inv
	}
}

// pass hands a row on.
func pass(dst, a, _ []float32, add bool) {
	if !add {
		copy(dst, a)
		return
	}
	for i, v := range a {
		dst[i] += v
	}
}

// passPositive hands a gradient on where the output of a ReLU is positive.
func passPositive(dst, out, g []float32, add bool) {
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
}

// inverseNorm is 1/|a|, and 0 for a zero vector.
func inverseNorm(a []float32) float32 {
	var sum float64
	for _, v := range a {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return 0
	}
	return float32(1 / math.Sqrt(sum))
}

// dropout draws a mask that depends on the seed, the call and the node alone.
func (pr *program) dropout(s *step, t *tape, n int) {
	x, y := &t.maps[s.In[0]], &t.maps[s.Out]
	if !pr.Options.Train || pr.Options.RunningStats {
		pr.d.zip(n, y, x, nil, false, pass)
		return
	}
	keep := 1 - s.Node.Rate
	scale := float32(1 / keep)
	pr.source.Seed(pr.Options.Seed^0xD1B54A32D192ED03, pr.calls<<20|uint64(s.Out))
	mask := t.masks[s.Out]
	at := 0
	for b := range n {
		for h := range y.h {
			dst, src := y.row(b, h), x.row(b, h)
			for i, v := range src {
				m := float32(0)
				if pr.draw.Float64() < keep {
					m = scale
				}
				mask[at] = m
				dst[i] = v * m
				at++
			}
		}
	}
}
