package main

// gemm keeps four registers of C a row, four of B and the last four rows' floats of A, which a multiplication takes from a lane: a
// broadcasting load would cost the unit that multiplies. R8 … R13 are the rows of A, R14 how far all of them are.
func (a arm) gemm(name string, rows int) {
	const nv, b, lanes = 4, 24, 28
	row := func(i int) string { return "R" + itoa(8+i) }
	a.p("// func %s(p *gemmArgs)", name)
	a.text(name, 8)
	a.p("\tMOVD p+0(FP), R0\n\tMOVD %d(R0), R1\n\tMOVD %d(R0), R2\n\tMOVD %d(R0), R8\n\tMOVD %d(R0), R3\n\tMOVD %d(R0), R4\n\tMOVD %d(R0), R5", fKi, fKo, fA, fRsa, fCsa, fJa)
	a.p("\tMOVD %d(R0), R6\n\tMOVD %d(R0), R7\n\tMOVD %d(R0), R15\n\tMOVD %d(R0), R16\n\tMOVD %d(R0), R17\n\tMOVD %d(R0), R19\n\tMOVD $0, R14", fB, fC, fLdc, fPf, fPair, fHop)
	for i := 1; i < rows; i++ {
		a.p("\tADD R3, %s, %s", row(i-1), row(i))
	}
	a.p("\tMOVD R7, R20")
	for i := range rows {
		a.fetch(1, 0, "R20")
		if i+1 < rows {
			a.p("\tADD R15, R20")
		}
	}
	for r := range rows * nv {
		a.v(eor, r, r, r)
	}
	body := func() {
		lane := func(i int) {
			if i < rows {
				a.p("\tFMOVS (%s)(R14), F%d", row(i), lanes+i%4)
			}
		}
		a.p("\tFLDPQ.P 32(R6), (F%d, F%d)\n\tFLDPQ.P 32(R6), (F%d, F%d)", b, b+1, b+2, b+3)
		for i := range 4 {
			lane(i)
		}
		for i := range rows {
			for j := range nv {
				a.byLane(i*nv+j, b+j, lanes+i%4)
			}
			lane(i + 4)
		}
		a.p("\tADD R4, R14")
	}
	a.p("%s_o:\n\tSUBS $2, R1, R20\n\tBLT %s_t\n\tPCALIGN $32\n%s_l:", name, name, name)
	body()
	a.fetch(1, 0, "R16")
	body()
	a.p("\tADD R17, R16, R21")
	a.fetch(1, 0, "R21")
	a.p("\tADD R19, R16\n\tSUBS $2, R20\n\tBGE %s_l\n%s_t:\n\tADDS $2, R20\n\tBEQ %s_e", name, name, name)
	body()
	a.p("%s_e:\n\tADD R5, R14\n\tSUBS $1, R2\n\tBNE %s_o", name, name)
	a.p("\tMOVD %d(R0), R1\n\tCBZ R1, %s_st\n\tMOVD R7, R20", fAcc, name)
	for i := range rows {
		a.p("\tFLDPQ (R20), (F%d, F%d)\n\tFLDPQ 32(R20), (F%d, F%d)\n\tADD R15, R20", b, b+1, b+2, b+3)
		for j := range nv {
			a.v(fadd, i*nv+j, i*nv+j, b+j)
		}
	}
	a.p("%s_st:", name)
	for i := range rows {
		a.p("\tFSTPQ (F%d, F%d), (R7)\n\tFSTPQ (F%d, F%d), 32(R7)\n\tADD R15, R7", i*nv, i*nv+1, i*nv+2, i*nv+3)
	}
	a.p("\tRET\n")
}
