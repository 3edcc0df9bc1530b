//go:build (amd64 || arm64) && !purego

package pixel

import (
	"os"
	"unsafe"
)

// assembly says that the kernels are assembly: the machine is capable of it, and CONTRAFLOW_ISA does not ask for the generic ones.
var assembly = capable && os.Getenv("CONTRAFLOW_ISA") != "generic"

// acrossArgs are the arguments of acrossAsm, which knows the offsets.
type acrossArgs struct {
	dst      unsafe.Pointer
	distance int // of dst's channels
	src      [3]unsafe.Pointer
	groups   unsafe.Pointer
	lanes    unsafe.Pointer
	n, taps  int
	stride   int // of src
	out      int // stride of dst
	rows     int
}

func across(dst, src *Planar, box Box, t *taps) {
	if !assembly || t.groups == nil {
		acrossGo(dst, src, box, t)
		return
	}
	for c := range dst.C {
		row := dst.Row(c, box.H-1)
		_ = row[8*len(t.groups)-1]
		_ = src.Row(c, box.Y+box.H-1)[box.X+box.W+32]
	}
	p := acrossArgs{groups: unsafe.Pointer(&t.groups[0]), lanes: unsafe.Pointer(&t.lanes[0]), n: len(t.groups), taps: t.most, stride: src.Stride, out: dst.Stride}
	for c := range src.C {
		p.src[c] = unsafe.Pointer(&src.C[c][box.Y*src.Stride+box.X])
	}
	p.dst, p.distance, p.rows = unsafe.Pointer(&dst.C[0][0]), dst.distance(), box.H
	acrossAsm(&p)
}

func down(dst, src []byte, stride int, weight []int32, n int) {
	if !assembly {
		downGo(dst, src, stride, weight, n)
		return
	}
	whole := (n + 31) &^ 31
	_, _ = dst[whole-1], src[(len(weight)-1)*stride+whole-1]
	downAsm(unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0]), stride, unsafe.Pointer(&weight[0]), len(weight), n)
}

func deinterleave(r, g, b, src []byte, n int) {
	if whole := n &^ 15; assembly && whole > 0 {
		_, _, _, _ = r[whole-1], g[whole-1], b[whole-1], src[3*whole-1]
		deinterleaveAsm(unsafe.Pointer(&r[0]), unsafe.Pointer(&g[0]), unsafe.Pointer(&b[0]), unsafe.Pointer(&src[0]), whole)
		r, g, b, src, n = r[whole:], g[whole:], b[whole:], src[3*whole:], n-whole
	}
	deinterleaveGo(r, g, b, src, n)
}

func interleave(dst, r, g, b []byte, n int) {
	if whole := n &^ 15; assembly && whole > 0 {
		_, _, _, _ = r[whole-1], g[whole-1], b[whole-1], dst[3*whole-1]
		interleaveAsm(unsafe.Pointer(&dst[0]), unsafe.Pointer(&r[0]), unsafe.Pointer(&g[0]), unsafe.Pointer(&b[0]), whole)
		r, g, b, dst, n = r[whole:], g[whole:], b[whole:], dst[3*whole:], n-whole
	}
	interleaveGo(dst, r, g, b, n)
}

func lab8(dst [3][]float32, r, g, b []byte, c *labConstants) {
	n := len(r) &^ 7
	if assembly && n > 0 {
		_, _, _, _, _ = dst[0][n-1], dst[1][n-1], dst[2][n-1], g[n-1], b[n-1]
		p := labArgs{src: [3]unsafe.Pointer{unsafe.Pointer(&r[0]), unsafe.Pointer(&g[0]), unsafe.Pointer(&b[0])}, linear: unsafe.Pointer(linearised()), n: n, lab: *c}
		for k := range dst {
			p.dst[k] = unsafe.Pointer(&dst[k][0])
			dst[k] = dst[k][n:]
		}
		labAsm(&p)
		r, g, b = r[n:], g[n:], b[n:]
	}
	labGo(dst, r, g, b, c)
}

// vectors says that blendVector and hueVector are there.
func vectors() bool { return assembly }

// rows are the channels of a row; it panics when they have no room for whole vectors.
func (p *Planar) rows(y int) (r, g, b unsafe.Pointer) {
	last := (p.W+7)&^7 - 1
	red, green, blue := p.Row(0, y), p.Row(1, y), p.Row(2, y)
	_, _, _ = red[last], green[last], blue[last]
	return unsafe.Pointer(&red[0]), unsafe.Pointer(&green[0]), unsafe.Pointer(&blue[0])
}

// blendVector moves a row away from a level by f, or from its lightness when level is negative.
func blendVector(p *Planar, y, level int, f float32) {
	r, g, b := p.rows(y)
	blendAsm(r, g, b, unsafe.Pointer(&f), level, p.W)
}

// hueVector turns the hue of a row.
func hueVector(p *Planar, y, shift int) {
	r, g, b := p.rows(y)
	hueAsm(r, g, b, shift, p.W)
}

func lightSum(r, g, b []byte) int {
	n, sum := len(r)&^7, 0
	if assembly && n > 0 {
		_, _ = g[n-1], b[n-1]
		sum = lightAsm(unsafe.Pointer(&r[0]), unsafe.Pointer(&g[0]), unsafe.Pointer(&b[0]), n)
		r, g, b = r[n:], g[n:], b[n:]
	}
	return sum + lightSumGo(r, g, b)
}
