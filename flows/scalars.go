package flows

import (
	"path/filepath"

	"github.com/contraflow/contraflow/io/tensorboard"
	"github.com/contraflow/contraflow/stages"
)

// Scalars writes the reference's TensorBoard scalars, the averages of every epoch at step = epoch: l_loss, l_prob, ab_loss and
// ab_prob for CMC; ins_loss, ins_prob and learning_rate for the others.
type Scalars struct {
	w      *tensorboard.Writer
	method string
	err    error
}

// NewScalars opens an event file in --tb_path; without that it returns nil, which writes nothing.
func NewScalars(o Options) (*Scalars, error) {
	if o.Run.TBPath == "" {
		return nil, nil
	}
	w, err := tensorboard.Create(filepath.Join(o.Run.TBPath, RunName(o)))
	if err != nil {
		return nil, err
	}
	return &Scalars{w: w, method: o.Method}, nil
}

// Epoch writes the averages of a finished epoch.
func (s *Scalars) Epoch(_ *stages.Report, a Averages) {
	if s == nil || s.err != nil {
		return
	}
	var out []tensorboard.Scalar
	for _, name := range sortedKeys(a.Sums) { // the last step has no values when it was left out
		if name != "loss" {
			out = append(out, tensorboard.Scalar{Tag: name, Value: a.Mean(name)})
		}
	}
	if s.method != "cmc" {
		out = append(out, tensorboard.Scalar{Tag: "learning_rate", Value: a.LR})
	}
	s.err = s.w.Write(a.Epoch, out...)
}

// Close closes the file and returns the first error of any write.
func (s *Scalars) Close() error {
	if s == nil {
		return nil
	}
	if err := s.w.Close(); s.err == nil {
		s.err = err
	}
	return s.err
}
