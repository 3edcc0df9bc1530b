package flows

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/contraflow/contraflow/bank"
)

// BankBench measures one direction of a memory: gathered dot products, loss and gradient of the queries.
type BankBench struct {
	Batch, K, D, N int
	Threads, Runs  int
	Softmax, Queue bool // Queue scores every query against the same K rows, as MoCo does
}

// BankResult is what was measured. Rate counts the bytes of the rows, read once.
type BankResult struct {
	MS      float64 `json:"ms"` // median
	MSMin   float64 `json:"ms_min"`
	NaiveMS float64 `json:"naive_ms"` // the same sums in plain Go on one thread, one query of the batch times the batch
	Ratio   float64 `json:"times_naive"`
	GBs     float64 `json:"gb_s"`
	Threads int     `json:"threads"`
}

// Run measures.
func (b BankBench) Run() (BankResult, error) {
	res := BankResult{}
	if b.Batch < 1 || b.K < 1 || b.D < 1 || b.N < 1 || b.Runs < 1 {
		return res, fmt.Errorf("batch %d, K %d, dimension %d, %d rows, %d runs: all must be positive", b.Batch, b.K, b.D, b.N, b.Runs)
	}
	rows := b.N
	if b.Queue {
		rows = b.K
	}
	if err := errors.Join(CheckCount("threads", b.Threads, "one a core"), inMemory(
		need{fmt.Sprintf("--batch %d with --nce_k %d", b.Batch, b.K), 8 * float64(b.Batch) * (float64(b.K) + 1)},
		need{fmt.Sprintf("--feat_dim %d with a bank of %d rows", b.D, rows), 4 * float64(rows) * float64(b.D)})); err != nil {
		return res, err
	}
	if b.Threads > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(b.Threads))
	}
	m, err := bank.NewMemory(rows, b.D, 0.5, 1)
	if err != nil {
		return res, err
	}
	memory, err := m.Rows()
	if err != nil {
		return res, err
	}
	l, err := bank.NewLoss(b.Softmax, 0.07, b.N)
	if err != nil {
		return res, err
	}
	r := rand.New(rand.NewPCG(3, 4))
	q := make([]float32, b.Batch*b.D)
	for i := range q {
		q[i] = float32(r.NormFloat64()) / 12
	}
	batch := bank.Batch{Queries: q, Rows: memory, D: b.D, K: b.K, Positives: q}
	sampler := bank.Sampler{N: b.N, Seed: 5}
	ids := make([]int, b.Batch)
	if !b.Queue {
		batch.Index = make([]int32, b.Batch*(b.K+1))
	}
	grad := make([]float32, len(q))
	var times []float64
	for i := range b.Runs + 1 {
		if !b.Queue {
			for j := range ids {
				ids[j] = r.IntN(b.N)
			}
			batch.Draw = &bank.Drawing{Sampler: sampler, IDs: ids, Step: i}
			sampler.Draw(batch.Index, ids, b.K, i)
		}
		clear(grad)
		t := time.Now()
		if _, err := l.Score(batch, grad, nil); err != nil {
			return res, err
		}
		if i > 0 {
			times = append(times, 1000*time.Since(t).Seconds())
		}
	}
	res.MS, res.MSMin, res.Threads = median(times), slices.Min(times), runtime.GOMAXPROCS(0)
	res.GBs = float64(b.Batch) * float64(b.K) * float64(b.D) * 4 / 1e6 / res.MS
	res.NaiveMS = naive(batch, q, grad)
	res.Ratio = res.NaiveMS / res.MS
	return res, nil
}

// naive is the textbook loop over eight queries of the batch, as milliseconds for all.
func naive(b bank.Batch, q, grad []float32) float64 {
	n := len(q) / b.D
	some := min(n, 8)
	coef := make([]float32, b.K+1)
	t := time.Now()
	for i := range some {
		x, g := q[i*b.D:][:b.D], grad[i*b.D:][:b.D]
		row := func(j int) []float32 {
			if b.Index == nil {
				return b.Rows[max(j-1, 0)*b.D:][:b.D]
			}
			return b.Rows[int(b.Index[i*(b.K+1)+j])*b.D:][:b.D]
		}
		for j := range coef {
			var sum float32
			for k, v := range row(j) {
				sum += v * x[k]
			}
			coef[j] = sum
		}
		for j, c := range coef {
			for k, v := range row(j) {
				g[k] += c * v
			}
		}
	}
	return 1000 * time.Since(t).Seconds() * float64(n) / float64(some)
}
