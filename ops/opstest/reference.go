package opstest

import (
	"math"

	"github.com/contraflow/contraflow/ops"
)

// reference is one evaluation of a graph in float64.
type reference struct {
	g      *ops.Graph
	o      ops.Options
	n      int
	params [][]float64 // in the order of g.Params; running statistics change in training
	values [][]float64 // [n,C,H,W] of every node
	wins   [][]int     // which input element each output of a max pool took
	stats  [][]moments // of every batch norm, one a sample
}

// moments are the mean and variance that normalised one sample, by channel.
type moments struct{ mean, variance []float64 }

// evaluate runs g forward. Graphs with active dropout have no reference.
func evaluate(g *ops.Graph, params [][]float64, x []float64, n int, o ops.Options) *reference {
	r := &reference{g: g, o: o, n: n, params: params, values: make([][]float64, len(g.Nodes)),
		wins: make([][]int, len(g.Nodes)), stats: make([][]moments, len(g.Nodes))}
	r.values[0] = x
	for i := 1; i < len(g.Nodes); i++ {
		r.values[i] = make([]float64, n*g.Nodes[i].Out.Len())
		r.forward(i)
	}
	return r
}

// param is the k-th tensor of a node.
func (r *reference) param(n *ops.Node, k int) []float64 { return r.params[n.Params[k]] }

func (r *reference) forward(i int) {
	node := &r.g.Nodes[i]
	x, y := r.values[node.In[0]], r.values[i]
	in, out := r.g.Nodes[node.In[0]].Out, node.Out
	switch node.Kind {
	case ops.Conv:
		r.taps(i, func(xi, wi, yi int) { y[yi] += x[xi] * r.param(node, 0)[wi] })
		if node.Bias {
			for k := range y {
				y[k] += r.param(node, 1)[k/(out.H*out.W)%out.C]
			}
		}
	case ops.Linear:
		w := r.param(node, 0)
		for k := range y {
			b, o := k/out.C, k%out.C
			for c := range in.C {
				y[k] += x[b*in.C+c] * w[o*in.C+c]
			}
			if node.Bias {
				y[k] += r.param(node, 1)[o]
			}
		}
	case ops.BatchNorm:
		r.stats[i] = r.measure(i)
		for k, v := range x {
			b, c := k/out.Len(), k/(out.H*out.W)%out.C
			m := r.stats[i][b]
			y[k] = (v - m.mean[c]) / math.Sqrt(m.variance[c]+node.Eps)
			if node.Affine {
				y[k] = y[k]*r.param(node, 0)[c] + r.param(node, 1)[c]
			}
		}
	case ops.ReLU:
		for k, v := range x {
			y[k] = max(v, 0)
		}
	case ops.Add:
		for k, v := range x {
			y[k] = v + r.values[node.In[1]][k]
		}
	case ops.MaxPool, ops.AdaptiveMax:
		r.wins[i] = make([]int, len(y))
		for k := range y {
			y[k] = math.Inf(-1)
		}
		r.windows(i, func(xi, yi, _ int) {
			if x[xi] > y[yi] {
				y[yi], r.wins[i][yi] = x[xi], xi
			}
		})
	case ops.AvgPool, ops.AdaptiveAvg:
		r.windows(i, func(xi, yi, size int) { y[yi] += x[xi] / float64(size) })
	case ops.L2Norm:
		for b := range r.n {
			if size := length(x[b*in.C:][:in.C]); size > 0 {
				for c := range in.C {
					y[b*in.C+c] = x[b*in.C+c] / size
				}
			}
		}
	case ops.Flatten, ops.Dropout:
		copy(y, x)
	}
}

// backward is the gradient of Σ dy·output for the value out: of every node and every tensor.
func (r *reference) backward(out ops.Value, dy []float64) (values, params [][]float64) {
	values, params = make([][]float64, len(r.values)), make([][]float64, len(r.params))
	for i, v := range r.values {
		values[i] = make([]float64, len(v))
	}
	for i, p := range r.params {
		params[i] = make([]float64, len(p))
	}
	copy(values[out], dy)
	for i := int(out); i > 0; i-- {
		r.reverse(i, values, params)
	}
	return values, params
}

func (r *reference) reverse(i int, values, params [][]float64) {
	node := &r.g.Nodes[i]
	x, dx, dy := r.values[node.In[0]], values[node.In[0]], values[i]
	in, out := r.g.Nodes[node.In[0]].Out, node.Out
	switch node.Kind {
	case ops.Conv:
		w, dw := r.param(node, 0), params[node.Params[0]]
		r.taps(i, func(xi, wi, yi int) {
			dx[xi] += dy[yi] * w[wi]
			dw[wi] += dy[yi] * x[xi]
		})
		if node.Bias {
			for k, g := range dy {
				params[node.Params[1]][k/(out.H*out.W)%out.C] += g
			}
		}
	case ops.Linear:
		w, dw := r.param(node, 0), params[node.Params[0]]
		for k, g := range dy {
			b, o := k/out.C, k%out.C
			for c := range in.C {
				dx[b*in.C+c] += g * w[o*in.C+c]
				dw[o*in.C+c] += g * x[b*in.C+c]
			}
			if node.Bias {
				params[node.Params[1]][o] += g
			}
		}
	case ops.BatchNorm:
		r.reverseNorm(i, dx, dy, params)
	case ops.ReLU:
		for k, v := range x {
			if v > 0 {
				dx[k] += dy[k]
			}
		}
	case ops.Add:
		for k, g := range dy {
			dx[k] += g
			values[node.In[1]][k] += g
		}
	case ops.MaxPool, ops.AdaptiveMax:
		for k, g := range dy {
			dx[r.wins[i][k]] += g
		}
	case ops.AvgPool, ops.AdaptiveAvg:
		r.windows(i, func(xi, yi, size int) { dx[xi] += dy[yi] / float64(size) })
	case ops.L2Norm:
		for b := range r.n {
			u, g := r.values[i][b*in.C:][:in.C], dy[b*in.C:][:in.C]
			size := length(x[b*in.C:][:in.C])
			if size == 0 {
				continue
			}
			var dot float64
			for c := range in.C {
				dot += u[c] * g[c]
			}
			for c := range in.C {
				dx[b*in.C+c] += (g[c] - u[c]*dot) / size
			}
		}
	case ops.Flatten, ops.Dropout:
		for k, g := range dy {
			dx[k] += g
		}
	}
}

func length(v []float64) float64 {
	var sum float64
	for _, f := range v {
		sum += f * f
	}
	return math.Sqrt(sum)
}
