package flows

import (
	"fmt"

	"github.com/contraflow/contraflow/stages"
)

// Predictive is the predictive baseline of contrastive multiview coding (Tian et al., arXiv:1906.05849, section 3.1): an
// encoder f of the first view and a decoder g, trained so that g(f(v₁)) is near the other views pixel by pixel, which ignores
// how pixels depend on each other. Only f is judged.
type Predictive struct {
	L1 bool // mean |p-v| instead of mean (p-v)²

	grad []float32
}

// NewPredictive makes the objective.
func NewPredictive(l1 bool) *Predictive { return &Predictive{L1: l1} }

// Score implements stages.Objective: output 0 is the prediction [B,C,H,W], C being the channels of views 1, 2, … in order.
// Views that a sample lacks, and samples that lack the first, do not count.
func (c *Predictive) Score(s *stages.Scores) error {
	p := s.Out[0]
	n := len(s.Index)
	size := len(p) / n
	c.grad = fresh(c.grad, len(p))
	source := present(s.Batch, 0)
	counted, at := 0, 0
	var absolute, square float64
	for v := 1; v < len(s.Views); v++ {
		width := len(s.Views[v]) / n
		if at+width > size {
			return fmt.Errorf("the prediction has %d values a sample, view %d ends at %d", size, v, at+width)
		}
		has := present(s.Batch, v)
		for b := range n {
			if (has != nil && !has[b]) || (source != nil && !source[b]) {
				continue
			}
			a, q := c.sample(c.grad[b*size+at:][:width], p[b*size+at:][:width], s.Views[v][b*width:][:width])
			absolute, square, counted = absolute+a, square+q, counted+width
		}
		at += width
	}
	if at != size {
		return fmt.Errorf("the prediction has %d values a sample, the views to predict %d", size, at)
	}
	mean := 1 / float64(max(counted, 1))
	for i := range c.grad {
		c.grad[i] *= float32(mean)
	}
	s.Loss = square * mean
	if c.L1 {
		s.Loss = absolute * mean
	}
	s.Values = append(s.Values, stages.Value{Name: "pred_loss", V: s.Loss}, stages.Value{Name: "pred_l1", V: absolute * mean}, stages.Value{Name: "pred_l2", V: square * mean})
	s.D = [][]float32{c.grad}
	return nil
}

// sample sums |p-v| and (p-v)² over one view of one sample; grad receives the derivative of the chosen one.
func (c *Predictive) sample(grad, p, v []float32) (absolute, square float64) {
	for i := range p {
		d := p[i] - v[i]
		absolute += float64(max(d, -d))
		square += float64(d) * float64(d)
		switch {
		case !c.L1:
			grad[i] = 2 * d
		case d > 0:
			grad[i] = 1
		case d < 0:
			grad[i] = -1
		}
	}
	return absolute, square
}

// State implements stages.Objective: prediction needs no memory.
func (c *Predictive) State([]stages.BankTensor) ([]stages.BankTensor, error) { return nil, nil }

// Restore implements objective.
func (c *Predictive) Restore(func(name string, n int) ([]float32, error)) error { return nil }
