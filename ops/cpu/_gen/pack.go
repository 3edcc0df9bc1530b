package main

// packs writes the strided copies that fill packed panels, and a 16×16 transpose, for AVX-512.
func packs(a *asm, d *declarations) {
	d.wide.p("// pack32 copies rows of 32 floats that are ss bytes apart: dst[r][:32] = src[r][:32].\n//\n//go:noescape\nfunc pack32(dst, src unsafe.Pointer, ss uintptr, rows int)\n")
	a.p("// func pack32(dst, src unsafe.Pointer, ss uintptr, rows int)\nTEXT ·pack32(SB), NOSPLIT, $0-32")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ ss+16(FP), R9\n\tMOVQ rows+24(FP), CX\npack32_l:")
	a.p("\tVMOVUPS (SI), Z0\n\tVMOVUPS 64(SI), Z1\n\tVMOVUPS Z0, (DI)\n\tVMOVUPS Z1, 64(DI)")
	a.p("\tADDQ $128, DI\n\tADDQ R9, SI\n\tSUBQ $1, CX\n\tJNZ pack32_l\n\tVZEROUPPER\n\tRET\n")
	pack14(a, &d.wide)
	transpose8(a, &d.eight)
	d.wide.p("// transpose16 transposes a 16×16 block: dst[k][r] = src[r][k], rows ds and ss bytes apart, and fetches the\n// block next bytes after src.\n//\n//go:noescape\nfunc transpose16(dst, src unsafe.Pointer, ds, ss, next uintptr)\n")
	a.p("// func transpose16(dst, src unsafe.Pointer, ds, ss, next uintptr)\nTEXT ·transpose16(SB), NOSPLIT, $0-40")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ ds+16(FP), R8\n\tMOVQ ss+24(FP), R9\n\tMOVQ next+32(FP), R10")
	for r := range 16 {
		a.p("\tVMOVUPS (SI), Z%d\n\tPREFETCHT0 (SI)(R10*1)\n\tADDQ R9, SI", r)
	}
	for i := range 8 {
		a.p("\tVUNPCKLPS Z%d, Z%d, Z%d\n\tVUNPCKHPS Z%d, Z%d, Z%d", 2*i+1, 2*i, 16+2*i, 2*i+1, 2*i, 17+2*i)
	}
	for i := range 4 {
		p, q, r, s := 16+4*i, 17+4*i, 18+4*i, 19+4*i
		a.p("\tVUNPCKLPD Z%d, Z%d, Z%d\n\tVUNPCKHPD Z%d, Z%d, Z%d", r, p, 4*i, r, p, 4*i+1)
		a.p("\tVUNPCKLPD Z%d, Z%d, Z%d\n\tVUNPCKHPD Z%d, Z%d, Z%d", s, q, 4*i+2, s, q, 4*i+3)
	}
	shuffle := func(imm string, hi, lo, dst int) { a.p("\tVSHUFF32X4 $%s, Z%d, Z%d, Z%d", imm, hi, lo, dst) }
	for j := range 4 {
		shuffle("0x88", 4+j, j, 16+j)
		shuffle("0xdd", 4+j, j, 20+j)
		shuffle("0x88", 12+j, 8+j, 24+j)
		shuffle("0xdd", 12+j, 8+j, 28+j)
	}
	for j := range 4 {
		shuffle("0x88", 24+j, 16+j, j)
		shuffle("0xdd", 24+j, 16+j, 8+j)
		shuffle("0x88", 28+j, 20+j, 4+j)
		shuffle("0xdd", 28+j, 20+j, 12+j)
	}
	for k := range 16 {
		a.p("\tVMOVUPS Z%d, (DI)\n\tADDQ R8, DI", k)
	}
	a.p("\tVZEROUPPER\n\tRET\n")
}

// pack14 goes through every row of the source once: rows lie far apart, and what follows a row in memory is fetched by the processor.
func pack14(a, d *asm) {
	d.p("// pack14 copies, from rows that are ss bytes apart, tiles that begin step bytes apart into tiles that begin pitch bytes apart:\n// dst[t][r][:14] = src[r][t·step:][:14]. It reads, and in the last row writes, 16.\n//\n//go:noescape\nfunc pack14(dst, src unsafe.Pointer, ss uintptr, rows, tiles int, step, pitch uintptr)\n")
	a.p("// func pack14(dst, src unsafe.Pointer, ss uintptr, rows, tiles int, step, pitch uintptr)\nTEXT ·pack14(SB), NOSPLIT, $0-56")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ ss+16(FP), R9\n\tMOVQ rows+24(FP), CX\n\tMOVQ tiles+32(FP), DX\n\tMOVQ step+40(FP), R10\n\tMOVQ pitch+48(FP), R11")
	a.p("pack14_r:\n\tMOVQ DI, R12\n\tMOVQ SI, R13\n\tMOVQ DX, BX\npack14_t:\n\tVMOVUPS (R13), Z0\n\tPREFETCHT0 (R13)(R9*2)\n\tVMOVUPS Z0, (R12)\n\tADDQ R10, R13\n\tADDQ R11, R12\n\tSUBQ $1, BX\n\tJNZ pack14_t")
	a.p("\tADDQ $56, DI\n\tADDQ R9, SI\n\tSUBQ $1, CX\n\tJNZ pack14_r\n\tVZEROUPPER\n\tRET\n")
}

// transpose8 is the AVX2 transpose of 8×8.
func transpose8(a, d *asm) {
	d.p("// transpose8 transposes an 8×8 block: dst[k][r] = src[r][k], rows ds and ss bytes apart, and fetches the\n// block next bytes after src.\n//\n//go:noescape\nfunc transpose8(dst, src unsafe.Pointer, ds, ss, next uintptr)\n")
	a.p("// func transpose8(dst, src unsafe.Pointer, ds, ss, next uintptr)\nTEXT ·transpose8(SB), NOSPLIT, $0-40")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ ds+16(FP), R8\n\tMOVQ ss+24(FP), R9\n\tMOVQ next+32(FP), R10")
	for r := range 8 {
		a.p("\tVMOVUPS (SI), Y%d\n\tPREFETCHT0 (SI)(R10*1)\n\tADDQ R9, SI", r)
	}
	for i := range 4 {
		a.p("\tVUNPCKLPS Y%d, Y%d, Y%d\n\tVUNPCKHPS Y%d, Y%d, Y%d", 2*i+1, 2*i, 8+2*i, 2*i+1, 2*i, 9+2*i)
	}
	for i := range 2 {
		p, q, r, s := 8+4*i, 9+4*i, 10+4*i, 11+4*i
		a.p("\tVUNPCKLPD Y%d, Y%d, Y%d\n\tVUNPCKHPD Y%d, Y%d, Y%d", r, p, 4*i, r, p, 4*i+1)
		a.p("\tVUNPCKLPD Y%d, Y%d, Y%d\n\tVUNPCKHPD Y%d, Y%d, Y%d", s, q, 4*i+2, s, q, 4*i+3)
	}
	for j := range 4 {
		a.p("\tVPERM2F128 $0x20, Y%d, Y%d, Y%d\n\tVPERM2F128 $0x31, Y%d, Y%d, Y%d", 4+j, j, 8+j, 4+j, j, 12+j)
	}
	for k := range 8 {
		a.p("\tVMOVUPS Y%d, (DI)\n\tADDQ R8, DI", 8+k)
	}
	a.p("\tVZEROUPPER\n\tRET\n")
}
