package cpu

import (
	"math"
	"unsafe"
)

// bins are the half-open ranges of inputs behind the outputs of a pool along one axis.
type bins struct {
	size                int // inputs
	count               int // outputs of an adaptive pool, or 0
	kernel, stride, pad int
}

// of is the range behind output o: a sliding window, cut at the border, or [floor(o·s/n), ceil((o+1)·s/n)).
func (b *bins) of(o int) (from, to int) {
	if b.count > 0 {
		return o * b.size / b.count, ((o+1)*b.size + b.count - 1) / b.count
	}
	return max(0, o*b.stride-b.pad), min(b.size, o*b.stride-b.pad+b.kernel)
}

// maxPool writes the maximum of every bin and, unless at is nil, which pixel of the map it was: the first in row order,
// NaN winning as in the reference.
type maxPool struct {
	y, x       image
	rows, cols bins
	at         []int32
}

func (j *maxPool) do(d *Device, _ *scratch, b int) {
	y, x, at, c := &j.y, &j.x, j.at, j.x.c
	for i := range y.h {
		r0, r1 := j.rows.of(i)
		for k := range y.w {
			c0, c1 := j.cols.of(k)
			out := y.data[y.at(b, i, k):][:c]
			var idx []int32
			if at != nil {
				idx = at[((b*y.h+i)*y.w+k)*c:][:c]
			}
			if kernel := d.pooling(c); kernel != nil {
				kernel.forward(ptr(out, 0), maybe(idx), ptr(x.data, x.at(b, r0, c0)), uintptr(4*(x.w+2*x.halo)*c), r1-r0, c1-c0, c, r0*x.w+c0, x.w)
				continue
			}
			for e := range out {
				out[e] = float32(math.Inf(-1))
			}
			for r := r0; r < r1; r++ {
				for q := c0; q < c1; q++ {
					in := x.data[x.at(b, r, q):][:c]
					if idx == nil {
						for e, v := range in {
							if v > out[e] || v != v {
								out[e] = v
							}
						}
						continue
					}
					where := int32(r*x.w + q)
					for e, v := range in {
						if v > out[e] || v != v {
							out[e], idx[e] = v, where
						}
					}
				}
			}
		}
	}
}

// maxPoolBack adds each gradient to the pixel that won, with fresh over zeros.
type maxPoolBack struct {
	dx, dy     image
	rows, cols bins
	at         []int32
	fresh      bool
}

func (j *maxPoolBack) do(d *Device, _ *scratch, b int) {
	dx, dy, c := &j.dx, &j.dy, j.dx.c
	kernel := d.pooling(c)
	zeroed := dx.h
	if j.fresh {
		zeroed = 0
	}
	for i := range dy.h {
		r0, r1 := j.rows.of(i)
		for ; zeroed < r1; zeroed++ {
			clear(dx.row(b, zeroed))
		}
		for k := range dy.w {
			g, idx := dy.data[dy.at(b, i, k):][:c], j.at[((b*dy.h+i)*dy.w+k)*c:][:c]
			if kernel != nil {
				c0, c1 := j.cols.of(k)
				kernel.back(ptr(g, 0), unsafe.Pointer(&idx[0]), ptr(dx.data, dx.at(b, r0, c0)), uintptr(4*(dx.w+2*dx.halo)*c), r1-r0, c1-c0, c, r0*dx.w+c0, dx.w)
				continue
			}
			for e, v := range g {
				p := int(idx[e])
				dx.data[dx.at(b, p/dx.w, p%dx.w)+e] += v
			}
		}
	}
	for ; zeroed < dx.h; zeroed++ {
		clear(dx.row(b, zeroed))
	}
}

// poolKernel is the assembly of max pooling over one window.
type poolKernel struct {
	forward, back func(y, where, x unsafe.Pointer, rs uintptr, rows, cols, c, at, w int)
}

var pooling512, pooling8 = poolKernel{maxPool512, maxPoolBack512}, poolKernel{maxPool8, maxPoolBack8}

// pooling is the kernels for c channels, nil where the Go loops do it.
func (d *Device) pooling(c int) *poolKernel {
	switch d.lanes(c) {
	case 16:
		return &pooling512
	case 8:
		return &pooling8
	}
	return nil
}

// meanPool writes the mean of every bin.
type meanPool struct {
	y, x       image
	rows, cols bins
}

func (j *meanPool) do(_ *Device, _ *scratch, b int) {
	y, x, c := &j.y, &j.x, j.x.c
	for i := range y.h {
		r0, r1 := j.rows.of(i)
		for k := range y.w {
			c0, c1 := j.cols.of(k)
			out := y.data[y.at(b, i, k):][:c]
			clear(out)
			for r := r0; r < r1; r++ {
				for q := c0; q < c1; q++ {
					for e, v := range x.data[x.at(b, r, q):][:c] {
						out[e] += v
					}
				}
			}
			inv := 1 / float32((r1-r0)*(c1-c0))
			for e := range out {
				out[e] *= inv
			}
		}
	}
}

// meanPoolBack adds each gradient, shared out evenly, to its bin.
type meanPoolBack struct {
	dx, dy     image
	rows, cols bins
}

func (j *meanPoolBack) do(_ *Device, _ *scratch, b int) {
	dx, dy, c := &j.dx, &j.dy, j.dx.c
	for i := range dy.h {
		r0, r1 := j.rows.of(i)
		for k := range dy.w {
			c0, c1 := j.cols.of(k)
			g := dy.data[dy.at(b, i, k):][:c]
			inv := 1 / float32((r1-r0)*(c1-c0))
			for r := r0; r < r1; r++ {
				for q := c0; q < c1; q++ {
					out := dx.data[dx.at(b, r, q):][:c]
					for e, v := range g {
						out[e] += v * inv
					}
				}
			}
		}
	}
}
