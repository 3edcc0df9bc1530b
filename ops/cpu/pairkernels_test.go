//go:build unix && (amd64 || arm64) && !purego

package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The kernels that round and pack equal the loops, which equal what they say, and touch nothing else.
func TestKernelPairs(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Device, buffer func(int) []float32) {
		if d.isa.pairs == nil {
			t.Skip("no pairs")
		}
		r := rand.New(rand.NewPCG(5, 6))
		equal := func(what string, got, want float32) {
			t.Helper()
			if math.Float32bits(got) != math.Float32bits(want) {
				t.Fatalf("%s: %x, want %x", what, math.Float32bits(got), math.Float32bits(want))
			}
		}
		nr, mr := d.isa.nr, d.isa.mr
		for _, rows := range []int{1, 2, 5, 6} {
			const ss, ds = 69, 35
			src, dst := buffer((rows-1)*ss+64), buffer((rows-1)*ds+32)
			randomise(r, src)
			d.roundRows(dst, src, ds, ss, rows, 64)
			for i := range rows * 32 {
				row, k := i/32, i%32
				equal("rounded", dst[row*ds+k], pairOf(src[row*ss+2*k], src[row*ss+2*k+1]))
			}
			at := func(row, k int) float32 {
				if row == rows {
					return 0
				}
				return src[row*ss+k]
			}
			dst = buffer((rows + 1) / 2 * nr)
			d.pairRows(dst, src, ss, rows)
			for i, v := range dst {
				equal("paired", v, pairOf(at(i/nr*2, i%nr), at(i/nr*2+1, i%nr)))
			}
			const tiles, spare = 3, 5
			width := mr - 1
			pitch := (rows+1)/2*mr + spare
			src, dst = buffer((rows-1)*ss+(tiles-1)*width+16), buffer((tiles-1)*pitch+(rows+1)/2*mr+2) // reads, and at the end writes, 16
			randomise(r, src)
			d.pairTiles(dst, src, ss, rows, tiles, width, pitch)
			for tile := range tiles {
				for i := range (rows + 1) / 2 * mr {
					if k := i%mr + tile*width; i%mr < width {
						equal("tiled", dst[tile*pitch+i], pairOf(at(i/mr*2, k), at(i/mr*2+1, k)))
					}
				}
			}
		}
		for rows := 1; rows <= mr; rows++ {
			for _, c := range []struct{ ki, ko, rsa, csa, ja, ldc, acc int }{
				{1, 1, 1, 1, 0, 0, 0}, {2, 1, 7, 1, 0, 1, 1}, {3, 2, 9, 1, 5, 3, 0}, {7, 3, 1, 17, 2, 0, 1}, {33, 2, 35, 1, 1, 8, 1},
			} {
				steps := c.ki * c.ko
				ldc := nr + c.ldc
				a, b, out := buffer((rows-1)*c.rsa+(steps-1)*c.csa+(c.ko-1)*c.ja+1), buffer(steps*nr), buffer((rows-1)*ldc+nr)
				for _, v := range [][]float32{a, b} {
					for i := range v {
						v[i] = pairOf(float32(r.NormFloat64()), float32(r.NormFloat64()))
					}
				}
				randomise(r, out)
				want := slices.Clone(out)
				for i := range rows {
					for j := range nr {
						var sum float64
						for s := range steps {
							a0, a1 := floatsOf(a[i*c.rsa+s*c.csa+s/c.ki*c.ja])
							b0, b1 := floatsOf(b[s*nr+j])
							sum += float64(a0)*float64(b0) + float64(a1)*float64(b1)
						}
						if c.acc == 1 {
							sum += float64(want[i*ldc+j])
						}
						want[i*ldc+j] = float32(sum)
					}
				}
				p := &gemmArgs{ki: c.ki, ko: c.ko, a: ptr(a, 0), rsa: uintptr(4 * c.rsa), csa: uintptr(4 * c.csa), ja: uintptr(4 * c.ja),
					b: ptr(b, 0), c: ptr(out, 0), ldc: uintptr(4 * ldc), acc: c.acc, pf: addr(b, 0), pair: 64, hop: 128}
				d.isa.pairs[rows](p)
				near(t, fmt.Sprintf("%d rows of %+v", rows, c), out, want, 16)
			}
		}
	})
}
