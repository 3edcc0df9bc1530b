package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
)

func open(t testing.TB, threads int) ops.Device {
	t.Helper()
	d, err := cpu.New(threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func noise(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// net is a small residual network with everything in it: stem, pool, projection, dropout, head.
func net() *ops.Graph {
	g := ops.NewGraph(ops.Shape{C: 2, H: 13, W: 13})
	x := g.ReLU(g.BatchNorm(g.Conv(g.Input(), "stem", ops.ConvOptions{Out: 24, Kernel: 5, Stride: 2, Pad: 2}), "bn0"))
	x = g.MaxPool(x, 3, 2, 1)
	y := g.ReLU(g.BatchNorm(g.Conv(x, "a", ops.ConvOptions{Out: 40, Kernel: 3, Stride: 2, Pad: 1}), "bn1"))
	y = g.BatchNorm(g.Conv(y, "b", ops.ConvOptions{Out: 40, Kernel: 3, Pad: 1}), "bn2")
	s := g.BatchNorm(g.Conv(x, "c", ops.ConvOptions{Out: 40, Kernel: 1, Stride: 2}), "bn3")
	x = g.ReLU(g.Add(y, s))
	g.Mark("map", x)
	x = g.Flatten(g.AdaptiveAvgPool(x, 1))
	g.Mark("embedding", g.L2Norm(g.Linear(g.ReLU(g.Linear(x, "fc1", 17, true)), "fc2", 9, true)))
	return g
}

func fill(t testing.TB, p ops.Params) {
	t.Helper()
	for i, s := range p.Specs() {
		if s.Role == ops.Weight || s.Role == ops.Bias || s.Role == ops.Beta {
			v := noise(s.Len(), uint64(i))
			for j := range v {
				v[j] *= 0.2
			}
			if err := p.Write(s.Name, v); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// step runs forward, backward and SGD and returns every bit that came out.
func step(t *testing.T, threads, groups int) []uint32 {
	d := open(t, threads)
	g := net()
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, p)
	pr, err := d.Compile(g, p, ops.Options{Batch: 6, Train: true, InputGrad: true, BNGroups: groups})
	if err != nil {
		t.Fatal(err)
	}
	var bits []uint32
	add := func(v []float32) {
		for _, x := range v {
			bits = append(bits, math.Float32bits(x))
		}
	}
	for i, n := range []int{6, 4, 6} {
		tape, err := pr.Forward(noise(n*2*13*13, uint64(i)), n)
		if err != nil {
			t.Fatal(err)
		}
		add(tape.Output(0))
		p.ZeroGrad()
		dx, err := tape.Backward(noise(n*9, 99))
		if err != nil {
			t.Fatal(err)
		}
		add(dx)
		p.SGD(0.1, 0.9, 1e-4)
	}
	for _, s := range p.Specs() {
		v := make([]float32, s.Len())
		if err := p.Read(s.Name, v); err != nil {
			t.Fatal(err)
		}
		add(v)
	}
	return bits
}

// The same bits for any number of threads.
func TestConformThreads(t *testing.T) {
	for _, groups := range []int{1, 2, 3} {
		want := step(t, 1, groups)
		for _, threads := range []int{2, 3, 8} {
			got := step(t, threads, groups)
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("%d threads, %d groups: value %d of %d differs", threads, groups, i, len(want))
				}
			}
		}
	}
}

// The gradient agrees with central differences of the loss Σ dy·y, in every tensor and in the input.
func TestConformFiniteDifferences(t *testing.T) {
	d := open(t, 0)
	g := net()
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, p)
	const n = 5
	pr, err := d.Compile(g, p, ops.Options{Batch: n, Train: true, InputGrad: true})
	if err != nil {
		t.Fatal(err)
	}
	x, dy := noise(n*2*13*13, 3), noise(n*9, 4)
	loss := func() float64 {
		tape, err := pr.Forward(x, n)
		if err != nil {
			t.Fatal(err)
		}
		defer tape.Release()
		var sum float64
		for i, v := range tape.Output(0) {
			sum += float64(v) * float64(dy[i])
		}
		return sum
	}
	tape, err := pr.Forward(x, n)
	if err != nil {
		t.Fatal(err)
	}
	p.ZeroGrad()
	dx, err := tape.Backward(dy)
	if err != nil {
		t.Fatal(err)
	}
	dx = append([]float32(nil), dx...)
	// A random direction in each tensor: the directional derivative sums many entries, so rounding averages out.
	check := func(name string, v, grad []float32, write func()) {
		dir := noise(len(v), 7)
		var want, norm float64
		for i := range dir {
			want += float64(dir[i]) * float64(grad[i])
			norm += float64(dir[i]) * float64(dir[i])
		}
		eps := 1e-4 * math.Sqrt(float64(len(v))/norm)
		old := append([]float32(nil), v...)
		at := func(k float64) float64 {
			for i := range v {
				v[i] = old[i] + float32(k*eps)*dir[i]
			}
			write()
			return loss()
		}
		got := (at(1) - at(-1)) / (2 * eps)
		copy(v, old)
		write()
		// Kinks of ReLU and pooling lie between the two points of some directions.
		if math.Abs(got-want) > 0.02*math.Abs(want)+0.03 {
			t.Errorf("%s: derivative %.5f, differences give %.5f", name, want, got)
		}
	}
	check("input", x, dx, func() {})
	for _, s := range p.Specs() {
		if !s.Role.Trainable() {
			continue
		}
		v, grad := make([]float32, s.Len()), make([]float32, s.Len())
		if err := p.Read(s.Name, v); err != nil {
			t.Fatal(err)
		}
		if err := p.ReadGrad(s.Name, grad); err != nil {
			t.Fatal(err)
		}
		check(s.Name, v, grad, func() {
			if err := p.Write(s.Name, v); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Two tapes may be alive at once, gradients add up, and outputs of marks come in the order asked for.
func TestConformTapes(t *testing.T) {
	d := open(t, 0)
	g := net()
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, p)
	pr, err := d.Compile(g, p, ops.Options{Batch: 4, Train: true, Outputs: []string{"embedding", "map"}})
	if err != nil {
		t.Fatal(err)
	}
	if s := pr.OutputShape(1); s != (ops.Shape{C: 40, H: 2, W: 2}) {
		t.Errorf("map has shape %v", s)
	}
	grad := func(order ...int) []float32 {
		p.ZeroGrad()
		var tapes []ops.Tape
		for _, seed := range order {
			tape, err := pr.Forward(noise(4*2*13*13, uint64(seed)), 4)
			if err != nil {
				t.Fatal(err)
			}
			tapes = append(tapes, tape)
		}
		for i, tape := range tapes {
			if _, err := tape.Backward(noise(4*9, uint64(order[i])), nil); err != nil {
				t.Fatal(err)
			}
		}
		v := make([]float32, 24*2*5*5)
		if err := p.ReadGrad("stem.weight", v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	a, b, both := grad(1), grad(2), grad(1, 2)
	for i := range both {
		if math.Abs(float64(a[i]+b[i]-both[i])) > 1e-4 {
			t.Fatalf("gradient %d: %v + %v, together %v", i, a[i], b[i], both[i])
		}
	}
	tape, err := pr.Forward(noise(4*2*13*13, 1), 4)
	if err != nil {
		t.Fatal(err)
	}
	tape.Release()
	if _, err := tape.Backward(nil, nil); err == nil {
		t.Error("a released tape ran backward")
	}
}

// An evaluation program shares buffers; its outputs equal those of a training program on running statistics.
func TestConformEvaluation(t *testing.T) {
	d := open(t, 0)
	g := net()
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, p)
	marks := []string{"map", "embedding"}
	eval, err := d.Compile(g, p, ops.Options{Batch: 4, Outputs: marks})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := d.Compile(g, p, ops.Options{Batch: 4, Outputs: marks, Train: true, RunningStats: true})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := eval.Stats().ArenaBytes, kept.Stats().ArenaBytes; a >= b {
		t.Errorf("evaluation needs %d bytes, training %d", a, b)
	}
	for seed := range uint64(3) {
		x := noise(3*2*13*13, seed)
		a, err := eval.Forward(x, 3)
		if err != nil {
			t.Fatal(err)
		}
		b, err := kept.Forward(x, 3)
		if err != nil {
			t.Fatal(err)
		}
		for o := range marks {
			if fmt.Sprint(a.Output(o)) != fmt.Sprint(b.Output(o)) {
				t.Errorf("output %s differs", marks[o])
			}
		}
		a.Release()
		b.Release()
	}
	tape, err := eval.Forward(noise(2*2*13*13, 1), 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tape.Backward(nil, nil); err == nil || !strings.Contains(err.Error(), "evaluation") {
		t.Errorf("backward of an evaluation program: %v", err)
	}
}

func TestConformMistakes(t *testing.T) {
	d := open(t, 1)
	g := net()
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]ops.Options{"batch 0": {}, `no value "layer9"`: {Batch: 1, Outputs: []string{"layer9"}}, "groups": {Batch: 2, BNGroups: 3}} {
		if _, err := d.Compile(g, p, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	other := ops.NewGraph(ops.Shape{C: 1, H: 4, W: 4})
	other.Conv(other.Input(), "stem", ops.ConvOptions{Out: 3, Kernel: 3})
	if _, err := d.Compile(other, p, ops.Options{Batch: 1}); err == nil {
		t.Error("parameters of another graph were accepted")
	}
	bad := ops.NewGraph(ops.Shape{C: 1, H: 4, W: 4})
	bad.Conv(bad.Input(), "c", ops.ConvOptions{Out: 3, Kernel: 7})
	if _, err := d.NewParams(bad); err == nil || !strings.Contains(err.Error(), "7×7 window") {
		t.Errorf("a window larger than its image: %v", err)
	}
	if err := p.Read("stem.weight", make([]float32, 3)); err == nil || !strings.Contains(err.Error(), "[24 2 5 5]") {
		t.Errorf("a short slice: %v", err)
	}
	if err := p.Write("nobody", nil); err == nil {
		t.Error("an unknown name was accepted")
	}
	if err := p.ReadGrad("bn0.running_mean", make([]float32, 24)); err == nil {
		t.Error("a buffer has no gradient")
	}
	pr, err := d.Compile(g, p, ops.Options{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pr.Forward(make([]float32, 5), 1); err == nil {
		t.Error("a short input was accepted")
	}
}

func TestDense(t *testing.T) {
	d := open(t, 1)
	p, err := d.NewParams(net())
	if err != nil {
		t.Fatal(err)
	}
	fill(t, p)
	w, err := ops.Dense(p, "a.weight")
	if err != nil || !w.Shape().Eq(tensor.Shape{40, 24, 3, 3}) {
		t.Fatalf("%v, %v", w.Shape(), err)
	}
	if err := w.SetAt(float32(5), 1, 2, 0, 1); err != nil {
		t.Fatal(err)
	}
	if err := ops.SetDense(p, "a.weight", w); err != nil {
		t.Fatal(err)
	}
	again, err := ops.Dense(p, "a.weight")
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := again.At(1, 2, 0, 1); v != float32(5) {
		t.Errorf("got %v", v)
	}
	n, err := ops.Dense(p, "bn1.num_batches_tracked") // a scalar
	if err != nil {
		t.Fatal(err)
	}
	if err := ops.SetDense(p, "bn1.num_batches_tracked", n); err != nil {
		t.Errorf("a scalar does not go back: %v", err)
	}
	turned := tensor.New(tensor.WithShape(17, 9), tensor.WithBacking(tensor.Range(tensor.Float32, 0, 17*9)))
	if err := turned.T(); err != nil { // shape [9,17], memory as it was
		t.Fatal(err)
	}
	if err := ops.SetDense(p, "fc2.weight", turned); err != nil {
		t.Fatal(err)
	}
	if again, err = ops.Dense(p, "fc2.weight"); err != nil {
		t.Fatal(err)
	}
	if v, _ := again.At(2, 5); v != float32(5*9+2) {
		t.Errorf("of a transposed tensor, row 2 holds %v at 5, want %v", v, 5*9+2)
	}
	if err := ops.SetDense(p, "b.weight", w); err == nil {
		t.Error("a tensor of another shape was accepted")
	}
	if _, err := ops.Dense(p, "nobody"); err == nil {
		t.Error("an unknown name was accepted")
	}
}

func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		model             string
		channels, n, size int
	}{{"resnet18v1", 1, 50, 48}, {"resnet18v1", 1, 16, 224}, {"resnet50", 3, 8, 224}, {"alexnet", 1, 32, 224}} {
		b.Run(fmt.Sprintf("%s/batch=%d/size=%d", c.model, c.n, c.size), func(b *testing.B) {
			d := open(b, 0)
			m, err := encoders.Lookup(c.model, 128)
			if err != nil {
				b.Fatal(err)
			}
			g := m.Net.Tower(c.channels, c.size)
			p, err := d.NewParams(g)
			if err != nil {
				b.Fatal(err)
			}
			if err := encoders.Init(p, 1, false); err != nil {
				b.Fatal(err)
			}
			pr, err := d.Compile(g, p, ops.Options{Batch: c.n, Train: true})
			if err != nil {
				b.Fatal(err)
			}
			x, dy := noise(c.n*c.channels*c.size*c.size, 1), noise(c.n*128, 2)
			for b.Loop() {
				tape, err := pr.Forward(x, c.n)
				if err != nil {
					b.Fatal(err)
				}
				p.ZeroGrad()
				if _, err := tape.Backward(dy); err != nil {
					b.Fatal(err)
				}
				p.SGD(0.01, 0.9, 1e-4)
			}
			s := pr.Stats()
			b.ReportMetric((s.ForwardFLOPs+s.BackwardFLOPs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			b.ReportMetric(float64(c.n*b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

// A program without a Backward gives the bits of one that keeps its activations, from less memory.
func TestConformNoGrad(t *testing.T) {
	d := open(t, 2)
	g := net()
	run := func(noGrad bool) ([]float32, int64) {
		p, err := d.NewParams(g)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, p)
		pr, err := d.Compile(g, p, ops.Options{Batch: 4, Train: true, NoGrad: noGrad})
		if err != nil {
			t.Fatal(err)
		}
		var out []float32
		for range 2 { // the second meets buffers that held other maps
			tape, err := pr.Forward(noise(4*2*13*13, 5), 4)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, tape.Output(0)...)
			if noGrad {
				if _, err := tape.Backward(nil); err == nil {
					t.Fatal("a backward without activations did not fail")
				}
				continue
			}
			tape.Release()
		}
		mean := make([]float32, 40)
		if err := p.Read("bn2.running_mean", mean); err != nil {
			t.Fatal(err)
		}
		return append(out, mean...), pr.Stats().ArenaBytes
	}
	want, all := run(false)
	got, some := run(true)
	for i := range want {
		if want[i] != got[i] {
			t.Fatalf("value %d is %v, want %v", i, got[i], want[i])
		}
	}
	if some >= all {
		t.Fatalf("%d bytes without a backward, %d with", some, all)
	}
}
