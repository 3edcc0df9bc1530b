package stages

import (
	"context"
	"errors"
	"fmt"
)

// Report is what a finished step tells the stages that only listen: meters, logs, checkpoints.
type Report struct {
	Plan     Plan
	Samples  int
	Loss     float64
	LR       float64
	Values   []Value
	Health   []Value // spread and, in some steps, rank of the embeddings: l_std, l_rank, …; stage Health adds them
	Bad      []Substitution
	Skipped  bool
	Snapshot *Snapshot

	embeddings [][]float32 // of passes, for Health
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
	// SkipNaN leaves a step with numbers that are not finite out instead of ending the run.
	SkipNaN bool
	// NaN, if set, is told of every such step before it is left out or ends the run; its error ends the run.
	NaN func(t *Trouble) error
	// Passes names the passes, for messages.
	Passes []string
	// Health, if set, will measure the embeddings that are kept for it.
	Health *Health
	// Gradients is where decisions go.
	Gradients GradientSink

	skipped int // in a row
}

// Run answers one batch.
func (u *Update) Run(ctx context.Context, s *Scores) (*Report, error) {
	if u.LR == nil || u.Gradients == nil {
		return nil, errors.New("nothing says how large a step is, or where it goes: set LR and Gradients")
	}
	r := &Report{
		Plan: s.Plan, Samples: len(s.Index), Loss: s.Loss, LR: u.LR(s.Plan),
		Values: s.Values, Bad: s.Bad, Snapshot: s.Snapshot,
	}
	if t := troubleOf(s, u.Passes); t != nil {
		if u.NaN != nil {
			if err := u.NaN(t); err != nil {
				return nil, err
			}
		}
		if !u.SkipNaN {
			return nil, t
		}
		if u.skipped++; u.skipped == maxSkips {
			return nil, fmt.Errorf("%w: %d steps in a row were left out: the weights or the data are broken", t, maxSkips)
		}
		r.Skipped = true
	} else {
		u.skipped = 0
	}
	if u.Health != nil && !r.Skipped {
		r.embeddings = u.Health.keep(s)
	}
	g := &Gradients{Step: s.Step, D: s.D, LR: r.LR, Momentum: u.Momentum, Decay: u.Decay, Skip: r.Skipped}
	return r, u.Gradients.Send(ctx, g)
}
