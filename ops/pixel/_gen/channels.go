package main

import "fmt"

// channels writes RGB pixels to planes and back, sixteen at a time.
func channels(a, d *asm) {
	for part := range 3 {
		for ch := range 3 {
			var join, split [16]int
			for i := range 16 {
				join[i], split[i] = -1, -1
				if at := 16*part + i; at%3 == ch {
					join[i] = at / 3
				}
				if at := 3*i + ch - 16*part; at >= 0 && at < 16 {
					split[i] = at
				}
			}
			a.mask(fmt.Sprintf("join%d%d", part, ch), join)
			a.mask(fmt.Sprintf("split%d%d", ch, part), split)
		}
	}
	d.p("// interleaveAsm is interleaveGo of n pixels, a multiple of 16.\n//\n//go:noescape\nfunc interleaveAsm(dst, red, green, blue unsafe.Pointer, n int)\n")
	a.p("// func interleaveAsm(dst, red, green, blue unsafe.Pointer, n int)\nTEXT ·interleaveAsm(SB), NOSPLIT, $0-40")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ red+8(FP), SI\n\tMOVQ green+16(FP), DX\n\tMOVQ blue+24(FP), R8\n\tMOVQ n+32(FP), CX\n\tXORQ BX, BX")
	a.p("il_l:\n\tVMOVDQU (SI)(BX*1), X0\n\tVMOVDQU (DX)(BX*1), X1\n\tVMOVDQU (R8)(BX*1), X2")
	for part := range 3 {
		for ch := range 3 {
			a.p("\tVPSHUFB join%d%d<>(SB), X%d, X%d", part, ch, ch, 3+ch)
		}
		a.p("\tVPOR X4, X3, X3\n\tVPOR X5, X3, X3\n\tVMOVDQU X3, %d(DI)", 16*part)
	}
	a.p("\tADDQ $48, DI\n\tADDQ $16, BX\n\tCMPQ BX, CX\n\tJLT il_l\n\tRET\n")

	d.p("// deinterleaveAsm is deinterleaveGo of n pixels, a multiple of 16.\n//\n//go:noescape\nfunc deinterleaveAsm(red, green, blue, src unsafe.Pointer, n int)\n")
	a.p("// func deinterleaveAsm(red, green, blue, src unsafe.Pointer, n int)\nTEXT ·deinterleaveAsm(SB), NOSPLIT, $0-40")
	a.p("\tMOVQ red+0(FP), SI\n\tMOVQ green+8(FP), DX\n\tMOVQ blue+16(FP), R8\n\tMOVQ src+24(FP), DI\n\tMOVQ n+32(FP), CX\n\tXORQ BX, BX")
	a.p("dl_l:\n\tVMOVDQU (DI), X0\n\tVMOVDQU 16(DI), X1\n\tVMOVDQU 32(DI), X2")
	for ch, to := range []string{"SI", "DX", "R8"} {
		for part := range 3 {
			a.p("\tVPSHUFB split%d%d<>(SB), X%d, X%d", ch, part, part, 3+part)
		}
		a.p("\tVPOR X4, X3, X3\n\tVPOR X5, X3, X3\n\tVMOVDQU X3, (%s)(BX*1)", to)
	}
	a.p("\tADDQ $48, DI\n\tADDQ $16, BX\n\tCMPQ BX, CX\n\tJLT dl_l\n\tRET\n")
}
