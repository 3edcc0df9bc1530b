package main

// gathers writes the kernels of the memory bank: dot products with, and weighted sums of, rows that lie anywhere. Rows are
// fetched eight ahead: their addresses are random, so that only this hides the latency of memory.
func gathers(a, d *asm) {
	gatherDot(a, d)
	gatherSum(a, d)
}

const ahead = 8 // rows

// gatherDot: for every index, four sums of eight lanes over the row.
func gatherDot(a, d *asm) {
	d.p("// gatherDotAsm is out[j] = Σ_k x[k]·rows[index[j]·c+k] for n indices, c a multiple of 32.\n//\n//go:noescape\nfunc gatherDotAsm(out, x, rows, index unsafe.Pointer, n, c int)\n")
	a.p("// func gatherDotAsm(out, x, rows, index unsafe.Pointer, n, c int)\nTEXT ·gatherDotAsm(SB), NOSPLIT, $0-48")
	a.p("\tMOVQ out+0(FP), DI\n\tMOVQ x+8(FP), SI\n\tMOVQ rows+16(FP), R8\n\tMOVQ index+24(FP), R9\n\tMOVQ n+32(FP), CX\n\tMOVQ c+40(FP), DX\n\tSHLQ $2, DX")
	a.p("gd_j:\n\tMOVLQSX (R9), R10\n\tIMULQ DX, R10\n\tADDQ R8, R10")
	a.p("\tMOVQ R10, R11\n\tCMPQ CX, $%d\n\tJLE gd_s\n\tMOVLQSX %d(R9), R11\n\tIMULQ DX, R11\n\tADDQ R8, R11", ahead, 4*ahead)
	a.p("gd_s:\n\tVPXOR Y0, Y0, Y0\n\tVPXOR Y1, Y1, Y1\n\tVPXOR Y2, Y2, Y2\n\tVPXOR Y3, Y3, Y3\n\tXORQ BX, BX")
	a.p("gd_k:\n\tPREFETCHT0 (R11)(BX*1)\n\tPREFETCHT0 64(R11)(BX*1)")
	for i := range 4 {
		a.p("\tVMOVUPS %d(SI)(BX*1), Y4\n\tVFMADD231PS %d(R10)(BX*1), Y4, Y%d", 32*i, 32*i, i)
	}
	a.p("\tADDQ $128, BX\n\tCMPQ BX, DX\n\tJLT gd_k")
	a.p("\tVADDPS Y1, Y0, Y0\n\tVADDPS Y3, Y2, Y2\n\tVADDPS Y2, Y0, Y0\n\tVEXTRACTF128 $1, Y0, X1\n\tVADDPS X1, X0, X0\n\tVPERMILPS $0x4e, X0, X1\n\tVADDPS X1, X0, X0\n\tVPERMILPS $0xb1, X0, X1\n\tVADDSS X1, X0, X0\n\tVMOVSS X0, (DI)")
	a.p("\tADDQ $4, DI\n\tADDQ $4, R9\n\tSUBQ $1, CX\n\tJNZ gd_j\n\tVZEROUPPER\n\tRET\n")
}

// gatherSum: 64 lanes of the sum stay in registers while all rows go by.
func gatherSum(a, d *asm) {
	d.p("// gatherSumAsm is sum[k] += Σ_j coef[j]·rows[index[j]·c+k] for n indices, c a multiple of 64.\n//\n//go:noescape\nfunc gatherSumAsm(sum, coef, rows, index unsafe.Pointer, n, c int)\n")
	a.p("// func gatherSumAsm(sum, coef, rows, index unsafe.Pointer, n, c int)\nTEXT ·gatherSumAsm(SB), NOSPLIT, $0-48")
	a.p("\tMOVQ sum+0(FP), DI\n\tMOVQ c+40(FP), DX\n\tSHLQ $2, DX\n\tXORQ BX, BX")
	a.p("gs_b:\n\tMOVQ coef+8(FP), SI\n\tMOVQ rows+16(FP), R8\n\tADDQ BX, R8\n\tMOVQ index+24(FP), R9\n\tMOVQ n+32(FP), CX")
	for i := range 8 {
		a.p("\tVMOVUPS %d(DI)(BX*1), Y%d", 32*i, i)
	}
	a.p("gs_j:\n\tMOVLQSX (R9), R10\n\tIMULQ DX, R10\n\tADDQ R8, R10\n\tVBROADCASTSS (SI), Y8")
	for i := range 8 {
		a.p("\tVFMADD231PS %d(R10), Y8, Y%d", 32*i, i)
	}
	a.p("\tADDQ $4, SI\n\tADDQ $4, R9\n\tSUBQ $1, CX\n\tJNZ gs_j")
	for i := range 8 {
		a.p("\tVMOVUPS Y%d, %d(DI)(BX*1)", i, 32*i)
	}
	a.p("\tADDQ $256, BX\n\tCMPQ BX, DX\n\tJLT gs_b\n\tVZEROUPPER\n\tRET\n")
}
