package bank

import (
	"fmt"
	"math"
	"runtime"
	"sync"
)

// Loss scores queries against a positive and K negatives, and gives the gradient of the queries.
type Loss struct {
	// Softmax is InfoNCE: cross entropy with the positive in column 0. Otherwise it is noise-contrastive estimation with
	// uniform noise 1/N and a constant Z in place of the partition function.
	Softmax bool
	// T divides similarities, > 0.
	T float64
	// N is the number of images, the support of the noise.
	N int
	// Z is NCE's constant: -1 until the first batch sets it to the mean of exp(s/T) times N.
	Z float64
	// WholeZ truncates Z toward zero, as the reference's MoCo does, which keeps it in an integer tensor.
	WholeZ bool
	// ZDecay in (0,1) goes on averaging Z over batches with that weight of the old value; 0 keeps the first.
	ZDecay float64

	scores []float32
}

// eps is the reference's guard in the NCE posterior.
const eps = 1e-7

// NewLoss checks the settings.
func NewLoss(softmax bool, temperature float64, n int) (*Loss, error) {
	if !(temperature > 0) || math.IsInf(temperature, 0) {
		return nil, fmt.Errorf("bank: temperature %v: must be positive", temperature)
	}
	if n < 1 {
		return nil, fmt.Errorf("bank: %d images: must be positive", n)
	}
	return &Loss{Softmax: softmax, T: temperature, N: n, Z: -1}, nil
}

// Batch is what one direction of a contrast scores.
type Batch struct {
	Queries []float32 // [B,D], unit rows
	Rows    []float32 // [·,D]: the memory or the queue
	D, K    int
	// Index is [B,K+1]: the row of the positive, then those of the negatives. nil takes the positives from Positives and
	// rows 0 … K-1 as negatives of every query.
	Index     []int32
	Positives []float32 // [B,D]
	Present   []bool    // queries that count; nil means all
	// Weight multiplies loss and gradient; 0 means 1.
	Weight float64
}

// Result is what scoring gives.
type Result struct {
	Loss float64 // nats, mean over the queries that count
	Prob float64 // mean of column 0: exp(s/T)/Z, or s/T with softmax, as the reference logs it
}

// Score adds the gradient of the loss to grad [B,D]. When scores is not nil it receives the output matrix [B,K+1].
func (l *Loss) Score(b Batch, grad, scores []float32) Result {
	n, width := len(b.Queries)/b.D, b.K+1
	if len(grad) != len(b.Queries) {
		panic("ops: bank gradient and queries differ in length")
	}
	if len(l.scores) < n*width {
		l.scores = make([]float32, n*width)
	}
	count := 0
	for q := range n {
		if b.Present == nil || b.Present[q] {
			count++
		}
	}
	if count == 0 {
		return Result{}
	}
	all := func(f func(q int)) {
		parallel(n, func(q int) {
			if b.Present == nil || b.Present[q] {
				f(q)
			}
		})
	}
	// Z needs every score first; otherwise a query's rows are used twice while they are in the cache.
	early := !l.Softmax && (l.Z < 0 || l.ZDecay > 0)
	if early {
		sums := make([]float64, n)
		all(func(q int) {
			row := l.scores[q*width:][:width]
			b.score(row, q)
			for _, s := range row {
				sums[q] += math.Exp(float64(s) / l.T)
			}
		})
		l.setZ(sums, count*width)
	}
	w := b.Weight
	if w == 0 {
		w = 1
	}
	losses, probs := make([]float64, n), make([]float64, n)
	all(func(q int) {
		row := l.scores[q*width:][:width]
		if !early {
			b.score(row, q)
		}
		var out []float32
		if scores != nil {
			out = scores[q*width:][:width]
		}
		if l.Softmax {
			losses[q], probs[q] = l.softmax(row, out, w/float64(count))
		} else {
			losses[q], probs[q] = l.nce(row, out, b.K, w/float64(count))
		}
		b.spread(grad[q*b.D:][:b.D], row, q)
	})
	var r Result
	for q := range n {
		r.Loss += losses[q]
		r.Prob += probs[q]
	}
	r.Loss *= w / float64(count)
	r.Prob /= float64(count)
	return r
}

// setZ sets, or moves, Z from the sums of exp(s/T) over count scores.
func (l *Loss) setZ(sums []float64, count int) {
	var total float64
	for _, s := range sums {
		total += s
	}
	z := total / float64(count) * float64(l.N)
	switch {
	case l.Z < 0 && l.WholeZ:
		l.Z = math.Trunc(z)
	case l.Z < 0:
		l.Z = float64(float32(z))
	default:
		l.Z = l.ZDecay*l.Z + (1-l.ZDecay)*z
	}
}

// row is the bank row behind column j of query q.
func (b *Batch) row(q, j int) []float32 {
	switch {
	case b.Index != nil:
		return b.Rows[int(b.Index[q*(b.K+1)+j])*b.D:][:b.D]
	case j == 0:
		return b.Positives[q*b.D:][:b.D]
	default:
		return b.Rows[(j-1)*b.D:][:b.D]
	}
}

// score fills a query's similarities.
func (b *Batch) score(out []float32, q int) {
	x := b.Queries[q*b.D:][:b.D]
	for j := range out {
		out[j] = dot(x, b.row(q, j))
	}
}

// spread adds Σ_j coef[j]·row_j to grad.
func (b *Batch) spread(grad, coef []float32, q int) {
	for j, c := range coef {
		if c != 0 {
			axpy(grad, c, b.row(q, j))
		}
	}
}

// nce turns similarities into coefficients of the gradient, in place, and returns the query's loss and probability:
// -ln(P₀/(P₀+c)) - Σ_j ln(c₀/(P_j+c)), P = exp(s/T)/Z, c₀ = K/N, c = c₀+eps.
func (l *Loss) nce(row, out []float32, k int, scale float64) (loss, prob float64) {
	c0 := float64(k) / float64(l.N)
	c := c0 + eps
	for j, s := range row {
		p := math.Exp(float64(s)/l.T) / l.Z
		if out != nil {
			out[j] = float32(p)
		}
		if j == 0 {
			prob = p
			loss -= math.Log(p / (p + c))
			row[j] = float32(-scale / l.T * c / (p + c))
			continue
		}
		loss -= math.Log(c0 / (p + c))
		row[j] = float32(scale / l.T * p / (p + c))
	}
	return loss, prob
}

// softmax is the same for cross entropy with label 0.
func (l *Loss) softmax(row, out []float32, scale float64) (loss, logit float64) {
	most := math.Inf(-1)
	for j, s := range row {
		z := float64(s) / l.T
		if out != nil {
			out[j] = float32(z)
		}
		most = max(most, z)
	}
	var sum float64
	for _, s := range row {
		sum += math.Exp(float64(s)/l.T - most)
	}
	logit = float64(row[0]) / l.T
	loss = most + math.Log(sum) - logit
	for j, s := range row {
		p := math.Exp(float64(s)/l.T-most) / sum
		if j == 0 {
			p--
		}
		row[j] = float32(scale / l.T * p)
	}
	return loss, logit
}

// dot is Σ a·b in four interleaved sums.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += v * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// axpy is y += c·x.
func axpy(y []float32, c float32, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += c * x[i]
	}
}

// parallel runs f for every index on all cores; which core gets which is left to chance.
func parallel(n int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := n * w / workers; i < n*(w+1)/workers; i++ {
				f(i)
			}
		})
	}
	wg.Wait()
}
