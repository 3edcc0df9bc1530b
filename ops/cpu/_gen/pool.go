package main

// pools writes max pooling over one window.
func pools(a *asm, d *declarations) {
	for _, v := range []stream{{avx512, "512"}, {avx2, "8"}} {
		v.maxPool(a, d)
		v.maxPoolBack(a, d)
	}
}

// window writes body for every pixel of a window and vector of channels: SI to where, DI to the window's maxima, R13 to the pixel, R14
// its number, BX the byte of the first channel, DX the end. begin and end are written around each vector's pixels.
func (v stream) window(a *asm, name, begin, body, end string) {
	a.p("\tSHLQ $2, DX\n\tXORQ BX, BX")
	a.p("%s_c:\n\tLEAQ (R15)(BX*1), R9\n\tMOVQ at+56(FP), R12\n\tMOVQ rows+32(FP), R10\n%s", name, begin)
	a.p("%s_r:\n\tMOVQ R9, R13\n\tMOVQ R12, R14\n\tMOVQ cols+40(FP), R11", name)
	a.p("%s_q:\n%s\n\tADDQ DX, R13\n\tADDQ $1, R14\n\tSUBQ $1, R11\n\tJNZ %s_q", name, body, name)
	a.p("\tADDQ R8, R9\n\tADDQ w+64(FP), R12\n\tSUBQ $1, R10\n\tJNZ %s_r\n%s", name, end)
	a.p("\tADDQ $%d, BX\n\tCMPQ BX, DX\n\tJLT %s_c\n\tVZEROUPPER\n\tRET\n", v.bytes, name)
}

// maxPool: the maximum and its place.
func (v stream) maxPool(a *asm, d *declarations) {
	n := v.head(a, d, "maxPool", "the maximum over rows×cols pixels rs and 4·c bytes apart, and the place of the first: at + row·w + col. A NaN wins\n// over every number.", "out, where, x unsafe.Pointer, rs uintptr, rows, cols, c, at, w int", 72)
	a.p("\tMOVQ out+0(FP), DI\n\tMOVQ where+8(FP), SI\n\tMOVQ x+16(FP), R15\n\tMOVQ rs+24(FP), R8\n\tMOVQ c+48(FP), DX")
	begin, body := "\tVMOVUPS (R9), Z0\n\tVPBROADCASTD R12, Z1", "\tVMOVUPS (R13), Z2\n\tVCMPPS $30, Z0, Z2, K1\n\tVCMPPS $3, Z2, Z2, K2\n\tKORW K1, K2, K1\n\tVMOVAPS Z2, K1, Z0\n\tVPBROADCASTD R14, K1, Z1"
	if !v.wide() {
		begin = "\tVMOVUPS (R9), Y0\n\tMOVQ R12, X1\n\tVPBROADCASTD X1, Y1"
		body = "\tVMOVUPS (R13), Y2\n\tMOVQ R14, X3\n\tVPBROADCASTD X3, Y3\n\tVCMPPS $30, Y0, Y2, Y4\n\tVCMPPS $3, Y2, Y2, Y5\n\tVORPS Y5, Y4, Y4\n\tVBLENDVPS Y4, Y2, Y0, Y0\n\tVBLENDVPS Y4, Y3, Y1, Y1"
	}
	v.window(a, n, begin, body, "\tVMOVUPS "+v.r(0)+", (DI)(BX*1)\n\tTESTQ SI, SI\n\tJZ "+n+"_n\n\tVMOVUPS "+v.r(1)+", (SI)(BX*1)\n"+n+"_n:")
}

// maxPoolBack: the gradient goes where the maximum was.
func (v stream) maxPoolBack(a *asm, d *declarations) {
	n := v.head(a, d, "maxPoolBack", "dx += dy where the pixel, numbered as for maxPool"+v.suffix+", is the one in where.", "dy, where, dx unsafe.Pointer, rs uintptr, rows, cols, c, at, w int", 72)
	a.p("\tMOVQ dy+0(FP), DI\n\tMOVQ where+8(FP), SI\n\tMOVQ dx+16(FP), R15\n\tMOVQ rs+24(FP), R8\n\tMOVQ c+48(FP), DX")
	body := "\tVPBROADCASTD R14, Z3\n\tVPCMPEQD Z3, Z1, K1\n\tVMOVUPS (R13), Z2\n\tVADDPS Z0, Z2, K1, Z2\n\tVMOVUPS Z2, (R13)"
	if !v.wide() {
		body = "\tMOVQ R14, X3\n\tVPBROADCASTD X3, Y3\n\tVPCMPEQD Y1, Y3, Y3\n\tVANDPS Y0, Y3, Y3\n\tVADDPS (R13), Y3, Y3\n\tVMOVUPS Y3, (R13)"
	}
	v.window(a, n, "\tVMOVUPS (DI)(BX*1), "+v.r(0)+"\n\tVMOVUPS (SI)(BX*1), "+v.r(1), body, "")
}
