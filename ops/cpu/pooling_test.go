package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The vector kernels equal the Go loops on every length, and leave what lies beside untouched.
func TestMaxPoolKernel(t *testing.T) {
	for _, k := range available() {
		if !k.vector {
			continue
		}
		fast, slow := newDevice(1, k), newDevice(1, generic)
		for _, c := range []int{8, 16, 40} {
			r := rand.New(rand.NewPCG(3, uint64(c)))
			x := &image{n: 2, h: 9, w: 7, c: c, halo: 1}
			x.data = aligned(x.size())
			for i := range x.data {
				x.data[i] = float32(r.IntN(9)) - 4 // many ties
			}
			x.data[x.at(1, 3, 3)+2] = float32(math.NaN())
			// over is what the gradient meets: values to add to, rubbish to overwrite or zeros.
			pool := func(d *Device, over string) (y, dx *image, at []int32) {
				y = &image{n: 2, h: 5, w: 4, c: c}
				y.data = aligned(y.size())
				at = make([]int32, 2*5*4*c)
				rows, cols := bins{9, 0, 3, 2, 1}, bins{7, 0, 3, 2, 1}
				run(d, &d.jobs.maxPool, 2, maxPool{*y, *x, rows, cols, at})
				dy := &image{n: 2, h: 5, w: 4, c: c, data: aligned(y.size())}
				for i := range dy.data {
					dy.data[i] = float32(i%13) - 6
				}
				dx = &image{n: 2, h: 9, w: 7, c: c, halo: 1, data: aligned(x.size())}
				for i := range dx.data {
					if pixel := i / c; over != "zeros" && pixel%9 > 0 && pixel%9 < 8 && pixel/9%11 > 0 && pixel/9%11 < 10 { // not in the halo
						dx.data[i] = float32(i % 7)
					}
				}
				run(d, &d.jobs.maxPoolBack, 2, maxPoolBack{*dx, *dy, rows, cols, at, over == "rubbish"})
				return y, dx, at
			}
			for got, want := range map[string]string{"values": "values", "rubbish": "zeros"} {
				_, dx, _ := pool(fast, got)
				if _, want, _ := pool(slow, want); !slices.Equal(dx.data, want.data) {
					t.Fatalf("%s: %d channels: the gradients over %s differ", k.name, c, got)
				}
			}
			y, _, at := pool(fast, "zeros")
			wantY, _, wantAt := pool(slow, "zeros")
			for i := range at {
				same := y.data[i] == wantY.data[i] || y.data[i] != y.data[i] && wantY.data[i] != wantY.data[i]
				if !same || at[i] != wantAt[i] {
					t.Fatalf("%s: %d channels: value %d is %v at %d, want %v at %d", k.name, c, i, y.data[i], at[i], wantY.data[i], wantAt[i])
				}
			}
		}
	}
}
