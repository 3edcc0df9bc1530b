package stages

import (
	"fmt"
	"iter"
)

// Sampler plans the batches of a run. Every epoch is a permutation of the data set, drawn afresh from the seed; the last
// batch of an epoch is short unless DropLast. A plan is a function of its step alone, so a run goes on at any step at
// once.
type Sampler struct {
	N        int // samples in the data set
	Batch    int // samples in a batch, over all ranks
	Epochs   int // passes over the data set, at least 1
	Seed     uint64
	Start    int // first step to plan
	MaxSteps int // largest number of steps in the whole run; 0 means all epochs
	DropLast bool
	Ordered  bool // keep the order of the data set, for evaluation
	// Rank of World takes every World-th sample of the global batch, which is the same for any World; World 0 is 1.
	Rank, World int
}

// Check reports settings that plan nothing.
func (s Sampler) Check() error {
	switch {
	case s.N < 1:
		return fmt.Errorf("the data set is empty")
	case s.Batch < 1:
		return fmt.Errorf("batch size %d: must be at least 1", s.Batch)
	case s.Batch > s.N:
		return fmt.Errorf("batch size %d is larger than the data set, %s: lower --batch_size", s.Batch, images(s.N))
	case s.Epochs < 1:
		return fmt.Errorf("%d epochs: must be at least 1, also where MaxSteps ends the run", s.Epochs)
	case s.World > 1 && (s.Rank < 0 || s.Rank >= s.World || s.Batch%s.World != 0):
		return fmt.Errorf("rank %d of %d with batch %d: ranks count from 0 and must divide the batch", s.Rank, s.World, s.Batch)
	case s.World > 1 && !s.DropLast && s.N%s.Batch > 0 && s.N%s.Batch < s.World:
		return fmt.Errorf("the last batch of an epoch has %s for %d ranks: leave it out with --drop_last", images(s.N%s.Batch), s.World)
	}
	return nil
}

// PerEpoch is the number of steps in an epoch.
func (s Sampler) PerEpoch() int {
	if s.DropLast {
		return s.N / s.Batch
	}
	return (s.N + s.Batch - 1) / s.Batch
}

// Steps is the number of steps in the run.
func (s Sampler) Steps() int {
	n := s.PerEpoch() * s.Epochs
	if s.MaxSteps > 0 {
		n = min(n, s.MaxSteps)
	}
	return n
}

// Plans gives the batches from Start on.
func (s Sampler) Plans() iter.Seq2[Plan, error] {
	return func(yield func(Plan, error) bool) {
		if err := s.Check(); err != nil {
			yield(Plan{}, err)
			return
		}
		per, world := s.PerEpoch(), max(s.World, 1)
		var order []int
		ordered := -1
		for step := s.Start; step < s.Steps(); step++ {
			epoch, b := step/per, step%per
			if epoch != ordered {
				order, ordered = s.order(epoch+1), epoch
			}
			all := order[b*s.Batch : min(s.N, (b+1)*s.Batch)]
			p := Plan{Epoch: epoch + 1, Step: step, Batch: b, Of: per}
			if world > 1 {
				p.Whole = all
			}
			for i := s.Rank; i < len(all); i += world {
				p.Index = append(p.Index, all[i])
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

// order is the permutation of an epoch.
func (s Sampler) order(epoch int) []int {
	if !s.Ordered {
		return Draw(s.Seed, epoch, 0, PurposeOrder).Perm(s.N)
	}
	out := make([]int, s.N)
	for i := range out {
		out[i] = i
	}
	return out
}
