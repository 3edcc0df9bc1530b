package flows

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contraflow/contraflow/stages"
)

// Directions that begin as soon as their query is there, and gradients that are told before the last direction is known, are those of
// a step that waits for everything: to the bit, over steps, one of them begun and never scored.
func TestCMCEarly(t *testing.T) {
	const rows, n, d, k = 30, 4, 8, 6
	for _, names := range [][]string{{"l", "ab"}, {"l", "ab", "depth", "normals"}} {
		for _, softmax := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d views, softmax %v", len(names), softmax), func(t *testing.T) {
				o := Defaults("cmc")
				o.Loss.Graph, o.Loss.Softmax, o.Loss.K = "full", softmax, k
				var objectives [2]*CMC
				for i := range objectives {
					c, err := NewCMC(o, names, rows, d)
					if err != nil {
						t.Fatal(err)
					}
					objectives[i] = c
				}
				plain, early := objectives[0], objectives[1]
				r := rand.New(rand.NewPCG(5, 6))
				features := func(step int) *stages.Features {
					f := &stages.Features{Batch: &stages.Batch{Plan: stages.Plan{Step: step, Index: r.Perm(rows)[:n]}}}
					for range names {
						x := make([]float32, n*d)
						for i := range x {
							x[i] = float32(r.NormFloat64() / math.Sqrt(d))
						}
						f.Out = append(f.Out, x)
					}
					return f
				}
				arrive := func(f *stages.Features) {
					all := f.Out
					for pass := range len(names) - 1 {
						f.Out = make([][]float32, len(names))
						copy(f.Out, all[:pass+1]) // later ones are not there yet
						early.arrived(f, pass)
					}
					f.Out = all
				}
				for step := range 4 {
					if step == 2 {
						arrive(features(step)) // and then it is left out
					}
					f := features(step)
					a, b := &stages.Scores{Features: f}, &stages.Scores{Features: f}
					if err := plain.Score(a); err != nil {
						t.Fatal(err)
					}
					told := map[int][]float32{}
					early.ready = func(pass int, g []float32) error {
						if told[pass] != nil {
							t.Errorf("step %d: gradient %d is told twice", step, pass)
						}
						told[pass] = slices.Clone(g)
						return nil
					}
					arrive(f)
					if began := slices.Contains(early.begun, true); began != (softmax || step > 0) { // the first step finds Z
						t.Errorf("step %d: directions began early: %v", step, began)
					}
					if err := early.Score(b); err != nil {
						t.Fatal(err)
					}
					if a.Loss != b.Loss || !slices.Equal(a.Values, b.Values) {
						t.Errorf("step %d: loss %v, want %v", step, b.Loss, a.Loss)
					}
					if len(told) != len(names)-1 {
						t.Errorf("step %d: %d gradients are told early", step, len(told))
					}
					for v := range names {
						if !slices.Equal(a.D[v], b.D[v]) || (told[v] != nil && !slices.Equal(told[v], a.D[v])) {
							t.Errorf("step %d: gradient %d differs", step, v)
						}
						want, _ := plain.Memories[v].Rows() // only a device fails
						if got, _ := early.Memories[v].Rows(); !slices.Equal(got, want) {
							t.Errorf("step %d: memory %d differs", step, v)
						}
					}
				}
			})
		}
	}
}
