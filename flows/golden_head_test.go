package flows_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// lcg is the generator of the numbers below: x' = (1664525·x + 1013904223) mod 2^32, values 2x/2^32 - 1.
func lcg(seed uint32, n int, scale float64, offset ...float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		seed = 1664525*seed + 1013904223
		v := scale * (2*float64(seed)/(1<<32) - 1)
		for _, o := range offset {
			v += o
		}
		out[i] = float32(v)
	}
	return out
}

// lcgAlexNet writes AlexNet's pair of towers, filled by the generator: entry i of the state dictionary has seed 1000+i.
func lcgAlexNet(t *testing.T) string {
	t.Helper()
	model := encoders.Model{Net: encoders.AlexNet{Out: 128}, Multi: true}
	s := &checkpoint.State{}
	i := uint32(0)
	for v, c := range []int{1, 2} {
		for _, p := range model.Net.Tower(c, 224).Params {
			var x []float32
			switch {
			case p.Role == ops.Weight:
				x = lcg(1000+i, p.Len(), math.Sqrt(3/float64(p.FanIn())))
			case p.Role == ops.Gamma:
				x = lcg(1000+i, p.Len(), 0.1, 1)
			case p.Role == ops.Beta || p.Role == ops.Bias:
				x = lcg(1000+i, p.Len(), 0.1)
			case p.Role == ops.RunningVar:
				x = slices.Repeat([]float32{1}, p.Len())
			default:
				x = make([]float32, p.Len())
			}
			s.Tensors = append(s.Tensors, raw.FromFloat32(model.Prefix(v)+p.Name, p.Shape, x))
			i++
		}
	}
	path := filepath.Join(t.TempDir(), "alexnet.safetensors")
	if err := flows.WriteState(path, s, false); err != nil {
		t.Fatal(err)
	}
	return path
}

// headTrace is what the original's classifier does in three steps on AlexNet's features: the losses, and the first and last weight after them.
type headTrace struct {
	losses [3]float64
	w      [4]float64 // the first three and the last weight
	sumW   float64
	sqW    float64
	sqB    float64
}

// The numbers were printed by the original's LinearClassifierAlexNet in float64 from float32 weights and inputs (PyTorch 1.13.1): 100
// classes, learning rate 0.001, SGD with momentum 0.9, Adam with betas 0.5 and 0.999.
var headTraces = map[int]struct {
	top5      []int // of the first image, before any step
	sgd, adam headTrace
}{
	1: {[]int{59, 65, 82, 27, 8},
		headTrace{[3]float64{4.7844734, 1.5379769, 1.2664838}, [4]float64{-0.006534496, 0.005935268, -0.002793605, -0.008564857}, -0.283149, 32.057328, 0.0033917484},
		headTrace{[3]float64{4.7844734, 1.4000908, 3.6451204}, [4]float64{-0.008242474, 0.004228778, -0.004501167, -0.01026222}, -1516.21, 34.872952, 0.0034125865}},
	3: {[]int{59, 1, 65, 8, 25},
		headTrace{[3]float64{4.5403166, 2.8844266, 1.4789442}, [4]float64{-0.006565997, 0.005901535, -0.002827464, -0.008553434}, -0.28315, 32.046126, 0.0033949495},
		headTrace{[3]float64{4.5403166, 1.3661687, 1.5952024}, [4]float64{-0.00824286, 0.004228391, -0.004501556, -0.0102626}, -1132.54, 34.115004, 0.0034364842}},
	5: {[]int{78, 89, 76, 61, 57},
		headTrace{[3]float64{4.5303459, 4.0792856, 3.2787821}, [4]float64{-0.006553543, 0.005917534, -0.002811907, -0.004235369}, -1.20221, 30.751598, 0.0033997331},
		headTrace{[3]float64{4.5303459, 1.4743476, 1.3427182}, [4]float64{-0.008358157, 0.004113121, -0.004616806, -0.006047919}, -1163.14, 33.0464, 0.0034575627}},
}

// TestGoldenHead trains the probe's own classifier on the features of its own frozen encoder against the original's trace, with both optimisers.
func TestGoldenHead(t *testing.T) {
	e, err := flows.OpenEncoder(lcgAlexNet(t), flows.Open{Model: "alexnet", Device: testDevice()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const n, size = 4, 224 * 224
	x := lcg(1, n*3*size, 1)
	b := &stages.Batch{Plan: stages.Plan{Index: []int{0, 1, 2, 3}}, Views: split(x, n, size)}
	labels := []int{3, 14, 15, 92}
	for layer, want := range headTraces {
		c := e.Model.Classifier(layer, 100, "")
		f, err := e.Frozen(layer, c, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		rows := make([]float32, n*f.Dim)
		if err := f.Run(rows, b); err != nil {
			t.Fatal(err)
		}
		for name, trace := range map[string]headTrace{"sgd": want.sgd, "adam": want.adam} {
			h, err := flows.NewLinearHead(c, f.Dim, n, 2, 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			h.LR, h.Momentum = 0.001, 0.9
			if name == "adam" {
				h.Adam = &ops.Adam{Beta1: 0.5, Beta2: 0.999, Eps: 1e-8}
			}
			s, err := h.State()
			if err != nil {
				t.Fatal(err)
			}
			s.Values = [][]float32{lcg(5000, 100*f.Dim, 0.01), lcg(5001, 100, 0.01)}
			if err := h.Restore(s); err != nil {
				t.Fatal(err)
			}
			kase := "head layer " + string(rune('0'+layer)) + " " + name
			for i, want := range trace.losses {
				loss, logits, err := h.Step(rows, labels)
				if err != nil {
					t.Fatal(err)
				}
				// The trace is of float64 arithmetic: three steps of float32 drift by 1e-5 and less.
				note(t, kase, "loss", math.Abs(loss-want)/want, 2e-5)
				if i == 0 {
					if got := topOf(logits[:100], 5); !slices.Equal(got, headTraces[layer].top5) {
						t.Errorf("%s: top 5 %v, want %v", kase, got, headTraces[layer].top5)
					}
				}
			}
			if s, err = h.State(); err != nil {
				t.Fatal(err)
			}
			w, sum, sq := s.Values[0], 0.0, 0.0
			for _, v := range w {
				sum, sq = sum+float64(v), sq+float64(v)*float64(v)
			}
			sqB := 0.0
			for _, v := range s.Values[1] {
				sqB += float64(v) * float64(v)
			}
			for i, got := range []float32{w[0], w[1], w[2], w[len(w)-1]} {
				note(t, kase, "weight", math.Abs(float64(got)-trace.w[i]), 2e-7)
			}
			note(t, kase, "weights", math.Abs(sq-trace.sqW)/trace.sqW, 1e-5)
			note(t, kase, "weights", math.Abs(sum-trace.sumW), 1e-5*max(1, math.Abs(trace.sumW)))
			note(t, kase, "biases", math.Abs(sqB-trace.sqB)/trace.sqB, 1e-5)
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// topOf lists the k largest, largest first.
func topOf(v []float32, k int) []int {
	out := make([]int, len(v))
	for i := range out {
		out[i] = i
	}
	slices.SortStableFunc(out, func(a, b int) int {
		if v[a] > v[b] {
			return -1
		}
		if v[a] < v[b] {
			return 1
		}
		return 0
	})
	return out[:k]
}
