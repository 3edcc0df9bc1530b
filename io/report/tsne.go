package report

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
)

// Perplexity is what TSNE takes for n rows: 30, or less where they are too few for that.
func Perplexity(n int) float64 { return min(30, float64(n-1)/3) }

// TSNE lays rows [n,d] out in the plane so that near rows stay near: exact t-SNE (van der Maaten and Hinton, JMLR 2008) with the
// cosine distance of unit rows, started from the principal components, so that the same rows give the same map. Time and
// memory grow with n², so give it a few hundred rows, a thousand or two at most.
func TSNE(ctx context.Context, rows []float32, d int) ([]Point, error) {
	if d < 2 || len(rows)%d != 0 || len(rows)/d < 5 {
		return nil, fmt.Errorf("report: %d values as rows of %d: want at least five rows and two columns", len(rows), d)
	}
	n := len(rows) / d
	start, err := PCA(rows, d)
	if err != nil {
		return nil, err
	}
	p := affinities(distances(rows, d, n), n, Perplexity(n))
	y := make([]Point, n)
	var spread float64
	for _, s := range start {
		spread = max(spread, math.Abs(s.X))
	}
	for i, s := range start {
		// Equal rows would stay together for ever: a step along a circle parts them, the same way every time.
		turn := 2.399963 * float64(i)
		y[i] = Point{1e-2*s.X/max(spread, 1e-12) + 1e-5*math.Cos(turn), 1e-2*s.Y/max(spread, 1e-12) + 1e-5*math.Sin(turn)}
	}
	const steps, early = 500, 125
	rate := max(float64(n)/12, 50)
	move, gain, grad := make([]Point, n), make([]Point, n), make([]Point, n)
	for i := range gain {
		gain[i] = Point{1, 1}
	}
	q := make([]float64, n*n)
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		exaggerate, momentum := 1.0, 0.8
		if step < early {
			exaggerate, momentum = 12, 0.5
		}
		gradients(grad, y, p, q, exaggerate)
		var centre Point
		for i := range y {
			move[i].X, gain[i].X = nudge(grad[i].X, move[i].X, gain[i].X, rate, momentum)
			move[i].Y, gain[i].Y = nudge(grad[i].Y, move[i].Y, gain[i].Y, rate, momentum)
			y[i].X, y[i].Y = y[i].X+move[i].X, y[i].Y+move[i].Y
			centre.X, centre.Y = centre.X+y[i].X/float64(n), centre.Y+y[i].Y/float64(n)
		}
		for i := range y {
			y[i].X, y[i].Y = y[i].X-centre.X, y[i].Y-centre.Y
		}
	}
	return y, nil
}

// nudge is one step of gradient descent with the authors' adaptive gains.
func nudge(grad, move, gain, rate, momentum float64) (float64, float64) {
	if (grad > 0) == (move > 0) {
		gain = max(gain*0.8, 0.01)
	} else {
		gain += 0.2
	}
	return momentum*move - rate*gain*grad, gain
}

// inRows runs f for every row on every core; each row is one goroutine's.
func inRows(n int, f func(i int)) {
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), n)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}

// distances are 2 - 2·cosine.
func distances(rows []float32, d, n int) []float64 {
	norm := make([]float64, n)
	for i := range n {
		for _, v := range rows[i*d:][:d] {
			norm[i] += float64(v) * float64(v)
		}
		norm[i] = max(math.Sqrt(norm[i]), 1e-12)
	}
	out := make([]float64, n*n)
	inRows(n, func(i int) {
		a := rows[i*d:][:d]
		for j := range n {
			var s float64
			for k, v := range rows[j*d:][:d] {
				s += float64(v) * float64(a[k])
			}
			out[i*n+j] = max(0, 2-2*s/(norm[i]*norm[j]))
		}
	})
	return out
}

// affinities are the symmetric joint probabilities whose rows have the entropy of a perplexity.
func affinities(dist []float64, n int, perplexity float64) []float64 {
	p := make([]float64, n*n)
	want := math.Log(max(perplexity, 1.01))
	inRows(n, func(i int) {
		row, out := dist[i*n:][:n], p[i*n:][:n]
		low, high, beta := 0.0, math.Inf(1), 1.0
		for range 60 {
			var sum, moment float64
			for j, v := range row {
				if j != i {
					e := math.Exp(-beta * v)
					out[j] = e
					sum, moment = sum+e, moment+e*v
				}
			}
			sum = max(sum, 1e-300)
			entropy := math.Log(sum) + beta*moment/sum
			for j := range out {
				out[j] /= sum
			}
			out[i] = 0
			if math.Abs(entropy-want) < 1e-5 {
				break
			}
			if entropy > want {
				low = beta
				if math.IsInf(high, 1) {
					beta *= 2
				} else {
					beta = (beta + high) / 2
				}
			} else {
				high = beta
				beta = (beta + low) / 2
			}
		}
	})
	for i := range n {
		for j := range i {
			v := max((p[i*n+j]+p[j*n+i])/float64(2*n), 1e-12)
			p[i*n+j], p[j*n+i] = v, v
		}
	}
	return p
}

// gradients of the Kullback-Leibler divergence between p and the map's Student similarities.
func gradients(grad, y []Point, p, q []float64, exaggerate float64) {
	n := len(y)
	sums := make([]float64, n)
	inRows(n, func(i int) {
		for j := range n {
			if j == i {
				continue
			}
			dx, dy := y[i].X-y[j].X, y[i].Y-y[j].Y
			v := 1 / (1 + dx*dx + dy*dy)
			q[i*n+j] = v
			sums[i] += v
		}
	})
	var total float64
	for _, s := range sums {
		total += s
	}
	inRows(n, func(i int) {
		var g Point
		for j := range n {
			if j == i {
				continue
			}
			v := q[i*n+j]
			m := 4 * (exaggerate*p[i*n+j] - v/total) * v
			g.X, g.Y = g.X+m*(y[i].X-y[j].X), g.Y+m*(y[i].Y-y[j].Y)
		}
		grad[i] = g
	})
}
