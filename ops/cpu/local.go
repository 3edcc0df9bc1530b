package cpu

import "github.com/contraflow/contraflow/ops"

// Local implements ops.Local.
func (p *params) Local(f func(s ops.ParamSpec, value, grad []float32)) {
	p.settle()
	for i, s := range p.specs {
		if s.Role.Trainable() {
			f(s, p.tensors[i].value, p.tensors[i].grad)
		}
	}
	p.version++
}
