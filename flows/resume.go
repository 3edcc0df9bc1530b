package flows

import (
	"errors"
	"fmt"

	"github.com/contraflow/contraflow/io/checkpoint"
)

// resumePath is the file that --resume names: with "auto" the newest checkpoint of the folder, if there is one; "" is none.
func resumePath(dir, resume string) (string, error) {
	if resume != "auto" {
		return resume, nil
	}
	path, err := checkpoint.Latest(checkpoint.Disk{}, dir)
	if errors.Is(err, checkpoint.ErrNone) {
		return "", nil
	}
	return path, err
}

// resume restores the checkpoint that --resume names, if there is one.
func (r *Run) resume() error {
	path, err := resumePath(r.Dir, r.o.Run.Resume)
	if path == "" || err != nil {
		return err
	}
	state, err := ReadState(path)
	if err != nil {
		return fmt.Errorf("--resume: %w", err)
	}
	if err := r.averages.load(state.Meta); err != nil {
		return fmt.Errorf("--resume %s: %w", path, err)
	}
	saved, err := optionsOf(state)
	if _, ours := state.Meta[metaData]; err != nil || state.Step == 0 && !ours { // the reference's files hold few of them
		saved = r.o
	}
	if saved.Method != r.o.Method {
		return fmt.Errorf("--resume %s: it is a run of train %s, not train %s", path, saved.Method, r.o.Method)
	}
	data, err := r.fingerprint.changes(state)
	if err != nil {
		return fmt.Errorf("--resume %s: %w", path, err)
	}
	told, err := agrees(append(changes(saved, r.o), data...), r.o.Run.Force)
	if err != nil {
		return fmt.Errorf("--resume %s: %w", path, err)
	}
	r.Warnings = append(r.Warnings, told...)
	if state.Step == 0 { // the reference's files are not refused: what differs is told
		line, err := r.differences(state)
		if err != nil {
			return fmt.Errorf("--resume %s: %w", path, err)
		}
		if line != "" {
			r.Warnings = append(r.Warnings, line)
		}
	}
	step, err := r.restore(state)
	if err != nil {
		return fmt.Errorf("--resume %s: %w", path, err)
	}
	if step == 0 { // the reference's files count whole epochs
		step = state.Epoch * r.sampler.PerEpoch()
	}
	r.sampler.Start = step
	return nil
}
