//go:build !(amd64 || arm64) || purego

package cpu

import "unsafe"

func available() []isa { return []isa{generic} }

// Without assembly no isa has vector set, and none of these is called.

func addAsm(dst, src unsafe.Pointer, n int)      { panic("ops: no assembly") }
func sgdAsm(p, grad, v, h unsafe.Pointer, n int) { panic("ops: no assembly") }
func bnSums8(sum, sq, x, shift unsafe.Pointer, pixels, c int, stride uintptr) {
	panic("ops: no assembly")
}
func bnApply8(dst, src, res, coef, mask unsafe.Pointer, pixels, c int, low unsafe.Pointer) {
	panic("ops: no assembly")
}
func bnBackSums8(sum, dot, dout, mask, x, mean unsafe.Pointer, pixels, c int) {
	panic("ops: no assembly")
}
func bnBackApply8(dx, dres, dout, mask, x, coef unsafe.Pointer, pixels, c, add int) {
	panic("ops: no assembly")
}
func transpose8(dst, src unsafe.Pointer, ds, ss, next uintptr)         { panic("ops: no assembly") }
func gatherDot8(out, x, rows, index unsafe.Pointer, n, indices, c int) { panic("ops: no assembly") }
func gatherSum8(sum, coef, rows, index unsafe.Pointer, n, c int)       { panic("ops: no assembly") }
func maxPool8(out, where, x unsafe.Pointer, rs uintptr, rows, cols, c, at, w int) {
	panic("ops: no assembly")
}
func maxPoolBack8(dy, where, dx unsafe.Pointer, rs uintptr, rows, cols, c, at, w int) {
	panic("ops: no assembly")
}

var winoInputx8, winoOutput4x8, winoOutput2x8, winoGrad4x8, winoGrad2x8, winoWeight3x8, winoWeight5x8, winoWeightGrad3x8, winoWeightFresh3x8, winoWeightGrad5x8, winoWeightFresh5x8 transformAsm
