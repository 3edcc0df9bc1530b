package main

import "strings"

// winograd writes the two-dimensional transforms of Winograd's F(4×4,3×3) and F(2×2,5×5) (Lavin and Gray, arXiv:1509.09308), which
// share the points 0, ±1, ±2, ∞ and with them the transform of the input: T·X·Tᵀ as a pass over columns into a private tile,
// then one over its rows, a vector of channels at a time.
//
// Arguments: src is n×n points rs and cs bytes apart; dst is m×m points rd and cd bytes apart; c channels, a multiple of a
// vector's length, lie together at each point; tmp holds 36 vectors.
func winograd(a *asm, d *declarations) {
	for _, t := range transforms {
		t.write(a, d, "512", avx512)
		t.write(a, d, "8", avx2)
	}
}

// transform is a one-dimensional linear map of in points to out points.
type transform struct {
	name, doc string
	in, out   int
	add       bool // add to dst
	spare     int  // with add, a vector that is free whenever an output is ready
	ahead     int  // how many points on the next tile begins, whose new points are prefetched; 0 for none
	consts    []string
	// emit computes from registers Y0… and calls put with the register of every output, in order. Constants are kept in Y15
	// and downwards.
	emit func(p func(string), put func(reg string))
}

// constants are the places of the numbers in winoConstants.
var constants = map[string]int{"4": 0, "5": 1, "8": 2, "sixth": 3, "twelfth": 4, "twentyfourth": 5, "quarter": 6, "2": 7, "16": 8}

var transforms = []transform{
	{name: "winoInput", doc: "Bᵀ·X·B of 6×6 pixels", in: 6, out: 6, ahead: 4, consts: []string{"4", "5"}, emit: func(p, put func(string)) {
		p("VMULPS Y15, Y0, Y6\n\tVFNMADD231PS Y14, Y2, Y6\n\tVADDPS Y4, Y6, Y6") // 4d0 - 5d2 + d4
		put("Y6")
		p("VMOVAPS Y4, Y7\n\tVFNMADD231PS Y15, Y2, Y7\n\tVMOVAPS Y3, Y8\n\tVFNMADD231PS Y15, Y1, Y8") // d4-4d2, d3-4d1
		p("VADDPS Y8, Y7, Y9")
		put("Y9")
		p("VSUBPS Y8, Y7, Y9")
		put("Y9")
		p("VSUBPS Y2, Y4, Y7\n\tVSUBPS Y1, Y3, Y8\n\tVADDPS Y8, Y8, Y8\n\tVADDPS Y8, Y7, Y9")
		put("Y9")
		p("VSUBPS Y8, Y7, Y9")
		put("Y9")
		p("VMULPS Y15, Y1, Y6\n\tVFNMADD231PS Y14, Y3, Y6\n\tVADDPS Y5, Y6, Y6")
		put("Y6")
	}},
	{name: "winoOutput4", doc: "Aᵀ·M·A, 4×4 pixels", in: 6, out: 4, consts: []string{"4", "8"}, emit: func(p, put func(string)) {
		p("VADDPS Y2, Y1, Y6\n\tVSUBPS Y2, Y1, Y7\n\tVADDPS Y4, Y3, Y8\n\tVSUBPS Y4, Y3, Y9") // s d s2 d2
		p("VADDPS Y6, Y0, Y10\n\tVADDPS Y8, Y10, Y10")
		put("Y10")
		p("VADDPS Y9, Y9, Y10\n\tVADDPS Y7, Y10, Y10")
		put("Y10")
		p("VFMADD231PS Y15, Y8, Y6")
		put("Y6")
		p("VADDPS Y5, Y7, Y7\n\tVFMADD231PS Y14, Y9, Y7")
		put("Y7")
	}},
	{name: "winoOutput2", doc: "Aᵀ·M·A, 2×2 pixels", in: 6, out: 2, emit: func(p, put func(string)) {
		p("VADDPS Y2, Y1, Y6\n\tVSUBPS Y2, Y1, Y7\n\tVADDPS Y4, Y3, Y8\n\tVSUBPS Y4, Y3, Y9")
		p("VADDPS Y6, Y0, Y10\n\tVADDPS Y8, Y10, Y10")
		put("Y10")
		p("VADDPS Y9, Y9, Y10\n\tVADDPS Y7, Y10, Y10\n\tVADDPS Y5, Y10, Y10")
		put("Y10")
	}},
	{name: "winoGrad4", doc: "A·Y·Aᵀ of 4×4 pixels of an output's gradient", in: 4, out: 6, ahead: 4, consts: []string{"4", "8"}, emit: func(p, put func(string)) {
		put("Y0")
		p("VADDPS Y2, Y0, Y6\n\tVADDPS Y3, Y1, Y7\n\tVADDPS Y7, Y6, Y8")
		put("Y8")
		p("VSUBPS Y7, Y6, Y8")
		put("Y8")
		p("VMOVAPS Y0, Y6\n\tVFMADD231PS Y15, Y2, Y6\n\tVADDPS Y1, Y1, Y7\n\tVFMADD231PS Y14, Y3, Y7\n\tVADDPS Y7, Y6, Y8")
		put("Y8")
		p("VSUBPS Y7, Y6, Y8")
		put("Y8")
		put("Y3")
	}},
	{name: "winoGrad2", doc: "A·Y·Aᵀ of 2×2 pixels of an output's gradient", in: 2, out: 6, ahead: 2, emit: func(p, put func(string)) {
		put("Y0")
		p("VADDPS Y1, Y0, Y6")
		put("Y6")
		p("VSUBPS Y1, Y0, Y6")
		put("Y6")
		p("VADDPS Y1, Y1, Y7\n\tVADDPS Y7, Y0, Y6")
		put("Y6")
		p("VSUBPS Y7, Y0, Y6")
		put("Y6")
		put("Y1")
	}},
	{name: "winoWeight3", doc: "G·W·Gᵀ of 3×3 taps", in: 3, out: 6, consts: []string{"sixth", "twelfth", "twentyfourth", "quarter"}, emit: func(p, put func(string)) {
		p("VMULPS Y12, Y0, Y6")
		put("Y6")
		p("VADDPS Y2, Y0, Y6\n\tVMULPS Y15, Y6, Y6\n\tVMULPS Y15, Y1, Y7\n\tVADDPS Y7, Y6, Y8\n\tVXORPS Y9, Y9, Y9\n\tVSUBPS Y8, Y9, Y8")
		put("Y8")
		p("VSUBPS Y6, Y7, Y8")
		put("Y8")
		p("VMULPS Y13, Y0, Y6\n\tVFMADD231PS Y15, Y2, Y6\n\tVMULPS Y14, Y1, Y7\n\tVADDPS Y7, Y6, Y8")
		put("Y8")
		p("VSUBPS Y7, Y6, Y8")
		put("Y8")
		put("Y2")
	}},
	{name: "winoWeight5", doc: "G·W·Gᵀ of 5×5 taps", in: 5, out: 6, consts: []string{"sixth", "4", "twentyfourth", "quarter", "16"}, emit: func(p, put func(string)) {
		p("VMULPS Y12, Y0, Y6")
		put("Y6")
		p("VADDPS Y2, Y0, Y6\n\tVADDPS Y4, Y6, Y6\n\tVMULPS Y15, Y6, Y6\n\tVADDPS Y3, Y1, Y7\n\tVMULPS Y15, Y7, Y7") // even/6, odd/6
		p("VADDPS Y7, Y6, Y8\n\tVXORPS Y9, Y9, Y9\n\tVSUBPS Y8, Y9, Y8")
		put("Y8")
		p("VSUBPS Y6, Y7, Y8")
		put("Y8")
		p("VMOVAPS Y0, Y6\n\tVFMADD231PS Y14, Y2, Y6\n\tVFMADD231PS Y11, Y4, Y6\n\tVMULPS Y13, Y6, Y6") // (w0+4w2+16w4)/24
		p("VMOVAPS Y1, Y7\n\tVFMADD231PS Y14, Y3, Y7\n\tVADDPS Y7, Y7, Y7\n\tVMULPS Y13, Y7, Y7\n\tVADDPS Y7, Y6, Y8")
		put("Y8")
		p("VSUBPS Y7, Y6, Y8")
		put("Y8")
		put("Y4")
	}},
	{name: "winoWeightGrad3", doc: "Gᵀ·U·G, added to 3×3 taps", in: 6, out: 3, add: true, spare: 10, consts: []string{"sixth", "twelfth", "twentyfourth", "quarter"}, emit: weightGrad3},
	{name: "winoWeightFresh3", doc: "Gᵀ·U·G, 3×3 taps", in: 6, out: 3, consts: []string{"sixth", "twelfth", "twentyfourth", "quarter"}, emit: weightGrad3},
	{name: "winoWeightGrad5", doc: "Gᵀ·U·G, added to 5×5 taps", in: 6, out: 5, add: true, spare: 1, consts: []string{"sixth", "4", "twentyfourth", "quarter", "16"}, emit: weightGrad5},
	{name: "winoWeightFresh5", doc: "Gᵀ·U·G, 5×5 taps", in: 6, out: 5, consts: []string{"sixth", "4", "twentyfourth", "quarter", "16"}, emit: weightGrad5},
}

// weightGrad3: u0/4 - (u1+u2)/6 + (u3+u4)/24; (u2-u1)/6 + (u3-u4)/12; -(u1+u2)/6 + (u3+u4)/6 + u5.
func weightGrad3(p, put func(string)) {
	p("VADDPS Y2, Y1, Y6\n\tVMULPS Y15, Y6, Y6\n\tVADDPS Y4, Y3, Y7\n\tVMULPS Y12, Y0, Y8\n\tVSUBPS Y6, Y8, Y8\n\tVFMADD231PS Y13, Y7, Y8")
	put("Y8")
	p("VSUBPS Y1, Y2, Y8\n\tVMULPS Y15, Y8, Y8\n\tVSUBPS Y4, Y3, Y9\n\tVFMADD231PS Y14, Y9, Y8")
	put("Y8")
	p("VSUBPS Y6, Y5, Y8\n\tVFMADD231PS Y15, Y7, Y8")
	put("Y8")
}

// weightGrad5: with s = (u1+u2)/6, d = (u2-u1)/6, e = (u3+u4)/24, o = (u3-u4)/12: u0/4 - s + e; d + o; 4e - s; d + 4o; 16e - s + u5.
func weightGrad5(p, put func(string)) {
	p("VADDPS Y2, Y1, Y6\n\tVMULPS Y15, Y6, Y6\n\tVADDPS Y4, Y3, Y7\n\tVMULPS Y13, Y7, Y7\n\tVSUBPS Y1, Y2, Y8\n\tVMULPS Y15, Y8, Y8")
	p("VSUBPS Y4, Y3, Y9\n\tVADDPS Y9, Y9, Y9\n\tVMULPS Y13, Y9, Y9")
	p("VMULPS Y12, Y0, Y10\n\tVSUBPS Y6, Y10, Y10\n\tVADDPS Y7, Y10, Y10")
	put("Y10")
	p("VADDPS Y9, Y8, Y10")
	put("Y10")
	p("VMULPS Y14, Y7, Y10\n\tVSUBPS Y6, Y10, Y10")
	put("Y10")
	p("VFMADD231PS Y14, Y9, Y8")
	put("Y8")
	p("VSUBPS Y6, Y5, Y10\n\tVFMADD231PS Y11, Y7, Y10")
	put("Y10")
}

func (t transform) write(a *asm, d *declarations, suffix string, v isa) {
	const args = "dst, src unsafe.Pointer, rs, cs, rd, cd uintptr, c int, tmp, k unsafe.Pointer"
	name := t.name + "x" + suffix
	d.of(v).p("// %s is %s; k are the constants of winoConstants.\n//\n//go:noescape\nfunc %s(%s)\n", name, t.doc, name, args)
	a.p("// func %s(%s)\nTEXT ·%s(SB), NOSPLIT, $0-72", name, args, name)
	named := func(s string) string { return strings.ReplaceAll(s, "Y", v.reg) }
	line := func(s string) { a.p("\t%s", named(s)) }
	a.p("\tMOVQ k+64(FP), AX")
	for i, c := range t.consts {
		a.p("\tVBROADCASTSS %d(AX), %s%d", 4*constants[c], v.reg, 15-i)
	}
	a.p("\tMOVQ tmp+56(FP), R14\n\tMOVQ src+8(FP), R8\n\tMOVQ rs+16(FP), AX\n\tMOVQ cs+24(FP), DX\n\tMOVQ cd+40(FP), SI")
	rows := []string{"R8", "R9", "R10", "R11", "R12", "R13"}
	for i := 1; i < t.in; i++ {
		a.p("\tLEAQ (%s)(AX*1), %s", rows[i-1], rows[i])
	}
	a.p("\tMOVQ rd+32(FP), AX\n\tXORQ BX, BX\n%s_c:\n\tMOVQ BX, CX", name)
	// Columns: point (i, b) of src to point (i, b) of tmp, whose rows hold t.in points.
	for b := range t.in {
		if t.ahead > 0 && b+t.ahead >= t.in {
			a.p("\tLEAQ (CX)(DX*%d), R15", t.ahead)
		}
		for i := range t.in {
			a.p("\tVMOVUPS (%s)(CX*1), %s%d", rows[i], v.reg, i)
			if t.ahead > 0 && b+t.ahead >= t.in {
				a.p("\tPREFETCHT0 (%s)(R15*1)", rows[i])
			}
		}
		i := 0
		t.emit(line, func(reg string) {
			a.p("\tVMOVUPS %s, %d(R14)", named(reg), v.bytes*(i*t.in+b))
			i++
		})
		if b+1 < t.in {
			a.p("\tADDQ DX, CX")
		}
	}
	a.p("\tMOVQ dst+0(FP), DI\n\tADDQ BX, DI")
	for i := range t.out {
		for b := range t.in {
			a.p("\tVMOVUPS %d(R14), %s%d", v.bytes*(i*t.in+b), v.reg, b)
		}
		a.p("\tMOVQ DI, CX")
		t.emit(line, func(reg string) {
			reg = named(reg)
			if t.add {
				a.p("\tVADDPS (CX), %s, %s", reg, reg)
			}
			a.p("\tVMOVUPS %s, (CX)\n\tADDQ SI, CX", reg)
		})
		a.p("\tADDQ AX, DI")
	}
	a.p("\tADDQ $%d, BX\n\tMOVQ c+48(FP), CX\n\tSHLQ $2, CX\n\tCMPQ BX, CX\n\tJLT %s_c\n\tVZEROUPPER\n\tRET\n", v.bytes, name)
}
