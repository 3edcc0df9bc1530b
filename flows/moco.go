package flows

import (
	"github.com/contraflow/contraflow/bank"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// MoCo is momentum contrast (He et al., arXiv:1911.05722): the query of one crop is scored against the key of the other and a
// queue of earlier keys, which a momentum encoder makes.
type MoCo struct {
	Queue *bank.Queue
	Loss  *bank.Loss

	grads    [3][]float32 // of queries, keys, which have none, and mixed queries
	reversed []float32
	pending  []bank.Pending
}

// NewMoCo makes the queue. With NCE the constant Z is truncated to an integer, as the reference's tensor does.
func NewMoCo(o Options, n, d int) (*MoCo, error) {
	q, err := bank.NewQueue(o.Loss.K, d, seedOf(o, stages.PurposeBank))
	if err != nil {
		return nil, err
	}
	l, err := bank.NewLoss(o.Loss.Softmax, o.Loss.T, n)
	if err != nil {
		return nil, err
	}
	l.WholeZ, l.ZDecay = true, o.Loss.ZDecay
	return &MoCo{Queue: q, Loss: l}, nil
}

// Score implements stages.Objective: output 0 are the queries, output 1 the keys, and with Un-Mix output 2 the queries of the
// mixed view, which count λ towards their own keys and 1-λ towards those of the batch in reverse order.
func (c *MoCo) Score(s *stages.Scores) error {
	queries, keys := s.Out[0], s.Out[1]
	c.grads[0] = fresh(c.grads[0], len(queries))
	parts := append(c.pending[:0], c.Queue.Begin(c.Loss, bank.Batch{Queries: queries, Positives: keys}, c.grads[0]))
	s.D = c.grads[:len(s.Out)]
	if len(s.Out) == 3 {
		parts = c.unmix(s, parts)
	}
	c.pending = parts
	if err := c.Queue.Push(keys); err != nil {
		return err
	}
	r, err := parts[0].Wait()
	if err != nil {
		return err
	}
	s.Loss = r.Loss
	for _, p := range parts[1:] {
		r, err := p.Wait()
		if err != nil {
			return err
		}
		s.Loss += r.Loss
	}
	s.Values = append(s.Values, stages.Value{Name: "ins_loss", V: s.Loss}, stages.Value{Name: "ins_prob", V: r.Prob})
	return nil
}

// unmix begins the two parts of the mixed view's loss.
func (c *MoCo) unmix(s *stages.Scores, parts []bank.Pending) []bank.Pending {
	keys, queries, d := s.Out[1], s.Out[2], c.Queue.D
	c.grads[2], c.reversed = fresh(c.grads[2], len(queries)), fresh(c.reversed, len(keys))
	for at := 0; at < len(keys); at += d {
		copy(c.reversed[len(keys)-d-at:][:d], keys[at:])
	}
	for _, part := range [2]struct {
		positives []float32
		weight    float64
	}{{keys, s.Lambda}, {c.reversed, 1 - s.Lambda}} {
		if part.weight > 0 {
			parts = append(parts, c.Queue.Begin(c.Loss, bank.Batch{Queries: queries, Positives: part.positives, Weight: part.weight}, c.grads[2]))
		}
	}
	return parts
}

// State implements stages.Objective. The write position, which the reference forgets, is saved beside its tensors.
func (c *MoCo) State(old []stages.BankTensor) ([]stages.BankTensor, error) {
	rows, err := c.Queue.Rows()
	if err != nil {
		return nil, err
	}
	return []stages.BankTensor{
		{Name: "params", Shape: []int{1}, Data: []float32{float32(c.Loss.Z)}},
		tensorOf(old, "memory", c.Queue.K, c.Queue.D, rows),
		{Name: "queue_ptr", Shape: []int{1}, Data: []float32{float32(c.Queue.Pointer)}},
	}, nil
}

// Restore implements objective.
func (c *MoCo) Restore(get func(name string, n int) ([]float32, error)) error {
	params, err := get("params", 1)
	if err != nil {
		return err
	}
	rows, err := get("memory", c.Queue.K*c.Queue.D)
	if err != nil {
		return err
	}
	at, err := get("queue_ptr", 1)
	if err != nil {
		return err
	}
	c.Loss.Z, c.Queue.Pointer = float64(params[0]), int(at[0])%c.Queue.K
	return c.Queue.SetRows(rows)
}

// moveTo keeps the queue on a device.
func (c *MoCo) moveTo(d ops.Banker) error { return c.Queue.MoveTo(d) }
