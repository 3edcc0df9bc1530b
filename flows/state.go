package flows

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// Tensor names in a checkpoint: a tower's tensors under their names in the reference's files, velocities and the bank
// under a prefix of their own.
const (
	velocityPrefix = "velocity/"
	bankPrefix     = "contrast/"
	momentumPrefix = "ema/"
)

// checkpointState turns a snapshot into what is written.
func (r *Run) checkpointState(s *stages.Snapshot) (*checkpoint.State, error) {
	options, err := json.Marshal(r.o)
	if err != nil {
		return nil, err
	}
	out := &checkpoint.State{Step: s.Next.Step, Epoch: s.Next.Epoch - 1, Meta: map[string]json.RawMessage{"options": options}}
	if err := r.averages.save(out.Meta); err != nil {
		return nil, err
	}
	if err := setMeta(out, metaData, r.fingerprint); err != nil {
		return nil, err
	}
	for i, t := range s.Towers {
		for _, p := range t.Params {
			name := r.tensorPrefix(i) + p.Spec.Name
			out.Tensors = append(out.Tensors, referenceType(raw.FromFloat32(name, p.Spec.Shape, p.Value)))
			if p.Velocity != nil {
				out.Tensors = append(out.Tensors, raw.FromFloat32(velocityPrefix+name, p.Spec.Shape, p.Velocity))
			}
		}
	}
	for _, b := range s.Bank {
		out.Tensors = append(out.Tensors, referenceType(raw.FromFloat32(bankPrefix+b.Name, b.Shape, b.Data)))
	}
	return out, nil
}

// tensorPrefix stands before the names of tower i's tensors.
func (r *Run) tensorPrefix(i int) string {
	if r.towers[i].Follows >= 0 {
		return momentumPrefix + r.net.model.Prefix(r.towers[i].Follows)
	}
	return r.net.model.Prefix(i)
}

// restore brings a checkpoint back into the run and returns its step.
func (r *Run) restore(s *checkpoint.State) (int, error) {
	// Files of weights alone have no velocities, which then begin at zero as in a new run.
	velocities := slices.ContainsFunc(s.Tensors, func(t raw.Tensor) bool { return strings.HasPrefix(t.Name, velocityPrefix) })
	for i, t := range r.towers {
		if err := readParams(s, r.tensorPrefix(i), t.Params, velocities && t.Follows < 0); err != nil {
			return 0, err
		}
	}
	err := r.objective.Restore(func(name string, n int) ([]float32, error) {
		t := s.Tensor(bankPrefix + name)
		if t == nil {
			return nil, fmt.Errorf("the checkpoint has no %s: weights alone can be judged, but to go on takes the memory or queue of their training too", bankPrefix+name)
		}
		if t.Len() != n {
			return nil, fmt.Errorf("%s has %d values, this run wants %d: it was saved with another data set, --nce_k or --feat_dim", t.Name, t.Len(), n)
		}
		return t.Float32s(), nil
	})
	return s.Step, err
}

// readParams writes a checkpoint's tensors into parameters, and with velocities the one of every parameter that is trained.
func readParams(s *checkpoint.State, prefix string, p ops.Params, velocities bool) error {
	for _, spec := range p.Specs() {
		t := s.Tensor(prefix + spec.Name)
		if t == nil {
			if spec.Role == ops.Batches {
				continue // files of PyTorch 0.4.0 lack them
			}
			return fmt.Errorf("the checkpoint has no tensor %s: it was saved with another --model or --views", prefix+spec.Name)
		}
		if t.Len() != spec.Len() || spec.Role != ops.Batches && !slices.Equal(t.Shape, spec.Shape) {
			return fmt.Errorf("tensor %s has shape %v, this model wants %v: it was saved with another --model or --image_size", t.Name, t.Shape, spec.Shape)
		}
		if spec.Role != ops.Batches && !t.DType.Float() {
			return fmt.Errorf("tensor %s holds %v, this model wants floating-point numbers: whatever wrote the file gave the wrong type", t.Name, t.DType)
		}
		if err := p.Write(spec.Name, t.Float32s()); err != nil {
			return err
		}
		if !velocities || !spec.Role.Trainable() {
			continue
		}
		v := s.Tensor(velocityPrefix + prefix + spec.Name)
		if v == nil {
			return fmt.Errorf("the checkpoint has velocities, but no %s: whatever wrote it left that out; with none at all they begin at zero", velocityPrefix+prefix+spec.Name)
		}
		if err := p.WriteVelocity(spec.Name, v.Float32s()); err != nil {
			return err
		}
	}
	return nil
}

// optionsOf reads the options a checkpoint was trained with. Options that are younger than the file have their defaults.
func optionsOf(s *checkpoint.State) (Options, error) {
	text, ok := s.Meta["options"]
	if !ok {
		return Options{}, fmt.Errorf("the checkpoint does not say how it was trained")
	}
	var first struct{ Method string }
	if err := json.Unmarshal(text, &first); err != nil {
		return Options{}, err
	}
	o := Defaults(first.Method)
	err := json.Unmarshal(text, &o)
	o.canonical()
	return o, err
}
