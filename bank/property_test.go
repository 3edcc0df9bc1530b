package bank_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/bank"
)

// Whatever comes in, the rows that an update touches have unit length, and no other row changes.
func TestMemoryRowsStayUnit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, d := rapid.IntRange(1, 12).Draw(t, "n"), rapid.IntRange(1, 9).Draw(t, "d")
		m, err := bank.NewMemory(n, d, rapid.Float64Range(0, 1).Draw(t, "momentum"), 3)
		if err != nil {
			t.Fatal(err)
		}
		rows, _ := m.Rows() // only a device fails
		before := slices.Clone(rows)
		ids := rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 6).Draw(t, "ids")
		x := rapid.SliceOfN(rapid.Float32Range(-100, 100), len(ids)*d, len(ids)*d).Draw(t, "x")
		m.Update(ids, x, nil)
		for i := range n {
			row := rows[i*d:][:d]
			if !slices.Contains(ids, i) || slices.Equal(row, before[i*d:][:d]) {
				if !slices.Equal(row, before[i*d:][:d]) {
					t.Fatalf("row %d changed", i)
				}
				continue
			}
			var sum float64
			for _, v := range row {
				sum += float64(v) * float64(v)
			}
			if math.Abs(sum-1) > 1e-5 {
				t.Fatalf("row %d has squared length %v", i, sum)
			}
		}
	})
}

// An update that comes to zero leaves the row, and one that is not present has no say; of two for a row the later one has the last word.
func TestMemoryUpdates(t *testing.T) {
	m, err := bank.NewMemory(4, 2, 0.5, 3)
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := m.Rows() // only a device fails
	copy(rows, []float32{1, 0, 0, 1, 1, 0, 0, 1})
	m.Update([]int{0, 1, 2, 3, 3}, []float32{-1, 0, 1, 0, 0, 3, 4, -1, 0, -2}, []bool{true, false, true, true, true})
	s := float32(math.Sqrt(10))
	// Row 3 is (2,0), thus (1,0), and then (0.5,-1).
	want := []float32{1, 0, 0, 1, 1 / s, 3 / s, 1 / float32(math.Sqrt(5)), -2 / float32(math.Sqrt(5))}
	for i, v := range rows {
		if !(math.Abs(float64(v-want[i])) <= 1e-6) {
			t.Fatalf("the memory is %v, want %v", rows, want)
		}
	}
}

// A queue of K rows holds the last K keys that were pushed, whatever the sizes of the pushes.
func TestQueueKeepsTheLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, 17).Draw(t, "k")
		q, err := bank.NewQueue(k, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		rows, _ := q.Rows() // only a device fails
		history := slices.Clone(rows)
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 40), 1, 8).Draw(t, "pushes") {
			keys := make([]float32, n)
			for i := range keys {
				keys[i] = float32(len(history) + i)
			}
			q.Push(keys)
			history = append(history, keys...)
			oldest := append(slices.Clone(rows[q.Pointer:]), rows[:q.Pointer]...)
			if want := history[len(history)-k:]; !slices.Equal(oldest, want) {
				t.Fatalf("queue from its oldest: %v, want %v", oldest, want)
			}
		}
	})
}

// Negatives are rows of the memory, the first column is the positive, and a step's draws do not depend on other steps.
func TestSamplerDraws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := bank.Sampler{N: rapid.IntRange(1, 1<<20).Draw(t, "n"), Seed: rapid.Uint64().Draw(t, "seed")}
		k, step := rapid.IntRange(1, 20).Draw(t, "k"), rapid.IntRange(0, 1<<30).Draw(t, "step")
		ids := rapid.SliceOfN(rapid.IntRange(0, s.N-1), 1, 5).Draw(t, "ids")
		a, b := make([]int32, len(ids)*(k+1)), make([]int32, len(ids)*(k+1))
		for i := range a {
			a[i] = -1
		}
		s.Draw(a, ids, k, step)
		s.Draw(b, ids, k, step+1)
		s.Draw(b, ids, k, step)
		if !slices.Equal(a, b) {
			t.Fatal("two draws of a step differ")
		}
		for i, v := range a {
			if v < 0 || int(v) >= s.N || (i%(k+1) == 0 && int(v) != ids[i/(k+1)]) {
				t.Fatalf("draw %d is row %d of %d", i, v, s.N)
			}
		}
	})
}
