package cpu

import (
	"math"
	"unsafe"
)

// In bfloat16 a pair of values lies where a float would: neighbours along the sum, the first in the lower half. So buffers, strides and
// the micro-kernel's loops are those of floats, and a step of the kernel is two products. Maps, weights and gradients stay float32;
// what a tile of them needs is rounded where it is used.

// inPairs says whether products of ic and oc channels can be computed in pairs: others, such as a first layer's of colours, stay float32.
func (d *Device) inPairs(ic, oc int) bool { return d.pairs && ic%32 == 0 && oc%32 == 0 }

// pairOf rounds two floats, to the nearest or the even one. Like the instructions it takes the smallest numbers, of less than a normal
// float, for zero.
func pairOf(a, b float32) float32 {
	return math.Float32frombits(bf16(a)>>16 | bf16(b)&0xffff0000)
}

// bf16 is v rounded, in the upper half.
func bf16(v float32) uint32 {
	u := math.Float32bits(v)
	switch {
	case u&0x7f800000 == 0:
		return u & 0x80000000
	case v != v:
		return u | 1<<22
	}
	return u + 0x7fff + u>>16&1
}

// floatsOf is the pair.
func floatsOf(p float32) (a, b float32) {
	u := math.Float32bits(p)
	return math.Float32frombits(u << 16), math.Float32frombits(u & 0xffff0000)
}

// roundRows rounds rows of n floats, ss apart, to n/2 pairs, ds apart.
func (d *Device) roundRows(dst, src []float32, ds, ss, rows, n int) {
	if d.isa.packs16 {
		toPairs(ptr(dst, 0), ptr(src, 0), uintptr(4*ds), uintptr(4*ss), rows, n)
		return
	}
	for r := range rows {
		out, in := dst[r*ds:][:n/2], src[r*ss:][:n]
		for i := range out {
			out[i] = pairOf(in[2*i], in[2*i+1])
		}
	}
}

// pairRows pairs rows of one panel's width, ss apart: dst[r][k] = (src[2r][k], src[2r+1][k]), zero after an odd last row.
func (d *Device) pairRows(dst, src []float32, ss, rows int) {
	nr := d.isa.nr
	if d.isa.packs16 {
		pairs32(ptr(dst, 0), ptr(src, 0), uintptr(4*ss), rows)
		return
	}
	for r := 0; r < rows; r += 2 {
		out := dst[r/2*nr:][:nr]
		for k := range out {
			var second float32
			if r+1 < rows {
				second = src[(r+1)*ss+k]
			}
			out[k] = pairOf(src[r*ss+k], second)
		}
	}
}

// roundWeights pairs the weights of a convolution for its forward pass: from panels of size rows.
func (d *Device) roundWeights(w []float32, size, oc int) []float32 {
	np := d.isa.panels(oc)
	packed := grow32(&d.packedWeights, np*size/2*d.isa.nr+slack)
	run(d, &d.jobs.roundPanels, np, roundPanels{packed, w, size})
	return packed
}

// roundPanels pairs one panel of weights.
type roundPanels struct {
	dst, w []float32
	size   int
}

func (j *roundPanels) do(d *Device, _ *scratch, p int) {
	nr := d.isa.nr
	d.pairRows(j.dst[p*j.size/2*nr:], j.w[p*j.size*nr:], nr, j.size)
}

// turnPairs is turnPanel in pairs of output channels.
func (d *Device) turnPairs(sc *scratch, dst []float32, b *turn, ic, oc, j int) {
	nr, from := d.isa.nr, b.kernel*b.kernel*ic
	block := grow32(&sc.m, nr*nr/2+slack)
	for t := range b.taps {
		out := dst[t*oc/2*nr:]
		for q := range oc / nr {
			d.roundRows(block, b.w[q*from*nr+(b.taps[t]*ic+j*nr)*nr:], nr/2, nr, nr, nr)
			d.transpose(out[q*nr/2*nr:], block, nr, nr/2, nr, nr/2, 0)
		}
	}
}

// gemmPairsGo is gemmGo of pairs.
func gemmPairsGo(p *gemmArgs, mr int) {
	const nr = 8
	var acc [4][nr]float64
	at := uintptr(0)
	b := p.b
	for range p.ko {
		for range p.ki {
			row := (*[nr]float32)(b)
			for i := range mr {
				v0, v1 := floatsOf(*(*float32)(unsafe.Add(p.a, at+uintptr(i)*p.rsa)))
				for j := range nr {
					w0, w1 := floatsOf(row[j])
					acc[i][j] += float64(v0)*float64(w0) + float64(v1)*float64(w1)
				}
			}
			at += p.csa
			b = unsafe.Add(b, nr*4)
		}
		at += p.ja
	}
	p.put(&acc, mr)
}

// pairTile does all of m columns of a row of which rows [kh0,kh1) of the window count: what the tile reads is rounded once, for all
// panels. next is where the next columns' pixels lie.
func (w *windowCall) pairTile(at, next, yc, m, kh0, kh1 int) {
	d, q, c, nr := w.d, &w.q, w.x.c, w.d.isa.nr
	rows, n, apart := kh1-kh0, ((m-1)*q.s+q.kw)*c, w.rowLen()
	if q.kh*q.kw == 1 { // pixels on their own, lest they share a set of the cache
		rows, n, apart = m, c, q.s*c
	}
	pitch := n/2 + spread
	a := grow32(&w.sc.a, rows*pitch+slack)
	d.roundRows(a, w.x.data[at+kh0*apart:], pitch, apart, rows, n)
	p := &w.sc.args
	p.acc, p.a, p.ko, p.ki = 0, ptr(a, 0), kh1-kh0, q.kw*c/2
	p.rsa, p.ja = uintptr(2*q.s*c), uintptr(4*(pitch-p.ki))
	if q.kh*q.kw == 1 {
		p.rsa = uintptr(4 * pitch)
	}
	if q.add {
		p.acc = 1
	}
	steps := p.ko * p.ki
	for j := w.j0; j < w.j1; j++ {
		p.b, p.c = w.weights(j, kh0*q.kw*c, nr), ptr(w.y.data, yc+j*nr)
		if k := j - w.j0; k < 2*q.s {
			p.fetch(addr(w.x.data, next) + uintptr(64*k*steps))
		} else {
			p.fetch(uintptr(p.b) + uintptr(4*nr*steps))
		}
		d.isa.pairs[m](p)
	}
}

// pairTiles packs n tiles of width floats of pixels that are step apart, dst[tile][pair of pixels][mr], tiles being pitch apart.
func (d *Device) pairTiles(dst, src []float32, step, pixels, n, width, pitch int) {
	if d.isa.packs16 {
		pairs14(ptr(dst, 0), ptr(src, 0), uintptr(4*step), pixels, n, uintptr(4*width), uintptr(4*pitch))
		return
	}
	mr := d.isa.mr
	for p := 0; p < pixels; p += 2 {
		for i := range n {
			out := dst[i*pitch+p/2*mr:]
			for k := range width {
				var second float32
				if p+1 < pixels {
					second = src[(p+1)*step+i*width+k]
				}
				out[k] = pairOf(src[p*step+i*width+k], second)
			}
		}
	}
}
