package main

import "github.com/contraflow/contraflow/ops/_gen/neon"

// neonTransform writes the inverse transform of a block, a row of eight 16-bit values a register. A pass goes down the columns and
// ends with the block transposed, so that two of them are the transform.
func neonTransform(a *neon.Asm) {
	a.Table("factors", 2, words(4433, -10704, 10703, -6436, 9633, 6437, -4927, -7373, 4926, -4176, -20995, 4177, 0, 0, 0, 0)...)
	a.Func("idctAsm(dst unsafe.Pointer, pitch int, coef, quant unsafe.Pointer)", 32)
	a.P(`
	MOVD dst+0(FP), R0
	MOVD pitch+8(FP), R1
	MOVD coef+16(FP), R2
	MOVD quant+24(FP), R3
	MOVD $factors<>(SB), R4
	VLD1 (R4), [V0.H8, V1.H8]
	MOVD $(1<<10), R4
	VDUP R4, V15.S4
	ADD $64, R2, R5
	VLD1 (R2), [V2.B16, V3.B16, V4.B16, V5.B16]
	VLD1 (R5), [V6.B16, V7.B16, V8.B16, V9.B16]
	VORR V3.B16, V4.B16, V10.B16
	VORR V5.B16, V6.B16, V11.B16
	VORR V7.B16, V8.B16, V12.B16
	VORR V9.B16, V10.B16, V10.B16
	VORR V11.B16, V12.B16, V11.B16
	VORR V10.B16, V11.B16, V10.B16
	VMOV V10.D[0], R6
	VMOV V10.D[1], R7
	ORR R6, R7, R6
	CBZ R6, row
	VEOR V10.B16, V10.B16, V10.B16
	VEOR V11.B16, V11.B16, V11.B16
	VEOR V12.B16, V12.B16, V12.B16
	VEOR V13.B16, V13.B16, V13.B16
	VST1 [V10.B16, V11.B16, V12.B16, V13.B16], (R2)
	VST1 [V10.B16, V11.B16, V12.B16, V13.B16], (R5)
	VLD1.P 64(R3), [V10.B16, V11.B16, V12.B16, V13.B16]
	VLD1 (R3), [V24.B16, V25.B16, V26.B16, V27.B16]`)
	for i, row := range []int{0, 4, 1, 5, 2, 6, 3, 7} { // as they lie in memory
		a.P("\tVMUL V%d.H8, V%d.H8, V%d.H8", []int{10, 11, 12, 13, 24, 25, 26, 27}[i], 2+i, 16+row)
	}
	neonPass(a, func(upper, wide, op string, x, y, k int) {
		a.P("\tV%s V%d.S4, V%d.S4, V14.S4\n\tVSQSHRN%s $11, V14.S4, V%d.%s", op, y, x, upper, k, wide)
	})
	transposed(a)
	a.P("second:\n\tMOVD $(1<<17), R4\n\tVDUP R4, V15.S4")
	neonPass(a, func(upper, wide, op string, x, y, k int) { // without the lower sixteen bits here
		a.P("\tV%sHN%s V%d.S4, V%d.S4, V%d.%s", op, upper, y, x, k, wide)
	})
	a.P("\tVMOVI $128, V15.B16")
	for i := range 4 { // columns i and i+4 as bytes, which are then transposed
		a.P("\tVSQSHRN $2, V%d.H8, V%d.B8\n\tVSQSHRN2 $2, V%d.H8, V%d.B16\n\tVEOR V15.B16, V%d.B16, V%d.B16", 24+i, i+2, 28+i, i+2, i+2, i+2)
	}
	a.P(`
	VTRN1 V3.B16, V2.B16, V6.B16
	VTRN2 V3.B16, V2.B16, V7.B16
	VTRN1 V5.B16, V4.B16, V8.B16
	VTRN2 V5.B16, V4.B16, V9.B16
	VTRN1 V8.H8, V6.H8, V2.H8
	VTRN2 V8.H8, V6.H8, V4.H8
	VTRN1 V9.H8, V7.H8, V3.H8
	VTRN2 V9.H8, V7.H8, V5.H8
	VUZP1 V3.S4, V2.S4, V6.S4
	VUZP1 V5.S4, V4.S4, V7.S4
	VUZP2 V3.S4, V2.S4, V8.S4
	VUZP2 V5.S4, V4.S4, V9.S4`)
	for i := range 8 {
		a.P("\tVST1.P V%d.D[%d], (R0)(R1)", 6+i/2, i%2)
	}
	a.P(`	RET

row: // the first alone: its columns are constant, as if they had been transformed and transposed
	VLD1 (R3), [V3.B16]
	VMUL V3.H8, V2.H8, V2.H8
	VSHL $2, V2.H8, V2.H8
	VST1 [V10.B16], (R2)`) // V10 is what all other rows hold, nothing
	for i := range 8 {
		a.P("\tVDUP V2.H[%d], V%d.H8", i, 16+i)
	}
	a.P("\tB second")
}

// neonPass transforms the rows of V16 … V23; put stores the sum or difference of two registers, rounded, into half of row k of
// V24 … V31. V15 is half of what is rounded to.
func neonPass(a *neon.Asm, put func(upper, wide, op string, x, y, k int)) {
	a.P(`
	VADD V20.H8, V16.H8, V2.H8
	VSUB V20.H8, V16.H8, V3.H8
	VADD V19.H8, V23.H8, V4.H8
	VADD V17.H8, V21.H8, V5.H8`) // of 16 bits, which may overflow
	for _, half := range [][2]string{{"", "H4"}, {"2", "H8"}} {
		up, narrow := half[0], half[1]
		product := func(op string, factor, row, to int) {
			a.P("\tV%s%s V%d.H[%d], V%d.%s, V%d.S4", op, up, factor/8, factor%8, row, narrow, to)
		}
		a.P("\tVSSHLL%s $13, V2.%s, V6.S4\n\tVSSHLL%s $13, V3.%s, V7.S4", up, narrow, up, narrow)
		product("SMULL", 2, 18, 8)
		product("SMLAL", 0, 22, 8)
		product("SMULL", 0, 18, 9)
		product("SMLAL", 1, 22, 9)
		a.P(`
	VADD V15.S4, V6.S4, V6.S4
	VADD V15.S4, V7.S4, V7.S4
	VADD V8.S4, V6.S4, V10.S4
	VSUB V8.S4, V6.S4, V6.S4
	VADD V9.S4, V7.S4, V11.S4
	VSUB V9.S4, V7.S4, V7.S4`)
		product("SMULL", 3, 4, 8)
		product("SMLAL", 4, 5, 8)
		product("SMULL", 4, 4, 9)
		product("SMLAL", 5, 5, 9)
		a.P("\tVMOV V8.B16, V12.B16\n\tVMOV V9.B16, V13.B16")
		product("SMLAL", 6, 23, 12)
		product("SMLAL", 7, 17, 12)
		product("SMLAL", 11, 19, 8)
		product("SMLAL", 10, 21, 8)
		product("SMLAL", 9, 21, 13)
		product("SMLAL", 10, 19, 13)
		product("SMLAL", 8, 17, 9)
		product("SMLAL", 7, 23, 9)
		for k, pair := range [][2]int{{10, 9}, {11, 8}, {7, 13}, {6, 12}} {
			put(up, narrow, "ADD", pair[0], pair[1], 24+k)
			put(up, narrow, "SUB", pair[0], pair[1], 31-k)
		}
	}
}

// transposed are the eight rows of V24 … V31 in V16 … V23.
func transposed(a *neon.Asm) {
	for i := range 4 {
		x, y := 24+2*i, 25+2*i
		a.P("\tVTRN1 V%d.H8, V%d.H8, V%d.H8\n\tVTRN2 V%d.H8, V%d.H8, V%d.H8", y, x, 2+i, y, x, 6+i)
	}
	for i := range 2 { // rows 4i … 4i+3: columns 0 2 | 1 3 | and those 4 on, in pairs
		for odd := range 2 {
			x := 2 + 2*i + 4*odd
			a.P("\tVTRN1 V%d.S4, V%d.S4, V%d.S4\n\tVTRN2 V%d.S4, V%d.S4, V%d.S4", x+1, x, 24+4*i+odd, x+1, x, 26+4*i+odd)
		}
	}
	for i := range 4 {
		a.P("\tVZIP1 V%d.D2, V%d.D2, V%d.D2\n\tVZIP2 V%d.D2, V%d.D2, V%d.D2", 28+i, 24+i, 16+i, 28+i, 24+i, 20+i)
	}
}

// neonDoubles writes the interpolation of chroma, sixteen samples to 32 at a time.
func neonDoubles(a *neon.Asm) {
	a.Func("doubleBothAsm(dst, cur, near unsafe.Pointer, n int)", 32)
	a.P(`
	MOVD dst+0(FP), R0
	MOVD cur+8(FP), R1
	MOVD near+16(FP), R2
	MOVD n+24(FP), R3
	MOVD $1, R4
	MOVD $14, R5
	VMOVI $3, V31.B16
	MOVD $3, R6
	VDUP R6, V30.H8
	MOVD $7, R6
	VDUP R6, V29.H8
db_l:
	VLD1.P (R1)(R4), [V0.B16]
	VLD1.P (R2)(R4), [V3.B16]
	VLD1.P (R1)(R4), [V1.B16]
	VLD1.P (R2)(R4), [V4.B16]
	VLD1.P (R1)(R5), [V2.B16]
	VLD1.P (R2)(R5), [V5.B16]`)
	for half, up := range []string{"", "2"} {
		b := []string{"B8", "B16"}[half]
		for i := range 3 { // three parts of the nearer row
			a.P("\tVUMULL%s V31.%s, V%d.%s, V%d.H8\n\tVUADDW%s V%d.%s, V%d.H8, V%d.H8", up, b, i, b, 16+i, up, 3+i, b, 16+i, 16+i)
		}
		a.P("\tVADD V29.H8, V18.H8, V18.H8\n\tVMLA V30.H8, V17.H8, V16.H8\n\tVMLA V30.H8, V17.H8, V18.H8")
		a.P("\tVRSHRN%s $4, V16.H8, V6.%s\n\tVSHRN%s $4, V18.H8, V7.%s", up, b, up, b)
	}
	a.P("\tVST2.P [V6.B16, V7.B16], 32(R0)\n\tSUBS $16, R3\n\tBGT db_l\n\tRET")

	a.Func("doubleAsm(dst, cur unsafe.Pointer, n int)", 24)
	a.P(`
	MOVD dst+0(FP), R0
	MOVD cur+8(FP), R1
	MOVD n+16(FP), R3
	MOVD $1, R4
	MOVD $14, R5
	VMOVI $3, V31.B16
	MOVD $1, R6
	VDUP R6, V30.H8
ds_l:
	VLD1.P (R1)(R4), [V0.B16]
	VLD1.P (R1)(R4), [V1.B16]
	VLD1.P (R1)(R5), [V2.B16]`)
	for half, up := range []string{"", "2"} {
		b := []string{"B8", "B16"}[half]
		a.P("\tVUMULL%s V31.%s, V1.%s, V16.H8\n\tVUADDW%s V2.%s, V16.H8, V18.H8\n\tVUADDW%s V0.%s, V16.H8, V16.H8\n\tVADD V30.H8, V16.H8, V16.H8", up, b, b, up, b, up, b)
		a.P("\tVSHRN%s $2, V16.H8, V6.%s\n\tVRSHRN%s $2, V18.H8, V7.%s", up, b, up, b)
	}
	a.P("\tVST2.P [V6.B16, V7.B16], 32(R0)\n\tSUBS $16, R3\n\tBGT ds_l\n\tRET")
}

// neonColours writes YCbCr to RGB, sixteen pixels at a time, with factors taken apart as colours does.
func neonColours(a *neon.Asm) {
	a.Table("parts", 2, words(26345, -14942, -22554, 18734)...)
	a.Func("convertAsm(red, green, blue, y, cb, cr unsafe.Pointer, n int)", 56)
	a.P(`
	MOVD red+0(FP), R0
	MOVD green+8(FP), R1
	MOVD blue+16(FP), R2
	MOVD y+24(FP), R3
	MOVD cb+32(FP), R4
	MOVD cr+40(FP), R5
	MOVD n+48(FP), R6
	MOVD $parts<>(SB), R7
	VLD1 (R7), [V0.H4]
	VMOVI $128, V31.B16
cv_l:
	VLD1.P 16(R3), [V1.B16]
	VLD1.P 16(R4), [V2.B16]
	VLD1.P 16(R5), [V3.B16]`)
	for half, up := range []string{"", "2"} {
		b, y, u, v, red, green, blue := []string{"B8", "B16"}[half], 1, 4, 5, 6, 7, 16
		a.P("\tVUSUBL%s V31.%s, V2.%s, V%d.H8\n\tVUSUBL%s V31.%s, V3.%s, V%d.H8", up, b, b, u, up, b, b, v)
		a.P("\tVUADDW%s V%d.%s, V%d.H8, V%d.H8", up, y, b, v, red)
		a.P("\tVADD V%d.H8, V%d.H8, V%d.H8\n\tVUADDW%s V%d.%s, V%d.H8, V%d.H8", u, u, blue, up, y, b, blue, blue)
		a.P("\tVSQDMULH V0.H[0], V%d.H8, V17.H8\n\tVSQDMULH V0.H[1], V%d.H8, V18.H8\n\tVSRSRA $1, V17.H8, V%d.H8\n\tVSRSRA $1, V18.H8, V%d.H8", v, u, red, blue)
		a.P("\tVSMULL V0.H[2], V%d.H4, V19.S4\n\tVSMULL2 V0.H[2], V%d.H8, V20.S4\n\tVSMLAL V0.H[3], V%d.H4, V19.S4\n\tVSMLAL2 V0.H[3], V%d.H8, V20.S4", u, u, v, v)
		a.P("\tVRSHRN $16, V19.S4, V%d.H4\n\tVRSHRN2 $16, V20.S4, V%d.H8\n\tVSUB V%d.H8, V%d.H8, V%d.H8\n\tVUADDW%s V%d.%s, V%d.H8, V%d.H8", green, green, v, green, green, up, y, b, green, green)
		for i, r := range []int{red, green, blue} {
			a.P("\tVSQXTUN%s V%d.H8, V%d.%s", up, r, 24+i, b)
		}
	}
	a.P("\tVST1.P [V24.B16], 16(R0)\n\tVST1.P [V25.B16], 16(R1)\n\tVST1.P [V26.B16], 16(R2)\n\tSUBS $16, R6\n\tBGT cv_l\n\tRET")
}

func words(v ...int16) (out []uint64) {
	for _, w := range v {
		out = append(out, uint64(uint16(w)))
	}
	return out
}
