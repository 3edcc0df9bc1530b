package flows_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/stages"
)

// User code sees batches, weights and features as tensors: a weight that it writes is what the encoder embeds with, and a run's are
// those of its checkpoint.
func TestTensors(t *testing.T) {
	data := images(t)
	o := small(t, "cmc", data)
	o.Run.MaxSteps = 1
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	e, err := flows.OpenEncoder(r.Dir, flows.Open{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	names := e.Weights().Names()
	state, err := flows.ReadState(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		got, err := r.Weights().Read(name)
		if err != nil {
			t.Fatal(err)
		}
		saved := state.Tensor(name)
		if saved == nil || !slices.Equal(got.Shape(), tensor.Shape(saved.Shape)) || got.Dims() > 0 && !slices.Equal(got.Data().([]float32), saved.Float32s()) {
			t.Fatalf("%s: the run has %v, its checkpoint %v", name, got.Shape(), saved)
		}
	}
	embed := func() *tensor.Dense {
		m, err := e.Embedder(data, "val", "")
		if err != nil {
			t.Fatal(err)
		}
		f, err := m.Run(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return f.Dense()
	}
	before := slices.Clone(embed().Data().([]float32))
	first := names[slices.IndexFunc(names, func(s string) bool { return strings.HasSuffix(s, "weight") })]
	w, err := e.Weights().Read(first)
	if err != nil {
		t.Fatal(err)
	}
	w.Zero()
	if err := e.Weights().Write(first, w); err != nil {
		t.Fatal(err)
	}
	after := embed()
	if after.Dims() != 2 || slices.Equal(after.Data().([]float32), before) {
		t.Errorf("features %v did not change with %s", after.Shape(), first)
	}
	if err := e.Weights().Write(first, after); err == nil {
		t.Errorf("features were written to %s", first)
	}
	if _, err := e.Weights().Read("nothing"); err == nil {
		t.Error("there is a tensor without a tower")
	}
	for b, err := range flows.Batches(o) {
		if err != nil {
			t.Fatal(err)
		}
		if x := b.Dense(1); !slices.Equal(x.Shape(), tensor.Shape{o.Optim.BatchSize, 2, 32, 32}) || &x.Data().([]float32)[0] != &b.Views[1][0] {
			t.Errorf("the chroma of a batch is %v", x.Shape())
		}
		if (&stages.Batch{}).Dense(0) != nil {
			t.Error("a batch without views has one")
		}
		b.Release()
		break
	}
}
