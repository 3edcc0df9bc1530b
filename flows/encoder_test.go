package flows_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/safetensors"
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
	t.Parallel()
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

// Whoever judges a tower alone gets its part of what all towers give, from every command.
func TestOpenTowers(t *testing.T) {
	t.Parallel()
	data, dir := encoderRun(t, "cmc")
	ctx := context.Background()
	both := features(t, dir, data, flows.Open{})
	const n, d = 12, 256
	if len(both) != n*2*d {
		t.Fatalf("%d values, want those of %d images and 2 towers", len(both), n)
	}
	for tower := range 2 {
		var want []float32
		for i := range n {
			want = append(want, both[(2*i+tower)*d:][:d]...)
		}
		with := flows.Open{Towers: []int{tower}}
		if got := features(t, dir, data, with); !slices.Equal(got, want) {
			t.Errorf("tower %d alone has other features than beside the other", tower)
		}
		out := filepath.Join(t.TempDir(), "f.safetensors")
		if _, err := flows.EmbedFile(ctx, flows.EmbedOptions{ModelPath: dir, DataFolder: data, Half: "val", Out: out, Open: with}); err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := f.Read("features"); err != nil || !slices.Equal(rows.Float32s(), want) || f.Metadata["towers"] != fmt.Sprint(tower) {
			t.Errorf("embed of tower %d: other features, of %q, %v", tower, f.Metadata["towers"], err)
		}
		f.Close()
		set := func(half string) *flows.FeatureSet {
			e := must(flows.OpenEncoder(dir, with))
			defer e.Close()
			return must(must(e.Embedder(data, half, "")).Run(ctx, nil))
		}
		train, val := set("train"), set("val")
		top1, err := flows.DefaultKNN.Top1(train, val)
		if s := must(flows.ScoreKNN(ctx, dir, data, flows.DefaultKNN, with)); err != nil || s.KNN != top1 {
			t.Errorf("knn of tower %d: %v, want %v, %v", tower, s.KNN, top1, err)
		}
		near := must(flows.KNN{K: 1, T: 1}.Search(train, val))[5][0]
		r := flows.RetrieveOptions{ModelPath: dir, DataFolder: data, Index: []int{5}, K: 1, Out: filepath.Join(t.TempDir(), "r.png"), Open: with}
		first := must(flows.Retrieve(ctx, r))[0]
		r.Index, r.Images = nil, []string{first.Query} // as a file
		for _, found := range []flows.Retrieved{first, must(flows.Retrieve(ctx, r))[0]} {
			if got := found.Neighbours[0]; got.Index != near.Row || got.Similarity != near.Similarity {
				t.Errorf("retrieve with tower %d: %+v, want %+v", tower, got, near)
			}
		}
	}
	for want, with := range map[string]flows.Open{
		"--towers 2: resnet18v1 has 2, counted from 0":        {Towers: []int{2}},
		"--towers 1,1: tower 1 is there twice":                {Towers: []int{1, 1}},
		"--view RGB: the encoder was trained on Lab: leave":   {View: "RGB"},
		`--device "gpu": choose auto, cpu, cuda or cuda:N`:    {Device: "gpu"},
		"--threads -1: must be between 0 (one a core) and 40": {Threads: -1},
	} {
		if e, err := flows.OpenEncoder(dir, with); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
			if err == nil {
				e.Close()
			}
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

// Freshly drawn weights are those that training began with, whatever its seed.
func TestResetOfSeeds(t *testing.T) {
	t.Parallel()
	data := images(t)
	for _, seed := range []int{0, -3} {
		o := small(t, "insdis", data)
		o.Run.MaxSteps, o.Run.Name, o.Run.Seed = 1, "run", seed
		run(t, o)
		e, err := flows.OpenEncoder(filepath.Join(o.Run.ModelPath, "run"), flows.Open{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if err := e.Reset(); err != nil {
			t.Fatal(err)
		}
		o.Run.ModelPath = t.TempDir()
		r, err := flows.Prepare(o)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		name := r.Weights().Names()[0]
		got, err := e.Weights().Read(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := r.Weights().Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got.Data()) != fmt.Sprint(want.Data()) {
			t.Errorf("seed %d: %s is drawn anew as another", seed, name)
		}
	}
}
