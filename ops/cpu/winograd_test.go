package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contraflow/contraflow/ops"
)

// Winograd gives what the direct sums give, on every set of kernels, whatever the shape: forward, input and weight gradients,
// overwritten and added to; and for any number of threads the same bits.
func TestWinograd(t *testing.T) {
	for _, k := range available() {
		for _, c := range []struct{ ic, oc, h, w, n int }{{8, 8, 4, 4, 1}, {16, 40, 7, 7, 3}, {32, 32, 14, 14, 2}, {24, 48, 13, 9, 2}, {64, 16, 5, 6, 1}, {8, 72, 3, 3, 2}, {264, 80, 6, 5, 3}, {16, 24, 20, 20, 6}, {168, 160, 12, 12, 13}} {
			if k.name == generic.name {
				c.n = min(c.n, 3) // of 13 pictures the loops in Go take half a minute
			}
			for _, kernel := range []int{3, 5} {
				t.Run(fmt.Sprintf("%s/%d/%+v", k.name, kernel, c), func(t *testing.T) {
					g := ops.NewGraph(ops.Shape{C: c.ic, H: c.h, W: c.w})
					x := g.Input()
					a := g.Conv(x, "a", ops.ConvOptions{Out: c.oc, Kernel: kernel, Pad: kernel / 2})
					b := g.Conv(x, "b", ops.ConvOptions{Out: c.oc, Kernel: kernel, Pad: kernel / 2})
					g.Mark("sum", g.Add(a, b)) // two readers of x: the second gradient is added
					run := func(wino bool, threads int) (out [][]float32) {
						d := newDevice(threads, k)
						defer d.Close()
						p, err := d.NewParams(g)
						if err != nil {
							t.Fatal(err)
						}
						r := rand.New(rand.NewPCG(1, 2))
						random := func(n int) []float32 { return normal(r, n) }
						for _, s := range p.Specs() {
							if err := p.Write(s.Name, random(s.Len())); err != nil {
								t.Fatal(err)
							}
						}
						compiled, err := d.Compile(g, p, ops.Options{Batch: c.n, Train: true, InputGrad: true, Direct: true})
						if err != nil {
							t.Fatal(err)
						}
						pr := compiled.(*program)
						for i := range pr.steps {
							if s := &pr.steps[i]; wino && s.Kind == ops.Conv {
								s.wino = &winograd{algorithm: &wino3, ic: c.ic, oc: c.oc, block: c.n * k.mr}
								if kernel == 5 {
									s.wino.algorithm = &wino5
								}
								s.winoBack = s.wino.back()
							}
						}
						tape, err := pr.Forward(random(c.n*c.ic*c.h*c.w), c.n)
						if err != nil {
							t.Fatal(err)
						}
						out = append(out, append([]float32(nil), tape.Output(0)...))
						p.ZeroGrad()
						dx, err := tape.Backward(random(c.n * c.oc * c.h * c.w))
						if err != nil {
							t.Fatal(err)
						}
						out = append(out, append([]float32(nil), dx...))
						for _, s := range p.Specs() {
							v := make([]float32, s.Len())
							if err := p.ReadGrad(s.Name, v); err != nil {
								t.Fatal(err)
							}
							out = append(out, v)
						}
						return out
					}
					want, got := run(false, 2), run(true, 1)
					for _, threads := range []int{2, 3} { // bit for bit
						for i, v := range run(true, threads) {
							if !slices.Equal(v, got[i]) {
								t.Errorf("%d threads give other values", threads)
							}
						}
					}
					for i, name := range []string{"output", "input gradient", "weight gradient", "weight gradient"} {
						var worst, scale float64
						for j, v := range want[i] {
							worst = max(worst, math.Abs(float64(v-got[i][j])))
							scale = max(scale, math.Abs(float64(v)))
						}
						if !(worst < 1e-4*scale) {
							t.Errorf("%s: off by %.2g of %.3g", name, worst, scale)
						}
					}
				})
			}
		}
	}
}
