package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contraflow/contraflow/ops"
)

// Every way to compute a convolution and its gradients gives what the definition gives, and the same bits for any number of threads:
// few and many channels and pixels, sums that are cut, pixels in one set of the cache, and rows of the window in the halo.
func TestConvolutions(t *testing.T) {
	for _, c := range []convolution{
		{8, 20, 9, 11, 3, 1, 1}, {3, 24, 19, 19, 7, 2, 3}, {1024, 136, 6, 7, 1, 1, 0}, {136, 1056, 3, 5, 1, 1, 0}, {1024, 72, 7, 7, 1, 2, 0}, {512, 136, 7, 9, 1, 2, 0},
		{264, 136, 6, 7, 3, 1, 1}, {72, 264, 7, 8, 3, 2, 1}, {16, 136, 30, 19, 3, 1, 1}, {24, 168, 33, 40, 1, 1, 0}, {16, 144, 1, 1, 3, 1, 1}, {8, 20, 9, 11, 3, 1, 0},
		{2048, 136, 5, 4, 1, 1, 0}, {136, 1024, 3, 5, 1, 1, 0},
		{1024, 136, 7, 9, 1, 1, 0}, // blocks of weights for parts of a larger map
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) { c.compare(t, c.graph()) })
	}
	c := convolution{24, 20, 9, 11, 1, 1, 0}
	t.Run("where another needs a halo", func(t *testing.T) {
		c.compare(t, c.beside(3))
	})
}

const convSamples = 3

type convolution struct{ ic, oc, h, w, kernel, stride, pad int }

// graph is the convolution alone.
func (c convolution) graph() *ops.Graph {
	g := ops.NewGraph(ops.Shape{C: c.ic, H: c.h, W: c.w})
	g.Conv(g.Input(), "conv", ops.ConvOptions{Out: c.oc, Kernel: c.kernel, Stride: c.stride, Pad: c.pad})
	return g
}

// beside is the convolution, added to another of the input whose weights are zero and whose gradient comes last.
func (c convolution) beside(kernel int) *ops.Graph {
	g := ops.NewGraph(ops.Shape{C: c.ic, H: c.h, W: c.w})
	other := g.Conv(g.Input(), "other", ops.ConvOptions{Out: c.oc, Kernel: kernel, Stride: c.stride, Pad: kernel / 2})
	g.Add(other, g.Conv(g.Input(), "conv", ops.ConvOptions{Out: c.oc, Kernel: c.kernel, Stride: c.stride, Pad: c.pad}))
	return g
}

// normal is n normal numbers.
func normal(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// compare computes a graph in which only the convolution counts on every processor, and compares with the definition.
func (c convolution) compare(t *testing.T, g *ops.Graph) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []float32 { return normal(r, n) }
	x, dy, w := random(convSamples*g.Nodes[0].Out.Len()), random(convSamples*g.Nodes[1].Out.Len()), random(g.Params[len(g.Params)-1].Len())
	want := c.define(g.Nodes[1].Out, x, dy, w)
	for _, k := range available() {
		same(t, g, k, false, want, x, dy, w)
		if k.mr > oneSet { // and as with the other kind of cache
			k.ways = oneSetWays + 8 - k.ways
			same(t, g, k, false, want, x, dy, w)
		}
	}
}

// same compares what kernels compute with the definition, and three threads with one.
func same(t *testing.T, g *ops.Graph, k isa, pairs bool, want [3][]float64, x, dy, w []float32) {
	t.Helper()
	one := computed(t, g, k, pairs, 1, x, dy, w)
	for i, name := range []string{"output", "input gradient", "weight gradient"} {
		var worst, scale float64
		for j, v := range want[i] {
			worst, scale = max(worst, math.Abs(v-float64(one[i][j]))), max(scale, math.Abs(v))
		}
		if !(worst < 2e-6*scale) {
			t.Errorf("%s, %s: off by %.2g of %.3g", k.name, name, worst, scale)
		}
	}
	for i, values := range computed(t, g, k, pairs, 3, x, dy, w) {
		for j, v := range values {
			if v != one[i][j] {
				t.Fatalf("%s: value %d of result %d is %v on three threads and %v on one", k.name, j, i, v, one[i][j])
			}
		}
	}
}

// define is output, input gradient and twice the weight gradient, by the definition.
func (c convolution) define(out ops.Shape, x, dy, w []float32) [3][]float64 {
	r := [3][]float64{make([]float64, len(dy)), make([]float64, len(x)), make([]float64, len(w))}
	node := ops.Node{Kernel: c.kernel, Stride: c.stride, Pad: c.pad}
	window := c.kernel * c.kernel
	for b := range convSamples { // images of one channel: at is the pixel
		taps(&image{h: out.H, w: out.W, c: 1}, &image{h: c.h, w: c.w, c: 1}, 0, node, func(o, i, tap int) {
			for oc := range c.oc {
				at := (b*c.oc+oc)*out.H*out.W + o
				for ic := range c.ic {
					from, k := (b*c.ic+ic)*c.h*c.w+i, (oc*c.ic+ic)*window+tap
					r[0][at] += float64(x[from]) * float64(w[k])
					r[1][from] += float64(dy[at]) * float64(w[k])
					r[2][k] += 2 * float64(x[from]) * float64(dy[at])
				}
			}
		})
	}
	return r
}

// computed is the same of two passes, whose weight gradients add up.
func computed(t *testing.T, g *ops.Graph, k isa, pairs bool, threads int, x, dy, w []float32) (r [3][]float32) {
	t.Helper()
	d := newDevice(threads, k)
	defer d.Close()
	d.pairs = pairs
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	last := g.Params[len(g.Params)-1].Name
	if err := p.Write(last, w); err != nil {
		t.Fatal(err)
	}
	n := len(x) / g.Nodes[0].Out.Len()
	pr, err := d.Compile(g, p, ops.Options{Batch: n, Train: true, InputGrad: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		spoil(d)
		tape, err := pr.Forward(x, n)
		if err != nil {
			t.Fatal(err)
		}
		r[0] = append(r[0][:0], tape.Output(0)...)
		dx, err := tape.Backward(dy)
		if err != nil {
			t.Fatal(err)
		}
		r[1] = append(r[1][:0], dx...)
	}
	r[2] = make([]float32, len(w))
	if err := p.ReadGrad(last, r[2]); err != nil {
		t.Fatal(err)
	}
	return r
}

// spoil leaves no numbers in what a device keeps from one pass to the next: whoever reads there what it did not write shows.
func spoil(d *Device) {
	kept := []*[]float32{&d.packed, &d.parts, &d.packedWeights}
	for i := range d.scratch {
		b := d.scratch[i].buffers()
		kept = append(kept, b[:]...)
	}
	for _, v := range kept {
		for i := range *v {
			(*v)[i] = float32(math.NaN())
		}
	}
}
