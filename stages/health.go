package stages

import (
	"context"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Spread is how far n rows of d values are from being all alike: the mean over dimensions of the standard deviation of the
// rows scaled to length one, times √d. It is about 1 for rows spread evenly over the sphere and 0 for a collapsed encoder
// (Chen and He, arXiv:2011.10566, figure 2).
func Spread(rows []float32, n, d int) float64 {
	if n < 1 || d < 1 {
		return 0
	}
	scale := make([]float64, n)
	for i := range scale {
		var sum float64
		for _, v := range rows[i*d:][:d] {
			sum += float64(v) * float64(v)
		}
		if sum > 0 {
			scale[i] = 1 / math.Sqrt(sum)
		}
	}
	mean, square := make([]float64, d), make([]float64, d)
	for i, s := range scale {
		for j, v := range rows[i*d:][:d] {
			x := float64(v) * s
			mean[j] += x
			square[j] += x * x
		}
	}
	var total float64
	for j := range mean {
		m := mean[j] / float64(n)
		total += math.Sqrt(max(square[j]/float64(n)-m*m, 0))
	}
	return total / float64(d) * math.Sqrt(float64(d))
}

// Rank is the effective rank of the covariance of n rows of d values scaled to length one: exp of the entropy of its
// eigenvalues taken as shares (Roy and Vetterli, EUSIPCO 2007). It is between 1, or 0 for rows that are all alike, and
// min(n-1,d).
func Rank(rows []float32, n, d int) float64 {
	x := mat.NewDense(max(n, 1), max(d, 1), nil)
	for i := range n {
		row := x.RawRowView(i)
		var sum float64
		for j, v := range rows[i*d:][:d] {
			row[j] = float64(v)
			sum += row[j] * row[j]
		}
		if sum > 0 {
			for j := range row {
				row[j] /= math.Sqrt(sum)
			}
		}
	}
	for j := range d {
		var mean float64
		for i := range n {
			mean += x.At(i, j)
		}
		for i := range n {
			x.Set(i, j, x.At(i, j)-mean/float64(n))
		}
	}
	// The covariance and the matrix of inner products have the same eigenvalues but for zeros: the smaller is enough.
	k := min(n, d)
	c := mat.NewSymDense(k, nil)
	if n < d {
		c.SymOuterK(1, x)
	} else {
		c.SymOuterK(1, x.T())
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(c, false) {
		return math.NaN()
	}
	values := eigen.Values(nil)
	var sum, entropy float64
	for _, v := range values {
		sum += max(v, 0)
	}
	if sum <= 1e-12*float64(n) {
		return 0
	}
	for _, v := range values {
		if p := v / sum; p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	return math.Exp(entropy)
}

// Health measures whether the embeddings of a step collapse. Update keeps them, which takes little time while the device waits, and
// Run measures them when it no longer does.
type Health struct {
	Names []string // of passes; a pass without one, such as that of a momentum encoder, is not measured
	Every int      // steps between two ranks, which cost some milliseconds; the last of an epoch has one too

	spare chan [][]float32
}

// NewHealth measures the passes with a name, and their rank every so many steps.
func NewHealth(names []string, every int) *Health {
	return &Health{Names: names, Every: every, spare: make(chan [][]float32, 8)}
}

// keep copies what Run needs before the device takes the outputs back.
func (h *Health) keep(s *Scores) [][]float32 {
	var rows [][]float32
	select {
	case rows = <-h.spare:
	default:
		rows = make([][]float32, len(h.Names))
	}
	for i, name := range h.Names {
		rows[i] = rows[i][:0]
		if name != "" && i < len(s.Out) {
			rows[i] = append(rows[i], s.Out[i]...)
		}
	}
	return rows
}

// Run measures the spread of the embeddings of a step, and in some steps the rank. One row alone has none: it would look collapsed.
func (h *Health) Run(_ context.Context, r *Report) (*Report, error) {
	if r.embeddings == nil {
		return r, nil
	}
	each := func(suffix string, f func(rows []float32, n, d int) float64) {
		for i, rows := range r.embeddings {
			if len(rows) > 0 && r.Samples > 1 {
				r.Health = append(r.Health, Value{h.Names[i] + suffix, f(rows, r.Samples, len(rows)/r.Samples)})
			}
		}
	}
	each("_std", Spread)
	if h.Every > 0 && (r.Plan.Step%h.Every == 0 || r.Plan.Batch == r.Plan.Of-1) {
		each("_rank", Rank)
	}
	select {
	case h.spare <- r.embeddings:
	default:
	}
	r.embeddings = nil
	return r, nil
}
