package main

// winograd writes the two-dimensional transforms of Winograd's F(4×4,3×3) (Lavin and Gray, arXiv:1509.09308), eight channels at
// a time: T·X·Tᵀ as a pass over columns into a private tile, then one over its rows.
//
// Arguments: src is n×n points rs and cs bytes apart; dst is m×m points ds bytes apart in row order; c channels, a multiple
// of 8, lie together at each point; tmp holds 36 vectors.
func winograd(a, d *asm) {
	for _, t := range transforms {
		t.write(a, d)
	}
}

// transform is a one-dimensional linear map of in points to out points.
type transform struct {
	name, doc string
	in, out   int
	grid      bool // dst rows are rd bytes and columns ds bytes apart, instead of ds between all points
	add       bool // add to dst
	consts    []string
	// emit computes from registers Y0… and calls put with the register of every output, in order.
	emit func(p func(string, ...any), put func(reg string))
}

// Constants are kept in Y12…Y15.
var transforms = []transform{
	{name: "winoInput", doc: "Bᵀ·X·B of 6×6 pixels", in: 6, out: 6, consts: []string{"4", "5"}, emit: func(p func(string, ...any), put func(string)) {
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
	{name: "winoOutput", doc: "Aᵀ·M·A, 4×4 pixels", in: 6, out: 4, grid: true, consts: []string{"4", "8"}, emit: func(p func(string, ...any), put func(string)) {
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
	{name: "winoGrad", doc: "A·Y·Aᵀ of 4×4 pixels of an output's gradient", in: 4, out: 6, consts: []string{"4", "8"}, emit: func(p func(string, ...any), put func(string)) {
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
	{name: "winoWeight", doc: "G·W·Gᵀ of 3×3 taps", in: 3, out: 6, consts: []string{"sixth", "twelfth", "twentyfourth", "quarter"}, emit: func(p func(string, ...any), put func(string)) {
		p("VMULPS Y12, Y0, Y6")
		put("Y6")
		p("VADDPS Y2, Y0, Y6\n\tVMULPS Y15, Y6, Y6\n\tVMULPS Y15, Y1, Y7\n\tVADDPS Y7, Y6, Y8\n\tVPXOR Y9, Y9, Y9\n\tVSUBPS Y8, Y9, Y8")
		put("Y8")
		p("VSUBPS Y6, Y7, Y8")
		put("Y8")
		p("VMULPS Y13, Y0, Y6\n\tVFMADD231PS Y15, Y2, Y6\n\tVMULPS Y14, Y1, Y7\n\tVADDPS Y7, Y6, Y8")
		put("Y8")
		p("VSUBPS Y7, Y6, Y8")
		put("Y8")
		put("Y2")
	}},
	{name: "winoWeightGrad", doc: "Gᵀ·U·G, added to 3×3 taps", in: 6, out: 3, add: true, consts: []string{"sixth", "twelfth", "twentyfourth", "quarter"}, emit: func(p func(string, ...any), put func(string)) {
		// u0/4 - (u1+u2)/6 + (u3+u4)/24; (u2-u1)/6 + (u3-u4)/12; -(u1+u2)/6 + (u3+u4)/6 + u5
		p("VADDPS Y2, Y1, Y6\n\tVMULPS Y15, Y6, Y6\n\tVADDPS Y4, Y3, Y7\n\tVMULPS Y12, Y0, Y8\n\tVSUBPS Y6, Y8, Y8\n\tVFMADD231PS Y13, Y7, Y8")
		put("Y8")
		p("VSUBPS Y1, Y2, Y8\n\tVMULPS Y15, Y8, Y8\n\tVSUBPS Y4, Y3, Y9\n\tVFMADD231PS Y14, Y9, Y8")
		put("Y8")
		p("VSUBPS Y6, Y5, Y8\n\tVFMADD231PS Y15, Y7, Y8")
		put("Y8")
	}},
}

func (t transform) write(a, d *asm) {
	args := "dst, src unsafe.Pointer, rs, cs, ds uintptr, c int, tmp, k unsafe.Pointer"
	if t.grid {
		args = "dst, src unsafe.Pointer, rs, cs, ds uintptr, c int, tmp, k unsafe.Pointer, rd uintptr"
	}
	size := 64
	if t.grid {
		size = 72
	}
	d.p("// %sAsm is %s; k are the constants of winoConstants.\n//\n//go:noescape\nfunc %sAsm(%s)\n", t.name, t.doc, t.name, args)
	a.p("// func %sAsm(%s)\nTEXT ·%sAsm(SB), NOSPLIT, $0-%d", t.name, args, t.name, size)
	a.p("\tMOVQ k+56(FP), AX")
	for i, c := range t.consts {
		a.p("\tVBROADCASTSS %d(AX), Y%d", 4*constants[c], 15-i)
	}
	a.p("\tMOVQ tmp+48(FP), R14\n\tMOVQ src+8(FP), R8\n\tMOVQ rs+16(FP), AX\n\tMOVQ cs+24(FP), DX\n\tMOVQ ds+32(FP), SI")
	rows := []string{"R8", "R9", "R10", "R11", "R12", "R13"}
	for i := 1; i < t.in; i++ {
		a.p("\tLEAQ (%s)(AX*1), %s", rows[i-1], rows[i])
	}
	a.p("\tXORQ BX, BX\n%s_c:\n\tMOVQ BX, CX", t.name)
	line := func(format string, args ...any) { a.p("\t"+format, args...) }
	// Columns: point (i, b) of src to point (i, b) of tmp, whose rows hold t.in points.
	for b := range t.in {
		for i := range t.in {
			a.p("\tVMOVUPS (%s)(CX*1), Y%d", rows[i], i)
		}
		i := 0
		t.emit(line, func(reg string) {
			a.p("\tVMOVUPS %s, %d(R14)", reg, 32*(i*t.in+b))
			i++
		})
		if b+1 < t.in {
			a.p("\tADDQ DX, CX")
		}
	}
	a.p("\tMOVQ dst+0(FP), DI\n\tADDQ BX, DI")
	if t.grid {
		a.p("\tMOVQ rd+64(FP), AX")
	}
	for i := range t.out {
		for b := range t.in {
			a.p("\tVMOVUPS %d(R14), Y%d", 32*(i*t.in+b), b)
		}
		if t.grid {
			a.p("\tMOVQ DI, CX")
		}
		t.emit(line, func(reg string) {
			at := "DI"
			if t.grid {
				at = "CX"
			}
			if t.add {
				a.p("\tVADDPS (%s), %s, %s", at, reg, reg)
			}
			a.p("\tVMOVUPS %s, (%s)\n\tADDQ SI, %s", reg, at, at)
		})
		if t.grid {
			a.p("\tADDQ AX, DI")
		}
	}
	a.p("\tADDQ $32, BX\n\tMOVQ c+40(FP), AX\n\tSHLQ $2, AX\n\tCMPQ BX, AX\n\tJLT %s_c\n\tVZEROUPPER\n\tRET\n", t.name)
}

// constants are the places of the numbers in winoConstants.
var constants = map[string]int{"4": 0, "5": 1, "8": 2, "sixth": 3, "twelfth": 4, "twentyfourth": 5, "quarter": 6}
