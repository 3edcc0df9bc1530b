package main

// transpose8: see packs; four transposes of 4×4.
func (a arm) transpose8() {
	a.text("transpose8", 40)
	a.args("dst", 0, "R0", "src", 8, "R1", "ds", 16, "R2", "ss", 24, "R3", "next", 32, "R4")
	for r := range 8 {
		a.p("\tADD R4, R1, R5")
		a.load(r, 0, "R1")
		a.fetch(1, 0, "R5")
		a.p("\tADD R3, R1")
	}
	// Rows 0 … 3 and 4 … 7 of columns 0 … 3, then of columns 4 … 7, give the halves of four rows of dst each.
	for half := range 2 {
		for part := range 2 {
			from, to := 16*half+4*part, 8+4*part
			a.v(zip1, to, from, from+2)
			a.v(zip2, to+1, from, from+2)
			a.v(zip1, to+2, from+1, from+3)
			a.v(zip2, to+3, from+1, from+3)
		}
		for _, pair := range [][2]int{{8, 10}, {9, 11}} {
			for _, zip := range []vectorOp{zip1, zip2} {
				a.v(zip, 24, pair[0], pair[1])
				a.v(zip, 25, pair[0]+4, pair[1]+4)
				a.p("\tFSTPQ (F24, F25), (R0)\n\tADD R2, R0")
			}
		}
	}
	a.p("\tRET\n")
}
