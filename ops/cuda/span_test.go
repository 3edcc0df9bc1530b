//go:build cuda

package cuda_test

import (
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
)

// Every step of a plan has a span, forward and backward, uploads have theirs on the other stream, and none lies outside of the
// pass that it belongs to.
func TestSpans(t *testing.T) {
	d := open(t, cuda.Options{}).(*cuda.Device)
	g := ops.NewGraph(ops.Shape{C: 3, H: 6, W: 6})
	g.ReLU(g.BatchNorm(g.Conv(g.Input(), "a", ops.ConvOptions{Out: 8, Kernel: 3, Pad: 1}), "bn"))
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	pr, err := d.Compile(g, p, ops.Options{Batch: 2, Train: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d.Spans(true)
		tape, err := pr.Forward(noise(2*3*36, 1, 1), 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tape.Backward(noise(2*8*36, 1, 2)); err != nil {
			t.Fatal(err)
		}
		p.SGD(0.1, 0.9, 0)
		seen := map[string]cuda.Span{}
		for _, s := range d.TakeSpans() {
			if s.Milliseconds < 0 || s.Start < 0 {
				t.Errorf("span %+v", s)
			}
			seen[s.Name] = s
		}
		for _, name := range []string{"upload", "forward", "conv", "batchnorm", "backward", "gradient of conv", "gradient of batchnorm", "sgd"} {
			s, ok := seen[name]
			if !ok {
				t.Errorf("there is no span %q among %v", name, seen)
			}
			if s.Copy != (name == "upload") {
				t.Errorf("span %q on the wrong stream", name)
			}
		}
		f, c := seen["forward"], seen["conv"]
		if c.Start < f.Start || c.Start+c.Milliseconds > f.Start+f.Milliseconds+1e-3 {
			t.Errorf("conv %+v lies outside of forward %+v", c, f)
		}
		if len(d.TakeSpans()) != 0 {
			t.Error("spans are given twice")
		}
	}
	held, free, total := d.Memory()
	if held <= 0 || free <= 0 || held+free > total {
		t.Errorf("memory: %d held, %d free of %d", held, free, total)
	}
	d.Spans(false)
}
