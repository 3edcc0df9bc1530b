package main

// transform writes the inverse transform of a block. A vector holds two rows of eight 16-bit values, k and k+4, one a lane. A
// pass multiplies pairs of rows at once (VPMADDWD) and ends with the block transposed, so that two of them are the
// transform.
func transform(a, d *asm) {
	a.words("even0", 1, 1)
	a.words("even1", 1, -1)
	a.words("even2", 4433, -10704)
	a.words("even3", 10703, 4433)
	a.words("odd3", -6436, 9633)
	a.words("odd4", 9633, 6437)
	a.words("odd70", -4927, -7373)
	a.words("odd73", -7373, 4926)
	a.words("odd51", -4176, -20995)
	a.words("odd52", -20995, 4177)
	a.dwords("round11", 1<<10)
	a.dwords("round18", 1<<17)
	a.words("centre", -0x7f80, -0x7f80) // bytes of 128
	a.bytes("interleave", [16]byte{0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15})

	d.p("// idctAsm is idctGo.\n//\n//go:noescape\nfunc idctAsm(dst unsafe.Pointer, pitch int, coef, quant unsafe.Pointer)\n")
	a.p("// func idctAsm(dst unsafe.Pointer, pitch int, coef, quant unsafe.Pointer)\nTEXT ·idctAsm(SB), NOSPLIT, $0-32")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ pitch+8(FP), R8\n\tMOVQ coef+16(FP), SI\n\tMOVQ quant+24(FP), DX\n\tVPXOR Y15, Y15, Y15")
	a.p("\tVMOVDQU 32(SI), Y4\n\tVPOR 64(SI), Y4, Y4\n\tVPOR 96(SI), Y4, Y4\n\tVMOVDQU 16(SI), X5\n\tVPOR Y5, Y4, Y4\n\tVPTEST Y4, Y4\n\tJEQ row")
	for i := range 4 {
		a.p("\tVMOVDQU %d(SI), Y%d\n\tVPMULLW %d(DX), Y%d, Y%d\n\tVMOVDQU Y15, %d(SI)", 32*i, i, 32*i, i, i, 32*i)
	}
	a.pass(11)
	a.p("second:")
	a.pass(18)
	a.p("\tVPACKSSWB Y1, Y0, Y0\n\tVPACKSSWB Y3, Y2, Y2\n\tVPXOR centre<>(SB), Y0, Y0\n\tVPXOR centre<>(SB), Y2, Y2")
	a.p("\tVEXTRACTI128 $1, Y0, X1\n\tVEXTRACTI128 $1, Y2, X3\n\tLEAQ (R8)(R8*2), R9\n\tLEAQ (DI)(R8*4), R10")
	a.p("\tVMOVQ X0, (DI)\n\tVMOVHPS X0, (DI)(R8*1)\n\tVMOVQ X2, (DI)(R8*2)\n\tVMOVHPS X2, (DI)(R9*1)")
	a.p("\tVMOVQ X1, (R10)\n\tVMOVHPS X1, (R10)(R8*1)\n\tVMOVQ X3, (R10)(R8*2)\n\tVMOVHPS X3, (R10)(R9*1)\n\tVZEROUPPER\n\tRET")
	a.p("row: // the first alone: its columns are constant") // as if they had been transformed and transposed
	a.p("\tVMOVDQU (SI), X5\n\tVPMULLW (DX), X5, X5\n\tVMOVDQU X15, (SI)\n\tVPSLLW $2, X5, X5")
	a.p("\tVPUNPCKLWD X5, X5, X4\n\tVPUNPCKHWD X5, X5, X5\n\tVINSERTI128 $1, X5, Y4, Y4")
	a.p("\tVPSHUFD $0x00, Y4, Y0\n\tVPSHUFD $0x55, Y4, Y1\n\tVPSHUFD $0xaa, Y4, Y2\n\tVPSHUFD $0xff, Y4, Y3\n\tJMP second\n")
}

// pass transforms the rows 0|4, 1|5, 2|6, 3|7 of Y0 … Y3, rounds by shift bits and leaves them transposed there.
func (a *asm) pass(shift int) {
	a.p("\tVPERM2I128 $0x20, Y1, Y3, Y6\n\tVPERM2I128 $0x31, Y1, Y3, Y9\n\tVPADDW Y9, Y6, Y6") // 7+3 | 5+1
	a.p("\tVPERM2I128 $0x21, Y1, Y3, Y7\n\tVPERM2I128 $0x21, Y3, Y1, Y8")                      // 7|1, 5|3
	a.p("\tVMOVDQU interleave<>(SB), Y15")
	for _, r := range [][2]int{{0, 4}, {2, 5}, {6, 6}, {7, 7}, {8, 8}} {
		a.p("\tVPERMQ $0xd8, Y%d, Y%d\n\tVPSHUFB Y15, Y%d, Y%d", r[0], r[1], r[1], r[1])
	}
	a.p("\tVPMADDWD even0<>(SB), Y4, Y9\n\tVPMADDWD even1<>(SB), Y4, Y10\n\tVPMADDWD even2<>(SB), Y5, Y11\n\tVPMADDWD even3<>(SB), Y5, Y12")
	a.p("\tVPSLLD $16, Y9, Y9\n\tVPSLLD $16, Y10, Y10\n\tVPSRAD $3, Y9, Y9\n\tVPSRAD $3, Y10, Y10") // sums of 16 bits, times 8192
	a.p("\tVPADDD round%d<>(SB), Y9, Y9\n\tVPADDD round%d<>(SB), Y10, Y10", shift, shift)
	a.p("\tVPADDD Y12, Y9, Y0\n\tVPSUBD Y12, Y9, Y1\n\tVPADDD Y11, Y10, Y2\n\tVPSUBD Y11, Y10, Y3")
	a.p("\tVPMADDWD odd3<>(SB), Y6, Y9\n\tVPMADDWD odd4<>(SB), Y6, Y10")
	a.p("\tVPMADDWD odd70<>(SB), Y7, Y11\n\tVPMADDWD odd73<>(SB), Y7, Y12\n\tVPMADDWD odd51<>(SB), Y8, Y13\n\tVPMADDWD odd52<>(SB), Y8, Y14")
	a.p("\tVPADDD Y9, Y11, Y11\n\tVPADDD Y10, Y12, Y12\n\tVPADDD Y10, Y13, Y13\n\tVPADDD Y9, Y14, Y14")
	a.p("\tVPADDD Y12, Y0, Y4\n\tVPSUBD Y12, Y0, Y5\n\tVPADDD Y14, Y2, Y6\n\tVPSUBD Y14, Y2, Y7")   // 0 7 1 6
	a.p("\tVPADDD Y13, Y3, Y8\n\tVPSUBD Y13, Y3, Y9\n\tVPADDD Y11, Y1, Y10\n\tVPSUBD Y11, Y1, Y12") // 2 5 3 4
	for _, r := range []int{4, 5, 6, 7, 8, 9, 10, 12} {
		a.p("\tVPSRAD $%d, Y%d, Y%d", shift, r, r)
	}
	a.p("\tVPACKSSDW Y12, Y4, Y4\n\tVPACKSSDW Y9, Y6, Y6\n\tVPACKSSDW Y7, Y8, Y8\n\tVPACKSSDW Y5, Y10, Y10")
	a.p("\tVPUNPCKLWD Y6, Y4, Y0\n\tVPUNPCKHWD Y6, Y4, Y1\n\tVPUNPCKLWD Y10, Y8, Y2\n\tVPUNPCKHWD Y10, Y8, Y3")
	a.p("\tVPUNPCKLDQ Y2, Y0, Y4\n\tVPUNPCKHDQ Y2, Y0, Y5\n\tVPUNPCKLDQ Y3, Y1, Y6\n\tVPUNPCKHDQ Y3, Y1, Y7")
	a.p("\tVPUNPCKLQDQ Y6, Y4, Y0\n\tVPUNPCKHQDQ Y6, Y4, Y1\n\tVPUNPCKLQDQ Y7, Y5, Y2\n\tVPUNPCKHQDQ Y7, Y5, Y3")
}
