package main

import (
	"fmt"

	"github.com/contraflow/contraflow/ops/_gen/neon"
)

// arm writes the kernels of arm64. A vector of eight floats, y0 … y15, is a pair of its registers, V(i) and V(16+i): the kernels
// of eight lanes then have the registers, and make the sums, that they have with AVX2.
type arm struct{ *asm }

// vectorOp is an instruction of three registers: d = n op m.
type vectorOp struct{ name, arrangement string }

var (
	fadd  = vectorOp{"VFADD", "S4"}
	fsub  = vectorOp{"VFSUB", "S4"}
	fmul  = vectorOp{"VFMUL", "S4"}
	fmax  = vectorOp{"VFMAX", "S4"}
	fmla  = vectorOp{"VFMLA", "S4"} // d += n·m
	fmls  = vectorOp{"VFMLS", "S4"} // d -= n·m
	fcmgt = vectorOp{"VFCMGT", "S4"}
	fcmeq = vectorOp{"VFCMEQ", "S4"}
	cmeq  = vectorOp{"VCMEQ", "S4"}
	cmtst = vectorOp{"VCMTST", "S4"} // where n & m is not zero
	zip1  = vectorOp{"VZIP1", "S4"}
	zip2  = vectorOp{"VZIP2", "S4"}
	and   = vectorOp{"VAND", "B16"}
	orr   = vectorOp{"VORR", "B16"}
	orn   = vectorOp{"VORN", "B16"} // d = n | ^m
	eor   = vectorOp{"VEOR", "B16"}
	bit   = vectorOp{"VBIT", "B16"} // d = n where m is set
)

// v is d = n op m of single registers.
func (a arm) v(op vectorOp, d, n, m int) {
	a.p("%s", neon.Line(fmt.Sprintf("\t%s V%d.%[3]s, V%[4]d.%[3]s, V%[5]d.%[3]s", op.name, m, op.arrangement, n, d)))
}

// y is d = n op m of vectors of eight floats.
func (a arm) y(op vectorOp, d, n, m int) {
	a.v(op, d, n, m)
	a.v(op, 16+d, 16+n, 16+m)
}

// byLane is Vd += Vn·Vm[0].
func (a arm) byLane(d, n, m int) {
	a.p("%s", neon.Line(fmt.Sprintf("\tVFMLA V%d.S[0], V%d.S4, V%d.S4", m, n, d)))
}

func (a arm) clear(i int) { a.y(eor, i, i, i) }

func place(off int, base string) string {
	if off == 0 {
		return "(" + base + ")"
	}
	return fmt.Sprintf("%d(%s)", off, base)
}

func (a arm) load(i, off int, base string) {
	a.p("\tFLDPQ %s, (F%d, F%d)", place(off, base), i, 16+i)
}

func (a arm) store(i, off int, base string) {
	a.p("\tFSTPQ (F%d, F%d), %s", i, 16+i, place(off, base))
}

// next loads y i from base and moves base behind it.
func (a arm) next(i int, base string) { a.p("\tFLDPQ.P 32(%s), (F%d, F%d)", base, i, 16+i) }

// put stores y i at base and moves base behind it.
func (a arm) put(i int, base string) { a.p("\tFSTPQ.P (F%d, F%d), 32(%s)", i, 16+i, base) }

// broadcast fills y i with the float off bytes behind base.
func (a arm) broadcast(i, off int, base string) {
	a.p("\tFMOVS %s, F%d\n\tVDUP V%d.S[0], V%d.S4\n\tVDUP V%d.S[0], V%d.S4", place(off, base), i, i, 16+i, i, i)
}

// fetch fetches n lines of 64 bytes into the first-level cache.
func (a arm) fetch(n, off int, base string) {
	for i := range n {
		a.p("\tPRFM %s, PLDL1KEEP", place(off+64*i, base))
	}
}

// args loads arguments, name and place of each, into registers.
func (a arm) args(list ...any) {
	for i := 0; i < len(list); i += 3 {
		a.p("\tMOVD %s+%d(FP), %s", list[i], list[i+1], list[i+2])
	}
}

// neonKernels writes what AVX2 has, under the same names.
func neonKernels(s *asm) {
	a := arm{s}
	for rows := 1; rows <= 6; rows++ {
		a.gemm("gemm16x"+itoa(rows), rows)
	}
	a.bits()
	a.apply()
	a.sums()
	a.backSums()
	a.backApply()
	a.sgd()
	a.add()
	for _, t := range transforms {
		a.transform(t)
	}
	a.gatherDot()
	a.gatherSum()
	a.maxPool()
	a.maxPoolBack()
	a.transpose8()
}

// text begins a function.
func (a arm) text(name string, size int) {
	a.p("TEXT ·%s(SB), NOSPLIT, $0-%d", name, size)
}
