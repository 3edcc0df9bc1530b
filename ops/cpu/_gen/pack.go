package main

// packs writes the strided copies that fill packed panels, and a 16×16 transpose, for AVX-512.
func packs(a, d *asm) {
	for _, w := range []int{32, 14} {
		name := "pack" + itoa(w)
		d.p("// %s copies rows of %d floats that are ss bytes apart: dst[r][:%d] = src[r][:%d]. The 14-wide one reads, and", name, w, w, w)
		d.p("// in the last row writes, 16.\n//\n//go:noescape\nfunc %s(dst, src unsafe.Pointer, ss uintptr, rows int)\n", name)
		a.p("// func %s(dst, src unsafe.Pointer, ss uintptr, rows int)\nTEXT ·%s(SB), NOSPLIT, $0-32", name, name)
		a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ ss+16(FP), R9\n\tMOVQ rows+24(FP), CX\n%s_l:", name)
		a.p("\tVMOVUPS (SI), Z0")
		if w == 32 {
			a.p("\tVMOVUPS 64(SI), Z1")
		}
		a.p("\tVMOVUPS Z0, (DI)")
		if w == 32 {
			a.p("\tVMOVUPS Z1, 64(DI)")
		}
		a.p("\tADDQ $%d, DI\n\tADDQ R9, SI\n\tSUBQ $1, CX\n\tJNZ %s_l\n\tVZEROUPPER\n\tRET\n", 4*w, name)
	}
	transpose8(a, d)
	d.p("// transpose16 transposes a 16×16 block: dst[k][r] = src[r][k], rows ds and ss bytes apart, and fetches the\n// block next bytes after src.\n//\n//go:noescape\nfunc transpose16(dst, src unsafe.Pointer, ds, ss, next uintptr)\n")
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
