package cpu

import "unsafe"

// The streaming loops over pixels × channels. Each is the Go loop below, which the assembly equals; channel counts that
// are no multiple of eight take the loop. Masks have one bit a value, maskBytes(c) bytes a pixel, lowest bit first.

// lanes is how many channels a vector of the kernels for c channels has: 16, 8, or 1 for the Go loop.
func (d *Device) lanes(c int) int {
	switch {
	case d.isa.packs16 && c%16 == 0:
		return 16
	case d.isa.vector && c%8 == 0:
		return 8
	}
	return 1
}

func maskBytes(c int) int { return (c + 7) / 8 }

// maybe is the address of a slice's first element, nil without any.
func maybe[T any](s []T) unsafe.Pointer {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Pointer(&s[0])
}

// sumPixels is sum[k] = Σ (x[p·stride+k]-shift[k]) and sq[k] = Σ (x[p·stride+k]-shift[k])².
func (d *Device) sumPixels(sum, sq, x, shift []float32, pixels, stride int) {
	c := len(sum)
	switch d.lanes(c) {
	case 16:
		bnSums512(ptr(sum, 0), ptr(sq, 0), ptr(x, 0), ptr(shift, 0), pixels, c, uintptr(4*stride))
	case 8:
		bnSums8(ptr(sum, 0), ptr(sq, 0), ptr(x, 0), ptr(shift, 0), pixels, c, uintptr(4*stride))
	default:
		clear(sum)
		clear(sq)
		for p := range pixels {
			for k, v := range x[p*stride:][:c] {
				v -= shift[k]
				sum[k] += v
				sq[k] += v * v
			}
		}
	}
}

// applyPixels is dst[p][k] = max((src[p][k]-coef[k])·coef[c+k] + coef[2c+k] + res[p][k], low); res and mask may be empty.
func (d *Device) applyPixels(dst, src, res, coef []float32, mask []byte, low float32) {
	c := len(coef) / 3
	switch d.lanes(c) {
	case 16:
		bnApply512(ptr(dst, 0), ptr(src, 0), maybe(res), ptr(coef, 0), maybe(mask), len(src)/c, c, unsafe.Pointer(&low))
		return
	case 8:
		bnApply8(ptr(dst, 0), ptr(src, 0), maybe(res), ptr(coef, 0), maybe(mask), len(src)/c, c, unsafe.Pointer(&low))
		return
	}
	clear(mask)
	for p := range len(src) / c {
		for k := range c {
			at := p*c + k
			v := (src[at]-coef[k])*coef[c+k] + coef[2*c+k]
			if len(res) > 0 {
				v += res[at]
			}
			if v < low {
				v = low
			}
			dst[at] = v
			if len(mask) > 0 && v > 0 {
				mask[p*maskBytes(c)+k/8] |= 1 << (k % 8)
			}
		}
	}
}

// backSumPixels is sum[k] = Σ dz and dot[k] = Σ dz·(x[p][k]-mean[k]), dz = dout where the mask is set (or empty).
func (d *Device) backSumPixels(sum, dot, dout []float32, mask []byte, x, mean []float32) {
	c := len(sum)
	switch d.lanes(c) {
	case 16:
		bnBackSums512(ptr(sum, 0), ptr(dot, 0), ptr(dout, 0), maybe(mask), ptr(x, 0), ptr(mean, 0), len(x)/c, c)
		return
	case 8:
		bnBackSums8(ptr(sum, 0), ptr(dot, 0), ptr(dout, 0), maybe(mask), ptr(x, 0), ptr(mean, 0), len(x)/c, c)
		return
	}
	clear(sum)
	clear(dot)
	for p := range len(x) / c {
		for k := range c {
			if !passes(mask, p, k, c) {
				continue
			}
			dz := dout[p*c+k]
			sum[k] += dz
			dot[k] += dz * (x[p*c+k] - mean[k])
		}
	}
}

// passes says whether the mask lets value k of pixel p through.
func passes(mask []byte, p, k, c int) bool {
	return len(mask) == 0 || mask[p*maskBytes(c)+k/8]>>(k%8)&1 == 1
}

// backPixels is dx = coef[k]·(dz-coef[c+k]) + coef[2c+k]·(x-coef[3c+k]), and dres = dz or, with add, dres += dz.
func (d *Device) backPixels(dx, dres, dout []float32, mask []byte, x, coef []float32, add bool) {
	c := len(coef) / 4
	plus := 0
	if add {
		plus = 1
	}
	switch d.lanes(c) {
	case 16:
		bnBackApply512(ptr(dx, 0), maybe(dres), ptr(dout, 0), maybe(mask), ptr(x, 0), ptr(coef, 0), len(x)/c, c, plus)
		return
	case 8:
		bnBackApply8(ptr(dx, 0), maybe(dres), ptr(dout, 0), maybe(mask), ptr(x, 0), ptr(coef, 0), len(x)/c, c, plus)
		return
	}
	for p := range len(x) / c {
		for k := range c {
			at := p*c + k
			var dz float32
			if passes(mask, p, k, c) {
				dz = dout[at]
			}
			dx[at] = coef[k]*(dz-coef[c+k]) + coef[2*c+k]*(x[at]-coef[3*c+k])
			if len(dres) == 0 {
				continue
			}
			if add {
				dz += dres[at]
			}
			dres[at] = dz
		}
	}
}

// sgd is v = momentum·v + (g + decay·p), p -= lr·v.
func (d *Device) sgd(p, g, v []float32, lr, momentum, decay float32) {
	n := 0
	if d.isa.vector {
		if n = len(p) &^ 7; n > 0 {
			h := [3]float32{lr, momentum, decay}
			sgdAsm(ptr(p, 0), ptr(g, 0), ptr(v, 0), unsafe.Pointer(&h), n)
		}
	}
	for i := n; i < len(p); i++ {
		v[i] = momentum*v[i] + (g[i] + decay*p[i])
		p[i] -= lr * v[i]
	}
}

// addTo is dst += src.
func (d *Device) addTo(dst, src []float32) {
	n := 0
	if d.isa.vector {
		if n = len(dst) &^ 7; n > 0 {
			addAsm(ptr(dst, 0), ptr(src, 0), n)
		}
	}
	for i := n; i < len(dst); i++ {
		dst[i] += src[i]
	}
}

// lane is a worker's private buffer of n floats.
func (s *scratch) lane(n int) []float32 { return grow32(&s.tileSum, n) }

func grow32(s *[]float32, n int) []float32 {
	if len(*s) < n {
		*s = aligned(n)
	}
	return (*s)[:n]
}

func grow64(s *[]float64, n int) []float64 {
	if len(*s) < n {
		*s = make([]float64, n)
	}
	return (*s)[:n]
}
