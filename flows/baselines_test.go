package flows_test

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// baseline are options of a short run of train predict or train supervised.
func baseline(t *testing.T, method, data string) flows.Options {
	o := small(t, method, data)
	o.Net.Model, o.Optim.LR = "resnet18v1", 0.01
	return o
}

// The baselines train, stop, go on to the bit, and what they leave is judged like any encoder.
func TestBaselines(t *testing.T) {
	t.Parallel()
	data := images(t)
	for name, c := range map[string]struct {
		values []string
		change func(o *flows.Options)
	}{
		"predict L1":          {[]string{"pred_loss", "pred_l1", "pred_l2"}, func(o *flows.Options) { o.Loss.Predict = "L1" }},
		"predict L2 from ab":  {[]string{"pred_loss", "pred_l1", "pred_l2"}, func(o *flows.Options) { o.Data.Views = "ab|L" }},
		"supervised":          {[]string{"ce_loss", "ce_acc"}, func(o *flows.Options) {}},
		"supervised L":        {[]string{"ce_loss", "ce_acc"}, func(o *flows.Options) { o.Data.Views = "L" }},
		"supervised resnet18": {[]string{"ce_loss", "ce_acc"}, func(o *flows.Options) { o.Net.Model = "resnet18"; o.Data.Aug = "CJ" }},
	} {
		t.Run(name, func(t *testing.T) {
			method, _, _ := strings.Cut(name, " ")
			o := baseline(t, method, data)
			c.change(&o)
			if err := flows.Validate(o); err != nil {
				t.Fatal(err)
			}
			want := run(t, o)
			var first map[string]any
			line, _, _ := strings.Cut(want, "\n")
			if err := json.Unmarshal([]byte(strings.Replace(line, ",,", ",", 1)), &first); err != nil {
				t.Fatal(err)
			}
			for _, n := range c.values {
				if v, ok := first[n].(float64); !ok || math.IsNaN(v) {
					t.Errorf("%s is %v", n, first[n])
				}
			}
			dir := o.Run.ModelPath
			o.Run.ModelPath, o.Run.MaxSteps = t.TempDir(), 5
			run(t, o)
			o.Run.MaxSteps, o.Run.Resume, o.Data.Workers = 0, "auto", 2
			if got := run(t, o); got != want {
				t.Errorf("stopped and resumed:\n%s\nstraight:\n%s", got, want)
			}
			last := filepath.Join(flows.RunName(o), "step-000000008", "tensors.safetensors")
			a, err := os.ReadFile(filepath.Join(dir, last))
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(o.Run.ModelPath, last)); err != nil || string(a) != string(b) {
				t.Errorf("the last checkpoints differ: %v", err)
			}
			if _, err := flows.ScoreKNN(context.Background(), filepath.Join(dir, flows.RunName(o)), data, flows.DefaultKNN, flows.Open{Threads: 1}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Labels are learnt: a supervised run fits its training images, a predictive one lowers its loss.
func TestBaselinesLearn(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("half a minute: run without -short")
	}
	data := images(t)
	for _, method := range []string{"supervised", "predict"} {
		o := baseline(t, method, data)
		o.Optim.Epochs, o.Optim.BatchSize, o.Optim.LR, o.Data.CropLow = 15, 9, 0.003, 0.8
		l := losses(t, run(t, o))
		first, last := l[0], (l[len(l)-1]+l[len(l)-2]+l[len(l)-3])/3
		if last > 0.6*first {
			t.Errorf("%s: the loss went from %.3f to %.3f", method, first, last)
		}
	}
}

// The gradients of both objectives are those of their losses, by differences; samples that lack a view do not count.
func TestBaselineGradients(t *testing.T) {
	const n, k, size = 4, 3, 5
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(r.NormFloat64())
		}
		return out
	}
	batch := &stages.Batch{Plan: stages.Plan{Index: []int{0, 1, 2, 3}}, Labels: []int{0, 2, 1, 2},
		Views: [][]float32{draw(n * 2), draw(n * size), draw(n * 2 * size)}, Present: [][]bool{nil, {true, false, true, true}, nil}}
	for name, c := range map[string]struct {
		objective stages.Objective
		out       [][]float32
		h         float32 // small enough that no difference changes its sign
	}{
		"supervised": {flows.NewSupervised(k), [][]float32{draw(n * k), draw(n * k), draw(n * k)}, 1e-2},
		"L1":         {flows.NewPredictive(true), [][]float32{draw(n * 3 * size)}, 1e-4},
		"L2":         {flows.NewPredictive(false), [][]float32{draw(n * 3 * size)}, 1e-2},
	} {
		score := func() *stages.Scores {
			s := &stages.Scores{Features: &stages.Features{Batch: batch, Out: c.out}}
			if err := c.objective.Score(s); err != nil {
				t.Fatal(err)
			}
			return s
		}
		var want [][]float32
		for _, d := range score().D {
			want = append(want, append([]float32(nil), d...))
		}
		for v, out := range c.out {
			for i := range out {
				if name == "supervised" && v == 1 && i/k == 1 {
					continue // lacks the view: encode sends no gradient there
				}
				old := out[i]
				out[i] = old + c.h
				up := score().Loss
				out[i] = old - c.h
				down := score().Loss
				out[i] = old
				got := (up - down) / float64(2*c.h)
				if math.Abs(got-float64(want[v][i])) > 2e-3 {
					t.Errorf("%s: output %d value %d: gradient %v, difference %v", name, v, i, want[v][i], got)
				}
			}
		}
	}
	const z = 1e4 // far apart logits stay finite
	grad := make([]float32, 2)
	if loss := flows.CrossEntropy([]float32{z, -z}, []int{1}, 2, grad); loss != 2*z || grad[0] != 1 || grad[1] != -1 {
		t.Errorf("loss %v, gradient %v", loss, grad)
	}
}

// The decoder gives every network's last map the size of the image, for every size.
func TestDecoderShapes(t *testing.T) {
	for _, model := range []string{"alexnet", "resnet18v1", "resnet50v1"} {
		m, err := encoders.Lookup(model, 128)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{32, 48, 65, 224} {
			g := m.Net.Tower(1, size)
			if err := encoders.Decode(g, "layer5", ops.Shape{C: 2, H: size, W: size}); err != nil {
				t.Fatalf("%s at %d: %v", model, size, err)
			}
			v, ok := g.Marked(encoders.Prediction)
			if want := (ops.Shape{C: 2, H: size, W: size}); !ok || g.Shape(v) != want {
				t.Errorf("%s at %d: predicts %v, want %v", model, size, g.Shape(v), want)
			}
		}
	}
}

// What cannot be trained is refused in one line.
func TestBaselineMistakes(t *testing.T) {
	data := images(t)
	for want, change := range map[string]func(o *flows.Options){
		"--model resnet18 is one encoder of colour images, and predict needs a tower a view: contraflow models": func(o *flows.Options) { o.Net.Model = "resnet18" },
		`--views "L": predict needs at least two views`:                                                         func(o *flows.Options) { o.Data.Views = "L" },
	} {
		o := baseline(t, "predict", data)
		change(&o)
		if _, err := flows.Prepare(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	one := t.TempDir()
	if err := os.MkdirAll(filepath.Join(one, "train"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(data, "train", "00_disc"), filepath.Join(one, "train", "00_disc")); err != nil {
		t.Fatal(err)
	}
	if _, err := flows.Prepare(baseline(t, "supervised", one)); err == nil || !strings.Contains(err.Error(), "one class") {
		t.Errorf("one class: %v", err)
	}
}
