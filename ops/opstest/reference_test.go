package opstest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contraflow/contraflow/ops"
)

// The reference's gradients agree with central differences of Σ dy·output.
func TestReferenceGradients(t *testing.T) {
	const n, eps = 5, 1e-6
	for name, build := range graphs() {
		g := build()
		o := ops.Options{Batch: n, Train: true, BNGroups: 2}
		r := rand.New(rand.NewPCG(3, uint64(len(name))))
		draw := func(n int, shift float64) []float64 {
			v := make([]float64, n)
			for i := range v {
				v[i] = shift + 0.5*r.NormFloat64()
			}
			return v
		}
		var params [][]float64
		for range g.Params {
			params = append(params, nil)
		}
		for i, s := range g.Params {
			params[i] = draw(s.Len(), map[ops.Role]float64{ops.Gamma: 1, ops.RunningVar: 3}[s.Role])
		}
		x := draw(n*g.Shape(0).Len(), 0.2)
		last := ops.Value(len(g.Nodes) - 1)
		dy := draw(n*g.Shape(last).Len(), 0)
		loss := func() float64 {
			copied := make([][]float64, len(params)) // running statistics change
			for i, p := range params {
				copied[i] = append([]float64(nil), p...)
			}
			var sum float64
			for i, v := range evaluate(g, copied, x, n, o).values[last] {
				sum += v * dy[i]
			}
			return sum
		}
		copied := make([][]float64, len(params))
		for i, p := range params {
			copied[i] = append([]float64(nil), p...)
		}
		values, grads := evaluate(g, copied, x, n, o).backward(last, dy)
		check := func(what string, v []float64, grad []float64) {
			for range 6 {
				i := r.IntN(len(v))
				old := v[i]
				v[i] = old + eps
				up := loss()
				v[i] = old - eps
				down := loss()
				v[i] = old
				if diff := (up - down) / (2 * eps); math.Abs(diff-grad[i]) > 1e-5*(1+math.Abs(grad[i])) {
					t.Errorf("%s: %s[%d]: gradient %.8g, differences %.8g", name, what, i, grad[i], diff)
				}
			}
		}
		check("input", x, values[0])
		for i, s := range g.Params {
			if s.Role.Trainable() {
				check(s.Name, params[i], grads[i])
			}
		}
	}
}
