package opstest

import (
	"math"

	"github.com/contraflow/contraflow/ops"
)

// taps calls f for every product of a convolution, with the offsets of its input, weight and output.
func (r *reference) taps(i int, f func(x, w, y int)) {
	node := &r.g.Nodes[i]
	in, out, k := r.g.Nodes[node.In[0]].Out, node.Out, node.Kernel
	icg, ocg := in.C/node.Groups, out.C/node.Groups
	for yi := range r.n * out.Len() {
		b, o, h, w := yi/out.Len(), yi/(out.H*out.W)%out.C, yi/out.W%out.H, yi%out.W
		for c := range icg {
			for tap := range k * k {
				ih, iw := h*node.Stride-node.Pad+tap/k, w*node.Stride-node.Pad+tap%k
				if ih < 0 || ih >= in.H || iw < 0 || iw >= in.W {
					continue
				}
				f(((b*in.C+o/ocg*icg+c)*in.H+ih)*in.W+iw, (o*icg+c)*k*k+tap, yi)
			}
		}
	}
}

// windows calls f for every input of every output of a pool, with the number of inputs of that output.
func (r *reference) windows(i int, f func(x, y, size int)) {
	node := &r.g.Nodes[i]
	in, out := r.g.Nodes[node.In[0]].Out, node.Out
	span := func(o, size int) (from, to int) {
		if node.Bins > 0 {
			return int(math.Floor(float64(o*size) / float64(node.Bins))), int(math.Ceil(float64((o+1)*size) / float64(node.Bins)))
		}
		return max(0, o*node.Stride-node.Pad), min(size, o*node.Stride-node.Pad+node.Kernel)
	}
	for yi := range r.n * out.Len() {
		plane := yi / (out.H * out.W)
		h0, h1 := span(yi/out.W%out.H, in.H)
		w0, w1 := span(yi%out.W, in.W)
		for h := h0; h < h1; h++ {
			for w := w0; w < w1; w++ {
				f((plane*in.H+h)*in.W+w, yi, (h1-h0)*(w1-w0))
			}
		}
	}
}

// groups cuts n samples into chunks of ceil(n/groups), each with its own statistics.
func (r *reference) groups() [][2]int {
	per := (r.n + max(r.o.BNGroups, 1) - 1) / max(r.o.BNGroups, 1)
	var out [][2]int
	for from := 0; from < r.n; from += per {
		out = append(out, [2]int{from, min(r.n, from+per)})
	}
	return out
}

// frozen reports whether a batch norm uses its running statistics.
func (r *reference) frozen(node *ops.Node) bool {
	return node.Track && (!r.o.Train || r.o.RunningStats)
}

// measure finds the moments of every sample, and in training moves the running ones after those of the first chunk.
func (r *reference) measure(i int) []moments {
	node := &r.g.Nodes[i]
	x, c, area := r.values[node.In[0]], node.Out.C, node.Out.H*node.Out.W
	all := make([]moments, r.n)
	if r.frozen(node) {
		for b := range all {
			all[b] = moments{r.param(node, len(node.Params)-3), r.param(node, len(node.Params)-2)}
		}
		return all
	}
	for k, chunk := range r.groups() {
		m := moments{make([]float64, c), make([]float64, c)}
		count := float64((chunk[1] - chunk[0]) * area)
		for p := range 2 {
			for j := chunk[0] * c * area; j < chunk[1]*c*area; j++ {
				if ch := j / area % c; p == 0 {
					m.mean[ch] += x[j] / count
				} else {
					m.variance[ch] += (x[j] - m.mean[ch]) * (x[j] - m.mean[ch]) / count
				}
			}
		}
		for b := chunk[0]; b < chunk[1]; b++ {
			all[b] = m
		}
		if k > 0 || !node.Track {
			continue
		}
		mean, variance := r.param(node, len(node.Params)-3), r.param(node, len(node.Params)-2)
		for ch := range c {
			mean[ch] += node.Momentum * (m.mean[ch] - mean[ch])
			variance[ch] += node.Momentum * (m.variance[ch]*count/max(count-1, 1) - variance[ch])
		}
		r.param(node, len(node.Params)-1)[0]++
	}
	return all
}

// reverseNorm is the gradient through (x-mean)/sqrt(var+eps), the statistics being functions of x unless frozen.
func (r *reference) reverseNorm(i int, dx, dy []float64, params [][]float64) {
	node := &r.g.Nodes[i]
	x, c, area := r.values[node.In[0]], node.Out.C, node.Out.H*node.Out.W
	for _, chunk := range r.groups() {
		count := float64((chunk[1] - chunk[0]) * area)
		for ch := range c {
			m := r.stats[i][chunk[0]]
			inv := 1 / math.Sqrt(m.variance[ch]+node.Eps)
			gamma := 1.0
			if node.Affine {
				gamma = r.param(node, 0)[ch]
			}
			each := func(f func(k int, unit float64)) {
				for b := chunk[0]; b < chunk[1]; b++ {
					for k := (b*c + ch) * area; k < (b*c+ch+1)*area; k++ {
						f(k, (x[k]-m.mean[ch])*inv)
					}
				}
			}
			var sum, dot float64
			each(func(k int, unit float64) { sum += dy[k]; dot += dy[k] * unit })
			if node.Affine {
				params[node.Params[0]][ch] += dot
				params[node.Params[1]][ch] += sum
			}
			if r.frozen(node) {
				sum, dot = 0, 0
			}
			each(func(k int, unit float64) { dx[k] += gamma * inv * (dy[k] - sum/count - unit*dot/count) })
		}
	}
}
