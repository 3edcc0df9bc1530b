package bank

import (
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/ops"
)

// Drawing is how a step's negatives are drawn: by Sampler.Draw, or by a device, which draws the same.
type Drawing struct {
	Sampler Sampler
	IDs     []int // rows of the positives
	Step    int
}

// MoveTo keeps the rows on a device from now on.
func (m *Memory) MoveTo(d ops.Banker) (err error) {
	m.device, err = moved(d, m.N, m.D, m.rows)
	return err
}

// MoveTo keeps the rows on a device from now on.
func (q *Queue) MoveTo(d ops.Banker) (err error) {
	q.device, err = moved(d, q.K, q.D, q.rows)
	return err
}

func moved(d ops.Banker, n, w int, rows []float32) (ops.Bank, error) {
	b, err := d.NewBank(n, w)
	if err != nil {
		return nil, err
	}
	return b, b.Write(rows)
}

// readRows is own, into which what a device holds is read. Rows of a device that cannot be read are old: there are none.
func readRows(device ops.Bank, own []float32) ([]float32, error) {
	if device == nil {
		return own, nil
	}
	if err := device.Read(own); err != nil {
		return nil, err
	}
	return own, nil
}

// SetRows replaces all rows.
func (m *Memory) SetRows(rows []float32) error { return setRows(m.device, m.rows, rows) }

// SetRows replaces all rows, as they lie in memory.
func (q *Queue) SetRows(rows []float32) error { return setRows(q.device, q.rows, rows) }

func setRows(device ops.Bank, own, rows []float32) error {
	if len(rows) != len(own) {
		return fmt.Errorf("bank: %d values for %d", len(rows), len(own))
	}
	copy(own, rows)
	if device == nil {
		return nil
	}
	return device.Write(rows)
}

// Negatives draws a step's negatives into index, or, when the rows are on a device that can, leaves that to it. The drawing is that
// of the last call.
func (m *Memory) Negatives(s Sampler, index *[]int32, ids []int, k, step int) ([]int32, *Drawing) {
	m.draw = Drawing{s, ids, step}
	if m.device != nil && s.Noise == nil {
		return nil, &m.draw
	}
	n := len(ids) * (k + 1)
	*index = slices.Grow((*index)[:0], n)[:n]
	s.Draw(*index, ids, k, step)
	return *index, &m.draw
}

// Pending is a Score that may be under way on a device.
type Pending struct {
	result Result
	err    error
	wait   func() (Result, error) // nil: result and err it is
}

// Wait is the result. The gradient is complete when it returns.
func (p Pending) Wait() (Result, error) {
	if p.wait == nil {
		return p.result, p.err
	}
	return p.wait()
}

// Begin begins to score queries against the memory, wherever its rows are and as they are now: an Update may follow before Wait.
// b.Rows and b.D are its own.
func (m *Memory) Begin(l *Loss, b Batch, grad []float32) Pending {
	b.D = m.D
	if m.device != nil {
		return l.beginOn(m.device, m.N, b, grad)
	}
	b.Rows = m.rows
	return l.begin(b, grad)
}

// Begin begins to score queries against their positives and the queue, wherever its rows are and as they are now: a Push may follow
// before Wait. b.Rows, b.D and b.K are its own.
func (q *Queue) Begin(l *Loss, b Batch, grad []float32) Pending {
	b.D, b.K = q.D, q.K
	if q.device != nil {
		return l.beginOn(q.device, q.K, b, grad)
	}
	b.Rows = q.rows
	return l.begin(b, grad)
}

// begin is Score, which has ended when it returns.
func (l *Loss) begin(b Batch, grad []float32) Pending {
	r, err := l.Score(b, grad, nil)
	return Pending{result: r, err: err}
}

// beginOn begins Score on a device with so many rows.
func (l *Loss) beginOn(device ops.Bank, rows int, b Batch, grad []float32) Pending {
	if err := l.check(&b, rows); err != nil {
		return Pending{err: err}
	}
	n := len(b.Queries) / b.D
	count := 0
	for q := range n {
		if b.counts(q) {
			count++
		}
	}
	if count == 0 {
		return Pending{}
	}
	s := ops.Scoring{Queries: b.Queries, K: b.K, Index: b.Index, Positives: b.Positives, Present: b.Present, T: l.T}
	if d := b.Draw; d != nil && b.Index == nil {
		s.Seed, s.Stream = d.Sampler.source(d.Step)
		for _, id := range d.IDs {
			s.IDs = append(s.IDs, int32(id))
		}
	}
	if l.FindsZ() {
		sums, err := device.Score(s, grad)()
		if err != nil {
			return Pending{err: err}
		}
		l.setZ(sums.Sum, count*(b.K+1))
	}
	w := b.Weight
	if w == 0 {
		w = 1
	}
	s.Mode = ops.ScoreSoftmax
	if !l.Softmax {
		s.Mode, s.Z, s.C0 = ops.ScoreNCE, l.Z, float64(b.K)/float64(l.N)
	}
	s.Factor = w / float64(count) / l.T
	finish := device.Score(s, grad)
	return Pending{wait: func() (r Result, err error) {
		scored, err := finish()
		if err != nil {
			return r, err
		}
		for q := range n {
			if b.counts(q) {
				r.Loss += scored.Loss[q] * w / float64(count)
				r.Prob += l.probability(float32(scored.First[q])) / float64(count)
			}
		}
		return r, nil
	}}
}
