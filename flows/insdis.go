package flows

import (
	"github.com/contraflow/contraflow/bank"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// InsDis is instance discrimination (Wu et al., arXiv:1805.01978): every image is a class of its own, kept as a row of one
// memory.
type InsDis struct {
	Memory  *bank.Memory
	Loss    *bank.Loss
	Sampler bank.Sampler
	K       int

	index []int32
	grads [1][]float32
}

// NewInsDis makes the memory of n images.
func NewInsDis(o Options, n, d int) (*InsDis, error) {
	m, err := bank.NewMemory(n, d, float64(float32(o.Loss.M)), seedOf(o, stages.PurposeBank))
	if err != nil {
		return nil, err
	}
	l, err := bank.NewLoss(o.Loss.Softmax, float64(float32(o.Loss.T)), n)
	if err != nil {
		return nil, err
	}
	l.ZDecay = o.Loss.ZDecay
	return &InsDis{Memory: m, Loss: l, K: o.Loss.K, Sampler: bank.Sampler{N: n, Seed: seedOf(o, stages.PurposeBank)}}, nil
}

// Score implements stages.Objective.
func (c *InsDis) Score(s *stages.Scores) error {
	index, draw := c.Memory.Negatives(c.Sampler, &c.index, s.Index, c.K, s.Step)
	return c.score(s, index, draw)
}

// ScoreWith is Score with given negatives, [B,K+1].
func (c *InsDis) ScoreWith(s *stages.Scores, index []int32) error { return c.score(s, index, nil) }

func (c *InsDis) score(s *stages.Scores, index []int32, draw *bank.Drawing) error {
	c.grads[0] = fresh(c.grads[0], len(s.Out[0]))
	scoring := c.Memory.Begin(c.Loss, bank.Batch{Queries: s.Out[0], K: c.K, Index: index, Draw: draw}, c.grads[0])
	if err := c.Memory.Update(s.Index, s.Out[0], nil); err != nil {
		return err
	}
	r, err := scoring.Wait()
	if err != nil {
		return err
	}
	s.Loss = r.Loss
	s.Values = append(s.Values, stages.Value{Name: "ins_loss", V: r.Loss}, stages.Value{Name: "ins_prob", V: r.Prob})
	s.D = c.grads[:]
	return nil
}

// State implements stages.Objective.
func (c *InsDis) State(old []stages.BankTensor) ([]stages.BankTensor, error) {
	rows, err := c.Memory.Rows()
	if err != nil {
		return nil, err
	}
	params := []float32{float32(c.K), float32(c.Loss.T), float32(c.Loss.Z), float32(c.Memory.Momentum)}
	return []stages.BankTensor{
		{Name: "params", Shape: []int{4}, Data: params},
		tensorOf(old, "memory", c.Memory.N, c.Memory.D, rows),
	}, nil
}

// Restore implements objective.
func (c *InsDis) Restore(get func(name string, n int) ([]float32, error)) error {
	params, err := get("params", 4)
	if err != nil {
		return err
	}
	rows, err := get("memory", c.Memory.N*c.Memory.D)
	if err != nil {
		return err
	}
	c.Loss.Z = float64(params[2])
	return c.Memory.SetRows(rows)
}

// moveTo keeps the memory on a device.
func (c *InsDis) moveTo(d ops.Banker) error { return c.Memory.MoveTo(d) }
