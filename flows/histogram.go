package flows

import (
	"context"
	"math"

	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// Bins of the colour histogram along L, a and b.
const (
	binsL = 6
	binsA = 8
	binsB = 8
)

// ColourHistograms describes every image of a data set by the square roots of its joint histogram over Lab, 6×8×8 bins: what
// colour alone tells. The cosine of two rows is the Bhattacharyya coefficient of two histograms.
func ColourHistograms(ctx context.Context, decode *stages.Decode) (*FeatureSet, error) {
	lab, err := pixel.LookupSpace("Lab")
	if err != nil {
		return nil, err
	}
	f := &FeatureSet{Dim: binsL * binsA * binsB}
	for i := range decode.Data.Len() {
		c, err := decode.Run(ctx, stages.Plan{Epoch: 1, Index: []int{i}})
		if err != nil {
			return nil, err
		}
		p := &c.Pictures[0]
		row := make([]float32, f.Dim)
		for at := 0; at < len(p.Pix); at += 3 {
			v := lab.Convert(p.Pix[at], p.Pix[at+1], p.Pix[at+2])
			row[(bin(v[0], 0, 100, binsL)*binsA+bin(v[1], -80, 80, binsA))*binsB+bin(v[2], -80, 80, binsB)]++
		}
		for k, v := range row {
			row[k] = float32(math.Sqrt(float64(v) / float64(p.W*p.H)))
		}
		f.Rows = append(f.Rows, row...)
		f.Labels = append(f.Labels, c.Labels...)
		f.Index = append(f.Index, i)
		decode.Recycle(c)
	}
	return f, nil
}

func bin(v, low, high float64, n int) int {
	return min(max(int((v-low)/(high-low)*float64(n)), 0), n-1)
}
