package flows

import (
	"fmt"
	"strings"

	"gorgonia.org/tensor"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
)

// Weights are the parameters and buffers of an encoder's towers on their device, as tensors under the names they have in checkpoints
// and in the reference's files.
type Weights struct {
	model  encoders.Model
	towers []ops.Params
}

// Weights are those that the encoder embeds with.
func (e *Encoder) Weights() Weights { return Weights{e.net.model, e.net.params} }

// Weights are those of the encoder that is trained. While Train runs they must be left alone but in Between.
func (r *Run) Weights() Weights { return Weights{r.net.model, r.net.params} }

// Names lists them in the order of the reference's files.
func (w Weights) Names() (names []string) {
	for v, p := range w.towers {
		for _, s := range p.Specs() {
			names = append(names, w.model.Prefix(v)+s.Name)
		}
	}
	return names
}

// Read copies one from the device, float32 in the reference's shape.
func (w Weights) Read(name string) (*tensor.Dense, error) {
	p, own, err := w.tower(name)
	if err != nil {
		return nil, err
	}
	return ops.Dense(p, own)
}

// Write copies a float32 tensor of the same shape to the device.
func (w Weights) Write(name string, t *tensor.Dense) error {
	p, own, err := w.tower(name)
	if err != nil {
		return err
	}
	return ops.SetDense(p, own, t)
}

// tower finds whose parameter it is, and its name there.
func (w Weights) tower(name string) (ops.Params, string, error) {
	for v, p := range w.towers {
		if own, ok := strings.CutPrefix(name, w.model.Prefix(v)); ok {
			return p, own, nil
		}
	}
	return nil, "", fmt.Errorf("there is no tensor %q: Names lists those there are", name)
}

// Dense is the features as a tensor [N,Dim], which shares their memory.
func (f *FeatureSet) Dense() *tensor.Dense {
	return tensor.New(tensor.WithShape(f.Len(), f.Dim), tensor.WithBacking(f.Rows))
}
