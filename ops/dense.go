package ops

import (
	"fmt"

	"gorgonia.org/tensor"
)

// Dense copies a parameter or buffer into a tensor of its own, in the reference's shape: what user code works with.
func Dense(p Params, name string) (*tensor.Dense, error) {
	for _, s := range p.Specs() {
		if s.Name != name {
			continue
		}
		data := make([]float32, s.Len())
		if err := p.Read(name, data); err != nil {
			return nil, err
		}
		if len(s.Shape) == 0 {
			return tensor.New(tensor.FromScalar(data[0])), nil
		}
		return tensor.New(tensor.WithShape(s.Shape...), tensor.WithBacking(data)), nil
	}
	return nil, fmt.Errorf("ops: no parameter %q among %d", name, len(p.Specs()))
}

// SetDense writes a tensor of the parameter's shape, float32, back.
func SetDense(p Params, name string, t *tensor.Dense) error {
	for _, s := range p.Specs() {
		if s.Name != name {
			continue
		}
		if t.Dtype() != tensor.Float32 || !t.Shape().Eq(tensor.Shape(s.Shape)) {
			return fmt.Errorf("ops: parameter %q is float32 %v, the tensor %v %v", name, s.Shape, t.Dtype(), t.Shape())
		}
		if t.IsMaterializable() { // a view, or transposed: its memory is in another order
			t = t.Materialize().(*tensor.Dense)
		}
		if v, ok := t.Data().(float32); ok { // a scalar
			return p.Write(name, []float32{v})
		}
		return p.Write(name, t.Float32s())
	}
	return fmt.Errorf("ops: no parameter %q among %d", name, len(p.Specs()))
}
