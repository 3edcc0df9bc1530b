package stages

import (
	"context"
	"fmt"
	"math"
)

// Report is what a finished step tells the stages that only listen: meters, logs, checkpoints.
type Report struct {
	Plan     Plan
	Samples  int
	Loss     float64
	LR       float64
	Values   []Value
	Bad      []Substitution
	Skipped  bool
	Snapshot *Snapshot
}

// GradientSink is the feedback edge to encode.
type GradientSink interface {
	Send(ctx context.Context, g *Gradients) error
}

// Update decides what happens with the gradients of a batch and sends them back to the device's owner.
type Update struct {
	// LR is the learning rate of a batch.
	LR              func(p Plan) float64
	Momentum, Decay float64
	// SkipNaN leaves a step with a loss that is not finite out instead of ending the run.
	SkipNaN bool
	// NaN, if set, is called with a batch whose loss is not finite, before the run ends; it may keep a copy.
	NaN func(s *Scores) error
	// Gradients is where decisions go.
	Gradients GradientSink
}

// Run answers one batch.
func (u *Update) Run(ctx context.Context, s *Scores) (*Report, error) {
	r := &Report{
		Plan: s.Plan, Samples: len(s.Index), Loss: s.Loss, LR: u.LR(s.Plan),
		Values: s.Values, Bad: s.Bad, Snapshot: s.Snapshot,
	}
	if math.IsNaN(s.Loss) || math.IsInf(s.Loss, 0) {
		if u.NaN != nil {
			if err := u.NaN(s); err != nil {
				return nil, err
			}
		}
		if !u.SkipNaN {
			return nil, fmt.Errorf("step %d: the loss is %v: lower --learning_rate, raise --nce_t, or leave such steps out with --on_nan skip", s.Step, s.Loss)
		}
		r.Skipped = true
	}
	g := &Gradients{Step: s.Step, D: s.D, LR: r.LR, Momentum: u.Momentum, Decay: u.Decay, Skip: r.Skipped}
	if err := u.Gradients.Send(ctx, g); err != nil {
		return nil, err
	}
	return r, nil
}
