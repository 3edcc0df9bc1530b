package main

import (
	"math"

	"github.com/contraflow/contraflow/ops/_gen/neon"
)

// neonLabs writes RGB planes to normalised Lab, four pixels at a time, with every product and sum rounded as labGo's are. See
// labArgs.
func neonLabs(a *neon.Asm) {
	a.Table("lab", 4, floats(0.008856, 1.0/3, 7.787, 16.0/116)...)
	a.Func("labAsm(p *labArgs)", 8)
	a.P(`
	MOVD p+0(FP), R0
	LDP 0(R0), (R1, R2)
	LDP 16(R0), (R3, R4)
	LDP 32(R0), (R5, R6)
	LDP 48(R0), (R7, R8)
	ADD $64, R0
	VLD1.P 48(R0), [V16.S4, V17.S4, V18.S4]`) // the matrix and the scales
	for i := range 3 { // the shifts
		a.P("\tVLD1R.P 4(R0), [V%d.S4]", 19+i)
	}
	a.P("\tMOVD $lab<>(SB), R9")
	for i := range 4 { // knee, third, slope, offset
		a.P("\tVLD1R.P 4(R9), [V%d.S4]", 22+i)
	}
	a.P("\tMOVD $709921077, R9\n\tVDUP R9, V26.S4\nlb_l:")
	for i, src := range []int{4, 5, 6} { // light in V0, V1, V2
		for k := range 4 {
			a.P("\tMOVBU.P 1(R%d), R%d\n\tADD R%d<<2, R7, R%d\n\tVLD1 (R%d), V%d.S[%d]", src, 9+k, 9+k, 9+k, 9+k, i, k)
		}
	}
	const x, y, z = 3, 4, 5
	for row, sum := range []int{x, y, z} {
		for k := range 3 {
			at, to := 3*row+k, 6+k
			if k == 0 {
				to = sum
			}
			a.P("\tVFMUL V%d.S[%d], V%d.S4, V%d.S4", 16+at/4, at%4, k, to)
			if k > 0 {
				a.P("\tVFADD V%d.S4, V%d.S4, V%d.S4", to, sum, sum)
			}
		}
	}
	// each writes an instruction for x, y and z: registers below 16 are the first of three, others the same for all.
	each := func(op string, operands ...int) {
		for i := range 3 {
			var registers []int
			for _, r := range operands {
				if r < 16 {
					r += i
				}
				registers = append(registers, r)
			}
			neonOp(a, op, "S4", registers...)
		}
	}
	const least, root, cube, more = 0, 6, 9, 12
	each("VFMAX", 22, x, least)
	each("VSCVTF", least, root)
	each("VFMUL", 23, root, root)
	each("VFCVTZS", root, root)
	each("VADD", 26, root, root)
	for range 2 {
		each("VFMUL", root, root, cube)
		each("VFMUL", root, cube, cube)
		each("VFADD", least, cube, more)
		each("VFADD", least, more, more)
		each("VFMUL", more, root, more)
		each("VFADD", cube, cube, cube)
		each("VFADD", least, cube, cube)
		each("VFDIV", cube, more, root)
	}
	each("VFMUL", 24, x, cube)
	each("VFADD", 25, cube, cube)
	each("VFCMGT", 22, x, x)
	for i := range 3 {
		a.P("\tVBSL V%d.B16, V%d.B16, V%d.B16", cube+i, root+i, x+i)
	}
	a.P("\tVFSUB V%d.S4, V%d.S4, V%d.S4\n\tVFSUB V%d.S4, V%d.S4, V%d.S4", y, x, x, z, y, z)
	for i, r := range []int{y, x, z} {
		at := 9 + i
		a.P("\tVFMUL V%d.S[%d], V%d.S4, V%d.S4\n\tVFADD V%d.S4, V%d.S4, V%d.S4\n\tVST1.P [V%d.S4], 16(R%d)", 16+at/4, at%4, r, r, 19+i, r, r, r, 1+i)
	}
	a.P("\tSUBS $4, R8\n\tBGT lb_l\n\tRET")
}

func floats(v ...float32) (out []uint64) {
	for _, f := range v {
		out = append(out, uint64(math.Float32bits(f)))
	}
	return out
}
