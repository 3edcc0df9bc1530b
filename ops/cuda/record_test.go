//go:build cuda

package cuda_test

import (
	"math"
	"slices"
	"testing"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
)

// Recorded steps, forward and backward, are the plain ones to the bit: over full and short batches, with running statistics, and
// with a buffer that moves in between; and most of them are launched as graphs.
func TestGraphs(t *testing.T) {
	plain := func() *ops.Graph { // nothing is drawn, so that forward is recorded too
		g := ops.NewGraph(ops.Shape{C: 3, H: 15, W: 13})
		x := g.ReLU(g.BatchNorm(g.Conv(g.Input(), "stem", ops.ConvOptions{Out: 24, Kernel: 5, Stride: 2, Pad: 2}), "bn0"))
		y := g.BatchNorm(g.Conv(x, "b", ops.ConvOptions{Out: 24, Kernel: 3, Pad: 1}), "bn2")
		g.L2Norm(g.Linear(g.Flatten(g.AdaptiveAvgPool(g.ReLU(g.Add(x, y)), 1)), "fc", 9, true))
		return g
	}
	var want []float32
	for _, graphs := range []bool{false, true} {
		d := open(t, cuda.Options{Graphs: graphs}).(*cuda.Device)
		g := plain()
		p, err := d.NewParams(g)
		if err != nil {
			t.Fatal(err)
		}
		if err := encoders.Init(p, 3, false); err != nil {
			t.Fatal(err)
		}
		pr, err := d.Compile(g, p, ops.Options{Batch: 6, Train: true, Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		var got []float32
		for i := range 12 {
			b := 6
			if i == 5 {
				b = 5
			}
			if i == 9 {
				if err := d.Copy(1 << 20); err != nil { // grows a shared buffer
					t.Fatal(err)
				}
			}
			tape, err := pr.Forward(noise(b*g.Shape(0).Len(), 1, uint64(i)), b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, tape.Output(0)...)
			p.ZeroGrad()
			if _, err := tape.Backward(noise(b*9, 0.1, uint64(50+i))); err != nil {
				t.Fatal(err)
			}
			got = append(got, float32(p.GradNorm()))
			p.SGD(0.05, 0.9, 1e-3)
		}
		for name, n := range map[string]int{"b.weight": 24 * 24 * 9, "bn2.running_mean": 24, "bn2.num_batches_tracked": 1} {
			v := make([]float32, n)
			if err := p.Read(name, v); err != nil {
				t.Fatal(err)
			}
			got = append(got, v[n-1])
		}
		slices.Sort(got[len(got)-3:])
		if want == nil {
			want = got
		}
		for i, v := range want {
			if math.Float32bits(got[i]) != math.Float32bits(v) {
				t.Fatalf("value %d of recorded steps is %v, want %v", i, got[i], v)
			}
		}
		if n := d.Replays(); graphs != (n >= 8) {
			t.Errorf("graphs %v: %d replays", graphs, n)
		}
	}
}
