package main

import "fmt"

// gathers writes the kernels of the memory bank: dot products with, and weighted sums of, rows that lie anywhere. Rows are
// fetched well ahead, into the second-level cache: their addresses are random, so that only this hides the latency of memory.
func gathers(a *asm, d *declarations) {
	for _, v := range []stream{{avx512, "512"}, {avx2, "8"}} {
		v.gatherDot(a, d)
		v.gatherSum(a, d)
	}
}

const ahead = 32 // rows

// gatherDot: for every index, sums of as many lanes as 32 columns have, added at the end.
func (v stream) gatherDot(a *asm, d *declarations) {
	n := v.head(a, d, "gatherDot", "out[j] = Σ_k x[k]·rows[index[j]·c+k] for the first n indices, c a multiple of 32; the rows of the others are fetched.", "out, x, rows, index unsafe.Pointer, n, indices, c int", 56)
	a.p("\tMOVQ out+0(FP), DI\n\tMOVQ x+8(FP), SI\n\tMOVQ rows+16(FP), R8\n\tMOVQ index+24(FP), R9\n\tMOVQ n+32(FP), CX\n\tMOVQ indices+40(FP), R12\n\tMOVQ c+48(FP), DX\n\tSHLQ $2, DX")
	a.p("%s_j:\n\tMOVLQSX (R9), R10\n\tIMULQ DX, R10\n\tADDQ R8, R10", n)
	a.p("\tMOVQ R10, R11\n\tCMPQ R12, $%d\n\tJLE %s_s\n\tMOVLQSX %d(R9), R11\n\tIMULQ DX, R11\n\tADDQ R8, R11", ahead, n, 4*ahead)
	a.p("%s_s:", n)
	parts := 128 / v.bytes
	for i := range parts {
		v.clear(a, i)
	}
	a.p("\tXORQ BX, BX\n%s_k:\n\tPREFETCHT1 (R11)(BX*1)\n\tPREFETCHT1 64(R11)(BX*1)", n)
	for i := range parts {
		a.p("\tVMOVUPS %d(SI)(BX*1), %s\n\tVFMADD231PS %d(R10)(BX*1), %s, %s", v.bytes*i, v.r(4), v.bytes*i, v.r(4), v.r(i))
	}
	a.p("\tADDQ $128, BX\n\tCMPQ BX, DX\n\tJLT %s_k\n\tVADDPS %s, %s, %s", n, v.r(1), v.r(0), v.r(0))
	if parts == 4 {
		a.p("\tVADDPS Y3, Y2, Y2\n\tVADDPS Y2, Y0, Y0")
	} else {
		a.p("\tVEXTRACTF64X4 $1, Z0, Y1\n\tVADDPS Y1, Y0, Y0")
	}
	a.p("\tVEXTRACTF128 $1, Y0, X1\n\tVADDPS X1, X0, X0\n\tVPERMILPS $0x4e, X0, X1\n\tVADDPS X1, X0, X0\n\tVPERMILPS $0xb1, X0, X1\n\tVADDSS X1, X0, X0\n\tVMOVSS X0, (DI)")
	a.p("\tADDQ $4, DI\n\tADDQ $4, R9\n\tSUBQ $1, R12\n\tSUBQ $1, CX\n\tJNZ %s_j\n\tVZEROUPPER\n\tRET\n", n)
}

// gatherSum: eight vectors of the sum stay in registers while all rows go by.
func (v stream) gatherSum(a *asm, d *declarations) {
	n := v.head(a, d, "gatherSum", fmt.Sprintf("sum[k] += Σ_j coef[j]·rows[index[j]·c+k] for n indices, c a multiple of %d.", 2*v.bytes), "sum, coef, rows, index unsafe.Pointer, n, c int", 48)
	a.p("\tMOVQ sum+0(FP), DI\n\tMOVQ c+40(FP), DX\n\tSHLQ $2, DX\n\tXORQ BX, BX")
	a.p("%s_b:\n\tMOVQ coef+8(FP), SI\n\tMOVQ rows+16(FP), R8\n\tADDQ BX, R8\n\tMOVQ index+24(FP), R9\n\tMOVQ n+32(FP), CX", n)
	for i := range 8 {
		a.p("\tVMOVUPS %d(DI)(BX*1), %s", v.bytes*i, v.r(i))
	}
	a.p("%s_j:\n\tMOVLQSX (R9), R10\n\tIMULQ DX, R10\n\tADDQ R8, R10\n\tVBROADCASTSS (SI), %s", n, v.r(8))
	for i := range 8 {
		a.p("\tVFMADD231PS %d(R10), %s, %s", v.bytes*i, v.r(8), v.r(i))
	}
	a.p("\tADDQ $4, SI\n\tADDQ $4, R9\n\tSUBQ $1, CX\n\tJNZ %s_j", n)
	for i := range 8 {
		a.p("\tVMOVUPS %s, %d(DI)(BX*1)", v.r(i), v.bytes*i)
	}
	a.p("\tADDQ $%d, BX\n\tCMPQ BX, DX\n\tJLT %s_b\n\tVZEROUPPER\n\tRET\n", 8*v.bytes, n)
}
