package bank

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/contraflow/contraflow/ops/cpu"
)

// Loss scores queries against a positive and K negatives, and gives the gradient of the queries. NewLoss makes one: the zero Loss
// scores nothing.
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

	scores  []float32
	sums    []float64
	results []query
	crew    *crew
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
	return &Loss{Softmax: softmax, T: temperature, N: n, Z: -1, crew: &crew{}}, nil
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
	Draw      *Drawing  // how Index was drawn, or in place of it for a memory on a device
	Present   []bool    // queries that count; nil means all
	// Weight multiplies loss and gradient; 0 means 1.
	Weight float64
}

// Result is what scoring gives.
type Result struct {
	Loss float64 // nats, mean over the queries that count
	Prob float64 // mean of column 0: exp(s/T)/Z, or s/T with softmax, as the reference logs it
}

// Score adds the gradient of the loss to grad [B,D]. When scores is not nil it receives the output matrix [B,K+1]. A batch that does
// not fit its rows is an error.
func (l *Loss) Score(b Batch, grad, scores []float32) (Result, error) {
	if b.D < 1 {
		return Result{}, fmt.Errorf("bank: rows of %d values: D must be at least 1", b.D)
	}
	if err := l.check(&b, len(b.Rows)/b.D); err != nil {
		return Result{}, err
	}
	if b.Draw != nil && b.Index == nil {
		return Result{}, errors.New("bank: negatives that are to be drawn: only a device draws them")
	}
	n, width := len(b.Queries)/b.D, b.K+1
	if len(grad) != len(b.Queries) {
		panic("ops: bank gradient and queries differ in length")
	}
	if len(l.scores) < n*width {
		l.scores = make([]float32, n*width)
	}
	if len(l.results) < n {
		l.results, l.sums = make([]query, n), make([]float64, n)
	}
	count := 0
	for q := range n {
		if b.counts(q) {
			count++
		}
	}
	if count == 0 {
		return Result{}, nil
	}
	w := b.Weight
	if w == 0 {
		w = 1
	}
	call := scoring{Loss: l, Batch: b, grad: grad, scores: scores, scale: w / float64(count)}
	if l.FindsZ() {
		call.sums = true
		l.crew.run(call, n)
		l.setZ(l.sums[:n], count*width)
		call.sums = false
	}
	l.crew.run(call, n)
	var r Result
	for q := range n {
		if b.counts(q) {
			r.Loss += l.results[q].loss
			r.Prob += l.results[q].prob
		}
	}
	r.Loss *= w / float64(count)
	r.Prob /= float64(count)
	return r, nil
}

// check finds, once a batch, what would have kernels read memory that is not the bank's.
func (l *Loss) check(b *Batch, rows int) error {
	if l.crew == nil {
		return errors.New("bank: a loss must be made by NewLoss")
	}
	n, queue := len(b.Queries)/b.D, b.Index == nil && b.Draw == nil
	switch {
	case len(b.Queries) != n*b.D:
		return fmt.Errorf("bank: queries of %d values: rows have %d", len(b.Queries), b.D)
	case b.Present != nil && len(b.Present) != n:
		return fmt.Errorf("bank: presence of %d of %d queries", len(b.Present), n)
	case b.Draw != nil && b.Draw.Sampler.N > rows:
		return fmt.Errorf("bank: negatives are drawn from %d rows: there are %d", b.Draw.Sampler.N, rows)
	case b.Draw != nil && len(b.Draw.IDs) != n:
		return fmt.Errorf("bank: %d positives for %d queries", len(b.Draw.IDs), n)
	case queue && b.K > rows:
		return fmt.Errorf("bank: %d negatives of %d rows", b.K, rows)
	case queue && len(b.Positives) != len(b.Queries):
		return fmt.Errorf("bank: positives of %d values for queries of %d", len(b.Positives), len(b.Queries))
	case b.Index != nil && len(b.Index) != n*(b.K+1):
		return fmt.Errorf("bank: %d indices for %d queries with %d negatives each", len(b.Index), n, b.K)
	}
	if b.Draw != nil { // negatives are in range as they were drawn, and many
		for _, id := range b.Draw.IDs {
			if id < 0 || id >= rows {
				return fmt.Errorf("bank: positive %d: there are %d rows", id, rows)
			}
		}
		return nil
	}
	for _, i := range b.Index {
		if i < 0 || int(i) >= rows {
			return fmt.Errorf("bank: index %d: there are %d rows", i, rows)
		}
	}
	return nil
}

// FindsZ says that the next Score sets, or moves, Z, for which it needs every score first.
func (l *Loss) FindsZ() bool { return !l.Softmax && (l.Z < 0 || l.ZDecay > 0) }

// counts says whether a query does.
func (b *Batch) counts(q int) bool { return b.Present == nil || b.Present[q] }

// scoring is one pass over the queries of a batch: their sums of exp(s/T), or loss and gradient.
type scoring struct {
	*Loss
	Batch
	grad, scores []float32
	scale        float64
	sums         bool
}

// together is how many queries share a pass over rows that are the negatives of all: a block of them comes from memory once.
const together = 16

// groups is how many groups the queries are cut into, equally many for each thread.
func (c *scoring) groups(n, threads int) int {
	if c.Index != nil {
		return n
	}
	return min(n, ((n+together-1)/together+threads-1)/threads*threads)
}

// some does queries [from,to), block by block; sums is memory for D values of each. What a query gives is what it gives alone.
func (c *scoring) some(from, to int, sums []float32) {
	width := c.K + 1
	for q := from; q < to; q++ {
		c.results[q] = query{most: math.Inf(-1)}
	}
	clear(sums)
	for at := 0; at < width; at += blockRows {
		for q := from; q < to; q++ {
			if c.counts(q) {
				block := c.Loss.scores[q*width:][at:min(width, at+blockRows)]
				c.block(&c.results[q], q, at, block, sums[(q-from)*c.D:][:c.D])
			}
		}
	}
	for q := from; q < to; q++ {
		switch {
		case !c.counts(q):
		case c.sums:
			c.Loss.sums[q] = c.results[q].total
		default:
			c.finish(&c.results[q], q, sums[(q-from)*c.D:][:c.D])
		}
	}
}

// query is what one query adds to the result.
type query struct {
	loss, prob  float64
	most, total float64 // the largest logit so far, of softmax, and the sum of exp(s/T - most); of exp(s/T) where Z is looked for
}

// blockRows is how many rows are scored and summed while they are in the second-level cache.
const blockRows = 512

// block scores a query against the rows of a block of columns from at on: similarities, what the loss makes of them, and their part of
// the gradient. Softmax goes with the largest logit so far; a larger one scales down what there is.
func (c *scoring) block(r *query, q, at int, block, sum []float32) {
	l := c.Loss
	var e [blockRows]float64
	c.score(block, q, at)
	if c.sums {
		for j, s := range block {
			e[j] = float64(s) / l.T
		}
		exps(e[:len(block)])
		for _, v := range e[:len(block)] {
			r.total += v
		}
		return
	}
	if c.scores != nil {
		l.outputs(c.scores[q*(c.K+1)+at:], block)
	}
	if at == 0 {
		r.prob = l.probability(block[0])
	}
	if l.Softmax {
		top := r.most
		for _, s := range block {
			top = max(top, float64(s)/l.T)
		}
		if top > r.most && at > 0 {
			shrink := exp(r.most - top)
			r.total *= shrink
			for k := range sum {
				sum[k] *= float32(shrink)
			}
		}
		r.most = top
		r.total += exponentials(block, e[:len(block)], l.T, r.most)
	} else {
		r.loss += l.nce(block, e[:len(block)], at == 0, c.K)
	}
	c.spread(sum, block, q, at, at+len(block))
}

// finish turns the sums of a query into its loss and gradient.
func (c *scoring) finish(r *query, q int, sum []float32) {
	grad, factor := c.grad[q*c.D:][:c.D], float32(c.scale/c.T)
	if !c.Softmax {
		for k, v := range sum {
			grad[k] += factor * v
		}
		return
	}
	r.loss = r.most + math.Log(r.total) - r.prob
	norm := float32(1 / r.total)
	for k, v := range c.row(q, 0) {
		grad[k] += factor * (norm*sum[k] - v)
	}
}

// probability is what the reference logs of column 0.
func (l *Loss) probability(s float32) float64 {
	if l.Softmax {
		return float64(s) / l.T
	}
	return exp(float64(s)/l.T) / l.Z
}

// outputs are the reference's output matrix: exp(s/T)/Z, or s/T with softmax.
func (l *Loss) outputs(out, block []float32) {
	for j, s := range block {
		out[j] = float32(l.probability(s))
	}
}

// exponentials replaces similarities by exp(s/T - most) and returns their sum. e is memory.
func exponentials(block []float32, e []float64, t, most float64) (sum float64) {
	inv := 1 / t
	for j, s := range block {
		e[j] = float64(s)*inv - most
	}
	exps(e)
	for j, v := range e {
		sum += v
		block[j] = float32(v)
	}
	return sum
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
		l.Z = float64(float32(math.Trunc(z))) // a float32 divides by it
	case l.Z < 0:
		l.Z = float64(float32(z))
	default:
		l.Z = float64(float32(l.ZDecay*l.Z + (1-l.ZDecay)*z)) // as a checkpoint holds it
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

// score fills a query's similarities of the columns from on that out has room for, and lets the rows of later ones be fetched.
func (b *Batch) score(out []float32, q, from int) {
	x := b.Queries[q*b.D:][:b.D]
	if b.Index == nil && from == 0 {
		cpu.GatherDot(out[:1], x, b.Positives[q*b.D:], identity(1))
		out, from = out[1:], 1
	}
	cpu.GatherDot(out, x, b.Rows, b.columns(q, from, b.K+1))
}

// columns are the rows behind columns [from,to) of query q, of which column 0 is in the bank with an index only.
func (b *Batch) columns(q, from, to int) []int32 {
	if b.Index != nil {
		return b.Index[q*(b.K+1):][from:to]
	}
	return identity(b.K)[from-1 : to-1]
}

// spread adds Σ_j coef[j]·row_j of columns [from,to) to sum.
func (b *Batch) spread(sum, coef []float32, q, from, to int) {
	if b.Index == nil && from == 0 {
		cpu.GatherSum(sum, coef[:1], b.Positives[q*b.D:], identity(1))
		coef, from = coef[1:], 1
	}
	cpu.GatherSum(sum, coef, b.Rows, b.columns(q, from, to))
}

// identity is 0, 1, … n-1.
func identity(n int) []int32 {
	identityLock.Lock()
	defer identityLock.Unlock()
	for len(identities) < n {
		identities = append(identities, int32(len(identities)))
	}
	return identities[:n]
}

var (
	identityLock sync.Mutex
	identities   []int32
)

// smallProduct is where nce takes the logarithm of a product, far above what a float64 can hold.
const smallProduct = 1e-100

// nce turns similarities into coefficients, in place, and returns their part of the loss:
// -ln(P₀/(P₀+c)) - Σ_j ln(c₀/(P_j+c)), P = exp(s/T)/Z, c₀ = K/N, c = c₀+eps. Logarithms are taken of products. e is memory.
func (l *Loss) nce(block []float32, e []float64, first bool, k int) (loss float64) {
	c0 := float64(k) / float64(l.N)
	c := c0 + eps
	invT, invZ := 1/l.T, 1/l.Z
	for j, s := range block {
		e[j] = float64(s) * invT
	}
	if first {
		e[0] = float64(block[0]) / l.T
	}
	exps(e)
	start := 0
	if first {
		p := e[0] / l.Z
		loss -= math.Log(p / (p + c))
		block[0] = float32(-c / (p + c))
		start = 1
	}
	product := 1.0
	for j, v := range e[start:] {
		p := v * invZ
		d := 1 / (p + c)
		block[start+j] = float32(p * d)
		if product *= c0 * d; product < smallProduct {
			loss -= math.Log(product)
			product = 1
		}
	}
	return loss - math.Log(product)
}
