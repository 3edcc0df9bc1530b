package flows

import (
	"context"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/ops/cpu"
	"github.com/contraflow/contraflow/stages"
)

// saving is a checkpoint on its way to the disk: the state shares the snapshot's memory.
type saving struct {
	state    *checkpoint.State
	snapshot *stages.Snapshot
}

// snapshotAt says before which batches a checkpoint is due.
func (r *Run) snapshotAt(next stages.Plan) bool {
	if next.Step == r.sampler.Start {
		return false
	}
	o := r.o.Run
	epoch := next.Batch == 0 && o.SaveFreq > 0 && (next.Epoch-1)%o.SaveFreq == 0
	return epoch || (o.SaveSteps > 0 && next.Step%o.SaveSteps == 0)
}

// spare is the memory of a snapshot that has been written, or nil.
func (r *Run) spare() *stages.Snapshot {
	select {
	case s := <-r.spares:
		return s
	default:
		return nil
	}
}

// makeRoom takes the memory of a snapshot before training begins: a run that has not enough of it ends at once, not at its first
// save, and the first save takes no longer than others.
func (r *Run) makeRoom() error {
	s, err := stages.TakeSnapshot(r.towers, stages.Plan{}, stages.NewSnapshot(r.towers, cpu.NewRows))
	if err != nil {
		return err
	}
	if s.Bank, err = r.objective.State(nil); err != nil {
		return err
	}
	r.keep(s)
	return nil
}

// keep keeps the memory of a snapshot for the next one.
func (r *Run) keep(s *stages.Snapshot) {
	select {
	case r.spares <- s:
	default:
	}
}

func (r *Run) savingOf(s *stages.Snapshot) (*saving, error) {
	state, err := r.checkpointState(s)
	return &saving{state, s}, err
}

// write is the stage that saves: training goes on while it writes. A save that has begun is finished even when ctx is
// cancelled.
func (r *Run) write(_ context.Context, s *saving) error {
	if r.BeforeSave != nil {
		if err := r.BeforeSave(); err != nil {
			return err
		}
	}
	fs := r.FS
	if fs == nil {
		fs = checkpoint.Disk{}
	}
	_, err := checkpoint.Save(fs, r.Dir, s.state, checkpoint.Options{Keep: r.o.Run.Keep})
	r.keep(s.snapshot)
	return err
}

// saveNow saves the state before next. The graph must have ended.
func (r *Run) saveNow(next stages.Plan) error {
	snapshot, err := stages.TakeSnapshot(r.towers, next, r.spare())
	if err != nil {
		return err
	}
	if snapshot.Bank, err = r.objective.State(snapshot.Bank); err != nil {
		return err
	}
	s, err := r.savingOf(snapshot)
	if err != nil {
		return err
	}
	return r.write(context.Background(), s)
}
