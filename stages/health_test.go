package stages_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contraflow/contraflow/stages"
)

func gaussian(n, d, used int) []float32 {
	r := rand.New(rand.NewPCG(3, 4))
	x := make([]float32, n*d)
	for i := range n {
		for j := range used {
			x[i*d+j] = float32(r.NormFloat64())
		}
	}
	return x
}

// Spread is 1 for rows all over the sphere and 0 for equal ones, whatever their length; rank counts the dimensions in use.
func TestHealth(t *testing.T) {
	near := func(what string, got, want, tolerance float64) {
		t.Helper()
		if !(math.Abs(got-want) <= tolerance) {
			t.Errorf("%s: %v, want %v ± %v", what, got, want, tolerance)
		}
	}
	const n, d = 4000, 16
	near("spread of a sphere", stages.Spread(gaussian(n, d, d), n, d), 1, 0.01)
	near("rank of a sphere", stages.Rank(gaussian(n, d, d), n, d), d, 0.1)
	near("rank of a plane", stages.Rank(gaussian(n, d, 2), n, d), 2, 0.01)
	near("spread of a plane", stages.Spread(gaussian(n, d, 2), n, d), math.Sqrt(2)*math.Sqrt(float64(d))/d, 0.01) // two dimensions of deviation √½
	same := make([]float32, 0, n*d)
	for i := range n {
		for j := range d {
			same = append(same, float32(1+i)*float32(1+j))
		}
	}
	near("spread of one direction", stages.Spread(same, n, d), 0, 1e-3)
	near("rank of one direction", stages.Rank(same, n, d), 0, 0)
	near("rank of few rows", stages.Rank(gaussian(3, d, d), 3, d), 2, 0.5)
	unit := []float32{1, 0, 0, 1}
	near("rank of two rows", stages.Rank(unit, 2, 2), 1, 1e-9)
	near("spread of two rows", stages.Spread(unit, 2, 2), 0.5*math.Sqrt2, 1e-9)
	near("rank of zeros", stages.Rank(make([]float32, 8), 2, 4), 0, 0)
	near("spread of zeros", stages.Spread(make([]float32, 8), 2, 4), 0, 0)
}

// nowhere takes gradients.
type nowhere struct{}

func (nowhere) Send(context.Context, *stages.Gradients) error { return nil }

// A batch of one image, as an epoch may end with, is no collapse.
func TestHealthOfOne(t *testing.T) {
	h := stages.NewHealth([]string{"l"}, 1)
	u := &stages.Update{LR: func(stages.Plan) float64 { return 0 }, Health: h, Gradients: nowhere{}}
	for n, want := range map[int]int{1: 0, 2: 2} {
		f := &stages.Features{Batch: &stages.Batch{Plan: stages.Plan{Index: make([]int, n)}}, Out: [][]float32{gaussian(n, 4, 4)}}
		r, err := u.Run(context.Background(), &stages.Scores{Features: f})
		if err != nil {
			t.Fatal(err)
		}
		if r, err = h.Run(context.Background(), r); err != nil || len(r.Health) != want {
			t.Errorf("a batch of %d: %v, %v, want %d values", n, r.Health, err, want)
		}
	}
}

func BenchmarkHealth(b *testing.B) {
	x := gaussian(128, 128, 128)
	b.Run("spread", func(b *testing.B) {
		for b.Loop() {
			stages.Spread(x, 128, 128)
		}
	})
	b.Run("rank", func(b *testing.B) {
		for b.Loop() {
			stages.Rank(x, 128, 128)
		}
	})
}
