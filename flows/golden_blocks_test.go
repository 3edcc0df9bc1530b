package flows_test

import (
	"math"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/opstest/golden"
)

// blockGraph builds the reference's block behind a case: what kind it is says its name, sizes and strides its arrays.
func blockGraph(t *testing.T, f *golden.File, c string) *ops.Graph {
	t.Helper()
	at := func(s string) []int {
		if a := f.Arrays[c+"."+s]; a != nil {
			return a.Shape
		}
		return nil
	}
	g := ops.NewGraph(sample(at("x")))
	x := g.Input()
	conv := func(x ops.Value, weight, norm string, stride, pad int) ops.Value {
		w := at("init." + weight + ".weight")
		if pad < 0 {
			pad = w[2] / 2
		}
		return g.BatchNorm(g.Conv(x, weight, ops.ConvOptions{Out: w[0], Kernel: w[2], Stride: stride, Pad: pad}), norm)
	}
	linear := func(x ops.Value, name string) ops.Value {
		return g.Linear(x, name, at("init." + name + ".weight")[0], true)
	}
	stride := 1
	if len(at("y")) == 4 && at("y")[2] < at("x")[2] {
		stride = 2
	}
	switch {
	case strings.HasPrefix(c, "basic"), strings.HasPrefix(c, "bottle"):
		var y ops.Value
		if at("init.conv3.weight") != nil {
			y = g.ReLU(conv(x, "conv1", "bn1", 1, -1))
			y = g.ReLU(conv(y, "conv2", "bn2", stride, -1))
			y = conv(y, "conv3", "bn3", 1, -1)
		} else {
			y = g.ReLU(conv(x, "conv1", "bn1", stride, -1))
			y = conv(y, "conv2", "bn2", 1, -1)
		}
		if at("init.downsample.0.weight") != nil {
			x = conv(x, "downsample.0", "downsample.1", stride, 0)
		}
		g.ReLU(g.Add(y, x))
	case strings.HasPrefix(c, "stem"):
		g.MaxPool(g.ReLU(conv(x, "0", "1", 2, 3)), 3, 2, 1)
	case strings.HasPrefix(c, "alexblock"):
		g.MaxPool(g.ReLU(conv(x, "0", "1", 4, 2)), 3, 2, 0)
	case strings.HasPrefix(c, "fchead"):
		x = g.ReLU(g.BatchNorm(linear(x, "0"), "1"))
		g.L2Norm(linear(x, "3"))
	case strings.HasPrefix(c, "restail"):
		g.L2Norm(linear(g.Flatten(g.AvgPool(x, 7, 7)), "2"))
	default:
		t.Fatalf("03_blocks: no block is known by the name %s", c)
	}
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGoldenBlocks runs every building block forward and backward, in evaluation and in training.
func TestGoldenBlocks(t *testing.T) {
	f := open(t, "03_blocks.npz")
	for _, c := range cases(t, f) {
		kase := "block " + c
		b := build(t, blockGraph(t, f, c))
		for _, s := range b.p.Specs() {
			a := f.Arrays[c+".init."+s.Name]
			if a == nil {
				t.Fatalf("%s: the file has no init.%s", c, s.Name)
			}
			v := a.F
			if v == nil {
				v = make([]float32, a.Len())
			}
			b.write(s.Name, v)
		}
		x, n := f.Arrays[c+".x"], f.Arrays[c+".x"].Shape[0]
		y, _ := b.run(ops.Options{Direct: true}, x.F, n, nil)
		compare(t, f, kase, c+".eval_y", y)
		y, dx := b.run(training, x.F, n, f.Arrays[c+".dy"].F)
		compare(t, f, kase, c+".y", y)
		compare(t, f, kase, c+".dx", dx)
		for name, a := range f.Arrays {
			if strings.HasSuffix(name, "__f64") {
				continue
			}
			if p, ok := strings.CutPrefix(name, c+".grad."); ok {
				got := b.grad(p, a.Len())
				if zeroGradient(f, name) {
					mark(f, name)
					note(t, kase, name+" (zero)", largest(got)/largest(b.grad("0.weight", f.Arrays[c+".grad.0.weight"].Len())), deviceTolerance(1e-5))
					continue
				}
				compare(t, f, kase, name, got)
			}
			if p, ok := strings.CutPrefix(name, c+".after."); ok && a.F != nil {
				compare(t, f, kase, name, b.read(p, a.Len()))
			}
		}
	}
}

// zeroGradient says whether the notes call an array mathematically zero.
func zeroGradient(f *golden.File, name string) bool {
	for _, n := range f.Meta.Notes {
		if strings.HasPrefix(n, name+":") && strings.Contains(n, "zero") {
			return true
		}
	}
	return false
}

func largest(v []float32) float64 {
	var most float64
	for _, x := range v {
		most = max(most, math.Abs(float64(x)))
	}
	return most
}
