package cpu

import "unsafe"

// The streaming loops over pixels × channels. Each is the Go loop below, which the assembly equals; channel counts that
// are no multiple of eight take the loop.

func (d *Device) vectors(c int) bool { return d.isa.vector && c%8 == 0 }

func maybe(s []float32) unsafe.Pointer {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Pointer(&s[0])
}

// sumPixels is sum[k] = Σ (x[p][k]-shift[k]) and sq[k] = Σ (x[p][k]-shift[k])².
func (d *Device) sumPixels(sum, sq, x, shift []float32, pixels int) {
	c := len(sum)
	if d.vectors(c) {
		bnSumsAsm(ptr(sum, 0), ptr(sq, 0), ptr(x, 0), ptr(shift, 0), pixels, c)
		return
	}
	clear(sum)
	clear(sq)
	for p := range pixels {
		row := x[p*c:][:c]
		for k, v := range row {
			v -= shift[k]
			sum[k] += v
			sq[k] += v * v
		}
	}
}

// applyPixels is dst[p][k] = max((src[p][k]-coef[k])·coef[c+k] + coef[2c+k] + res[p][k], low); res may be empty.
func (d *Device) applyPixels(dst, src, res, coef []float32, low float32) {
	c := len(coef) / 3
	if d.vectors(c) {
		bnApplyAsm(ptr(dst, 0), ptr(src, 0), maybe(res), ptr(coef, 0), len(src)/c, c, unsafe.Pointer(&low))
		return
	}
	for p := 0; p < len(src); p += c {
		for k := range c {
			v := (src[p+k]-coef[k])*coef[c+k] + coef[2*c+k]
			if len(res) > 0 {
				v += res[p+k]
			}
			if v < low {
				v = low
			}
			dst[p+k] = v
		}
	}
}

// backSumPixels is sum[k] = Σ dz and dot[k] = Σ dz·(x[p][k]-mean[k]), dz = dout where out > 0 (or out is empty).
func (d *Device) backSumPixels(sum, dot, dout, out, x, mean []float32) {
	c := len(sum)
	if d.vectors(c) {
		bnBackSumsAsm(ptr(sum, 0), ptr(dot, 0), ptr(dout, 0), maybe(out), ptr(x, 0), ptr(mean, 0), len(x)/c, c)
		return
	}
	clear(sum)
	clear(dot)
	for p := 0; p < len(x); p += c {
		for k := range c {
			if len(out) > 0 && !(out[p+k] > 0) {
				continue
			}
			dz := dout[p+k]
			sum[k] += dz
			dot[k] += dz * (x[p+k] - mean[k])
		}
	}
}

// backPixels is dx = coef[k]·(dz-coef[c+k]) + coef[2c+k]·(x-coef[3c+k]), and dres = dz or, with add, dres += dz.
func (d *Device) backPixels(dx, dres, dout, out, x, coef []float32, add bool) {
	c := len(coef) / 4
	if d.vectors(c) {
		plus := 0
		if add {
			plus = 1
		}
		bnBackApplyAsm(ptr(dx, 0), maybe(dres), ptr(dout, 0), maybe(out), ptr(x, 0), ptr(coef, 0), len(x)/c, c, plus)
		return
	}
	for p := 0; p < len(x); p += c {
		for k := range c {
			var dz float32
			if len(out) == 0 || out[p+k] > 0 {
				dz = dout[p+k]
			}
			dx[p+k] = coef[k]*(dz-coef[c+k]) + coef[2*c+k]*(x[p+k]-coef[3*c+k])
			if len(dres) == 0 {
				continue
			}
			if add {
				dz += dres[p+k]
			}
			dres[p+k] = dz
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
