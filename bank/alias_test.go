package bank_test

import (
	"math"
	"testing"

	"github.com/contraflow/contraflow/bank"
)

// Negatives are drawn as often as the noise weighs their rows; without one, all alike.
func TestDrawsFollowTheNoise(t *testing.T) {
	const k = 100000
	for name, weights := range map[string][]float32{
		"uniform": nil,
		"whole":   {1, 2, 5, 0, 3, 1},
		"sum 1":   {0.1, 0.2, 0.5, 0, 0.125, 0.075},
		"sum 1.5": {0.2, 0.25, 0.6, 0, 0.125, 0.325},
		"one":     {0, 0, 0, 7, 0, 0},
	} {
		s := bank.Sampler{N: 6, Seed: 5}
		share := func(row int) float64 { return 1. / 6 }
		if weights != nil {
			noise, err := bank.NewAlias(weights)
			if err != nil {
				t.Fatal(err)
			}
			s.Noise = noise
			var sum float64
			for _, w := range weights {
				sum += float64(w)
			}
			share = func(row int) float64 { return float64(weights[row]) / sum }
		}
		index := make([]int32, k+1)
		for i := range index {
			index[i] = -1
		}
		s.Draw(index, []int{2}, k, 9)
		var count [6]float64
		for _, row := range index[1:] {
			count[row]++
		}
		for row, n := range count {
			if got, want := n/k, share(row); math.Abs(got-want) > 0.01 || want == 0 && n > 0 {
				t.Errorf("%s: row %d is %.4f of the draws, want %.4f", name, row, got, want)
			}
		}
	}
}

// What no bank, loss or noise can be made of is an error.
func TestSettings(t *testing.T) {
	memory := func(n, d int, momentum float64) error { _, err := bank.NewMemory(n, d, momentum, 1); return err }
	queue := func(k, d int) error { _, err := bank.NewQueue(k, d, 1); return err }
	loss := func(temperature float64, n int) error { _, err := bank.NewLoss(false, temperature, n); return err }
	noise := func(weights ...float32) error { _, err := bank.NewAlias(weights); return err }
	nan := math.NaN()
	for i, err := range []error{memory(1, 1, 0), memory(1, 1, 1), queue(1, 1), loss(0.01, 1), noise(0, 0.5), noise(3)} {
		if err != nil {
			t.Errorf("good setting %d: %v", i, err)
		}
	}
	for i, err := range []error{memory(0, 1, 0), memory(1, 0, 0), memory(1, 1, -0.1), memory(1, 1, 1.1), memory(1, 1, nan), queue(0, 1), queue(1, 0),
		loss(0, 1), loss(-1, 1), loss(nan, 1), loss(math.Inf(1), 1), loss(1, 0), noise(), noise(0, 0), noise(1, -1), noise(float32(nan))} {
		if err == nil {
			t.Errorf("bad setting %d was accepted", i)
		}
	}
}

// New rows are random and have length one on average.
func TestNewRows(t *testing.T) {
	const n, d = 2000, 48
	m, err := bank.NewMemory(n, d, 0.5, 1)
	if err != nil {
		t.Fatal(err)
	}
	q, err := bank.NewQueue(n, d, 2)
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := m.Rows() // only a device fails
	more, _ := q.Rows()
	for _, x := range [][]float32{rows, more} {
		var sum, square, most float64
		for _, v := range x {
			sum, square, most = sum+float64(v), square+float64(v)*float64(v), max(most, math.Abs(float64(v)))
		}
		if math.Abs(square/n-1) > 0.01 || math.Abs(sum/(n*d)) > 0.01 || math.Abs(most-math.Sqrt(3./d)) > 1e-3 {
			t.Errorf("squared length %v, mean %v, largest %v", square/n, sum/(n*d), most)
		}
	}
	if rows[0] == more[0] {
		t.Error("another seed gives the same rows")
	}
}
