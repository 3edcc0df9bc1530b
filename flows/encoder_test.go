package flows_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// features embeds the validation images.
func features(t *testing.T, path, data string, with flows.Open) []float32 {
	t.Helper()
	e, err := flows.OpenEncoder(path, with)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m, err := e.Embedder(data, "val", "")
	if err != nil {
		t.Fatal(err)
	}
	f, err := m.Run(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if cap(f.Rows) != f.Len()*f.Dim { // of a large data set they fill the memory
		t.Errorf("%d rows of %d features have memory for %d values", f.Len(), f.Dim, cap(f.Rows))
	}
	return f.Rows
}

// Every kind of file that a run can become opens as the same encoder, also without a word on how it was trained; freshly drawn
// weights are those of a fresh run.
func TestOpenEncoder(t *testing.T) {
	data := images(t)
	for method, model := range map[string]string{"cmc": "resnet18v1", "moco": "resnet18", "insdis": "resnet18"} {
		o := small(t, method, data)
		o.Run.MaxSteps = 2
		run(t, o)
		dir := filepath.Join(o.Run.ModelPath, flows.RunName(o))
		want := features(t, dir, data, flows.Open{})
		out := t.TempDir()
		for _, name := range []string{"a.pth", "b.safetensors", "c.npz"} {
			path := filepath.Join(out, name)
			if err := flows.Convert(dir, path, false); err != nil {
				t.Fatal(err)
			}
			if got := features(t, path, data, flows.Open{}); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %s gives other features", method, name)
			}
		}
		s, err := flows.ReadState(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.Meta = nil
		bare := filepath.Join(out, "bare.safetensors")
		if err := flows.WriteState(bare, s, false); err != nil {
			t.Fatal(err)
		}
		if got := features(t, bare, data, flows.Open{ImageSize: 32, Decoder: "go"}); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: bare tensors give other features", method)
		}
		if got := features(t, bare, data, flows.Open{ImageSize: 32, Decoder: "go", Model: model}); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: bare tensors as %s give other features", method, model)
		}
		if _, err := flows.OpenEncoder(bare, flows.Open{Model: "resnet50"}); err == nil {
			t.Errorf("%s: opened as resnet50", method)
		}
		fresh := small(t, method, data)
		e, err := flows.OpenEncoder(dir, flows.Open{})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Reset(); err != nil {
			t.Fatal(err)
		}
		m, err := e.Embedder(data, "val", "")
		if err != nil {
			t.Fatal(err)
		}
		reset, err := m.Run(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
		if fmt.Sprint(reset.Rows) == fmt.Sprint(want) {
			t.Errorf("%s: Reset changed nothing", method)
		}
		p, err := flows.Prepare(fresh)
		if err != nil {
			t.Fatal(err)
		}
		k, err := flows.NewMonitor(p, 100, context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.KNN(context.Background()); err != nil {
			t.Fatal(err)
		}
		p.Close()
		if fmt.Sprint(reset.Rows) != fmt.Sprint(k.Val.Rows) {
			t.Errorf("%s: after Reset the features are not those of a fresh run", method)
		}
	}
}

// Bare tensors do not say which colour space they were trained on: whoever knows it says it, and a probe takes it.
func TestOpenBareOfAnotherView(t *testing.T) {
	data := images(t)
	o := small(t, "cmc", data)
	o.Run.MaxSteps, o.Data.View = 1, "YCbCr"
	run(t, o)
	dir := filepath.Join(o.Run.ModelPath, flows.RunName(o))
	s, err := flows.ReadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Meta = nil
	bare := filepath.Join(t.TempDir(), "bare.npz")
	if err := flows.WriteState(bare, s, false); err != nil {
		t.Fatal(err)
	}
	if got, want := features(t, bare, data, flows.Open{ImageSize: 32, Decoder: "go", View: "ycbcr"}), features(t, dir, data, flows.Open{}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Error("the features are not those of the run")
	}
	for path, refused := range map[string]bool{bare: false, dir: true} {
		p := smallProbe(t, data, path)
		p.ImageSize, p.View = 32, "RGB"
		r, err := flows.PrepareProbe(context.Background(), p)
		if (err != nil) != refused {
			t.Errorf("a probe of %s with --view RGB: %v", path, err)
		}
		if err == nil {
			r.Close()
		}
	}
}
