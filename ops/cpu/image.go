package cpu

import "unsafe"

// slack is how many floats kernels may read past the end of a buffer.
const slack = 64

// image is a batch of NHWC maps with a halo of zeros around each: pixel (n,h,w) begins at
// ((n·(H+2P)+h+P)·(W+2P)+w+P)·C.
type image struct {
	n, h, w, c, halo int
	data             []float32
}

// size is the number of floats of the buffer, slack included.
func (m *image) size() int { return m.n*(m.h+2*m.halo)*(m.w+2*m.halo)*m.c + slack }

// at is the offset of a pixel; h and w may reach into the halo.
func (m *image) at(n, h, w int) int {
	return ((n*(m.h+2*m.halo)+h+m.halo)*(m.w+2*m.halo) + w + m.halo) * m.c
}

// row is one row of pixels, [w·c].
func (m *image) row(n, h int) []float32 { return m.data[m.at(n, h, 0):][:m.w*m.c] }

// clearHalo zeroes the border of the first n maps.
func (m *image) clearHalo(n int) {
	if m.halo == 0 {
		return
	}
	line := (m.w + 2*m.halo) * m.c
	for b := range n {
		for h := -m.halo; h < m.h+m.halo; h++ {
			l := m.data[m.at(b, h, -m.halo):][:line]
			if h < 0 || h >= m.h {
				clear(l)
				continue
			}
			clear(l[:m.halo*m.c])
			clear(l[line-m.halo*m.c:])
		}
	}
}

func ptr(s []float32, i int) unsafe.Pointer { return unsafe.Pointer(&s[i]) }

// addr is the address of s[i], for prefetching.
func addr(s []float32, i int) uintptr { return uintptr(ptr(s, i)) }
