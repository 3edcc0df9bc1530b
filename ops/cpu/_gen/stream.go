package main

import "fmt"

// streams writes the kernels that go once over memory. All take channel counts that are multiples of the vector's length; the
// Go caller does the rest. ReLU's gradient goes by a mask of one bit a value, lowest bit first.
func streams(a *asm, d *declarations) {
	a.p("DATA bits<>+0(SB)/8, $0x0000000200000001\nDATA bits<>+8(SB)/8, $0x0000000800000004\nDATA bits<>+16(SB)/8, $0x0000002000000010\nDATA bits<>+24(SB)/8, $0x0000008000000040\nGLOBL bits<>(SB), RODATA, $32\n")
	for _, v := range []stream{{avx512, "512"}, {avx2, "8"}} {
		v.apply(a, d)
		v.sums(a, d)
		v.backSums(a, d)
		v.backApply(a, d)
	}
	sgd(a, &d.eight)
	add(a, &d.eight)
}

// stream is one extension's kernels.
type stream struct {
	isa
	suffix string
}

func (v stream) wide() bool { return v.bytes == 64 }

func (v stream) r(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }

func (v stream) clear(a *asm, i int) { a.p("\tVXORPS %[1]s, %[1]s, %[1]s", v.r(i)) }

// head writes a kernel's declaration.
func (v stream) head(a *asm, d *declarations, name, doc, args string, size int) string {
	name += v.suffix
	d.of(v.isa).p("// %s is %s\n//\n//go:noescape\nfunc %s(%s)\n", name, doc, name, args)
	a.p("// func %s(%s)\nTEXT ·%s(SB), NOSPLIT, $0-%d", name, args, name, size)
	return name
}

// masked loads the gradient at (at) into register i where the bits at (mask) are set; with AVX2, bits is kept in register 15.
func (v stream) masked(a *asm, at, mask string, i int) {
	if v.wide() {
		a.p("\tKMOVW %s, K1\n\tVMOVUPS.Z %s, K1, %s", mask, at, v.r(i))
		return
	}
	a.p("\tVPBROADCASTB %s, Y%d\n\tVPAND Y15, Y%d, Y%d\n\tVPCMPEQD Y15, Y%d, Y%d\n\tVANDPS %s, Y%d, Y%d", mask, i, i, i, i, i, at, i, i)
}

// apply: dst = (src-mean)·scale + beta (+ res), then max 0, over pixels × c. The difference comes first: folded into one
// multiply-add the rounding would grow with the mean.
func (v stream) apply(a *asm, d *declarations) {
	n := v.head(a, d, "bnApply", "dst[p][k] = max((src[p][k]-coef[k])·coef[c+k] + coef[2c+k] + res[p][k], low[0]), res nil counting as\n// zeros; unless mask is nil it receives where the result is positive.", "dst, src, res, coef, mask unsafe.Pointer, pixels, c int, low unsafe.Pointer", 64)
	a.p("\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ res+16(FP), R8\n\tMOVQ coef+24(FP), R9\n\tMOVQ mask+32(FP), R12\n\tMOVQ pixels+40(FP), CX\n\tMOVQ c+48(FP), DX\n\tMOVQ low+56(FP), AX\n\tVBROADCASTSS (AX), %s", v.r(3))
	v.clear(a, 4)
	a.p("\tSHLQ $2, DX\n\tLEAQ (R9)(DX*1), R10\n\tLEAQ (R10)(DX*1), R11\n\tTESTQ R12, R12\n\tJNZ %s_m\n\tTESTQ R8, R8\n\tJNZ %s_r", n, n)
	for _, kind := range []string{"p", "r", "m", "q"} { // plain; with res; with mask; with both
		l := n + "_" + kind
		a.p("%s:", l)
		if kind == "m" {
			a.p("\tTESTQ R8, R8\n\tJNZ %s_q\n%s_m2:", n, n)
			l = n + "_m2"
		}
		a.p("\tXORQ BX, BX")
		a.p("%s_c:\n\tVMOVUPS (SI)(BX*1), %s\n\tVSUBPS (R9)(BX*1), %s, %s\n\tVMOVUPS (R11)(BX*1), %s\n\tVFMADD132PS (R10)(BX*1), %s, %s", l, v.r(0), v.r(0), v.r(0), v.r(1), v.r(1), v.r(0))
		if kind == "r" || kind == "q" {
			a.p("\tVADDPS (R8)(BX*1), %s, %s", v.r(0), v.r(0))
		}
		a.p("\tVMAXPS %s, %s, %s\n\tVMOVUPS %s, (DI)(BX*1)", v.r(0), v.r(3), v.r(0), v.r(0))
		if kind == "m" || kind == "q" {
			if v.wide() {
				a.p("\tVCMPPS $30, Z4, Z0, K1\n\tKMOVW K1, (R12)\n\tADDQ $2, R12")
			} else {
				a.p("\tVCMPPS $30, Y4, Y0, Y1\n\tVMOVMSKPS Y1, AX\n\tMOVB AX, (R12)\n\tADDQ $1, R12")
			}
		}
		a.p("\tADDQ $%d, BX\n\tCMPQ BX, DX\n\tJLT %s_c\n\tADDQ DX, DI\n\tADDQ DX, SI", v.bytes, l)
		if kind == "r" || kind == "q" {
			a.p("\tADDQ DX, R8")
		}
		a.p("\tSUBQ $1, CX\n\tJNZ %s\n\tVZEROUPPER\n\tRET", l)
	}
	a.p("")
}

// blocks writes body for blocks of 4 vectors of channels while there are as many, then for single ones. BX is the byte of the
// block's first channel, DX the end.
func (v stream) blocks(a *asm, name string, body func(label string, vectors int)) {
	a.p("\tXORQ BX, BX")
	for _, n := range []int{4, 1} {
		l := fmt.Sprintf("%s_b%d", name, n)
		a.p("%s:\n\tLEAQ %d(BX), AX\n\tCMPQ AX, DX\n\tJGT %s_end", l, n*v.bytes, l)
		body(l, n)
		a.p("\tADDQ $%d, BX\n\tJMP %s\n%s_end:", n*v.bytes, l, l)
	}
	a.p("\tVZEROUPPER\n\tRET\n")
}

// fetched is how many bytes ahead a pass that only reads fetches, which by itself does not keep the memory busy.
const fetched = 4096

// ahead fetches what n vectors at the given places will be.
func (v stream) ahead(a *asm, n int, places ...string) {
	for _, place := range places {
		for at := 0; at < n*v.bytes; at += 64 {
			a.p("\tPREFETCHT0 %d(%s)", fetched+at, place)
		}
	}
}

// sums: sum and sum of squares of x - shift over pixels.
func (v stream) sums(a *asm, d *declarations) {
	n := v.head(a, d, "bnSums", "sum[k] = Σ (x[p][k]-shift[k]), sq[k] = Σ (x[p][k]-shift[k])², pixels being stride bytes apart.", "sum, sq, x, shift unsafe.Pointer, pixels, c int, stride uintptr", 56)
	a.p("\tMOVQ sum+0(FP), DI\n\tMOVQ sq+8(FP), R8\n\tMOVQ shift+24(FP), R9\n\tMOVQ c+40(FP), DX\n\tSHLQ $2, DX\n\tMOVQ stride+48(FP), R10")
	v.blocks(a, n, func(l string, nv int) {
		a.p("\tMOVQ pixels+32(FP), CX\n\tMOVQ x+16(FP), SI\n\tADDQ BX, SI")
		for i := range nv {
			v.clear(a, i)
			v.clear(a, 4+i)
			a.p("\tVMOVUPS %d(R9)(BX*1), %s", i*v.bytes, v.r(8+i))
		}
		a.p("%s_p:", l)
		for i := range nv {
			t := v.r(12 + i%2)
			a.p("\tVMOVUPS %d(SI), %s\n\tVSUBPS %s, %s, %s\n\tVADDPS %s, %s, %s\n\tVFMADD231PS %s, %s, %s", i*v.bytes, t, v.r(8+i), t, t, t, v.r(i), v.r(i), t, t, v.r(4+i))
		}
		v.ahead(a, nv, "SI")
		a.p("\tADDQ R10, SI\n\tSUBQ $1, CX\n\tJNZ %s_p", l)
		for i := range nv {
			a.p("\tVMOVUPS %s, %d(DI)(BX*1)\n\tVMOVUPS %s, %d(R8)(BX*1)", v.r(i), i*v.bytes, v.r(4+i), i*v.bytes)
		}
	})
}

// backSums: Σ dz and Σ dz·(x-mean), dz = dout where the mask is set.
func (v stream) backSums(a *asm, d *declarations) {
	n := v.head(a, d, "bnBackSums", "sum[k] = Σ dz, dot[k] = Σ dz·(x[p][k]-mean[k]), dz being dout[p][k] where mask's bit is set, or everywhere\n// when mask is nil.", "sum, dot, dout, mask, x, mean unsafe.Pointer, pixels, c int", 64)
	a.p("\tMOVQ sum+0(FP), DI\n\tMOVQ dot+8(FP), R8\n\tMOVQ mean+40(FP), R9\n\tMOVQ c+56(FP), DX\n\tMOVQ DX, R12\n\tSHRQ $3, R12\n\tSHLQ $2, DX\n\tVMOVUPS bits<>(SB), Y15")
	v.blocks(a, n, func(l string, nv int) {
		a.p("\tMOVQ pixels+48(FP), CX\n\tMOVQ dout+16(FP), R11\n\tADDQ BX, R11\n\tMOVQ x+32(FP), SI\n\tADDQ BX, SI")
		for i := range nv {
			v.clear(a, i)
			v.clear(a, 4+i)
			a.p("\tVMOVUPS %d(R9)(BX*1), %s", i*v.bytes, v.r(8+i))
		}
		a.p("\tMOVQ mask+24(FP), R10\n\tTESTQ R10, R10\n\tJZ %s_n\n\tMOVQ BX, AX\n\tSHRQ $5, AX\n\tADDQ AX, R10", l)
		for _, masked := range []bool{true, false} {
			m := l + "_n"
			if masked {
				m = l + "_m"
			}
			a.p("%s:", m)
			for i := range nv {
				at := fmt.Sprintf("%d(R11)", i*v.bytes)
				if masked {
					v.masked(a, at, fmt.Sprintf("%d(R10)", i*v.bytes/32), 12)
				} else {
					a.p("\tVMOVUPS %s, %s", at, v.r(12))
				}
				a.p("\tVMOVUPS %d(SI), %s\n\tVSUBPS %s, %s, %s\n\tVADDPS %s, %s, %s\n\tVFMADD231PS %s, %s, %s", i*v.bytes, v.r(13), v.r(8+i), v.r(13), v.r(13), v.r(12), v.r(i), v.r(i), v.r(13), v.r(12), v.r(4+i))
			}
			v.ahead(a, nv, "R11", "SI")
			a.p("\tADDQ DX, R11\n\tADDQ DX, SI")
			if masked {
				a.p("\tADDQ R12, R10")
			}
			a.p("\tSUBQ $1, CX\n\tJNZ %s", m)
			if masked {
				a.p("\tJMP %s_s", l)
			}
		}
		a.p("%s_s:", l)
		for i := range nv {
			a.p("\tVMOVUPS %s, %d(DI)(BX*1)\n\tVMOVUPS %s, %d(R8)(BX*1)", v.r(i), i*v.bytes, v.r(4+i), i*v.bytes)
		}
	})
}

// backApply: dx = a·(dz-m) + b·(x-mean): differences first, for what is left of them is small when few samples share a
// statistic.
func (v stream) backApply(a *asm, d *declarations) {
	n := v.head(a, d, "bnBackApply", "dx[p][k] = coef[k]·(dz-coef[c+k]) + coef[2c+k]·(x[p][k]-coef[3c+k]), dz as in bnBackSums; unless dres is nil\n// dres[p][k] = dz, added to it when add is 1.", "dx, dres, dout, mask, x, coef unsafe.Pointer, pixels, c, add int", 72)
	a.p("\tMOVQ dx+0(FP), DI\n\tMOVQ dres+8(FP), R8\n\tMOVQ dout+16(FP), AX\n\tMOVQ mask+24(FP), R10\n\tMOVQ x+32(FP), SI\n\tMOVQ coef+40(FP), R9\n\tMOVQ pixels+48(FP), CX\n\tMOVQ c+56(FP), DX\n\tMOVQ add+64(FP), R13\n\tSHLQ $2, DX\n\tLEAQ (R9)(DX*1), R11\n\tLEAQ (R11)(DX*1), R12\n\tLEAQ (R12)(DX*1), R14\n\tVMOVUPS bits<>(SB), Y15")
	a.p("%s_p:\n\tXORQ BX, BX", n)
	a.p("%s_c:\n\tTESTQ R10, R10\n\tJZ %s_u", n, n)
	v.masked(a, "(AX)(BX*1)", "(R10)", 4)
	a.p("\tADDQ $%d, R10\n\tJMP %s_m\n%s_u:\n\tVMOVUPS (AX)(BX*1), %s", v.bytes/32, n, n, v.r(4))
	a.p("%s_m:\n\tVSUBPS (R11)(BX*1), %s, %s\n\tVMULPS (R9)(BX*1), %s, %s\n\tVMOVUPS (SI)(BX*1), %s\n\tVSUBPS (R14)(BX*1), %s, %s\n\tVFMADD231PS (R12)(BX*1), %s, %s\n\tVMOVUPS %s, (DI)(BX*1)", n, v.r(4), v.r(0), v.r(0), v.r(0), v.r(1), v.r(1), v.r(1), v.r(1), v.r(0), v.r(0))
	a.p("\tTESTQ R8, R8\n\tJZ %s_n\n\tTESTQ R13, R13\n\tJZ %s_s\n\tVADDPS (R8)(BX*1), %s, %s", n, n, v.r(4), v.r(4))
	a.p("%s_s:\n\tVMOVUPS %s, (R8)(BX*1)", n, v.r(4))
	a.p("%s_n:\n\tADDQ $%d, BX\n\tCMPQ BX, DX\n\tJLT %s_c\n\tADDQ DX, DI\n\tADDQ DX, AX\n\tADDQ DX, SI\n\tTESTQ R8, R8\n\tJZ %s_x\n\tADDQ DX, R8", n, v.bytes, n, n)
	a.p("%s_x:\n\tSUBQ $1, CX\n\tJNZ %s_p\n\tVZEROUPPER\n\tRET\n", n, n)
}

// sgd: v = m·v + g + wd·p; p -= lr·v.
func sgd(a, d *asm) {
	d.p("// sgdAsm is v = h[1]·v + (g + h[2]·p), p -= h[0]·v over n floats, a multiple of 8.\n//\n//go:noescape\nfunc sgdAsm(p, grad, v, h unsafe.Pointer, n int)\n")
	a.p("// func sgdAsm(p, grad, v, h unsafe.Pointer, n int)\nTEXT ·sgdAsm(SB), NOSPLIT, $0-40")
	a.p("\tMOVQ p+0(FP), DI\n\tMOVQ grad+8(FP), SI\n\tMOVQ v+16(FP), R8\n\tMOVQ h+24(FP), R9\n\tMOVQ n+32(FP), CX\n\tVBROADCASTSS (R9), Y0\n\tVBROADCASTSS 4(R9), Y1\n\tVBROADCASTSS 8(R9), Y2")
	a.p("sgd_l:\n\tVMOVUPS (DI), Y3\n\tVMOVUPS (SI), Y4\n\tVMOVUPS (R8), Y5\n\tVFMADD231PS Y3, Y2, Y4\n\tVFMADD231PS Y5, Y1, Y4\n\tVMOVUPS Y4, (R8)\n\tVFNMADD231PS Y4, Y0, Y3\n\tVMOVUPS Y3, (DI)\n\tADDQ $32, DI\n\tADDQ $32, SI\n\tADDQ $32, R8\n\tSUBQ $8, CX\n\tJNZ sgd_l\n\tVZEROUPPER\n\tRET\n")
}

// add: dst += src.
func add(a, d *asm) {
	d.p("// addAsm is dst += src over n floats, a multiple of 8.\n//\n//go:noescape\nfunc addAsm(dst, src unsafe.Pointer, n int)\n")
	a.p("// func addAsm(dst, src unsafe.Pointer, n int)\nTEXT ·addAsm(SB), NOSPLIT, $0-24\n\tMOVQ dst+0(FP), DI\n\tMOVQ src+8(FP), SI\n\tMOVQ n+16(FP), CX")
	a.p("add_l:\n\tVMOVUPS (DI), Y0\n\tVADDPS (SI), Y0, Y0\n\tVMOVUPS Y0, (DI)\n\tADDQ $32, DI\n\tADDQ $32, SI\n\tSUBQ $8, CX\n\tJNZ add_l\n\tVZEROUPPER\n\tRET\n")
}
