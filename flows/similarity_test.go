package flows

import (
	"math"
	"testing"

	"github.com/contraflow/contraflow/stages"
)

func sum(bins []int) (n int) {
	for _, b := range bins {
		n += b
	}
	return n
}

// The ends of the range have bins; what is NaN, a drawn positive and a sample that lacks a view do not count.
func TestSimilarityBins(t *testing.T) {
	h := newSimilarities(stages.Plan{Step: 7, Epoch: 2})
	rows := []float32{1, 0, -1, 0, float32(math.NaN()), 0, 0.5, 0.5}
	h.memory([]float32{1, 0, 1, 0, 1, 0}, rows, []int32{
		0, 1, 0, 3, // 1; -1, the positive again, 0.5
		3, 2, 2, 1, // 0.5; NaN, NaN, -1
		0, 0, 0, 0,
	}, 3, []bool{true, true, false})
	h.finish()
	want := map[int]int{0: 2, simBins * 3 / 4: 1}
	for bin, n := range h.Negative {
		if n != want[bin] {
			t.Errorf("%d negatives in bin %d, want %d", n, bin, want[bin])
		}
	}
	if sum(h.Positive) != 2 || h.Positive[simBins-1] != 1 || h.Positive[simBins*3/4] != 1 || h.PosMean != 0.75 || h.NegMean != -0.5 || h.Step != 7 || h.Epoch != 2 {
		t.Errorf("%+v", h)
	}
}

// Queries are compared with the other view's memory in either direction, with a few negatives each; of a queue those are spread over it.
func TestSimilaritiesOfBanks(t *testing.T) {
	const n, d, batch = 50, 8, 4
	o := Defaults("cmc")
	o.Loss.K = 40
	c, err := NewCMC(o, []string{"l", "ab"}, n, d)
	if err != nil {
		t.Fatal(err)
	}
	b := &stages.Batch{Plan: stages.Plan{Index: []int{3, 1, 4, 2}}, Present: [][]bool{nil, {true, true, false, true}}}
	f := &stages.Features{Batch: b, Out: [][]float32{make([]float32, batch*d), make([]float32, batch*d)}}
	for v := range 2 { // queries are what the other view's memory holds
		rows, err := c.Memories[1-v].Rows()
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range b.Index {
			copy(f.Out[v][i*d:][:d], rows[id*d:][:d])
		}
	}
	s := &stages.Scores{Features: f}
	length := 0.0
	for _, i := range []int{0, 1, 3} {
		for v := range 2 {
			length += dot(f.Out[v][i*d:][:d], f.Out[v][i*d:][:d]) / 6
		}
	}
	h, err := similaritiesOf(c, s)
	if err != nil {
		t.Fatal(err)
	}
	if neg := sum(h.Negative); sum(h.Positive) != 6 || math.Abs(h.PosMean-length) > 1e-6 || neg > 6*simNegatives || neg < 5*simNegatives {
		t.Errorf("cmc: %d positives of mean %v, want 6 of %v; %d negatives of at most %d", sum(h.Positive), h.PosMean, length, neg, 6*simNegatives)
	}
	for k, want := range map[int]int{10: 10, 64: simNegatives, 3200: simNegatives} {
		o := Defaults("moco")
		o.Loss.K = k
		m, err := NewMoCo(o, n, d)
		if err != nil {
			t.Fatal(err)
		}
		h, err := similaritiesOf(m, s)
		if err != nil {
			t.Fatal(err)
		}
		if sum(h.Positive) != batch || sum(h.Negative) != batch*want {
			t.Errorf("a queue of %d: %d positives and %d negatives, want %d and %d", k, sum(h.Positive), sum(h.Negative), batch, batch*want)
		}
	}
}
