//go:build !amd64 || purego

package cpu

import "unsafe"

// Without AVX-512 no isa has packs16 set, and none of these is called.

func pack32(dst, src unsafe.Pointer, ss uintptr, rows int) { panic("ops: no assembly") }
func pack14(dst, src unsafe.Pointer, ss uintptr, rows, tiles int, step, pitch uintptr) {
	panic("ops: no assembly")
}
func toPairs(dst, src unsafe.Pointer, ds, ss uintptr, rows, n int) { panic("ops: no assembly") }
func pairs32(dst, src unsafe.Pointer, ss uintptr, rows int)        { panic("ops: no assembly") }
func pairs14(dst, src unsafe.Pointer, ss uintptr, rows, tiles int, step, pitch uintptr) {
	panic("ops: no assembly")
}
func transpose16(dst, src unsafe.Pointer, ds, ss, next uintptr) { panic("ops: no assembly") }
func bnSums512(sum, sq, x, shift unsafe.Pointer, pixels, c int, stride uintptr) {
	panic("ops: no assembly")
}
func bnApply512(dst, src, res, coef, mask unsafe.Pointer, pixels, c int, low unsafe.Pointer) {
	panic("ops: no assembly")
}
func bnBackSums512(sum, dot, dout, mask, x, mean unsafe.Pointer, pixels, c int) {
	panic("ops: no assembly")
}
func bnBackApply512(dx, dres, dout, mask, x, coef unsafe.Pointer, pixels, c, add int) {
	panic("ops: no assembly")
}
func gatherDot512(out, x, rows, index unsafe.Pointer, n, indices, c int) { panic("ops: no assembly") }
func gatherSum512(sum, coef, rows, index unsafe.Pointer, n, c int)       { panic("ops: no assembly") }
func maxPool512(out, where, x unsafe.Pointer, rs uintptr, rows, cols, c, at, w int) {
	panic("ops: no assembly")
}
func maxPoolBack512(dy, where, dx unsafe.Pointer, rs uintptr, rows, cols, c, at, w int) {
	panic("ops: no assembly")
}

var winoInputx512, winoOutput4x512, winoOutput2x512, winoGrad4x512, winoGrad2x512, winoWeight3x512, winoWeight5x512, winoWeightGrad3x512, winoWeightFresh3x512, winoWeightGrad5x512, winoWeightFresh5x512 transformAsm
