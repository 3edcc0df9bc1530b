package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// Sums of runs shorter than a share of rows, as maps of many channels have them, leave no pixel out and count none twice; with a halo
// too.
func TestNormSums(t *testing.T) {
	for _, k := range available() {
		d := newDevice(1, k)
		for _, halo := range []int{0, 1} {
			const c, h, w, n = 2056, 4, 18, 2
			m := image{n: n, h: h, w: w, c: c, halo: halo}
			m.data = aligned(m.size())
			x, shift := normal(rand.New(rand.NewPCG(5, 6)), n*h*w*c), make([]float32, c)
			for r := range n * h {
				copy(m.row(r/h, r%h), x[r*w*c:])
			}
			copy(shift, x)
			const first, rows = 1, n*h - 2
			got := make([]float64, 2*c)
			(&normSums{x: m, shift: shift, part: got, first: first, rows: rows, chunks: 1}).do(d, new(scratch), 0)
			for i := range c {
				var sum, sq float64
				for p := first * w; p < (first+rows)*w; p++ {
					v := float64(x[p*c+i]) - float64(shift[i])
					sum += v
					sq += v * v
				}
				if math.Abs(got[i]-sum) > 1e-6*sq || math.Abs(got[c+i]-sq) > 1e-6*sq {
					t.Fatalf("%s, halo %d, channel %d: sums %v and %v, want %v and %v", k.name, halo, i, got[i], got[c+i], sum, sq)
				}
			}
		}
		d.Close()
	}
}

// BenchmarkNormSums reads maps of 64 MiB in runs of so many pixels and adds their sums in float64, as normSums does.
func BenchmarkNormSums(b *testing.B) {
	d := newDevice(1, available()[0])
	defer d.Close()
	const floats = 16 << 20
	x := aligned(floats)
	for i := range x {
		x[i] = 1
	}
	for _, c := range []int{64, 256, 512, 1024, 2048} {
		sums, shift, total := aligned(2*c), aligned(c), make([]float64, 2*c)
		for _, limit := range []int{256, 64, 32, 16} {
			b.Run(fmt.Sprintf("channels=%d/pixels=%d", c, limit), func(b *testing.B) {
				b.SetBytes(4 * floats)
				for b.Loop() {
					for p := 0; p < floats/c; p += limit {
						d.sumPixels(sums[:c], sums[c:], x[p*c:], shift, min(limit, floats/c-p), c)
						for i, v := range sums[:2*c] {
							total[i] += float64(v)
						}
					}
				}
			})
		}
	}
}
