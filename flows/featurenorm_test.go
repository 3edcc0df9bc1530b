package flows

import "testing"

// One row has no variance: a last batch of one leaves the running statistics as they are, and is normalised to zero.
func TestFeatureNormOfOneRow(t *testing.T) {
	b := &FeatureNorm{Groups: 1}
	b.Train([]float32{1, 2, 3, 6, 5, 4}, 2)
	mean, variance := b.Mean[0], b.Var[1]
	one := []float32{7, 8}
	b.Train(one, 2)
	if b.Mean[0] != mean || b.Var[1] != variance {
		t.Errorf("mean %v and variance %v became %v and %v", mean, variance, b.Mean[0], b.Var[1])
	}
	if one[0] != 0 || one[1] != 0 {
		t.Errorf("the row became %v", one)
	}
}
