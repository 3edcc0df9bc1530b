package main

// What AVX512_BF16 adds, which Go's assembler does not know: opcode and prefix (Intel 64 and IA-32 Architectures Software Developer's
// Manual, volume 2C).
type evex struct {
	name       string
	op, prefix uint32
}

var (
	dpbf16 = evex{"VDPBF16PS", 0x52, 2}      // sums of products of pairs
	cvt2   = evex{"VCVTNE2PS2BF16", 0x72, 3} // two vectors of floats, rounded, in one; the first operand's come first
)

// evex writes an instruction on whole registers, operands in the order of Go's assembler.
func (a *asm) evex(e evex, src, src2, dst int) {
	s, t, d := uint32(src), uint32(src2), uint32(dst)
	first := 0x62 | (^d>>3&1<<7|^s>>4&1<<6|^s>>3&1<<5|^d>>4&1<<4|2)<<8 | (^t&15<<3|4|e.prefix)<<16 | (2<<5|^t>>4&1<<3)<<24
	a.p("\tLONG $0x%08x; WORD $0x%04x // %s Z%d, Z%d, Z%d", first, e.op|(3<<6|d&7<<3|s&7)<<8, e.name, src, src2, dst)
}

// pairPacks writes what turns floats into pairs of bfloat16 and lays these where the micro-kernel reads them.
func pairPacks(a, d *asm) {
	a.p("// The order that puts bfloat16 of the second half of a vector between those of the first.")
	for i := range 8 {
		w := 2 * i
		a.p("DATA interleave<>+%d(SB)/8, $0x%04x%04x%04x%04x", 8*i, 17+w, w+1, 16+w, w)
	}
	a.p("GLOBL interleave<>(SB), RODATA|NOPTR, $64\n")

	d.p("// toPairs rounds rows of n floats, a multiple of 32, that are ss bytes apart, to n/2 pairs, ds bytes apart.\n//\n//go:noescape\nfunc toPairs(dst, src unsafe.Pointer, ds, ss uintptr, rows, n int)\n")
	a.p("// func toPairs(dst, src unsafe.Pointer, ds, ss uintptr, rows, n int)\nTEXT ·toPairs(SB), NOSPLIT, $0-48")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ ds+16(FP), R8\n\tMOVQ ss+24(FP), R9\n\tMOVQ rows+32(FP), CX\n\tMOVQ n+40(FP), DX")
	a.p("toPairs_r:\n\tMOVQ DI, R12\n\tMOVQ SI, R13\n\tMOVQ DX, BX\ntoPairs_l:\n\tVMOVUPS (R13), Z0\n\tVMOVUPS 64(R13), Z1")
	a.evex(cvt2, 0, 1, 2)
	a.p("\tVMOVUPS Z2, (R12)\n\tADDQ $128, R13\n\tADDQ $64, R12\n\tSUBQ $32, BX\n\tJNZ toPairs_l\n\tADDQ R8, DI\n\tADDQ R9, SI\n\tSUBQ $1, CX\n\tJNZ toPairs_r\n\tVZEROUPPER\n\tRET\n")

	d.p("// pairs32 pairs rows of 32 floats that are ss bytes apart: dst[r][k] = (src[2r][k], src[2r+1][k]), zero after an odd last row.\n//\n//go:noescape\nfunc pairs32(dst, src unsafe.Pointer, ss uintptr, rows int)\n")
	a.p("// func pairs32(dst, src unsafe.Pointer, ss uintptr, rows int)\nTEXT ·pairs32(SB), NOSPLIT, $0-32")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ ss+16(FP), R9\n\tMOVQ rows+24(FP), CX\n\tVMOVDQU16 interleave<>(SB), Z31\n\tSUBQ $2, CX\n\tJLT pairs32_t")
	both := func() {
		for i := range 2 {
			a.evex(cvt2, i, 2+i, 4+i)
			a.p("\tVPERMW Z%d, Z31, Z%d\n\tVMOVUPS Z%d, %d(DI)", 4+i, 4+i, 4+i, 64*i)
		}
	}
	a.p("pairs32_l:\n\tVMOVUPS (SI), Z0\n\tVMOVUPS 64(SI), Z1\n\tVMOVUPS (SI)(R9*1), Z2\n\tVMOVUPS 64(SI)(R9*1), Z3")
	both()
	a.p("\tADDQ $128, DI\n\tLEAQ (SI)(R9*2), SI\n\tSUBQ $2, CX\n\tJGE pairs32_l")
	a.p("pairs32_t:\n\tADDQ $2, CX\n\tJZ pairs32_e\n\tVMOVUPS (SI), Z0\n\tVMOVUPS 64(SI), Z1\n\tVPXORD Z2, Z2, Z2\n\tVPXORD Z3, Z3, Z3")
	both()
	a.p("pairs32_e:\n\tVZEROUPPER\n\tRET\n")

	d.p("// pairs14 is pack14 of pairs of rows: dst[t][r][:14] = (src[2r][t·step:][:14], src[2r+1][t·step:][:14]), zero after an odd last\n// row. It reads, and in the last row writes, 16.\n//\n//go:noescape\nfunc pairs14(dst, src unsafe.Pointer, ss uintptr, rows, tiles int, step, pitch uintptr)\n")
	a.p("// func pairs14(dst, src unsafe.Pointer, ss uintptr, rows, tiles int, step, pitch uintptr)\nTEXT ·pairs14(SB), NOSPLIT, $0-56")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ ss+16(FP), R9\n\tMOVQ rows+24(FP), CX\n\tMOVQ tiles+32(FP), DX\n\tMOVQ step+40(FP), R10\n\tMOVQ pitch+48(FP), R11\n\tLEAQ (R9)(R9*2), R8\n\tVMOVDQU16 interleave<>(SB), Z31")
	row := func(label, second string) {
		a.p("pairs14_%s:\n\tMOVQ DI, R12\n\tMOVQ SI, R13\n\tMOVQ DX, BX\npairs14_%st:\n\tVMOVUPS (R13), Z0\n\t%s", label, label, second)
		a.evex(cvt2, 0, 1, 2)
		a.p("\tVPERMW Z2, Z31, Z2\n\tVMOVUPS Z2, (R12)\n\tADDQ R10, R13\n\tADDQ R11, R12\n\tSUBQ $1, BX\n\tJNZ pairs14_%st", label)
	}
	a.p("\tSUBQ $2, CX\n\tJLT pairs14_o")
	row("r", "PREFETCHT0 (R13)(R9*2)\n\tPREFETCHT0 (R13)(R8*1)\n\tVMOVUPS (R13)(R9*1), Z1")
	a.p("\tADDQ $56, DI\n\tLEAQ (SI)(R9*2), SI\n\tSUBQ $2, CX\n\tJGE pairs14_r\npairs14_o:\n\tADDQ $2, CX\n\tJZ pairs14_e")
	row("l", "VPXORD Z1, Z1, Z1")
	a.p("pairs14_e:\n\tVZEROUPPER\n\tRET\n")
}
