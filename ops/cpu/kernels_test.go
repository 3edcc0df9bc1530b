//go:build unix && (amd64 || arm64) && !purego

package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guarded is n floats that end where memory does (plus the slack that a kernel is allowed to read), or begin where it begins, so
// that a kernel that goes too far dies.
func guarded(t testing.TB, n, readable int, atEnd bool) []float32 {
	t.Helper()
	page := unix.Getpagesize()
	size := (4*(n+readable) + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, size+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	for _, edge := range [][]byte{m[:page], m[size+page:]} {
		if err := unix.Mprotect(edge, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	from := page
	if atEnd {
		from = page + size - 4*(n+readable)
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&m[from])), n)
}

// each runs f for every set of kernels that the machine has and both ends of guarded memory.
func eachKernel(t *testing.T, f func(t *testing.T, d *Device, buffer func(n int) []float32)) {
	for _, k := range available() {
		for _, atEnd := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/end=%v", k.name, atEnd), func(t *testing.T) {
				d := newDevice(1, k)
				defer d.Close()
				f(t, d, func(n int) []float32 { return guarded(t, n, 0, atEnd) })
			})
		}
	}
}

func randomise(r *rand.Rand, s ...[]float32) {
	for _, v := range s {
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
	}
}

// near fails unless got is want up to the rounding of sums of the given size.
func near(t *testing.T, what string, got, want []float32, scale float64) {
	t.Helper()
	for i, v := range want {
		if !(math.Abs(float64(got[i]-v)) <= 2e-6*scale*(1+math.Abs(float64(v)))) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], v)
		}
	}
}

// The micro-kernels equal the loop they are documented as, for every number of rows, both widths, odd depths, strides and
// offsets, overwriting and adding.
func TestKernelGemm(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Device, buffer func(int) []float32) {
		r := rand.New(rand.NewPCG(1, 2))
		k := d.isa
		widths := []int{k.nr}
		if k.narrow != nil {
			widths = append(widths, k.nr/2)
		}
		for _, width := range widths {
			for rows := 1; rows <= k.mr; rows++ {
				for _, c := range []struct{ ki, ko, rsa, csa, ja, ldc, acc int }{
					{1, 1, 1, 1, 0, 0, 0}, {2, 1, 7, 1, 0, 1, 1}, {3, 2, 9, 1, 5, 3, 0}, {7, 3, 1, 17, 2, 0, 1}, {16, 1, 16, 1, 0, 0, 0}, {33, 2, 35, 1, 1, 8, 1},
				} {
					steps := c.ki * c.ko
					last := (rows-1)*c.rsa + (steps-1)*c.csa + (c.ko-1)*c.ja
					ldc := width + c.ldc
					a, b, out := buffer(last+1), buffer(steps*width), buffer((rows-1)*ldc+width)
					randomise(r, a, b, out)
					want := make([]float32, len(out))
					copy(want, out)
					for i := range rows {
						for j := range width {
							var sum float64
							for s := range steps {
								sum += float64(a[i*c.rsa+s*c.csa+s/c.ki*c.ja]) * float64(b[s*width+j])
							}
							if c.acc == 1 {
								sum += float64(want[i*ldc+j])
							}
							want[i*ldc+j] = float32(sum)
						}
					}
					p := &gemmArgs{ki: c.ki, ko: c.ko, a: ptr(a, 0), rsa: uintptr(4 * c.rsa), csa: uintptr(4 * c.csa), ja: uintptr(4 * c.ja),
						b: ptr(b, 0), c: ptr(out, 0), ldc: uintptr(4 * ldc), acc: c.acc, pf: addr(b, 0), pair: 64, hop: 128}
					k.kernel(rows, width)(p)
					near(t, fmt.Sprintf("%d×%d of %+v", rows, width, c), out, want, 8)
				}
			}
		}
	})
}

// The streaming kernels equal the Go loops for every channel count up to 70 and those of networks, and odd numbers of pixels.
func TestKernelStreams(t *testing.T) {
	slow := newDevice(1, generic)
	eachKernel(t, func(t *testing.T, d *Device, buffer func(int) []float32) {
		r := rand.New(rand.NewPCG(3, 4))
		channels := []int{96, 128, 136, 256}
		for c := range 70 {
			channels = append(channels, c+1)
		}
		for _, c := range channels {
			for _, pixels := range []int{1, 3} {
				compareStreams(t, d, slow, r, buffer, c, pixels)
			}
		}
	})
}

func compareStreams(t *testing.T, d, slow *Device, r *rand.Rand, buffer func(int) []float32, c, pixels int) {
	t.Helper()
	what := fmt.Sprintf("%d pixels of %d channels: ", pixels, c)
	n := pixels * c
	x, res, dout, coef, mean := buffer(n), buffer(n), buffer(n), buffer(4*c), buffer(c)
	randomise(r, x, res, dout, coef, mean)
	two := func(n int) ([]float32, []float32) { return buffer(n), make([]float32, n) }

	sum, wantSum := two(c)
	sq, wantSq := two(c)
	d.sumPixels(sum, sq, x, mean, pixels, c)
	slow.sumPixels(wantSum, wantSq, x, mean, pixels, c)
	near(t, what+"sum", sum, wantSum, 4)
	near(t, what+"squares", sq, wantSq, 8)

	for _, side := range [][]float32{nil, res} {
		for _, low := range []float32{0, float32(math.Inf(-1))} {
			y, wantY := two(n)
			mask, wantMask := make([]byte, pixels*maskBytes(c)), make([]byte, pixels*maskBytes(c))
			d.applyPixels(y, x, side, coef[:3*c], mask, low)
			slow.applyPixels(wantY, x, side, coef[:3*c], wantMask, low)
			near(t, what+"apply", y, wantY, 8)
			if string(mask) != string(wantMask) {
				t.Fatalf("%s mask %x, want %x", what, mask, wantMask)
			}
			y2 := buffer(n)
			d.applyPixels(y2, x, side, coef[:3*c], nil, low)
			near(t, what+"apply without mask", y2, wantY, 8)

			for _, m := range [][]byte{mask, nil} {
				d.backSumPixels(sum, sq, dout, m, x, mean)
				slow.backSumPixels(wantSum, wantSq, dout, m, x, mean)
				near(t, what+"Σ dz", sum, wantSum, 4)
				near(t, what+"Σ dz·x", sq, wantSq, 8)
				for _, add := range []bool{false, true} {
					dx, wantDx := two(n)
					dres, wantDres := two(n)
					randomise(r, dres)
					copy(wantDres, dres)
					d.backPixels(dx, dres, dout, m, x, coef, add)
					slow.backPixels(wantDx, wantDres, dout, m, x, coef, add)
					near(t, what+"dx", dx, wantDx, 16)
					near(t, what+"dres", dres, wantDres, 2)
				}
				dx, wantDx := two(n)
				d.backPixels(dx, nil, dout, m, x, coef, false)
				slow.backPixels(wantDx, nil, dout, m, x, coef, false)
				near(t, what+"dx alone", dx, wantDx, 16)
			}
		}
	}
	total, wantTotal := two(n)
	randomise(r, total)
	copy(wantTotal, total)
	d.addTo(total, dout)
	slow.addTo(wantTotal, dout)
	near(t, what+"total", total, wantTotal, 0)
	p, wantP := two(n)
	v, wantV := two(n)
	randomise(r, p, v)
	copy(wantP, p)
	copy(wantV, v)
	d.sgd(p, dout, v, 0.1, 0.9, 1e-4)
	slow.sgd(wantP, dout, wantV, 0.1, 0.9, 1e-4)
	near(t, what+"parameter", p, wantP, 2)
	near(t, what+"velocity", v, wantV, 2)
}

// The transforms of Winograd equal the products with their matrices.
func TestKernelTransforms(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Device, buffer func(int) []float32) {
		r := rand.New(rand.NewPCG(5, 6))
		for _, a := range []*algorithm{&wino3, &wino5} {
			for i, tr := range []*transform{&a.input, &a.output, &a.grad, &a.weight, &a.write, &a.accum} {
				for _, c := range []int{8, 16, 24, 32, 40} {
					m, n := len(tr.matrix), len(tr.matrix[0])
					row, col := n*c+n*3, c+3
					src := buffer((n-1)*row + (n-1)*col + c)
					dst := buffer((m-1)*(m*c+5) + m*c)
					want := make([]float32, len(dst))
					randomise(r, src, dst)
					copy(want, dst)
					tmp := make([]float32, points*16)
					tr.apply(&d.isa, &grid{dst, 0, m*c + 5, c}, &grid{src, 0, row, col}, c, tmp)
					tr.apply(&generic, &grid{want, 0, m*c + 5, c}, &grid{src, 0, row, col}, c, tmp)
					near(t, fmt.Sprintf("kernel %d, transform %d, %d channels", a.kernel, i, c), dst, want, 200)
				}
			}
		}
	})
}

// The packing kernels move what they say, and nothing else.
func TestKernelPacks(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Device, buffer func(int) []float32) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, c := range []struct{ rows, cols, ds, ss int }{{16, 16, 16, 16}, {32, 32, 32, 40}, {8, 8, 9, 8}, {33, 17, 33, 19}, {1, 5, 1, 5}, {7, 40, 8, 41}} {
			src, dst := buffer((c.rows-1)*c.ss+c.cols), buffer((c.cols-1)*c.ds+c.rows)
			randomise(r, src, dst)
			before := append([]float32(nil), dst...)
			d.transpose(dst, src, c.rows, c.cols, c.ds, c.ss, 1<<20)
			for i, v := range dst {
				want := before[i]
				if row, col := i%c.ds, i/c.ds; row < c.rows && col < c.cols {
					want = src[row*c.ss+col]
				}
				if v != want {
					t.Fatalf("%+v: value %d is %v, want %v", c, i, v, want)
				}
			}
		}
		if !d.isa.packs16 {
			return
		}
		for _, rows := range []int{1, 2, 5} {
			for _, stride := range []int{32, 37} {
				src, dst := buffer((rows-1)*stride+32), buffer(rows*32)
				randomise(r, src)
				pack32(ptr(dst, 0), ptr(src, 0), uintptr(4*stride), rows)
				for i, v := range dst {
					if want := src[i/32*stride+i%32]; v != want {
						t.Fatalf("pack32: value %d is %v, want %v", i, v, want)
					}
				}
				const tiles, step, spare = 3, 13, 5
				pitch := rows*14 + spare
				src, dst = buffer((rows-1)*stride+(tiles-1)*step+16), buffer((tiles-1)*pitch+rows*14+2) // reads, and at the end writes, 16
				randomise(r, src)
				pack14(ptr(dst, 0), ptr(src, 0), uintptr(4*stride), rows, tiles, 4*step, uintptr(4*pitch))
				for tile := range tiles {
					for i, v := range dst[tile*pitch:][:rows*14] {
						if want := src[i/14*stride+tile*step+i%14]; v != want {
							t.Fatalf("pack14: value %d of tile %d is %v, want %v", i, tile, v, want)
						}
					}
				}
			}
		}
	})
}

// The memory's kernels equal the loops, rows at the end of memory included.
func TestKernelGather(t *testing.T) {
	eachKernel(t, func(t *testing.T, d *Device, buffer func(int) []float32) {
		r := rand.New(rand.NewPCG(9, 10))
		for _, c := range []int{32, 64, 96, 128, 256} {
			rows, x, sum := buffer(5*c), buffer(c), buffer(c)
			for _, n := range []int{1, 2, 15, 31, 32, 33, 70} {
				index := make([]int32, n)
				out, coef := buffer(n), buffer(n)
				randomise(r, rows, x, sum, coef)
				want := append([]float32(nil), sum...)
				for j := range index {
					index[j] = int32(r.IntN(5))
				}
				further := append(slices.Clone(index), make([]int32, n/2)...) // only fetched
				dots := make([]float32, n)
				for j, i := range index {
					for k := range c {
						dots[j] += x[k] * rows[int(i)*c+k]
						want[k] += coef[j] * rows[int(i)*c+k]
					}
				}
				d.isa.gatherDot(out, x, rows, further)
				near(t, fmt.Sprintf("dot of %d rows of %d", n, c), out, dots, 20)
				d.isa.gatherSum(sum, coef, rows, index)
				near(t, fmt.Sprintf("sum of %d rows of %d", n, c), sum, want, 20)
			}
		}
	})
}

// FuzzKernels compares the streaming kernels with the Go loops on sizes and numbers of the fuzzer's choice.
func FuzzKernels(f *testing.F) {
	f.Add(uint64(1), uint16(8), uint8(1))
	f.Add(uint64(2), uint16(112), uint8(5))
	slow := newDevice(1, generic)
	f.Fuzz(func(t *testing.T, seed uint64, channels uint16, pixels uint8) {
		c, n := int(channels%300)+1, int(pixels%9)+1
		for _, k := range available() {
			d := newDevice(1, k)
			r := rand.New(rand.NewPCG(seed, 11))
			compareStreams(t, d, slow, r, func(n int) []float32 { return guarded(t, n, 0, seed%2 == 0) }, c, n)
			d.Close()
		}
	})
}
