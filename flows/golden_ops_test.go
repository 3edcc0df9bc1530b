package flows_test

import (
	"os"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
	"github.com/contraflow/contraflow/ops/cuda"
	"github.com/contraflow/contraflow/ops/opstest/golden"
)

// testDevice is what the golden numbers are compared with, as --device has it: the processor, or what CONTRAFLOW_TEST_DEVICE
// names.
func testDevice() string {
	if d := os.Getenv("CONTRAFLOW_TEST_DEVICE"); d != "" {
		return d
	}
	return "cpu"
}

var devices = map[testing.TB]ops.Device{} // one a test

// device is the test's device, opened when first asked for and closed with the test.
func device(t testing.TB) ops.Device {
	t.Helper()
	if d := devices[t]; d != nil {
		return d
	}
	var d ops.Device
	var err error
	switch testDevice() {
	case "cpu":
		d, err = cpu.New(0)
	case "cuda":
		d, err = cuda.Open(cuda.Options{})
	default:
		t.Fatalf("CONTRAFLOW_TEST_DEVICE=%s: want cpu or cuda", testDevice())
	}
	if err != nil {
		t.Fatal(err)
	}
	devices[t] = d
	t.Cleanup(func() {
		delete(devices, t)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// deviceTolerance is a file's tolerance, which was measured for sums in another order on the processor; what another device
// computes may differ by 1e-4 of the largest value where the file asks for less.
func deviceTolerance(tol float64) float64 {
	if testDevice() == "cpu" {
		return tol
	}
	return max(tol, 1e-4)
}

// bench is one compiled graph with helpers that fail the test.
type bench struct {
	t testing.TB
	p ops.Params
	g *ops.Graph
	d ops.Device
}

func build(t testing.TB, g *ops.Graph) *bench {
	t.Helper()
	d := device(t)
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t, p, g, d}
}

func (b *bench) write(name string, v []float32) {
	b.t.Helper()
	if err := b.p.Write(name, v); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) read(name string, n int) []float32 {
	b.t.Helper()
	v := make([]float32, n)
	if err := b.p.Read(name, v); err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *bench) grad(name string, n int) []float32 {
	b.t.Helper()
	v := make([]float32, n)
	if err := b.p.ReadGrad(name, v); err != nil {
		b.t.Fatal(err)
	}
	return v
}

// run does one forward, and with dy one backward from zeroed gradients.
func (b *bench) run(o ops.Options, x []float32, n int, dy []float32) (y, dx []float32) {
	b.t.Helper()
	o.Batch = n
	p, err := b.d.Compile(b.g, b.p, o)
	if err != nil {
		b.t.Fatal(err)
	}
	tape, err := p.Forward(x, n)
	if err != nil {
		b.t.Fatal(err)
	}
	y = append([]float32(nil), tape.Output(0)...)
	if dy == nil {
		tape.Release()
		return y, nil
	}
	b.p.ZeroGrad()
	dx, err = tape.Backward(dy)
	if err != nil {
		b.t.Fatal(err)
	}
	return y, append([]float32(nil), dx...)
}

func sample(shape []int) ops.Shape {
	s := ops.Shape{C: shape[1], H: 1, W: 1}
	if len(shape) == 4 {
		s.H, s.W = shape[2], shape[3]
	}
	return s
}

var training = ops.Options{Train: true, InputGrad: true, Direct: true}

func TestGoldenConv(t *testing.T) {
	f := open(t, "02a_conv2d.npz")
	for _, c := range cases(t, f) {
		at := func(s string) *golden.Array { return f.Arrays[c+"."+s] }
		cfg := at("cfg").I
		g := ops.NewGraph(sample(at("x").Shape))
		g.Conv(g.Input(), "c", ops.ConvOptions{Out: at("w").Shape[0], Kernel: int(cfg[0]), Stride: int(cfg[1]),
			Pad: int(cfg[2]), Groups: int(cfg[3]), Bias: cfg[4] == 1})
		b := build(t, g)
		b.write("c.weight", at("w").F)
		if cfg[4] == 1 {
			b.write("c.bias", at("b").F)
		}
		y, dx := b.run(training, at("x").F, at("x").Shape[0], at("dy").F)
		kase := "conv " + c
		compare(t, f, kase, c+".y", y)
		compare(t, f, kase, c+".dx", dx)
		compare(t, f, kase, c+".dw", b.grad("c.weight", at("w").Len()))
		if cfg[4] == 1 {
			compare(t, f, kase, c+".db", b.grad("c.bias", at("b").Len()))
		}
	}
}

func TestGoldenBatchNorm(t *testing.T) {
	f := open(t, "02b_batchnorm.npz")
	for _, c := range cases(t, f) {
		at := func(s string) *golden.Array { return f.Arrays[c+"."+s] }
		x := at("x0")
		n, ch := x.Shape[0], x.Shape[1]
		g := ops.NewGraph(sample(x.Shape))
		g.BatchNorm(g.Input(), "bn")
		b := build(t, g)
		b.write("bn.weight", at("gamma").F)
		b.write("bn.bias", at("beta").F)
		b.write("bn.running_mean", at("rm0").F)
		b.write("bn.running_var", at("rv0").F)
		kase := "batchnorm " + c
		for i := 0; at("x"+digit(i)) != nil; i++ {
			p := c + ".train" + digit(i)
			y, dx := b.run(training, at("x"+digit(i)).F, n, at("dy"+digit(i)).F)
			compare(t, f, kase, p+".y", y)
			compare(t, f, kase, p+".dx", dx)
			compare(t, f, kase, p+".dgamma", b.grad("bn.weight", ch))
			compare(t, f, kase, p+".dbeta", b.grad("bn.bias", ch))
			compare(t, f, kase, p+".rm", b.read("bn.running_mean", ch))
			compare(t, f, kase, p+".rv", b.read("bn.running_var", ch))
		}
		frozen := training
		frozen.RunningStats = true
		y, dx := b.run(frozen, x.F, n, at("dy0").F)
		compare(t, f, kase, c+".eval.y", y)
		compare(t, f, kase, c+".eval.dx", dx)
		compare(t, f, kase, c+".eval.dgamma", b.grad("bn.weight", ch))
		compare(t, f, kase, c+".eval.dbeta", b.grad("bn.bias", ch))

		g = ops.NewGraph(sample(x.Shape))
		g.BatchNormPlain(g.Input())
		y, dx = build(t, g).run(training, at("x1").F, n, at("dy1").F)
		compare(t, f, kase, c+".plain.y", y)
		compare(t, f, kase, c+".plain.dx", dx)
	}
}

func digit(i int) string { return string(rune('0' + i)) }

func TestGoldenMisc(t *testing.T) {
	f := open(t, "02c_misc_ops.npz")
	for _, c := range cases(t, f) {
		at := func(s string) *golden.Array { return f.Arrays[c+"."+s] }
		kase := "misc " + c
		x := at("x")
		if strings.HasPrefix(c, "xent") {
			n, k := x.Shape[0], x.Shape[1]
			labels := make([]int, n)
			for i, l := range at("y").I {
				labels[i] = int(l)
			}
			d := make([]float32, n*k)
			loss := ops.SoftmaxCrossEntropy(d, x.F, labels, k)
			compare(t, f, kase, c+".loss", []float32{float32(loss)})
			compare(t, f, kase, c+".dx", d)
			continue
		}
		g := ops.NewGraph(sample(x.Shape))
		var cfg []int
		if a := at("cfg"); a != nil {
			for _, v := range a.I {
				cfg = append(cfg, int(v))
			}
		}
		var b *bench
		switch {
		case c == "relu":
			g.ReLU(g.Input())
		case strings.HasPrefix(c, "max"):
			g.MaxPool(g.Input(), cfg[0], cfg[1], cfg[2])
		case strings.HasPrefix(c, "avg"):
			g.AvgPool(g.Input(), cfg[0], cfg[1])
		case strings.HasPrefix(c, "aavg"):
			g.AdaptiveAvgPool(g.Input(), cfg[0])
		case strings.HasPrefix(c, "amax"):
			bins := 5
			if cfg != nil {
				bins = cfg[0]
			}
			g.AdaptiveMaxPool(g.Input(), bins)
		case strings.HasPrefix(c, "linear"):
			g.Linear(g.Input(), "l", at("w").Shape[0], true)
			b = build(t, g)
			b.write("l.weight", at("w").F)
			b.write("l.bias", at("b").F)
		case c == "l2norm":
			g.L2Norm(g.Input())
		case strings.HasPrefix(c, "dropout"):
			rate := 0.01 * float64(cfgOr(cfg, 50))
			y, dx := make([]float32, x.Len()), make([]float32, x.Len())
			ops.ApplyDropout(y, x.F, at("mask").F, rate)
			ops.ApplyDropout(dx, at("dy").F, at("mask").F, rate)
			compare(t, f, kase, c+".y", y)
			compare(t, f, kase, c+".dx", dx)
			continue
		default:
			t.Fatalf("%s: no test knows this case", c)
		}
		if b == nil {
			b = build(t, g)
		}
		y, dx := b.run(training, x.F, x.Shape[0], at("dy").F)
		compare(t, f, kase, c+".y", y)
		compare(t, f, kase, c+".dx", dx)
		if strings.HasPrefix(c, "linear") {
			compare(t, f, kase, c+".dw", b.grad("l.weight", at("w").Len()))
			compare(t, f, kase, c+".db", b.grad("l.bias", at("b").Len()))
		}
	}
}

func cfgOr(cfg []int, otherwise int) int {
	if len(cfg) > 0 {
		return cfg[0]
	}
	return otherwise
}
