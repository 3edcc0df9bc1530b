package main

import "fmt"

// bits are the bits of eight lanes in a mask's byte, kept in y15.
func (a arm) bits() {
	a.p("DATA bits<>+0(SB)/8, $0x0000000200000001\nDATA bits<>+8(SB)/8, $0x0000000800000004\nDATA bits<>+16(SB)/8, $0x0000002000000010\nDATA bits<>+24(SB)/8, $0x0000008000000040\nGLOBL bits<>(SB), RODATA, $32\n")
}

func (a arm) loadBits(reg string) {
	a.p("\tMOVD $bits<>(SB), %s", reg)
	a.load(15, 0, reg)
}

// masked loads y i from base where the bits of the byte at mask are set, and moves both. y i+1 is lost.
func (a arm) masked(i int, base, mask string) {
	a.p("\tVLD1R.P 1(%s), [V%d.B16]", mask, i+1)
	a.v(cmtst, 16+i+1, i+1, 31)
	a.v(cmtst, i+1, i+1, 15)
	a.next(i, base)
	a.y(and, i, i, i+1)
}

// apply: see stream.apply.
func (a arm) apply() {
	a.text("bnApply8", 64)
	a.args("dst", 0, "R0", "src", 8, "R1", "res", 16, "R2", "coef", 24, "R3", "mask", 32, "R4", "pixels", 40, "R5", "c", 48, "R6", "low", 56, "R7")
	a.broadcast(3, 0, "R7")
	a.clear(4)
	a.loadBits("R7")
	a.p("\tLSL $2, R6\nbnApply8_p:\n\tMOVD R3, R8\n\tADD R6, R8, R9\n\tADD R6, R9, R10\n\tMOVD R9, R11")
	a.p("bnApply8_c:")
	a.next(0, "R1")
	a.next(1, "R8")
	a.next(2, "R9")
	a.y(fsub, 0, 0, 1)
	a.next(1, "R10")
	a.y(fmla, 1, 0, 2)
	a.p("\tCBZ R2, bnApply8_m")
	a.next(0, "R2")
	a.y(fadd, 1, 1, 0)
	a.p("bnApply8_m:")
	a.y(fmax, 1, 1, 3)
	a.put(1, "R0")
	a.p("\tCBZ R4, bnApply8_n")
	a.y(fcmgt, 0, 1, 4)
	a.y(and, 0, 0, 15)
	a.v(orr, 0, 0, 16)
	a.p("\tVADDV V0.S4, V0\n\tFMOVS F0, R12\n\tMOVB.P R12, 1(R4)")
	a.p("bnApply8_n:\n\tCMP R11, R8\n\tBLT bnApply8_c\n\tSUBS $1, R5\n\tBNE bnApply8_p\n\tRET\n")
}

// blocks writes body for blocks of 4 vectors of channels while there are as many, then for single ones. R0 is the byte of the
// block's first channel, R1 the end.
func (a arm) blocks(name string, body func(label string, vectors int)) {
	a.p("\tMOVD $0, R0")
	for _, n := range []int{4, 1} {
		l := fmt.Sprintf("%s_b%d", name, n)
		a.p("%s:\n\tADD $%d, R0, R2\n\tCMP R1, R2\n\tBGT %s_end", l, n*32, l)
		body(l, n)
		a.p("\tADD $%d, R0\n\tJMP %s\n%s_end:", n*32, l, l)
	}
	a.p("\tRET\n")
}

// begin clears the two sums of a block and loads what is subtracted, which is at R5.
func (a arm) begin(vectors int) {
	a.p("\tADD R0, R5, R9")
	for i := range vectors {
		a.clear(i)
		a.clear(4 + i)
		a.load(8+i, 32*i, "R9")
	}
}

// end stores the two sums of a block, at R3 and R4.
func (a arm) end(vectors int) {
	a.p("\tADD R0, R3, R9\n\tADD R0, R4, R10")
	for i := range vectors {
		a.store(i, 32*i, "R9")
		a.store(4+i, 32*i, "R10")
	}
}

// sums: see stream.sums.
func (a arm) sums() {
	const name = "bnSums8"
	a.text(name, 56)
	a.args("sum", 0, "R3", "sq", 8, "R4", "shift", 24, "R5", "c", 40, "R1", "stride", 48, "R6")
	a.p("\tLSL $2, R1")
	a.blocks(name, func(l string, nv int) {
		a.args("pixels", 32, "R7", "x", 16, "R8")
		a.p("\tADD R0, R8")
		a.begin(nv)
		a.p("%s_p:", l)
		for i := range nv {
			t := 12 + i%2
			a.load(t, 32*i, "R8")
			a.y(fsub, t, t, 8+i)
			a.y(fadd, i, i, t)
			a.y(fmla, 4+i, t, t)
		}
		a.fetch((nv+1)/2, fetched, "R8")
		a.p("\tADD R6, R8\n\tSUBS $1, R7\n\tBNE %s_p", l)
		a.end(nv)
	})
}

// backSums: see stream.backSums.
func (a arm) backSums() {
	const name = "bnBackSums8"
	a.text(name, 64)
	a.args("sum", 0, "R3", "dot", 8, "R4", "mean", 40, "R5", "c", 56, "R1")
	a.p("\tLSR $3, R1, R6\n\tLSL $2, R1")
	a.loadBits("R2")
	a.blocks(name, func(l string, nv int) {
		a.args("pixels", 48, "R7", "dout", 16, "R11", "x", 32, "R8", "mask", 24, "R12")
		a.p("\tADD R0, R8\n\tADD R0, R11")
		a.begin(nv)
		a.p("\tCBZ R12, %s_n\n\tADD R0>>5, R12", l)
		for _, masked := range []bool{true, false} {
			m := l + "_n"
			if masked {
				m = l + "_m"
			}
			a.p("%s:\n\tMOVD R11, R13\n\tMOVD R12, R14", m)
			for i := range nv {
				if masked {
					a.masked(12, "R13", "R14")
				} else {
					a.next(12, "R13")
				}
				a.load(13, 32*i, "R8")
				a.y(fsub, 13, 13, 8+i)
				a.y(fadd, i, i, 12)
				a.y(fmla, 4+i, 13, 12)
			}
			a.fetch((nv+1)/2, fetched, "R11")
			a.fetch((nv+1)/2, fetched, "R8")
			a.p("\tADD R1, R11\n\tADD R1, R8")
			if masked {
				a.p("\tADD R6, R12")
			}
			a.p("\tSUBS $1, R7\n\tBNE %s", m)
			if masked {
				a.p("\tJMP %s_s", l)
			}
		}
		a.p("%s_s:", l)
		a.end(nv)
	})
}

// backApply: see stream.backApply.
func (a arm) backApply() {
	const name = "bnBackApply8"
	a.text(name, 72)
	a.args("dx", 0, "R0", "dres", 8, "R1", "dout", 16, "R2", "mask", 24, "R3", "x", 32, "R4", "coef", 40, "R5", "pixels", 48, "R6", "c", 56, "R7", "add", 64, "R8")
	a.p("\tLSL $2, R7")
	a.loadBits("R9")
	a.p("%s_p:\n\tMOVD R5, R9\n\tADD R7, R9, R10\n\tADD R7, R10, R11\n\tADD R7, R11, R12\n\tMOVD R10, R13", name)
	a.p("%s_c:\n\tCBZ R3, %s_u", name, name)
	a.masked(4, "R2", "R3")
	a.p("\tJMP %s_m\n%s_u:", name, name)
	a.next(4, "R2")
	a.p("%s_m:", name)
	a.next(0, "R10")
	a.y(fsub, 0, 4, 0)
	a.next(1, "R9")
	a.y(fmul, 0, 0, 1)
	a.next(1, "R4")
	a.next(2, "R12")
	a.y(fsub, 1, 1, 2)
	a.next(2, "R11")
	a.y(fmla, 0, 1, 2)
	a.put(0, "R0")
	a.p("\tCBZ R1, %s_n\n\tCBZ R8, %s_s", name, name)
	a.load(0, 0, "R1")
	a.y(fadd, 4, 4, 0)
	a.p("%s_s:", name)
	a.put(4, "R1")
	a.p("%s_n:\n\tCMP R13, R9\n\tBLT %s_c\n\tSUBS $1, R6\n\tBNE %s_p\n\tRET\n", name, name, name)
}

// sgd: v = m·v + g + wd·p; p -= lr·v.
func (a arm) sgd() {
	a.text("sgdAsm", 40)
	a.args("p", 0, "R0", "grad", 8, "R1", "v", 16, "R2", "h", 24, "R3", "n", 32, "R4")
	for i := range 3 {
		a.broadcast(i, 4*i, "R3")
	}
	a.p("sgd_l:")
	a.load(3, 0, "R0")
	a.next(4, "R1")
	a.load(5, 0, "R2")
	a.y(fmla, 4, 3, 2)
	a.y(fmla, 4, 5, 1)
	a.put(4, "R2")
	a.y(fmls, 3, 4, 0)
	a.put(3, "R0")
	a.p("\tSUBS $8, R4\n\tBNE sgd_l\n\tRET\n")
}

// add: dst += src.
func (a arm) add() {
	a.text("addAsm", 24)
	a.args("dst", 0, "R0", "src", 8, "R1", "n", 16, "R2")
	a.p("add_l:")
	a.load(0, 0, "R0")
	a.next(1, "R1")
	a.y(fadd, 0, 0, 1)
	a.put(0, "R0")
	a.p("\tSUBS $8, R2\n\tBNE add_l\n\tRET\n")
}
