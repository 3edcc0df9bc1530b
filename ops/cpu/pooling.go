package cpu

import (
	"math"
)

// bins is the half-open range of inputs behind output o of a pool along one axis.
type bins func(o int) (from, to int)

// windows is a sliding window, cut at the border.
func windows(kernel, stride, pad, size int) bins {
	return func(o int) (int, int) { return max(0, o*stride-pad), min(size, o*stride-pad+kernel) }
}

// adaptive is [floor(o·s/n), ceil((o+1)·s/n)).
func adaptive(n, size int) bins {
	return func(o int) (int, int) { return o * size / n, ((o+1)*size + n - 1) / n }
}

// maxPool writes the maximum of every bin and, unless at is nil, which pixel of the map it was: the first in row order,
// NaN winning as in the reference.
func (d *Device) maxPool(y, x *image, n int, rows, cols bins, at []int32) {
	c := x.c
	d.pool.run(n, func(_, b int) {
		for i := range y.h {
			r0, r1 := rows(i)
			for j := range y.w {
				c0, c1 := cols(j)
				out := y.data[y.at(b, i, j):][:c]
				var idx []int32
				if at != nil {
					idx = at[((b*y.h+i)*y.w+j)*c:][:c]
				}
				if d.vectors(c) {
					maxPoolAsm(ptr(out, 0), maybe(idx), ptr(x.data, x.at(b, r0, c0)), uintptr(4*(x.w+2*x.halo)*c), r1-r0, c1-c0, c, r0*x.w+c0, x.w)
					continue
				}
				for k := range out {
					out[k] = float32(math.Inf(-1))
				}
				for r := r0; r < r1; r++ {
					for q := c0; q < c1; q++ {
						in := x.data[x.at(b, r, q):][:c]
						if idx == nil {
							for k, v := range in {
								if v > out[k] || v != v {
									out[k] = v
								}
							}
							continue
						}
						where := int32(r*x.w + q)
						for k, v := range in {
							if v > out[k] || v != v {
								out[k], idx[k] = v, where
							}
						}
					}
				}
			}
		}
	})
}

// maxPoolBack adds each gradient to the pixel that won.
func (d *Device) maxPoolBack(dx, dy *image, n int, at []int32) {
	c := dx.c
	d.pool.run(n, func(_, b int) {
		for i := range dy.h {
			for j := range dy.w {
				g := dy.data[dy.at(b, i, j):][:c]
				idx := at[((b*dy.h+i)*dy.w+j)*c:][:c]
				for k, v := range g {
					dx.data[dx.at(b, int(idx[k])/dx.w, int(idx[k])%dx.w)+k] += v
				}
			}
		}
	})
}

// meanPool writes the mean of every bin.
func (d *Device) meanPool(y, x *image, n int, rows, cols bins) {
	c := x.c
	d.pool.run(n, func(_, b int) {
		for i := range y.h {
			r0, r1 := rows(i)
			for j := range y.w {
				c0, c1 := cols(j)
				out := y.data[y.at(b, i, j):][:c]
				clear(out)
				for r := r0; r < r1; r++ {
					for q := c0; q < c1; q++ {
						for k, v := range x.data[x.at(b, r, q):][:c] {
							out[k] += v
						}
					}
				}
				inv := 1 / float32((r1-r0)*(c1-c0))
				for k := range out {
					out[k] *= inv
				}
			}
		}
	})
}

// meanPoolBack adds each gradient, shared out evenly, to its bin.
func (d *Device) meanPoolBack(dx, dy *image, n int, rows, cols bins) {
	c := dx.c
	d.pool.run(n, func(_, b int) {
		for i := range dy.h {
			r0, r1 := rows(i)
			for j := range dy.w {
				c0, c1 := cols(j)
				g := dy.data[dy.at(b, i, j):][:c]
				inv := 1 / float32((r1-r0)*(c1-c0))
				for r := r0; r < r1; r++ {
					for q := c0; q < c1; q++ {
						out := dx.data[dx.at(b, r, q):][:c]
						for k, v := range g {
							out[k] += v * inv
						}
					}
				}
			}
		}
	})
}
