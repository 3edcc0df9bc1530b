//go:build cuda

package cuda_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
	"github.com/contraflow/contraflow/ops/cuda"
)

// small is a residual network with everything a method's encoder has.
func small() *ops.Graph {
	g := ops.NewGraph(ops.Shape{C: 3, H: 15, W: 13})
	x := g.ReLU(g.BatchNorm(g.Conv(g.Input(), "stem", ops.ConvOptions{Out: 24, Kernel: 5, Stride: 2, Pad: 2}), "bn0"))
	x = g.MaxPool(x, 3, 2, 1)
	y := g.ReLU(g.BatchNorm(g.Conv(x, "a", ops.ConvOptions{Out: 40, Kernel: 3, Stride: 2, Pad: 1}), "bn1"))
	y = g.BatchNorm(g.Conv(y, "b", ops.ConvOptions{Out: 40, Kernel: 3, Pad: 1}), "bn2")
	s := g.BatchNorm(g.Conv(x, "c", ops.ConvOptions{Out: 40, Kernel: 1, Stride: 2}), "bn3")
	x = g.ReLU(g.Add(y, s))
	g.Mark("map", x)
	x = g.Flatten(g.AdaptiveAvgPool(x, 1))
	g.Mark("embedding", g.L2Norm(g.Linear(g.Dropout(g.ReLU(g.Linear(x, "fc1", 17, true)), 0.3), "fc2", 9, true)))
	return g
}

// steps trains a network for some steps and returns the last embedding, the gradient norm and one weight.
func steps(t *testing.T, d ops.Device, g *ops.Graph, n int, direct bool) (embedding []float32, norm float64, weight, velocity []float32) {
	t.Helper()
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	if err := encoders.Init(p, 3, false); err != nil {
		t.Fatal(err)
	}
	pr, err := d.Compile(g, p, ops.Options{Batch: 6, Train: true, BNGroups: 2, Seed: 4, Direct: direct})
	if err != nil {
		t.Fatal(err)
	}
	key, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		b := 6 - i/2 // two full batches, the second of which may be recorded, and a short one
		tape, err := pr.Forward(noise(b*g.Shape(0).Len(), 1, uint64(i)), b)
		if err != nil {
			t.Fatal(err)
		}
		embedding = append(embedding[:0], tape.Output(0)...)
		p.ZeroGrad()
		if _, err := tape.Backward(noise(len(embedding), 0.1, uint64(50+i))); err != nil {
			t.Fatal(err)
		}
		norm = p.GradNorm()
		p.SGD(0.05, 0.9, 1e-3)
		if err := key.Average(p, 0.75); err != nil {
			t.Fatal(err)
		}
	}
	weight, velocity = make([]float32, 40*40*9), make([]float32, 40*40*9)
	if err := key.Read("b.weight", weight); err != nil {
		t.Fatal(err)
	}
	if err := p.ReadVelocity("b.weight", velocity); err != nil {
		t.Fatal(err)
	}
	return embedding, norm, weight, velocity
}

func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// Three steps of training with momentum, decay, dropout and a momentum encoder are the processor's: in float32 within 1e-4.
func TestConformSmallSteps(t *testing.T) { smallSteps(t, open(t, cuda.Options{}), true) }

// smallSteps are three steps on a device and on the processor; direct ones time no engines.
func smallSteps(t *testing.T, d ops.Device, direct bool) {
	t.Helper()
	c, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want, norm, weight, velocity := steps(t, c, small(), 3, true)
	got, gotNorm, gotWeight, gotVelocity := steps(t, d, small(), 3, direct)
	close32(t, "embedding", got, wide(want), 1e-4)
	close32(t, "momentum encoder", gotWeight, wide(weight), 1e-4)
	close32(t, "velocity", gotVelocity, wide(velocity), 1e-4)
	if math.Abs(gotNorm-norm) > 1e-4*norm {
		t.Errorf("gradient norm %v, want %v", gotNorm, norm)
	}
}

// In bfloat16 the embedding of a first step is within 2e-2 of the processor's, with masters and statistics in float32.
func TestBF16(t *testing.T) {
	c, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want, norm, _, _ := steps(t, c, small(), 1, true)
	got, gotNorm, _, _ := steps(t, open(t, cuda.Options{BF16: true}), small(), 1, true)
	same := 0
	for i, v := range got {
		if v == want[i] {
			same++
		}
		if math.Abs(float64(v-want[i])) > 2e-2 {
			t.Errorf("value %d of the embedding is %v, want %v", i, v, want[i])
		}
	}
	if same > len(got)/2 {
		t.Errorf("%d of %d values are equal to the bit: this is not bfloat16", same, len(got))
	}
	if math.Abs(gotNorm-norm) > 5e-2*norm {
		t.Errorf("gradient norm %v, want %v", gotNorm, norm)
	}
}

// The same steps give the same bits, in both precisions.
func TestSameBits(t *testing.T) {
	for _, bf16 := range []bool{false, true} {
		a, _, w, _ := steps(t, open(t, cuda.Options{BF16: bf16}), small(), 3, true)
		b, _, v, _ := steps(t, open(t, cuda.Options{BF16: bf16}), small(), 3, true)
		for i := range a {
			if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
				t.Fatalf("bfloat16 %v: embeddings differ", bf16)
			}
		}
		for i := range w {
			if math.Float32bits(w[i]) != math.Float32bits(v[i]) {
				t.Fatalf("bfloat16 %v: weights differ", bf16)
			}
		}
	}
}

// What does not fit is named, with what to lower.
func TestOutOfMemory(t *testing.T) {
	d := open(t, cuda.Options{})
	g := ops.NewGraph(ops.Shape{C: 1, H: 64, W: 64})
	x := g.Input()
	for range 400 { // 200 GiB of activations, on any device too much
		x = g.AvgPool(x, 1, 1)
	}
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	pr, err := d.Compile(g, p, ops.Options{Batch: 4000, Train: true})
	if err == nil {
		_, err = pr.Forward(make([]float32, g.Shape(0).Len()), 1)
	}
	var full *cuda.OutOfMemory
	if !errors.As(err, &full) || !strings.Contains(err.Error(), "--batch_size") || !strings.Contains(err.Error(), "GiB are free") {
		t.Fatalf("error %v", err)
	}
	t.Log(err)
}
