package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contraflow/contraflow/ops"
)

// A linear layer and its gradients are what the definition gives, and the same bits for any number of threads: few samples and more
// than a panel holds, sizes that fill panels and that do not.
func TestLinearLayers(t *testing.T) {
	for _, c := range []struct{ n, in, out int }{{1, 5, 3}, {3, 64, 32}, {37, 40, 70}, {75, 300, 33}, {64, 33, 129}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			random := func(n int) []float32 { return normal(r, n) }
			g := ops.NewGraph(ops.Shape{C: c.in, H: 1, W: 1})
			g.Linear(g.Input(), "fc", c.out, false)
			x, dy, w := random(c.n*c.in), random(c.n*c.out), random(c.out*c.in)
			want := [3][]float64{make([]float64, c.n*c.out), make([]float64, c.n*c.in), make([]float64, c.out*c.in)}
			for b := range c.n {
				for o := range c.out {
					for i := range c.in {
						want[0][b*c.out+o] += float64(x[b*c.in+i]) * float64(w[o*c.in+i])
						want[1][b*c.in+i] += float64(dy[b*c.out+o]) * float64(w[o*c.in+i])
						want[2][o*c.in+i] += 2 * float64(dy[b*c.out+o]) * float64(x[b*c.in+i]) // two passes
					}
				}
			}
			for _, k := range available() {
				one, three := computed(t, g, k, false, 1, x, dy, w), computed(t, g, k, false, 3, x, dy, w)
				for i, name := range []string{"output", "input gradient", "weight gradient"} {
					for j, v := range want[i] {
						if got := float64(one[i][j]); !(math.Abs(got-v) <= 2e-5+2e-6*math.Abs(v)) {
							t.Fatalf("%s, %s: value %d is %v, want %v", k.name, name, j, got, v)
						}
						if one[i][j] != three[i][j] {
							t.Fatalf("%s, %s: value %d is %v on three threads and %v on one", k.name, name, j, three[i][j], one[i][j])
						}
					}
				}
			}
		})
	}
}
