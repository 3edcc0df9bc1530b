package stages

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// Value is one number a step reports, under the name it has in logs and in TensorBoard.
type Value struct {
	Name string
	V    float64
}

// Scores are what the contrast made of one batch's features.
type Scores struct {
	*Features
	Loss   float64
	Values []Value     // in the order they are logged: l_loss, ab_loss, l_prob, ab_prob, …
	D      [][]float32 // gradient of every pass's output, nil for keys
}

// Objective turns features into a loss and its gradients. Implementations own the bank they score against and
// update it, so one goroutine calls them.
type Objective interface {
	// Score fills s.Loss, s.Values and s.D from s.Features.
	Score(s *Scores) error
	// State copies the bank for a snapshot, into the memory of an old copy where there is one; nil when there is no bank.
	State(old []BankTensor) ([]BankTensor, error)
}

// Contrast owns the bank: it scores each batch against the memory, and updates the memory.
type Contrast struct{ Objective Objective }

// Run scores one batch.
func (c *Contrast) Run(_ context.Context, f *Features) (*Scores, error) {
	if c.Objective == nil {
		return nil, errors.New("nothing says how to score: set Objective")
	}
	if f.Snapshot != nil {
		var err error
		if f.Snapshot.Bank, err = c.Objective.State(f.Snapshot.Bank); err != nil {
			return nil, fmt.Errorf("step %d: %w", f.Step, err)
		}
	}
	s := &Scores{Features: f}
	for _, out := range f.Out {
		if finite(out) > 0 { // the memory would never get rid of them
			s.Loss = math.NaN()
			return s, nil
		}
	}
	if err := c.Objective.Score(s); err != nil {
		return nil, fmt.Errorf("step %d: %w", f.Step, err)
	}
	return s, nil
}
