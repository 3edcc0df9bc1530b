package main

import "fmt"

// neon writes the kernels of arm64. A vector of eight floats, y0 … y15, is a pair of its registers, V(i) and V(16+i): the kernels
// of eight lanes then have the registers, and make the sums, that they have with AVX2.
type neon struct{ *asm }

// vectorOp is an instruction of three vectors of four floats that Go's assembler does not know by name: d = n op m.
type vectorOp struct {
	name string
	code uint32
}

var (
	fadd  = vectorOp{"FADD", 0x4e20d400}
	fsub  = vectorOp{"FSUB", 0x4ea0d400}
	fmul  = vectorOp{"FMUL", 0x6e20dc00}
	fmax  = vectorOp{"FMAX", 0x4e20f400}
	fmla  = vectorOp{"FMLA", 0x4e20cc00} // d += n·m
	fmls  = vectorOp{"FMLS", 0x4ea0cc00} // d -= n·m
	fcmgt = vectorOp{"FCMGT", 0x6ea0e400}
	fcmeq = vectorOp{"FCMEQ", 0x4e20e400}
	and   = vectorOp{"AND", 0x4e201c00}
	orr   = vectorOp{"ORR", 0x4ea01c00}
	orn   = vectorOp{"ORN", 0x4ee01c00} // d = n | ^m
	eor   = vectorOp{"EOR", 0x6e201c00}
	bit   = vectorOp{"BIT", 0x6ea01c00} // d = n where m is set
	cmeq  = vectorOp{"CMEQ", 0x6ea08c00}
	cmtst = vectorOp{"CMTST", 0x4ea08c00} // where n & m is not zero
	zip1  = vectorOp{"ZIP1", 0x4e803800}
	zip2  = vectorOp{"ZIP2", 0x4e807800}
)

// v is d = n op m of single registers.
func (a neon) v(op vectorOp, d, n, m int) {
	a.p("\tWORD $0x%08x // %s V%d.4S, V%d.4S, V%d.4S", op.code|uint32(m<<16|n<<5|d), op.name, d, n, m)
}

// y is d = n op m of vectors of eight floats.
func (a neon) y(op vectorOp, d, n, m int) {
	a.v(op, d, n, m)
	a.v(op, 16+d, 16+n, 16+m)
}

// byLane is Vd += Vn·Vm[0].
func (a neon) byLane(d, n, m int) {
	a.p("\tWORD $0x%08x // FMLA V%d.4S, V%d.4S, V%d.S[0]", 0x4f801000|uint32(m<<16|n<<5|d), d, n, m)
}

func (a neon) clear(i int) { a.y(eor, i, i, i) }

func place(off int, base string) string {
	if off == 0 {
		return "(" + base + ")"
	}
	return fmt.Sprintf("%d(%s)", off, base)
}

func (a neon) load(i, off int, base string) {
	a.p("\tFLDPQ %s, (F%d, F%d)", place(off, base), i, 16+i)
}

func (a neon) store(i, off int, base string) {
	a.p("\tFSTPQ (F%d, F%d), %s", i, 16+i, place(off, base))
}

// next loads y i from base and moves base behind it.
func (a neon) next(i int, base string) { a.p("\tFLDPQ.P 32(%s), (F%d, F%d)", base, i, 16+i) }

// put stores y i at base and moves base behind it.
func (a neon) put(i int, base string) { a.p("\tFSTPQ.P (F%d, F%d), 32(%s)", i, 16+i, base) }

// broadcast fills y i with the float off bytes behind base.
func (a neon) broadcast(i, off int, base string) {
	a.p("\tFMOVS %s, F%d\n\tVDUP V%d.S[0], V%d.S4\n\tVDUP V%d.S[0], V%d.S4", place(off, base), i, i, 16+i, i, i)
}

// fetch fetches n lines of 64 bytes into the first-level cache.
func (a neon) fetch(n, off int, base string) {
	for i := range n {
		a.p("\tPRFM %s, PLDL1KEEP", place(off+64*i, base))
	}
}

// args loads arguments, name and place of each, into registers.
func (a neon) args(list ...any) {
	for i := 0; i < len(list); i += 3 {
		a.p("\tMOVD %s+%d(FP), %s", list[i], list[i+1], list[i+2])
	}
}

// neonKernels writes what AVX2 has, under the same names.
func neonKernels(s *asm) {
	a := neon{s}
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
func (a neon) text(name string, size int) {
	a.p("TEXT ·%s(SB), NOSPLIT, $0-%d", name, size)
}
