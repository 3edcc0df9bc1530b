package main

import "strings"

// The micro-kernel: C[mr][nr] (+)= Σ over a loop of ko·ki steps of A(row, step) × B(step, :), nr being two vectors.
//
//	rows of A are rsa bytes apart; one inner step moves every row by csa bytes, an outer step by ja more
//	B is packed, nr floats a step; rows of C are ldc bytes apart
//	acc 0 overwrites C, 1 adds to it; every two steps fetch pf and pf+pair, then pf moves by hop
//
// Offsets of the fields of gemmArgs:
const (
	fKi = 8 * iota
	fKo
	fA
	fRsa
	fCsa
	fJa
	fB
	fC
	fLdc
	fAcc
	fPf
	fPair
	fHop
)

// rowReg says which base register, scaled how often by rsa, addresses a row of A: five bases reach fourteen rows.
var rowReg = [14]struct {
	base  string
	scale int
}{
	{"R8", 0}, {"R8", 1}, {"R8", 2}, {"R9", 0}, {"R8", 4}, {"R9", 2}, {"R10", 0}, {"R9", 4},
	{"R8", 8}, {"R11", 0}, {"R10", 4}, {"R9", 8}, {"R12", 8}, {"R11", 4},
}

func (a *asm) rowAddr(i int) string {
	r := rowReg[i]
	if r.scale == 0 {
		return "(" + r.base + ")"
	}
	return "(" + r.base + ")(DX*" + string(rune('0'+r.scale)) + ")"
}

// gemmFamily writes the kernels for 1 … most rows and a table of them.
func gemmFamily(a, d *asm, name string, most int, v isa) {
	var table []string
	for mr := 1; mr <= most; mr++ {
		f := name + "x" + itoa(mr)
		gemm(a, f, mr, v)
		d.p("//go:noescape\nfunc %s(p *gemmArgs)\n", f)
		table = append(table, f)
	}
	d.p("var %sKernels = [...]func(*gemmArgs){nil, %s}\n", name, strings.Join(table, ", "))
}

func itoa(n int) string {
	if n >= 10 {
		return string(rune('0'+n/10)) + string(rune('0'+n%10))
	}
	return string(rune('0' + n))
}

// multiply is sum += b·t.
func (v isa) multiply(a *asm, b, t, sum int) {
	if v.pairs {
		a.evex(dpbf16, b, t, sum)
		return
	}
	a.p("\tVFMADD231PS %s%d, %s%d, %s%d", v.reg, b, v.reg, t, v.reg, sum)
}

func gemm(a *asm, name string, mr int, v isa) {
	const nv, unroll = 2, 2
	acc := mr * nv
	var bases []string
	for _, b := range []string{"R8", "R9", "R10", "R11", "R12"} {
		for i := range mr {
			if rowReg[i].base == b {
				bases = append(bases, b)
				break
			}
		}
	}
	has := func(b string) bool { return strings.Contains(strings.Join(bases, " ")+" ", b+" ") }

	a.p("// func %s(p *gemmArgs)\nTEXT ·%s(SB), NOSPLIT, $8-8", name, name)
	a.p("\tMOVQ p+0(FP), R15")
	for _, f := range []struct {
		off int
		reg string
	}{{fA, "R8"}, {fRsa, "DX"}, {fCsa, "SI"}, {fB, "BX"}, {fC, "DI"}, {fLdc, "AX"}, {fKo, "R13"}} {
		a.p("\tMOVQ %d(R15), %s", f.off, f.reg)
	}
	if has("R9") || has("R10") || has("R11") {
		a.p("\tLEAQ (R8)(DX*2), R9\n\tADDQ DX, R9")
	}
	if has("R10") || has("R11") {
		a.p("\tLEAQ (R9)(DX*2), R10\n\tADDQ DX, R10")
	}
	if has("R11") {
		a.p("\tLEAQ (R10)(DX*2), R11\n\tADDQ DX, R11")
	}
	if has("R12") {
		a.p("\tLEAQ (R8)(DX*4), R12")
	}
	a.p("\tMOVQ DI, R14")
	for range mr {
		for j := 0; j < nv*v.bytes; j += 64 {
			a.p("\tPREFETCHT0 %d(R14)", j)
		}
		a.p("\tADDQ AX, R14")
	}
	for r := range acc {
		a.p("\t%s %s%d, %s%d, %s%d", v.zero, v.reg, r, v.reg, r, v.reg, r)
	}
	spare := v.regs - acc - nv
	body := func(u int) {
		for j := range nv {
			a.p("\tVMOVUPS %d(BX), %s%d", j*v.bytes+u*nv*v.bytes, v.reg, acc+j)
		}
		for i := range mr {
			t := acc + nv + i%spare
			a.p("\tVBROADCASTSS %s, %s%d", a.rowAddr(i), v.reg, t)
			for j := range nv {
				v.multiply(a, acc+j, t, i*nv+j)
			}
		}
		for _, b := range bases {
			a.p("\tADDQ SI, %s", b)
		}
	}
	a.p("\tMOVQ %d(R15), BP\n\tMOVQ %d(R15), CX\n\tMOVQ %d(R15), R15", fPf, fPair, fHop)
	a.p("%s_o:\n\tMOVQ p+0(FP), R14\n\tMOVQ %d(R14), R14\n\tSUBQ $%d, R14\n\tJLT %s_t\n\tPCALIGN $32", name, fKi, unroll, name)
	a.p("%s_l:", name)
	body(0)
	a.p("\tPREFETCHT0 (BP)")
	body(1)
	a.p("\tPREFETCHT0 (BP)(CX*1)")
	a.p("\tADDQ R15, BP\n\tADDQ $%d, BX\n\tSUBQ $%d, R14\n\tJGE %s_l", v.bytes*nv*unroll, unroll, name)
	a.p("%s_t:\n\tADDQ $%d, R14\n\tJZ %s_e", name, unroll, name)
	a.p("%s_l1:", name)
	body(0)
	a.p("\tADDQ $%d, BX\n\tSUBQ $1, R14\n\tJNZ %s_l1", v.bytes*nv, name)
	a.p("%s_e:\n\tMOVQ p+0(FP), R14\n\tMOVQ %d(R14), R14", name, fJa)
	for _, b := range bases {
		a.p("\tADDQ R14, %s", b)
	}
	a.p("\tSUBQ $1, R13\n\tJNZ %s_o", name)
	a.p("\tMOVQ p+0(FP), R14\n\tCMPQ %d(R14), $0\n\tJE %s_st\n\tMOVQ DI, R14", fAcc, name)
	for i := range mr {
		for j := range nv {
			a.p("\tVADDPS %d(R14), %s%d, %s%d", j*v.bytes, v.reg, i*nv+j, v.reg, i*nv+j)
		}
		a.p("\tADDQ AX, R14")
	}
	a.p("%s_st:", name)
	for i := range mr {
		for j := range nv {
			a.p("\tVMOVUPS %s%d, %d(DI)", v.reg, i*nv+j, j*v.bytes)
		}
		a.p("\tADDQ AX, DI")
	}
	a.p("\tVZEROUPPER\n\tRET\n")
}
