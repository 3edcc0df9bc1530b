package bank

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestExp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	xs := []float64{0, math.Copysign(0, -1), 1, -1, 699.9, -699.9, 700, 710, -745, -800, math.Inf(1), math.Inf(-1)}
	for range 100000 {
		xs = append(xs, (r.Float64()*2-1)*40, (r.Float64()*2-1)*700)
	}
	for _, x := range xs {
		got, want := exp(x), math.Exp(x)
		if got != want && !(math.Abs(got-want) <= 1e-13*want) {
			t.Fatalf("exp(%v) = %v, want %v", x, got, want)
		}
	}
	if v := exp(math.NaN()); v == v {
		t.Fatal("exp(NaN) is", v)
	}
}
