//go:build cuda

package cuda_test

import (
	"testing"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
)

// bandwidth reports what a device's kernels move, timed by events on its stream: bytes is what one run must move at least.
func bandwidth(b *testing.B, d *cuda.Device, what string, bytes int64, run func()) {
	b.Helper()
	run() // code is loaded, buffers exist
	d.Spans(true)
	for b.Loop() {
		run()
	}
	var ms float64
	var n int
	for _, s := range d.TakeSpans() {
		if s.Name == what {
			ms += s.Milliseconds
			n++
		}
	}
	if n > 0 && ms > 0 {
		b.ReportMetric(float64(bytes)*float64(n)/1e6/ms, "GB/s")
	}
}

// sized is the size to measure with, or with -test.short one that a fake device bears: then only what is printed counts.
func sized(real, short int) int {
	if testing.Short() {
		return short
	}
	return real
}

// tile repeats values.
func tile(v []float32, n int) []float32 {
	out := make([]float32, 0, n+len(v))
	for len(out) < n {
		out = append(out, v...)
	}
	return out[:n]
}

// A copy on the device: what the others are measured by. Read and written bytes count.
func BenchmarkCopy(b *testing.B) {
	d := open(b, cuda.Options{}).(*cuda.Device)
	n := int64(sized(1<<30, 1<<20))
	bandwidth(b, d, "copy", 2*n, func() {
		if err := d.Copy(n); err != nil {
			b.Fatal(err)
		}
	})
}

// One direction of CMC: 256 queries, 16384 drawn rows of 1.28 million, NCE with its gradient.
func BenchmarkContrast(b *testing.B) {
	d := open(b, cuda.Options{}).(*cuda.Device)
	const w = 128
	n, k, batch := sized(1281167, 1000), sized(16384, 100), sized(256, 4)
	bank, err := d.NewBank(n, w)
	if err != nil {
		b.Fatal(err)
	}
	if err := bank.Write(noise(n*w, 0.08, 1)); err != nil {
		b.Fatal(err)
	}
	ids := make([]int32, batch)
	for i := range ids {
		ids[i] = int32(i * 5003 % n)
	}
	s := ops.Scoring{Queries: unit(noise(batch*w, 1, 2), w), IDs: ids, K: k, Mode: ops.ScoreNCE, T: 0.07, Z: 1e6, C0: float64(k) / float64(n), Factor: 1, Seed: 3}
	grad := make([]float32, batch*w)
	bandwidth(b, d, "gather", int64(batch*(k+1)*w*4), func() {
		s.Stream++
		if _, err := bank.Score(s, grad)(); err != nil {
			b.Fatal(err)
		}
	})
}

// Batch normalisation with ReLU of maps of ResNet-50 at batch 256, in bfloat16, behind a convolution: forward reads a map twice and
// writes it once, backward reads two maps twice and writes one. The first map has no shape in its name.
func BenchmarkNorm(b *testing.B) {
	for _, m := range []struct {
		name        string
		channels, w int
	}{{"", 64, 112}, {"_256x56", 256, 56}, {"_64x56", 64, 56}, {"_32x56", 32, 56}, {"_1024x14", 1024, 14}, {"_512x7", 512, 7}} {
		for _, dir := range []string{"forward", "backward"} {
			b.Run(dir+m.name, func(b *testing.B) {
				d := open(b, cuda.Options{BF16: true}).(*cuda.Device)
				g := ops.NewGraph(ops.Shape{C: 8, H: m.w, W: m.w})
				x := g.Conv(g.Input(), "conv", ops.ConvOptions{Out: m.channels, Kernel: 1})
				g.Flatten(g.AdaptiveAvgPool(g.ReLU(g.BatchNorm(x, "bn")), 1))
				p, err := d.NewParams(g)
				if err != nil {
					b.Fatal(err)
				}
				if err := encoders.Init(p, 1, false); err != nil {
					b.Fatal(err)
				}
				batch := sized(256, 1)
				pr, err := d.Compile(g, p, ops.Options{Batch: batch, Train: true})
				if err != nil {
					b.Fatal(err)
				}
				forward, err := pr.(interface {
					Hold(x []float32, n int) (func() (ops.Tape, error), error)
				}).Hold(tile(noise(1<<16, 1, 1), batch*8*m.w*m.w), batch)
				if err != nil {
					b.Fatal(err)
				}
				elements := int64(batch*m.channels*m.w*m.w) * 2
				what, bytes := "batchnorm", 3*elements
				if dir == "backward" {
					what, bytes = "gradient of batchnorm", 5*elements
				}
				dy := noise(batch*m.channels, 1, 2)
				bandwidth(b, d, what, bytes, func() {
					tape, err := forward()
					if err != nil {
						b.Fatal(err)
					}
					if _, err := tape.Backward(dy); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
	}
}
