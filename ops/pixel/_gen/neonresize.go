package main

import "github.com/contraflow/contraflow/ops/_gen/neon"

// neonAcross: eight outputs at a time, as across does it.
func neonAcross(a *neon.Asm) {
	a.Func("acrossAsm(p *acrossArgs)", 8)
	a.P(`
	MOVD p+0(FP), R0
	LDP 0(R0), (R1, R2)
	LDP 16(R0), (R3, R4)
	MOVD 32(R0), R5
	MOVD 88(R0), R6
	MOVD $(1<<21), R7
	VDUP R7, V31.S4
ac_row:
	LDP 40(R0), (R7, R8)
	MOVD 56(R0), R9
	MOVD R1, R10
ac_group:
	MOVW 0(R7), R11
	MOVW 4(R7), R12
	FLDPQ 8(R7), (F28, F29)
	MOVD 64(R0), R13`)
	for i := range 6 {
		a.P("\tADD R%d, R%d, R%d\n\tVMOV V31.B16, V%d.B16", 11+i%2, 3+i/2, 19+i, i)
	}
	a.P("ac_tap:\n\tFLDPQ.P 32(R8), (F6, F7)")
	for i := range 6 {
		a.P("\tFMOVQ.P 1(R%d), F%d", 19+i, 16+i)
	}
	for i := range 6 {
		a.P("\tVTBL V%d.B16, [V%d.B16], V%d.B16\n\tVMLA V%d.S4, V%d.S4, V%d.S4", 28+i%2, 16+i, 16+i, 6+i%2, 16+i, i)
	}
	a.P("\tSUBS $1, R13\n\tBNE ac_tap\n\tMOVD R10, R14")
	for i := range 3 {
		neonClip(a, 2*i, 2*i)
		if i < 2 {
			a.P("\tVST1.P [V%d.B8], (R14)(R2)", 2*i)
		} else {
			a.P("\tVST1 [V%d.B8], (R14)", 2*i)
		}
	}
	a.P(`
	ADD $40, R7
	ADD $8, R10
	SUBS $1, R9
	BNE ac_group
	MOVD 72(R0), R14
	ADD R14, R3
	ADD R14, R4
	ADD R14, R5
	MOVD 80(R0), R14
	ADD R14, R1
	SUBS $1, R6
	BNE ac_row
	RET`)
}

// neonClip turns the eight sums of two registers into bytes.
func neonClip(a *neon.Asm, from, to int) {
	a.P("\tVSQSHRUN $16, V%d.S4, V%d.H4\n\tVSQSHRUN2 $16, V%d.S4, V%d.H8\n\tVUQSHRN $6, V%d.H8, V%d.B8", from, from, from+1, from, from, to)
}

// neonDown: 32 pixels of one row at a time.
func neonDown(a *neon.Asm) {
	a.Func("downAsm(dst, src unsafe.Pointer, stride int, weight unsafe.Pointer, taps, n int)", 48)
	a.P(`
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD stride+16(FP), R2
	MOVD weight+24(FP), R3
	MOVD taps+32(FP), R4
	MOVD n+40(FP), R5
	MOVD $(1<<21), R6
	VDUP R6, V31.S4
dn_x:
	MOVD R1, R7
	MOVD R3, R8
	MOVD R4, R9`)
	for i := range 8 {
		a.P("\tVMOV V31.B16, V%d.B16", i)
	}
	a.P(`
dn_t:
	VLD1R.P 4(R8), [V30.S4]
	VLD1.P (R7)(R2), [V16.B16, V17.B16]`)
	for i := range 2 {
		at := 20 + 4*i
		a.P("\tVUXTL V%d.B8, V%d.H8\n\tVUXTL2 V%d.B16, V%d.H8", 16+i, at+1, 16+i, at+3)
		for k := range 2 {
			a.P("\tVUXTL V%d.H4, V%d.S4\n\tVUXTL2 V%d.H8, V%d.S4", at+1+2*k, at+2*k, at+1+2*k, at+1+2*k)
		}
		for k := range 4 {
			a.P("\tVMLA V30.S4, V%d.S4, V%d.S4", at+k, 4*i+k)
		}
	}
	a.P("\tSUBS $1, R9\n\tBNE dn_t")
	for i := range 4 {
		neonClip(a, 2*i, 16+i)
	}
	a.P(`
	VST1.P [V16.B8, V17.B8, V18.B8, V19.B8], 32(R0)
	ADD $32, R1
	SUBS $32, R5
	BGT dn_x
	RET`)
}

// neonChannels writes RGB pixels to planes and back, sixteen at a time.
func neonChannels(a *neon.Asm) {
	a.Func("interleaveAsm(dst, red, green, blue unsafe.Pointer, n int)", 40)
	a.P(`
	MOVD dst+0(FP), R0
	MOVD red+8(FP), R1
	MOVD green+16(FP), R2
	MOVD blue+24(FP), R3
	MOVD n+32(FP), R4
il_l:
	VLD1.P 16(R1), [V0.B16]
	VLD1.P 16(R2), [V1.B16]
	VLD1.P 16(R3), [V2.B16]
	VST3.P [V0.B16, V1.B16, V2.B16], 48(R0)
	SUBS $16, R4
	BGT il_l
	RET`)
	a.Func("deinterleaveAsm(red, green, blue, src unsafe.Pointer, n int)", 40)
	a.P(`
	MOVD red+0(FP), R1
	MOVD green+8(FP), R2
	MOVD blue+16(FP), R3
	MOVD src+24(FP), R0
	MOVD n+32(FP), R4
dl_l:
	VLD3.P 48(R0), [V0.B16, V1.B16, V2.B16]
	VST1.P [V0.B16], 16(R1)
	VST1.P [V1.B16], 16(R2)
	VST1.P [V2.B16], 16(R3)
	SUBS $16, R4
	BGT dl_l
	RET`)
}
