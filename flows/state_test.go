package flows

import (
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
)

// Weights of the right number but another shape, or of a type that weights do not have, are not taken for the model's.
func TestReadParamsRefuses(t *testing.T) {
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	g := ops.NewGraph(ops.Shape{C: 3, H: 4, W: 4})
	g.Conv(g.Input(), "conv", ops.ConvOptions{Out: 2, Kernel: 1})
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	good := raw.FromFloat32("conv.weight", []int{2, 3, 1, 1}, []float32{1, 2, 3, 4, 5, 6})
	flat, whole := good, good
	flat.Shape = []int{6}
	whole.DType = raw.Int32
	for want, weight := range map[string]raw.Tensor{"": good, "has shape [6], this model wants [2 3 1 1]": flat, "holds int32": whole} {
		err := readParams(&checkpoint.State{Tensors: []raw.Tensor{weight}}, "", p, false)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v of %v: %v, want %q", weight.Shape, weight.DType, err, want)
		}
	}
}
