package main

// doubles writes the interpolation of chroma, sixteen samples to 32 at a time. Even and odd results are made side by side as
// 16-bit words and joined into bytes.
func doubles(a, d *asm) {
	for _, w := range []int16{1, 2, 3, 7, 8, 128} {
		a.words("w"+itoa(w), w, w)
	}
	d.p("// doubleBothAsm is doubleBothGo; it reads and writes whole vectors.\n//\n//go:noescape\nfunc doubleBothAsm(dst, cur, near unsafe.Pointer, n int)\n")
	a.p("// func doubleBothAsm(dst, cur, near unsafe.Pointer, n int)\nTEXT ·doubleBothAsm(SB), NOSPLIT, $0-32")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ cur+8(FP), SI\n\tMOVQ near+16(FP), DX\n\tMOVQ n+24(FP), CX\n\tVMOVDQU w3<>(SB), Y15\n\tVMOVDQU w8<>(SB), Y14\n\tVMOVDQU w7<>(SB), Y13\ndb_l:")
	for i := range 3 {
		a.p("\tVPMOVZXBW %d(SI), Y%d\n\tVPMULLW Y15, Y%d, Y%d\n\tVPMOVZXBW %d(DX), Y3\n\tVPADDW Y3, Y%d, Y%d", i, i, i, i, i, i, i)
	}
	a.p("\tVPMULLW Y15, Y1, Y1\n\tVPADDW Y14, Y0, Y0\n\tVPADDW Y13, Y2, Y2\n\tVPADDW Y1, Y0, Y0\n\tVPADDW Y1, Y2, Y2\n\tVPSRLW $4, Y0, Y0\n\tVPSRLW $4, Y2, Y2")
	a.joined("db_l")

	d.p("// doubleAsm is doubleGo; it reads and writes whole vectors.\n//\n//go:noescape\nfunc doubleAsm(dst, cur unsafe.Pointer, n int)\n")
	a.p("// func doubleAsm(dst, cur unsafe.Pointer, n int)\nTEXT ·doubleAsm(SB), NOSPLIT, $0-24")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ cur+8(FP), SI\n\tMOVQ n+16(FP), CX\n\tVMOVDQU w3<>(SB), Y15\n\tVMOVDQU w1<>(SB), Y14\n\tVMOVDQU w2<>(SB), Y13\nds_l:")
	for i := range 3 {
		a.p("\tVPMOVZXBW %d(SI), Y%d", i, i)
	}
	a.p("\tVPMULLW Y15, Y1, Y1\n\tVPADDW Y14, Y0, Y0\n\tVPADDW Y13, Y2, Y2\n\tVPADDW Y1, Y0, Y0\n\tVPADDW Y1, Y2, Y2\n\tVPSRLW $2, Y0, Y0\n\tVPSRLW $2, Y2, Y2")
	a.joined("ds_l")
}

// joined stores the even words of Y0 and the odd words of Y2 as bytes and ends the loop.
func (a *asm) joined(loop string) {
	a.p("\tVPSLLW $8, Y2, Y2\n\tVPOR Y2, Y0, Y0\n\tVMOVDQU Y0, (DI)\n\tADDQ $32, DI\n\tADDQ $16, SI")
	if loop == "db_l" {
		a.p("\tADDQ $16, DX")
	}
	a.p("\tSUBQ $16, CX\n\tJG %s\n\tVZEROUPPER\n\tRET\n", loop)
}

// colours writes YCbCr to RGB, sixteen pixels at a time. The factors are taken apart as libjpeg-turbo does, so that 16 bits
// suffice: 1.402 = 1 + 0.402, 1.772 = 2 - 0.228, 0.714 = 1 - 0.286; rounding comes out the same.
func colours(a, d *asm) {
	a.words("red", 26345, 26345)
	a.words("blue", -14942, -14942)
	a.words("green", -22554, 18734)
	a.dwords("half", 32768)
	d.p("// convertAsm is convertGo; it reads and writes whole vectors.\n//\n//go:noescape\nfunc convertAsm(red, green, blue, y, cb, cr unsafe.Pointer, n int)\n")
	a.p("// func convertAsm(red, green, blue, y, cb, cr unsafe.Pointer, n int)\nTEXT ·convertAsm(SB), NOSPLIT, $0-56")
	a.p("\tMOVQ red+0(FP), DI\n\tMOVQ green+8(FP), R8\n\tMOVQ blue+16(FP), R9\n\tMOVQ y+24(FP), SI\n\tMOVQ cb+32(FP), DX\n\tMOVQ cr+40(FP), R10\n\tMOVQ n+48(FP), CX\n\tXORQ BX, BX")
	a.p("\tVMOVDQU w128<>(SB), Y15\n\tVMOVDQU w1<>(SB), Y14\n\tVMOVDQU red<>(SB), Y13\n\tVMOVDQU blue<>(SB), Y12\n\tVMOVDQU green<>(SB), Y11\n\tVMOVDQU half<>(SB), Y10")
	a.p("cv_l:\n\tVPMOVZXBW (SI)(BX*1), Y0\n\tVPMOVZXBW (DX)(BX*1), Y1\n\tVPMOVZXBW (R10)(BX*1), Y2\n\tVPSUBW Y15, Y1, Y1\n\tVPSUBW Y15, Y2, Y2")
	a.p("\tVPADDW Y1, Y1, Y3\n\tVPADDW Y2, Y2, Y4\n\tVPMULHW Y12, Y3, Y5\n\tVPMULHW Y13, Y4, Y6\n\tVPADDW Y14, Y5, Y5\n\tVPADDW Y14, Y6, Y6\n\tVPSRAW $1, Y5, Y5\n\tVPSRAW $1, Y6, Y6")
	a.p("\tVPADDW Y3, Y5, Y5\n\tVPADDW Y0, Y5, Y5\n\tVPADDW Y2, Y6, Y6\n\tVPADDW Y0, Y6, Y6") // blue, red
	a.p("\tVPUNPCKLWD Y2, Y1, Y7\n\tVPUNPCKHWD Y2, Y1, Y8\n\tVPMADDWD Y11, Y7, Y7\n\tVPMADDWD Y11, Y8, Y8\n\tVPADDD Y10, Y7, Y7\n\tVPADDD Y10, Y8, Y8\n\tVPSRAD $16, Y7, Y7\n\tVPSRAD $16, Y8, Y8\n\tVPACKSSDW Y8, Y7, Y7\n\tVPSUBW Y2, Y7, Y7\n\tVPADDW Y0, Y7, Y7")
	for _, s := range []struct {
		reg int
		to  string
	}{{6, "DI"}, {7, "R8"}, {5, "R9"}} {
		a.p("\tVPACKUSWB Y%d, Y%d, Y%d\n\tVPERMQ $8, Y%d, Y%d\n\tVMOVDQU X%d, (%s)(BX*1)", s.reg, s.reg, s.reg, s.reg, s.reg, s.reg, s.to)
	}
	a.p("\tADDQ $16, BX\n\tSUBQ $16, CX\n\tJG cv_l\n\tVZEROUPPER\n\tRET\n")
}

func itoa(v int16) string {
	if v < 10 {
		return string(rune('0' + v))
	}
	return itoa(v/10) + itoa(v%10)
}
