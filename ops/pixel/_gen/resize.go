package main

// resizes writes the two passes of a resize, in 32-bit fixed point as Pillow's, and with its rounding and saturation.
func resizes(a, d *asm) {
	a.dwords("round", 1<<21)
	a.dwords("order", 0, 4, 1, 5, 2, 6, 3, 7)
	across(a, d)
	down(a, d)
}

// across: eight outputs at a time, of all three channels. The inputs of four neighbouring outputs lie within sixteen bytes,
// whatever the tap; one shuffle, the same for all taps, brings those of a tap to their lanes.
func across(a, d *asm) {
	d.p("// acrossAsm scales rows along x; see acrossArgs.\n//\n//go:noescape\nfunc acrossAsm(p *acrossArgs)\n")
	a.p("// func acrossAsm(p *acrossArgs)\nTEXT ·acrossAsm(SB), NOSPLIT, $0-8")
	a.p("\tMOVQ p+0(FP), R15\n\tMOVQ 0(R15), DI\n\tMOVQ 8(R15), CX\n\tMOVQ 16(R15), R8\n\tMOVQ 24(R15), R9\n\tMOVQ 32(R15), R10")
	a.p("ac_row:\n\tMOVQ 40(R15), R11\n\tMOVQ 48(R15), SI\n\tMOVQ 56(R15), R13\n\tXORQ R12, R12")
	a.p("ac_group:\n\tMOVLQSX (R11), AX\n\tMOVLQSX 4(R11), BX\n\tVMOVDQU 8(R11), Y15\n\tMOVQ 64(R15), DX\n\tVMOVDQU round<>(SB), Y0\n\tVMOVDQA Y0, Y1\n\tVMOVDQA Y0, Y2")
	a.p("ac_tap:\n\tVMOVDQU (SI), Y6")
	for i, src := range []string{"R8", "R9", "R10"} {
		a.p("\tVMOVDQU (%s)(AX*1), X%d\n\tVINSERTI128 $1, (%s)(BX*1), Y%d, Y%d\n\tVPSHUFB Y15, Y%d, Y%d\n\tVPMULLD Y6, Y%d, Y%d\n\tVPADDD Y%d, Y%d, Y%d",
			src, 3+i, src, 3+i, 3+i, 3+i, 3+i, 3+i, 3+i, 3+i, i, i)
	}
	a.p("\tADDQ $1, AX\n\tADDQ $1, BX\n\tADDQ $32, SI\n\tSUBQ $1, DX\n\tJNZ ac_tap\n\tLEAQ (DI)(R12*1), DX")
	for i, dst := range []string{"(DX)", "(DX)(CX*1)", "(DX)(CX*2)"} {
		a.p("\tVPSRAD $22, Y%d, Y%d\n\tVPACKUSDW Y%d, Y%d, Y%d\n\tVPACKUSWB Y%d, Y%d, Y%d\n\tVEXTRACTI128 $1, Y%d, X3\n\tVPUNPCKLDQ X3, X%d, X%d\n\tVMOVQ X%d, %s",
			i, i, i, i, i, i, i, i, i, i, i, i, dst)
	}
	a.p("\tADDQ $40, R11\n\tADDQ $8, R12\n\tSUBQ $1, R13\n\tJNZ ac_group")
	a.p("\tMOVQ 72(R15), AX\n\tADDQ AX, R8\n\tADDQ AX, R9\n\tADDQ AX, R10\n\tADDQ 80(R15), DI\n\tSUBQ $1, 88(R15)\n\tJNZ ac_row\n\tVZEROUPPER\n\tRET\n")
}

// down: 32 pixels of one row at a time.
func down(a, d *asm) {
	d.p("// downAsm is dst[x] = clip(Σ weight[t]·src[t·stride+x]) for n bytes, rounded up to a multiple of 32.\n//\n//go:noescape\nfunc downAsm(dst, src unsafe.Pointer, stride int, weight unsafe.Pointer, taps, n int)\n")
	a.p("// func downAsm(dst, src unsafe.Pointer, stride int, weight unsafe.Pointer, taps, n int)\nTEXT ·downAsm(SB), NOSPLIT, $0-48")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ stride+16(FP), R8\n\tMOVQ taps+32(FP), R9\n\tMOVQ n+40(FP), CX\n\tVMOVDQU round<>(SB), Y15\n\tVMOVDQU order<>(SB), Y14")
	a.p("dn_x:\n\tMOVQ SI, R10\n\tMOVQ weight+24(FP), R11\n\tMOVQ R9, DX")
	for i := range 4 {
		a.p("\tVMOVDQA Y15, Y%d", i)
	}
	a.p("dn_t:\n\tVPBROADCASTD (R11), Y8")
	for i := range 4 {
		a.p("\tVPMOVZXBD %d(R10), Y%d\n\tVPMULLD Y8, Y%d, Y%d\n\tVPADDD Y%d, Y%d, Y%d", 8*i, 4+i, 4+i, 4+i, 4+i, i, i)
	}
	a.p("\tADDQ R8, R10\n\tADDQ $4, R11\n\tSUBQ $1, DX\n\tJNZ dn_t")
	for i := range 4 {
		a.p("\tVPSRAD $22, Y%d, Y%d", i, i)
	}
	a.p("\tVPACKUSDW Y1, Y0, Y0\n\tVPACKUSDW Y3, Y2, Y2\n\tVPACKUSWB Y2, Y0, Y0\n\tVPERMD Y0, Y14, Y0\n\tVMOVDQU Y0, (DI)\n\tADDQ $32, DI\n\tADDQ $32, SI\n\tSUBQ $32, CX\n\tJG dn_x\n\tVZEROUPPER\n\tRET\n")
}
