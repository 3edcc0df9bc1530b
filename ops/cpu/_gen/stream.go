package main

// streams writes the kernels that go once over memory, in AVX2 for both extensions: they wait for memory, not for
// arithmetic. All take channel counts that are multiples of 8; the Go caller does the rest.
func streams(a, d *asm) {
	bnApply(a, d)
	bnSums(a, d)
	bnBackSums(a, d)
	bnBackApply(a, d)
	sgd(a, d)
}

// bnApply: dst = (src-mean)·scale + beta (+ res), then max 0, over pixels × c. The difference comes first: folded into one
// multiply-add the rounding would grow with the mean.
func bnApply(a, d *asm) {
	d.p("// bnApplyAsm is dst[p][k] = (src[p][k]-coef[k])·coef[c+k] + coef[2c+k] (+ res[p][k] unless nil), and max with low[0] (-inf\n// or 0).\n//\n//go:noescape\nfunc bnApplyAsm(dst, src, res, coef unsafe.Pointer, pixels, c int, low unsafe.Pointer)\n")
	a.p("// func bnApplyAsm(dst, src, res, coef unsafe.Pointer, pixels, c int, low unsafe.Pointer)\nTEXT ·bnApplyAsm(SB), NOSPLIT, $0-56")
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ res+16(FP), R8\n\tMOVQ coef+24(FP), R9\n\tMOVQ pixels+32(FP), CX\n\tMOVQ c+40(FP), DX\n\tMOVQ low+48(FP), AX\n\tVBROADCASTSS (AX), Y3")
	a.p("\tSHLQ $2, DX\n\tLEAQ (R9)(DX*1), R10\n\tLEAQ (R10)(DX*1), R11\n\tTESTQ R8, R8\n\tJNZ bna_r")
	for _, res := range []bool{false, true} {
		l := "bna_p"
		if res {
			l = "bna_r"
		}
		a.p("%s:\n\tXORQ BX, BX", l)
		a.p("%s_c:\n\tVMOVUPS (SI)(BX*1), Y0\n\tVSUBPS (R9)(BX*1), Y0, Y0\n\tVMOVUPS (R11)(BX*1), Y1\n\tVFMADD132PS (R10)(BX*1), Y1, Y0", l)
		if res {
			a.p("\tVADDPS (R8)(BX*1), Y0, Y0")
		}
		a.p("\tVMAXPS Y0, Y3, Y0\n\tVMOVUPS Y0, (DI)(BX*1)\n\tADDQ $32, BX\n\tCMPQ BX, DX\n\tJLT %s_c", l)
		a.p("\tADDQ DX, DI\n\tADDQ DX, SI")
		if res {
			a.p("\tADDQ DX, R8")
		}
		a.p("\tSUBQ $1, CX\n\tJNZ %s\n\tVZEROUPPER\n\tRET\n", l)
	}
}

// bnSums: sum and sum of squares of x - shift over pixels, for 8 channels at a time.
func bnSums(a, d *asm) {
	d.p("// bnSumsAsm is sum[k] = Σ (x[p][k]-shift[k]), sq[k] = Σ (x[p][k]-shift[k])².\n//\n//go:noescape\nfunc bnSumsAsm(sum, sq, x, shift unsafe.Pointer, pixels, c int)\n")
	a.p("// func bnSumsAsm(sum, sq, x, shift unsafe.Pointer, pixels, c int)\nTEXT ·bnSumsAsm(SB), NOSPLIT, $0-48")
	a.p("\tMOVQ sum+0(FP), DI\n\tMOVQ sq+8(FP), R8\n\tMOVQ x+16(FP), SI\n\tMOVQ shift+24(FP), R9\n\tMOVQ c+40(FP), DX\n\tSHLQ $2, DX\n\tXORQ BX, BX")
	a.p("bns_c:\n\tMOVQ pixels+32(FP), CX\n\tLEAQ (SI)(BX*1), AX\n\tVMOVUPS (R9)(BX*1), Y2\n\tVPXOR Y0, Y0, Y0\n\tVPXOR Y1, Y1, Y1")
	a.p("bns_p:\n\tVMOVUPS (AX), Y3\n\tVSUBPS Y2, Y3, Y3\n\tVADDPS Y3, Y0, Y0\n\tVFMADD231PS Y3, Y3, Y1\n\tADDQ DX, AX\n\tSUBQ $1, CX\n\tJNZ bns_p")
	a.p("\tVMOVUPS Y0, (DI)(BX*1)\n\tVMOVUPS Y1, (R8)(BX*1)\n\tADDQ $32, BX\n\tCMPQ BX, DX\n\tJLT bns_c\n\tVZEROUPPER\n\tRET\n")
}

// bnBackSums: Σ dz and Σ dz·(x-mean), dz = dout where out > 0.
func bnBackSums(a, d *asm) {
	d.p("// bnBackSumsAsm is sum[k] = Σ dz, dot[k] = Σ dz·(x[p][k]-mean[k]), dz being dout[p][k] where out[p][k] > 0, or everywhere\n// when out is nil.\n//\n//go:noescape\nfunc bnBackSumsAsm(sum, dot, dout, out, x, mean unsafe.Pointer, pixels, c int)\n")
	a.p("// func bnBackSumsAsm(sum, dot, dout, out, x, mean unsafe.Pointer, pixels, c int)\nTEXT ·bnBackSumsAsm(SB), NOSPLIT, $0-64")
	a.p("\tMOVQ sum+0(FP), DI\n\tMOVQ dot+8(FP), R8\n\tMOVQ c+56(FP), DX\n\tMOVQ mean+40(FP), R9\n\tSHLQ $2, DX\n\tXORQ BX, BX\n\tVPXOR Y7, Y7, Y7")
	a.p("bbs_c:\n\tMOVQ pixels+48(FP), CX\n\tMOVQ dout+16(FP), AX\n\tMOVQ x+32(FP), SI\n\tMOVQ out+24(FP), R10\n\tADDQ BX, AX\n\tADDQ BX, SI\n\tVMOVUPS (R9)(BX*1), Y2\n\tVPXOR Y0, Y0, Y0\n\tVPXOR Y1, Y1, Y1\n\tTESTQ R10, R10\n\tJZ bbs_n\n\tADDQ BX, R10")
	a.p("bbs_p:\n\tVMOVUPS (R10), Y4\n\tVCMPPS $14, Y7, Y4, Y4\n\tVANDPS (AX), Y4, Y4\n\tVMOVUPS (SI), Y3\n\tVSUBPS Y2, Y3, Y3\n\tVADDPS Y4, Y0, Y0\n\tVFMADD231PS Y3, Y4, Y1\n\tADDQ DX, AX\n\tADDQ DX, SI\n\tADDQ DX, R10\n\tSUBQ $1, CX\n\tJNZ bbs_p\n\tJMP bbs_e")
	a.p("bbs_n:\n\tVMOVUPS (AX), Y4\n\tVMOVUPS (SI), Y3\n\tVSUBPS Y2, Y3, Y3\n\tVADDPS Y4, Y0, Y0\n\tVFMADD231PS Y3, Y4, Y1\n\tADDQ DX, AX\n\tADDQ DX, SI\n\tSUBQ $1, CX\n\tJNZ bbs_n")
	a.p("bbs_e:\n\tVMOVUPS Y0, (DI)(BX*1)\n\tVMOVUPS Y1, (R8)(BX*1)\n\tADDQ $32, BX\n\tCMPQ BX, DX\n\tJLT bbs_c\n\tVZEROUPPER\n\tRET\n")
}

// bnBackApply: dx = a·(dz-m) + b·(x-mean): differences first, for what is left of them is small when few samples share a
// statistic.
func bnBackApply(a, d *asm) {
	d.p("// bnBackApplyAsm is dx[p][k] = coef[k]·(dz-coef[c+k]) + coef[2c+k]·(x[p][k]-coef[3c+k]), dz as in bnBackSumsAsm; unless dres is nil\n// dres[p][k] = dz, added to it when add is 1.\n//\n//go:noescape\nfunc bnBackApplyAsm(dx, dres, dout, out, x, coef unsafe.Pointer, pixels, c, add int)\n")
	a.p("// func bnBackApplyAsm(dx, dres, dout, out, x, coef unsafe.Pointer, pixels, c, add int)\nTEXT ·bnBackApplyAsm(SB), NOSPLIT, $0-72")
	a.p("\tMOVQ dx+0(FP), DI\n\tMOVQ dres+8(FP), R8\n\tMOVQ dout+16(FP), AX\n\tMOVQ out+24(FP), R10\n\tMOVQ x+32(FP), SI\n\tMOVQ coef+40(FP), R9\n\tMOVQ pixels+48(FP), CX\n\tMOVQ c+56(FP), DX\n\tMOVQ add+64(FP), R13\n\tSHLQ $2, DX\n\tLEAQ (R9)(DX*1), R11\n\tLEAQ (R11)(DX*1), R12\n\tLEAQ (R12)(DX*1), R14\n\tVPXOR Y7, Y7, Y7")
	a.p("bba_p:\n\tXORQ BX, BX")
	a.p("bba_c:\n\tVMOVUPS (AX)(BX*1), Y4\n\tTESTQ R10, R10\n\tJZ bba_m\n\tVMOVUPS (R10)(BX*1), Y5\n\tVCMPPS $14, Y7, Y5, Y5\n\tVANDPS Y5, Y4, Y4")
	a.p("bba_m:\n\tVSUBPS (R11)(BX*1), Y4, Y0\n\tVMULPS (R9)(BX*1), Y0, Y0\n\tVMOVUPS (SI)(BX*1), Y1\n\tVSUBPS (R14)(BX*1), Y1, Y1\n\tVFMADD231PS (R12)(BX*1), Y1, Y0\n\tVMOVUPS Y0, (DI)(BX*1)\n\tTESTQ R8, R8\n\tJZ bba_n\n\tTESTQ R13, R13\n\tJZ bba_s\n\tVADDPS (R8)(BX*1), Y4, Y4")
	a.p("bba_s:\n\tVMOVUPS Y4, (R8)(BX*1)")
	a.p("bba_n:\n\tADDQ $32, BX\n\tCMPQ BX, DX\n\tJLT bba_c\n\tADDQ DX, DI\n\tADDQ DX, AX\n\tADDQ DX, SI\n\tTESTQ R8, R8\n\tJZ bba_x\n\tADDQ DX, R8")
	a.p("bba_x:\n\tTESTQ R10, R10\n\tJZ bba_y\n\tADDQ DX, R10")
	a.p("bba_y:\n\tSUBQ $1, CX\n\tJNZ bba_p\n\tVZEROUPPER\n\tRET\n")
}

// sgd: v = m·v + g + wd·p; p -= lr·v.
func sgd(a, d *asm) {
	d.p("// sgdAsm is v = h[1]·v + (g + h[2]·p), p -= h[0]·v over n floats, a multiple of 8.\n//\n//go:noescape\nfunc sgdAsm(p, grad, v, h unsafe.Pointer, n int)\n")
	a.p("// func sgdAsm(p, grad, v, h unsafe.Pointer, n int)\nTEXT ·sgdAsm(SB), NOSPLIT, $0-40")
	a.p("\tMOVQ p+0(FP), DI\n\tMOVQ grad+8(FP), SI\n\tMOVQ v+16(FP), R8\n\tMOVQ h+24(FP), R9\n\tMOVQ n+32(FP), CX\n\tVBROADCASTSS (R9), Y0\n\tVBROADCASTSS 4(R9), Y1\n\tVBROADCASTSS 8(R9), Y2")
	a.p("sgd_l:\n\tVMOVUPS (DI), Y3\n\tVMOVUPS (SI), Y4\n\tVMOVUPS (R8), Y5\n\tVFMADD231PS Y3, Y2, Y4\n\tVFMADD231PS Y5, Y1, Y4\n\tVMOVUPS Y4, (R8)\n\tVFNMADD231PS Y4, Y0, Y3\n\tVMOVUPS Y3, (DI)\n\tADDQ $32, DI\n\tADDQ $32, SI\n\tADDQ $32, R8\n\tSUBQ $8, CX\n\tJNZ sgd_l\n\tVZEROUPPER\n\tRET\n")
}
