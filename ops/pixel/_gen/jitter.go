package main

import "math"

// jitters writes colour jitter, eight pixels at a time, with the types and the order of Pillow's operations.
func jitters(a, d *asm) {
	f := func(name string, v float32) { a.dwords(name, math.Float32bits(v)) }
	g := func(name string, v float64) {
		b := math.Float64bits(v)
		a.dwords(name, uint32(b), uint32(b>>32))
	}
	a.dwords("lightR", 19595)
	a.dwords("lightG", 38470)
	a.dwords("lightB", 7471)
	a.dwords("lightHalf", 32768)
	f("f1", 1)
	f("f2", 2)
	f("f4", 4)
	f("f6", 6)
	f("f255", 255)
	f("fHalf", 0.5)
	g("d1", 1)
	g("d6", 6)
	g("d255", 255)
	for _, v := range []uint32{1, 2, 3, 4, 5, 6, 255} {
		a.dwords("i"+itoa(v), v)
	}
	blends(a, d)
	lights(a, d)
	hue(a, d)
}

// lightness leaves that of the pixels of Y0, Y1, Y2 in Y3.
func (a *asm) lightness() {
	a.p("\tVPMULLD lightR<>(SB), Y0, Y3\n\tVPMULLD lightG<>(SB), Y1, Y4\n\tVPADDD Y4, Y3, Y3\n\tVPMULLD lightB<>(SB), Y2, Y4\n\tVPADDD Y4, Y3, Y3\n\tVPADDD lightHalf<>(SB), Y3, Y3\n\tVPSRLD $16, Y3, Y3")
}

// load reads eight pixels.
func (a *asm) load() {
	a.p("\tVPMOVZXBD (DI)(BX*1), Y0\n\tVPMOVZXBD (SI)(BX*1), Y1\n\tVPMOVZXBD (DX)(BX*1), Y2")
}

// store packs the integers of a register into eight bytes.
func (a *asm) store(reg int, to string) {
	a.p("\tVPACKUSDW Y%d, Y%d, Y%d\n\tVPACKUSWB Y%d, Y%d, Y%d\n\tVEXTRACTI128 $1, Y%d, X4\n\tVPUNPCKLDQ X4, X%d, X%d\n\tVMOVQ X%d, (%s)(BX*1)",
		reg, reg, reg, reg, reg, reg, reg, reg, reg, reg, to)
}

func blends(a, d *asm) {
	d.p("// blendAsm moves n pixels away from level by factor[0], or from their lightness when level is negative; n is rounded up to a\n// multiple of 8.\n//\n//go:noescape\nfunc blendAsm(red, green, blue, factor unsafe.Pointer, level, n int)\n")
	a.p("// func blendAsm(red, green, blue, factor unsafe.Pointer, level, n int)\nTEXT ·blendAsm(SB), NOSPLIT, $0-48")
	a.p("\tMOVQ red+0(FP), DI\n\tMOVQ green+8(FP), SI\n\tMOVQ blue+16(FP), DX\n\tMOVQ factor+24(FP), R8\n\tMOVQ level+32(FP), R9\n\tMOVQ n+40(FP), CX\n\tXORQ BX, BX\n\tVBROADCASTSS (R8), Y15\n\tMOVQ R9, X14\n\tVPBROADCASTD X14, Y14")
	a.p("bl_l:")
	a.load()
	a.p("\tVMOVDQA Y14, Y3\n\tTESTQ R9, R9\n\tJGE bl_c")
	a.lightness()
	a.p("bl_c:\n\tVCVTDQ2PS Y3, Y5")
	for c := range 3 {
		a.p("\tVPSUBD Y3, Y%d, Y%d\n\tVCVTDQ2PS Y%d, Y%d\n\tVMULPS Y15, Y%d, Y%d\n\tVADDPS Y5, Y%d, Y%d\n\tVCVTTPS2DQ Y%d, Y%d", c, c, c, c, c, c, c, c, c, c)
	}
	a.store(0, "DI")
	a.store(1, "SI")
	a.store(2, "DX")
	a.p("\tADDQ $8, BX\n\tCMPQ BX, CX\n\tJLT bl_l\n\tVZEROUPPER\n\tRET\n")
}

func lights(a, d *asm) {
	d.p("// lightAsm is the sum of the lightness of n pixels, a multiple of 8 below 2²⁰.\n//\n//go:noescape\nfunc lightAsm(red, green, blue unsafe.Pointer, n int) int\n")
	a.p("// func lightAsm(red, green, blue unsafe.Pointer, n int) int\nTEXT ·lightAsm(SB), NOSPLIT, $0-40")
	a.p("\tMOVQ red+0(FP), DI\n\tMOVQ green+8(FP), SI\n\tMOVQ blue+16(FP), DX\n\tMOVQ n+24(FP), CX\n\tXORQ BX, BX\n\tVPXOR Y15, Y15, Y15\nli_l:")
	a.load()
	a.lightness()
	a.p("\tVPADDD Y3, Y15, Y15\n\tADDQ $8, BX\n\tCMPQ BX, CX\n\tJLT li_l")
	a.p("\tVEXTRACTI128 $1, Y15, X0\n\tVPADDD X0, X15, X0\n\tVPSHUFD $0x4e, X0, X1\n\tVPADDD X1, X0, X0\n\tVPSHUFD $0xb1, X0, X1\n\tVPADDD X1, X0, X0\n\tVMOVD X0, AX\n\tMOVLQSX AX, AX\n\tMOVQ AX, ret+32(FP)\n\tVZEROUPPER\n\tRET\n")
}

// hue follows toHSV and fromHSV. Which channel is largest chooses base, A and B of the hue (base+A)-B; which sixth of the circle the
// turned hue lies in chooses among v, p, q and t.
func hue(a, d *asm) {
	d.p("// hueAsm turns the hue of n pixels by shift steps of 255; n is rounded up to a multiple of 8.\n//\n//go:noescape\nfunc hueAsm(red, green, blue unsafe.Pointer, shift, n int)\n")
	a.p("// func hueAsm(red, green, blue unsafe.Pointer, shift, n int)\nTEXT ·hueAsm(SB), NOSPLIT, $0-40")
	a.p("\tMOVQ red+0(FP), DI\n\tMOVQ green+8(FP), SI\n\tMOVQ blue+16(FP), DX\n\tMOVQ shift+24(FP), R8\n\tMOVQ n+32(FP), CX\n\tXORQ BX, BX\n\tMOVQ R8, X15\n\tVPBROADCASTD X15, Y15\nhu_l:")
	a.load()
	a.p("\tVPMAXUD Y1, Y0, Y3\n\tVPMAXUD Y2, Y3, Y3\n\tVPMINUD Y1, Y0, Y4\n\tVPMINUD Y2, Y4, Y4\n\tVPSUBD Y4, Y3, Y5") // most, d
	a.p("\tVPCMPEQD Y0, Y3, Y6\n\tVPCMPEQD Y1, Y3, Y7\n\tVCVTDQ2PS Y5, Y8")
	for c := range 3 { // rc, gc, bc
		a.p("\tVPSUBD Y%d, Y3, Y%d\n\tVCVTDQ2PS Y%d, Y%d\n\tVDIVPS Y8, Y%d, Y%d", c, 9+c, 9+c, 9+c, 9+c, 9+c)
	}
	a.p("\tVBLENDVPS Y7, Y9, Y10, Y12\n\tVBLENDVPS Y6, Y11, Y12, Y12\n\tVBLENDVPS Y7, Y11, Y9, Y13\n\tVBLENDVPS Y6, Y10, Y13, Y13") // A, B
	a.p("\tVMOVUPS f4<>(SB), Y14\n\tVBLENDVPS Y7, f2<>(SB), Y14, Y14\n\tVANDNPS Y14, Y6, Y14")                                      // base
	a.p("\tVCVTDQ2PS Y3, Y4\n\tVDIVPS Y4, Y8, Y9")                                                                                  // saturation
	for half := range 2 {
		half64 := func(from, to int) {
			if half == 0 {
				a.p("\tVCVTPS2PD X%d, Y%d", from, to)
			} else {
				a.p("\tVEXTRACTF128 $1, Y%d, X%d\n\tVCVTPS2PD X%d, Y%d", from, to, to, to)
			}
		}
		half64(14, 0)
		half64(12, 1)
		half64(13, 2)
		a.p("\tVADDPD Y1, Y0, Y0\n\tVSUBPD Y2, Y0, Y0\n\tVCVTPD2PSY Y0, X0\n\tVCVTPS2PD X0, Y0\n\tVDIVPD d6<>(SB), Y0, Y0\n\tVADDPD d1<>(SB), Y0, Y0\n\tVROUNDPD $9, Y0, Y1\n\tVSUBPD Y1, Y0, Y0\n\tVCVTPD2PSY Y0, X0\n\tVCVTPS2PD X0, Y0\n\tVMULPD d255<>(SB), Y0, Y0\n\tVCVTTPD2DQY Y0, X%d", 6+half)
		half64(9, 0)
		a.p("\tVMULPD d255<>(SB), Y0, Y0\n\tVCVTTPD2DQY Y0, X%d", 10+half)
	}
	a.p("\tVINSERTI128 $1, X7, Y6, Y6\n\tVINSERTI128 $1, X11, Y10, Y10\n\tVPADDD Y15, Y6, Y6\n\tVPAND i255<>(SB), Y6, Y6")
	a.p("\tVCVTDQ2PS Y6, Y0\n\tVMULPS f6<>(SB), Y0, Y0\n\tVDIVPS f255<>(SB), Y0, Y0\n\tVROUNDPS $9, Y0, Y1\n\tVSUBPS Y1, Y0, Y0\n\tVCVTTPS2DQ Y1, Y1") // f, i
	a.p("\tVCVTDQ2PS Y10, Y2\n\tVDIVPS f255<>(SB), Y2, Y2\n\tVMOVUPS f1<>(SB), Y14")                                                                   // s, 1
	a.p("\tVSUBPS Y2, Y14, Y6\n\tVMULPS Y0, Y2, Y7\n\tVSUBPS Y7, Y14, Y7\n\tVSUBPS Y0, Y14, Y8\n\tVMULPS Y8, Y2, Y8\n\tVSUBPS Y8, Y14, Y8")
	for r := 6; r < 9; r++ { // p, q, t: halves go up
		a.p("\tVMULPS Y4, Y%d, Y%d\n\tVROUNDPS $9, Y%d, Y9\n\tVSUBPS Y9, Y%d, Y10\n\tVCMPPS $13, fHalf<>(SB), Y10, Y10\n\tVCVTTPS2DQ Y9, Y%d\n\tVPSUBD Y10, Y%d, Y%d", r, r, r, r, r, r, r)
	}
	for i := range 5 {
		a.p("\tVPCMPEQD i%d<>(SB), Y1, Y%d", i+1, 9+i)
	}
	blend := func(dst, start int, picks ...[2]int) {
		from := start
		for _, p := range picks {
			a.p("\tVPBLENDVB Y%d, Y%d, Y%d, Y%d", 8+p[0], p[1], from, dst)
			from = dst
		}
	}
	const v, p, q, t = 3, 6, 7, 8
	blend(0, v, [2]int{1, q}, [2]int{2, p}, [2]int{3, p}, [2]int{4, t})
	blend(1, t, [2]int{1, v}, [2]int{2, v}, [2]int{3, q}, [2]int{4, p}, [2]int{5, p})
	blend(2, p, [2]int{2, t}, [2]int{3, v}, [2]int{4, v}, [2]int{5, q})
	a.p("\tVPXOR Y4, Y4, Y4\n\tVPCMPEQD Y4, Y5, Y5") // grey stays
	for c, to := range []string{"DI", "SI", "DX"} {
		a.p("\tVPBLENDVB Y5, Y3, Y%d, Y%d", c, c)
		a.store(c, to)
	}
	a.p("\tADDQ $8, BX\n\tCMPQ BX, CX\n\tJLT hu_l\n\tVZEROUPPER\n\tRET\n")
}

func itoa(v uint32) string {
	if v < 10 {
		return string(rune('0' + v))
	}
	return itoa(v/10) + itoa(v%10)
}
