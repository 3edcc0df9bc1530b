package main

// window writes body for every pixel of a window of the argument x and vector of channels: R9 to the pixel, R10 its number, y0 and y1 what begin left
// there. R0 and R1 are the first two arguments, at the vector's channels when begin and end are written.
func (a arm) window(name, x string, begin, body, end func()) {
	a.args(x, 16, "R2", "rs", 24, "R3", "c", 48, "R4")
	a.p("\tLSL $2, R4\n\tADD R4, R2, R5\n%s_c:\n\tMOVD R2, R6", name)
	a.args("rows", 32, "R7", "at", 56, "R8")
	begin()
	a.p("%s_r:\n\tMOVD R6, R9\n\tMOVD R8, R10", name)
	a.args("cols", 40, "R11", "w", 64, "R12")
	a.p("%s_q:", name)
	body()
	a.p("\tADD R4, R9\n\tADD $1, R10\n\tSUBS $1, R11\n\tBNE %s_q\n\tADD R3, R6\n\tADD R12, R8\n\tSUBS $1, R7\n\tBNE %s_r", name, name)
	end()
	a.p("\tADD $32, R2\n\tCMP R5, R2\n\tBLT %s_c\n\tRET\n", name)
}

// number fills y i with what is in a register.
func (a arm) number(i int, reg string) {
	a.p("\tVDUP %s, V%d.S4\n\tVDUP %s, V%d.S4", reg, i, reg, 16+i)
}

// maxPool: see stream.maxPool.
func (a arm) maxPool() {
	const name = "maxPool8"
	a.text(name, 72)
	a.args("out", 0, "R0", "where", 8, "R1")
	a.window(name, "x", func() {
		a.load(0, 0, "R6")
		a.number(1, "R8")
	}, func() {
		a.load(2, 0, "R9")
		a.number(3, "R10")
		a.y(fcmgt, 4, 2, 0)
		a.y(fcmeq, 5, 2, 2)
		a.y(orn, 4, 4, 5) // or it is a NaN
		a.y(bit, 0, 2, 4)
		a.y(bit, 1, 3, 4)
	}, func() {
		a.put(0, "R0")
		a.p("\tCBZ R1, %s_n", name)
		a.put(1, "R1")
		a.p("%s_n:", name)
	})
}

// maxPoolBack: see stream.maxPoolBack.
func (a arm) maxPoolBack() {
	const name = "maxPoolBack8"
	a.text(name, 72)
	a.args("dy", 0, "R0", "where", 8, "R1")
	a.window(name, "dx", func() {
		a.next(0, "R0")
		a.next(1, "R1")
	}, func() {
		a.number(3, "R10")
		a.y(cmeq, 3, 3, 1)
		a.y(and, 3, 3, 0)
		a.load(2, 0, "R9")
		a.y(fadd, 2, 2, 3)
		a.store(2, 0, "R9")
	}, func() {})
}
