//go:build (amd64 || arm64) && !purego

package jpeg

import (
	"os"
	"unsafe"
)

// assembly says that the kernels are assembly: the machine is capable of it, and CONTRAFLOW_ISA does not ask for the generic ones.
var assembly = capable && os.Getenv("CONTRAFLOW_ISA") != "generic"

func vector() bool { return assembly }

// The assembly reads and writes whole vectors; the planes and rows that it is given have room for that.

func idct(dst []byte, pitch int, coef *[64]int16, quant *[64]uint16) {
	if !assembly {
		idctGo(dst, pitch, coef, quant)
		return
	}
	_ = dst[7*pitch+7]
	idctAsm(unsafe.Pointer(&dst[0]), pitch, unsafe.Pointer(coef), unsafe.Pointer(quant))
}

func doubleBoth(dst, cur, near []byte, n int) {
	if !assembly {
		doubleBothGo(dst, cur, near, n)
		return
	}
	_, _, _ = dst[(n+15)&^15*2-1], cur[(n+15)&^15+1], near[(n+15)&^15+1]
	doubleBothAsm(unsafe.Pointer(&dst[0]), unsafe.Pointer(&cur[0]), unsafe.Pointer(&near[0]), n)
}

func double(dst, cur []byte, n int) {
	if !assembly {
		doubleGo(dst, cur, n)
		return
	}
	_, _ = dst[(n+15)&^15*2-1], cur[(n+15)&^15+1]
	doubleAsm(unsafe.Pointer(&dst[0]), unsafe.Pointer(&cur[0]), n)
}

func convert(r, g, b, y, cb, cr []byte, n int) {
	if !assembly {
		convertGo(r, g, b, y, cb, cr, n)
		return
	}
	last := (n+15)&^15 - 1
	_, _, _, _, _, _ = r[last], g[last], b[last], y[last], cb[last], cr[last]
	convertAsm(unsafe.Pointer(&r[0]), unsafe.Pointer(&g[0]), unsafe.Pointer(&b[0]), unsafe.Pointer(&y[0]), unsafe.Pointer(&cb[0]), unsafe.Pointer(&cr[0]), n)
}
