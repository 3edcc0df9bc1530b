package report

import (
	"fmt"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// PCA projects rows [n,d] onto their first two principal components. Signs are fixed so that the largest loading of each
// component is positive.
func PCA(rows []float32, d int) ([]Point, error) {
	if d < 2 || len(rows)%d != 0 || len(rows)/d < 2 {
		return nil, fmt.Errorf("report: %d values as rows of %d: want at least two rows and two columns", len(rows), d)
	}
	n := len(rows) / d
	x := mat.NewDense(n, d, nil)
	for i := range n {
		for j := range d {
			x.Set(i, j, float64(rows[i*d+j]))
		}
	}
	var pc stat.PC
	if !pc.PrincipalComponents(x, nil) {
		return nil, fmt.Errorf("report: the principal components of %d rows did not converge", n)
	}
	var vectors mat.Dense
	pc.VectorsTo(&vectors)
	out := make([]Point, n)
	for c := range 2 {
		sign, most := 1.0, 0.0
		for j := range d {
			if v := vectors.At(j, c); v*v > most*most {
				most = v
			}
		}
		if most < 0 {
			sign = -1
		}
		for i := range n {
			var sum float64
			for j := range d {
				sum += x.At(i, j) * vectors.At(j, c)
			}
			if c == 0 {
				out[i].X = sign * sum
			} else {
				out[i].Y = sign * sum
			}
		}
	}
	return out, nil
}
