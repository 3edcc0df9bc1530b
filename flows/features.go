package flows

import "math"

// FeatureSet is one row of features an image, with its label and its index in the data set.
type FeatureSet struct {
	Dim    int
	Rows   []float32 // [N,Dim]
	Labels []int     // [N]
	Index  []int     // [N]
}

// Len is the number of rows.
func (f *FeatureSet) Len() int { return len(f.Labels) }

// Row is row i.
func (f *FeatureSet) Row(i int) []float32 { return f.Rows[i*f.Dim:][:f.Dim] }

// unit is a copy with every row scaled to length one; zero rows stay zero.
func (f *FeatureSet) unit() []float32 {
	out := append([]float32(nil), f.Rows...)
	for i := range f.Len() {
		normalise(out[i*f.Dim:][:f.Dim])
	}
	return out
}

func normalise(row []float32) {
	var sum float64
	for _, v := range row {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return
	}
	scale := float32(1 / math.Sqrt(sum))
	for i := range row {
		row[i] *= scale
	}
}
