package stages

import "github.com/contraflow/contraflow/ops"

// Snapshot is a copy of everything a run needs to go on from before Next, in the reference's layout.
type Snapshot struct {
	Next   Plan
	Towers []TowerState
	// Bank is filled in by contrast, which owns the memory: tensors by name.
	Bank []BankTensor
	// Meters is filled in by update.
	Meters map[string]float64
}

// TowerState is the state of one tower.
type TowerState struct {
	Name   string
	Params []TensorState
}

// TensorState is one parameter or buffer; Velocity is nil for buffers and momentum encoders.
type TensorState struct {
	Spec            ops.ParamSpec
	Value, Velocity []float32
}

// BankTensor is one named tensor of a memory or a queue.
type BankTensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// TakeSnapshot copies the state of towers, into the memory of an old snapshot of the same towers if there is one.
func TakeSnapshot(towers []Tower, next Plan, old *Snapshot) (*Snapshot, error) {
	s := &Snapshot{Next: next}
	if old != nil {
		s.Bank = old.Bank // whose memory contrast uses again
	}
	if old == nil || len(old.Towers) != len(towers) {
		old = &Snapshot{Towers: make([]TowerState, len(towers))}
	}
	for k, t := range towers {
		state := TowerState{Name: t.Name}
		specs := t.Params.Specs()
		if len(old.Towers[k].Params) != len(specs) {
			old.Towers[k].Params = make([]TensorState, len(specs))
		}
		for i, spec := range specs {
			was := old.Towers[k].Params[i]
			ts := TensorState{Spec: spec, Value: grow(was.Value, spec.Len())}
			if err := t.Params.Read(spec.Name, ts.Value); err != nil {
				return nil, err
			}
			if spec.Role.Trainable() && t.Follows < 0 {
				ts.Velocity = grow(was.Velocity, spec.Len())
				if err := t.Params.ReadVelocity(spec.Name, ts.Velocity); err != nil {
					return nil, err
				}
			}
			state.Params = append(state.Params, ts)
		}
		s.Towers = append(s.Towers, state)
	}
	return s, nil
}

// Restore writes a snapshot back into towers of the same shape.
func (s *Snapshot) Restore(towers []Tower) error {
	for i, t := range towers {
		for _, ts := range s.Towers[i].Params {
			if err := t.Params.Write(ts.Spec.Name, ts.Value); err != nil {
				return err
			}
			if ts.Velocity == nil {
				continue
			}
			if err := t.Params.WriteVelocity(ts.Spec.Name, ts.Velocity); err != nil {
				return err
			}
		}
	}
	return nil
}
