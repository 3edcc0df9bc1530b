package opstest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contraflow/contraflow/ops"
)

// tolerance of a device's float32 results, relative to the largest value of the tensor: a few hundred roundings of 6e-8,
// amplified by the divisions of batch norm.
const tolerance = 3e-5

// graphs are the networks of the suite: every operation alone, and the blocks that devices fuse.
func graphs() map[string]func() *ops.Graph {
	start := func(c, h, w int, build func(g *ops.Graph, x ops.Value)) func() *ops.Graph {
		return func() *ops.Graph {
			g := ops.NewGraph(ops.Shape{C: c, H: h, W: w})
			build(g, g.Input())
			return g
		}
	}
	conv := func(o ops.ConvOptions) func(g *ops.Graph, x ops.Value) {
		return func(g *ops.Graph, x ops.Value) { g.Conv(x, "conv", o) }
	}
	return map[string]func() *ops.Graph{
		"conv 3×3":                   start(5, 7, 6, conv(ops.ConvOptions{Out: 9, Kernel: 3, Pad: 1})),
		"conv 3×3 wide":              start(33, 5, 5, conv(ops.ConvOptions{Out: 70, Kernel: 3, Pad: 1})),
		"conv 3×3 stride 2":          start(8, 9, 8, conv(ops.ConvOptions{Out: 32, Kernel: 3, Stride: 2, Pad: 1})),
		"conv 7×7 stride 2":          start(1, 15, 14, conv(ops.ConvOptions{Out: 17, Kernel: 7, Stride: 2, Pad: 3})),
		"conv 7×7 RGB":               start(3, 16, 18, conv(ops.ConvOptions{Out: 9, Kernel: 7, Stride: 2, Pad: 3})),
		"conv 11×11/4 one":           start(1, 27, 31, conv(ops.ConvOptions{Out: 6, Kernel: 11, Stride: 4, Pad: 2})),
		"conv 11×11/4":               start(2, 27, 31, conv(ops.ConvOptions{Out: 6, Kernel: 11, Stride: 4, Pad: 2})),
		"conv 5×5":                   start(4, 6, 8, conv(ops.ConvOptions{Out: 48, Kernel: 5, Pad: 2})),
		"conv 1×1":                   start(64, 4, 5, conv(ops.ConvOptions{Out: 40, Kernel: 1, Bias: true})),
		"conv 1×1 stride 2":          start(16, 5, 7, conv(ops.ConvOptions{Out: 8, Kernel: 1, Stride: 2})),
		"conv groups":                start(6, 5, 5, conv(ops.ConvOptions{Out: 12, Kernel: 3, Pad: 1, Groups: 3, Bias: true})),
		"conv 4 KiB rows":            start(1024, 2, 3, conv(ops.ConvOptions{Out: 33, Kernel: 1})),
		"batch norm":                 start(5, 4, 3, func(g *ops.Graph, x ops.Value) { g.BatchNorm(x, "bn") }),
		"batch norm 1-d":             start(11, 1, 1, func(g *ops.Graph, x ops.Value) { g.BatchNorm(x, "bn") }),
		"batch norm plain":           start(8, 3, 3, func(g *ops.Graph, x ops.Value) { g.BatchNormPlain(x) }),
		"norm and relu of many rows": start(512, 8, 9, func(g *ops.Graph, x ops.Value) { g.ReLU(g.BatchNorm(x, "bn")) }),
		"norm, sum, relu of many rows": start(512, 8, 9, func(g *ops.Graph, x ops.Value) {
			g.ReLU(g.Add(g.BatchNorm(x, "bn"), x))
		}),
		"relu":             start(3, 4, 5, func(g *ops.Graph, x ops.Value) { g.ReLU(x) }),
		"add itself":       start(3, 4, 5, func(g *ops.Graph, x ops.Value) { g.Add(x, x) }),
		"max pool":         start(3, 9, 8, func(g *ops.Graph, x ops.Value) { g.MaxPool(x, 3, 2, 1) }),
		"max pool no pad":  start(3, 9, 8, func(g *ops.Graph, x ops.Value) { g.MaxPool(x, 3, 2, 0) }),
		"max pool 2":       start(3, 9, 8, func(g *ops.Graph, x ops.Value) { g.MaxPool(x, 2, 2, 0) }),
		"average pool":     start(3, 7, 8, func(g *ops.Graph, x ops.Value) { g.AvgPool(x, 3, 2) }),
		"adaptive max":     start(3, 7, 9, func(g *ops.Graph, x ops.Value) { g.AdaptiveMaxPool(x, 4) }),
		"adaptive average": start(3, 7, 9, func(g *ops.Graph, x ops.Value) { g.AdaptiveAvgPool(x, 4) }),
		"adaptive average, more bins than pixels": start(5, 3, 3, func(g *ops.Graph, x ops.Value) { g.AdaptiveAvgPool(x, 6) }),
		"upsampling, conv, norm": start(6, 3, 3, func(g *ops.Graph, x ops.Value) {
			x = g.Conv(g.AdaptiveAvgPool(x, 6), "conv", ops.ConvOptions{Out: 8, Kernel: 3, Pad: 1})
			g.Conv(g.AdaptiveAvgPool(g.ReLU(g.BatchNorm(x, "bn")), 12), "out", ops.ConvOptions{Out: 2, Kernel: 3, Pad: 1, Bias: true})
		}),
		"flatten, linear": start(3, 2, 2, func(g *ops.Graph, x ops.Value) { g.Linear(g.Flatten(x), "fc", 7, true) }),
		"l2 norm":         start(13, 1, 1, func(g *ops.Graph, x ops.Value) { g.L2Norm(x) }),
		"basic block": start(8, 6, 6, func(g *ops.Graph, x ops.Value) {
			y := g.ReLU(g.BatchNorm(g.Conv(x, "a", ops.ConvOptions{Out: 8, Kernel: 3, Pad: 1}), "bn1"))
			y = g.BatchNorm(g.Conv(y, "b", ops.ConvOptions{Out: 8, Kernel: 3, Pad: 1}), "bn2")
			g.ReLU(g.Add(y, x))
		}),
		"bottleneck with projection": start(12, 7, 7, func(g *ops.Graph, x ops.Value) {
			y := g.ReLU(g.BatchNorm(g.Conv(x, "a", ops.ConvOptions{Out: 6, Kernel: 1}), "bn1"))
			y = g.ReLU(g.BatchNorm(g.Conv(y, "b", ops.ConvOptions{Out: 6, Kernel: 3, Stride: 2, Pad: 1}), "bn2"))
			y = g.BatchNorm(g.Conv(y, "c", ops.ConvOptions{Out: 24, Kernel: 1}), "bn3")
			s := g.BatchNorm(g.Conv(x, "d", ops.ConvOptions{Out: 24, Kernel: 1, Stride: 2}), "bn4")
			g.ReLU(g.Add(y, s))
		}),
		"head": start(10, 2, 2, func(g *ops.Graph, x ops.Value) {
			y := g.ReLU(g.BatchNorm(g.Linear(g.Flatten(x), "fc6", 12, true), "bn"))
			g.L2Norm(g.Linear(y, "fc8", 5, true))
		}),
	}
}

// Run holds a device to the float64 reference: outputs, gradients of the input and of every tensor, running statistics;
// with one and several batch-norm groups, full and short batches, and in evaluation. Its subtests are named for the
// networks.
func Run(t *testing.T, d ops.Device) {
	for name, build := range graphs() {
		t.Run(name, func(t *testing.T) {
			for _, groups := range []int{1, 2} {
				for _, n := range []int{6, 5} {
					compare(t, d, build(), n, ops.Options{Batch: 6, Train: true, InputGrad: true, BNGroups: groups, Direct: true})
				}
			}
			compare(t, d, build(), 4, ops.Options{Batch: 6, BNGroups: 1, Direct: true})
			compare(t, d, build(), 4, ops.Options{Batch: 6, BNGroups: 1, Train: true, RunningStats: true, InputGrad: true, Direct: true})
		})
	}
}

// compare runs one network on the device and in float64, from the same float32 values.
func compare(t *testing.T, d ops.Device, g *ops.Graph, n int, o ops.Options) {
	t.Helper()
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(uint64(n), uint64(len(g.Nodes))))
	draw := func(n int, scale, shift float64) (f32 []float32, f64 []float64) {
		for range n {
			v := float32(shift + scale*r.NormFloat64())
			f32, f64 = append(f32, v), append(f64, float64(v))
		}
		return f32, f64
	}
	var params [][]float64
	for _, s := range g.Params {
		scale, shift := 0.5, 0.0
		switch s.Role {
		case ops.Gamma:
			scale, shift = 0.2, 1
		case ops.RunningVar:
			scale, shift = 0.1, 1.5
		case ops.Batches:
			scale = 0
		case ops.Weight:
			scale = 1 / math.Sqrt(float64(s.FanIn()))
		}
		v, v64 := draw(s.Len(), scale, shift)
		if err := p.Write(s.Name, v); err != nil {
			t.Fatal(err)
		}
		params = append(params, v64)
	}
	x, x64 := draw(n*g.Shape(0).Len(), 1, 0.3)
	program, err := d.Compile(g, p, o)
	if err != nil {
		t.Fatal(err)
	}
	tape, err := program.Forward(x, n)
	if err != nil {
		t.Fatal(err)
	}
	want := evaluate(g, params, x64, n, o)
	last := ops.Value(len(g.Nodes) - 1)
	label := fmt.Sprintf("batch %d, %d groups, train %v", n, o.BNGroups, o.Train)
	near(t, label+": output", tape.Output(0), want.values[last])
	if !o.Train {
		tape.Release()
		return
	}
	dy, dy64 := draw(n*g.Shape(last).Len(), 1, 0)
	p.ZeroGrad()
	dx, err := tape.Backward(dy)
	if err != nil {
		t.Fatal(err)
	}
	values, grads := want.backward(last, dy64)
	near(t, label+": gradient of the input", dx, values[0])
	for i, s := range g.Params {
		got := make([]float32, s.Len())
		if s.Role.Trainable() {
			err = p.ReadGrad(s.Name, got)
		} else {
			err = p.Read(s.Name, got)
		}
		if err != nil {
			t.Fatal(err)
		}
		if s.Role.Trainable() {
			near(t, label+": gradient of "+s.Name, got, grads[i])
		} else if s.Role != ops.Batches {
			near(t, label+": "+s.Name, got, params[i])
		}
	}
}

// near checks a float32 tensor against its float64 truth. Gradients that vanish mathematically are compared absolutely.
func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	var scale, worst float64
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i, v := range got {
		if d := math.Abs(float64(v) - want[i]); !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= tolerance*max(scale, 0.1)) {
		t.Errorf("%s: off by %.3g, values up to %.3g", what, worst, scale)
	}
}
