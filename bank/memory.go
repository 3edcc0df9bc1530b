package bank

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
)

// Memory keeps one row of D values an image: a moving average of its embedding, of unit length
// (Wu et al., arXiv:1805.01978).
type Memory struct {
	N, D int
	// Momentum is the weight of the old row in [0,1]; the reference's code uses 0.5.
	Momentum float64

	rows   []float32
	row    []float32 // that is being updated
	device ops.Bank  // where the rows are, if not here
	draw   Drawing
}

// NewMemory makes a memory whose values are drawn from U(-s,s) with s = 1/√(D/3). Its rows have length one on average
// only, as in the reference, until they are first updated.
func NewMemory(n, d int, momentum float64, seed uint64) (*Memory, error) {
	if n < 1 || d < 1 {
		return nil, fmt.Errorf("bank: a memory of %d rows of %d: both must be positive", n, d)
	}
	if !(momentum >= 0 && momentum <= 1) {
		return nil, fmt.Errorf("bank: memory momentum %v: must be in [0,1]", momentum)
	}
	m := &Memory{N: n, D: d, Momentum: momentum, rows: cpu.NewRows(n * d), row: make([]float32, d)}
	noise(m.rows, d, seed)
	return m, nil
}

func noise(rows []float32, d int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x6d656d6f7279))
	s := 1 / math.Sqrt(float64(d)/3)
	for i := range rows {
		rows[i] = float32(s * (2*r.Float64() - 1))
	}
}

// Rows is the memory itself, [N,D], or a copy of all that the device holds. Only a device can fail.
func (m *Memory) Rows() ([]float32, error) { return readRows(m.device, m.rows) }

// Update moves the rows of ids towards x [len(ids),D] and gives them unit length again. A zero result leaves the row as
// it was. Of an id that occurs twice the later entry has the last word. present, unless nil, says which entries count.
// Only a device can fail; it takes ids, x and present as they are until the next result or Rows, which tells of a failure.
func (m *Memory) Update(ids []int, x []float32, present []bool) error {
	keep, take := float32(m.Momentum), float32(1-m.Momentum)
	if m.device != nil {
		short := make([]int32, len(ids))
		for i, id := range ids {
			short[i] = int32(id)
		}
		return m.device.Update(short, x, present, keep, take)
	}
	for b, id := range ids {
		if present != nil && !present[b] {
			continue
		}
		old := m.rows[id*m.D:][:m.D]
		var sum float64
		for i, v := range x[b*m.D:][:m.D] {
			m.row[i] = keep*old[i] + take*v
			sum += float64(m.row[i]) * float64(m.row[i])
		}
		if sum == 0 {
			continue
		}
		norm := float32(math.Sqrt(sum))
		for i, v := range m.row {
			old[i] = v / norm
		}
	}
	return nil
}

// Sampler draws negatives: uniform rows with replacement, which may be the positive itself, as in the reference. The
// draws of a step depend on the seed and the step alone.
type Sampler struct {
	N    int
	Seed uint64
	// Noise, if set, is another distribution of the N rows than the uniform one.
	Noise *Alias
}

// source seeds the generator of a step.
func (s Sampler) source(step int) (seed, stream uint64) {
	return s.Seed, uint64(step) + 0x6e65676174697665
}

// Draw fills idx [len(ids),k+1]: column 0 the positives, the others drawn.
func (s Sampler) Draw(idx []int32, ids []int, k, step int) {
	r := rand.NewPCG(s.source(step))
	n := uint64(s.N)
	for b, id := range ids {
		row := idx[b*(k+1):][:k+1]
		row[0] = int32(id)
		for j := 1; j <= k; j++ {
			column := int32((r.Uint64() >> 32) * n >> 32)
			if s.Noise != nil {
				column = int32(s.Noise.Pick(int(column), float32(r.Uint64()>>40)*0x1p-24 < s.Noise.Prob[column]))
			}
			row[j] = column
		}
	}
}
