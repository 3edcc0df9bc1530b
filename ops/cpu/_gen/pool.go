package main

// pools writes max pooling over one window, eight channels at a time.
func pools(a, d *asm) {
	d.p("// maxPoolAsm is the maximum over rows×cols pixels rs and 4·c bytes apart, and the place of the first: at + row·w + col. A NaN wins\n// over every number. c is a multiple of 8.\n//\n//go:noescape\nfunc maxPoolAsm(out, where, x unsafe.Pointer, rs uintptr, rows, cols, c, at, w int)\n")
	a.p("// func maxPoolAsm(out, where, x unsafe.Pointer, rs uintptr, rows, cols, c, at, w int)\nTEXT ·maxPoolAsm(SB), NOSPLIT, $0-72")
	a.p("\tMOVQ out+0(FP), DI\n\tMOVQ where+8(FP), SI\n\tMOVQ rs+24(FP), R8\n\tMOVQ c+48(FP), DX\n\tSHLQ $2, DX\n\tXORQ BX, BX")
	a.p("mp_c:\n\tMOVQ x+16(FP), R9\n\tADDQ BX, R9\n\tVMOVUPS (R9), Y0\n\tMOVQ at+56(FP), R12\n\tMOVQ R12, X1\n\tVPBROADCASTD X1, Y1\n\tMOVQ rows+32(FP), R10")
	a.p("mp_r:\n\tMOVQ R9, R13\n\tMOVQ R12, R14\n\tMOVQ cols+40(FP), R11")
	a.p("mp_q:\n\tVMOVUPS (R13), Y2\n\tMOVQ R14, X3\n\tVPBROADCASTD X3, Y3\n\tVCMPPS $30, Y0, Y2, Y4\n\tVCMPPS $3, Y2, Y2, Y5\n\tVORPS Y5, Y4, Y4\n\tVBLENDVPS Y4, Y2, Y0, Y0\n\tVBLENDVPS Y4, Y3, Y1, Y1")
	a.p("\tADDQ DX, R13\n\tADDQ $1, R14\n\tSUBQ $1, R11\n\tJNZ mp_q")
	a.p("\tADDQ R8, R9\n\tADDQ w+64(FP), R12\n\tSUBQ $1, R10\n\tJNZ mp_r")
	a.p("\tVMOVUPS Y0, (DI)(BX*1)\n\tTESTQ SI, SI\n\tJZ mp_n\n\tVMOVUPS Y1, (SI)(BX*1)")
	a.p("mp_n:\n\tADDQ $32, BX\n\tCMPQ BX, DX\n\tJLT mp_c\n\tVZEROUPPER\n\tRET\n")
}
