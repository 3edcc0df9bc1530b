package flows

import (
	"fmt"
	"math"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// Supervised is the baseline with labels: cross entropy of a linear classifier on the features of every view laid side by
// side, whose logits are the sum of what each tower's own classifier gives.
type Supervised struct {
	Classes int

	logits, grad []float32
}

// NewSupervised classifies into a number of classes.
func NewSupervised(classes int) *Supervised { return &Supervised{Classes: classes} }

// Score implements stages.Objective: outputs are logits [B,Classes], one a tower. A view that a sample lacks adds nothing.
func (c *Supervised) Score(s *stages.Scores) error {
	n, k := len(s.Index), c.Classes
	c.logits, c.grad = fresh(c.logits, n*k), fresh(c.grad, n*k)
	for v, out := range s.Out {
		if len(out) != n*k {
			return fmt.Errorf("output %d has %d values, want %d logits of %d samples", v, len(out), k, n)
		}
		has := present(s.Batch, v)
		for b := range n {
			if has != nil && !has[b] {
				continue
			}
			for j, l := range out[b*k:][:k] {
				c.logits[b*k+j] += l
			}
		}
	}
	s.Loss = CrossEntropy(c.logits, s.Labels, k, c.grad)
	s.Values = append(s.Values, stages.Value{Name: "ce_loss", V: s.Loss}, stages.Value{Name: "ce_acc", V: Accuracy(c.logits, s.Labels, k, 1)})
	for range s.Out {
		s.D = append(s.D, c.grad)
	}
	return nil
}

// CrossEntropy is the mean over rows of logits [B,k] of ln Σ exp(z) - z of the label, in nats. grad [B,k] receives its
// gradient.
func CrossEntropy(logits []float32, labels []int, k int, grad []float32) float64 {
	var loss float64
	scale := 1 / float64(len(labels))
	for b, label := range labels {
		row, g := logits[b*k:][:k], grad[b*k:][:k]
		most := math.Inf(-1)
		for _, z := range row {
			most = max(most, float64(z))
		}
		var sum float64
		for _, z := range row {
			sum += math.Exp(float64(z) - most)
		}
		loss += most + math.Log(sum) - float64(row[label])
		for j, z := range row {
			p := math.Exp(float64(z)-most) / sum
			if j == label {
				p--
			}
			g[j] = float32(p * scale)
		}
	}
	return loss * scale
}

// State implements stages.Objective: labels need no memory.
func (c *Supervised) State([]stages.BankTensor) ([]stages.BankTensor, error) { return nil, nil }

// Restore implements objective.
func (c *Supervised) Restore(func(name string, n int) ([]float32, error)) error { return nil }

// head is what a method trains its towers through; nil for those that train the embedding itself.
func (r *Run) head(m encoders.Model) func(g *ops.Graph) error {
	switch r.o.Method {
	case "supervised":
		return func(g *ops.Graph) error { return encoders.Classify(g, m.Features(), len(r.data.Classes())) }
	case "predict":
		target := ops.Shape{H: r.o.Data.ImageSize, W: r.o.Data.ImageSize}
		for _, c := range r.views.widths()[r.views.encoded:] {
			target.C += c
		}
		return func(g *ops.Graph) error { return encoders.Decode(g, lastMap, target) }
	}
	return nil
}

// lastMap is the mark of every network's last feature map.
const lastMap = "layer5"

// output is the mark that a method's objective scores.
func (r *Run) output() string {
	switch r.o.Method {
	case "supervised":
		return encoders.Logits
	case "predict":
		return encoders.Prediction
	}
	return r.net.model.Embedding()
}
