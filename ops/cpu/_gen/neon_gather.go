package main

// gatherDot: see stream.gatherDot; lanes are added in the same order.
func (a arm) gatherDot() {
	const name = "gatherDot8"
	a.text(name, 56)
	a.args("out", 0, "R0", "x", 8, "R1", "rows", 16, "R2", "index", 24, "R3", "n", 32, "R4", "indices", 40, "R5", "c", 48, "R6")
	a.p("\tLSL $2, R6\n%s_j:\n\tMOVW (R3), R7\n\tMUL R6, R7\n\tADD R2, R7\n\tMOVD R7, R8\n\tCMP $%d, R5\n\tBLE %s_s\n\tMOVW %d(R3), R8\n\tMUL R6, R8\n\tADD R2, R8\n%s_s:", name, ahead, name, 4*ahead, name)
	for i := range 4 {
		a.clear(i)
	}
	a.p("\tMOVD R1, R9\n\tADD R6, R1, R10\n%s_k:\n\tPRFM (R8), PLDL2KEEP\n\tPRFM 64(R8), PLDL2KEEP\n\tADD $128, R8", name)
	for i := range 4 {
		a.next(4, "R9")
		a.next(5, "R7")
		a.y(fmla, i, 4, 5)
	}
	a.p("\tCMP R10, R9\n\tBLT %s_k", name)
	a.y(fadd, 0, 0, 1)
	a.y(fadd, 2, 2, 3)
	a.y(fadd, 0, 0, 2)
	a.v(fadd, 0, 0, 16)
	a.p("\tVEXT $8, V0.B16, V0.B16, V1.B16")
	a.v(fadd, 0, 0, 1)
	a.p("\tVEXT $4, V0.B16, V0.B16, V1.B16\n\tFADDS F1, F0, F0\n\tFMOVS.P F0, 4(R0)")
	a.p("\tADD $4, R3\n\tSUB $1, R5\n\tSUBS $1, R4\n\tBNE %s_j\n\tRET\n", name)
}

// gatherSum: see stream.gatherSum.
func (a arm) gatherSum() {
	const name = "gatherSum8"
	a.text(name, 48)
	a.args("sum", 0, "R0", "c", 40, "R1")
	a.p("\tLSL $2, R1\n\tMOVD $0, R2\n%s_b:", name)
	a.args("coef", 8, "R3", "rows", 16, "R4", "index", 24, "R5", "n", 32, "R6")
	a.p("\tADD R2, R4")
	for i := range 8 {
		a.load(i, 32*i, "R0")
	}
	a.p("%s_j:\n\tMOVW.P 4(R5), R7\n\tMUL R1, R7\n\tADD R4, R7\n\tFMOVS.P 4(R3), F15", name)
	for i := range 8 {
		row := 8 + i%4
		a.next(row, "R7")
		a.byLane(i, row, 15)
		a.byLane(16+i, 16+row, 15)
	}
	a.p("\tSUBS $1, R6\n\tBNE %s_j", name)
	for i := range 8 {
		a.put(i, "R0")
	}
	a.p("\tADD $256, R2\n\tCMP R1, R2\n\tBLT %s_b\n\tRET\n", name)
}
