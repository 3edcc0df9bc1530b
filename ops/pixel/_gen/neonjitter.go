package main

import (
	"fmt"
	"math"

	"github.com/contraflow/contraflow/ops/_gen/neon"
)

// neonJitters writes colour jitter with the types and the order of Pillow's operations.
func neonJitters(a *neon.Asm) {
	a.Table("light", 2, 19595, 38470, 7471, 0)
	a.Table("hue", 4, append(floats(1, 2, 4, 6, 255), 1, 2, 3, 4, 5, 255)...)
	a.Table("turn", 8, math.Float64bits(1), math.Float64bits(6), math.Float64bits(255))
	neonBlend(a)
	neonLight(a)
	neonHue(a)
}

// neonLightness leaves that of the eight pixels of V0, V1, V2, 16-bit values, in V3. V15 has the weights.
func neonLightness(a *neon.Asm) {
	for half, up := range []string{"", "2"} {
		to, narrow := 4+half, []string{"H4", "H8"}[half]
		for c, op := range []string{"VUMULL", "VUMLAL", "VUMLAL"} {
			a.P("\t%s%s V15.H[%d], V%d.%s, V%d.S4", op, up, c, c, narrow, to)
		}
		a.P("\tVRSHRN%s $16, V%d.S4, V3.%s", up, to, narrow)
	}
}

func neonBlend(a *neon.Asm) {
	a.Func("blendAsm(red, green, blue, factor unsafe.Pointer, level, n int)", 48)
	a.P(`
	MOVD red+0(FP), R0
	MOVD green+8(FP), R1
	MOVD blue+16(FP), R2
	MOVD factor+24(FP), R3
	MOVD level+32(FP), R4
	MOVD n+40(FP), R5
	VLD1R (R3), [V30.S4]
	VDUP R4, V29.H8
	MOVD $light<>(SB), R6
	VLD1 (R6), [V15.H4]
bl_l:`)
	for c := range 3 {
		a.P("\tVLD1 (R%d), [V%d.B8]\n\tVUXTL V%d.B8, V%d.H8", c, c, c, c)
	}
	a.P("\tVMOV V29.B16, V3.B16\n\tTBZ $63, R4, bl_c")
	neonLightness(a)
	a.P(`
bl_c:
	VUXTL V3.H4, V6.S4
	VUXTL2 V3.H8, V7.S4
	VSCVTF V6.S4, V6.S4
	VSCVTF V7.S4, V7.S4`)
	for c := range 3 {
		a.P(`
	VSUB V3.H8, V%d.H8, V16.H8
	VSXTL V16.H4, V18.S4
	VSXTL2 V16.H8, V19.S4`, c)
		for half := range 2 {
			r := 18 + half
			a.P("\tVSCVTF V%d.S4, V%d.S4\n\tVFMUL V30.S4, V%d.S4, V%d.S4\n\tVFADD V%d.S4, V%d.S4, V%d.S4\n\tVFCVTZS V%d.S4, V%d.S4", r, r, r, r, 6+half, r, r, r, r)
		}
		a.P("\tVSQXTUN V18.S4, V16.H4\n\tVSQXTUN2 V19.S4, V16.H8\n\tVUQXTN V16.H8, V16.B8\n\tVST1.P [V16.B8], 8(R%d)", c)
	}
	a.P("\tSUBS $8, R5\n\tBGT bl_l\n\tRET")
}

func neonLight(a *neon.Asm) {
	a.Func("lightAsm(red, green, blue unsafe.Pointer, n int) int", 40)
	a.P(`
	MOVD red+0(FP), R0
	MOVD green+8(FP), R1
	MOVD blue+16(FP), R2
	MOVD n+24(FP), R5
	MOVD $light<>(SB), R6
	VLD1 (R6), [V15.H4]
	VEOR V30.B16, V30.B16, V30.B16
li_l:`)
	for c := range 3 {
		a.P("\tVLD1.P 8(R%d), [V%d.B8]\n\tVUXTL V%d.B8, V%d.H8", c, c, c, c)
	}
	neonLightness(a)
	a.P(`
	VUADALP V3.H8, V30.S4
	SUBS $8, R5
	BGT li_l
	VADDV V30.S4, V30
	VMOV V30.S[0], R0
	MOVD R0, ret+32(FP)
	RET`)
}

// neonHue is hue, four pixels at a time.
func neonHue(a *neon.Asm) {
	const f1, f2, f4, f6, f255, i1, i255, d1, d6, d255, shift = 16, 17, 18, 19, 20, 21, 26, 27, 28, 29, 30
	a.Func("hueAsm(red, green, blue unsafe.Pointer, shift, n int)", 40)
	a.P(`
	MOVD red+0(FP), R0
	MOVD green+8(FP), R1
	MOVD blue+16(FP), R2
	MOVD shift+24(FP), R3
	MOVD n+32(FP), R5
	VDUP R3, V%d.S4
	MOVD $hue<>(SB), R6`, shift)
	for r := f1; r <= i255; r++ {
		a.P("\tVLD1R.P 4(R6), [V%d.S4]", r)
	}
	a.P("\tMOVD $turn<>(SB), R6")
	for r := d1; r <= d255; r++ {
		a.P("\tVLD1R.P 8(R6), [V%d.D2]", r)
	}
	a.P("hu_l:")
	for c := range 3 {
		a.P("\tFMOVS (R%d), F%d\n\tVUXTL V%d.B8, V%d.H8\n\tVUXTL V%d.H4, V%d.S4", c, c, c, c, c, c)
	}
	s4 := func(op string, operands ...int) { neonOp(a, op, "S4", operands...) }
	d2 := func(op string, operands ...int) { neonOp(a, op, "D2", operands...) }
	pick := func(mask, from, to int) { neonOp(a, "VBIT", "B16", mask, from, to) }
	const most, d, isRed, isGreen = 3, 5, 6, 7
	s4("VUMAX", 1, 0, most)
	s4("VUMAX", 2, most, most)
	s4("VUMIN", 1, 0, 4)
	s4("VUMIN", 2, 4, 4)
	s4("VSUB", 4, most, d)
	s4("VCMEQ", 0, most, isRed)
	s4("VCMEQ", 1, most, isGreen)
	s4("VSCVTF", d, 8)
	for c := range 3 { // rc, gc, bc
		s4("VSUB", c, most, 9+c)
		s4("VSCVTF", 9+c, 9+c)
		s4("VFDIV", 8, 9+c, 9+c)
	}
	const base, plus, minus, v, saturation, turn = 14, 12, 13, 4, 9, 6
	neonOp(a, "VMOV", "B16", 10, plus)
	pick(isGreen, 9, plus)
	pick(isRed, 11, plus)
	neonOp(a, "VMOV", "B16", 9, minus)
	pick(isGreen, 11, minus)
	pick(isRed, 10, minus)
	neonOp(a, "VMOV", "B16", f4, base)
	pick(isGreen, f2, base)
	neonOp(a, "VBIC", "B16", isRed, base, base)
	s4("VSCVTF", most, v)
	s4("VFDIV", v, 8, saturation)
	for half, up := range []string{"", "2"} {
		narrow := []string{"S2", "S4"}[half]
		for i, r := range []int{base, plus, minus} {
			a.P("\tVFCVTL%s V%d.%s, V%d.D2", up, r, narrow, i)
		}
		d2("VFADD", 1, 0, 0)
		d2("VFSUB", 2, 0, 0)
		single := func() { a.P("\tVFCVTN V0.D2, V0.S2\n\tVFCVTL V0.S2, V0.D2") }
		single()
		d2("VFDIV", d6, 0, 0)
		d2("VFADD", d1, 0, 0)
		d2("VFRINTM", 0, 1)
		d2("VFSUB", 1, 0, 0)
		single()
		a.P("\tVFCVTL%s V%d.%s, V2.D2", up, saturation, narrow)
		for i, r := range []int{0, 2} {
			d2("VFMUL", d255, r, r)
			d2("VFCVTZS", r, r)
			a.P("\tVXTN%s V%d.D2, V%d.%s", up, r, turn+4*i, narrow)
		}
	}
	s4("VADD", shift, turn, turn)
	neonOp(a, "VAND", "B16", i255, turn, turn)
	const f, sixth, s, p, q, t = 0, 1, 2, 6, 7, 8
	s4("VSCVTF", turn, f)
	s4("VFMUL", f6, f, f)
	s4("VFDIV", f255, f, f)
	s4("VFRINTM", f, sixth)
	s4("VFSUB", sixth, f, f)
	s4("VFCVTZS", sixth, sixth)
	s4("VSCVTF", 10, s)
	s4("VFDIV", f255, s, s)
	s4("VFSUB", s, f1, p)
	s4("VFMUL", f, s, q)
	s4("VFSUB", q, f1, q)
	s4("VFSUB", f, f1, t)
	s4("VFMUL", t, s, t)
	s4("VFSUB", t, f1, t)
	for r := p; r <= t; r++ { // halves go up
		s4("VFMUL", v, r, r)
		s4("VFCVTAS", r, r)
	}
	for i := range 5 {
		s4("VCMEQ", i1+i, sixth, 9+i)
	}
	choose := func(to int, first int, picks ...[2]int) {
		neonOp(a, "VMOV", "B16", first, to)
		for _, x := range picks {
			pick(8+x[0], x[1], to)
		}
	}
	choose(0, most, [2]int{1, q}, [2]int{2, p}, [2]int{3, p}, [2]int{4, t})
	choose(1, t, [2]int{1, most}, [2]int{2, most}, [2]int{3, q}, [2]int{4, p}, [2]int{5, p})
	choose(2, p, [2]int{2, t}, [2]int{3, most}, [2]int{4, most}, [2]int{5, q})
	neonOp(a, "VEOR", "B16", v, v, v)
	s4("VCMEQ", v, d, d) // grey stays
	for c := range 3 {
		pick(d, most, c)
		a.P("\tVXTN V%d.S4, V%d.H4\n\tVXTN V%d.H8, V%d.B8\n\tFMOVS.P F%d, 4(R%d)", c, c, c, c, c, c)
	}
	a.P("\tSUBS $4, R5\n\tBGT hu_l\n\tRET")
}

// neonOp writes an instruction on whole registers.
func neonOp(a *neon.Asm, op, arrangement string, operands ...int) {
	line := "\t" + op
	for i, r := range operands {
		line += fmt.Sprintf("%sV%d.%s", []string{" ", ", ", ", "}[i], r, arrangement)
	}
	a.P("%s", line)
}
