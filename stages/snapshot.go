package stages

import "github.com/contraflow/contraflow/ops"

// Snapshot is a copy of everything a run needs to go on from before Next, in the reference's layout.
type Snapshot struct {
	Next   Plan
	Towers []TowerState
	// Bank is filled in by contrast, which owns the memory: tensors by name.
	Bank []BankTensor
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

// NewSnapshot is room for snapshots of towers, cut from one piece of memory, which memory is asked for.
func NewSnapshot(towers []Tower, memory func(n int) []float32) *Snapshot {
	trained := func(t Tower, spec ops.ParamSpec) bool { return spec.Role.Trainable() && t.Follows < 0 }
	total := 0
	for _, t := range towers {
		for _, spec := range t.Params.Specs() {
			total += spec.Len()
			if trained(t, spec) {
				total += spec.Len()
			}
		}
	}
	room := memory(total)
	cut := func(n int) (out []float32) {
		out, room = room[:n:n], room[n:]
		return out
	}
	s := &Snapshot{}
	for _, t := range towers {
		state := TowerState{Name: t.Name}
		for _, spec := range t.Params.Specs() {
			ts := TensorState{Spec: spec, Value: cut(spec.Len())}
			if trained(t, spec) {
				ts.Velocity = cut(spec.Len())
			}
			state.Params = append(state.Params, ts)
		}
		s.Towers = append(s.Towers, state)
	}
	return s
}

// TakeSnapshot copies the state of towers, into the memory of a snapshot of the same towers that nobody needs any more if there is
// one.
func TakeSnapshot(towers []Tower, next Plan, old *Snapshot) (*Snapshot, error) {
	s := old
	if s == nil {
		s = NewSnapshot(towers, func(n int) []float32 { return make([]float32, n) })
	}
	s.Next = next
	for k, t := range towers {
		for _, ts := range s.Towers[k].Params {
			if err := t.Params.Read(ts.Spec.Name, ts.Value); err != nil {
				return nil, err
			}
			if ts.Velocity == nil {
				continue
			}
			if err := t.Params.ReadVelocity(ts.Spec.Name, ts.Velocity); err != nil {
				return nil, err
			}
		}
	}
	return s, nil // contrast copies the bank into the memory of the one that is there
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
